"""Calls that tell of the market."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import structs

from core.sim.local.values import KlineTick, Listing, MarkTick, VenueError
from core.sim.server import shape_market as shape
from core.sim.server.desk import Desk
from core.sim.server.options import HOUR
from core.sim.server.params import Params
from core.sim.server.wire import Json, rate, text
from core.sim.tape.base import FUNDING_DEFAULT, FUNDING_MOST, KLINES_DEFAULT, KLINES_MOST
from core.types import Timeframe

USUAL_FUNDING_MS = 8 * HOUR
DEPTHS = (5, 10, 20, 50, 100, 500, 1000)


def ping(_desk: Desk, _params: Params) -> Json:
    """Whether anybody is there."""
    return {}


def server_time(desk: Desk, _params: Params) -> Json:
    """What the venue believes that the time is."""
    return {"serverTime": desk.pace.now()}


def exchange_info(desk: Desk, _params: Params) -> Json:
    """All that is listed."""
    return shape.exchange_info(tuple(desk.exchange.listings.values()), desk.options.limits, desk.pace.now())


def depth(desk: Desk, params: Params) -> Json:
    """Snapshot of the book."""
    listing, limit = desk.listing(params), params.integer("limit", 500)
    if limit not in DEPTHS:
        raise VenueError(-4021, f"{limit} is not valid depth limit.")
    return shape.depth(desk.market.books.get(listing.symbol), limit, desk.pace.now())


def trades(desk: Desk, params: Params) -> list[Json]:
    """Recent trades."""
    listing, limit = desk.listing(params), params.limit(500, 1000)
    return [shape.trade_row(tick) for tick in list(desk.market.trades[listing.symbol])[-limit:]]


def agg_trades(desk: Desk, params: Params) -> list[Json]:
    """Recent trades, told together."""
    listing, limit = desk.listing(params), params.limit(500, 1000)
    start, end = params.integer("startTime", 0), params.maybe_integer("endTime")
    first = params.integer("fromId", 0)
    found = [
        tick
        for tick in desk.market.trades[listing.symbol]
        if tick.ts >= start and (end is None or tick.ts <= end) and tick.trade_id >= first
    ]
    chosen = found[:limit] if start or first else found[-limit:]
    return [shape.agg_trade_row(tick) for tick in chosen]


def timeframe(params: Params) -> Timeframe:
    """The interval that candles are asked for."""
    try:
        return Timeframe(params.text("interval"))
    except ValueError:
        raise VenueError(-1120, "Invalid interval.") from None


def time_range(params: Params) -> tuple[int | None, int | None]:
    """Begin and end, where they were sent."""
    return params.maybe_integer("startTime"), params.maybe_integer("endTime")


def klines(desk: Desk, params: Params) -> list[list[object]]:
    """Candles, the forming one last."""
    listing, tf = desk.listing(params), timeframe(params)
    found = desk.tape.klines(listing.symbol, tf, *time_range(params), params.limit(KLINES_DEFAULT, KLINES_MOST))
    return [shape.kline_row(kline) for kline in found]


def _mark_klines(desk: Desk, params: Params, name: str) -> tuple[KlineTick, ...]:
    symbol, tf = params.text(name), timeframe(params)
    if symbol not in desk.exchange.listings:
        raise VenueError(-1121, "Invalid symbol.")
    return desk.tape.mark_klines(symbol, tf, *time_range(params), params.limit(KLINES_DEFAULT, KLINES_MOST))


def mark_klines(desk: Desk, params: Params) -> list[list[object]]:
    """Candles of the mark price."""
    return [shape.bare_row(kline) for kline in _mark_klines(desk, params, "symbol")]


def index_klines(desk: Desk, params: Params) -> list[list[object]]:
    """Candles of the index; modelled as equal to the mark price."""
    return [shape.bare_row(kline) for kline in _mark_klines(desk, params, "pair")]


def premium_klines(desk: Desk, params: Params) -> list[list[object]]:
    """Candles of the premium, trade price over mark price less one, at open, high, low and close."""
    marks = _mark_klines(desk, params, "symbol")
    if not marks:
        return []
    symbol, tf = params.text("symbol"), timeframe(params)
    traded = desk.tape.klines(symbol, tf, marks[0].open_ts, marks[-1].open_ts, len(marks))
    by_open = {kline.open_ts: kline for kline in traded}
    return [shape.bare_row(_premium(mark, by_open[mark.open_ts]), rate) for mark in marks if mark.open_ts in by_open]


def _premium(mark: KlineTick, traded: KlineTick) -> KlineTick:
    ends = (traded.open / mark.open - 1, traded.close / mark.close - 1)
    return structs.replace(traded, open=ends[0], high=max(ends), low=min(ends), close=ends[1])


def _one_or_all(desk: Desk, params: Params, tell: Callable[[Listing], Json]) -> Json | list[Json]:
    """The answer is an object where a symbol was named, else a list."""
    told = [tell(listing) for listing in desk.listings(params)]
    return told[0] if "symbol" in params else told


def day_ticker(desk: Desk, params: Params) -> Json | list[Json]:
    """The last 24 hours."""
    return _one_or_all(desk, params, lambda listing: day_stats(desk, listing.symbol))


def day_stats(desk: Desk, symbol: str) -> Json:
    """The last 24 hours of one symbol, out of its hourly candles (or the coarsest that are finer)."""
    now = desk.pace.clock.now_ms()
    known = [tf for tf in desk.tape.info.timeframes[symbol] if tf.ms <= Timeframe.H1.ms]
    tf = max(known, key=lambda found: found.ms, default=Timeframe.H1)
    hours = desk.tape.klines(symbol, tf, now - 24 * HOUR, now, KLINES_MOST)
    return shape.day_ticker(symbol, hours, desk.market.last(symbol), now)


def price_ticker(desk: Desk, params: Params) -> Json | list[Json]:
    """The last price."""
    now = desk.pace.now()

    def tell(listing: Listing) -> Json:
        return {"symbol": listing.symbol, "price": text(desk.market.last_price(listing.symbol)), "time": now}

    return _one_or_all(desk, params, tell)


def book_ticker(desk: Desk, params: Params) -> Json | list[Json]:
    """Best bid and ask."""
    now = desk.pace.now()
    return _one_or_all(desk, params, lambda one: shape.book_ticker(one.symbol, desk.market.books.get(one.symbol), now))


def mark_of(desk: Desk, listing: Listing) -> MarkTick:
    """The mark as last told; that of the last trade before the first."""
    found = desk.market.marks.get(listing.symbol) or desk.tape.premium(listing.symbol)
    if found:
        return found
    price, now = desk.market.last_price(listing.symbol), desk.pace.clock.now_ms()
    due = (now // listing.funding_interval_ms + 1) * listing.funding_interval_ms
    return MarkTick(listing.symbol, now, price, price, price * 0, due)


def premium_index(desk: Desk, params: Params) -> Json | list[Json]:
    """Mark, index and funding that is due."""
    now = desk.pace.now()
    return _one_or_all(desk, params, lambda listing: shape.premium_index(mark_of(desk, listing), now))


def funding_rates(desk: Desk, params: Params) -> list[Json]:
    """Settlements of the past; without a symbol those of all, in order of time."""
    (start, end), limit = time_range(params), params.limit(FUNDING_DEFAULT, FUNDING_MOST)
    found = [tick for one in desk.listings(params) for tick in desk.tape.funding_rates(one.symbol, start, end, limit)]
    found.sort(key=lambda tick: tick.ts)
    return [shape.funding_row(tick) for tick in (found[-limit:] if start is None else found[:limit])]


def funding_info(desk: Desk, _params: Params) -> list[Json]:
    """Symbols whose interval is not the usual one."""
    unusual = [one for one in desk.exchange.listings.values() if one.funding_interval_ms != USUAL_FUNDING_MS]
    return [shape.funding_info(listing) for listing in unusual]
