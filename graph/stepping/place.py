"""Where the stepper stands, and where it stops."""

from __future__ import annotations

from dataclasses import dataclass, field

from graph.stepping.carrier import Walk

END = 1_000_000
"""More than the events of a bar, and than the nodes of an event."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where one stands: bar, event of the bar, nodes of the event that have run."""

    bar: int
    event: int
    step: int


@dataclass(slots=True)
class Breakpoints:
    """Nodes before and after which a run stops."""

    before: set[str] = field(default_factory=set)
    after: set[str] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.before or self.after)

    def stops(self, walk: Walk) -> bool:
        """Whether to stop where ``walk`` stands."""
        return walk.here.next in self.before or (bool(walk.turns) and walk.turns[-1].node in self.after)
