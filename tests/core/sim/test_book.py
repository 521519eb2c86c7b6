"""Resting and finished orders."""

from decimal import Decimal

from core.sim import book
from core.sim.book import OrderStore
from core.types import OrderSide, OrderStatus, OrderType
from tests.core.sim.kit import BTC, ETH, order


def stop(client_id, symbol=BTC):
    return order(client_id, OrderSide.SELL, OrderType.STOP_MARKET, "1", "95", symbol=symbol)


def test_orders_are_listed_oldest_first_over_all_symbols():
    store = OrderStore()
    assert not store
    for made in (stop("a"), stop("b", ETH), stop("c")):
        store.add(made, 0, maker=False)
    assert store
    assert store.symbols == (BTC, ETH)
    assert [resting.order.client_id for resting in store.all()] == ["a", "b", "c"]
    assert [resting.order.client_id for resting in store.all(BTC)] == ["a", "c"]
    assert store.all("other") == []
    assert store.of(BTC, (OrderType.LIMIT,)) == []


def test_cancelling_what_is_gone_answers_with_its_final_status():
    store = OrderStore()
    store.add(stop("a"), 0, maker=False)
    store.add(stop("b"), 0, maker=False)
    assert store.cancel(BTC, "b", 4).status is OrderStatus.CANCELED
    store.finish(BTC, "a", OrderStatus.FILLED, 5, filled=Decimal(1))
    again = store.cancel(BTC, "a", 9)
    assert (again.status, again.filled, again.ts) == (OrderStatus.FILLED, 1, 5)
    unknown = store.cancel(BTC, "z", 9)
    assert (unknown.status, unknown.filled, unknown.message) == (OrderStatus.CANCELED, 0, "no such order")


def test_an_id_is_used_while_its_order_rests_and_a_while_after(monkeypatch):
    monkeypatch.setattr(book, "FINISHED_KEPT", 2)
    store = OrderStore()
    for client_id in "abc":
        store.add(stop(client_id), 0, maker=False)
        assert store.used(client_id)
        store.finish(BTC, client_id, OrderStatus.CANCELED, 1)
    assert [store.used(client_id) for client_id in "abcd"] == [False, True, True, False]


def test_a_store_comes_back_from_its_snapshot():
    store, again = OrderStore(), OrderStore()
    store.add(stop("a"), 7, maker=False)
    store.add(order("m", OrderSide.SELL, OrderType.MARKET, "1"), 8, maker=True)
    store.add(stop("b"), 9, maker=False)
    store.cancel(BTC, "b", 9)
    again.restore(store.snapshot())
    assert again.snapshot() == store.snapshot()
    assert [resting.order for resting in again.all()] == [resting.order for resting in store.all()]
    assert again.used("b")
