"""Runs over hand-made hours for tests of agents, and strategies that say what a test wants them to say."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from configs.validators import Configuration
from core.strategies.base import Abstention, ExitProfile, MarketSnapshot
from core.strategies.score import ScoreInputs
from core.types import Event, EventKind, Regime, ScoredSignal, Side, Signal, Timeframe, Trail, TrailStart
from graph.engines import DirectEngine
from tests.support.ladder import ATR_4H, HOUR, START_MS, HandMade, Hours, ladder
from tests.support.run import Look, Ran, run_over, short_configuration
from tools.context import BrainContext
from tools.state import BrainState

BTC, ETH, SOL = "BTC/USDT:USDT", "ETH/USDT:USDT", "SOL/USDT:USDT"
WAIT = 8
"""Hours of plain ladder before the breakout, so that it ends with a 4h bar."""
SIGNAL = WAIT + 3
"""Hour (from 0) at whose close the breakout is seen; the entry is filled in the next."""
CLOSE = 189.88
"""Close of the breakout: 100 + (1440 + 8) x 0.06 + 3."""
ATR = (13 * ATR_4H + 3.9) / 14
"""ATR(4h) at it: Wilder's mean of 1.84 and the breakout's range of 3.9."""


def breaking_out() -> Hours:
    """The ladder, and a breakout whose last hour is hour :data:`SIGNAL`."""
    return ladder().climb(WAIT).breakout()


def play(folder: Path, look: Look | None = None, config: Configuration | None = None, **paths: Hours) -> Ran:
    """A run over hours by coin (``BTC=...``), in the order given."""
    source = HandMade({f"{coin}/USDT:USDT": path for coin, path in paths.items()})
    return asyncio.run(run_over(source, folder, config=config or short_configuration(), look=look))


@contextmanager
def untouched(ran: Ran) -> Iterator[Ran]:
    """Lets a test change services and market numbers of a run that others use too, and puts them back."""
    context, market = ran.context, ran.context.market
    services: tuple[Any, ...] = (
        ran.parts.venue,
        context.ledger,
        context.orders,
        context.governor,
        context.cooldowns,
        context.quality,
        context.portfolio,
        context.correlations,
        context.abstentions,
        context.regimes,
    )
    features = market.features
    arrays = (market.last_close, market.last_ts, market.flags, *features.view.values(), *features.ready.values())
    saved, copies = [service.snapshot() for service in services], [array.copy() for array in arrays]
    yield ran
    for service, state in zip(services, saved, strict=True):
        service.restore(state)
    for array, copy in zip(arrays, copies, strict=True):
        array[:] = copy


def close_of(hour: int) -> int:
    """Time of the close of ``hour`` of the run."""
    return START_MS + (hour + 1) * HOUR


@dataclass
class Says:
    """A strategy that gives, on every hour, the signals that it was made with."""

    name: str
    signals: Callable[[int], list[Signal]] = lambda ts: []
    symbols: tuple[str, ...] = ()
    tfs: tuple[Timeframe, ...] = (Timeframe.H1,)
    required: tuple[str, ...] = ()
    forbidden_regimes: tuple[Regime, ...] = ()
    silent: tuple[Abstention, ...] = ()
    seen: list[MarketSnapshot] = field(default_factory=list)

    def generate(self, snapshot: MarketSnapshot) -> list[Signal]:
        self.seen.append(snapshot)
        return self.signals(snapshot.ts)

    def abstaining(self, snapshot: MarketSnapshot) -> tuple[Abstention, ...]:
        return self.silent

    def profile(self, tf: Timeframe) -> ExitProfile:
        trail = Trail(TrailStart.NEVER, 2.0, tf)
        return ExitProfile(tf, 2.0, (1.0,), (0.5,), trail, 24 * HOUR, funding_exit=False)


def saying(name: str, *symbols: str, side: Side = Side.LONG, entry: float = CLOSE, **more: object) -> Says:
    """A strategy called ``name`` with a signal for each of ``symbols`` on every hour."""

    def signals(ts: int) -> list[Signal]:
        return [
            Signal(f"{ts}-{name}-{symbol}", name, symbol, side, entry, Timeframe.H1, ts, ts + HOUR, "asked to", 2.0)
            for symbol in symbols
        ]

    return Says(name, signals, **more)  # type: ignore[arg-type]


def decide(ran: Ran, strategies: Sequence[Says] | None = None, **changes: object) -> tuple[BrainState, BrainContext]:
    """Decide the last bar of a run once more, with other strategies or other services in the context."""
    if strategies is not None:
        changes["strategies"] = {strategy.name: strategy for strategy in strategies}
    context = replace(ran.context, recorder=Deaf(), **changes)  # type: ignore[arg-type]
    event = Event(EventKind.BAR, ran.daemon.seq, context.market.closed.ts)
    return asyncio.run(DirectEngine().run(event, context)), context


class Level:
    """A scorer that finds everything equally good, or as good as it is told."""

    def __init__(self, **points: float) -> None:
        self._points = points

    def score(self, signal: Signal, inputs: ScoreInputs) -> ScoredSignal:
        return ScoredSignal(signal, self._points.get(signal.strategy, 9.0), inputs.threshold, inputs.regime, ())


class Deaf:
    """A recorder for decisions that are only looked at; the run's own store is closed by then."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *told: None
