"""Research tools answer that the lab is not built yet, each with the one code (requirement G3; A2)."""

from __future__ import annotations

import pytest

from core.codes import RefusalCode
from tools.base import Capability
from tools.registry import TOOLS

RESEARCH = {
    "generate_candidate": Capability.GENERATE_CANDIDATE,
    "backtest_runner": Capability.RUN_BACKTEST,
    "walkforward_runner": Capability.RUN_WALKFORWARD,
    "montecarlo_runner": Capability.RUN_MONTECARLO,
}


@pytest.mark.parametrize("name", RESEARCH)
def test_a_research_tool_says_that_it_is_not_available_yet(name: str) -> None:
    tool = TOOLS[name]
    assert tool.capability is RESEARCH[name]
    refusal = tool.run(None, 77)  # type: ignore[arg-type]
    assert (refusal.code, refusal.ts, refusal.stage, refusal.ref) == (RefusalCode.NOT_AVAILABLE_YET, 77, "research", name)
    assert refusal.message.startswith(f"{name}: ")
