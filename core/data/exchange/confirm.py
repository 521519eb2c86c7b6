"""What the streams have not told is asked for by REST: candles that were missed, late, or never announced."""

from __future__ import annotations

import asyncio
from functools import partial

import numpy as np

from core.data.exchange.rest import PAGE, pages
from core.data.exchange.retry import pause_s
from core.data.exchange.settings import ExchangeSettings
from core.data.exchange.venue import Venue

_BETWEEN_S = (0.25, 5.0)
_MISSED_MOST = 2
"""Closes on end at which a stream that stands left out a symbol, before it is dialled again."""


class Confirm:
    """Asks for missing candles of one venue, one close after the other."""

    def __init__(self, venue: Venue, settings: ExchangeSettings, random: np.random.Generator) -> None:
        self._venue, self._settings, self._random = venue, settings, random
        self._task: asyncio.Task[None] | None = None
        self._missed = [0] * len(venue.symbols)

    def ask(self, ts: int) -> None:
        """Ask for all that is missing up to ``ts``, until it is there or a later close is asked for."""
        self.stop()
        self._task = asyncio.create_task(self._until_complete(ts), name=f"{self._venue.name} candles up to {ts}")

    def stop(self) -> None:
        """Ask no more."""
        if self._task is not None:
            self._task.cancel()

    def watch(self, ts: int) -> None:
        """Whether the stream brings each symbol: one that leaves one out close after close is dialled anew."""
        venue = self._venue
        for who in venue.candles.due(ts):
            left_out = venue.streaming and venue.streamed[who] < ts - 2 * venue.base[who].ms
            self._missed[who] = self._missed[who] + 1 if left_out else 0
        if max(self._missed, default=0) >= _MISSED_MOST:
            self._missed = [0] * len(venue.symbols)
            venue.redial("final candles are missing")

    async def _until_complete(self, ts: int) -> None:
        candles, fails = self._venue.candles, 0
        while missing := candles.missing(ts):
            await asyncio.gather(*(self._one(who, ts) for who in missing))
            self._venue.news.set()
            if candles.missing(ts):
                await asyncio.sleep(pause_s(fails, _BETWEEN_S, self._random))
                fails += 1

    async def _one(self, who: int, ts: int) -> None:
        venue = self._venue
        tf, since = venue.base[who], venue.candles.wanted(who)
        limit = min(PAGE, (ts - since) // tf.ms + 1)  # one more than are missing: a newer row proves the last one final
        try:
            bars = await pages(partial(venue.rest.candles, venue.symbols[who], tf), tf, since, ts, max(2, limit))
        except asyncio.CancelledError:
            raise
        except Exception:  # noqa: BLE001 - whatever it is, it is tried again; silence is what counts
            return
        venue.alive()
        venue.candles.take_all(who, bars)
