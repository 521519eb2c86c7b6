"""Bulk replay through the direct engine, and the minimal core over the same bars, turn by turn.

The daemon runs once, whole; at the borders of a turn, while it waits for the next bar, its clock is stopped.
"""

from __future__ import annotations

import asyncio
import gc
import time
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class _Turn:
    """Symbol-bars a second, by the clock on the wall and by CPU time."""

    wall: float
    cpu: float


class _Clock:
    """Times one stretch of work."""

    def __init__(self) -> None:
        gc.collect()
        self._wall, self._cpu = now_ns(), time.process_time_ns()

    def stop(self, symbol_bars: int) -> _Turn:
        """Speed since the clock was made."""
        wall, cpu = now_ns() - self._wall, time.process_time_ns() - self._cpu
        return _Turn(symbol_bars / wall * 1e9, symbol_bars / cpu * 1e9)


class _Turns:
    """Times what the daemon does between two breaks, and lets the minimal core run in the breaks."""

    def __init__(self, steps: list[tuple[Row, ...]], symbols: int) -> None:
        self._steps, self._symbols = steps, symbols
        self._clock = _Clock()
        self._last = 0
        self.ours: list[_Turn] = []
        self.theirs: list[_Turn] = []

    def on_break(self, done: int) -> None:
        """``done`` announcements are dealt with; with none of them, the warm-up is over."""
        if done > self._last:
            self.ours.append(self._clock.stop((done - self._last) * self._symbols))
            clock = _Clock()
            replay(self._steps, self._symbols)
            self.theirs.append(clock.stop(len(self._steps) * self._symbols))
        else:
            gc.collect()
            gc.freeze()
        self._last = done
        self._clock = _Clock()


def _measure(row: str, symbols: int, *, quick: bool) -> Measured:
    turns = _run(symbols, 2 if quick else 7, COMMIT_EVERY if quick else 4 * COMMIT_EVERY, quick=quick)
    pairs = list(zip(turns.ours, turns.theirs, strict=True))[1:]  # the first turn fills caches and is not counted
    spread = Spread.of([ours.wall / theirs.wall for ours, theirs in pairs])
    ours, theirs = (Spread.of([pair[side].wall for pair in pairs]).median for side in (0, 1))
    by_cpu = Spread.of([ours.cpu / theirs.cpu for ours, theirs in pairs]).median
    note = (
        f"{ours:,.0f} symbol-bars/s against {theirs:,.0f}; {symbols / ours * 1e6:.0f} µs a bar of all; by CPU time {by_cpu:.3g}×"
    )
    return Measured(row, spread, note)


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
    """Every node of the last path but the recording one has left its hash; its own is the decision's link."""
    trace = daemon.parts.context.trace
    assert trace.edges, "the replay ran no node"
    assert [name for name, _ in trace.node_hashes] == [src for src, _, _ in trace.edges], "the replay left out node hashes"


def _rows(batch: Batch) -> tuple[Row, ...]:
    block = batch.bars[0]
    columns = (block.open_ts, block.open, block.high, block.low, block.close, block.volume)
    return tuple(zip(*(column.tolist() for column in columns), strict=True))
