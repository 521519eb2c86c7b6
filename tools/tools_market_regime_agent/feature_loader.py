"""Hand over the features of the announcement at hand (capability calc_features)."""

from __future__ import annotations

from core.data.blocks import Closed
from core.errors import DataError
from core.types import Event
from tools.base import Capability, tool
from tools.context import BrainContext


@tool("feature_loader", Capability.CALC_FEATURES)
def feature_loader(context: BrainContext, event: Event) -> Closed:
    """Give what closed at the event's time; the feature store was brought up to it when the feed announced it.

    Raises:
        DataError: the feature store stands at another time than the event, so nothing may be decided from it.
    """
    closed = context.market.closed
    if closed.ts != event.ts:
        raise DataError(f"features stand at {closed.ts}, the event is of {event.ts}")
    return closed
