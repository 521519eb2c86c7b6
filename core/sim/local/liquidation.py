"""Positions that the venue ends by force, and the warning before."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from core.sim.local.account import Holding, money
from core.sim.local.changes import cancel_all, cancel_all_algos
from core.sim.local.engine import Engine
from core.sim.local.entry import next_order_id
from core.sim.local.fills import fill
from core.sim.local.liquidity import Piece
from core.sim.local.orders import Working
from core.sim.local.reports import account_state, position_state, tell_account
from core.sim.local.values import (
    ZERO,
    AccountReason,
    ExecutionType,
    MarginCall,
    OrderEvent,
    OrderSide,
    OrderState,
    OrderStatus,
    OrderType,
    TimeInForce,
)

CALL_RATIO = Decimal("0.8")
"""Share of the margin balance that maintenance has taken when the venue warns."""


def liquidate(engine: Engine, symbol: str) -> None:
    """End an isolated position, or all cross ones: their orders first, then the positions at market.

    The insurance fund takes over at the price at which nothing is left, so that a liquidation never costs more than there is.
    """
    held = engine.held(symbol)
    crossed = [other.symbol for other in engine.account.holdings.values() if other.qty and other.crossed]
    doomed = crossed if held.crossed else [symbol]
    for name in doomed:
        cancel_all(engine, name)
        cancel_all_algos(engine, name)
    for name in doomed:
        _close(engine, engine.held(name))


def _close(engine: Engine, held: Holding) -> None:
    listing, qty, sign, entry = engine.listings[held.symbol], abs(held.qty), held.sign, held.entry
    side = OrderSide.SELL if sign > 0 else OrderSide.BUY
    behind, wallet, worst = _behind(engine, held), engine.account.wallet, _bankruptcy(engine, held)
    working = _order(engine, held.symbol, side, qty)
    quote, depth = engine.quotes[held.symbol], engine.depths[held.symbol]
    pieces = depth.plan(side, qty, quote.last or quote.value, None)
    depth.take(side, pieces)
    missing = qty - sum((piece.qty for piece in pieces), ZERO)
    for piece in (*pieces, Piece(worst, missing)):
        if piece.qty:
            price = max(piece.price * sign, worst * sign) * sign
            # what is still to be closed may go at the worst price: fees take only what that leaves
            qty -= piece.qty
            lost = sign * (piece.qty * (price - entry) + qty * (worst - entry))
            most_fee = money(max(ZERO, behind + engine.account.wallet - wallet + lost))
            fill(engine, working, price, piece.qty, maker=False, execution=ExecutionType.CALCULATED, most_fee=most_fee)
    left = behind + engine.account.wallet - wallet
    fine = min(money(listing.liquidation_fee * working.state.cum_quote), money(max(ZERO, left)))
    engine.account.pay(-fine, engine.now)
    engine.book_income(held.symbol, "INSURANCE_CLEAR", -fine)
    tell_account(engine, AccountReason.ORDER, (held.symbol,))


def _order(engine: Engine, symbol: str, side: OrderSide, qty: Decimal) -> Working:
    order_id = next_order_id(engine)
    state = OrderState(
        order_id=order_id,
        client_id=f"autoclose-{order_id}",
        symbol=symbol,
        side=side,
        type=OrderType.LIQUIDATION,
        status=OrderStatus.NEW,
        qty=qty,
        price=ZERO,
        filled=ZERO,
        average=ZERO,
        cum_quote=ZERO,
        time_in_force=TimeInForce.IOC,
        reduce_only=True,
        close_position=False,
        created=engine.now,
        updated=engine.now,
        origin=OrderType.LIQUIDATION.value,
    )
    working = Working(state)
    engine.orders.add(working)
    engine.words.append(OrderEvent(engine.now, ExecutionType.CALCULATED, state))
    return working


def _behind(engine: Engine, held: Holding) -> Decimal:
    """Money that the position can lose: its own part of the wallet, or the cross wallet with the others' open profit."""
    if not held.crossed:
        return held.isolated
    others = (other for other in engine.account.holdings.values() if other.qty and other.crossed and other is not held)
    return engine.account.cross_wallet + sum((other.unrealised(engine.mark(other.symbol)) for other in others), ZERO)


def _bankruptcy(engine: Engine, held: Holding) -> Decimal:
    """Legal price at which nothing of the money behind the position is left; never below one tick."""
    tick = engine.listings[held.symbol].tick
    exact = held.entry - _behind(engine, held) / held.qty
    rounding = ROUND_CEILING if held.qty > 0 else ROUND_FLOOR
    return max(tick, (exact / tick).to_integral_value(rounding=rounding) * tick)


def warn(engine: Engine, symbol: str) -> None:
    """Say once, until it is well again, that a position's margin is nearly used up."""
    held = engine.held(symbol)
    if not held.qty:
        return
    account = engine.account
    if held.crossed:
        key, sums = "", engine.margins()
        keep, balance = sums.cross_maintenance, account.cross_wallet + sums.cross_unrealised
    else:
        state = position_state(engine, symbol)
        key, keep, balance = symbol, state.maintenance_margin, state.isolated_margin
    near = keep >= CALL_RATIO * balance
    if near and not engine.called.get(key):
        names = [other.symbol for other in account.holdings.values() if other.qty and other.crossed] if held.crossed else [symbol]
        positions = tuple(position_state(engine, name) for name in names)
        engine.words.append(MarginCall(engine.now, account_state(engine), positions))
    engine.called[key] = near
