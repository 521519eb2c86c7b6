"""Our clock may be ahead of the exchange's by as much as it lets pass (issue 4)."""

from __future__ import annotations

import asyncio

from core.sim.server.faults import FaultKind
from tests.core.exec.live.kit import Bench, D, tell


def test_a_fill_that_is_older_than_its_order_seems_to_be_is_found_by_the_audit() -> None:
    """The stream tells nothing, and the clock that dates the order jumped ahead after it was measured."""

    async def story(bench: Bench) -> None:
        bench.world.jump_clock("world", 700)
        bench.inject(FaultKind.MISSING_EVENT, times=0)
        await bench.broker.place(bench.order())
        await asyncio.sleep(5.0)
        assert bench.held() == D("0.010")
        assert bench.broker.position_qty("BTC/USDT:USDT") == D("0.010")
        assert bench.broker.halted == {}

    tell(story)
