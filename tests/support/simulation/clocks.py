"""What time it is on each node, and the cures for everything that would make two runs of one seed differ."""

from __future__ import annotations

import contextlib
import inspect
import os
import random
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
import time_machine
from aiohttp import http_websocket

from tests.support.simulation.loop import NODE, SimulationLoop

EPOCH_MS = 1_767_571_200_000
"""2026-01-05T00:00:00Z, a Monday: what the clocks show when a world begins."""
_REAL_MONOTONIC = time.monotonic


class Clocks:
    """The wall clock of every node: the loop's time, and by how much each node's clock is wrong.

    ``skew_ms[node]`` may be set at any moment: the clock jumps. Read in microseconds, as floats of the loop hold no more.
    """

    def __init__(self, loop: SimulationLoop, epoch_ms: int = EPOCH_MS) -> None:
        self._loop = loop
        self._epoch_us = epoch_ms * 1000
        self.skew_ms: defaultdict[str, int] = defaultdict(int)

    def wall_ns(self) -> int:
        """Nanoseconds since the epoch on the clock of the node whose code is running."""
        return (self._epoch_us + round(self._loop.time() * 1e6) + self.skew_ms[NODE.get().node] * 1000) * 1000

    def now_ms(self) -> int:
        """The same in milliseconds: this is the ``Clock`` of ``core/clock.py``."""
        return self.wall_ns() // 1_000_000


@contextlib.contextmanager
def determined(loop: SimulationLoop, clocks: Clocks, seed: int) -> Iterator[None]:
    """Every clock and every source of chance in the process is the simulation's inside; ``perf_counter`` alone stays real.

    To be entered after everything was imported: names that modules took from others are replaced where they stand.
    """
    state = random.getstate()
    chance = random.Random(f"{seed}/entropy")
    random.seed(seed)
    travel = time_machine.travel(0, tick=False)
    travel.start().time_ns = clocks.wall_ns  # type: ignore[method-assign]
    try:
        with pytest.MonkeyPatch.context() as patch:
            _patch_monotonic(patch, loop)
            _patch_entropy(patch, chance)
            yield
    finally:
        _restore_monotonic(loop)
        travel.stop()
        random.setstate(state)


def _patch_monotonic(patch: pytest.MonkeyPatch, loop: SimulationLoop) -> None:
    patch.setattr(time, "monotonic", loop.time)
    patch.setattr(time, "monotonic_ns", lambda: round(loop.time() * 1e9))
    for module in _holding("monotonic", "aiohttp", "ccxt"):
        if module.monotonic is _REAL_MONOTONIC:
            patch.setattr(module, "monotonic", loop.time)


def _restore_monotonic(loop: SimulationLoop) -> None:
    """Modules that were imported inside took the loop's time for the real one."""
    for module in _holding("monotonic"):
        if module.monotonic == loop.time:
            module.monotonic = _REAL_MONOTONIC


def _patch_entropy(patch: pytest.MonkeyPatch, chance: random.Random) -> None:
    of_imports = random.Random(chance.getrandbits(64))

    def draw(size: int) -> bytes:
        """A module that is imported inside draws apart: only the first world of a process imports it."""
        return (of_imports if _importing() else chance).randbytes(size)

    patch.setattr(os, "urandom", draw)  # uuid4 and the keys of WebSocket handshakes
    patch.setattr(random, "_urandom", draw)  # secrets
    mask_random(http_websocket).seed(chance.getrandbits(64))
    for module in _holding("uuid7", "langchain_core", "langgraph", "langsmith"):
        patch.setattr(module, "uuid7", lambda *_args: uuid.UUID(int=chance.getrandbits(128), version=4))


def _importing() -> bool:
    """Whether an import statement is being carried out."""
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def mask_random(websocket: Any) -> random.Random:
    """The generator aiohttp masks its frames with: made once, at import, as a default argument."""
    defaults: dict[str, random.Random] = websocket.WebSocketWriter.__init__.__kwdefaults__
    return defaults["random"]


def _holding(attribute: str, *packages: str) -> list[Any]:
    """Loaded modules (of these packages) that have it, without waking those that would import something when asked."""
    found = [(name, module) for name, module in sorted(sys.modules.items()) if attribute in getattr(module, "__dict__", ())]
    return [module for name, module in found if not packages or name.partition(".")[0] in packages]
