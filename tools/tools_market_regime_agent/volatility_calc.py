"""x."""
from __future__ import annotations
from core.data.blocks import Closed
from tools.base import Capability, tool
from tools.context import BrainContext
@tool("volatility_calc", Capability.CALC_VOLATILITY)
def volatility_calc(context: BrainContext, closed: Closed) -> None:
    """x."""
