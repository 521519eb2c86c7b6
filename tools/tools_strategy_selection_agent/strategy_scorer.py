"""Find signals and give each its setup score (capability score_strategy; X39)."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from configs.validators import EnableMap
from core.data.blocks import Closed, Ints
from core.regimes import CARRIED_BY_H4
from core.risk.costs import CostModel
from core.strategies.base import MarketSnapshot, Strategy
from core.strategies.score import read_inputs
from core.types import Event, Refusal, Regime, ScoredSignal, Signal, Timeframe
from tools.base import Capability, tool
from tools.context import BrainContext
from tools.state import Regimes


class Found(Struct, frozen=True, gc=False):
    """Scored signals in strategy and symbol order, and strategies that just fell silent on a symbol."""

    scored: tuple[ScoredSignal, ...] = ()
    abstentions: tuple[Refusal, ...] = ()


_NOTHING = Found()


@tool("strategy_scorer", Capability.SCORE_STRATEGY)
def strategy_scorer(context: BrainContext, event: Event, regimes: Regimes, enable_map: EnableMap) -> Found:
    """Run the entry rules over the bars that closed now and score what they find.

    What the enable map shuts out in the present regime is not scored: it has no parts, and no gate lets it through.
    """
    closed = context.market.closed
    closing = {block.tf: block.idx for block in closed.blocks}
    snapshot: MarketSnapshot | None = None
    scored: list[ScoredSignal] = []
    silent: list[Refusal] = []
    for name, strategy in context.strategies.items():
        if closing.keys().isdisjoint(strategy.tfs):
            continue
        snapshot = snapshot or _snapshot(context, closed, closing)
        abstaining = strategy.abstaining(snapshot)
        if abstaining or context.abstentions.any_silent:
            silent.extend(context.abstentions.news(name, event.ts, _judged(snapshot, strategy), abstaining))
        for signal in strategy.generate(snapshot):
            scored.append(_score(context, signal, regimes, enable_map))  # noqa: PERF401 - mostly there is none
    return Found(tuple(scored), tuple(silent)) if scored or silent else _NOTHING


def _snapshot(context: BrainContext, closed: Closed, closing: Mapping[Timeframe, Ints]) -> MarketSnapshot:
    market = context.market
    return MarketSnapshot(
        ts=closed.ts,
        symbols=market.symbols,
        closed=closing,
        features=market.features.view,
        ready=market.features.ready,
        flags=market.flags,
        base_tf=market.base_tf,
        block_flags={block.tf: block.flags for block in closed.blocks},
    )


def _judged(snapshot: MarketSnapshot, strategy: Strategy) -> list[str]:
    rows = [row for tf in strategy.tfs if tf in snapshot.closed for row in snapshot.closed[tf].tolist()]
    return [snapshot.symbols[row] for row in rows]


def _score(context: BrainContext, signal: Signal, regimes: Regimes, enable_map: EnableMap) -> ScoredSignal:
    index = context.market.index[signal.symbol]
    held = regimes.h4[index] if signal.strategy in CARRIED_BY_H4 else regimes.h1[index]
    if signal.strategy not in enable_map.order(held.value):
        return ScoredSignal(signal, 0.0, context.quality.threshold, held, ())
    others = [symbol for symbol in context.ledger.positions if symbol != signal.symbol]
    inputs = read_inputs(
        signal,
        context.market.features.view,
        index,
        regime=Regime(held),
        threshold=context.quality.threshold,
        cost_r=_cost_in_r(context, signal, index),
        news_clear=context.calendar.status(signal.ts, signal.symbol),
        max_abs_rho=_greatest_rho(context, index, others),
        open_positions=len(others),
    )
    return context.scorer.score(signal, inputs)


def _cost_in_r(context: BrainContext, signal: Signal, index: int) -> float | None:
    """Round trip of a vanishing order in R (X13); the sizer judges the real one."""
    book = context.market.book(index, signal.ts)
    if book is None or not book.depth_usd > 0.0 or signal.atr <= 0.0:
        return None
    stop_distance = signal.atr * context.strategies[signal.strategy].profile(signal.tf).stop_atr
    model = CostModel.of(context.market.instruments[index], book.spread_bps, book.depth_usd)
    return model.cost_in_r(signal.entry, stop_distance)


def _greatest_rho(context: BrainContext, index: int, others: list[str]) -> float | None:
    """Greatest |correlation| to what is open; None when one of them is unknown, or nothing is open."""
    found = [context.correlations.rho(index, context.market.index[symbol]) for symbol in others]
    known = [abs(rho) for rho in found if rho is not None]
    return max(known) if known and len(known) == len(found) else None
