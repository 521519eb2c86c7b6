"""Market data by REST, through ccxt's unified calls: what is over, and never what is still forming."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from core.data.blocks import Bars, Floats, Ints
from core.data.quality import select
from core.data.resample import EMPTY
from core.types import Timeframe
from core.venues.market_words import Pages

PAGE = 1_000
FUNDING_PAGE = 1_000
FUNDING_STEP_MS = Timeframe.H1.ms
"""Settlements are at least an hour apart."""
_MINUTE = 60_000


class Page(Protocol):
    """Fetches final candles from ``since`` on, at most a page of them, oldest first; with None the newest ones."""

    def __call__(self, since: int | None, limit: int) -> Awaitable[Bars]: ...


class MarkAt(NamedTuple):
    """A mark price, its time, and when funding is settled next (0: not told)."""

    ts: int
    price: float
    next_funding: int


class VenueRest:
    """One venue's market data.

    Args:
        client: of :func:`core.venues.client.make_client`.
        now: the venue's time (ms).
        last_row_ms: how long after its close the last candle of an answer is believed to be final.
    """

    def __init__(self, client: Any, now: Callable[[], float], last_row_ms: int) -> None:
        self._client, self._now, self._last_row_ms = client, now, last_row_ms

    @property
    def page(self) -> Pages:
        """How much the venue tells at once."""
        pages: Pages = self._client.quirks.PAGES
        return pages

    async def candles(self, symbol: str, tf: Timeframe, since: int | None, limit: int = PAGE) -> Bars:
        """Final candles of a perpetual."""
        return self._final(await self._client.fetch_ohlcv(symbol, tf.value, since, limit), tf)

    async def marks(self, symbol: str, tf: Timeframe, since: int | None, limit: int = PAGE) -> Bars:
        """The same of its mark price; volume is 0."""
        rows = await self._client.fetch_ohlcv(symbol, tf.value, since, limit, params={"price": "mark"})
        return self._final([[*row[:5], 0.0] for row in rows], tf)

    async def spot(self, symbol: str, tf: Timeframe, since: int | None, limit: int = PAGE) -> Bars:
        """The same of the spot market that ``symbol``, a perpetual or a spot symbol, belongs to."""
        base = symbol.partition(":")[0]
        return self._final(await self._client.quirks.spot_rows(self._client, base, tf.value, since, limit), tf)

    async def funding(self, symbol: str, since: int | None, limit: int = FUNDING_PAGE) -> tuple[Ints, Floats]:
        """Settlements and their rates, oldest first. The venue writes some ms of jitter; they count by the minute."""
        rows = await self._client.quirks.funding_rows(self._client, symbol, since, min(limit, self.page.funding))
        known = {_minute(int(row["timestamp"])): float(row["fundingRate"]) for row in rows if row["fundingRate"] is not None}
        times = sorted(known)
        return np.array(times, dtype=np.int64), np.array([known[ts] for ts in times], dtype=np.float64)

    async def mark(self, symbol: str) -> MarkAt | None:
        """The mark price as the venue has it now; None where its answer has none."""
        told = await self._client.fetch_funding_rate(symbol)
        if told["markPrice"] is None or told["timestamp"] is None:
            return None
        return MarkAt(int(told["timestamp"]), float(told["markPrice"]), int(told["fundingTimestamp"] or 0))

    async def book(self, symbol: str, limit: int) -> dict[str, Any]:
        """A snapshot of the book as ccxt tells it."""
        told: dict[str, Any] = await self._client.fetch_order_book(symbol, limit)
        return told

    def _final(self, rows: Sequence[Sequence[Any]], tf: Timeframe) -> Bars:
        """Whole rows in order. A row is final when a newer one is there, or when its close is long ago.

        Time alone would take a forming candle for a final one if the venue's clock were ahead of its candles.
        """
        whole = {int(row[0]): row for row in rows if all(value is not None for value in row[:6])}
        times = sorted(whole)
        if times and self._now() < times[-1] + tf.ms + self._last_row_ms:
            times.pop()
        if not times:
            return EMPTY
        columns = np.array([[float(value) for value in whole[ts][1:6]] for ts in times], dtype=np.float64).T
        return Bars(np.array(times, dtype=np.int64), *(np.ascontiguousarray(column) for column in columns))


async def pages(page: Page, tf: Timeframe, since: int, until: int, limit: int = PAGE) -> Bars:
    """Candles that open at or after ``since`` and close at or before ``until``, page after page."""
    found: list[Bars] = []
    while since + tf.ms <= until:
        bars = await page(since, limit)
        bars = select(bars, np.flatnonzero((bars.ts >= since) & (bars.ts + tf.ms <= until)))
        if not len(bars):
            break
        found.append(bars)
        since = int(bars.ts[-1]) + tf.ms
    return Bars(*(np.concatenate(columns) for columns in zip(*found, strict=True))) if found else EMPTY


async def settlements(rest: VenueRest, symbol: str, since: int, until: int) -> tuple[Ints, Floats]:
    """Settlements from ``since`` to ``until``, page after page, however long the venue's pages are."""
    times: list[Ints] = [EMPTY.ts]
    rates: list[Floats] = [EMPTY.open]
    while since <= until:
        ts, told = await rest.funding(symbol, since)
        keep = np.flatnonzero((ts >= since) & (ts <= until))
        if not keep.size:  # tells only of as much time as the page may hold
            since += rest.page.funding * FUNDING_STEP_MS
            continue
        times.append(ts[keep])
        rates.append(told[keep])
        since = int(ts[keep[-1]]) + FUNDING_STEP_MS
    return np.concatenate(times), np.concatenate(rates)


def _minute(ts: int) -> int:
    return (ts + _MINUTE // 2) // _MINUTE * _MINUTE
