"""A burst of orders never waits in a queue; only a full window makes anybody wait (B7)."""

import asyncio

from core.venues.budget import Budget
from tests.support.simulation.world import run_world


def spend(story):
    async def scenario(world):
        await story(world.loop.time)

    run_world(1, scenario)


def test_ten_orders_at_once_wait_for_nothing():
    async def story(now):
        budget = Budget()
        await asyncio.gather(*(budget.take(4, urgent=True) for _ in range(10)))
        assert now() == 0.0

    spend(story)


def test_a_full_window_is_waited_for():
    async def story(now):
        budget = Budget(limit=100, reserve=40)
        await budget.take(60, urgent=False)
        await budget.take(40, urgent=True)  # what is kept back for orders
        await asyncio.sleep(20)
        await budget.take(1, urgent=False)
        assert now() >= 60.0

    spend(story)


def test_a_request_that_alone_is_too_large_passes_when_nothing_else_is_there():
    async def story(now):
        budget = Budget(limit=10, reserve=0)
        await budget.take(50, urgent=False)
        assert now() == 0.0
        await budget.take(1, urgent=True)
        assert now() >= 60.0

    spend(story)


def test_while_the_venue_wants_to_be_left_alone_only_what_is_urgent_passes():
    async def story(now):
        budget = Budget()
        budget.close_for(5.0)
        budget.close_for(1.0)
        assert budget.closed_s == 5.0
        await budget.take(1, urgent=True)
        assert now() == 0.0
        await budget.take(1, urgent=False)
        assert now() == 5.0
        assert budget.closed_s == 0.0

    spend(story)
