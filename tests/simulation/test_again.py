"""A world that fails says how to see it again."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.support.simulation.world import Node, World, run_world

pytestmark = pytest.mark.untraced

ROOT = Path(__file__).resolve().parents[2]


def command(words: str, **environ: str) -> subprocess.Popen[str]:
    """Start what a note says, in a process of its own."""
    _python, *arguments = words.split()
    return subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
    )


async def breaks(node: Node, what: str) -> None:
    await asyncio.sleep(1.0 + node.world.chance.random())
    raise LookupError(f"{what} lost at {node.world.loop.time()}")


async def unlucky(world: World, what: str) -> None:
    world.start("bot", lambda node: breaks(node, what))
    await asyncio.sleep(60.0)


def test_a_node_that_breaks_fails_the_world_with_the_command_that_does_it_again() -> None:
    with pytest.raises(LookupError) as caught:
        run_world(11, unlucky, "everything")
    [note] = caught.value.__notes__
    assert note == "again: python -m tests.support.simulation tests.simulation.test_again:unlucky 11 everything"
    said = command(note.removeprefix("again: ")).communicate()[1]
    assert str(caught.value) in said
    assert note in said


async def breaks_as_expected(world: World) -> None:
    bot = world.start("bot", lambda node: breaks(node, "little"), may_fail=True)
    await bot.gone
    assert isinstance(bot.task.exception(), LookupError)


def test_a_node_that_may_fail_is_the_scenarios_to_look_at() -> None:
    run_world(11, breaks_as_expected)


def test_no_world_leaves_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(LookupError):
        run_world(11, unlucky, "everything")
    assert not list(tmp_path.iterdir())


async def forgotten(world: World) -> None:
    world.at(1.0, asyncio.get_running_loop().call_soon, int, "no number")
    await asyncio.sleep(2.0)


def test_an_exception_that_asyncio_would_only_log_fails_the_world() -> None:
    with pytest.raises(AssertionError, match="no number"):
        run_world(11, forgotten)


async def misspelt(world: World) -> None:
    world.at(1.0, world.kill, "bott")
    await asyncio.sleep(2.0)


def test_a_script_that_is_wrong_fails_the_world() -> None:
    with pytest.raises(KeyError, match="bott"):
        run_world(11, misspelt)
