"""What is told of an end at the exchange: what stays there, also beyond the books and in doubt (X34)."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from core.exec.broker_ccxt import LiveBroker
from core.sim.local.values import NewOrder, OrderSide, OrderType
from core.sim.server.faults import Fault, FaultKind
from core.types import Order
from core.types import OrderPurpose as Purpose
from core.types import OrderSide as Side
from core.types import OrderType as Type
from graph.commands.drive import Driven
from graph.commands.paper_answer import answer_at_exchange
from graph.console import Answer
from graph.exit_codes import ExitCode
from graph.live.daemon import LEAVE_WITHIN_S, LiveDaemon
from graph.session_dir import SessionDir
from tests.agents.making import ETH
from tests.graph.live.kit import Stand, trade
from tests.graph.live.test_live_daemon import VENUE_ETH, rows, won

pytestmark = pytest.mark.slow
ENTRY = Order("k0-e0", "k0", ETH, Side.BUY, Type.LIMIT, Purpose.ENTRY, Decimal("0.5"), Decimal(100), False, 0)


def ended(
    to: Path, look: Any, at_end: Callable[[Stand], object] = lambda _: None, **how: Any
) -> tuple[LiveDaemon, list[tuple[Any, ...]]]:
    found = list[LiveDaemon]()

    async def story(stand: Stand) -> None:
        stand.look = lambda daemon: look(daemon, stand)
        await stand.run()
        found.append(stand.daemon)
        at_end(stand)
        stand.session.rename(to)

    trade(won(), story, **how)
    return found[0], rows(to, "SELECT level, message FROM alerts WHERE code = 'left_open'")


def test_what_was_bought_by_hand_stays_and_is_told_and_the_end_is_no_success(tmp_path: Path) -> None:
    """Its books are flat: nobody would hear of it else."""

    def look(daemon: LiveDaemon, stand: Stand) -> None:
        if daemon.bars == 4:
            stand.venue.exchange.place(NewOrder(VENUE_ETH, OrderSide.BUY, OrderType.MARKET, Decimal("0.300")))
            daemon.broker._audit.want("")
        if daemon.bars == 6:
            daemon.stop()

    daemon, told = ended(tmp_path / "session", look)
    assert not daemon.parts.context.ledger.positions
    assert (daemon.left, daemon.unasked, len(daemon.stays)) == ({ETH: "0.300"}, True, 2)
    assert told == [("warning", text) for text in daemon.stays]
    assert f"0.300 {ETH}" in daemon.stays[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_answer_of_a_run_that_leaves_something_unasked_for_is_5_and_says_what_it_is(number: int, tmp_path: Path) -> None:
    """Issue 4, point 6: one answer for paper and live."""
    answers = list[Answer]()

    def look(daemon: LiveDaemon, stand: Stand) -> None:
        if daemon.bars == 2:
            stand.venue.exchange.place(NewOrder(VENUE_ETH, OrderSide.BUY, OrderType.MARKET, Decimal("0.300")))
            daemon.broker._audit.want("")
        if daemon.bars == 4:
            say = daemon._say_what_is_left

            def said() -> None:
                say()
                driven = Driven(daemon.parts.telemetry.result(), daemon, number)
                answers.append(answer_at_exchange(driven, SessionDir.at(stand.session), UTC, {"more": 1}))

            daemon._say_what_is_left = said  # type: ignore[method-assign]
            daemon.stop()

    ended(tmp_path / "session", look)
    (answer,) = answers
    assert answer.code is ExitCode.PERSON
    assert (answer.data["left_open"], answer.data["in_doubt"], answer.data["more"]) == ({ETH: "0.300"}, (), 1)
    assert "4 bars (" in answer.text


@pytest.mark.parametrize("bought_at", [4, 13])
def test_what_no_fill_explains_stays_under_a_stop_while_the_plans_part_is_closed(bought_at: int, tmp_path: Path) -> None:
    """Nobody knows whose it is: a stop can be taken away again, a sale cannot (issue 4, point 6)."""
    at_exchange = list[tuple[Decimal, list[bool]]]()

    def look(daemon: LiveDaemon, stand: Stand) -> None:
        if daemon.bars == bought_at:
            assert bool(daemon.parts.context.ledger.positions) == (bought_at == 13)
            stand.venue.server.inject(Fault(FaultKind.MISSING_EVENT, times=0))
            stand.venue.exchange.place(NewOrder(VENUE_ETH, OrderSide.BUY, OrderType.MARKET, Decimal("0.300")))
            unexplained(daemon)
        if daemon.bars == bought_at + 1:
            stand.venue.server.clear_faults()
            assert daemon.broker._audit.surplus == {ETH: Decimal("0.300")}
            daemon.stop()

    def at_end(stand: Stand) -> None:
        venue = stand.venue.exchange
        stops = [algo.close_position for algo in venue.open_algos(VENUE_ETH)]
        at_exchange.append((venue.positions(VENUE_ETH)[0].qty, stops))

    daemon, told = ended(tmp_path / "session", look, at_end)
    assert at_exchange == [(Decimal("0.300"), [True])]
    assert not daemon.parts.context.ledger.positions
    assert (daemon.left, daemon.unasked) == ({ETH: "0.300"}, True)
    assert [text for _, text in told] == list(daemon.stays)
    assert daemon.stays[-1] == (
        f"of this 0.300 {ETH} belong to no plan, so no end of a run closes them; sell or keep them at the exchange"
    )


def test_what_the_books_have_and_the_exchange_has_not_is_no_success_either(tmp_path: Path) -> None:
    """Nothing is left to be closed: only a person can say what became of it."""
    had = list[str]()

    def look(daemon: LiveDaemon, stand: Stand) -> None:
        if daemon.bars == 13:
            qty = stand.venue.exchange.positions(VENUE_ETH)[0].qty
            had.append(str(qty))
            stand.venue.server.inject(Fault(FaultKind.MISSING_EVENT, times=0))
            stand.venue.exchange.place(NewOrder(VENUE_ETH, OrderSide.SELL, OrderType.MARKET, qty))
            unexplained(daemon)
        if daemon.bars == 14:
            daemon.stop()

    daemon, told = ended(tmp_path / "session", look)
    assert (daemon.left, daemon.unasked) == ({}, True)
    assert told == [
        ("warning", f"the books still have {had[0]} {ETH}, and the exchange has not: look there, then `brain accept`")
    ]


def test_what_came_to_be_there_since_the_last_comparison_is_told(tmp_path: Path) -> None:
    """The exchange is compared once more at the end: the comparison before it may be a minute old."""

    def look(daemon: LiveDaemon, stand: Stand) -> None:
        if daemon.bars == 13:
            stand.venue.server.inject(Fault(FaultKind.MISSING_EVENT, times=1))
            stand.venue.exchange.place(NewOrder(VENUE_ETH, OrderSide.BUY, OrderType.MARKET, Decimal("0.300")))
            daemon.stop()

    daemon, told = ended(tmp_path / "session", look)
    assert not daemon.parts.context.ledger.positions
    assert (daemon.left, daemon.unverified, daemon.unasked) == ({ETH: "0.300"}, "", True)
    assert [text for _, text in told] == list(daemon.stays)
    assert not any("unverified" in text for text in daemon.stays)


def until_told(daemon: LiveDaemon, stand: Stand) -> list[float]:
    """Faults last until the daemon has said what is left; when it was asked to stop, and when it said so."""
    time = asyncio.get_running_loop().time
    times, say = [time()], daemon._say_what_is_left

    def said() -> None:
        say()
        times.append(time())
        stand.venue.server.clear_faults()

    daemon._say_what_is_left = said  # type: ignore[method-assign]
    return times


SILENT = Fault(FaultKind.HANG, method="GET", path="/fapi/v3/positionRisk", times=0, delay_ms=600_000)
REFUSING = Fault(FaultKind.REJECT, method="GET", path="/fapi/v3/positionRisk", times=0, code=-1000)


@pytest.mark.parametrize(
    ("fault", "how", "why"),
    [
        (SILENT, "once", "it could not be in time: RequestTimeout"),
        (REFUSING, "handover", "it could not be in time: OperationFailed"),
        (SILENT, "twice", "the end did not wait for that"),
    ],
)
def test_an_exchange_that_cannot_be_compared_at_the_end_leaves_what_is_told_unverified(
    fault: Fault, how: str, why: str, tmp_path: Path
) -> None:
    """In the time of the stop, and with the moment of the comparison before."""
    compared, times = list[int](), list[list[float]]()

    def look(daemon: LiveDaemon, stand: Stand) -> None:
        if daemon.bars == 14:
            compared.append(daemon.broker.compared_ms)
            stand.venue.server.inject(fault)
            times.append(until_told(daemon, stand))
            for _ in range(2 if how == "twice" else 1):
                daemon.stop()

    daemon, told = ended(tmp_path / "session", look, handover=how == "handover")
    ((asked, said),) = times
    assert said - asked <= (1.0 if how == "twice" else LEAVE_WITHIN_S + 0.1)
    assert daemon.unverified == why
    assert [text for _, text in told] == list(daemon.stays)
    at = f"{datetime.fromtimestamp(compared[0] / 1000, UTC):%H:%M:%S}"
    begins = "nothing is left" if how == "once" else "so it is"
    assert daemon.stays[-1] == (
        f"{begins} as of the comparison of {at} UTC, unverified since: the exchange was to be compared once more at the end,"
        f" and {why}; look there"
    )
    assert (list(daemon.left), daemon.unasked) == (([], True) if how == "once" else ([ETH], False))
    assert [level for level, _ in told] == ["warning"] * len(daemon.stays)


@pytest.mark.parametrize("gone_after", [2, 0])
def test_orders_that_are_being_called_back_at_the_end_are_waited_for_and_told_if_they_stay(
    gone_after: int, tmp_path: Path
) -> None:
    """Its stops go when a position does; one that rested on would hit the next."""
    resting = list[int]()

    def look(daemon: LiveDaemon, stand: Stand) -> None:
        if daemon.bars == 14:
            path = "/fapi/v1/algoOrder"
            stand.venue.server.inject(Fault(FaultKind.REJECT, method="DELETE", path=path, times=gone_after, code=-1000))
            until_told(daemon, stand)
            daemon.stop()

    def at_end(stand: Stand) -> None:
        resting.append(len(stand.venue.exchange.open_algos(VENUE_ETH)))

    daemon, told = ended(tmp_path / "session", look, at_end)
    assert (daemon.left, daemon.unverified) == ({}, "")
    assert bool(resting[0]) == bool(told) == daemon.unasked == (not gone_after)
    if told:
        ((_, text),) = told
        assert text.startswith("orders left at the exchange although nothing is held there: ")
        assert text.endswith("; cancel them, or start again")


@pytest.mark.parametrize("bars", [4, 14])
def test_a_handover_is_no_success_where_an_order_rests_that_would_open_something(
    bars: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Filled after the end it would have no stop, beside a position (bar 14) as without one."""
    there, stopped = LiveBroker.open_orders, list[bool]()

    def resting(broker: LiveBroker, symbol: str | None = None) -> tuple[Order, ...]:
        return (*there(broker, symbol), *([ENTRY] if stopped else []))

    def look(daemon: LiveDaemon, _: Stand) -> None:
        if daemon.bars == bars:
            stopped.append(True)
            daemon.stop()

    monkeypatch.setattr(LiveBroker, "open_orders", resting)
    daemon, told = ended(tmp_path / "session", look, handover=True)
    assert (list(daemon.left), daemon.unasked) == ([ETH] if bars == 14 else [], True)
    assert told == [("warning", text) for text in daemon.stays]
    assert daemon.stays[-1] == (
        "orders left at the exchange that would open something, with nobody to watch: k0-e0; cancel them, or start again"
    )


