"""Sends what was admitted, after a look at the book; reducing orders are never held back (F1-F3)."""

from __future__ import annotations

from agents.base import View
from core.codes import RefusalCode
from core.types import OrderStatus, Plan, Refusal, ScorePart
from tools.state import Execution, RiskDecision, Selection
from tools.toolkit import Toolkit
from tools.tools_execution_agent.liquidity_check import liquidity_check, refuse_plan
from tools.tools_execution_agent.order_placer_ccxt import order_placer_ccxt
from tools.tools_execution_agent.slippage_estimator import slippage_estimator


class ExecutionAgent:
    """Adjustments first, then entries."""

    name = "execution"

    async def run(self, view: View, kit: Toolkit) -> Execution:
        risk: RiskDecision = view["risk"]
        selection: Selection = view["selection"]
        parts = {scored.signal.id: scored.parts for scored in selection.scored}
        orders: list[str] = []
        refusals: list[Refusal] = []
        for adjustment in risk.adjustments:
            update = await kit.acall(order_placer_ccxt, adjustment)
            if update is not None:
                orders.append(update.client_id)
        for plan in risk.plans:
            refusal = await _enter(kit, plan, parts.get(plan.signal_id, ()), orders)
            if refusal is not None:
                refusals.append(refusal)
        return Execution(tuple(orders), tuple(refusals))


async def _enter(kit: Toolkit, plan: Plan, parts: tuple[ScorePart, ...], orders: list[str]) -> Refusal | None:
    refusal = kit.call(liquidity_check, plan) or kit.call(slippage_estimator, plan)
    if refusal is not None:
        return refusal
    update = await kit.acall(order_placer_ccxt, plan, parts)
    rejected = update is not None and update.status is OrderStatus.REJECTED
    if update is not None and update.code not in _NOT_SENT:
        orders.append(update.client_id)
    if update is None or not rejected:
        return None
    return refuse_plan(update.code or RefusalCode.FILTER_REJECTED, plan, (("broker", update.message),))


_NOT_SENT = (RefusalCode.SYMBOL_OWNED, RefusalCode.NOT_ACTIVE)
"""Why the order manager itself keeps an entry back."""
