"""Features that follow from the present bar and a window alone: calculated when somebody looks (B9)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Counted(Protocol):
    """Whoever owns features; ``bar`` goes up with each bar."""

    bar: int


class OnDemand:
    """Features that ``run`` calculates together, at most once a bar of ``owner``."""

    __slots__ = ("_bar", "_owner", "_run")

    def __init__(self, owner: Counted, run: Callable[[], None]) -> None:
        self._owner, self._run, self._bar = owner, run, owner.bar

    def forget(self) -> None:
        """The present values are not of this bar: calculate them at the next look."""
        self._bar = -1

    def bring_up(self) -> None:
        """Calculate them for the present bar, unless that was done."""
        bar = self._owner.bar
        if self._bar != bar:
            self._bar = bar
            self._run()
