"""Market time for benchmarks: real time, but for the dead part of a bar, which is leapt over.

What is measured happens within some milliseconds of a close; the minutes between two closes would only be waited for. The loop's
own time leaps, so that every clock, timeout and pause of a process goes with it, and it is a function of the one monotonic clock
of the machine, so that two processes leap at the same moment without a word.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from dataclasses import dataclass
from typing import Any

_NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Leaps:
    """``count`` leaps: at ``first_at`` (s, monotonic) by ``first_by_s``, then every ``every_s`` by ``by_s``."""

    first_at: float = _NEVER
    first_by_s: float = 0.0
    every_s: float = 1.0
    by_s: float = 0.0
    count: int = 0

    def passed(self, at: float) -> int:
        """How many there were."""
        return 0 if at < self.first_at else min(self.count, int((at - self.first_at) / self.every_s) + 1)

    def time(self, at: float) -> float:
        """The time that ``at`` is."""
        passed = self.passed(at)
        return at if not passed else at + self.first_by_s + (passed - 1) * self.by_s

    def left(self, at: float) -> int:
        """How many are to come."""
        return self.count - self.passed(at)

    def next(self, at: float) -> float:
        """When time leaps next."""
        passed = self.passed(at)
        return self.first_at + passed * self.every_s if self.left(at) else _NEVER


class _Selector(selectors.DefaultSelector):
    """Wakes when time leaps: what was to be waited for may be over by then."""

    leaps = Leaps()

    def select(self, timeout: float | None = None) -> Any:
        now = time.monotonic()
        left = self.leaps.next(now) - now
        return super().select(left if timeout is None and left < _NEVER else timeout if timeout is None else min(timeout, left))


class LeapingLoop(asyncio.SelectorEventLoop):
    """A loop whose time leaps; ``leaps`` may be set while it runs, before the first of them."""

    def __init__(self) -> None:
        self._leaping = _Selector()
        super().__init__(self._leaping)

    @property
    def leaps(self) -> Leaps:
        """When it leaps."""
        return self._leaping.leaps

    @leaps.setter
    def leaps(self, leaps: Leaps) -> None:
        self._leaping.leaps = leaps

    def time(self) -> float:
        """Monotonic time and all leaps until now (s)."""
        return self._leaping.leaps.time(time.monotonic())


@dataclass(frozen=True, slots=True)
class MarketClock:
    """The market's time on the running loop: ``start_ms`` when the loop's time was ``begun_s``."""

    start_ms: int
    begun_s: float

    def now_ms(self) -> int:
        """Now (ms)."""
        return self.start_ms + int((asyncio.get_running_loop().time() - self.begun_s) * 1000)
