"""What an agent is: a plain asynchronous function of what it declared to read, and its toolkit."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

from core.errors import ContractError
from tools.toolkit import Toolkit


class View(dict[str, Any]):
    """The declared part of the state; asking for anything else is an error, not a None.

    Each agent has a class of its own (:func:`view_class`), so that making one on every bar costs no more than a dict.
    """

    __slots__ = ()
    agent: ClassVar[str] = ""
    reads: ClassVar[tuple[str, ...]] = ()

    def __missing__(self, key: str) -> Any:
        state = "has not been written in this event" if key in self.reads else "is not declared in its reads"
        raise ContractError(f"agent {self.agent} read {key!r}, which {state}")

    def optional(self, key: str) -> Any:
        """Value of a declared key, or None where this event's path did not write it."""
        value = self.get(key)
        return self.__missing__(key) if value is None and key not in self.reads else value


def view_class(agent: str, reads: tuple[str, ...]) -> type[View]:
    """The view of one agent."""
    return type("View", (View,), {"__slots__": (), "agent": agent, "reads": reads})


class Agent(Protocol):
    """A node of the brain. It returns the one value that its table entry says it writes."""

    name: str

    async def run(self, view: View, kit: Toolkit) -> object: ...
