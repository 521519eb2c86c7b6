"""Virtual time: exact, instant, and never stuck in silence."""

from __future__ import annotations

import asyncio
import signal
import threading
import time

import pytest

from tests.support.simulation.loop import LIVELOCK_TURNS, Deadlock, Livelock
from tests.support.simulation.world import Node, World, run_world

pytestmark = pytest.mark.untraced

DAY_S = 86_400


async def thirty_days(world: World) -> None:
    await asyncio.sleep(30 * DAY_S)
    assert world.loop.time() == 30 * DAY_S


async def many_timers(world: World) -> None:
    async def sleeper(seconds: float) -> None:
        await asyncio.sleep(seconds)
        world.note(seconds)

    await asyncio.gather(*(sleeper(seconds / 10) for seconds in (7, 3, 9, 1)))


def test_thirty_days_of_sleep_are_one_step() -> None:
    before = time.perf_counter()
    assert run_world(1, thirty_days).virtual_s == 30 * DAY_S
    print(f"30 virtual days took {time.perf_counter() - before:.4f} s")


def test_timers_come_in_the_order_of_their_times_and_exactly_then() -> None:
    assert run_world(1, many_timers).events == tuple(f"{at:.6f} world {at}" for at in (0.1, 0.3, 0.7, 0.9))


async def timeouts(world: World) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.sleep(10), 2.5)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.5):
            await asyncio.Event().wait()
    assert world.loop.time() == 4.0


def test_timeouts_take_their_virtual_time() -> None:
    run_world(1, timeouts)


async def nobody_wakes(_world: World) -> None:
    await asyncio.shield(asyncio.Event().wait())


async def in_a_circle(_world: World) -> None:
    while True:  # noqa: ASYNC110 - the mistake that is to be found
        await asyncio.sleep(0)


def test_waiting_for_what_never_comes_is_told_not_waited_for() -> None:
    with pytest.raises(TimeoutError):
        run_world(1, nobody_wakes, limit_s=5.0)


def test_a_loop_with_nothing_to_do_is_a_deadlock() -> None:
    world = World(1, folder=None)  # type: ignore[arg-type]  # nothing here touches a disk
    with pytest.raises(Deadlock):
        world.loop.run_until_complete(world.loop.create_future())
    world.end()


def test_turning_in_a_circle_is_a_livelock() -> None:
    with pytest.raises(Livelock, match=str(LIVELOCK_TURNS)):
        run_world(1, in_a_circle)


async def blocking_work(world: World) -> None:
    def work(answer: int) -> int:
        world.note("working")
        assert threading.current_thread() is threading.main_thread()
        return 1 // answer

    assert await asyncio.to_thread(work, 1) == 1
    world.note("worked")
    with pytest.raises(ZeroDivisionError):
        await asyncio.to_thread(work, 0)


def test_threads_run_here_and_take_a_seeded_moment_before_and_after() -> None:
    began, ended, _ = (float(event.split()[0]) for event in run_world(3, blocking_work).events)
    assert 0 < began < ended < 0.01
    assert run_world(3, blocking_work) == run_world(3, blocking_work) != run_world(4, blocking_work)


async def a_set_of_tasks(world: World) -> None:
    async def one(number: int) -> None:
        try:
            await asyncio.sleep(1.0 if number else 0.5)
        finally:
            world.note(number)

    done, _ = await asyncio.wait({asyncio.create_task(one(number)) for number in range(1, 12)})
    world.note(*(task.get_name() for task in done))
    with pytest.raises(ExceptionGroup):  # noqa: PT012
        async with asyncio.TaskGroup() as group:
            for number in range(12):
                group.create_task(one(number))
            group.create_task(asyncio.wait_for(asyncio.Event().wait(), 0.7))


def test_sets_of_tasks_have_the_same_order_wherever_they_lie_in_memory() -> None:
    outcomes, garbage = [], []
    for size in (1, 999, 12_345):
        outcomes.append(run_world(1, a_set_of_tasks))
        garbage.append([object() for _ in range(size)])
    assert outcomes[0] == outcomes[1] == outcomes[2]


async def until_told(node: Node) -> None:
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    await told.wait()
    node.world.note("told")


async def a_signal(world: World) -> None:
    node = world.start("bot", until_told)
    world.at(3.0, world.signal, "bot", signal.SIGTERM)
    await node.gone


def test_a_signal_reaches_the_handler_of_its_node() -> None:
    assert run_world(1, a_signal).events[-1] == "3.000000 bot told"
