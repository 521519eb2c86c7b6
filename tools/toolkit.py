"""The only way from an agent to a tool: checks the grant, keeps time, state and record."""

from __future__ import annotations

import time
from collections.abc import Coroutine, Iterable
from typing import Any, ParamSpec, TypeVar

from core.types import ToolState
from tools.base import BaseTool
from tools.context import BrainContext

P = ParamSpec("P")
R = TypeVar("R")

# Measures how long things take; no decision ever sees it.
_elapsed_ns = time.perf_counter_ns


class Toolkit:
    """Tools granted to one agent, bound to one run's context."""

    __slots__ = ("_agent", "_board", "_calls", "_context", "_keys")

    def __init__(self, agent: str, granted: Iterable[str], context: BrainContext) -> None:
        self._agent = agent
        self._context = context
        self._board = context.board
        self._calls = context.trace.tool_calls
        self._keys = {name: (agent, name) for name in granted}

    @property
    def context(self) -> BrainContext:
        """The run's frozen context."""
        return self._context

    def call(self, tool: BaseTool[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Use a synchronous tool.

        Raises:
            ToolRefused: the tool is disabled or outside the agent's grant; the attempt is on record.
        """
        key = self._granted(tool)
        start = _elapsed_ns()
        try:
            result = tool.run(self._context, *args, **kwargs)
        except BaseException:
            self._board.tool_state[key] = ToolState.ERROR
            raise
        self._done(key, start)
        return result

    async def acall(self, tool: BaseTool[P, Coroutine[Any, Any, R]], *args: P.args, **kwargs: P.kwargs) -> R:
        """Use an asynchronous tool; raises as :meth:`call` does."""
        key = self._granted(tool)
        start = _elapsed_ns()
        try:
            result = await tool.run(self._context, *args, **kwargs)
        except BaseException:
            self._board.tool_state[key] = ToolState.ERROR
            raise
        self._done(key, start)
        return result

    def _granted(self, tool: BaseTool[P, R]) -> tuple[str, str]:
        key = self._keys.get(tool.name)
        if key is None or not tool.enabled:
            raise self._board.refuse(self._agent, tool.name)
        return key

    def _done(self, key: tuple[str, str], start: int) -> None:
        board = self._board
        board.tool_latency_ns[key] = _elapsed_ns() - start
        board.tool_state[key] = ToolState.OK
        board.tool_calls[key] += 1
        self._calls.append(key)
