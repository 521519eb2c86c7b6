"""The venue's words in the house's, against recorded shapes of them."""

import json

import pytest

from core.types import OrderSide
from core.venues.binance_words import algo_order, forced, funding, plain_order, position, user_trade, words_of
from core.venues.words import BalanceSeen, FundingDue, OrderSeen, Standing, TradeSeen
from tests.core.exec.live.kit import D

NAMES = {name: f"{name.removesuffix('USDT')}/USDT:USDT" for name in ("BTCUSDT", "ETHUSDT", "DOGEUSDT", "BNBUSDT")}


def message(folder, name):
    return json.loads((folder / "fixtures" / name).read_text())


def words(folder, name):
    return words_of(message(folder, name), NAMES.get, "USDT")


@pytest.mark.parametrize(
    ("name", "standing", "child", "filled"),
    [
        ("triggering", Standing.TRIGGERING, "", "0"),
        ("triggered", Standing.TRIGGERED, "88937381063", "0"),
        ("finished", Standing.FINISHED, "88937381063", "38"),
        ("finished_canceled", Standing.FINISHED, "88937381064", "0"),
    ],
)
def test_conditional_orders_are_read_from_the_stream(shared_data, name, standing, child, filled):
    (seen,) = words(shared_data, f"nautilus_py/ws/ws_futures_algo_update_{name}.json")
    assert (seen.symbol, seen.side, seen.algo, seen.stop) == ("DOGE/USDT:USDT", OrderSide.BUY, True, True)
    assert (seen.standing, seen.child_id, seen.filled, seen.price) == (standing, child, D(filled), D("0.13855"))


@pytest.mark.parametrize(
    ("name", "client_id", "qty"),
    [
        ("ws_futures_order_update_liquidation", "autoclose-1234567890123456", "0.100"),
        ("ws_futures_order_update_adl", "adl_autoclose", "1.000"),
        ("ws_futures_order_update_adl_filled", "adl_autoclose-123", "1.000"),
    ],
)
def test_the_venues_own_orders_are_fills_that_were_forced(shared_data, name, client_id, qty):
    trade, seen = words(shared_data, f"nautilus_py/ws/{name}.json")
    assert isinstance(trade, TradeSeen)
    assert (trade.client_id, trade.qty, trade.forced) == (client_id, D(qty), True)
    assert forced(client_id)
    assert isinstance(seen, OrderSeen)
    assert seen.standing is Standing.FILLED


def test_a_liquidation_of_nothing_is_no_fill(shared_data):
    (seen,) = words(shared_data, "nautilus_py/ws/ws_futures_order_update_liquidation_zero_qty.json")
    assert seen.filled == 0


def test_every_recorded_event_of_the_account_can_be_read(shared_data):
    for name in (
        "order_update_new",
        "order_update_trade",
        "order_update_trade_partial",
        "account_update",
        "trade_lite",
        "algo_update_new",
    ):
        raw = message(shared_data, f"nautilus_rust/user_stream/{name}.json")
        found = words_of(raw, lambda _: "X/USDT:USDT", "USDT")
        assert bool(found) == (name != "trade_lite"), name


def test_balances_and_funding_are_read_from_account_events(shared_data):
    sample = message(shared_data, "binance_net/subscriptions/AccountUpdate.json")["exchange"][2]["msg"]
    assert words_of(sample, NAMES.get, "USDT") == (BalanceSeen(1_564_745_798_939, D("122624.12345678")),)
    sample["data"]["a"]["m"] = "FUNDING_FEE"
    assert words_of(sample, NAMES.get, "BUSD")[1] == FundingDue(1_564_745_798_939)


def test_what_is_no_word_of_the_account_and_no_symbol_of_ours_says_nothing(shared_data):
    for raw in (
        "text",
        [1],
        {},
        {"e": "kline"},
        {"e": "ORDER_TRADE_UPDATE", "o": {"s": "XUSDT"}},
        {"e": "ALGO_UPDATE", "o": {"s": "X"}},
    ):
        assert words_of(raw, NAMES.get, "USDT") == ()


def test_answers_are_read(shared_data):
    def answer(name):
        return message(shared_data, f"binance_net/endpoints/{name}.json")["response"]

    order = plain_order(answer("Trading/GetOrder"), "BTC/USDT:USDT")
    assert (order.client_id, order.venue_id, order.standing, order.price, order.qty) == (
        "abc",
        "1917641",
        Standing.LIVE,
        None,
        D("0.40"),
    )
    algo = algo_order(answer("Trading/GetConditionalOrder"), "BTC/USDT:USDT")
    assert (algo.venue_id, algo.child_id, algo.standing, algo.filled) == (
        "1000001270850379",
        "974828356187",
        Standing.FINISHED,
        D("0.002"),
    )
    assert (algo.price, algo.reduce_only, algo.close_position, algo.stop) == (D("69080.20"), True, False, True)
    assert not algo_order(answer("Trading/GetOpenConditionalOrders")[0], "BTC/USDT:USDT").stop  # a take-profit
    trade = user_trade(answer("Trading/GetUserTrades")[0], "BTC/USDT:USDT")
    assert (trade.trade_id, trade.venue_id, trade.client_id, trade.side) == (698759, "25851813", "", OrderSide.SELL)
    held = position(answer("Trading/GetPositions")[0], "BTC/USDT:USDT")
    assert (held.qty, held.entry, held.liquidation) == (D("0.001"), D("22185.2"), D("19731.45529116"))
    assert position(answer("Trading/GetPositions")[1], "BTC/USDT:USDT").liquidation is None
    paid = funding(answer("Account/GetIncomeHistory")[1], "BTC/USDT:USDT")
    assert (paid.id, paid.amount, paid.ts) == ("9689322392", D("-0.01000000"), 1_570_636_800_000)
