"""Plain orders: those that are open, and a bounded memory of those that are over."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct

from core.sim.local.history import Kept, findable
from core.sim.local.values import ZERO, OrderSide, OrderState, OrderStatus, VenueError

FINISHED_KEPT = 5_000
"""How many finished orders are remembered."""


class Working(Struct):
    """An open order. ``ahead`` is the size queued before it at its price, None where no levels are known.

    ``protection`` is its self-trade prevention.
    """

    state: OrderState
    ahead: Decimal | None = None
    protection: str = ""

    @property
    def left(self) -> Decimal:
        """Quantity that has not traded."""
        return self.state.qty - self.state.filled


class Orders:
    """Orders by id; ids rise, so that their order is that of acceptance."""

    def __init__(self) -> None:
        self._open: dict[int, Working] = {}
        self.finished = Kept(OrderState, FINISHED_KEPT)

    def of(self, symbol: str | None = None) -> list[Working]:
        """Open orders (of a symbol), oldest first."""
        return [working for working in self._open.values() if symbol is None or working.state.symbol == symbol]

    def holds(self, client_id: str) -> bool:
        """Whether an open order has this id."""
        return any(working.state.client_id == client_id for working in self._open.values())

    def add(self, working: Working) -> None:
        """Accept an order."""
        self._open[working.state.order_id] = working

    def end(self, working: Working) -> None:
        """The order is over, with the state that it has now."""
        del self._open[working.state.order_id]
        self.finished.append(working.state)

    def find(self, symbol: str, order_id: int | None, client_id: str | None) -> Working | None:
        """An open order by either id (the venue's wins)."""
        for working in self.of(symbol):
            if _is(working.state, order_id, client_id):
                return working
        return None

    def state(self, symbol: str, order_id: int | None, client_id: str | None, now: int) -> OrderState:
        """An order by either id, open or still findable ``now``; of several with a client id the latest.

        Raises:
            VenueError: -2013.
        """
        found = self.find(symbol, order_id, client_id)
        if found is not None:
            return found.state
        for state in reversed(self.finished):
            if state.symbol == symbol and _is(state, order_id, client_id) and _findable(state, now):
                return state
        raise VenueError(-2013, "Order does not exist.")

    def all(self, symbol: str, now: int) -> list[OrderState]:
        """All of a symbol that are open or still findable ``now``, by id."""
        over = (state for state in self.finished if state.symbol == symbol and _findable(state, now))
        return sorted((*over, *(working.state for working in self.of(symbol))), key=lambda state: state.order_id)

    def exposure(self, *extra: tuple[str, OrderSide, Decimal]) -> dict[str, tuple[Decimal, Decimal]]:
        """Value (USD) of open buy and sell orders that are not reduce-only, by symbol, with ``extra`` ones on top."""
        open_values = [
            (working.state.symbol, working.state.side, working.left * working.state.price)
            for working in self._open.values()
            if not working.state.reduce_only
        ]
        sums: dict[str, tuple[Decimal, Decimal]] = {}
        for symbol, side, value in (*open_values, *extra):
            buys, sells = sums.get(symbol, (ZERO, ZERO))
            sums[symbol] = (buys + value, sells) if side is OrderSide.BUY else (buys, sells + value)
        return sums

    def snapshot(self) -> dict[str, Any]:
        """The open ones as JSON-like values."""
        return {"open": msgspec.to_builtins(list(self._open.values()))}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a :meth:`snapshot`."""
        self._open = {working.state.order_id: working for working in msgspec.convert(state["open"], list[Working])}


def ended(state: OrderState, status: OrderStatus, ts: int) -> OrderState:
    """The order as it is after it was ended at ``ts``."""
    return msgspec.structs.replace(state, status=status, updated=ts)


def _findable(state: OrderState, now: int) -> bool:
    return findable(state.created, now, traded=state.filled > 0)


def _is(state: OrderState, order_id: int | None, client_id: str | None) -> bool:
    return state.order_id == order_id if order_id is not None else state.client_id == client_id
