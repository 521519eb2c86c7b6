"""The brain, compiled: one typed LangGraph StateGraph made from the table in ``tools.topology``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any

from agents import build_agents
from graph.node import Node
from tools.context import BrainContext
from tools.registry import check_registry
from tools.state import BrainState
from tools.topology import AGENTS, ENTRY, EXIT, ROUTES, out_edges, validate

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph, StateGraph


def build_nodes() -> dict[str, Node]:
    """A fresh wrapped node for each agent, by name, after the table has been checked.

    Raises:
        TopologyError: the table breaks one of its rules.
    """
    validate()
    check_registry()
    agents = build_agents()
    return {spec.name: Node(agents[spec.name], spec) for spec in AGENTS}


def build_graph(nodes: dict[str, Node] | None = None) -> StateGraph[BrainState, BrainContext, BrainState, BrainState]:
    """The uncompiled StateGraph; each use (run, step, draw) compiles its own.

    Every agent edge is conditional with a path map, so that the compiled graph's own drawing bears the capability
    of each edge.
    """
    from langgraph.graph import END, START, StateGraph

    nodes = build_nodes() if nodes is None else nodes
    graph: StateGraph[BrainState, BrainContext, BrainState, BrainState] = StateGraph(BrainState, context_schema=BrainContext)
    for name, node in nodes.items():
        graph.add_node(name, _as_langgraph_node(node))
    graph.add_edge(START, ENTRY)
    add_agent_edges(graph, nodes, _router)
    graph.add_edge(EXIT, END)
    return graph


def add_agent_edges(
    graph: StateGraph[Any, Any, Any, Any],
    nodes: Iterable[str],
    router: Callable[[str, dict[str, str]], Callable[..., Awaitable[str]]],
) -> None:
    """The edges of the topology between ``nodes``; ``router`` makes the choice of a node from its labels by destination."""
    for name in nodes:
        edges = out_edges(name)
        if edges:
            labels = {edge.dst: edge.label for edge in edges}
            graph.add_conditional_edges(name, router(name, labels), {edge.label: edge.dst for edge in edges})


def compile_graph(nodes: dict[str, Node] | None = None, **options: Any) -> CompiledStateGraph[Any, Any, Any, Any]:
    """Compile the brain; ``options`` go to LangGraph (a checkpointer only while stepping)."""
    return build_graph(nodes).compile(name="brain", **options)


def _as_langgraph_node(node: Node) -> Callable[..., Awaitable[dict[str, Any]]]:
    from langgraph.runtime import Runtime

    async def run(state: BrainState, runtime: Runtime[BrainContext]) -> dict[str, Any]:
        return await node(state, runtime.context)

    # LangGraph reads the annotations of the node to decide what to pass; they must be the real types.
    run.__annotations__ = {"state": BrainState, "runtime": Runtime[BrainContext], "return": dict}
    run.__name__ = node.spec.name
    return run


def _router(name: str, labels: dict[str, str]) -> Callable[[BrainState], Awaitable[str]]:
    route = ROUTES[name]

    # A plain function here would cost LangGraph a hop to another thread for each edge.
    async def choose(state: BrainState) -> str:
        return labels[route(state)]

    choose.__annotations__ = {"state": BrainState, "return": str}
    return choose
