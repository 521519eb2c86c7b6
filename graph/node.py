"""The validating wrapper around every agent: LangGraph checks neither what a node reads nor what it writes."""

from __future__ import annotations

import hashlib
import time
from typing import Any

from agents.base import Agent, View
from core.canonical import encode
from core.errors import ContractError
from core.types import ToolState
from tools.context import BrainContext
from tools.state import STATE_TYPES, BrainState
from tools.toolkit import Toolkit
from tools.topology import AGENT_EDGES, ROUTES, AgentSpec

# Measures how long nodes take; no decision ever sees it.
_elapsed_ns = time.perf_counter_ns


class Node:
    """One agent behind its contract: declared reads only, exactly one typed write, a hash of what it wrote."""

    def __init__(self, agent: Agent, spec: AgentSpec) -> None:
        if agent.name != spec.name:
            raise ContractError(f"agent is called {agent.name!r}, its table entry {spec.name!r}")
        self.spec = spec
        self._agent = agent
        self._kit: Toolkit | None = None
        self._type = STATE_TYPES[spec.writes]
        self._edges = {edge.dst: (edge.src, edge.dst, edge.label) for edge in AGENT_EDGES if edge.src == spec.name}
        self._route = ROUTES.get(spec.name)
        self._last: tuple[object, str] = (None, "")

    async def __call__(self, state: BrainState, context: BrainContext) -> dict[str, Any]:
        """Run the agent on ``state``.

        Raises:
            ContractError: it read something undeclared, or what it returned is not of the declared type.
        """
        start = _elapsed_ns()
        kit = self._kit
        if kit is None or kit.context is not context:
            kit = self._kit = Toolkit(self.spec.name, self.spec.tools, context)
        value = await self._agent.run(View(self.spec.name, self.spec.reads, self._typed(state)), kit)
        if type(value) is not self._type:
            raise ContractError(
                f"agent {self.spec.name} wrote {type(value).__name__} to {self.spec.writes!r}, expected {self._type.__name__}"
            )
        trace = context.trace
        trace.node_hashes.append((self.spec.name, self._digest(value)))
        written: dict[str, Any] = {self.spec.writes: value}
        self._cross(state, written, context)
        trace.node_ns.append((self.spec.name, _elapsed_ns() - start))
        return written

    def _typed(self, state: BrainState) -> BrainState:
        values: dict[str, Any] = state  # type: ignore[assignment]
        for key in self.spec.reads:
            value = values.get(key)
            if value is not None and type(value) is not STATE_TYPES[key]:
                raise ContractError(
                    f"state key {key!r} held {type(value).__name__}, expected {STATE_TYPES[key].__name__}"
                )
        return state

    def _digest(self, value: object) -> str:
        last, digest = self._last
        if value is not last:
            digest = hashlib.sha256(encode(value)).hexdigest()
            self._last = (value, digest)
        return digest

    def _cross(self, state: BrainState, written: dict[str, Any], context: BrainContext) -> None:
        if self._route is None:
            return
        target = self._route({**state, **written})  # type: ignore[typeddict-item]
        edge = self._edges[target]
        context.trace.edges.append(edge)
        context.board.edge_state[(edge[0], target)] = ToolState.OK
