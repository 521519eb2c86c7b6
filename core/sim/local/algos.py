"""Conditional orders: when they trigger, those that wait, and a bounded memory of those that are over."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

import msgspec
from msgspec import Struct

from core.sim.local.history import Kept, findable
from core.sim.local.values import (
    AlgoState,
    AlgoStatus,
    AlgoType,
    OrderSide,
    VenueError,
    WorkingType,
)

FINISHED_KEPT = 2_000
"""How many conditional orders that are over are remembered."""
STOPS = (AlgoType.STOP, AlgoType.STOP_MARKET, AlgoType.TRAILING_STOP_MARKET)
LIMITS = (AlgoType.STOP, AlgoType.TAKE_PROFIT)


class Armed(Struct):
    """A conditional order that is not over. ``extreme`` is the best price since a trailing stop became active."""

    state: AlgoState
    extreme: Decimal | None = None

    @property
    def falling(self) -> bool:
        """Whether it triggers when the price falls to its level, else when it rises to it."""
        return falls(self.state.type, self.state.side)

    @property
    def on_mark(self) -> bool:
        """Whether the mark price triggers it."""
        return self.state.working_type is WorkingType.MARK_PRICE

    @property
    def trailing(self) -> bool:
        """Whether its level follows the price."""
        return self.state.type is AlgoType.TRAILING_STOP_MARKET

    def level(self, tick: Decimal) -> Decimal | None:
        """Price at which it triggers now; None while a trailing stop is not active.

        A trailing level is rounded to the tick away from the price.
        """
        if not self.trailing:
            return self.state.trigger_price
        if self.extreme is None:
            return None
        share = self.state.callback_rate / 100
        exact = self.extreme * (1 - share if self.falling else 1 + share) / tick
        return exact.to_integral_value(rounding=ROUND_FLOOR if self.falling else ROUND_CEILING) * tick

    def follow(self, price: Decimal) -> None:
        """A trailing stop sees a price."""
        if self.extreme is None:
            wanted = self.state.activate_price
            reached = price >= wanted if self.falling else price <= wanted
            self.extreme = price if reached else None
        else:
            self.extreme = max(self.extreme, price) if self.falling else min(self.extreme, price)


def falls(kind: AlgoType, side: OrderSide) -> bool:
    """Whether such an order triggers on a fall: stops of sellers, takes of buyers."""
    return (kind in STOPS) == (side is OrderSide.SELL)


def crossing(falling: bool, level: Decimal, start: Decimal, target: Decimal) -> Decimal | None:
    """Where a move from ``start`` to ``target`` triggers ``level``: at once, at the level, or not at all.

    Args:
        falling: the direction that triggers.
        level: price that triggers; touching is enough.
        start: where the move begins.
        target: where it ends.
    """
    sign = 1 if falling else -1
    if (start - level) * sign <= 0:
        return start
    return level if (target - level) * sign <= 0 else None


class Algos:
    """Conditional orders by id; ids rise."""

    def __init__(self) -> None:
        self._open: dict[int, Armed] = {}
        self.finished = Kept(AlgoState, FINISHED_KEPT)

    def of(self, symbol: str | None = None) -> list[Armed]:
        """Those that are not over (of a symbol), oldest first."""
        return [armed for armed in self._open.values() if symbol is None or armed.state.symbol == symbol]

    def waiting(self, symbol: str) -> list[Armed]:
        """Those of a symbol that have not triggered, oldest first."""
        return [armed for armed in self.of(symbol) if armed.state.status is AlgoStatus.NEW]

    def holds(self, client_id: str) -> bool:
        """Whether one that is not over has this id."""
        return any(armed.state.client_id == client_id for armed in self._open.values())

    def get(self, algo_id: int) -> Armed:
        """One that is not over."""
        return self._open[algo_id]

    def add(self, armed: Armed) -> None:
        """Accept one."""
        self._open[armed.state.algo_id] = armed

    def end(self, armed: Armed) -> None:
        """It is over, with the state that it has now."""
        del self._open[armed.state.algo_id]
        self.finished.append(armed.state)

    def find(self, algo_id: int | None, client_id: str | None) -> Armed | None:
        """One that is not over, by either id (the venue's wins)."""
        for armed in self._open.values():
            if _is(armed.state, algo_id, client_id):
                return armed
        return None

    def state(self, algo_id: int | None, client_id: str | None, now: int) -> AlgoState:
        """One by either id, open or still findable ``now``; of several with a client id the latest.

        Raises:
            VenueError: -2013.
        """
        found = self.find(algo_id, client_id)
        if found is not None:
            return found.state
        for state in reversed(self.finished):
            if _is(state, algo_id, client_id) and _findable(state, now):
                return state
        raise VenueError(-2013, "Order does not exist.")

    def all(self, symbol: str, now: int) -> list[AlgoState]:
        """All of a symbol that are open or still findable ``now``, by id."""
        over = (state for state in self.finished if state.symbol == symbol and _findable(state, now))
        return sorted((*over, *(armed.state for armed in self.of(symbol))), key=lambda state: state.algo_id)

    def snapshot(self) -> dict[str, Any]:
        """The open ones as JSON-like values."""
        return {"open": msgspec.to_builtins(list(self._open.values()))}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a :meth:`snapshot`."""
        self._open = {armed.state.algo_id: armed for armed in msgspec.convert(state["open"], list[Armed])}


def _findable(state: AlgoState, now: int) -> bool:
    return findable(state.created, now, traded=state.status is AlgoStatus.FINISHED)


def _is(state: AlgoState, algo_id: int | None, client_id: str | None) -> bool:
    return state.algo_id == algo_id if algo_id is not None else state.client_id == client_id
