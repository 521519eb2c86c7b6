"""From a bar to a decided plan through the compiled graph, beside a graph that does nothing."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.bare_graph import BareGraph
from benchmarks.market import RecordedSource, assembled, configuration
from benchmarks.measure import Measured, Spread, now_ns, only_new_garbage, parts, percentile
from core.data.blocks import Batch, Closed
from core.types import Event
from graph.engines import GraphEngine
from graph.run import Run
from graph.runner import Daemon, RunOptions

_FIRST_TO_COUNT = 5
"""Samples before it fill caches."""
_QUIET_EVERY = 8
"""Of the bars without a plan, one in so many is looked at."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One announcement: our time (wall and CPU), the bare graph's on the same path, and whether a plan was decided."""

    ours_ns: int
    ours_cpu_ns: int
    bare_ns: int
    planned: bool


class _TimedRun(Run):
    """A run, timed from the arrival of a bar to its decision; commits lie outside, as they do for a live order."""

    def __init__(self, *parts: Any, **more: Any) -> None:
        super().__init__(*parts, **more)
        self._bare = BareGraph()
        self._started = self._cpu_started = 0
        self.samples: list[Sample] = []

    def _ingest(self, batch: Batch) -> Closed:
        self._started, self._cpu_started = now_ns(), time.thread_time_ns()
        return super()._ingest(batch)

    async def decide(self, event: Event) -> None:
        """Time it, and the bare graph on the same way."""
        await super().decide(event)
        cpu, wall = time.thread_time_ns() - self._cpu_started, now_ns() - self._started
        planned = "risk" in self.last_state and bool(self.last_state["risk"].plans)
        if not planned and self.seq % _QUIET_EVERY:
            return
        way = {src: label for src, _, label in self.parts.context.trace.edges}
        start = now_ns()
        await self._bare.run(way)
        self.samples.append(Sample(wall, cpu, now_ns() - start, planned))


class _Stopwatch(Daemon):
    """The daemon over a timed run."""

    run_type = _TimedRun

    @property
    def timed(self) -> _TimedRun:
        assert isinstance(self._run, _TimedRun)
        return self._run


def measure(*, quick: bool) -> list[Measured]:
    """Rows ``decision_p50`` and ``decision_p99``."""
    symbols, bars, rounds = (3, 120, 2) if quick else (50, 9000, 5)
    samples = _samples(symbols, bars, quick=quick)
    planned = [sample for sample in samples if sample.planned]
    quiet = [sample for sample in samples if not sample.planned]
    assert planned or quick, "no plan was decided"  # the short run of a smoke test may decide none
    chosen = planned if len(planned) >= rounds else samples
    return [_p50(chosen, quiet, rounds), _p99(chosen, quiet, rounds)]


def _p50(chosen: list[Sample], quiet: list[Sample], rounds: int) -> Measured:
    spread = Spread.of([_ratio(part) for part in parts(chosen, rounds)])
    ours, bare = percentile([s.ours_ns for s in chosen], 0.5) / 1e6, percentile([s.bare_ns for s in chosen], 0.5) / 1e6
    note = f"{ours:.2f} ms against {bare:.2f} ms, {len(chosen)} bars with a plan; bars without one {_ratio(quiet):.2f}×"
    return Measured("decision_p50", spread, note)


def _p99(chosen: list[Sample], quiet: list[Sample], rounds: int) -> Measured:
    spread = Spread.of([percentile([s.ours_ns for s in part], 0.99) / 1e6 for part in parts(chosen, rounds)])
    cpu, bare = percentile([s.ours_cpu_ns for s in chosen], 0.99) / 1e6, percentile([s.bare_ns for s in chosen], 0.99) / 1e6
    without = percentile([s.ours_ns for s in quiet], 0.99) / 1e6
    note = f"by CPU time {cpu:.2f} ms; bare graph {bare:.2f} ms; bars without a plan {without:.2f} ms"
    return Measured("decision_p99", spread, note)


def _ratio(samples: Sequence[Sample]) -> float:
    return percentile([s.ours_ns for s in samples], 0.5) / percentile([s.bare_ns for s in samples], 0.5)


def _samples(symbols: int, bars: int, *, quick: bool) -> list[Sample]:
    source = RecordedSource(symbols, bars, quick=quick, every=bars)
    source.on_break = _forget_the_past
    with assembled(configuration(symbols, quick=quick, small_plans=True), source) as (assembly, folder), only_new_garbage():
        daemon = _Stopwatch(assembly, GraphEngine(), folder, RunOptions(unlock_after_ms=0))
        asyncio.run(daemon.run())
    return daemon.timed.samples[_FIRST_TO_COUNT:]


def _forget_the_past(done: int) -> None:
    """When the warm-up is over, keep what it left out of the collector's sight."""
    if done == 0:
        gc.collect()
        gc.freeze()
