"""The brain for ``langgraph dev``: the same nodes over one bar of a recorded session, with plain values in the state.

Optional; ``brain step`` needs none of it. The development server keeps a state with its own serializer and knows nothing of a
context, so every node here takes and gives plain values (dicts, lists, text), and its services are those of a what-if
(:mod:`graph.stepping.what_if`): the venue has nothing behind it, nothing is written to the session, no network is used.

``BRAIN_SESSION`` names the session (a folder or a name in ``var/runs``), and the input's ``bar`` the bar: ``{"bar": 812}``.
"""

from __future__ import annotations

import asyncio
import atexit
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from sqlite3 import ProgrammingError
from typing import TYPE_CHECKING, Any, TypedDict, cast

import msgspec
from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph

from core.journal.records import State
from core.types import Event
from graph.brain import add_agent_edges, build_nodes
from graph.engines import EngineKind, build_engine
from graph.node import Node
from graph.other_code import check_code
from graph.rerun import standing_before
from graph.sessions import find
from graph.stepping.carrier import Carrier, Undo
from graph.stepping.record import Record
from graph.stepping.values import plain
from graph.stepping.what_if import WhatIf, what_if
from tools.state import STATE_TYPES, BrainState
from tools.topology import ENTRY, EXIT, ROUTES

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph

ARRIVE = "arrive"
"""The node before the brain: stands at the bar and lets it arrive."""


# Written so that its types are known even where a loader does not register this module under its name.
PlainState = TypedDict(
    "PlainState",
    {"bar": int, **dict.fromkeys(STATE_TYPES, dict[str, Any])},  # type: ignore[misc]
    total=False,
)
"""The state of :class:`tools.state.BrainState` in plain values, and the bar that is asked for."""


class Bench:
    """Services of one thread of the server, at one bar; a node that runs again finds them as it found them first."""

    def __init__(self, fork: WhatIf, event: Event, cleanup: ExitStack) -> None:
        self.event = event
        self._fork = fork
        self._cleanup = cleanup
        self._nodes: dict[str, Node] = build_nodes()
        self._found: dict[str, Undo] = {}
        fork.held.run.context.trace.begin()

    async def run(self, name: str, state: BrainState) -> dict[str, Any]:
        """Let one node run on ``state``."""
        if name in self._found:
            self._found[name]()
            # What ran behind it finds services as this run leaves them, not as the former one did.
            ran = list(self._found)
            for later in ran[ran.index(name) :]:
                del self._found[later]
        self._found[name] = self._fork.held.keep()
        return await self._nodes[name](state, self._fork.held.run.context)

    def close(self) -> None:
        """Throw its folder away."""
        # The store may have been opened on another of the server's threads, which alone may close it; the folder goes anyway.
        with suppress(ProgrammingError):
            self._cleanup.close()


_benches: dict[str, Bench] = {}


@atexit.register
def close_all() -> None:
    """Throw every bench away."""
    while _benches:
        _benches.popitem()[1].close()


@asynccontextmanager
async def brain(config: RunnableConfig) -> AsyncIterator[CompiledStateGraph[Any, Any, Any, Any]]:  # noqa: ARG001 - the server's shape
    """Factory of the graph, as ``langgraph.json`` names it."""
    yield build().compile(name="brain")


def build() -> StateGraph[PlainState, None, PlainState, PlainState]:
    """The brain's own nodes and edges, behind a node that lets a recorded bar arrive."""
    graph: StateGraph[PlainState, None, PlainState, PlainState] = StateGraph(PlainState)
    graph.add_node(ARRIVE, cast(Any, _arrive))
    graph.add_edge(START, ARRIVE)
    graph.add_edge(ARRIVE, ENTRY)
    nodes = build_nodes()
    for name in nodes:
        graph.add_node(name, cast(Any, _node(name)))
    add_agent_edges(graph, nodes, _router)
    graph.add_edge(EXIT, END)
    return graph


async def _arrive(state: PlainState, config: RunnableConfig) -> dict[str, Any]:
    thread = _thread(config)
    former = _benches.pop(thread, None)
    if former is not None:
        former.close()
    bench = _benches[thread] = await _stand(cast(dict[str, Any], state).get("bar"))
    return {"event": plain(bench.event)}


async def _stand(bar: int | None) -> Bench:
    # Standing at a bar reads files and computes for a while; the server's loop has other work.
    record, number, state = await asyncio.to_thread(lambda: asyncio.run(_state_before(bar)))
    cleanup = ExitStack()
    fork = cleanup.enter_context(what_if("studio", record.beginning_at(number), state, Carrier()))
    recorded = record.bar(number)
    fork.hear(recorded)
    run = fork.held.run
    return Bench(fork, run.event(await run.arrive(recorded.batch)), cleanup)


async def _state_before(bar: int | None) -> tuple[Record, int, State]:
    record = Record(find(os.environ.get("BRAIN_SESSION")).reader())
    check_code(record.openings, other_code=False, help_="use the version that recorded it, or brain step --other-code")
    number = record.first_bar if bar is None else bar
    record.check(number)
    with standing_before(record.reader, number, build_engine(EngineKind.DIRECT)) as rerun:
        while rerun.bar < number:
            await rerun.next()
        return record, number, rerun.run.record(whole=True)


def _node(name: str) -> Callable[..., Awaitable[dict[str, Any]]]:
    async def run(state: PlainState, config: RunnableConfig) -> dict[str, Any]:
        bench = _benches[_thread(config)]
        return {key: plain(value) for key, value in (await bench.run(name, _typed(state))).items()}

    # LangGraph reads the annotations of the node to decide what to pass; they must be the real types.
    run.__annotations__ = {"state": PlainState, "config": RunnableConfig, "return": dict}
    run.__name__ = name
    return run


def _router(name: str, labels: dict[str, str]) -> Callable[[PlainState], Awaitable[str]]:
    async def choose(state: PlainState) -> str:
        return labels[ROUTES[name](_typed(state))]

    choose.__annotations__ = {"state": PlainState, "return": str}
    return choose


def _typed(state: PlainState) -> BrainState:
    held = cast(dict[str, Any], state)
    values: dict[str, Any] = {key: msgspec.convert(held[key], kind) for key, kind in STATE_TYPES.items() if key in held}
    return cast(BrainState, values)


def _thread(config: RunnableConfig) -> str:
    return str(config.get("configurable", {}).get("thread_id", ""))


_arrive.__annotations__ = {"state": PlainState, "config": RunnableConfig, "return": dict}
