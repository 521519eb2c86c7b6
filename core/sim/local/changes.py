"""What the account does to orders that are open: amend, cancel, let them expire."""

from __future__ import annotations

from decimal import Decimal

from msgspec.structs import replace

from core.sim.local.engine import Engine
from core.sim.local.entry import prepare, run
from core.sim.local.fills import end_algo, finish
from core.sim.local.filters import check_notional, check_price, check_qty
from core.sim.local.orders import Working
from core.sim.local.values import (
    AlgoState,
    AlgoStatus,
    ExecutionType,
    NewOrder,
    OrderEvent,
    OrderSide,
    OrderState,
    OrderStatus,
    TimeInForce,
    VenueError,
)

_POST_ONLY_REFUSED = -5022


def amend(
    engine: Engine, symbol: str, side: OrderSide, qty: Decimal, price: Decimal, order_id: int | None, client_id: str | None
) -> OrderState:
    """Change an open order. Only less quantity at the same price keeps the place in the queue.

    A quantity that has filled already, and a price at which a post-only order would take, cancel the order.

    Raises:
        VenueError: -2013 unknown, -1117 other side, -5027 nothing changes, or as for a new order; it then stays as it is.
    """
    listing = engine.listing(symbol)
    working = engine.orders.find(symbol, order_id, client_id)
    if working is None:
        raise VenueError(-2013, "Order does not exist.")
    state = working.state
    if state.side is not side:
        raise VenueError(-1117, "Invalid side.")
    if (state.qty, state.price) == (qty, price):
        raise VenueError(-5027, "No need to modify the order.")
    check_price(listing, price)
    check_qty(listing, qty, market=False)
    if not state.reduce_only:
        check_notional(listing, qty, price)
    if qty <= state.filled:
        finish(engine, working, OrderStatus.CANCELED)
        return working.state
    return _amend(engine, working, qty, price)


def _amend(engine: Engine, working: Working, qty: Decimal, price: Decimal) -> OrderState:
    state, ahead = working.state, working.ahead
    lasting = TimeInForce.GTX if state.time_in_force is TimeInForce.GTX else TimeInForce.GTC
    ask = NewOrder(
        symbol=state.symbol,
        side=state.side,
        type=state.type,
        qty=qty - state.filled,
        price=price,
        time_in_force=lasting,
        reduce_only=state.reduce_only,
        self_trade_prevention=working.protection,
    )
    # while it is judged anew, what it asked before must not count
    working.state = replace(state, qty=state.filled)
    try:
        prepared = prepare(engine, ask, new=False)
    except VenueError as refused:
        working.state = state
        if refused.code != _POST_ONLY_REFUSED:
            raise
        finish(engine, working, OrderStatus.CANCELED)
        return working.state
    working.state = replace(state, qty=qty, price=price, updated=engine.now)
    engine.words.append(OrderEvent(engine.now, ExecutionType.AMENDMENT, working.state))
    run(engine, working, prepared)
    if price == state.price and qty < state.qty:
        working.ahead = ahead
    return working.state


def cancel(engine: Engine, symbol: str, order_id: int | None, client_id: str | None) -> OrderState:
    """Cancel one open order.

    Raises:
        VenueError: -2011.
    """
    engine.listing(symbol)
    working = engine.orders.find(symbol, order_id, client_id)
    if working is None:
        raise VenueError(-2011, "Unknown order sent.")
    finish(engine, working, OrderStatus.CANCELED)
    return working.state


def cancel_all(engine: Engine, symbol: str) -> None:
    """Cancel the open plain orders of a symbol."""
    engine.listing(symbol)
    for working in engine.orders.of(symbol):
        finish(engine, working, OrderStatus.CANCELED)


def cancel_algo(engine: Engine, algo_id: int | None, client_id: str | None) -> AlgoState:
    """Cancel a conditional order that has not triggered.

    Raises:
        VenueError: -2011.
    """
    armed = engine.algos.find(algo_id, client_id)
    if armed is None or armed.state.status is not AlgoStatus.NEW:
        raise VenueError(-2011, "Unknown order sent.")
    end_algo(engine, armed, AlgoStatus.CANCELED)
    return armed.state


def cancel_all_algos(engine: Engine, symbol: str) -> None:
    """Cancel the conditional orders of a symbol that have not triggered."""
    engine.listing(symbol)
    for armed in engine.algos.waiting(symbol):
        end_algo(engine, armed, AlgoStatus.CANCELED)


def expire(engine: Engine, ts: int) -> None:
    """End GTD orders whose time is over at ``ts``."""
    for working in engine.orders.of():
        if 0 < working.state.good_till <= ts:
            finish(engine, working, OrderStatus.EXPIRED)
    for symbol in engine.listings:
        for armed in engine.algos.waiting(symbol):
            if 0 < armed.state.good_till <= ts:
                end_algo(engine, armed, AlgoStatus.EXPIRED)
