"""What is told of an end at the exchange: what stays there, also beyond the books and in doubt (X34)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
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
from graph.live.daemon import LiveDaemon
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
