"""Bulk replay through the direct engine, and the minimal core over the same bars, turn by turn."""

from __future__ import annotations

import asyncio
import gc
from itertools import pairwise

from benchmarks.market import RecordedSource, assembled, configuration
from benchmarks.measure import Measured, Spread, now_ns, only_new_garbage
from benchmarks.minimal_core import Row, replay
from core.data.blocks import Batch
from graph.engines import DirectEngine
from graph.runner import COMMIT_EVERY, Daemon, RunOptions


def measure_one(*, quick: bool) -> list[Measured]:
    """Row ``replay_1``."""
    return [_measure("replay_1", 1, quick=quick)]


def measure_twenty(*, quick: bool) -> list[Measured]:
    """Row ``replay_20``."""
    return [_measure("replay_20", 3 if quick else 20, quick=quick)]


class _Turns:
    """Times what the daemon does between two breaks, and lets the minimal core run in the breaks."""

    def __init__(self, steps: list[tuple[Row, ...]], symbols: int) -> None:
        self._steps, self._symbols = steps, symbols
        self._started = 0
        self._last = 0
        self.ours: list[float] = []
        self.theirs: list[float] = []

    def on_break(self, done: int) -> None:
        """``done`` announcements are dealt with."""
        stopped = now_ns()
        if done > self._last:
            self.ours.append((done - self._last) * self._symbols / (stopped - self._started) * 1e9)
            start = now_ns()
            replay(self._steps, self._symbols)
            self.theirs.append(len(self._steps) * self._symbols / (now_ns() - start) * 1e9)
        self._last = done
        gc.collect()
        self._started = now_ns()


def _measure(row: str, symbols: int, *, quick: bool) -> Measured:
    turns = _run(symbols, 2 if quick else 7, COMMIT_EVERY if quick else 4 * COMMIT_EVERY, quick=quick)
    ours, theirs = turns.ours[1:], turns.theirs[1:]  # the first turn fills caches and is not counted
    mine, other = Spread.of(ours), Spread.of(theirs)
    note = f"{mine.median:,.0f} symbol-bars/s against {other.median:,.0f}, {symbols / mine.median * 1e6:.0f} µs a bar of all symbols"
    return Measured(row, Spread.of([a / b for a, b in zip(ours, theirs, strict=True)]), note)


def _run(symbols: int, rounds: int, every: int, *, quick: bool) -> _Turns:
    """Whole transactions a turn: ``every`` is a multiple of the announcements between two commits."""
    source = RecordedSource(symbols, (rounds + 1) * every, quick=quick, every=every)
    turns = _Turns([_rows(batch) for batch in source.recorded], symbols)
    source.on_break = turns.on_break
    with assembled(configuration(symbols, quick=quick), source) as (parts, folder), only_new_garbage():
        daemon = Daemon(parts, DirectEngine(), folder, RunOptions(unlock_after_ms=0))
        asyncio.run(daemon.run())
        _check_hashes(daemon)
    return turns


def _check_hashes(daemon: Daemon) -> None:
    """Every node of the last path has left its hash."""
    trace = daemon.parts.context.trace
    visited = [src for src, _, _ in trace.edges] + ["monitor"]
    assert [name for name, _ in trace.node_hashes] == visited, "the replay left out node hashes"
    assert all(left[1] == right[0] for left, right in pairwise(trace.edges)), "the path has a hole"


def _rows(batch: Batch) -> tuple[Row, ...]:
    block = batch.bars[0]
    columns = (block.open_ts, block.open, block.high, block.low, block.close, block.volume)
    return tuple(zip(*(column.tolist() for column in columns), strict=True))
