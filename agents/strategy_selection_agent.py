"""Chooses what is worth planning: signals, scored, through the gates, best first (G7, X17)."""

from __future__ import annotations

from functools import lru_cache, partial

from agents.base import View
from configs.validators import EnableMap
from core.exec.instrument import Instrument
from core.strategies.gates import GateInputs, refuse
from core.types import Event, Refusal, ScoredSignal
from tools.context import BrainContext
from tools.state import Regimes, Selection, Status
from tools.toolkit import Toolkit
from tools.tools_strategy_selection_agent.cooldown_manager import cooldown_manager
from tools.tools_strategy_selection_agent.enable_map_loader import enable_map_loader
from tools.tools_strategy_selection_agent.strategy_scorer import strategy_scorer


class StrategySelectionAgent:
    """Every raw signal leaves here as a candidate or as a refusal with its code."""

    name = "strategy_selection"

    async def run(self, view: View, kit: Toolkit) -> Selection:
        event: Event = view["event"]
        status: Status = view["status"]
        regimes: Regimes = view["regimes"]
        context = kit.context
        enable_map = kit.call(enable_map_loader)
        found = kit.call(strategy_scorer, event, regimes, enable_map)
        manage = _in_play(context)
        if not found.scored and not found.abstentions:
            return _quiet(manage)
        candidates: list[ScoredSignal] = []
        refusals: list[Refusal] = list(found.abstentions)
        for scored in found.scored:
            resting = kit.call(cooldown_manager, scored.signal.strategy, event.ts)
            refusal = refuse(scored, _gate_inputs(context, scored, status, enable_map, resting))
            if refusal is None:
                candidates.append(scored)
            else:
                refusals.append(refusal)
        candidates.sort(key=lambda scored: _rank(scored, enable_map))
        return Selection(tuple(candidates), tuple(refusals), found.scored, manage)


@lru_cache(maxsize=64)
def _quiet(manage: tuple[str, ...]) -> Selection:
    """Nothing found; the same value object bar after bar lets its hash be reused too."""
    return Selection(manage=manage)


def _in_play(context: BrainContext) -> tuple[str, ...]:
    """Symbols with an open position, then those with an entry on its way."""
    held, pending = context.ledger.positions, context.orders.pending()
    if not held and not pending:
        return ()
    return (*held, *(plan.symbol for plan in pending if plan.symbol not in held))


def _rank(scored: ScoredSignal, enable_map: EnableMap) -> tuple[float, int, str]:
    order = enable_map.order(scored.regime.value)
    return (-scored.score, order.index(scored.signal.strategy), scored.signal.symbol)


def _gate_inputs(
    context: BrainContext, scored: ScoredSignal, status: Status, enable_map: EnableMap, resting_until: int | None
) -> GateInputs:
    signal = scored.signal
    index = context.market.index[signal.symbol]
    instrument: Instrument = context.market.instruments[index]
    return GateInputs(
        health=status.health,
        governor=status.governor,
        instrument=instrument,
        owner=_owner(context, signal.symbol),
        enabled=signal.strategy in enable_map.order(scored.regime.value),
        forbidden=scored.regime in context.strategies[signal.strategy].forbidden_regimes,
        resting_until=resting_until,
        news_clear=context.calendar.status(signal.ts, signal.symbol),
        evidence=partial(context.market.health.evidence, index),
    )


def _owner(context: BrainContext, symbol: str) -> str | None:
    position = context.ledger.positions.get(symbol)
    if position is not None:
        return position.plan.strategy
    return next((plan.strategy for plan in context.orders.pending() if plan.symbol == symbol), None)
