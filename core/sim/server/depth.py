"""Differences of the book: each stream tells what changed since its own last event, and chains them by update ids."""

from __future__ import annotations

from decimal import Decimal

from core.sim.local.values import BookTick
from core.sim.server import shape_streams as shape
from core.sim.server.stream_names import Stream
from core.sim.server.wire import Json, text

_Side = tuple[tuple[Decimal, Decimal], ...]


class DepthFeed:
    """One subscribed stream of a book. ``due`` says whether an event is on its way."""

    def __init__(self, stream: Stream, book: BookTick | None) -> None:
        self.stream = stream
        self.due = False
        self._told = book
        self._last_id = book.update_id if book else 0

    def event(self, book: BookTick, now: int) -> Json | None:
        """What has changed until ``book``; None where nothing did."""
        before, previous = self._told, self._last_id
        if book is before:
            return None
        self._told, self._last_id = book, max(book.update_id, previous + 1)
        if self.stream.levels:
            return shape.partial_depth(book, previous, self.stream.levels, now)
        bids = _changes(before.bids if before else (), book.bids)
        asks = _changes(before.asks if before else (), book.asks)
        return shape.depth(book, (previous + 1, self._last_id, previous), bids, asks, now)


def _changes(before: _Side, after: _Side) -> list[list[str]]:
    """Levels that are new or of another size, then those that are gone (size 0)."""
    old, new = dict(before), dict(after)
    changed = [[text(price), text(qty)] for price, qty in after if old.get(price) != qty]
    return changed + [[text(price), "0"] for price, _ in before if price not in new]
