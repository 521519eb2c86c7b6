"""Amending, cancelling and expiring (exchange.md 1.1, 1.4)."""

import pytest

from core.sim.local.values import ExecutionType, OrderEvent, TimeInForce
from tests.core.sim.local.kit import BTC, BUY, ETH, SELL, House, d, refused

BIDS, ASKS = [(99, 4)], [(101, 1), (102, 5)]


def amend(house, order, qty, price, **more):
    return house.exchange.amend(BTC, more.pop("side", order.side), d(qty), d(price), order_id=order.order_id, **more)


def test_an_amended_order_keeps_its_id_and_says_so():
    house = House()
    order = house.limit(BUY, 1, 90, client_id="a")
    house.heard()
    state = house.exchange.amend(BTC, BUY, d(2), d(91), client_id="a")
    assert (state.order_id, state.qty, state.price, state.status) == (order.order_id, 2, 91, "NEW")
    (word,) = house.heard()
    assert word.execution is ExecutionType.AMENDMENT


@pytest.mark.parametrize(
    ("qty", "price", "code"), [(1, 90, -5027), (1, "90.001", -1111), (0, 90, -4003), ("0.01", 90, -4164), (900, 90, -2027)]
)
def test_an_amendment_that_cannot_be_leaves_the_order_as_it_is(qty, price, code):
    house = House()
    order = house.limit(BUY, 1, 90)
    with refused(code):
        amend(house, order, qty, price)
    assert house.exchange.open_orders() == (order,)


def test_only_the_order_itself_can_be_amended():
    house = House()
    order = house.limit(BUY, 1, 90)
    with refused(-1117):
        amend(house, order, 2, 90, side=SELL)
    house.exchange.cancel(BTC, order_id=order.order_id)
    with refused(-2013):
        amend(house, order, 2, 90)


def test_margin_is_judged_without_what_the_order_bound_before():
    house = House(wallet="100")
    order = house.limit(BUY, 20, 99)
    assert amend(house, order, 20, "99.5").status == "NEW"
    with refused(-2019):
        amend(house, order, 21, "99.5")


def test_an_amended_price_may_take_at_once():
    house = House().book(BIDS, ASKS)
    order = house.limit(BUY, 2, 98)
    state = amend(house, order, 2, 101)
    assert (state.status, state.filled, state.average) == ("PARTIALLY_FILLED", 1, 101)
    assert amend(house, order, 3, 102).status == "FILLED"


def test_a_post_only_order_amended_into_the_market_is_cancelled():
    house = House()
    order = house.limit(BUY, 1, 90, TimeInForce.GTX)
    assert amend(house, order, 1, 91).status == "NEW"
    assert amend(house, order, 1, "100.01").status == "CANCELED"


def test_less_than_has_filled_cancels_the_order():
    house = House().book(BIDS, ASKS)
    order = house.limit(BUY, 3, 101)
    assert amend(house, order, 1, 101).status == "CANCELED"


def test_less_quantity_keeps_the_place_in_the_queue_and_all_else_loses_it():
    house = House().book(BIDS, ASKS)
    order = house.limit(BUY, 3, 99)
    house.print(99, 4, SELL)
    amend(house, order, 2, 99)
    house.print(99, 1, SELL)
    assert house.position().qty == 1
    amend(house, order, 4, 99)
    house.print(99, 4, SELL)
    assert house.position().qty == 1
    house.print(99, 1, SELL)
    assert house.position().qty == 2


def test_a_reduce_only_order_is_amended_without_a_least_value():
    house = House()
    house.market(BUY, 1)
    order = house.limit(SELL, 1, 110, reduce_only=True)
    assert amend(house, order, "0.01", 110).qty == d("0.01")


def test_cancelling_ends_an_order_once():
    house = House()
    order = house.limit(BUY, 1, 90)
    house.heard()
    assert house.exchange.cancel(BTC, order_id=order.order_id).status == "CANCELED"
    assert house.heard()[0].execution is ExecutionType.CANCELED
    with refused(-2011):
        house.exchange.cancel(BTC, order_id=order.order_id)
    with refused(-1121):
        house.exchange.cancel("NOPE", order_id=order.order_id)


def test_cancelling_all_touches_plain_orders_of_the_symbol_only():
    """Conditional orders stay: exchange.md 1.3."""
    house = House()
    house.market(BUY, 1)
    house.limit(BUY, 1, 90)
    house.limit(BUY, 1, 91)
    other = house.limit(BUY, 1, 90, symbol=ETH)
    stop = house.stop(SELL, 1, 90)
    house.exchange.cancel_all(BTC)
    assert house.exchange.open_orders() == (other,)
    assert house.exchange.open_algos() == (stop,)
    house.exchange.cancel_all_algos(BTC)
    assert house.exchange.open_algos(BTC) == ()
    assert house.exchange.algo(algo_id=stop.algo_id).status == "CANCELED"


def test_orders_with_a_last_day_expire_on_it():
    house = House()
    until = house.clock.now_ms() // 1000 * 1000 + 700_000
    order = house.limit(BUY, 1, 90, TimeInForce.GTD, good_till=until)
    house.market(BUY, 1)
    stop = house.stop(SELL, 1, 90, time_in_force=TimeInForce.GTD, good_till=until)
    forever = house.stop(SELL, 1, 89)
    house.exchange.on_time(until - 1)
    assert len(house.exchange.open_orders()) == 1
    house.heard()
    house.exchange.on_time(until)
    assert house.exchange.order(BTC, order_id=order.order_id).status == "EXPIRED"
    assert house.exchange.algo(algo_id=stop.algo_id).status == "EXPIRED"
    assert house.exchange.open_algos() == (forever,)
    assert house.heard(OrderEvent)[0].execution is ExecutionType.EXPIRED
