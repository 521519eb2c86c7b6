"""Guards what is open, then sizes what is wanted, within limits that nothing here can change (E1-E7)."""

from __future__ import annotations

from agents.base import View
from core.types import AdjustKind, Adjustment, Event, Plan, Refusal
from tools.state import RiskDecision, Selection, Status
from tools.toolkit import Toolkit
from tools.tools_risk_manager_agent.dd_guard import dd_guard
from tools.tools_risk_manager_agent.position_sizer import Add, BarExposure, Entry, position_sizer
from tools.tools_risk_manager_agent.stop_planner import stop_planner

ADD = "add"
_NOTHING = RiskDecision()
"""Always the same object, so that its hash is reused on quiet bars."""


class RiskManagerAgent:
    """Exits before entries: open positions are looked at first, on every bar, in every state."""

    name = "risk_manager"

    async def run(self, view: View, kit: Toolkit) -> RiskDecision:
        event: Event = view["event"]
        selection: Selection = view["selection"]
        status: Status = view["status"]
        governor = kit.call(dd_guard, event.ts)
        adjustments: list[Adjustment] = []
        bar = BarExposure()
        plans = bar.admitted
        refusals: list[Refusal] = []
        for symbol in selection.manage:
            adjustment = kit.call(stop_planner, event, symbol, governor)
            if adjustment is not None:
                adjustments.append(adjustment)
            if adjustment is None or adjustment.kind is not AdjustKind.CLOSE:
                answer = kit.call(position_sizer, Add(symbol, event, governor, status.health), bar)
                # An add is wanted on every bar above its trigger; the same refusal is told once.
                if not isinstance(answer, Refusal) or kit.context.abstentions.is_news(ADD, symbol, answer.code):
                    _sort_answer(answer, plans, refusals)
        for scored in selection.candidates:
            _sort_answer(kit.call(position_sizer, Entry(scored, governor), bar), plans, refusals)
        changed = plans or adjustments or refusals
        return RiskDecision(tuple(plans), tuple(adjustments), tuple(refusals)) if changed else _NOTHING


def _sort_answer(answer: Plan | Refusal | None, plans: list[Plan], refusals: list[Refusal]) -> None:
    if isinstance(answer, Plan):
        plans.append(answer)
    elif isinstance(answer, Refusal):
        refusals.append(answer)
