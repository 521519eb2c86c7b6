"""Hold a label for every symbol (capability classify_regime)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from core.data.blocks import Closed
from core.regimes import Codes, Volatility
from core.types import REGIME_CODES, Timeframe
from tools.base import Capability, tool
from tools.context import BrainContext
from tools.state import Regimes


@tool("regime_classifier", Capability.CLASSIFY_REGIME)
def regime_classifier(context: BrainContext, closed: Closed, volatility: Volatility, trend: Mapping[Timeframe, Codes]) -> Regimes:
    """Put trend and volatility together, hold the labels against noise, and give them."""
    tracker = context.regimes
    tracker.classify(closed, volatility, trend)
    return _as_labels(tracker.h1.tobytes(), tracker.h4.tobytes())


@lru_cache(maxsize=64)
def _as_labels(h1: bytes, h4: bytes) -> Regimes:
    """Labels seldom change; the same value object lets its hash be reused too."""
    return Regimes(tuple(REGIME_CODES[code] for code in h1), tuple(REGIME_CODES[code] for code in h4))
