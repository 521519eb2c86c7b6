"""Back-test a candidate on train and test spans (answers that it is not available until the research lab is built)."""

from __future__ import annotations

from core.types import Refusal
from tools.base import Capability, tool
from tools.context import BrainContext
from tools.tools_research_agent.not_available import not_available


@tool("backtest_runner", Capability.RUN_BACKTEST)
def backtest_runner(context: BrainContext, ts: int) -> Refusal:
    """Back-test a candidate on train and test spans."""
    return not_available("backtest_runner", ts)
