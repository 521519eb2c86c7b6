"""Why nothing was done: the funnel adds up, near misses are what they say, and gates, locks and silence are told."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from core.codes import RefusalCode
from core.errors import StateError
from core.strategies.base import Abstention
from core.types import REGIME_CODES, EventKind, OrderStatus, Side
from graph.exit_codes import UsageError
from graph.parse import parse_time
from graph.rerun import standing_before
from graph.why.asif import Idea, World, decide, fate_of
from graph.why.day import MOST_REFUSED, cause_of, fires, snapshot_of
from graph.why.explain import Explainer
from graph.why.model import MOST_REASONS, Flip, Line, Why
from graph.why.nothing import why_nothing
from graph.why.onlooker import Onlooker
from tests.graph.why.conftest import Explained, fingerprint
from tests.graph.why.test_flips import at
from tests.support.run import short_configuration
from tests.support.tracing import untraced
from tools.context import BrainContext
from tools.state import BrainState

DAY = date(2026, 1, 6)
ZONE = "Europe/Chisinau"
SYMBOLS = ("BTC/USDT:USDT", "ETH/USDT:USDT", "SOL/USDT:USDT")
MISS = re.compile(r"(?P<strategy>\w+) (?P<side>long|short) at (?P<at>\S+): (?P<key>\S+)")
REFUSED = re.compile(r"(?P<strategy>\w+) (?P<side>long|short) at (?P<at>\S+), refused (?P<code>[A-Z_]+)(?:: (?P<key>.+))?")


_ANSWERED: dict[tuple[str, str, date], Why] = {}


def ask(explained: Explained, symbol: str, day: date = DAY) -> Why:
    question = (str(explained.folder), symbol, day)
    if question not in _ANSWERED:
        _ANSWERED[question] = asyncio.run(why_nothing(explained.session.reader(), explained.records, symbol, day))
    return _ANSWERED[question]


@pytest.fixture(scope="module")
def nothing(explained: Explained) -> Why:
    with untraced():  # the command answers the same question
        return ask(explained, "BTC/USDT:USDT")


@pytest.fixture(scope="module")
def locked(special: Callable[[str], Explained]) -> Why:
    return ask(special("day lock"), "BTC/USDT:USDT")


def span() -> tuple[int, int]:
    start = datetime(DAY.year, DAY.month, DAY.day, tzinfo=ZoneInfo(ZONE))
    return round(start.timestamp() * 1000), round((start + timedelta(days=1)).timestamp() * 1000)


def lines(why: Why, name: str) -> tuple[Line, ...]:
    (step,) = [step for step in why.chain if step.name == name]
    return step.lines


def misses(why: Why) -> list[tuple[Flip, re.Match[str]]]:
    return [(flip, found) for flip in why.flips if (found := MISS.fullmatch(flip.name)) is not None]


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


def test_bars_that_were_made_again_are_counted_as_bars(nothing: Why):
    since, until = span()
    (made,) = [line for line in nothing.proof.lines if line.name == "bars made again"]
    assert made.value == (until - since) // 300_000


def test_it_has_all_eight_parts_and_leaves_the_session_alone(explained: Explained, nothing: Why):
    assert "PAPER" in nothing.verdict.text
    assert 1 <= len(nothing.reasons) <= MOST_REASONS
    assert nothing.flips_note
    assert [step.name for step in nothing.chain] == [
        "bars",
        "in force",
        "rules",
        "signals",
        "scored",
        "refused",
        "planned",
        "sent",
        "filled",
    ]
    assert nothing.chart.candles
    assert {band.regime for band in nothing.chart.bands} <= set(REGIME_CODES)
    assert nothing.afterwards
    assert nothing.proof.equal
    assert fingerprint(explained.folder) == explained.before


def test_the_gates_that_stopped_signals_are_the_refusals_on_record(explained: Explained, nothing: Why):
    since, until = span()
    sql = "SELECT code, COUNT(*) FROM refusals WHERE symbol = 'BTC/USDT:USDT' AND ts > ? AND ts <= ? GROUP BY code"
    recorded = dict(explained.records.reader.query(sql, (since, until)))
    first = {line.name: line.value for line in lines(nothing, "refused") if line.note == "stopped first"}
    assert first
    assert all(recorded[code] >= times for code, times in first.items())


# --- near misses ----------------------------------------------------------------------------------------


def test_a_near_miss_lies_just_inside_the_rule(nothing: Why):
    """D3, D4: what is told makes the rule fire, and lies on the other side of the rule's own threshold by one step at most."""
    p = short_configuration().strategies
    limits = {"rsi long": p.range_rev_5m.rsi_low, "rsi short": p.range_rev_5m.rsi_high, "rank480": p.vol_exp_15m.quantile}
    told = [flip for flip, _ in misses(nothing) if "rsi@" in flip.name or "rank480@" in flip.name]
    assert told
    for flip in told:
        key = "rank480" if "rank480" in flip.name else "rsi long" if " long " in flip.name else "rsi short"
        needed, was, step = (float(str(one)) for one in (flip.needed, flip.was, flip.step))
        assert abs(needed - limits[key]) <= step * 1.000001
        assert (needed > limits[key]) == (needed > was)


