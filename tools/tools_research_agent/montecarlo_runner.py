"""Shake a candidate's trades and costs (answers that it is not available until the research lab is built)."""

from __future__ import annotations

from core.types import Refusal
from tools.base import Capability, tool
from tools.context import BrainContext
from tools.tools_research_agent.not_available import not_available


@tool("montecarlo_runner", Capability.RUN_MONTECARLO)
def montecarlo_runner(context: BrainContext, ts: int) -> Refusal:
    """Shake a candidate's trades and costs."""
    return not_available("montecarlo_runner", ts)
