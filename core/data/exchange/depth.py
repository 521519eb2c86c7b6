"""Order books kept from differences (the venue's own recipe), so that one is at hand the moment a bar closes.

A book stands on a snapshot; differences are chained by their update ids, and a break in the chain means a new snapshot. The
snapshot alone is a book too.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.data.blocks import Book
from core.venues.market_words import DepthSeen, Level

NEAR = 0.001
"""Depth is counted within this part of the middle (:class:`core.data.blocks.Book`)."""
_HELD_MOST = 500
"""Differences that wait for a snapshot: four minutes of them."""
_LEVELS_MOST, _KEEP = 6_000, 0.05
"""Where a side grows beyond so many levels, those further off than 5 % are let go."""

Snapshot = Callable[[str], Awaitable[dict[str, Any]]]


@dataclass(slots=True)
class _Held:
    """Both sides of one book; ``last`` is the id of the last update in it, None before the snapshot.

    ``told_at`` is the venue's own time of the last difference.
    """

    bids: dict[float, float] = field(default_factory=dict)
    asks: dict[float, float] = field(default_factory=dict)
    last: int | None = None
    chained: bool = False
    told_at: int = -1
    waiting: deque[DepthSeen] = field(default_factory=lambda: deque(maxlen=_HELD_MOST))


class Books:
    """Books of several symbols.

    Args:
        names: internal symbol by the venue's id.
        snapshot: fetches a book.
        now: the venue's time (ms): what comes late is old, however lately it came.
    """

    def __init__(self, names: dict[str, str], snapshot: Snapshot, now: Callable[[], float]) -> None:
        self._names, self._snapshot, self._now = names, snapshot, now
        self._held: dict[str, _Held] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}

    def forget(self) -> None:
        """The socket broke: what is held is not kept up any more."""
        self._held.clear()
        for task in self._asking.values():
            task.cancel()
        self._asking.clear()

    def take(self, seen: DepthSeen) -> None:
        """One more difference."""
        symbol = self._names.get(seen.name)
        if symbol is None:
            return
        held = self._held.setdefault(symbol, _Held())
        held.told_at = seen.ts
        if held.last is None:
            held.waiting.append(seen)
            self._ask(symbol)
        elif not self._apply(held, seen):
            self._held[symbol] = again = _Held(told_at=seen.ts)
            again.waiting.append(seen)
            self._ask(symbol)

    def _ask(self, symbol: str) -> None:
        task = self._asking.get(symbol)
        if task is None or task.done():
            self._asking[symbol] = asyncio.create_task(self._build(symbol), name=f"book of {symbol}")

    async def _build(self, symbol: str) -> None:
        try:
            told = await self._snapshot(symbol)
        except asyncio.CancelledError:
            raise
        except Exception:  # noqa: BLE001 - the next difference asks again
            return
        held = self._held.get(symbol)
        if held is None or told.get("nonce") is None:
            return
        held.bids, held.asks = _side(told["bids"]), _side(told["asks"])
        held.last, held.chained = int(told["nonce"]), False
        waiting = list(held.waiting)
        held.waiting.clear()
        for seen in waiting:
            if not self._apply(held, seen):
                held.last = None  # the snapshot is older than the first difference: the next one asks again
                return

    def _apply(self, held: _Held, seen: DepthSeen) -> bool:
        """Put a difference on the book; False where it does not follow from it."""
        last = held.last or 0
        if seen.last < last:
            return True
        if not (seen.previous == last or (not held.chained and seen.first <= last <= seen.last)):
            return False
        _change(held.bids, seen.bids)
        _change(held.asks, seen.asks)
        held.last, held.chained = seen.last, True
        return True

    def told(self, symbol: str, within_ms: float) -> bool:
        """Whether the stream told of it as it was in the last ``within_ms``."""
        held = self._held.get(symbol)
        return held is not None and abs(self._now() - held.told_at) <= within_ms

    def fresh(self, symbol: str, within_ms: float) -> bool:
        """Whether a book is held, and is as it was in the last ``within_ms``."""
        return self.told(symbol, within_ms) and self._held[symbol].last is not None

    def present(self, symbol: str) -> Book | None:
        """The book as it is now, of the time at which the stream last told of it; None without one."""
        held = self._held.get(symbol)
        return None if held is None else self.book(symbol, held.told_at)

    def book(self, symbol: str, ts: int) -> Book | None:
        """The book as it is now, for the batch of ``ts``; None without one."""
        held = self._held.get(symbol)
        if held is None or held.last is None:
            return None
        _trim(held)
        return book_of(symbol, ts, held.bids.items(), held.asks.items())


def book_of(symbol: str, ts: int, bids: Iterable[Sequence[float]], asks: Iterable[Sequence[float]]) -> Book | None:
    """Top and depth of a book whose sides are in any order; None where a side is empty or they cross.

    Example:
        >>> book_of("BTC/USDT:USDT", 0, [(99.95, 2.0), (99.0, 9.0)], [(100.05, 1.0)]).depth_usd
        100.05
    """
    buyers, sellers = list(bids), list(asks)
    if not buyers or not sellers:
        return None
    bid, ask = max(level[0] for level in buyers), min(level[0] for level in sellers)
    if not 0.0 < bid < ask:
        return None
    middle = 0.5 * (bid + ask)
    lowest, highest = middle * (1.0 - NEAR), middle * (1.0 + NEAR)
    below = sum(sorted(level[0] * level[1] for level in buyers if level[0] >= lowest))
    above = sum(sorted(level[0] * level[1] for level in sellers if level[0] <= highest))
    return Book(symbol, ts, bid, ask, float(min(below, above)), modelled=False)


def _side(rows: Sequence[Sequence[float]]) -> dict[float, float]:
    return {float(row[0]): float(row[1]) for row in rows if float(row[1]) > 0.0}


def _change(side: dict[float, float], levels: Sequence[Level]) -> None:
    for price, qty in levels:
        if qty > 0.0:
            side[price] = qty
        else:
            side.pop(price, None)


def _trim(held: _Held) -> None:
    if len(held.bids) > _LEVELS_MOST:
        floor = max(held.bids) * (1.0 - _KEEP)
        held.bids = {price: qty for price, qty in held.bids.items() if price >= floor}
    if len(held.asks) > _LEVELS_MOST:
        ceiling = min(held.asks) * (1.0 + _KEEP)
        held.asks = {price: qty for price, qty in held.asks.items() if price <= ceiling}
