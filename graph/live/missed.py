"""What a local exchange did not hear of the real market that it plays, told to it afterwards from candles of a minute.

A stop that the price touched and left again while nobody listened was reached all the same: without this, paper would be
better than the market (X32). Only what is at stake is played. Where a candle tells a range and no path, the extreme that
hurts the position comes first, and an order that it triggers fills around the extreme itself, never better.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from msgspec import structs

from core.errors import SourceError
from core.exec.instrument import Instrument, venue_id
from core.sim.local.exchange import LocalExchange
from core.sim.local.values import BookTick, MarkTick, OrderSide, Tick, TradeTick
from core.sim.tape.candles import number
from core.sim.tape.levels import best_prices, draw_levels

MINUTE_MS = 60_000
_PAGE = 1_000
_STEP_MS = 15_000
_LEVELS = 10


class Heard(NamedTuple):
    """Lowest and highest price that was heard in the minute that opened at ``open_ts``."""

    open_ts: int
    low: float
    high: float

    def with_price(self, ts: int, price: float) -> Heard:
        """One more trade."""
        open_ts = ts // MINUTE_MS * MINUTE_MS
        if open_ts != self.open_ts:
            return Heard(open_ts, price, price)
        return Heard(open_ts, min(self.low, price), max(self.high, price))


class Stakes:
    """What the exchange's account has in its markets, and a book to fill it by where nobody knows the real one."""

    def __init__(self, exchange: LocalExchange, instruments: Sequence[Instrument]) -> None:
        self._exchange = exchange
        self._instruments = {venue_id(one.symbol): one for one in instruments}

    def side(self, name: str) -> int | None:
        """+1 long, -1 short, 0 flat with orders; None where nothing can happen."""
        sign = self._exchange.position_sign(name)
        return sign if sign or self._exchange.open_orders(name) or self._exchange.open_algos(name) else None

    def book(self, name: str, ts: int, price: float) -> BookTick:
        """Modelled from ``symbols.yaml``, around ``price``."""
        instrument = self._instruments[name]
        bid, ask = best_prices(instrument, price, instrument.modelled_spread_bps)
        return BookTick(name, ts, 0, *draw_levels(instrument, bid, ask, instrument.modelled_depth_usd, _LEVELS))


async def missed(
    client: Any, symbol: str, before: MarkTick, now_ms: int, stakes: Stakes, heard: Heard | None = None
) -> list[Tick]:
    """Ticks of the time from ``before``, the last mark that was heard, to now; none where nothing is at stake.

    Of the minute in which it broke off an extreme counts only beyond what was ``heard`` of that minute; where nobody knows
    that any more, only how it closed.
    """
    side = stakes.side(before.symbol)
    if side is None:
        return []
    ticks: list[Tick] = []
    since = before.ts // MINUTE_MS * MINUTE_MS
    while since <= now_ms:
        rows = await client.fetch_ohlcv(symbol, "1m", since, _PAGE)
        for row in rows:
            for ts, price in _path(row, side, before.ts, heard):
                ticks += _told(before, ts, price, stakes)
        if not rows and since + MINUTE_MS <= now_ms:
            raise SourceError(f"there are no candles of {symbol} for the time that was not heard", code="DATA-040")
        if not rows:
            break
        since = int(rows[-1][0]) + MINUTE_MS
    return ticks


def _path(row: Sequence[float], side: int, broke_ts: int, heard: Heard | None) -> Iterator[tuple[int, float]]:
    open_ts, open_, high, low, close = int(row[0]), *row[1:5]
    extremes = [high, low] if side < 0 else [low, high]
    if open_ts > broke_ts:
        yield open_ts, open_
    elif heard is not None and heard.open_ts == open_ts:
        extremes = [price for price in extremes if not heard.low <= price <= heard.high]
    else:
        extremes = []
    for place, price in enumerate(extremes, 1):
        yield open_ts + place * _STEP_MS, price
    yield open_ts + MINUTE_MS - 1, close


def _told(before: MarkTick, ts: int, price: float, stakes: Stakes) -> list[Tick]:
    name, at = before.symbol, number(price)
    book = stakes.book(name, ts, price)
    mark = structs.replace(before, ts=ts, mark=at, index=at)
    return [book, mark, TradeTick(name, ts, 0, at, book.asks[0][1], OrderSide.BUY)]
