"""The only way from an agent to a tool: checks the grant, keeps time and state."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from typing import Any, ParamSpec, TypeVar

from core.clock import elapsed_ns
from core.types import Refusal, ToolState
from tools.base import BaseTool
from tools.context import BrainContext
from tools.trace import ToolSlot

P = ParamSpec("P")
R = TypeVar("R")

_OK, _WARN, _ERROR = ToolState.OK, ToolState.WARN, ToolState.ERROR


class Toolkit:
    """Tools granted to one agent, bound to one run's context."""

    __slots__ = ("_agent", "_slots", "context")

    def __init__(self, agent: str, granted: Iterable[str], context: BrainContext) -> None:
        self._agent = agent
        self.context = context
        self._slots = {name: context.board.tools[(agent, name)] for name in granted}

    def call(self, tool: BaseTool[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Use a synchronous tool.

        Raises:
            ToolRefused: the tool is disabled or outside the agent's grant; the attempt is on record.
        """
        slot = self._slots.get(tool.name)
        if slot is None or not tool.enabled:
            raise self.context.board.refuse(self._agent, tool.name)
        start = elapsed_ns()
        try:
            result = tool.run(self.context, *args, **kwargs)
        except BaseException:
            slot.state = _ERROR
            raise
        slot.latency_ns = elapsed_ns() - start
        slot.state = _WARN if type(result) is Refusal else _OK
        slot.calls += 1
        return result

    async def acall(self, tool: BaseTool[P, Coroutine[Any, Any, R]], *args: P.args, **kwargs: P.kwargs) -> R:
        """Use an asynchronous tool; raises as :meth:`call` does."""
        slot: ToolSlot | None = self._slots.get(tool.name)
        if slot is None or not tool.enabled:
            raise self.context.board.refuse(self._agent, tool.name)
        start = elapsed_ns()
        try:
            result = await tool.run(self.context, *args, **kwargs)
        except BaseException:
            slot.state = _ERROR
            raise
        slot.latency_ns = elapsed_ns() - start
        slot.state = _WARN if type(result) is Refusal else _OK
        slot.calls += 1
        return result
