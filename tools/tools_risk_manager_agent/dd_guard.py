"""Drawdown guard: what the governor allows now (capability guard_drawdown)."""

from __future__ import annotations

from core.types import GovernorView
from tools.base import Capability, tool
from tools.context import BrainContext


@tool("dd_guard", Capability.GUARD_DRAWDOWN)
def dd_guard(context: BrainContext, ts: int) -> GovernorView:
    """Mark equity, roll the day, fire locks; a second call for the same bar gives the same answer."""
    view = context.governor.view
    if view.ts == ts:
        return view
    return context.governor.on_bar(ts, _equity(context))


def _equity(context: BrainContext) -> float:
    """Wallet and open profit at the marks (X11)."""
    market, positions = context.market, context.ledger.positions
    if not positions:
        return context.ledger.wallet
    prices = market.last_close.copy()
    for symbol in positions:
        index = market.index[symbol]
        prices[index] = market.mark(index)
    return context.ledger.equity(prices)
