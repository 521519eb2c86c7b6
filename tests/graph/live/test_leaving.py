"""What is told of an end at the exchange: what stays there, also beyond the books and in doubt (X34)."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from core.exec.broker_ccxt import LiveBroker
from core.sim.local.values import NewOrder, OrderSide, OrderType
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


def ended(to: Path, look: Any, **how: Any) -> tuple[LiveDaemon, list[tuple[Any, ...]]]:
    found = list[LiveDaemon]()

    async def story(stand: Stand) -> None:
        stand.look = lambda daemon: look(daemon, stand)
        await stand.run()
        found.append(stand.daemon)
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
    assert (daemon.left, daemon.unasked, len(daemon.stays)) == ({ETH: "0.300"}, True, 1)
    assert told == [("warning", daemon.stays[0])]
    assert f"0.300 {ETH}" in daemon.stays[0]


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
