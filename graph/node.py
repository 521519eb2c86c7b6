"""The validating wrapper around every agent: LangGraph checks neither what a node reads nor what it writes."""

from __future__ import annotations

import hashlib
from typing import Any, cast

from msgspec.structs import replace

from agents.base import Agent, View, view_class
from core.canonical import encode
from core.clock import elapsed_ns
from core.errors import ContractError
from core.types import DecisionRecord, ToolState
from tools.context import BrainContext
from tools.state import STATE_TYPES, BrainState
from tools.toolkit import Toolkit
from tools.topology import AGENT_EDGES, ROUTES, AgentSpec
from tools.trace import Trace


class Node:
    """One agent behind its contract: declared reads only, exactly one typed write, a hash of what it wrote.

    ``target`` is where its last event went on to (None: it ended here).
    """

    def __init__(self, agent: Agent, spec: AgentSpec) -> None:
        if agent.name != spec.name:
            raise ContractError(f"agent is called {agent.name!r}, its table entry {spec.name!r}")
        self.spec = spec
        self._kit: Toolkit | None = None
        self._view_class = view_class(spec.name, spec.reads)
        self._reads = tuple((key, STATE_TYPES[key]) for key in spec.reads)
        self._type = STATE_TYPES[spec.writes]
        leaving = [edge for edge in AGENT_EDGES if edge.src == spec.name]
        self._edges = {edge.dst: ((edge.src, edge.dst, edge.label), (edge.src, edge.dst)) for edge in leaving}
        self.target: str | None = None
        self._route = ROUTES.get(spec.name)
        self._only = leaving[0].dst if len(leaving) == 1 else None
        self._run = agent.run
        self._last: tuple[object, tuple[str, str], tuple[str, bytes]] = (None, ("", ""), ("", b""))

    async def __call__(self, state: BrainState, context: BrainContext) -> dict[str, Any]:
        """Run the agent on ``state``.

        Raises:
            ContractError: it read something undeclared, or what it returned is not of the declared type.
        """
        start = elapsed_ns()
        kit = self._kit
        if kit is None or kit.context is not context:
            kit = self._kit = Toolkit(self.spec.name, self.spec.tools, context)
        try:
            value = await self._run(self._view(state), kit)
        except BaseException:
            if context.trace.edges:
                context.board.edge_state[context.trace.edges[-1][:2]] = ToolState.ERROR
            raise
        if type(value) is not self._type:
            raise ContractError(
                f"agent {self.spec.name} wrote {type(value).__name__} to {self.spec.writes!r}, expected {self._type.__name__}"
            )
        trace = context.trace
        written: dict[str, Any] = {self.spec.writes: value}
        # The last node writes the record that holds these hashes; its own is the link of the decision chain.
        if self._route is not None:
            self._note_output(trace, value)
            self.target = self._only or self._route({**state, **written})  # type: ignore[typeddict-item]
            edge, ends = self._edges[self.target]
            trace.edges.append(edge)
            # Amber where what crosses was thinned by refusals.
            context.board.edge_state[ends] = ToolState.WARN if getattr(value, "refusals", ()) else ToolState.OK
        else:
            record = cast(DecisionRecord, value)
            trace.outputs.append((self.spec.name, encode(replace(record, node_hashes=()))))
        trace.node_ns.append((self.spec.name, elapsed_ns() - start))
        return written

    def _view(self, state: BrainState) -> View:
        view = self._view_class()
        for key, expected in self._reads:
            value = state.get(key)
            if value is None:
                continue
            if type(value) is not expected:
                raise ContractError(f"state key {key!r} held {type(value).__name__}, expected {expected.__name__}")
            view[key] = value
        return view

    def _note_output(self, trace: Trace, value: object) -> None:
        """Digest and bytes of what was written; an agent that gives the very same object again is not hashed twice."""
        last, digest, output = self._last
        if value is not last:
            payload = encode(value)
            digest, output = (self.spec.name, hashlib.sha256(payload).hexdigest()), (self.spec.name, payload)
            self._last = (value, digest, output)
        trace.node_hashes.append(digest)
        trace.outputs.append(output)
