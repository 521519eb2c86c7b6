"""Calls that place, cancel and look up conditional orders."""

from __future__ import annotations

from functools import partial

from core.sim.local.values import AlgoState, AlgoType, NewAlgo, OrderSide, TimeInForce, VenueError, WorkingType
from core.sim.server import shape_orders as shape
from core.sim.server.calls_orders import ALL_CANCELLED, check_position_side, not_found, nothing_to_cancel, told_from
from core.sim.server.desk import Desk
from core.sim.server.params import Params, unwanted
from core.sim.server.wire import Json

LIMITED = frozenset({AlgoType.STOP, AlgoType.TAKE_PROFIT})


def _new_algo(desk: Desk, params: Params) -> NewAlgo:
    if params.text("algoType") != "CONDITIONAL":
        raise VenueError(-1130, "Data sent for parameter 'algoType' is not valid.")
    listing, side, kind = desk.listing(params), params.choice("side", OrderSide), params.choice("type", AlgoType)
    check_position_side(desk, params)
    trailing, closes = kind is AlgoType.TRAILING_STOP_MARKET, params.flag("closePosition")
    if trailing and "triggerPrice" in params:
        raise VenueError(-2021, "Order would immediately trigger.")
    if closes:
        _check_closing(params)
    force = params.choice("timeInForce", TimeInForce, TimeInForce.GTC)
    return NewAlgo(
        symbol=listing.symbol,
        side=side,
        type=kind,
        qty=None if closes else params.decimal("quantity"),
        price=params.decimal("price") if kind in LIMITED else None,
        trigger_price=None if trailing else params.decimal("triggerPrice"),
        time_in_force=force,
        working_type=params.choice("workingType", WorkingType, WorkingType.CONTRACT_PRICE),
        close_position=closes,
        reduce_only=params.flag("reduceOnly"),
        price_protect=params.flag("priceProtect"),
        callback_rate=params.decimal("callbackRate") if trailing else None,
        activate_price=params.maybe_decimal("activatePrice") if trailing else None,
        client_id=params.client_id("clientAlgoId"),
        good_till=params.whole("goodTillDate") if force is TimeInForce.GTD else 0,
    )


def _check_closing(params: Params) -> None:
    """An order that closes the position tells neither how much nor that it only reduces."""
    if "quantity" in params:
        raise VenueError(-4137, "Quantity must be zero with closePosition equals true")
    if "reduceOnly" in params:
        raise unwanted("reduceonly")


def place(desk: Desk, params: Params) -> Json:
    """Place a conditional order."""
    return shape.algo_result(desk.exchange.place_algo(_new_algo(desk, params)))


def _which(desk: Desk, params: Params, otherwise: VenueError) -> tuple[int | None, str | None]:
    algo_id, client_id = params.maybe_integer("algoId"), params.maybe("clientAlgoId")
    if algo_id is None and client_id is None:
        raise VenueError(-1102, "Param 'algoId' or 'clientAlgoId' must be sent, but both were empty/null!")
    if desk.memory.hidden("algo", algo_id, client_id, desk.pace.clock.now_ms()):
        raise otherwise
    return algo_id, client_id


def find(desk: Desk, params: Params) -> Json:
    """One conditional order."""
    algo_id, client_id = _which(desk, params, not_found())
    return shape.algo(desk.exchange.algo(algo_id=algo_id, client_id=client_id))


def cancel(desk: Desk, params: Params) -> Json:
    """Cancel one conditional order."""
    algo_id, client_id = _which(desk, params, nothing_to_cancel())
    return shape.algo_cancelled(desk.exchange.cancel_algo(algo_id=algo_id, client_id=client_id))


def cancel_all(desk: Desk, params: Params) -> Json:
    """Cancel the conditional orders of a symbol."""
    desk.exchange.cancel_all_algos(desk.listing(params).symbol)
    return ALL_CANCELLED


def open_algos(desk: Desk, params: Params) -> list[Json]:
    """Open conditional orders of one symbol or of all."""
    named = desk.maybe_listing(params)
    found = desk.exchange.open_algos(named.symbol if named else None)
    wanted = params.maybe_integer("algoId")
    return [shape.algo(state) for state in found if wanted in {None, state.algo_id} and _visible(desk, state)]


def all_algos(desk: Desk, params: Params) -> list[Json]:
    """Conditional orders of a symbol, open or not: from a number on, or of a week."""
    tell = partial(desk.exchange.all_algos, desk.listing(params).symbol, limit=params.limit(500, 1000))
    found = told_from(desk, params, "algoId", tell)
    return [shape.algo(state) for state in found if _visible(desk, state)]


def _visible(desk: Desk, state: AlgoState) -> bool:
    return not desk.memory.hidden("algo", state.algo_id, state.client_id, desk.pace.clock.now_ms())