@pytest.mark.parametrize("name", ["usual", "day lock", "no funding"])
def test_a_near_miss_would_have_been_decided_otherwise_just_as_it_says(
    name: str, explained: Explained, special: Callable[[str], Explained]
):
    """Run again apart: at the value told the rule speaks, one step nearer it does not; the gate that is named says no."""
    found = explained if name == "usual" else special(name)
    told = misses(ask(found, "BTC/USDT:USDT"))
    assert told
    for flip, match in told[:3]:
        ts, key, side = parse_time(match["at"]), match["key"], Side(match["side"])
        needed, was, step = (float(str(one)) for one in (flip.needed, flip.was, flip.step))

        async def see(world: World, onlooker: Onlooker) -> None:
            strategy = world.context.strategies[match["strategy"]]  # noqa: B023 - called at once
            there = world.with_feature(key, needed)  # noqa: B023
            nearer = needed - step if needed > was else needed + step  # noqa: B023
            assert fires(strategy, snapshot_of(world), world.symbol) is None
            assert fires(strategy, snapshot_of(there), world.symbol) is side  # noqa: B023
            if abs(nearer - was) >= step:  # noqa: B023
                assert fires(strategy, snapshot_of(world.with_feature(key, nearer)), world.symbol) is None  # noqa: B023
            fate = fate_of(Idea(world.symbol, strategy.name, side), await decide(there, onlooker.apart))  # noqa: B023
            then = fate.words if fate.refusal is None else f"{fate.refusal.code.value} refuses"
            assert fate.words != "no signal"
            assert flip.gives == f"would signal {side.value}; then {then}"  # noqa: B023
            assert flip.verified  # noqa: B023

        at(found.session, found.records, ts, "BTC/USDT:USDT", see)


def test_near_misses_are_ranked_by_their_distance(nothing: Why):
    far = [flip.distance for flip, _ in misses(nothing)]
    assert None not in far
    assert far == sorted(far, key=lambda one: one or 0.0)


# --- refused signals ------------------------------------------------------------------------------------


def test_the_nearest_refused_signals_are_told_with_what_turns_each_and_the_rest_are_counted(nothing: Why):
    told = [(flip, found) for flip in nothing.flips if (found := REFUSED.fullmatch(flip.name)) is not None]
    signals = {line.name: str(line.value) for line in lines(nothing, "signals")}
    refused = {name: words for name, words in signals.items() if words.startswith("refused")}
    assert len(told) == min(MOST_REFUSED, len(refused))
    if len(refused) > MOST_REFUSED:
        assert f"{len(refused) - MOST_REFUSED} more refused signals" in nothing.flips_note
    for flip, found in told:
        name = f"{parse_time(found['at'])}-{found['strategy']}-BTCUSDT"
        assert refused[name] == f"refused {found['code']}"
        assert (flip.needed is None) == (found["key"] is None)
        assert flip.needed is None or flip.gives.startswith("sent ")


def test_what_turns_a_refused_signal_is_what_its_own_explanation_says(explained: Explained, nothing: Why):
    told = [(flip, found) for flip in nothing.flips if (found := REFUSED.fullmatch(flip.name)) is not None and found["key"]]
    assert told
    for flip, found in told[:2]:
        name = f"{parse_time(found['at'])}-{found['strategy']}-BTCUSDT"
        own = asyncio.run(Explainer(explained.session.reader(), explained.records).one(name))
        assert (own.flips[0].name, own.flips[0].needed, own.flips[0].gives) == (found["key"], flip.needed, flip.gives)


# --- gates, locks and silence ---------------------------------------------------------------------------


def _bars(found: Explained, holds: Callable[[World], object], symbol: str = "BTC/USDT:USDT") -> Counter[object]:
    """How many bars of the day each answer of ``holds`` held for."""
    since, until = span()
    counted: Counter[object] = Counter()

    class Counting(Onlooker):
        async def look(self, state: BrainState, context: BrainContext) -> None:
            assert state["event"].kind is EventKind.BAR
            if context.market.last_ts[context.market.index[symbol]] == context.market.closed.ts:
                counted[holds(self.world(state, context, symbol))] += 1

    async def walk() -> None:
        first, last, onlooker = found.records.bar_after(since + 1), found.records.bar_after(until + 1), Counting()
        with standing_before(found.session.reader(), first, onlooker) as rerun:
            while rerun.bar < last:
                onlooker.watching = rerun.bar >= first
                assert await rerun.next() is not None

    with untraced():
        asyncio.run(walk())
    return counted


def test_a_lock_is_told_with_its_bars_whether_a_rule_fired_or_not(special: Callable[[str], Explained], locked: Why):
    """E6."""
    counted = _bars(special("day lock"), lambda world: world.state["status"].governor.day_lock)
    (line,) = [line for line in lines(locked, "in force") if line.name == "DAY_LOCK"]
    assert line.value == counted[True] > 0


