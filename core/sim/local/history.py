"""Fills and changes of the wallet, with bounded memory; and how the venue cuts a list to a request."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from core.sim.local.values import IncomeState, TradeState

TRADES_KEPT = 10_000
INCOME_KEPT = 10_000
_FOREVER = 2**62
Row = TypeVar("Row")


class History:
    """The latest fills and rows of income, oldest first."""

    def __init__(self) -> None:
        self.trades: deque[TradeState] = deque(maxlen=TRADES_KEPT)
        self.income: deque[IncomeState] = deque(maxlen=INCOME_KEPT)

    def snapshot(self) -> dict[str, Any]:
        """State as JSON-like values."""
        return {"trades": msgspec.to_builtins(list(self.trades)), "income": msgspec.to_builtins(list(self.income))}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a :meth:`snapshot`."""
        self.trades = deque(msgspec.convert(state["trades"], list[TradeState]), maxlen=TRADES_KEPT)
        self.income = deque(msgspec.convert(state["income"], list[IncomeState]), maxlen=INCOME_KEPT)


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
