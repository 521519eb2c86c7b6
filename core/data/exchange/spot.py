"""Hourly closes of the spot markets that perpetuals belong to, for the basis: by a stream, and by REST what that leaves out.

REST knows a candle as final only when the next one has begun there; the stream says so itself.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial

from core.data.blocks import PriceAt
from core.data.exchange.rest import PAGE, pages
from core.data.exchange.retry import soon
from core.data.exchange.settings import ExchangeSettings
from core.data.exchange.venue import Venue
from core.types import Timeframe

_HOUR = Timeframe.H1


class SpotCloses:
    """Closes of one venue: each goes out once, those of a symbol in order.

    An hour that the stream left out is asked for before a later one that it told goes out; one that REST does not have either,
    though it has a later one, does not exist.
    """

    def __init__(self, venue: Venue, settings: ExchangeSettings) -> None:
        self._venue = venue
        self._grace_ms, self._patience_s = settings.spot_grace_ms, settings.barrier_ms / 1000.0
        self._last: dict[int, int] = {}
        self._known: list[PriceAt] = []

    @property
    def markets(self) -> tuple[int, ...]:
        """Symbols that have one."""
        return tuple(self._last)

    def begin(self, who: int, ts: int) -> None:
        """Everything of a symbol up to ``ts``, the end of an hour, is known already."""
        self._last[who] = ts

    def due(self, who: int, ts: int) -> bool:
        """Whether an hour is over by ``ts`` of which the close is not known."""
        return who in self._last and self._last[who] + _HOUR.ms <= ts

    async def ask(self, who: int, ts: int) -> None:
        """Closes of all hours that are over by ``ts``; returns when they are known, or patience is over."""
        if await self._hear(who, ts, self._grace_s(who)):
            return
        by_rest = partial(self._by_rest, who, ts)
        both = [asyncio.create_task(how) for how in (soon(by_rest, self._patience_s), self._hear(who, ts, self._patience_s))]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()

    def _grace_s(self, who: int) -> float:
        """How long the stream is trusted to tell the next close: not at all while it is down, nor of what was long ago."""
        told_by = self._last[who] + _HOUR.ms + self._grace_ms
        return (told_by - self._venue.clock.now()) / 1000.0 if self._venue.streaming_spot else 0.0

    async def _hear(self, who: int, ts: int, seconds: float) -> bool:
        """Wait for the stream; whether it told everything."""
        loop, told = asyncio.get_running_loop(), self._venue.spot
        until = loop.time() + seconds
        while not self._take_told(who, ts):
            left_s = until - loop.time()
            if left_s <= 0.0:
                return False
            told.news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await told.news.wait()
        return True

    def _take_told(self, who: int, ts: int) -> bool:
        while self.due(who, ts):
            next_ts = self._last[who] + _HOUR.ms
            price = self._venue.spot.close(who, next_ts)
            if price is None:
                return False
            self._know(who, next_ts, price)
        return True

    async def _by_rest(self, who: int, ts: int) -> bool:
        symbol, last = self._venue.symbols[who], self._last[who]
        limit = min(PAGE, (ts - last) // _HOUR.ms + 1)  # one more than are missing: a newer row proves the last one final
        bars = await pages(partial(self._venue.rest.spot, symbol, _HOUR), _HOUR, last, ts, max(2, limit))
        for opened, close in zip(bars.ts.tolist(), bars.close.tolist(), strict=True):
            self._know(who, opened + _HOUR.ms, close)
        return self._take_told(who, ts)

    def _know(self, who: int, ts: int, price: float) -> None:
        if ts > self._last[who]:  # the other way may have told it meanwhile
            self._last[who] = ts
            self._known.append(PriceAt(self._venue.symbols[who], ts, price))

    def draw(self, ts: int) -> list[PriceAt]:
        """Closes up to ``ts`` that were not handed out yet."""
        drawn = [row for row in self._known if row.ts <= ts]
        self._known = [row for row in self._known if row.ts > ts]
        return drawn
