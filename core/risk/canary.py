"""How big an entry is: whole, or a canary (X35, J2). A pure choice, made before the engine is asked.

A candidate that left paper trades as a canary until it is promoted, and a first life with real money may trade everything so.
A canary risks ``canary_r_pct`` of equity, or as much as the smallest legal order does where that is at most
``canary_max_real_r_pct``; else the candidate stays in paper with ``UNSIZABLE`` (:meth:`core.risk.engine.RiskEngine.plan_canary`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from core.risk.context import RiskContext
from core.risk.engine import RiskEngine
from core.types import Plan, Refusal, ScoredSignal


class Sizing(StrEnum):
    """How an entry is sized."""

    WHOLE = "whole"
    CANARY = "canary"


@dataclass(frozen=True, slots=True)
class SizingPolicy:
    """Which strategies trade as canaries: those named, or all of them. Without a word every one is whole.

    Example:
        >>> SizingPolicy(canaries=("funding_rev",)).sizing("funding_rev")
        <Sizing.CANARY: 'canary'>
    """

    canaries: tuple[str, ...] = ()
    all_canaries: bool = False

    @classmethod
    def of(cls, sizing: Sizing) -> SizingPolicy:
        """The policy of a run in which every entry is sized so."""
        return cls(all_canaries=sizing is Sizing.CANARY)

    def sizing(self, strategy: str) -> Sizing:
        """How an entry of ``strategy`` is sized."""
        return Sizing.CANARY if self.all_canaries or strategy in self.canaries else Sizing.WHOLE

    def may_add(self, strategy: str) -> bool:
        """Whether a winner of ``strategy`` may be added to: never to a canary, whose whole point is its size."""
        return self.sizing(strategy) is Sizing.WHOLE


def plan_entry(
    engine: RiskEngine, policy: SizingPolicy, scored: ScoredSignal, equity: float, context: RiskContext
) -> Plan | Refusal:
    """Plan an entry in the size that ``policy`` gives; a canary that cannot be sized is refused, never made whole."""
    if policy.sizing(scored.signal.strategy) is Sizing.CANARY:
        return engine.plan_canary(scored, equity, context)
    return engine.plan(scored, equity, context)
