"""The compiled StateGraph is the table: nodes, edges, labels, beginning and end (requirements G1, G2)."""

from __future__ import annotations

from dataclasses import replace
from typing import get_type_hints

import pytest
from langgraph.graph import END, START

from core.errors import TopologyError
from graph import brain
from graph.brain import build_graph, build_nodes, compile_graph
from tools import topology
from tools.context import BrainContext
from tools.state import BrainState
from tools.topology import AGENT_EDGES, AGENTS


def test_the_graph_s_own_drawing_bears_exactly_the_labels_of_the_table() -> None:
    """G2: the capability of each edge is visible on the compiled graph."""
    edges = [edge for edge in compile_graph().get_graph().edges if edge.source != START and edge.target != END]
    drawn = {(edge.source, edge.target, edge.data) for edge in edges}
    assert drawn == {(edge.src, edge.dst, edge.label) for edge in AGENT_EDGES}
    assert len(edges) == len(AGENT_EDGES)


def test_no_edge_of_the_drawing_is_without_a_label_but_the_first_and_the_last() -> None:
    drawing = compile_graph().get_graph()
    bare = [(edge.source, edge.target) for edge in drawing.edges if edge.data is None]
    assert bare == [(START, "brain"), ("monitor", END)]


def test_every_agent_is_a_node_and_there_is_no_other() -> None:
    """G1."""
    assert set(compile_graph().get_graph().nodes) == {START, END, *(spec.name for spec in AGENTS)}
    assert list(build_nodes()) == [spec.name for spec in AGENTS]


def test_the_graph_is_typed_by_the_state_and_the_frozen_context() -> None:
    """G1: one typed StateGraph."""
    graph = build_graph()
    assert graph.state_schema is BrainState
    assert graph.context_schema is BrainContext
    assert set(graph.channels) == set(get_type_hints(BrainState))


def test_nodes_are_made_anew_for_every_graph() -> None:
    first, second = build_nodes(), build_nodes()
    assert all(first[name] is not second[name] for name in first)


def test_a_graph_is_not_built_from_a_table_that_breaks_a_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """G2: an untagged edge, a tool in the hands of an LLM; the check stands before every compilation."""
    untagged = (replace(AGENT_EDGES[0], tool=""), *AGENT_EDGES[1:])
    monkeypatch.setattr(topology.validate, "__defaults__", (AGENTS, untagged, None))
    with pytest.raises(TopologyError, match="no tool or no capability"):
        compile_graph()


def test_a_graph_is_not_built_when_code_and_table_name_different_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    def disagree() -> None:
        raise TopologyError("tools and table disagree on dd_guard")

    monkeypatch.setattr(brain, "check_registry", disagree)
    with pytest.raises(TopologyError):
        compile_graph()


def test_a_use_of_its_own_may_compile_with_its_own_options() -> None:
    """Stepping stops between nodes; running does not."""
    assert compile_graph(interrupt_before=["execution"]).interrupt_before_nodes == ["execution"]
    assert compile_graph().name == "brain"
