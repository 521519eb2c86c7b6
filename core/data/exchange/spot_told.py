"""Hourly spot closes that a stream has told, until somebody asks for them."""

from __future__ import annotations

import asyncio

_MOST = 48
"""Hours of a symbol that wait for a consumer that does not come; REST has them all."""


class SpotTold:
    """See above.

    Attributes:
        news: set with each close that was told.
    """

    def __init__(self) -> None:
        self.news = asyncio.Event()
        self._closes: dict[int, dict[int, float]] = {}

    def take(self, who: int, ts: int, price: float) -> None:
        """The hour of the symbol at ``who`` that ended at ``ts`` closed at ``price``; of two copies the first one counts."""
        closes = self._closes.setdefault(who, {})
        closes.setdefault(ts, price)
        if len(closes) > _MOST:
            del closes[min(closes)]
        self.news.set()

    def close(self, who: int, ts: int) -> float | None:
        """What was told of the hour that ended at ``ts``; None where nothing was."""
        return self._closes.get(who, {}).get(ts)
