"""What the exchange refuses at the door (decision X14)."""

from decimal import Decimal

import pytest

from core.codes import RefusalCode
from core.sim.filters import filter_order
from core.types import OrderSide, OrderType
from tests.core.sim.kit import SPOT, instrument, order

SELL = OrderSide.SELL
PRICE = Decimal(100)


@pytest.mark.parametrize(
    ("made", "passes"),
    [
        (order("a", SELL, OrderType.LIMIT, "1", "100"), True),
        (order("a", SELL, OrderType.MARKET, "1"), True),
        (order("a", SELL, OrderType.MARKET, "1", "100"), False),
        (order("a", SELL, OrderType.LIMIT, "1"), False),
        (order("a", SELL, OrderType.LIMIT, "1", "100.005"), False),
        (order("a", SELL, OrderType.LIMIT, "1", "0"), False),
        (order("a", SELL, OrderType.LIMIT, "0", "100"), False),
        (order("a", SELL, OrderType.LIMIT, "-1", "100"), False),
        (order("a", SELL, OrderType.LIMIT, "0.0015", "100"), False),
        (order("a", SELL, OrderType.LIMIT, "0.001", "100"), True),
        (order("a", SELL, OrderType.LIMIT, "0.001", "100", reduce_only=False), False),
        (order("a", SELL, OrderType.LIMIT, "0.05", "100", reduce_only=False), True),
    ],
)
def test_an_order_must_fit_tick_lot_and_minimum(made, passes):
    refused = filter_order(instrument(), made, PRICE)
    assert (refused is None) is passes
    assert refused is None or refused[0] is RefusalCode.FILTER_REJECTED


def test_the_smallest_quantity_counts_beside_the_lot():
    made = order("a", SELL, OrderType.LIMIT, "0.005", "100")
    assert filter_order(instrument(min_qty=Decimal("0.01")), made, PRICE) is not None


def test_spot_exits_need_the_minimum_value_too():
    """X14: perps exit reduce-only, spot exits need legal sizes."""
    made = order("a", SELL, OrderType.LIMIT, "0.001", "100", symbol=SPOT)
    assert filter_order(instrument(SPOT), made, PRICE) is not None
