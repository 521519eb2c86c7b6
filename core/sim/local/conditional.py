"""Conditional orders: acceptance, and what happens when they trigger."""

from __future__ import annotations

from decimal import Decimal

from msgspec.structs import replace

from core.sim.local.algos import LIMITS, STOPS, Armed, crossing, falls
from core.sim.local.engine import Engine
from core.sim.local.entry import accept, check_mode, next_order_id, prepare
from core.sim.local.fills import end_algo
from core.sim.local.filters import check_client_id, check_good_till, check_notional, check_price, check_qty
from core.sim.local.values import (
    ZERO,
    AlgoState,
    AlgoStatus,
    AlgoType,
    Listing,
    NewAlgo,
    NewOrder,
    OrderType,
    TimeInForce,
    VenueError,
    WorkingType,
)

_LEAST_CALLBACK, _MOST_CALLBACK = Decimal("0.1"), Decimal(10)
_CLOSERS = (AlgoType.STOP_MARKET, AlgoType.TAKE_PROFIT_MARKET)


def place_algo(engine: Engine, ask: NewAlgo) -> AlgoState:
    """Accept a conditional order; margin is checked when it triggers.

    Raises:
        VenueError: it is refused.
    """
    listing = engine.listing(ask.symbol)
    check_mode(engine)
    check_client_id(ask.client_id)
    if ask.client_id and engine.algos.holds(ask.client_id):
        raise VenueError(-4116, "ClientOrderId is duplicated.")
    if len(engine.algos.of(ask.symbol)) >= listing.max_algo_orders:
        raise VenueError(-4045, "Reach max stop order limit.")
    _check_prices(listing, ask)
    _check_size(engine, listing, ask)
    good_till = check_good_till(ask.time_in_force, ask.good_till, engine.now)
    present = _present(engine, ask.symbol, ask.working_type)
    armed = Armed(_new_state(engine, ask, good_till))
    if ask.type is AlgoType.TRAILING_STOP_MARKET:
        _activate(armed, ask, present)
    elif present is not None and crossing(armed.falling, armed.state.trigger_price, present, present) is not None:
        raise VenueError(-2021, "Order would immediately trigger.")
    engine.counters.algo += 1
    armed.state = replace(armed.state, algo_id=engine.counters.algo, client_id=engine.client_id(ask.client_id))
    engine.algos.add(armed)
    engine.tell_algo(armed)
    return armed.state


def _check_prices(listing: Listing, ask: NewAlgo) -> None:
    if ask.type in LIMITS:
        check_price(listing, ask.price)
    elif ask.price is not None:
        raise VenueError(-1106, "Parameter 'price' sent when not required.")
    if ask.type is not AlgoType.TRAILING_STOP_MARKET:
        check_price(listing, ask.trigger_price, "triggerPrice")
        return
    if ask.trigger_price is not None:
        raise VenueError(-2021, "Order would immediately trigger.")
    if ask.activate_price is not None:
        check_price(listing, ask.activate_price, "activatePrice")
    if ask.callback_rate is None or not _LEAST_CALLBACK <= ask.callback_rate <= _MOST_CALLBACK:
        raise VenueError(-2007, "Invalid callBack rate.")


def _check_size(engine: Engine, listing: Listing, ask: NewAlgo) -> None:
    if ask.close_position:
        _check_closing(engine, ask)
        return
    qty = check_qty(listing, ask.qty, market=ask.type not in LIMITS)
    if ask.reduce_only:
        if not engine.reducible(ask.symbol, ask.side):
            raise VenueError(-2022, "ReduceOnly Order is rejected.")
        return
    price = ask.price or ask.trigger_price or ask.activate_price or engine.quotes[ask.symbol].mark
    if price is not None:
        check_notional(listing, qty, price)


