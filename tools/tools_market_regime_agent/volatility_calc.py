"""How lively is each market (capability calc_volatility)."""

from __future__ import annotations

from core.data.blocks import Closed
from core.regimes import Volatility
from tools.base import Capability, tool
from tools.context import BrainContext


@tool("volatility_calc", Capability.CALC_VOLATILITY)
def volatility_calc(context: BrainContext, closed: Closed) -> Volatility:
    """Volatility labels of the carriers that closed, and who fell into panic on the fastest frame."""
    return context.regimes.measure_volatility(closed)
