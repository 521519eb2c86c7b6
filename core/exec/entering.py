"""How entries are made at an exchange: at once or as a maker first, whole or in slices."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

MOST_SLICES = 10
"""Each slice is an order of its own, and all of them are sent within the plan's cap and age."""


class Entry(StrEnum):
    """How an entry meets the book."""

    ACROSS = "across"
    """At once, against what rests there, within the plan's cap."""
    MAKER = "maker"
    """Resting at the best price of its own side first; what is left after a few attempts crosses within the same cap."""


@dataclass(frozen=True, slots=True)
class Entering:
    """Both choices. What was seen with one says nothing of another: fees, fills and what is missed are others.

    Example:
        >>> print(Entering(slices=3), Entering(Entry.MAKER), sep="; ")
        across in up to 3 slices; as maker first
    """

    entry: Entry = Entry.ACROSS
    slices: int = 1

    def __str__(self) -> str:
        how = "as maker first" if self.entry is Entry.MAKER else "across"
        return how if self.slices == 1 else f"{how} in up to {self.slices} slices"
