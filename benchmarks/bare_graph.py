"""What the graph engine alone costs: the brain's own picture with empty nodes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from tools.topology import AGENTS, ENTRY, EXIT, out_edges

Way = Mapping[str, str]
"""Agent -> label of the edge by which an event leaves it."""


class BareState(TypedDict, total=False):
    """As many keys as the brain's state, each with one writer; ``event`` says which way to go."""

    event: Way
    status: None
    regimes: None
    selection: None
    risk: None
    execution: None
    research: None
    record: None


@dataclass(frozen=True, slots=True)
class BareContext:
    """Stands where the brain has its ports."""


class BareGraph:
    """Compiled from the same table: same nodes, same conditional edges and path maps, same kind of context."""

    def __init__(self) -> None:
        graph = StateGraph(BareState, context_schema=BareContext)
        for spec in AGENTS:
            graph.add_node(spec.name, _empty(spec.name, spec.writes))
        graph.add_edge(START, ENTRY)
        for spec in AGENTS:
            edges = out_edges(spec.name)
            if edges:
                graph.add_conditional_edges(spec.name, _router(spec.name), {edge.label: edge.dst for edge in edges})
        graph.add_edge(EXIT, END)
        self._graph = graph.compile(name="bare")
        self._context = BareContext()

    async def run(self, way: Way) -> Any:
        """Send one event along ``way``."""
        return await self._graph.ainvoke({"event": way}, context=self._context)


def _empty(name: str, writes: str) -> Callable[..., Awaitable[dict[str, None]]]:
    written = {writes: None}

    async def run(state: BareState, runtime: Runtime[BareContext]) -> dict[str, None]:  # noqa: ARG001 - what a node is given
        return written

    run.__annotations__ = {"state": BareState, "runtime": Runtime[BareContext], "return": dict}
    run.__name__ = name
    return run


def _router(name: str) -> Callable[[BareState], Awaitable[str]]:
    async def choose(state: BareState) -> str:  # a plain function would cost a change of thread on each edge
        return state["event"][name]

    choose.__annotations__ = {"state": BareState, "return": str}
    return choose
