"""Names that belong to others and that the simulation leans on: an upgrade that moves one is told here, by its name."""

from __future__ import annotations

import asyncio
import importlib
import random
import time
from asyncio import base_events

import aiohttp.connector
import aiohttp.http_websocket
import time_machine

from tests.support.simulation.clocks import mask_random
from tests.support.simulation.world import World, run_world


def test_the_loop_has_its_private_parts() -> None:
    loop = base_events.BaseEventLoop()
    for name in ("_ready", "_scheduled", "_clock_resolution", "_process_events"):
        assert hasattr(loop, name), name
    assert {"_selector", "_process_events", "_clock_resolution"} <= set(loop._run_once.__code__.co_names)
    loop.close()


def test_handles_have_theirs() -> None:
    loop = asyncio.new_event_loop()
    handle = loop.call_later(1.0, print)
    for name in ("_context", "_callback", "_args", "_cancelled", "_when"):
        assert hasattr(handle, name), name
    loop.close()


def test_libraries_took_the_clocks_that_are_replaced() -> None:
    assert aiohttp.connector.monotonic is time.monotonic
    throttler = importlib.import_module("ccxt.async_support.base.throttler")  # its package hides it behind a list
    assert throttler.time is time.time  # frozen in C, wherever it was imported
    assert random._urandom.__name__ == "urandom"
    assert isinstance(mask_random(aiohttp.http_websocket), random.Random)
    assert "__slots__" not in vars(time_machine.Traveller)


async def one_of_each(world: World) -> None:
    traveller = time_machine.traveller_stack[-1]
    assert traveller.time_ns() == world.clocks.wall_ns() == time.time_ns()
    assert aiohttp.connector.monotonic == world.loop.time


def test_the_replaced_ones_are_in_use() -> None:
    run_world(1, one_of_each)
