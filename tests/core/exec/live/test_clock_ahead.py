"""Our clock may be ahead of the exchange's by as much as it lets pass (issue 4)."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

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


@pytest.mark.parametrize("step_ms", [1_500, -60_000])
def test_whatever_is_refused_for_its_time_has_the_clock_measured(step_ms: int) -> None:
    """Only a refused order had: cancels, look-ups and comparisons were refused for five minutes (finding D4)."""

    async def story(bench: Bench) -> None:
        await bench.enter()
        stop = bench.stop()
        await bench.broker.place(stop)
        bench.world.jump_clock("world", step_ms)
        await bench.broker.cancel(stop.symbol, stop.client_id)
        await bench.until(lambda: len(bench.algos()) == 1, 2.0)

    tell(story)


def test_the_clock_is_measured_at_most_once_a_second() -> None:
    async def story(bench: Bench) -> None:
        account, measured = bench.broker._account, [0]

        async def set_clock() -> float:
            measured[0] += 1
            return 0.0

        account.set_clock = set_clock  # type: ignore[attr-defined]
        bench.inject(FaultKind.REJECT, method="GET", path="/fapi/v1/openOrders", code=-1021, times=0)
        begun = bench.world.loop.time()
        while bench.world.loop.time() < begun + 4.0:
            with suppress(Exception):
                await account.open_orders()
            await asyncio.sleep(0.1)
        assert 3 <= measured[0] <= 5

    tell(story)


def test_a_clock_that_is_set_forward_ends_no_wait_for_an_order_that_may_still_arrive() -> None:
    """F2: it was proven absent while it was on its way, and then came back from the dead."""

    async def story(bench: Bench) -> None:
        order, account = bench.order(), bench.broker._account
        bench.inject(FaultKind.LATE, method="POST", path="/fapi/v1/order", delay_ms=2_700)
        await bench.broker.place(order)
        real = account.now_ms
        account.now_ms = lambda: real() + 60_000  # type: ignore[attr-defined]
        await bench.hear(2.0)
        assert [row.client_id for row in bench.broker.in_doubt] == [order.client_id]
        await bench.hear(5.0)
        assert bench.held() == bench.broker.position_qty(order.symbol) == D("0.010")
        assert bench.broker.halted == {}

    tell(story)
