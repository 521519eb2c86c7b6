"""What the venue refuses at the door, with its codes (exchange.md 1.4, 1.5)."""

from decimal import Decimal

import pytest

from core.sim.local.filters import check_client_id, check_precision, check_price, check_qty
from core.sim.local.values import NewOrder, OrderType, TimeInForce
from tests.core.sim.local.kit import BTC, BUY, SELL, House, d, listing, refused

TIGHT = listing(tick=d("0.10"), min_price=d(50), max_price=d(150), step=d("0.005"), min_qty=d("0.01"), max_qty=d(10))


@pytest.mark.parametrize(
    ("price", "code"),
    [
        (None, -1102),
        ("0", -4001),
        ("-1", -4001),
        ("150.1", -4002),
        ("49.9", -4013),
        ("100.005", -1111),
        ("100.05", -4014),
    ],
)
def test_a_price_off_its_filter_is_refused(price, code):
    with refused(code):
        check_price(TIGHT, None if price is None else d(price))


def test_a_price_may_have_trailing_zeros():
    assert check_price(TIGHT, Decimal("100.1000")) == d("100.1")


@pytest.mark.parametrize(
    ("qty", "code"),
    [(None, -1102), ("0", -4003), ("0.0101", -1111), ("0.011", -4023), ("10.005", -4005), ("0.005", -4004)],
)
def test_a_quantity_off_its_filter_is_refused(qty, code):
    with refused(code):
        check_qty(TIGHT, None if qty is None else d(qty), market=False)


def test_market_orders_have_a_lot_of_their_own():
    item = listing(market_step=d("0.1"), market_min_qty=d("0.2"), market_max_qty=d(3))
    assert check_qty(item, d("0.001"), market=False) == d("0.001")
    for qty, code in (("0.001", -1111), ("0.1", -4004), ("3.1", -4005)):
        with refused(code):
            check_qty(item, d(qty), market=True)


def test_infinity_has_no_places():
    check_precision(Decimal("Infinity"), d("0.1"))


@pytest.mark.parametrize("client_id", ["a" * 37, "with space", "ünknown", "a\n"])
def test_a_malformed_client_id_is_refused(client_id):
    with refused(-4015):
        check_client_id(client_id)


def test_an_order_below_the_least_value_is_refused_unless_it_reduces():
    house = House()
    with refused(-4164):
        house.market(BUY, "0.049")
    house.market(BUY, "0.051")
    with refused(-4164):
        house.limit(SELL, "0.04", "101")
    assert house.market(SELL, "0.001", reduce_only=True).status == "FILLED"


def test_a_limit_far_beyond_the_mark_is_refused():
    house = House(listing(percent_up=d("1.05"), percent_down=d("0.95")))
    with refused(-4016):
        house.limit(BUY, 1, "105.01")
    with refused(-4024):
        house.limit(SELL, 1, "94.99")
    assert house.limit(BUY, 1, "90").status == "NEW"
    assert house.limit(SELL, 1, "120").status == "NEW"


def test_a_market_order_needs_a_counterparty_near_the_mark():
    house = House(listing(percent_up=d("1.05"), percent_down=d("0.95")))
    for bids, asks, side in (([(100, 1)], [], BUY), ([(100, 1)], [(106, 1)], BUY), ([(94, 1)], [(100, 1)], SELL)):
        with refused(-4131):
            house.book(bids, asks).market(side, 1)
    with refused(-4131):
        House(price=None).market(BUY, 1)


@pytest.mark.parametrize(
    ("ask", "code"),
    [
        (NewOrder("NOPE", BUY, OrderType.MARKET, d(1)), -1121),
        (NewOrder(BTC, BUY, OrderType.LIMIT, d(1)), -1102),
        (NewOrder(BTC, BUY, OrderType.MARKET, d(1), d(100)), -1106),
        (NewOrder(BTC, BUY, OrderType.LIQUIDATION, d(1)), -1116),
        (NewOrder(BTC, BUY, OrderType.LIMIT, d(1), d(99), TimeInForce.GTD), -1102),
    ],
)
def test_a_malformed_order_is_refused(ask, code):
    with refused(code):
        House().exchange.place(ask)


def test_good_till_must_lie_ten_minutes_ahead_and_counts_whole_seconds():
    house = House()
    now = house.clock.now_ms()
    with refused(-5040):
        house.limit(BUY, 1, 99, TimeInForce.GTD, good_till=now + 600_000)
    state = house.limit(BUY, 1, 99, TimeInForce.GTD, good_till=now + 700_999)
    assert state.good_till == (now + 700_999) // 1000 * 1000


def test_a_symbol_takes_only_so_many_orders():
    house = House(listing(max_orders=2))
    house.limit(BUY, 1, 90)
    house.limit(BUY, 1, 91)
    with refused(-2025):
        house.limit(BUY, 1, 92)
