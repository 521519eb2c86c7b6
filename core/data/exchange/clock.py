"""The venue's time, and how far the host's clock is from it (B4, X27).

Between two measurements time is told by the running loop, which no step of the host's clock can move: such a step shows as
drift at once, and changes neither when a bar is over nor which candle is final.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from core.clock import Clock
from core.data.blocks import ClockReading
from core.venues.timing import measure_offset

_TRIES = 3
_LOOK_EVERY_S = 5.0
_BELIEVED_S = 3_600.0
"""After so long without a measurement the loop's own drift (some ppm) may matter: the drift is unknown then."""


class VenueClock:
    """Time of one venue.

    Args:
        clock: the host's.
        step_ms: a step of the host's clock that calls for a measurement.
        every_s: between measurements.
        read_ntp: the host's own account of its drift.
    """

    def __init__(self, clock: Clock, *, step_ms: int, every_s: float, read_ntp: Callable[[], float | None]) -> None:
        self._clock, self._step_ms, self._every_s, self._read_ntp = clock, step_ms, every_s, read_ntp
        self._venue_ms = 0.0
        self._at: float | None = None
        self._host = (0, 0.0)
        self.round_trip_ms = 0.0

    @property
    def known(self) -> bool:
        """Whether it was ever measured."""
        return self._at is not None

    def now(self) -> float:
        """The venue's time (ms), as well as we know it; the host's before the first measurement."""
        if self._at is None:
            return float(self._clock.now_ms())
        return self._venue_ms + (asyncio.get_running_loop().time() - self._at) * 1000.0

    def reading(self, ts: int) -> ClockReading:
        """The drift of the host's clock, for the batch of ``ts``."""
        fresh = self._at is not None and asyncio.get_running_loop().time() - self._at < _BELIEVED_S
        drift = self._clock.now_ms() - self.now() if fresh else None
        return ClockReading(ts, drift, self._read_ntp())

    async def measure(self, client: Any) -> bool:
        """Ask the venue for its time; False where the host's clock stepped meanwhile, each time.

        Raises:
            Exception: whatever the client raises when the venue does not answer.
        """
        loop = asyncio.get_running_loop()
        for _ in range(_TRIES):
            before = self._now()
            offset = await measure_offset(client, self._clock)
            if abs(_stepped(before, self._now())) <= self._step_ms:
                self._host = self._now()
                self._venue_ms, self._at = self._host[0] + offset.offset_ms, loop.time()
                self.round_trip_ms = offset.round_trip_ms
                return True
        return False

    async def keep(self, client: Any) -> None:
        """Measure every now and then, and whenever the host's clock has stepped. Never returns."""
        measured = asyncio.get_running_loop().time()
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            now = asyncio.get_running_loop().time()
            if now - measured < self._every_s and abs(_stepped(self._host, self._now())) <= self._step_ms:
                continue
            try:
                await self.measure(client)
            except asyncio.CancelledError:
                raise
            except Exception:  # noqa: BLE001 - a venue that does not answer is told by its candles; it is asked again
                measured = now - self._every_s + 10 * _LOOK_EVERY_S
                self._host = self._now()
                continue
            measured = now

    def _now(self) -> tuple[int, float]:
        return self._clock.now_ms(), asyncio.get_running_loop().time()


def _stepped(before: tuple[int, float], now: tuple[int, float]) -> float:
    """How far (ms) the host's clock went beside the loop's."""
    return (now[0] - before[0]) - (now[1] - before[1]) * 1000.0
