"""The real daemon through the real client at the local exchange: made again from its record, killed anywhere (issue 4, 4 to 6).

One process and virtual time; the exchange is a node of its own, so that it lives on when the daemon dies.
"""

from __future__ import annotations

import asyncio
import dataclasses
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from core.data.blocks import Batch
from core.exec.live.crash import CrashPoint
from core.journal.bars import Beginning, beginning, recorded_bars
from core.journal.reader import JournalReader
from core.sim.server.faults import Fault, FaultKind
from core.sim.server.options import Latencies, ServerOptions, Span
from graph.live.daemon import LEAVE_WITHIN_S, LiveDaemon
from graph.replaying import RecordedSource, Script
from graph.session_dir import SessionDir
from graph.sessions import Session
from graph.soundness import inspect
from tests.agents.making import ETH, SOL, breaking_out
from tests.graph.live.kit import Stand, trade
from tests.graph.test_rerun import again
from tests.support.ladder import HandMade
from tests.support.run import run_over, short_configuration
from tests.support.simulation.disk import Loss

BARS = 18
"""An entry after bar 12, break-even after 14, a take inside bar 15, an add after the bar behind it (X16)."""
VENUE_ETH = "ETHUSDT"
PASSED = ("sent", "replied", "ack", "done", "fill", "told")
"""Steps that a session over a quiet network passes more than once."""
pytestmark = pytest.mark.slow


def won() -> HandMade:
    return HandMade({ETH: breaking_out().climb(1).candle(2.8).candle(2.0).candle(1.0).climb(5)})


def lost() -> HandMade:
    """One falls through its stop over a gap; the other is stopped out, and bought again."""
    eth = breaking_out().climb(1).candle(0.5).candle(2.6).candle(0.06, volume=10.0).climb(8).breakout()
    return HandMade({SOL: breaking_out().climb(1).candle(0.0, gap=-25.0).climb(14), ETH: eth})


@dataclass
class Seen:
    """What a test looks at when the world is gone."""

    session: Path
    chain: str = ""
    bars: int = 0
    seq: int = 0
    lives: int = 1
    rows: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)
    alerts: list[tuple[Any, ...]] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)


def rows(session: Path, sql: str) -> list[tuple[Any, ...]]:
    db = sqlite3.connect(session / "brain.sqlite")
    try:
        return db.execute(sql).fetchall()
    finally:
        db.close()


def told(session: Path) -> dict[str, list[tuple[Any, ...]]]:
    """What two ways through one market must have in common."""
    fills = rows(session, "SELECT symbol, purpose, qty, price, fee FROM fills ORDER BY symbol, purpose, rowid")
    return {
        "fills": [(one, why, Decimal(qty), Decimal(price), round(fee, 5)) for one, why, qty, price, fee in fills],
        "plans": rows(session, "SELECT id, qty, entry, stop FROM plans ORDER BY rowid"),
        "trades": rows(session, "SELECT symbol, exit_reason FROM trades ORDER BY rowid"),
    }


async def look_at(stand: Stand, to: Path) -> Seen:
    """Books and exchange agree, nothing was sent twice; what the session has is kept."""
    daemon = stand.daemon
    books = {name: position.side.sign * position.qty for name, position in daemon.parts.context.ledger.positions.items()}
    held = stand.venue.exchange.positions(VENUE_ETH)[0].qty
    assert books.get(ETH, Decimal(0)) == held
    orders = [order.client_id for order in stand.venue.exchange.all_orders(VENUE_ETH)]
    assert len(orders) == len(set(orders))
    stops = [algo for algo in stand.venue.exchange.open_algos(VENUE_ETH) if algo.close_position or algo.qty >= abs(held)]
    assert bool(stops) == bool(held)
    stand.session.rename(to)
    seen = Seen(to, daemon.parts.recorder.decisions_hash, daemon.bars, daemon.seq, len(stand.daemons), left=daemon.left)
    seen.rows = told(to)
    seen.alerts = rows(to, "SELECT level, code, message FROM alerts")
    return seen


