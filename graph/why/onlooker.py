"""An engine that lets somebody look at the moment just before the deciding nodes run."""

from __future__ import annotations

from typing import Any

from core.types import Event, EventKind
from graph.brain import build_nodes
from graph.why.asif import World
from tools.context import BrainContext
from tools.state import BrainState
from tools.topology import ENTRY

_ASKED_BEFORE = "strategy_selection"


class Onlooker:
    """Carries events through the nodes as the direct engine does, and calls :meth:`look` on the bars that are watched.

    Attributes:
        watching: whether the next bar is looked at.
        apart: nodes for what-ifs; those that carry the run remember what they wrote last.
        wrote: canonical bytes by node of the last bar that was watched.
    """

    def __init__(self) -> None:
        self._nodes = build_nodes()
        self.apart = build_nodes()
        self.watching = False
        self.wrote: dict[str, bytes] = {}
        self._before: dict[str, Any] = {}

    async def run(self, event: Event, context: BrainContext) -> BrainState:
        context.trace.begin()
        state: BrainState = {"event": event}
        name: str | None = ENTRY
        watched = self.watching and event.kind is EventKind.BAR
        if watched:
            self._before = context.governor.snapshot()
        while name is not None:
            if name == _ASKED_BEFORE and watched:
                await self.look(state, context)
            node = self._nodes[name]
            state.update(await node(state, context))  # type: ignore[typeddict-item]
            name = node.target
        if watched:
            self.wrote = dict(context.trace.outputs)
        return state

    def world(self, state: BrainState, context: BrainContext, symbol: str) -> World:
        """The moment that is looked at, for what-ifs about ``symbol``."""
        return World.at(state, context, context.market.index[symbol], self._before)

    async def look(self, state: BrainState, context: BrainContext) -> None:
        """Look, and leave everything as it is."""
