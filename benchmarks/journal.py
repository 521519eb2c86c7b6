"""What the journal costs: time on each bar, room on the disk; and how soon a session stands again at any bar."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import numpy as np

from benchmarks.market import EQUITY_USD, SEED, RecordedSource, assembled, configuration, synthetic
from benchmarks.measure import Measured, Spread, now_ns, only_new_garbage, parts, percentile
from core.data.blocks import Batch
from core.data.sources.synthetic import SyntheticSource
from core.journal.reader import JournalReader
from core.journal.records import Word
from graph import journaling
from graph.assembly import Assembly
from graph.engines import DirectEngine, GraphEngine
from graph.opening import opening_of
from graph.rerun import rerun_from
from graph.run import Run
from graph.runner import COMMIT_EVERY, Daemon, RunOptions
from graph.session_dir import SessionDir
from graph.sessions import Session
from graph.stepping.stepper import stepping

_LATENCY_SYMBOLS = 3
_YEAR_BARS = 365 * 288
_OPTIONS = RunOptions(unlock_after_ms=0)


# --- latency --------------------------------------------------------------------------------------------------------


class _NoWords:
    """Nobody says anything."""

    def heard(self, ts: int) -> tuple[Word, ...]:  # noqa: ARG002
        return ()

    def done(self, word: Word) -> None:
        """Nothing was said."""


@dataclass(slots=True)
class _Side:
    """One of the two runs: what each bar took, and what waiting for the disk after it took, in ns."""

    parts: Assembly
    run: Run = field(init=False)
    bars_ns: list[int] = field(default_factory=list)
    waits_ns: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        journal = self.parts.journal
        self.run = Run(self.parts, GraphEngine(), journal, _NoWords(), unlock_after_ms=0)
        self.run.warm(self.parts.source)
        info, config = self.parts.source.info, self.parts.context.config
        journal.begin(opening_of("benchmark", info, config, {}, EQUITY_USD, 0), self.run.record(whole=True))

    async def bar(self, batch: Batch) -> None:
        """One bar, and after it what a paced run waits for."""
        start = now_ns()
        self.parts.journal.took(batch)
        await self.run.bar(batch)
        done = now_ns()
        self.parts.journal.sync()
        self.bars_ns.append(done - start)
        self.waits_ns.append(now_ns() - done)
        if self.run.bars % COMMIT_EVERY == 0:
            self.parts.store.commit()


def measure_latency(*, quick: bool) -> list[Measured]:
    """Row ``journal_latency``."""
    bars, rounds = (60, 2) if quick else (4200, 7)
    source = RecordedSource(_LATENCY_SYMBOLS, bars, quick=quick, every=bars)
    config = configuration(_LATENCY_SYMBOLS, quick=quick)
    with ExitStack() as stack:
        sides = [_Side(stack.enter_context(assembled(config, source, journal=kept))[0]) for kept in (True, False)]
        stack.enter_context(only_new_garbage())
        asyncio.run(_in_turns(sides, source.recorded))
    kept, bare = (parts(side.bars_ns[bars // 10 :], rounds) for side in sides)
    spread = Spread.of([percentile(a, 0.5) / percentile(b, 0.5) for a, b in zip(kept, bare, strict=True)])
    p50 = [percentile(side.bars_ns, 0.5) / 1e3 for side in sides]
    wait = percentile(sides[0].waits_ns, 0.5) / 1e3
    return [Measured("journal_latency", spread, f"{p50[0]:.0f} µs against {p50[1]:.0f} µs; then {wait:.0f} µs for the disk")]


async def _in_turns(sides: Sequence[_Side], batches: Sequence[Batch]) -> None:
    for number, batch in enumerate(batches):
        for side in sides if number % 2 else reversed(sides):
            await side.bar(batch)


# --- sessions ---------------------------------------------------------------------------------------------------------


@contextmanager
def _recorded(source: RecordedSource | SyntheticSource, symbols: int, *, quick: bool) -> Iterator[tuple[SessionDir, float]]:
    """The folder of a session over ``source`` at full speed, and the seconds that it took without its warm-up."""
    with assembled(configuration(symbols, quick=quick), source, journal=True) as (assembly, folder):
        daemon = Daemon(assembly, DirectEngine(), folder, _OPTIONS)
        daemon.warm()
        start = now_ns()
        asyncio.run(daemon.run())
        yield folder, (now_ns() - start) / 1e9


def _bytes(folder: SessionDir) -> int:
    return sum(segment.size for segment in JournalReader(folder.journal).segments)


def measure_year(*, quick: bool) -> list[Measured]:
    """Rows ``journal_bytes_1`` and ``journal_open``: one session of a year serves both."""
    bars, rounds = (600, 2) if quick else (_YEAR_BARS, 9)
    with _recorded(synthetic(1, bars, quick=quick), 1, quick=quick) as (folder, spent):
        size = _bytes(folder)
        asked = np.random.default_rng(SEED).integers(0, bars, rounds).tolist()
        _stand_at(folder, 0)  # what is loaded only once
        seconds = [_stand_at(folder, bar) for bar in asked]
        segments = len(JournalReader(folder.journal).segments)
    room = f"{size / 1e6:.1f} MB in {segments} segments for {bars:,} bars, which took {spent:.0f} s"
    stand = f"segments of {journaling.SEGMENT_BARS:,} bars with a state every {journaling.STATE_EVERY:,}, {size / 1e6:.1f} MB"
    return [
        Measured("journal_bytes_1", Spread.of([size / bars]), room),
        Measured("journal_open", Spread.of(seconds), stand),
    ]


def _stand_at(folder: SessionDir, bar: int) -> float:
    """Seconds until the stepper, just opened, stands before the first node of ``bar``."""

    async def go() -> None:
        with stepping(Session(folder)) as stepper:
            await stepper.stand(bar)
            await stepper.close()

    gc.collect()
    start = now_ns()
    asyncio.run(go())
    return (now_ns() - start) / 1e9


def measure_twenty(*, quick: bool) -> list[Measured]:
    """Row ``journal_bytes_20``."""
    symbols, bars = (3, 600) if quick else (20, _YEAR_BARS // 2)
    with _recorded(synthetic(symbols, bars, quick=quick), symbols, quick=quick) as (folder, _):
        size, segments = _bytes(folder), len(JournalReader(folder.journal).segments)
    note = f"{size / 1e6:.1f} MB in {segments} segments for {bars:,} bars of {symbols} symbols"
    return [Measured("journal_bytes_20", Spread.of([size / bars / symbols]), note)]


# --- replay -----------------------------------------------------------------------------------------------------------


def measure_replay(*, quick: bool) -> list[Measured]:
    """Row ``journal_replay``."""
    bars, rounds = (300, 2) if quick else (8192, 5)
    source = RecordedSource(_LATENCY_SYMBOLS, bars, quick=quick, every=bars)
    pairs = []
    for _ in range(rounds):
        with only_new_garbage(), _recorded(source, _LATENCY_SYMBOLS, quick=quick) as (folder, original):
            pairs.append((_made_again(folder, bars), original))
    speeds = [bars * _LATENCY_SYMBOLS / Spread.of(side).median for side in zip(*pairs, strict=True)]
    note = f"{speeds[0]:,.0f} symbol-bars/s against {speeds[1]:,.0f}, {_LATENCY_SYMBOLS} symbols, {bars:,} bars a round"
    return [Measured("journal_replay", Spread.of([again / original for again, original in pairs]), note)]


def _made_again(folder: SessionDir, bars: int) -> float:
    async def go() -> float:
        with rerun_from(JournalReader(folder.journal), DirectEngine()) as rerun:
            start = now_ns()
            rerun.compare_states()
            while await rerun.next() is not None:
                pass
            assert rerun.bar == bars, "the replay ended early"
            return (now_ns() - start) / 1e9

    return asyncio.run(go())
