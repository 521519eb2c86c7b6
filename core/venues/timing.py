"""How far the venue's clock is from ours (B4, X27)."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

from core.clock import Clock

_WEIGHT = 1.0


class Offset(NamedTuple):
    """Venue's time minus ours (ms), and the round trip (ms) of the request that told it: the error is at most half of that."""

    offset_ms: float
    round_trip_ms: float


async def measure_offset(client: Any, clock: Clock, tries: int = 7) -> Offset:
    """Ask the venue for its time ``tries`` times, and believe the quickest answer.

    The unified call is not timed: the budget stands inside it. ``client`` is one of :func:`core.venues.client.make_client`.

    Raises:
        Exception: whatever the client raises when the venue does not answer.
    """
    loop, best = asyncio.get_running_loop(), Offset(0.0, float("inf"))
    url = client.quirks.time_url(client)
    for _ in range(tries):
        await client.spend(_WEIGHT, "time")
        wall, start = clock.now_ms(), loop.time()
        told = client.quirks.server_time(await client.fetch(url))
        round_trip_ms = (loop.time() - start) * 1000.0
        if round_trip_ms < best.round_trip_ms:
            best = Offset(told - (wall + round_trip_ms / 2.0), round_trip_ms)
    return best
