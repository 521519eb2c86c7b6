"""What is over, with bounded memory; what the venue forgets of it; and how it cuts a list to a request."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, TypeVar

import msgspec

from core.sim.local.values import IncomeState, TradeState

TRADES_KEPT = 10_000
INCOME_KEPT = 10_000
UNFILLED_KEPT_MS = 3 * 86_400_000
"""An order that ended without a fill is found for so long after it was made."""
ORDERS_KEPT_MS = 90 * 86_400_000
"""The same for every order."""
_FOREVER = 2**62
Row = TypeVar("Row")


class Kept(deque[Row]):
    """The latest ``most`` rows of a kind, oldest first; ``added`` counts those that were ever appended."""

    def __init__(self, kind: type[Row], most: int) -> None:
        super().__init__(maxlen=most)
        self._kind, self.most = kind, most
        self.added = 0

    def append(self, row: Row, /) -> None:
        """One more; the oldest goes where there are too many."""
        super().append(row)
        self.added += 1

    def since(self, added: int) -> Iterable[Row]:
        """Those that came after ``added`` ones, oldest first, as far as they are still remembered."""
        return islice(self, max(0, len(self) - (self.added - added)), None)

    def snapshot(self) -> dict[str, Any]:
        """State as JSON-like values."""
        return {"added": self.added, "rows": msgspec.to_builtins(list(self))}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a :meth:`snapshot`."""
        self.clear()
        self.extend(msgspec.convert(row, self._kind) for row in state["rows"])
        self.added = state["added"]


class History:
    """Fills and rows of income."""

    def __init__(self) -> None:
        self.trades = Kept(TradeState, TRADES_KEPT)
        self.income = Kept(IncomeState, INCOME_KEPT)


def findable(created: int, now: int, *, traded: bool) -> bool:
    """Whether the venue still finds an order that is over; its age counts, not when it ended."""
    return now <= created + (ORDERS_KEPT_MS if traded else UNFILLED_KEPT_MS)


def page(
    rows: Sequence[Row],
    *,
    ts: Callable[[Row], int],
    start: int | None,
    end: int | None,
    limit: int,
    number: Callable[[Row], int] | None = None,
    from_id: int | None = None,
) -> tuple[Row, ...]:
    """Rows within [start, end] and from ``from_id`` on: the first ``limit`` when a beginning is given, else the latest.

    Args:
        rows: oldest first.
        ts: time of a row (ms).
        start: earliest time.
        end: latest time.
        limit: how many at most.
        number: id of a row, where ``from_id`` may be given.
        from_id: least id.
    """
    until = _FOREVER if end is None else end
    found = [row for row in rows if (start or 0) <= ts(row) <= until]
    if from_id is not None and number is not None:
        found = [row for row in found if number(row) >= from_id]
    begins = start is not None or from_id is not None
    return tuple(found[:limit] if begins else found[-limit:])
