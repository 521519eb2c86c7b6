"""A whole run for tests: real services, real store in a temporary folder, any source, either engine.

    ran = await run_over(source, tmp_path)
    ran.result.trades, ran.decisions_hash, ran.states[-1]["risk"].plans

What a test wants to look at while a run goes on it sees through ``look``, called after every decision.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from configs.loader import load
from configs.validators import Configuration
from core.data.sources.base import Source
from core.monitor.store import Store
from core.monitor.telemetry import RunResult
from core.types import Event
from graph.assembly import Assembly, assemble
from graph.engines import Engine, EngineKind, build_engine
from graph.journaling import open_journal
from graph.runner import Daemon, RunOptions
from graph.session_dir import SessionDir
from tests.support.features import short_params
from tools.context import BrainContext
from tools.state import BrainState

EQUITY = 300.0

Look = Callable[[Event, BrainState, BrainContext], None]


@lru_cache
def configuration() -> Configuration:
    """The configuration that comes with the program."""
    return load()


@lru_cache
def short_configuration() -> Configuration:
    """The same with windows so short that sixty days of history warm everything."""
    return configuration().model_copy(update={"strategies": short_params()})


@dataclass(slots=True)
class Watched:
    """An engine that keeps every state it produced."""

    inner: Engine
    look: Look | None = None
    states: list[BrainState] = field(default_factory=list)

    async def run(self, event: Event, context: BrainContext) -> BrainState:
        state = await self.inner.run(event, context)
        self.states.append(state)
        if self.look is not None:
            self.look(event, state, context)
        return state


@dataclass(frozen=True, slots=True)
class Ran:
    """A run that is over; its services stand as they stood after the last bar."""

    parts: Assembly
    result: RunResult
    states: list[BrainState]
    folder: SessionDir
    daemon: Daemon

    @property
    def context(self) -> BrainContext:
        return self.parts.context

    @property
    def decisions_hash(self) -> str:
        return self.parts.recorder.decisions_hash


def assembled(source: Source, folder: Path, config: Configuration | None = None, equity: float = EQUITY) -> Assembly:
    """Services of a run over ``source``, not started; its store is in ``folder``."""
    store = Store(SessionDir(folder).database)
    return assemble(config or configuration(), source, store, equity, open_journal(SessionDir(folder).journal, store))


async def run_over(
    source: Source,
    folder: Path,
    *,
    engine: EngineKind = EngineKind.DIRECT,
    config: Configuration | None = None,
    options: RunOptions | None = None,
    look: Look | None = None,
) -> Ran:
    """Run ``source`` to its end (or as ``options`` say) with 300 USD; the store is closed afterwards."""
    parts = assembled(source, folder, config)
    watched = Watched(build_engine(engine), look)
    daemon = Daemon(parts, watched, SessionDir(folder), options or RunOptions())
    try:
        result = await daemon.run()
    finally:
        parts.store.close()
    return Ran(parts, result, watched.states, SessionDir(folder), daemon)
