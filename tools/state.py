"""The graph's state: small, immutable values, one key written by one agent.

Market frames and services never stand here; they are reached through the runtime context.
"""

from __future__ import annotations

from typing import TypedDict

from msgspec import Struct

from core.types import (
    Adjustment,
    DecisionRecord,
    Event,
    GovernorView,
    HealthReport,
    Plan,
    Refusal,
    Regime,
    ScoredSignal,
)


class Status(Struct, frozen=True, gc=False):
    """Written by the brain: may the system act, and why not."""

    health: HealthReport
    governor: GovernorView


class Regimes(Struct, frozen=True, gc=False):
    """Written by market_regime: the held label of every symbol (in the run's order) on both carriers (X18)."""

    h1: tuple[Regime, ...]
    h4: tuple[Regime, ...]


class Selection(Struct, frozen=True, gc=False):
    """Written by strategy_selection: what may be planned, best first, and what was refused.

    ``manage`` lists symbols with an open position or an entry on its way, which the risk manager looks at on every bar;
    ``scored`` are all signals with their scores, before any gate.
    """

    candidates: tuple[ScoredSignal, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    scored: tuple[ScoredSignal, ...] = ()
    manage: tuple[str, ...] = ()


class RiskDecision(Struct, frozen=True, gc=False):
    """Written by risk_manager: admitted plans in order, changes to open positions, refusals."""

    plans: tuple[Plan, ...] = ()
    adjustments: tuple[Adjustment, ...] = ()
    refusals: tuple[Refusal, ...] = ()


class Execution(Struct, frozen=True, gc=False):
    """Written by execution: client ids of the orders sent, and refusals."""

    orders: tuple[str, ...] = ()
    refusals: tuple[Refusal, ...] = ()


class ResearchResult(Struct, frozen=True, gc=False):
    """Written by research: what came of a research or tightening request."""

    note: str
    refusals: tuple[Refusal, ...] = ()


class BrainState(TypedDict, total=False):
    """Keys of the StateGraph. ``event`` comes in from outside; the others have one writer each."""

    event: Event
    status: Status
    regimes: Regimes
    selection: Selection
    risk: RiskDecision
    execution: Execution
    research: ResearchResult
    record: DecisionRecord


STATE_TYPES: dict[str, type] = {
    "event": Event,
    "status": Status,
    "regimes": Regimes,
    "selection": Selection,
    "risk": RiskDecision,
    "execution": Execution,
    "research": ResearchResult,
    "record": DecisionRecord,
}
"""Exact type of each key; the node wrapper checks them at the border."""
