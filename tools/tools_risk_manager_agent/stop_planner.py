"""Manage the exit of an open position at a base-bar close (capability plan_stops)."""

from __future__ import annotations

from core.exec.position import Position
from core.risk.exits import ExitFrame, manage, may_act
from core.strategies.funding_rev import funding_is_normal
from core.types import AdjustKind, Adjustment, Event, ExitReason, GovernorView
from tools.base import Capability, tool
from tools.context import BrainContext
from tools.tools_risk_manager_agent.position_sizer import exit_cost_rate


@tool("stop_planner", Capability.PLAN_STOPS)
def stop_planner(context: BrainContext, event: Event, symbol: str, governor: GovernorView) -> Adjustment | None:
    """Give a tighter stop, a close at market, or None; a pulled kill-switch closes everything (X12)."""
    position = context.ledger.positions.get(symbol)
    if context.orders.closing(symbol):
        return None
    if governor.kill_switch and context.config.governance.kill_switch_action == "flatten":
        detail = (("dd_72h_pct", governor.dd_72h_pct),)
        return Adjustment(AdjustKind.CLOSE, symbol, event.ts, ExitReason.KILL_SWITCH, None, detail)
    if position is None:
        return None
    index = context.market.index[symbol]
    if int(context.market.last_ts[index]) != event.ts and event.ts < position.plan.time_stop_ts:
        return None
    close = float(context.market.last_close[index])
    normal = _funding_normal(context, position, index)
    if not normal and not may_act(position, event.ts, close, context.exits):
        return None
    return manage(position, _frame(context, position, index, event.ts, close, normal), context.exits)


def _frame(
    context: BrainContext, position: Position, index: int, ts: int, close: float, funding_normal: bool | None
) -> ExitFrame:
    features, key = context.market.features, f"atr@{position.plan.trail.tf.value}"
    atr = float(features.view[key][index]) if key in features.view and features.ready[key][index] else None
    rate = exit_cost_rate(context, position, close)
    return ExitFrame(ts, close, atr, funding_normal, rate, rate, context.market.instruments[index])


def _funding_normal(context: BrainContext, position: Position, index: int) -> bool | None:
    if position.plan.strategy not in context.funding_exits:
        return None
    return funding_is_normal(position.side, context.market.features.view, index, context.config.strategies.funding_rev)
