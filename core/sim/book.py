"""Orders at the simulated exchange: those that rest, and the final word on those that are gone."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import msgspec

from core.codes import RefusalCode
from core.sim.matching import Resting
from core.types import Order, OrderStatus, OrderType, OrderUpdate

_FOREVER = 2**62
FINISHED_KEPT = 128
"""How many finished orders are remembered, for their final status and against reuse of their id."""


class OrderStore:
    """Resting orders by symbol, in order of acceptance."""

    def __init__(self) -> None:
        self._books: dict[str, dict[str, Resting]] = {}
        self._finished: dict[str, OrderUpdate] = {}
        self.seq = 0

    def __bool__(self) -> bool:
        return bool(self._books)

    @property
    def symbols(self) -> tuple[str, ...]:
        """Symbols with at least one resting order."""
        return tuple(self._books)

    def used(self, client_id: str) -> bool:
        """Whether an order of this id rests or was finished lately."""
        return client_id in self._finished or any(client_id in book for book in self._books.values())

    def opened(self, symbol: str, client_id: str, ts: int) -> bool:
        """Whether an IOC order rests whose bar opened before ``ts``: it can no longer be called back."""
        resting = self._books.get(symbol, {}).get(client_id)
        return resting is not None and resting.order.type is OrderType.IOC_LIMIT and resting.since < ts

    def add(self, order: Order, since: int, *, maker: bool) -> None:
        """Let ``order`` rest; it may act in bars that open at ``since`` or later."""
        self.seq += 1
        self._insert(Resting(order, _price(order), since, self.seq, maker))

    def of(self, symbol: str, types: tuple[OrderType, ...], until: int = _FOREVER) -> list[Resting]:
        """Resting orders of ``symbol`` that are of one of ``types`` and may act at ``until``, oldest first."""
        book = self._books.get(symbol)
        return [r for r in book.values() if r.order.type in types and r.since <= until] if book else []

    def all(self, symbol: str | None = None) -> list[Resting]:
        """Resting orders (of one symbol), oldest first."""
        books = self._books.values() if symbol is None else (self._books.get(symbol, {}),)
        return sorted((resting for book in books for resting in book.values()), key=lambda resting: resting.seq)

    def cancel(self, symbol: str, client_id: str, ts: int) -> OrderUpdate:
        """Take one order away; one that is gone answers with its final status, an unknown one as cancelled unfilled."""
        if client_id in self._books.get(symbol, {}):
            return self.finish(symbol, client_id, OrderStatus.CANCELED, ts)
        known = self._finished.get(client_id)
        return known or OrderUpdate(client_id, symbol, OrderStatus.CANCELED, ts, message="no such order")

    def finish(
        self,
        symbol: str,
        client_id: str,
        status: OrderStatus,
        ts: int,
        *,
        filled: Decimal = Decimal(0),
        code: RefusalCode | None = None,
        message: str = "",
    ) -> OrderUpdate:
        """Take one order away with its final status."""
        book = self._books[symbol]
        del book[client_id]
        if not book:
            del self._books[symbol]
        update = OrderUpdate(client_id, symbol, status, ts, filled, code, message)
        self._finished[client_id] = update
        if len(self._finished) > FINISHED_KEPT:
            del self._finished[next(iter(self._finished))]
        return update

    def snapshot(self) -> dict[str, Any]:
        """State as JSON-like values."""
        orders = [[msgspec.to_builtins(r.order), r.since, r.seq, r.maker] for r in self.all()]
        return {"seq": self.seq, "orders": orders, "finished": msgspec.to_builtins(list(self._finished.values()))}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a :meth:`snapshot`."""
        self.seq = int(state["seq"])
        self._books = {}
        for raw, since, seq, maker in state["orders"]:
            order = msgspec.convert(raw, Order)
            self._insert(Resting(order, _price(order), since, seq, maker))
        updates = msgspec.convert(state["finished"], list[OrderUpdate])
        self._finished = {update.client_id: update for update in updates}

    def _insert(self, resting: Resting) -> None:
        self._books.setdefault(resting.order.symbol, {})[resting.order.client_id] = resting


def _price(order: Order) -> float:
    return math.nan if order.price is None else float(order.price)
