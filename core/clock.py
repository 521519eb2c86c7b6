"""Time as a port: nothing else in the house asks the operating system what time it is."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol

elapsed_ns = time.perf_counter_ns
"""A stopwatch for metrics; what it says never enters a decision."""


class Clock(Protocol):
    """What every part of the system may know of time."""

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch, UTC."""
        ...


class VirtualClock:
    """A clock that moves only when told: replay, synthetic markets, tests.

    Example:
        >>> clock = VirtualClock(1_000)
        >>> clock.set(2_000)
        >>> clock.now_ms()
        2000
    """

    def __init__(self, start_ms: int = 0) -> None:
        self._now = start_ms

    def now_ms(self) -> int:
        return self._now

    def set(self, now_ms: int) -> None:
        """Move to ``now_ms``.

        Raises:
            ValueError: the time lies before the present one; time never runs backwards.
        """
        if now_ms < self._now:
            raise ValueError(f"clock was asked to go back to {now_ms}, now is {self._now}")
        self._now = now_ms


class SystemClock:
    """The host's clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


def rfc3339(ts_ms: int) -> str:
    """How a time is written for scripts: UTC, always with milliseconds, so that text sorts as time does.

    Example:
        >>> rfc3339(1_767_571_500_250)
        '2026-01-05T00:05:00.250Z'
    """
    seconds, rest = divmod(ts_ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03d}Z"


def rfc3339_seconds(ts_ms: int) -> str:
    """The same for times that are a bar's: to the second.

    Example:
        >>> rfc3339_seconds(1_767_571_500_000)
        '2026-01-05T00:05:00Z'
    """
    return f"{datetime.fromtimestamp(ts_ms // 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
