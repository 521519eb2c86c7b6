"""The past of every series, asked for once at start-up and then served from memory (the source's history is synchronous)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from core.data.blocks import Bars, Floats, FundingRate, Ints, PriceAt
from core.data.exchange.candles import Values
from core.data.exchange.rest import pages, settlements
from core.data.exchange.venue import Venue
from core.data.quality import select
from core.data.resample import EMPTY, resample, stitch
from core.data.timeframes import bucket_open, from_base
from core.types import Timeframe

LONGEST_FUNDING_MS = 8 * Timeframe.H1.ms
_KEPT = 6_000
"""Base bars of a symbol that are kept of what comes in: three times the longest look-back on them."""
_FUNDING_GRACE_MS = 30 * LONGEST_FUNDING_MS

Wanted = Callable[[Timeframe], int]


class Past:
    """History of one venue. Values are as the venue has them; bars are final."""

    def __init__(self, symbols: tuple[str, ...], base: tuple[Timeframe, ...]) -> None:
        self._base = dict(zip(symbols, base, strict=True))
        self._bars: dict[tuple[str, Timeframe], Bars] = {}
        self._new: dict[str, list[tuple[int, Values]]] = {symbol: [] for symbol in symbols}
        self._funding: dict[str, tuple[Ints, Floats]] = dict.fromkeys(symbols, (EMPTY.ts, EMPTY.open))
        self._spot: dict[str, Bars] = dict.fromkeys(symbols, EMPTY)

    # --- in -------------------------------------------------------------------------------------------

    async def load(self, venue: Venue, who: int, until: int, wanted: Wanted, funding: int, spot: int) -> str | None:
        """Ask for everything of one symbol that was over at ``until``; why there is no spot, where there is none.

        Raises:
            Exception: whatever the client raises, but for spot.
        """
        symbol = venue.symbols[who]
        for tf in from_base(venue.base[who]):
            page = partial(venue.rest.candles, symbol, tf)
            since = bucket_open(until, tf) - wanted(tf) * tf.ms
            self._bars[symbol, tf] = await pages(page, tf, max(since, 0), until)
        if ":" not in symbol:
            return None
        await self._load_funding(venue, symbol, until, funding)
        return await self._load_spot(venue, symbol, until, spot)

    async def _load_funding(self, venue: Venue, symbol: str, until: int, wanted: int) -> None:
        since = until - wanted * LONGEST_FUNDING_MS - _FUNDING_GRACE_MS
        self._funding[symbol] = await settlements(venue.rest, symbol, max(since, 0), until)

    async def _load_spot(self, venue: Venue, symbol: str, until: int, wanted: int) -> str | None:
        hour = Timeframe.H1
        since = bucket_open(until, hour) - wanted * hour.ms
        try:
            self._spot[symbol] = await pages(partial(venue.rest.spot, symbol, hour), hour, max(since, 0), until)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - without spot there is no basis, and that is all
            return f"{symbol}: no spot candles from {venue.name} ({type(error).__name__}), so no basis"
        return None if len(self._spot[symbol]) else f"{symbol}: no spot market at {venue.name}, so no basis"

    def add(self, symbol: str, open_ts: int, values: Values) -> None:
        """A base bar that went out; of two copies the first one counts."""
        new = self._new[symbol]
        if new and open_ts <= new[-1][0]:
            return
        new.append((open_ts, values))
        if len(new) > _KEPT:
            self._fold(symbol, open_ts + self._base[symbol].ms)

    def _fold(self, symbol: str, until: int) -> None:
        """Put what came in behind what was asked for, and let go of what is too old in both."""
        folded = {(symbol, tf): self.bars(symbol, tf, until, _KEPT) for tf in from_base(self._base[symbol])}
        self._bars |= folded
        self._new[symbol].clear()

    def add_funding(self, rate: FundingRate) -> None:
        """A settlement that went out."""
        ts, rates = self._funding[rate.symbol]
        self._funding[rate.symbol] = (np.append(ts, rate.ts), np.append(rates, rate.rate))

    # --- out ------------------------------------------------------------------------------------------

    def bars(self, symbol: str, tf: Timeframe, before_ts: int, limit: int) -> Bars:
        """See :meth:`core.data.sources.base.Source.history`; what came since start-up is summed up from the base bars."""
        pieces = list(self._pieces(symbol, tf))
        whole = stitch(pieces)
        stop = int(np.searchsorted(whole.ts, before_ts - tf.ms, side="right"))
        return select(whole, slice(max(0, stop - limit), stop))

    def _pieces(self, symbol: str, tf: Timeframe) -> Iterator[Bars]:
        if (symbol, tf) in self._bars:
            yield self._bars[symbol, tf]
        base = self._base[symbol]
        if base.ms > tf.ms:
            return
        new = self._new[symbol]
        if new:
            ts = np.array([row[0] for row in new], dtype=np.int64)
            columns = np.array([row[1] for row in new], dtype=np.float64).T
            recent = Bars(ts, *(np.ascontiguousarray(column) for column in columns))
            own = self._bars.get((symbol, base), EMPTY)
            yield resample(stitch([own, recent]), base, tf)

    def funding(self, symbol: str, before_ts: int, limit: int) -> tuple[FundingRate, ...]:
        """See :meth:`core.data.sources.base.Source.funding_history`."""
        ts, rates = self._funding[symbol]
        stop = int(np.searchsorted(ts, before_ts, side="right"))
        rows = slice(max(0, stop - limit), stop)
        columns = (ts[rows].tolist(), rates[rows].tolist(), intervals(ts)[rows].tolist())
        return tuple(FundingRate(symbol, *row) for row in zip(*columns, strict=True))

    def last_funding(self, symbol: str) -> tuple[int, int]:
        """Time of the last settlement (-1: none) and the interval before it."""
        ts = self._funding[symbol][0]
        return (int(ts[-1]), int(intervals(ts)[-1])) if ts.size else (-1, LONGEST_FUNDING_MS)

    def spot(self, symbol: str, before_ts: int, limit: int) -> tuple[PriceAt, ...]:
        """See :meth:`core.data.sources.base.Source.spot_history`."""
        hour, bars = Timeframe.H1.ms, self._spot[symbol]
        stop = int(np.searchsorted(bars.ts, before_ts - hour, side="right"))
        rows = slice(max(0, stop - limit), stop)
        times, closes = bars.ts[rows].tolist(), bars.close[rows].tolist()
        return tuple(PriceAt(symbol, ts + hour, price) for ts, price in zip(times, closes, strict=True))

    def has_spot(self, symbol: str) -> bool:
        """Whether there is a spot market."""
        return len(self._spot[symbol]) > 0

    def has_funding(self, symbol: str) -> bool:
        """Whether funding was ever settled."""
        return self._funding[symbol][0].size > 0


def intervals(ts: Ints) -> Ints:
    """Time since the settlement before (the first: until the next), at most the venue's longest interval."""
    if ts.size < 2:
        return np.full(ts.size, LONGEST_FUNDING_MS, dtype=np.int64)
    steps = np.diff(ts)
    found: Ints = np.minimum(np.concatenate([steps[:1], steps]), LONGEST_FUNDING_MS)
    return found
