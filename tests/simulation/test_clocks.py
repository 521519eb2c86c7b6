"""Each node has its own wall clock, and nothing in the process knows another time or another chance."""

from __future__ import annotations

import asyncio
import importlib
import os
import random
import secrets
import sys
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from time import time as time_as_libraries_import_it
from types import ModuleType

import pytest

from core.clock import Clock, SystemClock
from tests.support.simulation.clocks import EPOCH_MS
from tests.support.simulation.world import Node, World, run_world

pytestmark = pytest.mark.untraced


async def tells_the_time(node: Node) -> None:
    began = time.monotonic()
    while True:
        clock: Clock = node.world.clocks
        now_ms = clock.now_ms()
        assert now_ms == SystemClock().now_ms() == time.time_ns() // 1_000_000 == int(time_as_libraries_import_it() * 1000)
        assert now_ms == int(datetime.now(UTC).timestamp() * 1000)
        node.world.note(now_ms - EPOCH_MS, time.monotonic() - began)
        await asyncio.sleep(1.0)


async def three_clocks(world: World) -> None:
    world.clocks.skew_ms["late"] = -6_000
    world.start("late", tells_the_time)
    world.start("right", tells_the_time)
    world.at(0.5, world.jump_clock, "right", 250)
    await asyncio.sleep(1.5)


def test_a_wrong_or_jumping_clock_is_its_nodes_alone_and_no_matter_of_monotonic_time() -> None:
    assert run_world(1, three_clocks).events == (
        "0.000000 late -6000 0.0",
        "0.000000 right 0 0.0",
        "0.500000 world clock right 250",
        "1.000000 late -5000 1.0",
        "1.000000 right 1250 1.0",
    )


async def chances(world: World) -> None:
    world.note(random.random(), os.urandom(4), secrets.token_hex(4), uuid.uuid4())


def test_all_chance_is_the_seeds() -> None:
    assert run_world(1, chances) == run_world(1, chances) != run_world(2, chances)


async def draws_after_an_import(world: World) -> None:
    importlib.import_module("draws_as_it_is_imported")
    world.note(os.urandom(4), secrets.token_hex(4), uuid.uuid4())


def test_what_a_module_draws_as_it_is_imported_shifts_nobody_elses_chance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first world of a process imports what later ones find: ids and keys of WebSocket handshakes are the same in both."""
    (tmp_path / "draws_as_it_is_imported.py").write_text("import os, random\nos.urandom(8)\nrandom.SystemRandom().random()\n")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        assert run_world(1, draws_after_an_import) == run_world(1, draws_after_an_import)
    finally:
        sys.modules.pop("draws_as_it_is_imported", None)


def test_outside_everything_is_as_it_was() -> None:
    before = (time.monotonic, os.urandom, random.getstate(), os.open)
    run_world(1, three_clocks)
    assert before == (time.monotonic, os.urandom, random.getstate(), os.open)
    assert abs(time.time() - EPOCH_MS / 1000) > 86_400


async def imports(_world: World) -> None:
    late = ModuleType("late")
    exec("from time import monotonic", late.__dict__)  # noqa: S102 - as an import statement inside does
    sys.modules["late"] = late
    assert late.monotonic() == 0.0


def test_a_module_imported_inside_has_the_real_clock_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "late", ModuleType("late"))
    run_world(1, imports)
    assert sys.modules["late"].monotonic is time.monotonic


async def made_ids(world: World) -> None:
    world.note(sys.modules["langgraph.ids"].uuid7())


def test_ids_of_graph_runs_are_the_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("langgraph.ids")
    module.uuid7 = uuid.uuid1  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "langgraph.ids", module)
    assert run_world(1, made_ids) == run_world(1, made_ids) != run_world(2, made_ids)
