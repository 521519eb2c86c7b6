"""The page about agents, tools and edges says what the table says (requirement G2; staleness: tests/docs)."""

from __future__ import annotations

import re

from graph.brain import compile_graph
from graph.drawing import mermaid, render_topology
from tools.registry import TOOLS
from tools.topology import AGENT_EDGES, AGENTS, TOOL_EDGES


def test_the_picture_has_exactly_the_edges_of_the_compiled_graph() -> None:
    """Two ways from the table to a picture, ours and LangGraph's, agree."""
    drawn = set(re.findall(r'^    (\w+) -->\|"([\w:]+)"\| (\w+)$', mermaid(), re.MULTILINE))
    compiled = {(edge.source, str(edge.data), edge.target) for edge in compile_graph().get_graph().edges if edge.conditional}
    assert drawn == compiled


def test_the_picture_has_a_line_with_its_capability_for_every_grant() -> None:
    drawn = re.findall(r'^    (\w+) -\.-\|"(\w+)"\| \w+\(\["(\w+)"\]\)$', mermaid(), re.MULTILINE)
    assert drawn == [(edge.src, edge.capability.value, edge.tool) for edge in TOOL_EDGES]


def test_the_picture_begins_with_the_event_at_the_brain_and_ends_at_the_monitor() -> None:
    assert "event((event)) --> brain\n" in mermaid()
    assert "monitor --> done((end))\n" in mermaid()
    assert mermaid().splitlines()[-1] == "    class research llm"


def test_the_tables_have_a_row_for_every_agent_edge_and_tool() -> None:
    page = render_topology()
    for spec in AGENTS:
        assert f"| `{spec.name}` | {spec.kind.value} | " in page
    for edge in AGENT_EDGES:
        assert f"| `{edge.src}` | `{edge.dst}` | `{edge.label}` | `{edge.tool}` | `{edge.capability.value}` |" in page
    for name, tool in TOOLS.items():
        summary = re.escape(tool.summary.replace("``", "`"))
        assert re.search(rf"^\| `{name}` \| .*{summary} \|$", page, re.MULTILINE)
    assert "| `alert_telegram` | none: disabled | nobody |" in page


def test_no_cell_breaks_its_table() -> None:
    """Each line of a table has the columns of its head."""
    for block in render_topology().split("\n\n"):
        if block.startswith("|"):
            assert len({line.count("|") for line in block.splitlines()}) == 1
