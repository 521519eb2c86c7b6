"""What a client may still send: a window of the venue's own weights, so that a burst of orders never waits in a queue.

ccxt's own limiter lets one request pass every so many milliseconds: of ten orders that are sent at once the last waits two
seconds, though the venue would have taken them all. Here a request waits only when the window is really full.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from core.venues.errors import LeftAlone

_FULL = 1e-9
_LOOK_AGAIN_S = 5.0
"""An urgent request may have brought another count of the venue's meanwhile."""


@dataclass(slots=True)
class Budget:
    """Weights sent in the last ``window_s`` seconds of the running loop.

    Urgent requests (orders, cancels) may use all of ``limit``; others leave ``reserve`` of it alone. While the venue wants to
    be left alone (429, 418) none passes: it bans whoever goes on, and for longer each time.

    The venue counts by address, whatever process and client it is: those that are not urgent wait as well while it has counted
    more than ``address_most``. What it counted is believed for a window, which no count outlives.
    """

    limit: float = 1_100.0
    reserve: float = 300.0
    window_s: float = 60.0
    address_most: float = 2_000.0
    used_by_venue: int = 0
    """Weight that the venue itself has counted for our address, from its last answer."""
    _used_at: float = float("-inf")
    _spent: deque[tuple[float, float]] = field(default_factory=deque)
    _sum: float = 0.0
    _closed_until: float = 0.0

    async def take(self, cost: float, *, urgent: bool, patient: bool = True) -> None:
        """Wait until ``cost`` fits, and spend it.

        Raises:
            LeftAlone: the venue wants to be left alone, and whoever asks is not so ``patient`` as to wait for hours unheard.
        """
        loop = asyncio.get_running_loop()
        while (wait := self._wait(cost, loop.time(), urgent=urgent)) > 0.0:
            if not patient and self.closed_s:
                raise LeftAlone(self.closed_s)
            await asyncio.sleep(wait)
        self._spent.append((loop.time(), cost))
        self._sum += cost

    def _wait(self, cost: float, now: float, *, urgent: bool) -> float:
        """Seconds until it is worth asking again; 0 when there is room."""
        if now < self._closed_until:
            return self._closed_until - now
        counted = self._used_at + self.window_s - now
        if not urgent and counted > _FULL and self.used_by_venue + cost > self.address_most:
            return min(counted, _LOOK_AGAIN_S)
        while self._spent and self._spent[0][0] <= now - self.window_s + _FULL:
            self._sum -= self._spent.popleft()[1]
        room = self.limit - (0.0 if urgent else self.reserve) - self._sum
        # A request that alone is too large passes once nothing else is in the window.
        if cost <= room or not self._spent:
            return 0.0
        return max(self._spent[0][0] + self.window_s - now, _FULL)

    def venue_counted(self, used: int) -> None:
        """The venue has told what our address has used."""
        self.used_by_venue, self._used_at = used, asyncio.get_running_loop().time()

    def close_for(self, seconds: float) -> None:
        """The venue wants to be left alone for this long."""
        self._closed_until = max(self._closed_until, asyncio.get_running_loop().time() + seconds)

    @property
    def closed_s(self) -> float:
        """Seconds for which the venue still wants to be left alone."""
        return max(0.0, self._closed_until - asyncio.get_running_loop().time())
