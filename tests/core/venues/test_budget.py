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


def test_what_others_of_our_address_use_makes_all_wait_but_what_is_urgent():
    """The venue counts by address: a download beside a daemon, and the daemon's own questions, never bring it to a ban."""

    async def story(now):
        fetch, orders = Budget(limit=300, reserve=0, address_most=1_000), Budget()
        for budget in (fetch, orders):
            budget.venue_counted(996)
            await budget.take(4, urgent=False)
        assert now() == 0.0
        await asyncio.sleep(1)
        for budget in (fetch, orders):
            budget.venue_counted(1_500)
        await orders.take(4, urgent=False)
        await fetch.take(4, urgent=True)
        assert now() == 1.0
        asyncio.get_running_loop().call_later(20, orders.venue_counted, 2_390)
        await fetch.take(4, urgent=False)
        assert now() == 61.0  # the venue begins each minute anew, so that no count is older than one
        await orders.take(4, urgent=False)
        assert now() == 81.0
        fetch.venue_counted(1_500)
        asyncio.get_running_loop().call_later(7, fetch.venue_counted, 3)
        await fetch.take(4, urgent=False)
        assert now() == 91.0

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