def _check_closing(engine: Engine, ask: NewAlgo) -> None:
    if ask.type not in _CLOSERS:
        raise VenueError(-4136, f"Target strategy invalid for orderType {ask.type},closePosition true")
    if ask.qty is not None:
        raise VenueError(-4137, "Quantity must be zero with closePosition equals true")
    if ask.reduce_only:
        raise VenueError(-1106, "Parameter 'reduceonly' sent when not required.")
    if not engine.reducible(ask.symbol, ask.side):
        raise VenueError(-4509, "Time in Force (TIF) GTE can only be used with open positions.")
    for other in engine.algos.of(ask.symbol):
        same_way = (other.state.side, other.state.type in STOPS) == (ask.side, ask.type in STOPS)
        if other.state.close_position and same_way:
            raise VenueError(-4130, "An open stop or take profit order with GTE and closePosition in the direction is existing.")


def _present(engine: Engine, symbol: str, working_type: WorkingType) -> Decimal | None:
    quote = engine.quotes[symbol]
    return quote.mark if working_type is WorkingType.MARK_PRICE else quote.last


def _new_state(engine: Engine, ask: NewAlgo, good_till: int) -> AlgoState:
    return AlgoState(
        algo_id=0,
        client_id="",
        symbol=ask.symbol,
        side=ask.side,
        type=ask.type,
        status=AlgoStatus.NEW,
        qty=ask.qty or ZERO,
        price=ask.price or ZERO,
        trigger_price=ask.trigger_price or ZERO,
        time_in_force=ask.time_in_force,
        working_type=ask.working_type,
        close_position=ask.close_position,
        reduce_only=ask.reduce_only,
        price_protect=ask.price_protect,
        created=engine.now,
        updated=engine.now,
        callback_rate=ask.callback_rate or ZERO,
        activate_price=ask.activate_price or ZERO,
        good_till=good_till,
    )


def _activate(armed: Armed, ask: NewAlgo, present: Decimal | None) -> None:
    """Without an activation price a trailing stop follows from the present price on.

    Raises:
        VenueError: -2021: the activation price lies on the side where the stop would be, or no price is known.
    """
    if present is None:
        raise VenueError(-2021, "Order would immediately trigger.")
    if ask.activate_price is None:
        armed.extreme = present
    elif crossing(falls(ask.type, ask.side), ask.activate_price, present, present) is None:
        raise VenueError(-2021, "Order would immediately trigger.")


def protected(engine: Engine, armed: Armed) -> bool:
    """Whether price protection holds the order back: mark and last price are too far apart."""
    quote = engine.quotes[armed.state.symbol]
    if not armed.state.price_protect or quote.last is None:
        return False
    return abs(quote.last - quote.value) > quote.value * engine.listings[armed.state.symbol].trigger_protect


def trigger(engine: Engine, armed: Armed) -> None:
    """The order's price was reached: forward it to the matching engine, unless triggers are stalled."""
    armed.state = replace(armed.state, status=AlgoStatus.TRIGGERING, triggered=engine.now, updated=engine.now)
    engine.tell_algo(armed)
    if not engine.stalled:
        _forward(engine, armed)


def _forward(engine: Engine, armed: Armed) -> None:
    try:
        prepared = prepare(engine, _child(engine, armed.state), new=False)
    except VenueError as refused:
        end_algo(engine, armed, AlgoStatus.REJECTED, refused.message)
        return
    order_id = next_order_id(engine)
    armed.state = replace(armed.state, status=AlgoStatus.TRIGGERED, actual_order_id=order_id, updated=engine.now)
    engine.tell_algo(armed)
    accept(engine, prepared, order_id, armed.state)


def _child(engine: Engine, state: AlgoState) -> NewOrder:
    limit = state.type in LIMITS
    return NewOrder(
        symbol=state.symbol,
        side=state.side,
        type=OrderType.LIMIT if limit else OrderType.MARKET,
        qty=engine.reducible(state.symbol, state.side) if state.close_position else state.qty,
        price=state.price if limit else None,
        time_in_force=state.time_in_force if limit else TimeInForce.GTC,
        reduce_only=state.reduce_only or state.close_position,
        client_id=state.client_id,
        good_till=state.good_till,
    )


def stall(engine: Engine, *, stalled: bool) -> None:
    """Hold back what triggers from now on, or let go what was held back, oldest first."""
    engine.stalled = stalled
    if stalled:
        return
    for armed in engine.algos.of():
        if armed.state.status is AlgoStatus.TRIGGERING:
            _forward(engine, armed)
