"""What an exchange refuses at the door: form of the order and the instrument's filters."""

from __future__ import annotations

from decimal import Decimal

from core.codes import RefusalCode
from core.exec.instrument import Instrument
from core.types import Order, OrderType

Refused = tuple[RefusalCode, str]


def filter_order(instrument: Instrument, order: Order, present: Decimal) -> Refused | None:
    """Why the filters refuse ``order``, or None.

    Args:
        instrument: filters (tick, lot, minimum quantity, minimum value).
        order: the order.
        present: price that values a market order.

    Reduce-only orders of perps are free from the minimum value; spot has no such exemption (X14).
    """
    if (order.price is None) != (order.type is OrderType.MARKET):
        return _filter(f"price of a {order.type} order was {order.price}; market orders have none, all others one")
    price = present if order.price is None else order.price
    if order.price is not None and (price <= 0 or price % instrument.tick_size):
        return _filter(f"price was {price}, expected a positive multiple of {instrument.tick_size}")
    if order.qty < instrument.min_qty or order.qty % instrument.qty_step:
        return _filter(f"qty was {order.qty}, expected a multiple of {instrument.qty_step}, at least {instrument.min_qty}")
    exempt = order.reduce_only and instrument.is_perp
    if not exempt and order.qty * price < instrument.min_notional:
        return _filter(f"value was {order.qty * price}, expected at least {instrument.min_notional}")
    return None


def _filter(message: str) -> Refused:
    return RefusalCode.FILTER_REJECTED, message
