"""LangGraph's compiled graph, held at every border between two nodes: its own interrupts, its own checkpoints, in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from itertools import count
from typing import Any, cast

from langgraph.checkpoint.memory import InMemorySaver

from core.types import Event, ToolState
from graph.brain import compile_graph
from graph.engines import DirectEngine
from graph.stepping.errors import StepError
from graph.stepping.serializer import StateSerializer
from graph.stepping.values import plain
from tools.context import BrainContext
from tools.state import BrainState
from tools.topology import ROUTES, agent, out_edges
from tools.trace import ToolCall, Trace

Undo = Callable[[], None]
Keep = Callable[[], Undo]
"""Remembers what lives outside the graph's state, and gives what puts it back."""


@dataclass(frozen=True, slots=True)
class Used:
    """One use of a tool, in plain values."""

    tool: str
    capability: str
    ok: str
    latency_ms: float
    arguments: Any
    result: Any


@dataclass(frozen=True, slots=True)
class Turn:
    """What one node did: ``key`` is the one that it wrote, ``value`` what it wrote there."""

    node: str
    key: str
    value: Any
    latency_ms: float
    tools: tuple[Used, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """A border between two nodes: the state there, the node that comes next (None: the event is over), the way back."""

    next: str | None
    state: BrainState
    config: dict[str, Any]
    undo: Undo


@dataclass(slots=True)
class Walk:
    """One event on its way: ``turns[i]`` led from ``places[i]`` to ``places[i + 1]``."""

    event: Event
    places: list[Place] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)

    @property
    def here(self) -> Place:
        """Where it stands."""
        return self.places[-1]

    @property
    def step(self) -> int:
        """How many nodes have run."""
        return len(self.turns)


class Carrier:
    """An engine that stops before every node and after the last, as long as it is ``holding``; otherwise a plain loop.

    Attributes:
        walks: the events of the present bar.
        check: told after every node which one comes next (None: none), before what it wrote is shown; may raise.
        stopped: set whenever an event stands at a border and waits for :meth:`tell`.
    """

    def __init__(self) -> None:
        self._saver = InMemorySaver(serde=StateSerializer())
        self._graph = compile_graph(checkpointer=self._saver, interrupt_before="*")
        self._direct = DirectEngine()
        self._threads = count()
        self._used: list[Used] = []
        self._order: asyncio.Future[Order] | None = None
        self.keep: Keep = lambda: lambda: None
        self.check: Callable[[str | None], None] = lambda coming: None  # noqa: ARG005
        self.holding = False
        self.walks: list[Walk] = []
        self.stopped = asyncio.Event()

    def watch(self, trace: Trace) -> None:
        """See the tool calls of a run; to be called before its first event."""
        trace.watcher = self._saw

    def begin_bar(self, keep: Keep) -> None:
        """Forget the former bar with its checkpoints; ``keep`` is asked at every border."""
        for number in list(self._saver.storage):
            self._saver.delete_thread(number)
        self.keep = keep
        self.walks = []
        self.stopped = asyncio.Event()
        self._order = None

    async def run(self, event: Event, context: BrainContext) -> BrainState:
        if not self.holding:
            return await self._direct.run(event, context)
        context.trace.begin()
        thread = {"configurable": {"thread_id": str(next(self._threads))}}
        walk = Walk(event)
        self.walks.append(walk)
        await self._graph.ainvoke(cast(Any, {"event": event}), cast(Any, thread), context=context)
        walk.places.append(await self._place(thread))
        from_ = thread
        while True:
            order = await self._pause()
            if order is _FORWARD and walk.here.next is None:
                return walk.here.state
            if order is _FORWARD:
                await self._forward(walk, from_, thread, context)
                from_ = thread
            else:
                from_ = await order(walk, thread, context)

    def tell(self, order: Order) -> None:
        """Give the order that the waiting event is to follow."""
        if self._order is None or self._order.done():
            raise StepError("no event is on its way")
        self.stopped.clear()
        self._order.set_result(order)

    async def _pause(self) -> Order:
        self._order = asyncio.get_running_loop().create_future()
        self.stopped.set()
        return await self._order

    async def _forward(self, walk: Walk, from_: dict[str, Any], thread: dict[str, Any], context: BrainContext) -> None:
        node = cast(str, walk.here.next)
        self._used.clear()
        await self._graph.ainvoke(None, cast(Any, from_), context=context)
        place = await self._place(thread)
        self.check(place.next)
        key = agent(node).writes
        value = place.state[key]  # type: ignore[literal-required]
        walk.turns.append(Turn(node, key, value, context.trace.node_ns[-1][1] / 1e6, tuple(self._used)))
        walk.places.append(place)

    async def _place(self, config: dict[str, Any]) -> Place:
        found = await self._graph.aget_state(cast(Any, config))
        return Place(next(iter(found.next), None), cast(BrainState, found.values), cast(Any, found.config), self.keep())

    async def back(self, walk: Walk, thread: dict[str, Any], context: BrainContext) -> dict[str, Any]:  # noqa: ARG002
        """An order: to the border before, by LangGraph's checkpoint and the services as they were there."""
        walk.places.pop()
        walk.turns.pop()
        walk.here.undo()
        return walk.here.config

    def edit(self, values: BrainState) -> Order:
        """An order: put ``values`` into the state here, and ask the edge once more which node comes next."""

        async def order(walk: Walk, thread: dict[str, Any], context: BrainContext) -> dict[str, Any]:
            last = walk.turns[-1].node if walk.turns else "__start__"
            await self._graph.aupdate_state(cast(Any, walk.here.config), cast(Any, values), as_node=last)
            undo = walk.here.undo
            place = await self._place(thread)
            walk.places[-1] = Place(place.next, place.state, place.config, undo)
            if walk.turns:
                _cross(context.trace, last, place.state)
            return thread

        return order

    def _saw(self, call: ToolCall) -> None:
        if self.holding:
            ok = "ok" if call.state is ToolState.OK else call.state.name.lower()
            arguments = [plain(argument) for argument in call.arguments]
            self._used.append(Used(call.tool, call.capability, ok, call.latency_ns / 1e6, arguments, plain(call.result)))


Order = Callable[[Walk, dict[str, Any], BrainContext], Coroutine[Any, Any, dict[str, Any]]]


async def _forward(walk: Walk, thread: dict[str, Any], context: BrainContext) -> dict[str, Any]:  # noqa: ARG001
    return thread


_FORWARD: Order = _forward
FORWARD = _FORWARD
"""The order to let the next node run, or to end the event after the last."""


def _cross(trace: Trace, node: str, state: BrainState) -> None:
    """The edge that is crossed now, after the state was changed behind ``node``."""
    target = ROUTES[node](state) if node in ROUTES else None
    edge = next((edge for edge in out_edges(node) if edge.dst == target), None)
    if edge is not None:
        trace.edges[-1] = (edge.src, edge.dst, edge.label)
