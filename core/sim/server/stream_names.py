"""Names of streams: what they carry and on which of the venue's three addresses they live."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

from core.types import Timeframe


class Category(StrEnum):
    """The venue's addresses for streams; the spot host has but one."""

    PUBLIC = "public"
    MARKET = "market"
    PRIVATE = "private"
    SPOT = "spot"


class Stream(NamedTuple):
    """One stream: ``period_ms`` between messages and ``levels`` (0: differences) belong to books."""

    name: str
    symbol: str
    kind: str
    category: Category
    period_ms: int = 0
    levels: int = 0


_KLINE = "kline_"
_KINDS = {
    "trade": Category.PUBLIC,
    "bookTicker": Category.PUBLIC,
    "aggTrade": Category.MARKET,
    "markPrice": Category.MARKET,
    "markPrice@1s": Category.MARKET,
    "ticker": Category.MARKET,
    "forceOrder": Category.MARKET,
    **{f"{_KLINE}{tf.value}": Category.MARKET for tf in Timeframe},
}
_DEPTH = re.compile(r"^depth(?P<levels>5|10|20)?(@(?P<period>100|250|500)ms)?$")
_NAME = re.compile(r"^(?P<symbol>[a-z0-9_]+)@(?P<kind>.+)$")
DEPTH_PERIOD_MS = 250


def stream_at(category: Category, name: str) -> Stream | None:
    """The stream of that name at that address; None where there is none. At the spot host there are candles alone.

    Example:
        >>> stream_at(Category.MARKET, "btcusdt@depth@100ms") is None
        True
        >>> stream_at(Category.SPOT, "btcusdt@kline_1h").kind
        'kline_1h'
    """
    stream = parse_stream(name)
    if stream is not None and category is Category.SPOT and stream.kind.startswith(_KLINE):
        return stream._replace(category=category)
    return stream if stream is not None and stream.category is category else None


def parse_stream(name: str) -> Stream | None:
    """The stream of that name at the futures host; None where there is no such kind.

    Example:
        >>> parse_stream("btcusdt@depth@100ms").period_ms
        100
        >>> parse_stream("btcusdt@weather") is None
        True
    """
    found = _NAME.match(name)
    if found is None:
        return None
    symbol, kind = found["symbol"].upper(), found["kind"]
    if kind in _KINDS:
        return Stream(name, symbol, kind, _KINDS[kind])
    book = _DEPTH.match(kind)
    if book is None:
        return None
    return Stream(name, symbol, "depth", Category.PUBLIC, int(book["period"] or DEPTH_PERIOD_MS), int(book["levels"] or 0))
