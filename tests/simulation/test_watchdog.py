"""A world that waits for ever ends its test instead of the whole run."""

import asyncio
from contextlib import suppress

import pytest

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
