"""The dead man's switch: orders of a symbol are cancelled unless the countdown is set again in time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from core.sim.server.pace import Pace


class Countdowns:
    """At most one countdown a symbol."""

    def __init__(self, pace: Pace, cancel_all: Callable[[str], None]) -> None:
        self._pace, self._cancel_all = pace, cancel_all
        self._running: dict[str, asyncio.TimerHandle] = {}

    def set(self, symbol: str, ms: int) -> None:
        """Begin anew; 0 ends it."""
        running = self._running.pop(symbol, None)
        if running:
            running.cancel()
        if ms > 0:
            self._running[symbol] = self._pace.later(ms, lambda: self._over(symbol))

    def close(self) -> None:
        """End all."""
        for symbol in list(self._running):
            self.set(symbol, 0)

    def _over(self, symbol: str) -> None:
        self._running.pop(symbol, None)
        self._cancel_all(symbol)