def unexplained(daemon: LiveDaemon) -> None:
    """The exchange lists no trades any more; what differs in the end is known, so nobody asks for it."""

    async def trades(*_: object, **__: object) -> tuple[()]:
        return ()

    async def compare() -> tuple[()]:
        return ()

    daemon.broker._account.trades = trades  # type: ignore[attr-defined]
    daemon.broker.compare = compare  # type: ignore[method-assign]
    daemon.broker._audit.want("")


@pytest.mark.parametrize("found_after_s", [40.0, 1e9])
def test_a_handover_waits_for_an_entry_in_doubt_and_names_one_that_stays_so(
    found_after_s: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Filled after the end it would have no stop, whatever is said of those that have one."""
    ends = list[float]()

    def doubt(_: LiveBroker) -> tuple[Order, ...]:
        return (ENTRY,) if ends and asyncio.get_running_loop().time() < ends[0] + found_after_s else ()

    def look(daemon: LiveDaemon, _: Stand) -> None:
        if daemon.bars == 4:
            ends.append(asyncio.get_running_loop().time())
            daemon.stop()

    monkeypatch.setattr(LiveBroker, "in_doubt", property(doubt))
    daemon, told = ended(tmp_path / "session", look, handover=True)
    stays = found_after_s > 60.0
    assert (daemon.left, daemon.unasked) == ({}, stays)
    assert daemon.unknown == (("k0-e0 (buy 0.5 ETH/USDT:USDT)",) if stays else ())
    assert [level for level, _ in told] == (["warning"] if stays else [])
