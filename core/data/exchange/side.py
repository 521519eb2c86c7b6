"""What comes beside the candles of a close: settled funding, spot closes of the hour, marks and books that no stream tells."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from functools import partial

import numpy as np

from core.data.blocks import Book, FundingRate, PriceAt
from core.data.exchange.past import LONGEST_FUNDING_MS, Past
from core.data.exchange.rest import settlements
from core.data.exchange.retry import soon
from core.data.exchange.settings import ExchangeSettings
from core.data.exchange.spot import SpotCloses
from core.data.exchange.venue import Venue


class Side:
    """Side streams of one venue. What is not known in time for its close goes out with the next one."""

    def __init__(self, venue: Venue, past: Past, settings: ExchangeSettings) -> None:
        self._venue, self._past, self._patience_s = venue, past, settings.barrier_ms / 1000.0
        self._spot = SpotCloses(venue, settings)
        self._perps = [who for who, symbol in enumerate(venue.symbols) if ":" in symbol]
        self._announced = [0] * len(venue.symbols)
        self._funding: list[FundingRate] = []
        self._asked: tuple[int, dict[int, Book | None]] = (-1, {})
        self._asked_marks: tuple[int, dict[int, float]] = (-1, {})

    def begin(self, ts: int) -> None:
        """Everything up to ``ts`` is known already."""
        for who in self._perps:
            known = self._past.spot(self._venue.symbols[who], ts, 1)
            if known:
                self._spot.begin(who, known[-1].ts)

    @property
    def with_spot(self) -> tuple[int, ...]:
        """Perpetuals that have a spot market."""
        return self._spot.markets

    async def ask(self, ts: int, due: Sequence[int]) -> None:
        """Ask for what belongs to the close at ``ts``; returns when it is known, or patience is over."""
        perps = [who for who in self._perps if who in due]
        jobs: list[Awaitable[object]] = [self._books(ts, due), self._marks(ts, due)]
        jobs += [soon(partial(self._settled, who, ts), self._patience_s) for who in perps if self._funding_due(who, ts)]
        jobs += [self._spot.ask(who, ts) for who in perps if self._spot.due(who, ts)]
        await asyncio.gather(*jobs)

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
        spot = sorted(self._spot.draw(ts), key=lambda row: (row.ts, order[row.symbol]))
        self._funding = [row for row in self._funding if row.ts > ts]
        return tuple(funding), tuple(spot)

    def marks(self, ts: int, due: Sequence[int]) -> tuple[PriceAt, ...]:
        """Mark prices of this moment."""
        return self._venue.marks(ts, due, self._asked_marks[1] if self._asked_marks[0] == ts else {})

    def books(self, ts: int, due: Sequence[int]) -> tuple[Book, ...]:
        """Books of this moment."""
        return self._venue.books(ts, due, self._asked[1] if self._asked[0] == ts else {})