def lived(to: Path, *kills: str, down_s: float = 0.05, bars: int = BARS, market: Any = won, **how: Any) -> Seen:
    """The session over ``market``, killed each time when it passes ``point#nth`` since the kill before."""
    left, passed, found = [kill.split("#") for kill in kills], Counter[str](), list[Seen]()

    async def story(stand: Stand) -> None:
        def crash(point: CrashPoint) -> None:
            passed[point.value] += 1
            if left and point.value == left[0][0] and passed[point.value] == int(left[0][1]):
                left.pop(0)
                passed.clear()
                stand.world.kill("bot")

        stand.crash = crash
        await stand.start(watch_disk=bool(kills)).gone
        for _ in kills:
            await asyncio.sleep(down_s)
            await stand.world.restart("bot", Loss.KILL).gone
        found.append(await look_at(stand, to))

    trade(market(), story, bars=bars, **how)
    assert not left, f"never passed: {left}"
    return found[0]


def check_record(seen: Seen) -> None:
    """The session is what was recorded, orders and fills between two bars too, and every decision of it is made again."""
    found = inspect(Session(SessionDir(seen.session)))
    assert (found.records, found.sound, found.decisions) == (None, True, seen.seq)
    assert again(seen.session) == (seen.bars, seen.seq, seen.chain)


def of_type(seen: Seen, level: str) -> list[tuple[Any, ...]]:
    return [alert for alert in seen.alerts if alert[0] == level]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """A session that nobody killed."""
    return lived(tmp_path_factory.mktemp("whole") / "session")


def test_a_session_at_the_exchange_is_made_again_decision_by_decision(whole: Seen) -> None:
    """G5, X43: entry, stops, takes and an add; half of it is told between two bars."""
    assert sorted(fill[1] for fill in whole.rows["fills"]) == ["add", "entry", "take"]
    assert not of_type(whole, "page")
    check_record(whole)


@pytest.mark.parametrize(
    "kills",
    [
        ("told_before#1", "told_after#2", "ack_after#4"),
        ("resolved#1", "sent_before#1", "fill_after#1", "cancel_before#1"),
    ],
)
def test_killed_it_goes_on_with_the_very_orders_and_its_record_is_made_again(kills: tuple[str, ...], tmp_path: Path) -> None:
    """X43: in mid-bar and between bars; no order is sent twice, books and exchange agree."""
    seen = lived(tmp_path / "session", *kills)
    assert seen.lives == len(kills) + 1
    check_record(seen)


@pytest.mark.acceptance
@pytest.mark.parametrize("nth", [1, 3])
@pytest.mark.parametrize("point", [point for point in CrashPoint if point.value.partition("_")[0] in PASSED])
def test_killed_at_any_point_and_for_a_minute_books_and_exchange_agree(point: CrashPoint, nth: int, tmp_path: Path) -> None:
    """Down while the market goes on: what happened meanwhile is heard, and nothing is doubled."""
    seen = lived(tmp_path / "session", f"{point.value}#{nth}", down_s=60.0)
    check_record(seen)


def test_killed_after_an_answer_or_a_telling_it_decides_as_if_it_had_not_been(whole: Seen, tmp_path: Path) -> None:
    """X43: at places where the exchange notices nothing, fills and plans are those of the session that was not killed."""
    seen = lived(tmp_path / "session", "told_before#1", "told_after#2", down_s=0.0)
    assert seen.rows == whole.rows


# the decision at a close comes before the word of what the next bar's open did, as in process
_LATE = Latencies(user=Span(100.0, 100.0))
_FAR = Latencies(request=Span(40.0, 400.0), reply=Span(20.0, 200.0), market=Span(5.0, 90.0), user=Span(100.0, 600.0))


@pytest.mark.parametrize(("market", "latencies"), [(won, _LATE), (lost, _LATE), (won, _FAR)])
def test_the_same_market_in_process_gives_the_same_plans_fills_and_trades(
    market: Any, latencies: Latencies, tmp_path: Path
) -> None:
    """Point 5: what the daemon heard of the market, through SimExchange, which models the same liquidity.

    SimExchange's model of latency is that an order meets the next price that its market tells; a bar is told as four, so that
    an exchange to which requests take less than a quarter of a bar gives the same fills, however far away it is. What it cannot
    know is whether the word of a stop at the open comes before or after the decision at the close: there always after.

    What is not the same, and why: times and order of fills (here some ms later, or inside the bar: there at its close), hence
    the numbers of decisions that come of them and all hashes; the exchange rounds fees to eight places; where a gap jumps
    over the working stop and the one that never moves, either may be the one that closes. The published book, whose best
    prices stand on ticks, is kept out of the comparison: SimExchange would model a spread around it that the exchange has
    modelled already, and pay up to a tick more.
    """
    live = lived(tmp_path / "session", market=market, bars=BARS, options=ServerOptions(reaction_ms=50, latencies=latencies))
    reader = JournalReader(live.session / "journal")
    source = WithoutBooks(beginning(reader, reader.segments[0]), Script(recorded_bars(reader, reader.segments[0])))
    asyncio.run(run_over(source, tmp_path / "direct", config=short_configuration()))
    direct = told(tmp_path / "direct")
    assert len(direct["fills"]) >= 3
    assert direct == live.rows


