"""Which way each market goes, if any (capability detect_trend)."""

from __future__ import annotations

from collections.abc import Mapping

from core.data.blocks import Closed
from core.regimes import Codes
from core.types import Timeframe
from tools.base import Capability, tool
from tools.context import BrainContext


@tool("trend_detector", Capability.DETECT_TREND)
def trend_detector(context: BrainContext, closed: Closed) -> Mapping[Timeframe, Codes]:
    """Trend labels of the carriers that closed."""
    return context.regimes.detect_trend(closed)
