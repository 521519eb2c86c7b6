"""Walk a candidate forward (answers that it is not available until the research lab is built)."""

from __future__ import annotations

from core.types import Refusal
from tools.base import Capability, tool
from tools.context import BrainContext
from tools.tools_research_agent.not_available import not_available


@tool("walkforward_runner", Capability.RUN_WALKFORWARD)
def walkforward_runner(context: BrainContext, ts: int) -> Refusal:
    """Walk a candidate forward."""
    return not_available("walkforward_runner", ts)
