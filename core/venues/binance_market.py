"""Binance USD-M's market streams, and spot's for the basis: which sockets to open, and what their messages say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from core.venues.market_words import CandleSeen, Carries, DepthSeen, Level, MarketWord, MarkSeen, Pages, StreamLine

DEPTH_EVERY_MS = 500
"""Often enough for a book that is looked at when a bar closes, a fifth of the messages of the fastest stream."""

PAGES = Pages(candles=1_000, marks=1_000, funding=1_000)


def stream_lines(client: Any, timeframes: Mapping[str, str]) -> tuple[StreamLine, ...]:
    """Two sockets for all symbols: candles and mark prices on one, differences of the books on the other.

    Args:
        client: a loaded ccxt client.
        timeframes: the timeframe of the candles by ccxt symbol.
    """
    ids = {symbol: str(client.market(symbol)["lowercaseId"]) for symbol in timeframes}
    candles = [f"{ids[symbol]}@kline_{tf}" for symbol, tf in timeframes.items()]
    marks = [f"{name}@markPrice@1s" for name in ids.values()]
    books = [f"{name}@depth@{DEPTH_EVERY_MS}ms" for name in ids.values()]
    market = _line(client, "linear", "market", candles + marks, Carries.CANDLES)
    return market, _line(client, "linear", "public", books, Carries.BOOKS)


def spot_line(client: Any, symbols: Sequence[str], tf: str) -> StreamLine:
    """One socket of the spot host: candles of the spot markets of ``symbols``, which name themselves by :func:`spot_id`.

    Their messages are those of the perpetuals' candles to the letter: only the address tells them apart.
    """
    return _line(client, "spot", "spot", [f"{spot_id(symbol).lower()}@kline_{tf}" for symbol in symbols], Carries.SPOT)


def spot_id(symbol: str) -> str:
    """The venue's id of the spot market that ``symbol``, a perpetual or a spot symbol, belongs to.

    Example:
        >>> spot_id("BTC/USDT:USDT")
        'BTCUSDT'
    """
    return symbol.partition(":")[0].replace("/", "")


def _line(client: Any, kind: str, category: str, streams: list[str], carries: Carries) -> StreamLine:
    url = f"{client.get_ws_url(kind, category)}/{client.stream(kind, f'own {category}')}"
    return StreamLine(url, {"method": "SUBSCRIBE", "params": streams, "id": client.request_id(url)}, carries)


def market_word(message: Any) -> MarketWord | None:
    """What a message of these streams says; None where it is something else.

    Raises:
        Exception: it has the name of such a message and not its form.
    """
    kind = message.get("e") if isinstance(message, dict) else None
    if kind == "kline":
        told = message["k"]
        values = (float(told["o"]), float(told["h"]), float(told["l"]), float(told["c"]), float(told["v"]))
        return CandleSeen(told["s"], told["i"], int(told["t"]), values, told["x"] is True)
    if kind == "markPriceUpdate":
        return MarkSeen(message["s"], int(message["E"]), float(message["p"]), int(message["T"]))
    if kind == "depthUpdate":
        ids = (int(message["U"]), int(message["u"]), int(message["pu"]))
        return DepthSeen(message["s"], int(message["E"]), *ids, _levels(message["b"]), _levels(message["a"]))
    return None


def _levels(rows: Any) -> tuple[Level, ...]:
    return tuple((float(price), float(qty)) for price, qty in rows)


async def spot_rows(client: Any, symbol: str, tf: str, since: int | None, limit: int) -> list[list[float]]:
    """Candles of the spot market ``symbol`` (``BTC/USDT``) of the same venue, the forming one last."""
    request: dict[str, Any] = {"symbol": spot_id(symbol), "interval": tf, "limit": limit}
    if since is not None:
        request["startTime"] = since
    answer = await client.publicGetKlines(request)
    return [[int(row[0]), *(float(value) for value in row[1:6])] for row in answer]


async def funding_rows(client: Any, symbol: str, since: int | None, limit: int) -> list[dict[str, Any]]:
    """Settlements as ccxt tells them: the first ones from ``since`` on, else the newest."""
    told: list[dict[str, Any]] = await client.fetch_funding_rate_history(symbol, since, limit)
    return told
