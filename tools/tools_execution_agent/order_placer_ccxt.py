"""Send an admitted plan or a change to an open position to the broker (capability place_order)."""

from __future__ import annotations

from core.types import AdjustKind, Adjustment, OrderUpdate, Plan, ScorePart
from tools.base import Capability, tool
from tools.context import BrainContext


@tool("order_placer_ccxt", Capability.PLACE_ORDER)
async def order_placer_ccxt(
    context: BrainContext, intent: Plan | Adjustment, score_parts: tuple[ScorePart, ...] = ()
) -> OrderUpdate | None:
    """Act on ``intent``; the broker's first word on the order sent, or None when there was nothing to send.

    The order manager writes each intention down before the broker hears of it.
    """
    if isinstance(intent, Plan):
        return await context.orders.submit(intent, score_parts)
    if intent.kind is AdjustKind.CLOSE or intent.new_stop is None:
        return await context.orders.close(intent.symbol, intent.ts, intent.reason)
    return await context.orders.move_stop(intent.symbol, intent.new_stop, intent.ts, intent.reason)
