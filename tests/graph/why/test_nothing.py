"""Why nothing was done: the funnel of a day, its gates and its nearest misses."""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from core.errors import StateError
from core.types import REGIME_CODES
from graph.exit_codes import UsageError
from graph.why.model import MOST_REASONS, Why
from graph.why.nothing import why_nothing
from tests.graph.why.conftest import Explained, fingerprint
from tests.support.run import short_configuration

DAY = date(2026, 1, 6)
ZONE = "Europe/Chisinau"


def ask(explained: Explained, symbol: str, day: date = DAY) -> Why:
    return asyncio.run(why_nothing(explained.session.reader(), explained.records, symbol, day))


@pytest.fixture(scope="module")
def nothing(explained: Explained) -> Why:
    return ask(explained, "BTC/USDT:USDT")


def span() -> tuple[int, int]:
    start = datetime(DAY.year, DAY.month, DAY.day, tzinfo=ZoneInfo(ZONE))
    return round(start.timestamp() * 1000), round((start + timedelta(days=1)).timestamp() * 1000)


def test_the_funnel_counts_what_is_on_record_for_the_owners_day(explained: Explained, nothing: Why):
    """ux.md: the day is that of the locks, in the owner's zone."""
    since, until = span()
    query, where = explained.records.reader.query, "symbol = 'BTC/USDT:USDT' AND ts > ? AND ts <= ?"
    signals = query(f"SELECT COUNT(*) FROM signals WHERE {where}", (since, until))[0][0]  # noqa: S608 - a constant
    plans = query(f"SELECT COUNT(*) FROM plans WHERE {where} AND kind = 'entry'", (since, until))[0][0]  # noqa: S608 - a constant
    summaries = {step.name: step.summary for step in nothing.chain}
    assert summaries["bars"] == f"{(until - since) // 300_000} base bars closed"
    assert summaries["signals"] == f"{signals} signals"
    assert summaries["planned"] == f"{plans} plans admitted"
    assert ZONE in nothing.verdict.at
    assert datetime.fromtimestamp(since / 1000, UTC).isoformat()[:16] in nothing.verdict.at


def test_it_has_all_eight_parts_and_leaves_the_session_alone(explained: Explained, nothing: Why):
    assert "PAPER" in nothing.verdict.text
    assert 1 <= len(nothing.reasons) <= MOST_REASONS
    assert nothing.flips_note
    assert len(nothing.chain) == 8
    assert nothing.chart.candles
    assert {band.regime for band in nothing.chart.bands} <= set(REGIME_CODES)
    assert nothing.afterwards
    assert nothing.proof.equal
    assert fingerprint(explained.folder) == explained.before


def test_the_gates_that_stopped_signals_are_the_refusals_on_record(explained: Explained, nothing: Why):
    since, until = span()
    sql = "SELECT code, COUNT(*) FROM refusals WHERE symbol = 'BTC/USDT:USDT' AND ts > ? AND ts <= ? GROUP BY code"
    recorded = dict(explained.records.reader.query(sql, (since, until)))
    (refused,) = [step for step in nothing.chain if step.name == "refused"]
    first = {line.name: line.value for line in refused.lines if line.note == "stopped first"}
    assert first
    assert all(recorded[code] >= times for code, times in first.items())


def test_a_near_miss_lies_just_inside_the_rule(explained: Explained, nothing: Why):
    """D3, D4: what is told makes the rule fire, and lies on the other side of the rule's own threshold by one step at most."""
    p = short_configuration().strategies
    limits = {"rsi long": p.range_rev_5m.rsi_low, "rsi short": p.range_rev_5m.rsi_high, "rank480": p.vol_exp_15m.quantile}
    told = [flip for flip in nothing.flips if "rsi@" in flip.name or "rank480@" in flip.name]
    assert told
    for flip in told:
        key = "rank480" if "rank480" in flip.name else "rsi long" if " long " in flip.name else "rsi short"
        needed, step = float(str(flip.needed)), float(str(flip.step))
        assert abs(needed - limits[key]) <= step * 1.000001
        assert math.copysign(1, needed - limits[key]) == math.copysign(1, needed - float(str(flip.was)))


def test_a_symbol_that_is_not_in_the_session_names_the_nearest(explained: Explained):
    with pytest.raises(UsageError, match="it has BTC/USDT:USDT"):
        ask(explained, "BTC/USDT")


def test_a_day_outside_the_session_is_said_to_be(explained: Explained):
    with pytest.raises(StateError, match="no bars on 2020-01-01"):
        ask(explained, "BTC/USDT:USDT", date(2020, 1, 1))
