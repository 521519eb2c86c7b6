"""What comes beside the candles of a close: settled funding, spot closes of the hour, marks and books that no stream tells."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial

import numpy as np

from core.data.blocks import Book, FundingRate, PriceAt
from core.data.exchange.past import LONGEST_FUNDING_MS, Past
from core.data.exchange.rest import PAGE, pages, settlements
from core.data.exchange.venue import Venue
from core.types import Timeframe

_HOUR = Timeframe.H1
_AGAIN_S = 0.3


class Side:
    """Side streams of one venue. What is not known in time for its close goes out with the next one."""

    def __init__(self, venue: Venue, past: Past, patience_ms: int) -> None:
        self._venue, self._past, self._patience_s = venue, past, patience_ms / 1000.0
        self._perps = [who for who, symbol in enumerate(venue.symbols) if ":" in symbol]
        self._announced = [0] * len(venue.symbols)
        self._last_spot: dict[int, int] = {}
        self._funding: list[FundingRate] = []
        self._spot: list[PriceAt] = []
        self._asked: tuple[int, dict[int, Book | None]] = (-1, {})
        self._asked_marks: tuple[int, dict[int, float]] = (-1, {})

    def begin(self, ts: int) -> None:
        """Everything up to ``ts`` is known already."""
        for who in self._perps:
            known = self._past.spot(self._venue.symbols[who], ts, 1)
            if known:
                self._last_spot[who] = known[-1].ts

    async def ask(self, ts: int, due: Sequence[int]) -> None:
        """Ask for what belongs to the close at ``ts``; returns when it is known, or patience is over."""
        perps = [who for who in self._perps if who in due]
        jobs: list[Awaitable[object]] = [self._books(ts, due), self._marks(ts, due)]
        jobs += [self._again(self._settled, who, ts) for who in perps if self._funding_due(who, ts)]
        jobs += [self._again(self._spot_close, who, ts) for who in perps if self._spot_due(who, ts)]
        await asyncio.gather(*jobs)

    async def _again(self, ask: Callable[[int, int], Awaitable[bool]], who: int, ts: int) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + self._patience_s
        while True:
            with suppress(Exception):  # it is asked for again, now or at the next close
                if await ask(who, ts):
                    return
            if loop.time() + _AGAIN_S > until:
                return
            await asyncio.sleep(_AGAIN_S)

    # --- funding --------------------------------------------------------------------------------------

    def _funding_due(self, who: int, ts: int) -> bool:
        """Whether a settlement is over that is not known; the venue announces the next one with its mark prices."""
        last, interval = self._past.last_funding(self._venue.symbols[who])
        announced = self._announced[who] or (last + interval if last >= 0 else ts)
        if last < announced <= ts:
            self._announced[who] = announced
            return True
        told = self._venue.next_funding(who)
        self._announced[who] = told if told > ts else max(announced, last + interval)
        return False

    async def _settled(self, who: int, ts: int) -> bool:
        symbol = self._venue.symbols[who]
        last, _ = self._past.last_funding(symbol)
        if last >= 0:
            times, rates = await settlements(self._venue.rest, symbol, last + 60_000, ts)
        else:
            times, rates = await self._venue.rest.funding(symbol, None, 10)
        self._venue.alive()
        fresh = np.flatnonzero(times <= ts)
        for at, rate in zip(times[fresh].tolist(), rates[fresh].tolist(), strict=True):
            interval = min(at - last, LONGEST_FUNDING_MS) if last >= 0 else LONGEST_FUNDING_MS
            settled = FundingRate(symbol, at, rate, interval)
            self._funding.append(settled)
            self._past.add_funding(settled)
            last = at
        if last < self._announced[who]:
            return False
        self._announced[who] = 0
        return True

    # --- spot -----------------------------------------------------------------------------------------

    def _spot_due(self, who: int, ts: int) -> bool:
        return who in self._last_spot and self._last_spot[who] + _HOUR.ms <= ts

    async def _spot_close(self, who: int, ts: int) -> bool:
        """Closes of all hours that are over by ``ts`` and not known."""
        symbol, last = self._venue.symbols[who], self._last_spot[who]
        limit = min(PAGE, (ts - last) // _HOUR.ms + 1)  # one more than are missing: a newer row proves the last one final
        bars = await pages(partial(self._venue.rest.spot, symbol, _HOUR), _HOUR, last, ts, max(2, limit))
        for opened, close in zip(bars.ts.tolist(), bars.close.tolist(), strict=True):
            self._last_spot[who] = opened + _HOUR.ms
            self._spot.append(PriceAt(symbol, opened + _HOUR.ms, close))
        return self._last_spot[who] + _HOUR.ms > ts

    # --- marks and books ------------------------------------------------------------------------------

    async def _marks(self, ts: int, due: Sequence[int]) -> None:
        self._asked_marks = (ts, await self._venue.fresh_marks(ts, due))

    async def _books(self, ts: int, due: Sequence[int]) -> None:
        self._asked = (ts, await self._venue.fresh_books(due))

    # --- out ------------------------------------------------------------------------------------------

    def draw(self, ts: int) -> tuple[tuple[FundingRate, ...], tuple[PriceAt, ...]]:
        """Settlements and spot closes that were not handed out yet, by time and then by symbol."""
        order = {symbol: who for who, symbol in enumerate(self._venue.symbols)}
        funding = sorted((row for row in self._funding if row.ts <= ts), key=lambda row: (row.ts, order[row.symbol]))
        spot = sorted((row for row in self._spot if row.ts <= ts), key=lambda row: (row.ts, order[row.symbol]))
        self._funding = [row for row in self._funding if row.ts > ts]
        self._spot = [row for row in self._spot if row.ts > ts]
        return tuple(funding), tuple(spot)

    def marks(self, ts: int, due: Sequence[int]) -> tuple[PriceAt, ...]:
        """Mark prices of this moment."""
        return self._venue.marks(ts, due, self._asked_marks[1] if self._asked_marks[0] == ts else {})

    def books(self, ts: int, due: Sequence[int]) -> tuple[Book, ...]:
        """Books of this moment."""
        return self._venue.books(ts, due, self._asked[1] if self._asked[0] == ts else {})
