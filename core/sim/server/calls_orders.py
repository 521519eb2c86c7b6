"""Calls that place, change, cancel and look up plain orders."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any, TypeVar

import msgspec

from core.sim.local.values import AlgoState, AlgoType, NewOrder, OrderSide, OrderState, OrderType, TimeInForce, VenueError
from core.sim.server import shape_orders as shape
from core.sim.server.desk import Desk
from core.sim.server.memory import Amendment
from core.sim.server.params import Params, illegal, missing, unwanted
from core.sim.server.windows import of_a_week
from core.sim.server.wire import Json, text

ALL_CANCELLED: Json = {"code": 200, "msg": "The operation of cancel all open order is done."}
BATCH_MOST, CANCEL_MOST = 5, 10
_State = TypeVar("_State", OrderState, AlgoState)


def not_found() -> VenueError:
    """The order is unknown to a query."""
    return VenueError(-2013, "Order does not exist.")


def nothing_to_cancel() -> VenueError:
    """The order is unknown to a cancellation."""
    return VenueError(-2011, "Unknown order sent.")


def check_position_side(desk: Desk, params: Params) -> None:
    """Whether the order speaks of positions as the account holds them.

    Raises:
        VenueError: -4061 it does not.
    """
    one_way = (params.maybe("positionSide") or shape.ONE_WAY) == shape.ONE_WAY
    if one_way == desk.exchange.dual_side:
        raise VenueError(-4061, "Order's position side does not match user's setting.")


def _new_order(desk: Desk, params: Params) -> NewOrder:
    listing, side = desk.listing(params), params.choice("side", OrderSide)
    if params.text("type") in set(AlgoType):
        words = "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead."
        raise VenueError(-4120, words)
    kind = params.choice("type", OrderType)
    if kind is OrderType.LIQUIDATION:
        raise VenueError(-1116, "Invalid orderType.")
    check_position_side(desk, params)
    force = _time_in_force(params, kind)
    return NewOrder(
        symbol=listing.symbol,
        side=side,
        type=kind,
        qty=params.decimal("quantity"),
        price=params.decimal("price") if kind is OrderType.LIMIT else None,
        time_in_force=force,
        reduce_only=params.flag("reduceOnly"),
        client_id=params.client_id("newClientOrderId"),
        good_till=params.whole("goodTillDate") if force is TimeInForce.GTD else 0,
        self_trade_prevention=params.maybe("selfTradePreventionMode") or shape.STP,
    )


def _time_in_force(params: Params, kind: OrderType) -> TimeInForce:
    """Limit orders must tell, market orders must not; nor may these name a price."""
    for name in ("stopPrice", "activationPrice", "callbackRate", "closePosition"):
        if name in params and params.maybe(name) != "false":
            raise unwanted(name)
    if params.maybe("priceMatch") not in {None, "NONE"}:
        raise VenueError(-1130, "Data sent for parameter 'priceMatch' is not valid.")
    if kind is OrderType.LIMIT:
        return params.choice("timeInForce", TimeInForce)
    for name in ("price", "timeInForce"):
        if name in params:
            raise unwanted(name)
    return TimeInForce.GTC


def place(desk: Desk, params: Params) -> Json:
    """Place an order; ``newOrderRespType=RESULT`` tells how it stands after matching, else that it was accepted."""
    state = desk.exchange.place(_new_order(desk, params))
    told = shape.order_result(state)
    if params.maybe("newOrderRespType") != "RESULT":
        told |= {"status": "NEW", "executedQty": "0", "cumQty": "0", "cumQuote": "0", "avgPrice": "0.00"}
    return told


def test_order(desk: Desk, params: Params) -> Json:
    """Look at an order without placing it."""
    _new_order(desk, params)
    return {}


def which(desk: Desk, params: Params, otherwise: VenueError) -> tuple[int | None, str | None]:
    """Id and client id that a request names.

    Raises:
        VenueError: -1102 it names none; ``otherwise`` where a fault hides the order.
    """
    order_id, client_id = params.maybe_integer("orderId"), params.maybe("origClientOrderId")
    if order_id is None and client_id is None:
        raise VenueError(-1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
    if desk.memory.hidden("order", order_id, client_id, desk.pace.clock.now_ms()):
        raise otherwise
    return order_id, client_id


def find(desk: Desk, params: Params) -> Json:
    """One order."""
    listing, (order_id, client_id) = desk.listing(params), which(desk, params, not_found())
    return shape.order(desk.exchange.order(listing.symbol, order_id=order_id, client_id=client_id))


def find_open(desk: Desk, params: Params) -> Json:
    """One order, if it is open."""
    listing, (order_id, client_id) = desk.listing(params), which(desk, params, not_found())
    state = desk.exchange.order(listing.symbol, order_id=order_id, client_id=client_id)
    if state.status.over:
        raise not_found()
    return shape.order(state)


def cancel(desk: Desk, params: Params) -> Json:
    """Cancel one order."""
    listing, (order_id, client_id) = desk.listing(params), which(desk, params, nothing_to_cancel())
    return shape.order_result(desk.exchange.cancel(listing.symbol, order_id=order_id, client_id=client_id))


def cancel_all(desk: Desk, params: Params) -> Json:
    """Cancel the plain orders of a symbol."""
    desk.exchange.cancel_all(desk.listing(params).symbol)
    return ALL_CANCELLED


def amend(desk: Desk, params: Params) -> Json:
    """Change price and quantity of a limit order."""
    listing, (order_id, client_id) = desk.listing(params), which(desk, params, not_found())
    side, qty, price = params.choice("side", OrderSide), params.decimal("quantity"), params.decimal("price")
    before = desk.exchange.order(listing.symbol, order_id=order_id, client_id=client_id)
    state = desk.exchange.amend(listing.symbol, side, qty, price, order_id=order_id, client_id=client_id)
    desk.memory.amend(
        state.symbol, state.order_id, state.client_id, state.updated, (before.price, state.price), (before.qty, state.qty)
    )
    return shape.amended(state)


def open_orders(desk: Desk, params: Params) -> list[Json]:
    """Open orders of one symbol or of all."""
    named = desk.maybe_listing(params)
    return [shape.order(state) for state in desk.exchange.open_orders(named.symbol if named else None) if _visible(desk, state)]


def all_orders(desk: Desk, params: Params) -> list[Json]:
    """Orders of a symbol, open or not: from a number on, or of a week."""
    tell = partial(desk.exchange.all_orders, desk.listing(params).symbol, limit=params.limit(500, 1000))
    found = told_from(desk, params, "orderId", tell)
    return [shape.order(state) for state in found if _visible(desk, state)]


def told_from(desk: Desk, params: Params, number: str, tell: Callable[..., tuple[_State, ...]]) -> tuple[_State, ...]:
    """Orders from the number that a request names, else of a week."""
    start, end, first = params.maybe_integer("startTime"), params.maybe_integer("endTime"), params.maybe_integer(number)
    if first is not None:
        return tell(start=start, end=end, from_id=first)
    return of_a_week(
        lambda since, until: tell(start=since, end=until), lambda row: row.created, desk.pace.clock.now_ms(), start, end
    )


def _visible(desk: Desk, state: OrderState) -> bool:
    return not desk.memory.hidden("order", state.order_id, state.client_id, desk.pace.clock.now_ms())


def amendments(desk: Desk, params: Params) -> list[Json]:
    """Changes that were made to orders, the latest first."""
    symbol, limit = desk.listing(params).symbol, params.limit(50, 100)
    order_id, client_id = params.maybe_integer("orderId"), params.maybe("origClientOrderId")
    found = [
        made
        for made in reversed(desk.memory.amendments)
        if made.symbol == symbol and order_id in {None, made.order_id} and client_id in {None, made.client_id}
    ]
    return [_amendment(made) for made in found[:limit]]


def _amendment(made: Amendment) -> Json:
    def change(pair: tuple[Decimal, Decimal]) -> Json:
        return {"before": text(pair[0]), "after": text(pair[1])}

    return {
        "amendmentId": made.amendment_id,
        "symbol": made.symbol,
        "pair": made.symbol,
        "orderId": made.order_id,
        "clientOrderId": made.client_id,
        "time": made.ts,
        "amendment": {"price": change(made.price), "origQty": change(made.qty), "count": made.count},
        "priceMatch": "NONE",
    }


def countdown(desk: Desk, params: Params) -> Json:
    """Cancel the orders of a symbol when this is not asked again in time."""
    listing, ms = desk.listing(params), params.whole("countdownTime")
    desk.countdowns.set(listing.symbol, ms)
    return {"symbol": listing.symbol, "countdownTime": str(ms)}


# --- several at once --------------------------------------------------------------------------------------


def batch_legs(params: Params, name: str = "batchOrders") -> list[Params]:
    """Orders of a batch, each as a request of its own."""
    try:
        legs: Any = msgspec.json.decode(params.text(name))
    except msgspec.DecodeError:
        raise illegal(name) from None
    if not isinstance(legs, list) or not all(isinstance(leg, dict) for leg in legs):
        raise illegal(name)
    if not 0 < len(legs) <= BATCH_MOST:
        raise VenueError(-4082, f"Invalid number of batch place orders: {len(legs)}")
    return [Params({key: _plain(value) for key, value in leg.items()}) for leg in legs]


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def batch_size(params: Params) -> int:
    """How many orders a batch places, 1 where it makes no sense."""
    try:
        return len(batch_legs(params))
    except VenueError:
        return 1


def place_batch(desk: Desk, params: Params) -> list[Json]:
    """Place up to five orders. They meet the engine in any order; the answers come in the order of the request."""
    legs = batch_legs(params)
    answers: list[Json] = [{}] * len(legs)
    for place_in_line in desk.random.permutation(len(legs)):
        number = int(place_in_line)
        answers[number] = _leg(desk, legs[number], place)
    return answers


def amend_batch(desk: Desk, params: Params) -> list[Json]:
    """Change up to five orders."""
    return [_leg(desk, leg, amend) for leg in batch_legs(params)]


def cancel_batch(desk: Desk, params: Params) -> list[Json]:
    """Cancel up to ten orders of a symbol."""
    symbol = desk.listing(params).symbol
    asked = [{"orderId": found} for found in _id_list(params, "orderidlist", "orderIdList")]
    asked += [{"origClientOrderId": found} for found in _id_list(params, "origclientorderidlist", "origClientOrderIdList")]
    if not asked:
        raise missing("orderIdList")
    if len(asked) > CANCEL_MOST:
        raise VenueError(-4083, f"Invalid number of batch cancel orders: {len(asked)}")
    return [_leg(desk, Params({"symbol": symbol, **ids}), cancel) for ids in asked]


def _id_list(params: Params, *names: str) -> list[str]:
    sent = next((found for name in names if (found := params.maybe(name))), "[]")
    try:
        return [str(found) for found in msgspec.json.decode(sent, type=list[int | str])]
    except msgspec.DecodeError:
        raise illegal(names[-1]) from None


def _leg(desk: Desk, leg: Params, call: Callable[[Desk, Params], Json]) -> Json:
    """A leg's answer; a refusal is an answer too."""
    try:
        return call(desk, leg)
    except VenueError as refusal:
        return {"code": refusal.code, "msg": refusal.message}
