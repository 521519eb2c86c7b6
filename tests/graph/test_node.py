"""The wrapper around every agent: declared reads, one typed write, a hash of it (requirement G1; style of issue section 5)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from agents.base import View
from core.errors import ContractError, ToolRefused
from core.types import Event, EventKind, ToolState
from graph import node as module
from graph.node import Node
from tests.support.ladder import HandMade, ladder
from tests.support.run import assembled
from tools.context import BrainContext
from tools.state import BrainState, ResearchResult, RiskDecision, Selection
from tools.toolkit import Toolkit
from tools.tools_execution_agent.order_placer_ccxt import order_placer_ccxt
from tools.topology import agent

FOUND_NOTHING = ResearchResult("found nothing")
EVENT = Event(EventKind.RESEARCH, 3, 1_000, note="why")


@dataclass
class Stub:
    """Stands in for the research agent (reads event, writes research)."""

    answer: Any = FOUND_NOTHING
    name: str = "research"

    async def run(self, view: View, kit: Toolkit) -> object:
        return self.answer(view, kit) if callable(self.answer) else self.answer


@pytest.fixture
def context(tmp_path: Path) -> BrainContext:
    parts = assembled(HandMade({"BTC/USDT:USDT": ladder().climb(1)}), tmp_path)
    parts.store.close()
    return parts.context


def node(answer: Any = FOUND_NOTHING) -> Node:
    return Node(Stub(answer), agent("research"))


async def test_a_node_writes_the_one_key_of_its_table_entry(context: BrainContext) -> None:
    assert await node()({"event": EVENT}, context) == {"research": ResearchResult("found nothing")}


async def test_a_node_sees_what_it_declared_and_nothing_else(context: BrainContext) -> None:
    seen: dict[str, Any] = {}

    def look(view: View, kit: Toolkit) -> ResearchResult:
        seen.update(view)
        return ResearchResult("")

    await node(look)({"event": EVENT, "selection": Selection()}, context)
    assert seen == {"event": EVENT}


@pytest.mark.parametrize("read", [lambda view: view["selection"], lambda view: view.optional("selection")])
async def test_an_undeclared_read_is_an_error_though_the_state_has_the_value(context: BrainContext, read: Any) -> None:
    with pytest.raises(ContractError, match="agent research read 'selection', which is not declared in its reads"):
        await node(lambda view, kit: read(view))({"event": EVENT, "selection": Selection()}, context)


async def test_a_declared_value_that_was_not_written_is_an_error_unless_it_is_optional(context: BrainContext) -> None:
    with pytest.raises(ContractError, match="'event', which has not been written in this event"):
        await node(lambda view, kit: view["event"])({}, context)
    answer = await node(lambda view, kit: ResearchResult(str(view.optional("event"))))({}, context)
    assert answer == {"research": ResearchResult("None")}


@pytest.mark.parametrize("wrong", [None, {"note": "a bare dict"}, Selection(), "text"])
async def test_an_output_of_another_type_is_an_error(context: BrainContext, wrong: object) -> None:
    with pytest.raises(ContractError, match=r"agent research wrote .* to 'research', expected ResearchResult"):
        await node(wrong)({"event": EVENT}, context)
    assert context.trace.node_hashes == []


async def test_an_output_of_a_subclass_is_an_error_too(context: BrainContext) -> None:
    """Its extra fields would be in the hash of one engine's state and not in the other's saved one."""

    class Longer(ResearchResult):
        pass

    with pytest.raises(ContractError, match="wrote Longer"):
        await node(Longer(""))({"event": EVENT}, context)


async def test_an_input_of_another_type_is_an_error(context: BrainContext) -> None:
    state: BrainState = {"event": RiskDecision()}  # type: ignore[typeddict-item]
    with pytest.raises(ContractError, match="state key 'event' held RiskDecision, expected Event"):
        await node()(state, context)


async def test_a_value_that_cannot_be_encoded_does_not_leave_the_node(context: BrainContext) -> None:
    """A numpy scalar in a value would make its hash depend on where it came from."""
    with pytest.raises(TypeError):
        await node(ResearchResult(np.float64(1.0)))({"event": EVENT}, context)  # type: ignore[arg-type]


def test_an_agent_under_another_name_than_its_table_entry_is_refused() -> None:
    with pytest.raises(ContractError, match="agent is called 'oracle', its table entry 'research'"):
        Node(Stub(name="oracle"), agent("research"))


async def test_the_hash_is_sha256_of_the_canonical_bytes(context: BrainContext) -> None:
    """Worked out with an encoder of our own: field names in order, MessagePack."""
    value = ResearchResult("note")
    await node(value)({"event": EVENT}, context)
    expected = hashlib.sha256(msgspec.msgpack.encode({"note": "note", "refusals": []})).hexdigest()
    assert context.trace.node_hashes == [("research", expected)]


async def test_the_hash_of_the_very_same_object_is_not_made_twice(context: BrainContext, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    encode = module.encode
    monkeypatch.setattr(module, "encode", lambda value: made.append(value) or encode(value))
    one, equal = ResearchResult("a"), ResearchResult("a")
    values = iter((one, one, equal, one))
    same = node(lambda view, kit: next(values))
    for _ in range(4):
        await same({"event": EVENT}, context)
    assert [id(value) for value in made] == [id(one), id(equal), id(one)]
    assert len(set(context.trace.node_hashes)) == 1


async def test_another_value_has_another_hash(context: BrainContext) -> None:
    values = iter((ResearchResult("a"), ResearchResult("b")))
    changing = node(lambda view, kit: next(values))
    await changing({"event": EVENT}, context)
    await changing({"event": EVENT}, context)
    (_, first), (_, second) = context.trace.node_hashes
    assert first != second


async def test_the_edge_that_is_left_by_is_on_trace_and_board_with_its_label(context: BrainContext) -> None:
    """G2, G8."""
    await node()({"event": EVENT}, context)
    assert context.trace.edges == [("research", "monitor", "generate_candidate")]
    assert context.board.edge_state[("research", "monitor")] is ToolState.OK
    ((name, elapsed),) = context.trace.node_ns
    assert name == "research"
    assert elapsed > 0


async def test_a_tool_outside_the_table_s_grant_is_refused_in_the_node(context: BrainContext) -> None:
    """G2: research can place no order, whatever it tries."""
    with pytest.raises(ToolRefused, match="agent research called order_placer_ccxt"):
        await node(lambda view, kit: kit.call(order_placer_ccxt, None))({"event": EVENT}, context)
    assert context.board.refused_calls == {("research", "order_placer_ccxt"): 1}


async def test_a_node_follows_the_context_that_it_is_given(context: BrainContext, tmp_path: Path) -> None:
    """One set of nodes may serve one run after another; nothing of the first is used in the second."""
    other = assembled(HandMade({"BTC/USDT:USDT": ladder().climb(1)}), tmp_path / "other")
    other.store.close()
    seen: list[BrainContext] = []
    watching = node(lambda view, kit: seen.append(kit.context) or ResearchResult(""))
    for given in (context, context, other.context):
        await watching({"event": EVENT}, given)
    assert [id(item) for item in seen] == [id(context), id(context), id(other.context)]
    assert len(other.context.trace.node_hashes) == 1


async def test_a_wrong_declared_value_is_named_by_its_key(context: BrainContext) -> None:
    selection = Node(Stub(name="strategy_selection"), agent("strategy_selection"))
    state: BrainState = {"event": EVENT, "regimes": Selection()}  # type: ignore[typeddict-item]
    with pytest.raises(ContractError, match="'regimes' held Selection, expected Regimes"):
        await selection(state, context)
