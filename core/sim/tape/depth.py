"""A venue's order book kept in step from a snapshot and the differences after it, by the venue's own rules.

Differences are kept until a snapshot comes; those that end before it are dropped; the first one used must span it; from then on
each must name the last one before it (``pu``). Where the chain breaks the book is unknown until the next snapshot.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from core.sim.tape.levels import Levels

WAITING_MOST = 10_000
"""Differences that are kept while no snapshot is there; more tell that none will come."""


class Change(NamedTuple):
    """A difference: first, last and previous update, and the levels that are different now (quantity 0: gone)."""

    first: int
    last: int
    previous: int
    bids: Levels
    asks: Levels


class Top(NamedTuple):
    """Best bid and ask with their quantities as of ``update``."""

    update: int
    bid: tuple[Decimal, Decimal]
    ask: tuple[Decimal, Decimal]


class _Side:
    """Levels by price; ``rank`` +1 for asks, -1 for bids, so that the best is always the least."""

    def __init__(self, rank: int) -> None:
        self._rank = rank
        self._order: list[Decimal] = []
        self._qty: dict[Decimal, Decimal] = {}

    def put(self, levels: Iterable[tuple[Decimal, Decimal]]) -> None:
        for price, qty in levels:
            key = price * self._rank
            if qty and key not in self._qty:
                insort(self._order, key)
            if qty:
                self._qty[key] = qty
            elif self._qty.pop(key, None) is not None:
                del self._order[bisect_left(self._order, key)]

    def best(self, count: int, top: tuple[Decimal, Decimal] | None) -> Levels:
        """The best levels; a newer ``top`` takes the place of what lies at it or before it."""
        if top is None:
            return tuple((key * self._rank, self._qty[key]) for key in self._order[:count])
        edge = top[0] * self._rank
        begin = bisect_left(self._order, edge)
        begin += begin < len(self._order) and self._order[begin] == edge
        rest = self._order[begin : begin + count - 1]
        return (top, *((key * self._rank, self._qty[key]) for key in rest))


class DepthBook:
    """One symbol's book. ``breaks`` counts how often the chain broke."""

    def __init__(self) -> None:
        self.breaks = 0
        self.update: int | None = None
        self._spanned = False
        self._bids, self._asks = _Side(-1), _Side(1)
        self._waiting: list[Change] = []
        self._top: Top | None = None

    @property
    def synced(self) -> bool:
        """Whether the book is known."""
        return self.update is not None

    def snapshot(self, update: int, bids: Levels, asks: Levels) -> None:
        """Begin anew from a whole book as of ``update``."""
        self._bids, self._asks = _Side(-1), _Side(1)
        self._bids.put(bids)
        self._asks.put(asks)
        self.update, self._spanned = update, False
        waiting, self._waiting = self._waiting, []
        for change in waiting:
            self.change(change)

    def change(self, change: Change) -> None:
        """Apply a difference, or keep it for the snapshot to come."""
        if self.update is None:
            self._waiting.append(change)
            del self._waiting[:-WAITING_MOST]
        elif (self._spanned and change.previous == self.update) or (
            not self._spanned and change.first <= self.update <= change.last
        ):
            self._apply(change)
        elif self._spanned or change.first > self.update:
            self.breaks += 1
            self.update = None
            self._waiting = [change]

    def _apply(self, change: Change) -> None:
        self.update, self._spanned = change.last, True
        self._bids.put(change.bids)
        self._asks.put(change.asks)

    def top(self, top: Top) -> None:
        """The best prices, told faster than differences."""
        self._top = top

    def levels(self, count: int) -> tuple[int, Levels, Levels] | None:
        """The last update and the best ``count`` levels a side; None where the book is not known."""
        if self.update is None:
            return None
        top = self._top if self._top is not None and self._top.update > self.update else None
        bid, ask = (None, None) if top is None else (top.bid, top.ask)
        return max(self.update, top.update if top else 0), self._bids.best(count, bid), self._asks.best(count, ask)
