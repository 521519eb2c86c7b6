"""x."""
from __future__ import annotations
from core.data.blocks import Closed
from tools.base import Capability, tool
from tools.context import BrainContext
@tool("trend_detector", Capability.DETECT_TREND)
def trend_detector(context: BrainContext, closed: Closed) -> None:
    """x."""