class WithoutBooks(RecordedSource):
    """The market of a session; its books are modelled anew."""

    def __init__(self, start: Beginning, script: Script) -> None:
        super().__init__(start, script)
        self.info = dataclasses.replace(self.info, has_books=False)

    async def batches(self, after_ts: int | None = None) -> AsyncIterator[Batch]:
        async for batch in super().batches(after_ts):
            yield dataclasses.replace(batch, books=())


def test_asked_to_stop_it_closes_what_is_open_and_that_is_on_record(tmp_path: Path) -> None:
    """X34: reduce-only and at once, between two bars."""

    def look(daemon: LiveDaemon) -> None:
        if daemon.bars == 14:
            daemon.stop()

    seen = stopped(tmp_path / "session", look)
    assert (seen.left, seen.rows["trades"]) == ({}, [(ETH, "shutdown")])
    check_record(seen)


def test_what_the_end_itself_closes_is_in_what_the_run_came_to() -> None:
    """X34: the last bar was over before; its value is not the run's any more."""

    async def story(stand: Stand) -> None:
        stand.look = lambda daemon: daemon.stop() if daemon.bars == 14 else None
        daemon = await stand.run()
        ledger = daemon.parts.context.ledger
        assert not ledger.positions
        assert stand.result is not None
        assert stand.result.equity_end == ledger.wallet != daemon.parts.telemetry.equity

    trade(won(), story)


@pytest.mark.parametrize("how", ["handover", "twice"])
def test_left_by_a_handover_or_a_second_signal_the_position_keeps_its_stop(how: str, tmp_path: Path) -> None:
    """X34: and somebody is told what is left."""

    def look(daemon: LiveDaemon) -> None:
        if daemon.bars == 14:
            for _ in range(2 if how == "twice" else 1):
                daemon.stop()

    seen = stopped(tmp_path / "session", look, handover=how == "handover")
    assert list(seen.left) == [ETH]
    assert [alert[1] for alert in seen.alerts][-1] == "left_open"


@pytest.mark.parametrize("times", [1, 2])
def test_a_second_signal_does_not_wait_for_exchange_and_books_to_agree(times: int, tmp_path: Path) -> None:
    """X34: the first one does, since what is open may need its stop."""
    found = list[LiveDaemon]()

    async def story(stand: Stand) -> None:
        node = stand.start()
        while not stand.daemons:  # noqa: ASYNC110 - it is made soon
            await asyncio.sleep(0.01)
        for _ in range(times):
            stand.daemon.stop()
        await node.gone
        found.append(stand.daemon)

    trade(won(), story)
    assert (found[0].recovery is None, found[0].bars) == (times == 2, 0)


def test_a_start_that_comes_to_no_end_is_ended_by_the_first_signal_in_bounded_time() -> None:
    """The exchange answers some questions and not others; nobody should need to kill what he asked to stop."""
    took = list[tuple[float, bool, str]]()

    async def story(stand: Stand) -> None:
        node, time = stand.start(), asyncio.get_running_loop().time
        while not stand.daemons:  # noqa: ASYNC110 - it is made soon
            await asyncio.sleep(0.01)
        stand.venue.server.inject(Fault(FaultKind.REJECT, "GET", "/fapi/v1/positionSide/dual", times=0, code=-1000))
        stand.daemon.stop()
        asked_s = time()
        await node.gone
        took.append((time() - asked_s, stand.daemon.recovery is None, stand.daemon.unverified))

    trade(won(), story)
    ((seconds, unfinished, why),) = took
    assert LEAVE_WITHIN_S <= seconds < LEAVE_WITHIN_S + 5.0
    assert unfinished
    assert why == "the end did not wait for that"


def stopped(to: Path, look: Any, **how: Any) -> Seen:
    found = list[Seen]()

    async def story(stand: Stand) -> None:
        stand.look = look
        await stand.run()
        found.append(await look_at(stand, to))

    trade(won(), story, **how)
    return found[0]
