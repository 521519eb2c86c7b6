"""What happened inside the graph: per event a trace, over the run a board of states and latencies."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from core.errors import ToolRefused
from core.types import ToolState


@dataclass(slots=True)
class ToolSlot:
    """Last state and latency of one tool in the hands of one agent, and how often it was used."""

    state: ToolState = ToolState.IDLE
    latency_ns: int = 0
    calls: int = 0


class Board:
    """State of every tool of every agent, and of every agent edge.

    Filled at start with every child there can be; written on every use, read by the exporter when somebody looks.
    """

    def __init__(self, tools: Iterable[tuple[str, str]], edges: Iterable[tuple[str, str]]) -> None:
        self.tools: dict[tuple[str, str], ToolSlot] = {key: ToolSlot() for key in tools}
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


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One use of a tool, as a watcher sees it. ``result`` is what it gave, or the error that it raised."""

    agent: str
    tool: str
    capability: str
    state: ToolState
    latency_ns: int
    arguments: tuple[Any, ...]
    result: Any


Watcher = Callable[[ToolCall], None]


class Trace:
    """The path of the present event: nodes with hashes, outputs and times, and the edges crossed.

    ``outputs`` are (agent, canonical bytes of what it wrote); the decision record stands there without the hashes of the
    others, which follow from their bytes. ``watcher`` is told of every tool call; agents take it over before their first.
    """

    __slots__ = ("edges", "node_hashes", "node_ns", "outputs", "watcher")

    def __init__(self) -> None:
        self.watcher: Watcher | None = None
        self.outputs: list[tuple[str, bytes]] = []
        self.edges: list[tuple[str, str, str]] = []
        self.node_hashes: list[tuple[str, str]] = []
        self.node_ns: list[tuple[str, int]] = []

    def begin(self) -> None:
        """Forget the former event."""
        self.outputs.clear()
        self.edges.clear()
        self.node_hashes.clear()
        self.node_ns.clear()
