"""A world that waits for ever ends its test instead of the whole run."""

import asyncio
import time
from contextlib import suppress

import pytest

from graph.console import Console, run_command
from tests import conftest
from tests.support.simulation.world import World, run_world
from tests.support.watchdog import Stuck, bounded


async def waits(_world: World) -> None:
    while True:
        with suppress(Exception):  # as parts of the product do, which go on whatever happens
            await asyncio.sleep(1.0)


def test_what_waits_for_ever_is_ended_and_named() -> None:
    with pytest.raises(AssertionError, match="it was not over") as ended, bounded(0.2):
        run_world(1, waits)
    assert isinstance(ended.value.__cause__, Stuck)
    assert "test_watchdog:waits" in str(ended.value.__cause__.__notes__)


def test_what_takes_its_end_for_an_interrupt_of_a_person_fails_all_the_same() -> None:
    """A command in this process answers 130 then, and the test that waited for it would go on."""
    codes = list[int]()
    with pytest.raises(AssertionError, match="it was not over"), bounded(0.2):
        codes.append(run_command(Console(), "brain.test/1", lambda: time.sleep(30.0)))
    assert codes == [130]


def test_a_wait_after_the_test_is_ended_too(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fixture that never comes to its end."""
    monkeypatch.setattr(conftest, "_STUCK_AFTER_S", 0.2)
    for hook in (conftest.pytest_runtest_setup, conftest.pytest_runtest_call, conftest.pytest_runtest_teardown):
        around = hook(request.node)
        next(around)
        with pytest.raises(Stuck) as stuck:
            time.sleep(30.0)
        with pytest.raises(AssertionError, match="it was not over"):
            around.throw(stuck.value)
