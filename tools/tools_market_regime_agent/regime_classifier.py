"""Hold a label for every symbol (capability classify_regime)."""

from __future__ import annotations

from core.data.blocks import Closed
from core.types import REGIME_CODES
from tools.base import Capability, tool
from tools.context import BrainContext
from tools.state import Regimes


@tool("regime_classifier", Capability.CLASSIFY_REGIME)
def regime_classifier(context: BrainContext, closed: Closed) -> Regimes:
    """Bring the held labels up to this announcement and give them."""
    tracker = context.regimes
    tracker.update(closed)
    return Regimes(
        tuple(REGIME_CODES[code] for code in tracker.h1.tolist()), tuple(REGIME_CODES[code] for code in tracker.h4.tolist())
    )
