"""The server's time: what the venue says that it is, and how to wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from core.clock import Clock


class PacedClock:
    """A clock that starts at ``start_ms`` and runs ``speed`` times as fast as ``seconds``, such as a loop's ``time``.

    Example:
        >>> ticks = iter([100.0, 100.5])
        >>> PacedClock(1_000, 60.0, lambda: next(ticks)).now_ms()
        31000
    """

    def __init__(self, start_ms: int, speed: float, seconds: Callable[[], float]) -> None:
        self._start_ms, self._speed, self._seconds = start_ms, speed, seconds
        self._begun = seconds()

    def now_ms(self) -> int:
        return self._start_ms + int((self._seconds() - self._begun) * 1000 * self._speed)


class Pace:
    """Waits in the clock's time on the running loop. ``skew_ms`` shifts what the venue tells, not when things happen."""

    def __init__(self, clock: Clock, speed: float) -> None:
        self.clock = clock
        self.skew_ms = 0
        self._seconds_per_ms = 1.0 / (1000.0 * speed)

    def now(self) -> int:
        """What the venue believes that the time is (ms)."""
        return self.clock.now_ms() + self.skew_ms

    def seconds(self, ms: float) -> float:
        """How long ``ms`` of the clock take on the loop."""
        return max(0.0, ms) * self._seconds_per_ms

    async def sleep(self, ms: float) -> None:
        """Wait for ``ms`` of the clock; always lets others run."""
        await asyncio.sleep(self.seconds(ms))

    async def until(self, ts: int) -> None:
        """Wait until the clock has reached ``ts``, if only for others; a loop's timers may fire a little early."""
        await asyncio.sleep(self.seconds(ts - self.clock.now_ms()))
        while (rest := ts - self.clock.now_ms()) > 0:  # noqa: ASYNC110 - it waits for a time
            await asyncio.sleep(self.seconds(rest))

    def due(self, ms: float) -> float:
        """When, on the loop's own clock, ``ms`` from now will have passed."""
        return asyncio.get_running_loop().time() + self.seconds(ms)

    @staticmethod
    async def until_due(due: float) -> None:
        """Wait for a :meth:`due`."""
        rest = due - asyncio.get_running_loop().time()
        if rest > 0:
            await asyncio.sleep(rest)

    def later(self, ms: float, call: Callable[[], object]) -> asyncio.TimerHandle:
        """Call after ``ms`` of the clock."""
        return asyncio.get_running_loop().call_later(self.seconds(ms), call)
