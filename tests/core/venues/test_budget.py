"""A burst of orders never waits in a queue; only a full window makes anybody wait (B7)."""

import asyncio

import pytest

from core.venues.budget import Budget
from core.venues.errors import LeftAlone
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
        budget = Budget(limit=100, reserve=0)
        await budget.take(100, urgent=False)
        await asyncio.sleep(20)
        await budget.take(1, urgent=True)
        assert now() >= 60.0

    spend(story)


def test_what_is_kept_back_for_orders_is_left_to_them_by_all_else():
    async def story(now):
        budget = Budget(limit=100, reserve=40)
        await budget.take(60, urgent=False)
        question = asyncio.create_task(budget.take(1, urgent=False))
        await asyncio.sleep(0)
        await budget.take(40, urgent=True)
        assert (now(), question.done()) == (0.0, False)
        await question
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


@pytest.mark.parametrize("urgent", [True, False])
def test_while_the_venue_wants_to_be_left_alone_nothing_passes(urgent):
    """It bans whoever goes on, and for longer each time; whoever would wait unheard is told at once."""

    async def story(now):
        budget = Budget()
        budget.close_for(5.0)
        budget.close_for(1.0)
        assert budget.closed_s == 5.0
        with pytest.raises(LeftAlone, match="left alone for 5 s") as refused:
            await budget.take(1, urgent=urgent, patient=False)
        assert (now(), refused.value.retry_after_s) == (0.0, 5.0)
        await budget.take(1, urgent=urgent)
        assert now() == 5.0
        assert budget.closed_s == 0.0

    spend(story)


def test_what_is_not_patient_waits_for_room_but_not_for_a_ban_that_begins_meanwhile():
    async def story(now):
        budget = Budget(limit=10, reserve=0)
        await budget.take(10, urgent=True)
        await budget.take(1, urgent=True, patient=False)
        assert now() >= 60.0
        await budget.take(9, urgent=True)
        asyncio.get_running_loop().call_later(20, budget.close_for, 3_600.0)
        with pytest.raises(LeftAlone):
            await budget.take(5, urgent=True, patient=False)
        assert now() < 130.0

    spend(story)
