"""What a fill changes, and how orders end."""

from __future__ import annotations

from decimal import Decimal

from msgspec.structs import replace

from core.sim.local.account import money
from core.sim.local.algos import Armed
from core.sim.local.engine import Engine
from core.sim.local.orders import Working, ended
from core.sim.local.reports import tell_account
from core.sim.local.values import (
    AccountReason,
    AlgoStatus,
    ExecutionType,
    OrderEvent,
    OrderState,
    OrderStatus,
    TradeState,
)


def fill(
    engine: Engine,
    working: Working,
    price: Decimal,
    qty: Decimal,
    *,
    maker: bool,
    execution: ExecutionType = ExecutionType.TRADE,
    most_fee: Decimal | None = None,
) -> None:
    """Trade ``qty`` of an order: wallet, position, history and words; then whatever a flat position ends.

    ``most_fee`` bounds the fee, where no more money is left.
    """
    before = working.state
    listing, now = engine.listings[before.symbol], engine.now
    fee = money(price * qty * (listing.maker_fee if maker else listing.taker_fee))
    if most_fee is not None:
        fee = min(fee, most_fee)
    closes = bool(engine.reducible(before.symbol, before.side))
    realised = engine.account.trade(before.symbol, qty * before.side.sign, price, fee, now)
    working.state = _filled(before, price, qty, now)
    trade = _trade(engine, working.state, price, qty, realised, fee, maker=maker)
    if closes:
        engine.book_income(before.symbol, "REALIZED_PNL", realised, trade.trade_id)
    engine.book_income(before.symbol, "COMMISSION", -fee, trade.trade_id)
    tell_account(engine, AccountReason.ORDER, (before.symbol,))
    engine.words.append(OrderEvent(now, execution, working.state, trade))
    if working.state.status.over:
        _end(engine, working)
    _drop_what_reduces_nothing(engine, before.symbol)


def _filled(state: OrderState, price: Decimal, qty: Decimal, now: int) -> OrderState:
    filled, quote = state.filled + qty, state.cum_quote + price * qty
    status = OrderStatus.FILLED if filled == state.qty else OrderStatus.PARTIALLY_FILLED
    return replace(state, status=status, filled=filled, cum_quote=quote, average=quote / filled, updated=now)


def _trade(
    engine: Engine, state: OrderState, price: Decimal, qty: Decimal, realised: Decimal, fee: Decimal, *, maker: bool
) -> TradeState:
    engine.counters.trade += 1
    trade = TradeState(
        trade_id=engine.counters.trade,
        order_id=state.order_id,
        client_id=state.client_id,
        symbol=state.symbol,
        side=state.side,
        price=price,
        qty=qty,
        quote_qty=price * qty,
        realised=realised,
        fee=fee,
        fee_asset="USDT",
        maker=maker,
        ts=engine.now,
    )
    engine.history.trades.append(trade)
    return trade


def finish(engine: Engine, working: Working, status: OrderStatus) -> None:
    """End an order unfilled or partly filled."""
    working.state = ended(working.state, status, engine.now)
    execution = ExecutionType.CANCELED if status is OrderStatus.CANCELED else ExecutionType.EXPIRED
    engine.words.append(OrderEvent(engine.now, execution, working.state))
    _end(engine, working)


def _end(engine: Engine, working: Working) -> None:
    engine.orders.end(working)
    child = working.state
    if child.algo_id is not None:
        armed = engine.algos.get(child.algo_id)
        armed.state = replace(armed.state, actual_price=child.average, actual_qty=child.filled)
        end_algo(engine, armed, AlgoStatus.FINISHED)


def end_algo(engine: Engine, armed: Armed, status: AlgoStatus, reason: str = "") -> None:
    """End a conditional order."""
    armed.state = replace(armed.state, status=status, reason=reason, updated=engine.now)
    engine.algos.end(armed)
    engine.tell_algo(armed)


def _drop_what_reduces_nothing(engine: Engine, symbol: str) -> None:
    """Reduce-only orders and closing stops end with the position that they were for."""
    for working in engine.orders.of(symbol):
        if working.state.reduce_only and not engine.reducible(symbol, working.state.side):
            finish(engine, working, OrderStatus.EXPIRED)
    for armed in engine.algos.waiting(symbol):
        if armed.state.close_position and not engine.reducible(symbol, armed.state.side):
            end_algo(engine, armed, AlgoStatus.EXPIRED)
