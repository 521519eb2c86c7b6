"""Propose a candidate strategy (answers that it is not available until the research lab is built)."""

from __future__ import annotations

from core.types import Refusal
from tools.base import Capability, tool
from tools.context import BrainContext
from tools.tools_research_agent.not_available import not_available


@tool("generate_candidate", Capability.GENERATE_CANDIDATE)
def generate_candidate(context: BrainContext, ts: int) -> Refusal:
    """Propose a candidate strategy."""
    return not_available("generate_candidate", ts)
