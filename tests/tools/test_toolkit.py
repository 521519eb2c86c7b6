"""The only way from an agent to a tool: what is outside the grant is refused and recorded (requirement G2)."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import ToolRefused
from core.types import ToolState
from tests.support.ladder import HandMade, ladder
from tests.support.run import assembled
from tools.base import BaseTool, Capability, tool
from tools.context import BrainContext
from tools.toolkit import Toolkit
from tools.tools_monitor_agent.alert_telegram import alert_telegram
from tools.topology import AGENT_EDGES, TOOL_EDGES

GUARD, PLACER = ("risk_manager", "dd_guard"), ("execution", "order_placer_ccxt")


@tool("dd_guard", Capability.GUARD_DRAWDOWN)
def doubled(context: BrainContext, number: int, plus: int = 0) -> int:
    """Stands in for a tool of the risk manager."""
    if number < 0:
        raise ValueError("below zero")
    return 2 * number + plus


@tool("order_placer_ccxt", Capability.PLACE_ORDER)
async def sent(context: BrainContext, number: int) -> int:
    """Stands in for an asynchronous tool of execution."""
    if number < 0:
        raise ValueError("below zero")
    return number + 1


@pytest.fixture
def context(tmp_path: Path) -> BrainContext:
    parts = assembled(HandMade({"BTC/USDT:USDT": ladder().climb(1)}), tmp_path)
    parts.store.close()
    return parts.context


@pytest.fixture
def risk(context: BrainContext) -> Toolkit:
    return Toolkit("risk_manager", ("dd_guard",), context)


@pytest.fixture
def execution(context: BrainContext) -> Toolkit:
    return Toolkit("execution", ("order_placer_ccxt",), context)


def test_a_granted_tool_is_called_with_the_context_and_its_use_is_on_the_board(risk: Toolkit, context: BrainContext) -> None:
    slot = context.board.tools[GUARD]
    assert (slot.state, slot.calls, slot.latency_ns) == (ToolState.IDLE, 0, 0)
    assert risk.call(doubled, 4) == 8
    assert risk.call(doubled, 4, plus=1) == 9
    assert (slot.state, slot.calls) == (ToolState.OK, 2)
    assert slot.latency_ns > 0
    assert context.board.refused_calls == {}


async def test_an_asynchronous_tool_is_recorded_in_the_same_way(execution: Toolkit, context: BrainContext) -> None:
    slot = context.board.tools[PLACER]
    assert await execution.acall(sent, 4) == 5
    assert (slot.state, slot.calls) == (ToolState.OK, 1)
    assert slot.latency_ns > 0


async def test_a_tool_outside_the_grant_is_refused_and_recorded_and_does_not_run(risk: Toolkit, context: BrainContext) -> None:
    """G2: anything else is refused and recorded."""
    ran: list[str] = []
    loose: BaseTool[[], None] = BaseTool("order_placer_ccxt", Capability.PLACE_ORDER, lambda context: ran.append("ran"))
    with pytest.raises(ToolRefused, match="agent risk_manager called order_placer_ccxt, which it was not granted") as error:
        risk.call(loose)
    with pytest.raises(ToolRefused):
        await risk.acall(sent, 1)
    assert ran == []
    assert error.value.code == "TOOL-001"
    assert "tools/topology.py" in error.value.help
    assert context.board.refused_calls == {("risk_manager", "order_placer_ccxt"): 2}
    assert context.board.tools[PLACER].calls == 0


def test_a_disabled_tool_is_refused_even_when_it_is_granted(risk: Toolkit, context: BrainContext) -> None:
    """A1: alert_telegram is reserved."""
    disabled = BaseTool("dd_guard", Capability.GUARD_DRAWDOWN, doubled.run, enabled=False)
    with pytest.raises(ToolRefused):
        risk.call(disabled, 1)
    with pytest.raises(ToolRefused):
        risk.call(alert_telegram, "hello")
    assert context.board.refused_calls == {("risk_manager", "dd_guard"): 1, ("risk_manager", "alert_telegram"): 1}


async def test_a_tool_that_fails_is_in_error_until_it_works_again(
    risk: Toolkit, execution: Toolkit, context: BrainContext
) -> None:
    with pytest.raises(ValueError, match="below zero"):
        risk.call(doubled, -1)
    with pytest.raises(ValueError, match="below zero"):
        await execution.acall(sent, -1)
    states = [context.board.tools[key].state for key in (GUARD, PLACER)]
    assert states == [ToolState.ERROR, ToolState.ERROR]
    risk.call(doubled, 1)
    assert context.board.tools[GUARD].state is ToolState.OK


def test_the_board_has_every_tool_and_edge_before_the_first_event(context: BrainContext) -> None:
    """I3: every child exists from the start."""
    assert set(context.board.tools) == {(edge.src, edge.dst) for edge in TOOL_EDGES}
    assert context.board.edge_state == dict.fromkeys([(edge.src, edge.dst) for edge in AGENT_EDGES], ToolState.IDLE)
