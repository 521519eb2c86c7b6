"""What happened inside the graph: per event a trace, over the run a board of states and latencies."""

from __future__ import annotations

from collections.abc import Iterable

from core.errors import ToolRefused
from core.types import ToolState


class Board:
    """Last state and latency of every tool of every agent, and of every agent edge.

    Plain dictionaries, filled at start with every child there can be; read by the exporter at scrape time.
    """

    def __init__(self, tools: Iterable[tuple[str, str]], edges: Iterable[tuple[str, str]]) -> None:
        self.tool_state: dict[tuple[str, str], ToolState] = dict.fromkeys(tools, ToolState.IDLE)
        self.tool_latency_ns: dict[tuple[str, str], int] = dict.fromkeys(self.tool_state, 0)
        self.tool_calls: dict[tuple[str, str], int] = dict.fromkeys(self.tool_state, 0)
        self.edge_state: dict[tuple[str, str], ToolState] = dict.fromkeys(edges, ToolState.IDLE)
        self.refused_calls: dict[tuple[str, str], int] = {}

    def refuse(self, agent: str, tool: str) -> ToolRefused:
        """Record a call outside the grant and give the error to raise."""
        key = (agent, tool)
        self.refused_calls[key] = self.refused_calls.get(key, 0) + 1
        return ToolRefused(
            f"agent {agent} called {tool}, which it was not granted",
            help="grant it in tools/topology.py, if the edge is meant to exist",
        )


class Trace:
    """The path of the present event: nodes with hashes and times, edges crossed, tools used."""

    __slots__ = ("edges", "node_hashes", "node_ns", "tool_calls")

    def __init__(self) -> None:
        self.edges: list[tuple[str, str, str]] = []
        self.node_hashes: list[tuple[str, str]] = []
        self.node_ns: list[tuple[str, int]] = []
        self.tool_calls: list[tuple[str, str]] = []

    def begin(self) -> None:
        """Forget the former event."""
        self.edges.clear()
        self.node_hashes.clear()
        self.node_ns.clear()
        self.tool_calls.clear()
