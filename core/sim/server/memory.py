"""What the skin itself must remember: amendments that were made, and orders that are not found yet (a fault)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from msgspec import Struct, convert, to_builtins

AMENDMENTS = 1_000


class Amendment(Struct, frozen=True):
    """One change of an order's price or quantity; ``count`` counts those of the order."""

    amendment_id: int
    symbol: str
    order_id: int
    client_id: str
    ts: int
    price: tuple[Decimal, Decimal]
    qty: tuple[Decimal, Decimal]
    count: int


class Memory:
    """Amendments are kept over restarts, hidden orders are not."""

    def __init__(self) -> None:
        self.amendments: list[Amendment] = []
        self._amended = 0
        self._hidden: dict[str, int] = {}

    def amend(
        self, symbol: str, order_id: int, client_id: str, ts: int, price: tuple[Decimal, Decimal], qty: tuple[Decimal, Decimal]
    ) -> None:
        """Remember a change (before, after)."""
        self._amended += 1
        count = 1 + sum(1 for known in self.amendments if known.order_id == order_id)
        self.amendments.append(Amendment(self._amended, symbol, order_id, client_id, ts, price, qty, count))
        del self.amendments[:-AMENDMENTS]

    def hide(self, kind: str, order_id: int, client_id: str, until: int) -> None:
        """Let no look-up find an order (``kind`` ``order`` or ``algo``) before ``until``."""
        self._hidden[f"{kind}:{order_id}"] = until
        self._hidden[f"{kind}:c:{client_id}"] = until

    def hidden(self, kind: str, order_id: int | None, client_id: str | None, now: int) -> bool:
        """Whether a look-up must not find it."""
        if not self._hidden:
            return False
        return now < max(self._hidden.get(f"{kind}:{order_id}", 0), self._hidden.get(f"{kind}:c:{client_id}", 0))

    def snapshot(self) -> dict[str, Any]:
        """As JSON-like values."""
        return {"amended": self._amended, "amendments": to_builtins(self.amendments)}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a :meth:`snapshot`."""
        self._amended = state["amended"]
        self.amendments = convert(state["amendments"], list[Amendment])
