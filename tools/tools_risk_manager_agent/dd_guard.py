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
    market, ledger = context.market, context.ledger
    held = [market.index[symbol] for symbol in ledger.positions]
    return ledger.equity({index: market.mark(index) for index in held}) if held else ledger.wallet
