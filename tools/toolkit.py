"""The only way from an agent to a tool: checks the grant, keeps time and state."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from typing import Any, ParamSpec, TypeVar

from core.clock import elapsed_ns
from core.types import Refusal, ToolState
from tools.base import BaseTool
from tools.context import BrainContext
from tools.trace import ToolCall, ToolSlot

P = ParamSpec("P")
R = TypeVar("R")

_OK, _WARN, _ERROR = ToolState.OK, ToolState.WARN, ToolState.ERROR


class Toolkit:
    """Tools granted to one agent, bound to one run's context."""

    __slots__ = ("_agent", "_slots", "_watcher", "context")

    def __init__(self, agent: str, granted: Iterable[str], context: BrainContext) -> None:
        self._agent = agent
        self.context = context
        self._slots = {name: context.board.tools[(agent, name)] for name in granted}
        self._watcher = context.trace.watcher

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
        except BaseException as error:
            slot.state = _ERROR
            self._tell(tool, slot, args, kwargs, error)
            raise
        slot.latency_ns = elapsed_ns() - start
        slot.state = _WARN if type(result) is Refusal else _OK
        slot.calls += 1
        if self._watcher is not None:
            self._tell(tool, slot, args, kwargs, result)
        return result

    async def acall(self, tool: BaseTool[P, Coroutine[Any, Any, R]], *args: P.args, **kwargs: P.kwargs) -> R:
        """Use an asynchronous tool; raises as :meth:`call` does."""
        slot: ToolSlot | None = self._slots.get(tool.name)
        if slot is None or not tool.enabled:
            raise self.context.board.refuse(self._agent, tool.name)
        start = elapsed_ns()
        try:
            result = await tool.run(self.context, *args, **kwargs)
        except BaseException as error:
            slot.state = _ERROR
            self._tell(tool, slot, args, kwargs, error)
            raise
        slot.latency_ns = elapsed_ns() - start
        slot.state = _WARN if type(result) is Refusal else _OK
        slot.calls += 1
        if self._watcher is not None:
            self._tell(tool, slot, args, kwargs, result)
        return result

    def _tell(self, tool: BaseTool[Any, Any], slot: ToolSlot, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if self._watcher is not None:
            capability = "" if tool.capability is None else tool.capability.value
            arguments = (*args, *kwargs.values())
            self._watcher(ToolCall(self._agent, tool.name, capability, slot.state, slot.latency_ns, arguments, result))
