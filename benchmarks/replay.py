"""Bulk replay through the direct engine, and the minimal core over the same bars, turn by turn.

The daemon runs once, whole; at the borders of a turn, while it waits for the next bar, its clock is stopped.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.market import RecordedSource, assembled, configuration
from benchmarks.measure import Measured, Spread, now_ns, only_new_garbage, parts
from benchmarks.minimal_core import Row, replay
from core.data.blocks import Batch
from graph.engines import DirectEngine
from graph.runner import COMMIT_EVERY, Daemon, RunOptions

_CORE_SYMBOL_BARS = 20_000
"""What the minimal core runs over in a break: enough for the clock, little beside a turn of ours."""


def measure_one(*, quick: bool) -> list[Measured]:
    """Row ``replay_1``."""
    return [_measure("replay_1", 1, quick=quick)]


def measure_twenty(*, quick: bool) -> list[Measured]:
    """Row ``replay_20``."""
    return [_measure("replay_20", 3 if quick else 20, quick=quick)]


@dataclass(frozen=True, slots=True)
class _Turn:
    """Some symbol-bars and what they took, by the clock on the wall and in CPU time."""

    symbol_bars: int
    wall_ns: int
    cpu_ns: int


class _Clock:
    """Times one stretch of work."""

    def __init__(self) -> None:
        gc.collect()
        self._wall, self._cpu = now_ns(), time.process_time_ns()

    def stop(self, symbol_bars: int) -> _Turn:
        """What it took since the clock was made."""
        return _Turn(symbol_bars, now_ns() - self._wall, time.process_time_ns() - self._cpu)


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
    rounds, turns_a_round = (2, 1) if quick else (7, 4)
    turns = _run(symbols, (rounds + 1) * turns_a_round, quick=quick)
    # the first round fills caches and is not counted
    ours, theirs = (parts(taken[turns_a_round:], rounds) for taken in (turns.ours, turns.theirs))
    pairs = list(zip(ours, theirs, strict=True))
    spread = Spread.of([_speed(a) / _speed(b) for a, b in pairs])
    mine, other = Spread.of([_speed(a) for a in ours]).median, Spread.of([_speed(b) for b in theirs]).median
    by_cpu = Spread.of([_speed(a, cpu=True) / _speed(b, cpu=True) for a, b in pairs]).median
    note = (
        f"{mine:,.0f} symbol-bars/s against {other:,.0f}; {symbols / mine * 1e6:.0f} µs a bar of all; by CPU time {by_cpu:.3g}×"
    )
    return Measured(row, spread, note)


def _speed(turns: Sequence[_Turn], *, cpu: bool = False) -> float:
    """Symbol-bars a second."""
    spent = sum(turn.cpu_ns if cpu else turn.wall_ns for turn in turns)
    return sum(turn.symbol_bars for turn in turns) / spent * 1e9


def _run(symbols: int, turns_wanted: int, *, quick: bool) -> _Turns:
    """A turn is a whole transaction of the daemon's, and short, so that other work on the machine meets both sides."""
    source = RecordedSource(symbols, turns_wanted * COMMIT_EVERY, quick=quick, every=COMMIT_EVERY)
    turns = _Turns([_rows(batch) for batch in source.recorded[: _CORE_SYMBOL_BARS // symbols]], symbols)
    source.on_break = turns.on_break
    with assembled(configuration(symbols, quick=quick), source) as (assembly, folder), only_new_garbage():
        daemon = Daemon(assembly, DirectEngine(), folder, RunOptions(unlock_after_ms=0))
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
