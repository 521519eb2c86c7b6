"""What a venue's market streams tell, in the house's terms; ``name`` is the venue's own id of the market (``BTCUSDT``)."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

Level = tuple[float, float]
"""Price and quantity; a quantity of 0 takes the level away."""


class CandleSeen(NamedTuple):
    """A candle, forming or ``final``; ``values`` are open, high, low, close, volume."""

    name: str
    tf: str
    open_ts: int
    values: tuple[float, float, float, float, float]
    final: bool


class MarkSeen(NamedTuple):
    """The mark price at ``ts``, and when funding is settled next (0: not told)."""

    name: str
    ts: int
    price: float
    next_funding: int


class DepthSeen(NamedTuple):
    """What changed in the book: updates ``first`` to ``last``, after the event that ended with ``previous``."""

    name: str
    ts: int
    first: int
    last: int
    previous: int
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]


MarketWord = CandleSeen | MarkSeen | DepthSeen


class Carries(Enum):
    """What a socket tells of, as people are told of it."""

    CANDLES = "candles and marks"
    BOOKS = "books"
    SPOT = "spot candles"


class StreamLine(NamedTuple):
    """One socket: its address, the message that subscribes everything on it, and what that is."""

    url: str
    request: dict[str, object]
    carries: Carries


class Pages(NamedTuple):
    """Rows that one answer of the venue holds at most: candles, candles of the mark price, settlements."""

    candles: int
    marks: int
    funding: int
