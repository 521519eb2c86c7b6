"""What crossing the book is expected to cost (capability estimate_slippage)."""

from __future__ import annotations

from core.codes import RefusalCode
from core.exec.slippage import expected_slippage_bps
from core.types import Plan, Refusal
from tools.base import Capability, tool
from tools.context import BrainContext
from tools.tools_execution_agent.liquidity_check import refuse_plan


@tool("slippage_estimator", Capability.ESTIMATE_SLIPPAGE)
def slippage_estimator(context: BrainContext, plan: Plan) -> Refusal | None:
    """Refuse when the expected slippage is above the limit (X31) or the book is unknown."""
    book = context.market.book(context.market.index[plan.symbol], plan.ts)
    if book is None:
        return refuse_plan(RefusalCode.STREAM_BOOK, plan, ())
    expected = expected_slippage_bps(float(plan.qty * plan.entry), book.spread_bps, book.depth_usd)
    limit = context.config.governance.max_expected_slippage_pct * 100.0
    if expected > limit:
        return refuse_plan(RefusalCode.SLIPPAGE_HIGH, plan, (("expected_bps", round(expected, 6)), ("limit_bps", limit)))
    return None
