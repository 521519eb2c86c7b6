"""The front of the local exchange: queries, memory, and a state that survives."""

import json

import pytest

from core.errors import StateError
from core.sim.local.values import AlgoType, MarginType
from tests.core.sim.local.kit import BTC, BUY, ETH, SELL, House, d, listing, refused


def busy() -> House:
    """Everything that a state can hold, with words that nobody has fetched."""
    house = House(wallet="5000")
    house.exchange.set_margin_type(ETH, MarginType.ISOLATED)
    house.book([(99, 4)], [(101, 1), (102, 5)])
    house.market(BUY, 2)
    house.limit(BUY, 1, 99)
    house.market(SELL, 1, symbol=ETH)
    house.stop(SELL, 1, 90)
    house.algo(SELL, AlgoType.TRAILING_STOP_MARKET, 1, callback_rate=d(1), activate_price=d(110))
    house.later(10).mark("100.5").fund("0.001")
    house.print(99, 1, SELL)
    house.exchange.stall_triggers(True)
    house.print(89, symbol=ETH)
    return house


def test_a_restored_exchange_is_the_same_to_the_last_bit():
    house = busy()
    twin = house.twin()
    assert json.dumps(twin.exchange.snapshot()) == json.dumps(house.exchange.snapshot())
    for one in (house, twin):
        one.print(90, 5, SELL)
        one.exchange.stall_triggers(False)
        one.market(SELL, 1)
    assert twin.heard() == house.heard()
    assert json.dumps(twin.exchange.snapshot()) == json.dumps(house.exchange.snapshot())


def test_a_snapshot_of_other_symbols_is_refused():
    with pytest.raises(StateError):
        House(listing("XRPUSDT")).exchange.restore(House().exchange.snapshot())


def test_words_are_handed_over_once():
    house = House()
    house.market(BUY, 1)
    assert len(house.exchange.drain_words()) == 3
    assert house.exchange.drain_words() == ()


def test_lists_begin_at_an_id_or_a_time_or_end_with_the_latest():
    house = House()
    orders = [house.later(10).market(BUY, 1) for _ in range(4)]
    start = orders[1].created
    ask = house.exchange.all_orders
    assert list(ask(BTC, limit=2)) == orders[2:]
    assert list(ask(BTC, start=start, limit=2)) == orders[1:3]
    assert list(ask(BTC, from_id=orders[1].order_id, end=start)) == orders[1:2]
    assert list(ask(BTC, end=start)) == orders[:2]
    assert ask(ETH) == ()
    trades = house.exchange.trades(BTC, from_id=3)
    assert [trade.order_id for trade in trades] == [order.order_id for order in orders[2:]]
    assert [row.kind for row in house.exchange.income(BTC, kind="COMMISSION", start=start, limit=2)] == ["COMMISSION"] * 2
    assert house.exchange.income(ETH) == ()
    assert len(house.exchange.income(limit=3)) == 3


def test_an_order_is_found_by_the_venues_id_first():
    house = House()
    first, second = house.limit(BUY, 1, 90, client_id="a"), house.limit(BUY, 1, 91, client_id="b")
    assert house.exchange.order(BTC, order_id=first.order_id, client_id="b") == first
    assert house.exchange.order(BTC, client_id="b") == second
    assert house.exchange.open_orders(ETH) == ()
    with refused(-2013):
        house.exchange.order(ETH, order_id=first.order_id)
    with refused(-2013):
        house.exchange.order(BTC, client_id="c")


def test_only_the_latest_finished_orders_are_remembered(monkeypatch):
    monkeypatch.setattr("core.sim.local.orders.FINISHED_KEPT", 2)
    house = House()
    orders = [house.market(BUY, 1) for _ in range(3)]
    with refused(-2013):
        house.exchange.order(BTC, order_id=orders[0].order_id)
    assert list(house.exchange.all_orders(BTC)) == orders[1:]


@pytest.mark.parametrize(
    "ask",
    [
        lambda e: e.order("NOPE", order_id=1),
        lambda e: e.all_orders("NOPE"),
        lambda e: e.all_algos("NOPE"),
        lambda e: e.trades("NOPE"),
        lambda e: e.positions("NOPE"),
        lambda e: e.position_sign("NOPE"),
        lambda e: e.symbol_config("NOPE"),
        lambda e: e.last_price("NOPE"),
        lambda e: e.mark_price("NOPE"),
        lambda e: e.set_leverage("NOPE", 1),
        lambda e: e.cancel_all("NOPE"),
        lambda e: e.cancel_all_algos("NOPE"),
        lambda e: e.amend("NOPE", BUY, d(1), d(1), order_id=1),
    ],
)
def test_an_unknown_symbol_is_refused_everywhere(ask):
    with refused(-1121):
        ask(House().exchange)


def test_what_is_listed_can_be_asked():
    assert list(House().exchange.listings) == [BTC, ETH]
