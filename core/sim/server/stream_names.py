"""Names of streams: what they carry and on which of the venue's three addresses they live."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

from core.types import Timeframe


class Category(StrEnum):
    """The venue's addresses for streams."""

    PUBLIC = "public"
    MARKET = "market"
    PRIVATE = "private"


class Stream(NamedTuple):
    """One stream: ``period_ms`` between messages and ``levels`` (0: differences) belong to books."""

    name: str
    symbol: str
    kind: str
    category: Category
    period_ms: int = 0
    levels: int = 0


_KINDS = {
    "trade": Category.PUBLIC,
    "bookTicker": Category.PUBLIC,
    "aggTrade": Category.MARKET,
    "markPrice": Category.MARKET,
    "markPrice@1s": Category.MARKET,
    "ticker": Category.MARKET,
    "forceOrder": Category.MARKET,
    **{f"kline_{tf.value}": Category.MARKET for tf in Timeframe},
}
_DEPTH = re.compile(r"^depth(?P<levels>5|10|20)?(@(?P<period>100|250|500)ms)?$")
_NAME = re.compile(r"^(?P<symbol>[a-z0-9_]+)@(?P<kind>.+)$")
DEPTH_PERIOD_MS = 250


def parse_stream(name: str) -> Stream | None:
    """The stream of that name; None where there is no such kind.

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
