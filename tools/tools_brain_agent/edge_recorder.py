"""Open the record of an event: which way the brain sends it (capability set_edge)."""

from __future__ import annotations

from core.types import Event, ToolState
from tools.base import Capability, tool
from tools.context import BrainContext
from tools.topology import ROUTES


@tool("edge_recorder", Capability.SET_EDGE)
def edge_recorder(context: BrainContext, event: Event) -> str:
    """Record the brain's own edge of this event and give the agent it leads to."""
    target = ROUTES["brain"]({"event": event})
    context.board.edge_state[("brain", target)] = ToolState.OK
    return target
