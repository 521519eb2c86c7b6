"""From a bar to a decided plan through the compiled graph, beside a graph that does nothing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from benchmarks.bare_graph import BareGraph, way_along
from benchmarks.market import RecordedSource, assembled, configuration
from benchmarks.measure import Measured, Spread, now_ns, only_new_garbage, parts, percentile
from core.data.blocks import Batch, Closed
from core.types import Event
from graph.assembly import Assembly
from graph.engines import GraphEngine
from graph.runner import Daemon, RunOptions
from graph.session_dir import SessionDir


@dataclass(frozen=True, slots=True)
class Sample:
    """One announcement: our time, the bare graph's on the same path, and whether a plan was decided."""

    ours_ns: int
    bare_ns: int
    planned: bool


class _Stopwatch(Daemon):
    """The daemon, timed from the arrival of a bar to its decision; commits lie outside, as they do for a live order."""

    def __init__(self, assembly: Assembly, folder: SessionDir) -> None:
        super().__init__(assembly, GraphEngine(), folder, RunOptions(unlock_after_ms=0))
        self._bare = BareGraph()
        self._ingest_ns = 0
        self.samples: list[Sample] = []

    def _ingest(self, batch: Batch) -> Closed:
        start = now_ns()
        closed = super()._ingest(batch)
        self._ingest_ns = now_ns() - start
        return closed

    async def _decide(self, event: Event) -> None:
        start = now_ns()
        await super()._decide(event)
        ours = now_ns() - start + self._ingest_ns
        way = way_along(tuple(name for name, _ in self.parts.context.trace.node_hashes))
        start = now_ns()
        await self._bare.run(way)
        bare = now_ns() - start
        self.samples.append(Sample(ours, bare, bool("risk" in self.last_state and self.last_state["risk"].plans)))


def measure(*, quick: bool) -> list[Measured]:
    """Rows ``decision_p50`` and ``decision_p99``."""
    symbols, bars, rounds = (3, 400, 2) if quick else (50, 6000, 5)
    samples = _samples(symbols, bars, quick=quick)
    planned = [sample for sample in samples if sample.planned]
    quiet = [sample for sample in samples if not sample.planned]
    # the short run of a smoke test may decide nothing; a real one must
    assert planned or quick, "no plan was decided"
    chosen = planned or quiet
    rows = [[sample.ours_ns / sample.bare_ns for sample in part] for part in parts(chosen, rounds)]
    del rows
    return [_p50(chosen, quiet, rounds), _p99(chosen, quiet, rounds)]


def _p50(chosen: list[Sample], quiet: list[Sample], rounds: int) -> Measured:
    spread = Spread.of([_ratio(part) for part in parts(chosen, rounds)])
    ours, bare = percentile([s.ours_ns for s in chosen], 0.5) / 1e6, percentile([s.bare_ns for s in chosen], 0.5) / 1e6
    note = f"{ours:.2f} ms against {bare:.2f} ms over {len(chosen)} bars; {len(quiet)} bars without a plan {_ratio(quiet):.2f}×"
    return Measured("decision_p50", spread, note)


def _p99(chosen: list[Sample], quiet: list[Sample], rounds: int) -> Measured:
    spread = Spread.of([percentile([s.ours_ns for s in part], 0.99) / 1e6 for part in parts(chosen, rounds)])
    bare = percentile([s.bare_ns for s in chosen], 0.99) / 1e6
    note = f"bare graph {bare:.2f} ms; bars without a plan {percentile([s.ours_ns for s in quiet], 0.99) / 1e6:.2f} ms"
    return Measured("decision_p99", spread, note)


def _ratio(samples: list[Sample]) -> float:
    return percentile([s.ours_ns for s in samples], 0.5) / percentile([s.bare_ns for s in samples], 0.5)


def _samples(symbols: int, bars: int, *, quick: bool) -> list[Sample]:
    warm = 50 if quick else 300
    source = RecordedSource(symbols, bars, quick=quick, every=bars)
    with assembled(configuration(symbols, quick=quick), source) as (assembly, folder), only_new_garbage():
        daemon = _Stopwatch(assembly, folder)
        asyncio.run(daemon.run())
    return daemon.samples[warm:]
