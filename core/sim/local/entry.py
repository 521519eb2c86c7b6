"""Plain orders from the request to the book: checks, what trades at once, what rests."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from core.sim.local.account import money
from core.sim.local.brackets import max_notional
from core.sim.local.engine import Engine
from core.sim.local.fills import fill, finish
from core.sim.local.filters import check_client_id, check_form, check_good_till, check_notional, check_percent
from core.sim.local.liquidity import Piece
from core.sim.local.margin import margins, most_notional
from core.sim.local.orders import Working
from core.sim.local.values import (
    ZERO,
    AlgoState,
    ExecutionType,
    Listing,
    NewOrder,
    OrderEvent,
    OrderSide,
    OrderState,
    OrderStatus,
    OrderType,
    TimeInForce,
    VenueError,
)

_IMMEDIATE = (TimeInForce.IOC, TimeInForce.FOK)


class Prepared(NamedTuple):
    """An order that will be accepted: own orders that end for it, what trades at once, and the fate of the rest."""

    ask: NewOrder
    good_till: int
    ends: tuple[Working, ...]
    pieces: tuple[Piece, ...]
    fate: OrderStatus | None


def place(engine: Engine, ask: NewOrder) -> OrderState:
    """Accept and match an order.

    Raises:
        VenueError: it is refused; nothing has changed then.
    """
    return accept(engine, prepare(engine, ask), next_order_id(engine))


def next_order_id(engine: Engine) -> int:
    """An id for a plain order."""
    engine.counters.order += 1
    return engine.counters.order


def prepare(engine: Engine, ask: NewOrder, *, new: bool = True) -> Prepared:
    """Check an order against the present state and say what it would do.

    Args:
        engine: the exchange.
        ask: the order.
        new: whether ids, form and value are still to be checked (of amended orders and of children they were).

    Raises:
        VenueError: it is refused.
    """
    listing = engine.listing(ask.symbol)
    check_mode(engine)
    good_till = _check_new(engine, listing, ask) if new else ask.good_till
    qty = ask.qty
    if ask.reduce_only:
        qty = min(qty, engine.reducible(ask.symbol, ask.side))
        if not qty:
            raise VenueError(-2022, "ReduceOnly Order is rejected.")
    pieces = match(engine, listing, ask, qty)
    if not ask.reduce_only:
        _check_margin(engine, listing, ask, pieces)
    ends, pieces, stopped = _self_trades(engine, ask, pieces)
    fate = None
    if stopped:
        fate = OrderStatus.EXPIRED_IN_MATCH
    elif ask.type is OrderType.MARKET or ask.time_in_force in _IMMEDIATE:
        fate = OrderStatus.EXPIRED
    return Prepared(ask, good_till, ends, pieces, fate)


def _check_new(engine: Engine, listing: Listing, ask: NewOrder) -> int:
    check_form(listing, ask)
    check_client_id(ask.client_id)
    if ask.client_id and engine.orders.holds(ask.client_id):
        raise VenueError(-4116, "ClientOrderId is duplicated.")
    if len(engine.orders.of(ask.symbol)) >= listing.max_orders:
        raise VenueError(-2025, "Reach max open order limit.")
    if not ask.reduce_only and (ask.price is not None or engine.quotes[ask.symbol].last is not None):
        check_notional(listing, ask.qty, _price(engine, ask))
    return check_good_till(ask.time_in_force, ask.good_till, engine.now)


def check_mode(engine: Engine) -> None:
    """Orders here carry no position side, which hedge mode asks for.

    Raises:
        VenueError: -4061.
    """
    if engine.dual_side:
        raise VenueError(-4061, "Order's position side does not match user's setting.")


def match(engine: Engine, listing: Listing, ask: NewOrder, qty: Decimal) -> tuple[Piece, ...]:
    """What of ``qty`` would trade at once.

    Raises:
        VenueError: -4016, -4024, -4131 by PERCENT_PRICE; -5021 for FOK, -5022 for GTX.
    """
    quote, depth = engine.quotes[ask.symbol], engine.depths[ask.symbol]
    if ask.price is None:
        return _match_market(engine, listing, ask.side, ask.symbol, qty)
    if quote.mark is not None:
        check_percent(listing, ask.side, ask.price, quote.mark)
    pieces: tuple[Piece, ...] = ()
    if depth.real or (quote.last is not None and not quote.dry):
        last = quote.last or ZERO
        if ask.time_in_force is TimeInForce.GTX:
            best = depth.best(ask.side, last)
            if best is not None and (best - ask.price) * ask.side.sign <= 0:
                raise VenueError(-5022, "Due to the order could not be executed as maker, the Post Only order will be rejected.")
        else:
            pieces = depth.plan(ask.side, qty, last, ask.price)
    if ask.time_in_force is TimeInForce.FOK and sum((piece.qty for piece in pieces), ZERO) < qty:
        raise VenueError(-5021, "Due to the order could not be filled immediately, the FOK order has been rejected.")
    return pieces


def _match_market(engine: Engine, listing: Listing, side: OrderSide, symbol: str, qty: Decimal) -> tuple[Piece, ...]:
    quote, depth = engine.quotes[symbol], engine.depths[symbol]
    best = None if quote.last is None else depth.best(side, quote.last)
    far = listing.percent_up if side is OrderSide.BUY else listing.percent_down
    if quote.last is None or best is None or (best - quote.value * far) * side.sign > 0:
        raise VenueError(-4131, "The counterparty's best price does not meet the PERCENT_PRICE filter limit.")
    bound = quote.value * (1 + side.sign * listing.market_take_bound)
    return depth.plan(side, qty, quote.last, bound if depth.real else None)


def _price(engine: Engine, ask: NewOrder) -> Decimal:
    return engine.mark(ask.symbol) if ask.price is None else ask.price


def _check_margin(engine: Engine, listing: Listing, ask: NewOrder, pieces: Sequence[Piece]) -> None:
    """Try the order on a copy of the account: it must leave margin free, or at least not less than there is."""
    trial, sign = engine.account.copy(), ask.side.sign
    for piece in pieces:
        fee = money(piece.price * piece.qty * listing.taker_fee)
        trial.trade(ask.symbol, piece.qty * sign, piece.price, fee, engine.now)
    rest = ask.qty - sum((piece.qty for piece in pieces), ZERO)
    rests = rest and ask.price is not None and ask.time_in_force not in _IMMEDIATE
    extra = ((ask.symbol, ask.side, rest * _price(engine, ask)),) if rests else ()
    exposure = engine.orders.exposure(*extra)
    held, mark = trial.holdings[ask.symbol], engine.mark(ask.symbol)
    largest = most_notional(held, mark, exposure)
    if largest > max(max_notional(listing, held.leverage), abs(engine.held(ask.symbol).qty) * mark):
        raise VenueError(-2027, "Exceeded the maximum allowable position at current leverage.")
    free = margins(trial, engine.listings, engine.mark, exposure).free
    if free < 0 and free < engine.margins().free:
        if engine.account.cross_wallet <= 0:
            raise VenueError(-2018, "Balance is insufficient.")
        raise VenueError(-2019, "Margin is insufficient.")


def _self_trades(engine: Engine, ask: NewOrder, pieces: tuple[Piece, ...]) -> tuple[tuple[Working, ...], tuple[Piece, ...], bool]:
    """Self-trade prevention: resting orders that end, what still trades, and whether the order itself is stopped."""
    if not pieces or ask.self_trade_prevention == "NONE":
        return (), pieces, False
    sign, worst = ask.side.sign, pieces[-1].price
    met = tuple(
        working
        for working in engine.orders.of(ask.symbol)
        if working.state.side is not ask.side and (working.state.price - worst) * sign <= 0
    )
    if not met or ask.self_trade_prevention == "EXPIRE_MAKER":
        return met, pieces, False
    first = min(working.state.price * sign for working in met)
    before = tuple(piece for piece in pieces if piece.price * sign < first)
    return met if ask.self_trade_prevention == "EXPIRE_BOTH" else (), before, True


def accept(engine: Engine, prepared: Prepared, order_id: int, parent: AlgoState | None = None) -> OrderState:
    """Do what was prepared; ``parent`` is the conditional order whose child it is."""
    ask = prepared.ask
    state = OrderState(
        order_id=order_id,
        client_id=engine.client_id(ask.client_id),
        symbol=ask.symbol,
        side=ask.side,
        type=ask.type,
        status=OrderStatus.NEW,
        qty=ask.qty,
        price=ask.price or ZERO,
        filled=ZERO,
        average=ZERO,
        cum_quote=ZERO,
        time_in_force=ask.time_in_force,
        reduce_only=ask.reduce_only,
        close_position=parent is not None and parent.close_position,
        created=engine.now,
        updated=engine.now,
        good_till=prepared.good_till,
        algo_id=None if parent is None else parent.algo_id,
        origin=ask.type.value if parent is None else parent.type.value,
    )
    working = Working(state, protection=ask.self_trade_prevention)
    engine.orders.add(working)
    engine.words.append(OrderEvent(engine.now, ExecutionType.NEW, state))
    run(engine, working, prepared)
    return working.state


def run(engine: Engine, working: Working, prepared: Prepared) -> None:
    """Trade what an accepted order trades at once, and end or queue the rest."""
    state, depth = working.state, engine.depths[working.state.symbol]
    for met in prepared.ends:
        finish(engine, met, OrderStatus.EXPIRED_IN_MATCH)
    depth.take(state.side, prepared.pieces)
    for piece in prepared.pieces:
        fill(engine, working, piece.price, piece.qty, maker=False)
    if working.state.status.over:
        return
    if prepared.fate is not None:
        finish(engine, working, prepared.fate)
    else:
        working.ahead = depth.queue(state.side, state.price)
