"""What the simulated exchange says of an order when it comes: None, or the code and the facts of a rejection."""

from __future__ import annotations

import math
from decimal import Decimal

from core.codes import RefusalCode
from core.exec.instrument import Instrument
from core.sim.account import Account
from core.sim.book import OrderStore
from core.sim.filters import Refused, filter_order
from core.sim.matching import would_trigger
from core.types import Order, OrderSide, OrderType


def refuse(order: Order, instrument: Instrument | None, present: float, orders: OrderStore, account: Account) -> Refused | None:
    """Whether the order itself is unfit at the price ``present`` (NaN: unknown); ``instrument`` None: not traded here."""
    if instrument is None:
        return RefusalCode.FILTER_REJECTED, f"symbol was {order.symbol}, which is not traded here"
    if orders.used(order.client_id):
        return RefusalCode.DUPLICATE_CLIENT_ID, f"client id {order.client_id} was used before"
    if math.isnan(present):
        return RefusalCode.MISSING_INPUT, "no price is known yet"
    refused = filter_order(instrument, order, Decimal(repr(present)))
    if refused is not None:
        return refused
    held = account.qty(order.symbol)
    if order.reduce_only and held * order.side.sign >= 0:
        return RefusalCode.REDUCE_ONLY_REJECTED, f"position is {held}"
    price = present if order.price is None else float(order.price)
    if order.type is OrderType.STOP_MARKET and would_trigger(order.side, price, present):
        return RefusalCode.STOP_WOULD_TRIGGER, f"trigger {price}, price {present}"
    return None


def refuse_margin(order: Order, instrument: Instrument, present: float, account: Account, free_usd: float) -> Refused | None:
    """Whether an order that opens risk, fit otherwise, asks for more than there is: ``free_usd`` of margin, coins on spot."""
    held = account.qty(order.symbol)
    if not instrument.is_perp and order.side is OrderSide.SELL and order.qty > held:
        return RefusalCode.INSUFFICIENT_MARGIN, f"a spot sale of {order.qty}, holds {held}"
    notional = float(order.qty) * (present if order.price is None else float(order.price))
    needed = notional / account.leverage(order.symbol) + notional * instrument.taker_fee_rate
    if needed > free_usd:
        return RefusalCode.INSUFFICIENT_MARGIN, f"needs {needed:.2f} USD, free are {free_usd:.2f} USD"
    return None
