"""What an agent is: a plain asynchronous function of what it declared to read, and its toolkit."""

from __future__ import annotations

from typing import Any, Protocol

from core.errors import ContractError
from tools.toolkit import Toolkit


class View(dict[str, Any]):
    """The declared part of the state; asking for anything else is an error, not a None."""

    __slots__ = ("_agent", "_reads")

    def __init__(self, agent: str, reads: tuple[str, ...]) -> None:
        super().__init__()
        self._agent = agent
        self._reads = reads

    def __missing__(self, key: str) -> Any:
        state = "has not been written in this event" if key in self._reads else "is not declared in its reads"
        raise ContractError(f"agent {self._agent} read {key!r}, which {state}")

    def optional(self, key: str) -> Any:
        """Value of a declared key, or None where this event's path did not write it."""
        if key not in self._reads:
            return self.__missing__(key)
        return self[key] if key in self else None


class Agent(Protocol):
    """A node of the brain. It returns the one value that its table entry says it writes."""

    name: str

    async def run(self, view: View, kit: Toolkit) -> object: ...