def test_a_lock_is_a_reason_also_on_a_day_without_a_signal(special: Callable[[str], Explained]):
    """KILL_SWITCH for the rest of the day: nothing could have been done in any symbol."""
    found = special("kill switch")
    why = ask(found, "BTC/USDT:USDT", date(2026, 1, 5))
    told = {one.code: one for one in why.reasons}
    assert not lines(why, "signals") or "KILL_SWITCH" in told
    bars = next(line.value for line in lines(why, "in force") if line.name == "KILL_SWITCH")
    if not lines(why, "signals"):
        assert told.keys() >= {"NO_SIGNAL", "KILL_SWITCH"}
        assert f"on {bars} of" in told["KILL_SWITCH"].observed


def test_a_lost_stream_stands_under_missing_with_its_bars(special: Callable[[str], Explained]):
    """E7."""
    found = special("no funding")
    why = ask(found, "BTC/USDT:USDT")
    counted = _bars(found, lambda world: world.state["status"].health.forbids(world.symbol))
    (missing,) = [one for one in why.missing if one.name == "STREAM_FUNDING"]
    assert f"On {counted['STREAM_FUNDING']} of {sum(counted.values())} bars" in missing.what


def test_a_rule_that_could_not_speak_says_for_want_of_what(special: Callable[[str], Explained]):
    """The cause is that of the bars: the code that the rule itself gives, and the features that it missed."""
    found = special("no funding")
    causes: Counter[tuple[str, str]] = Counter()

    def silent(world: World) -> None:
        snapshot = snapshot_of(world)
        for strategy in world.context.strategies.values():
            for one in strategy.abstaining(snapshot):
                if one.symbol == world.symbol:
                    causes[strategy.name, f"{one.code.value}: {', '.join(one.missing)}"] += 1

    _bars(found, silent)
    why = ask(found, "BTC/USDT:USDT")
    told = {(one.name, one.what) for one in why.missing if "could not speak" in one.what}
    assert told == {(name, f"could not speak on {bars} bars: {cause}") for (name, cause), bars in causes.items()}


def test_the_words_for_a_silent_rule_name_the_code_and_what_was_missing():
    assert (
        cause_of(Abstention("BTC/USDT:USDT", RefusalCode.MISSING_INPUT, ("funding", "basis"))) == "MISSING_INPUT: funding, basis"
    )
    flagged = Abstention("BTC/USDT:USDT", RefusalCode.BAR_FLAGGED, (), Side.LONG)
    assert cause_of(flagged) == "BAR_FLAGGED: the rule fired on a flagged bar"


def test_a_regime_that_shuts_a_strategy_out_is_told_with_its_looks(special: Callable[[str], Explained], locked: Why):
    order = short_configuration().enable_map.order

    def shut_out(world: World) -> str | None:
        held = world.state["regimes"].h1[world.index]
        return held.value if "range_rev_5m" not in order(held.value) else None

    counted = _bars(special("day lock"), shut_out)
    told = {line.name: line.value for line in lines(locked, "in force")}
    expected = {f"REGIME_DISABLED: range_rev_5m in {held}": bars for held, bars in counted.items() if held is not None}
    assert expected
    assert {name: value for name, value in told.items() if "range_rev_5m" in name} == expected


def test_an_entry_that_was_sent_and_did_not_fill_says_why(special: Callable[[str], Explained]):
    """F2: the IOC found no price inside its cap."""
    found = special("not filled")
    since, until = span()
    sql = "SELECT client_id FROM orders WHERE symbol = ? AND purpose = 'entry' AND ts > ? AND ts <= ?"
    counted = {symbol: found.records.reader.query(sql, (symbol, since, until)) for symbol in SYMBOLS}
    symbol = next(symbol for symbol, rows in counted.items() if rows)
    why = ask(found, symbol)
    told = {line.name: line for line in lines(why, "sent")}
    assert list(told) == [str(row[0]) for row in counted[symbol]]
    for line in told.values():
        assert str(line.value).startswith(OrderStatus.EXPIRED.value)
        assert line.note.startswith("ENTRY_NOT_FILLED: ")
    assert why.chain[-1].summary == "0 entries filled"


# --- bad input ------------------------------------------------------------------------------------------


def test_a_symbol_that_is_not_in_the_session_names_the_nearest(explained: Explained):
    with pytest.raises(UsageError, match="it has BTC/USDT:USDT"):
        ask(explained, "BTC/USDT")


@pytest.mark.parametrize("day", [date(1, 1, 1), date(9999, 12, 31)])
def test_a_day_at_the_end_of_the_calendar_is_misuse(explained: Explained, day: date):
    with pytest.raises((UsageError, StateError), match=day.isoformat()):
        ask(explained, "BTC/USDT:USDT", day)


def test_a_day_outside_the_session_is_said_to_be(explained: Explained):
    with pytest.raises(StateError, match="no bars on 2020-01-01"):
        ask(explained, "BTC/USDT:USDT", date(2020, 1, 1))
