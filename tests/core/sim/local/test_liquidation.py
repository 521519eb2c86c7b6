"""Positions that the venue ends by force, and its warning before. At 100 a buyer pays 100.01; tick 0.01."""

import pytest

from core.sim.local.values import AlgoType, ExecutionType, MarginCall, MarginType, OrderEvent
from tests.core.sim.local.kit import BTC, BUY, ETH, SELL, House, d


def isolated() -> House:
    """Ten at 100.01 on 100.01 of margin: liquidated below 90.918..., bankrupt at 90.009; the wallet without it is 899.48995."""
    house = House()
    house.exchange.set_leverage(BTC, 10)
    house.exchange.set_margin_type(BTC, MarginType.ISOLATED)
    house.market(BUY, 10)
    return house


def crossed() -> House:
    """Ten at 100.01 on a wallet of 100, less 0.50005 of fee: liquidated below 90.9697."""
    house = House(wallet="100")
    house.market(BUY, 10)
    return house


def test_what_another_cross_position_must_keep_backs_this_one_no_more():
    """Five of each at 100.01 on 100, less 2 x 0.250025 of fees: what backs one is 99.49995 - 0.05 - 5 = 94.44995.

    94.44995 + 5 x (mark - 100.01) = 5 x mark / 100 at 405.60005 / 4.95 = 81.9394; without the 5 it would be 80.93.
    """
    house = House(wallet="100")
    house.market(BUY, 5)
    house.market(BUY, 5, symbol=ETH)
    assert house.position().liquidation_price == pytest.approx(d("405.60005") / d("4.95"))
    house.mark("81.94")
    assert (house.position().qty, house.position(ETH).qty) == (5, 5)
    house.mark("81.93")
    assert (house.position().qty, house.position(ETH).qty) == (0, 0)  # cross positions end together


def kinds(house) -> dict:
    return {row.kind: row.amount for row in house.exchange.income()}


def test_a_position_is_closed_at_market_when_the_mark_reaches_its_price():
    house = isolated()
    house.limit(BUY, 1, 50)
    house.stop(SELL, 10, 60)
    house.print("90.92")
    assert house.position().qty == 10
    house.heard()
    house.print("90.90")
    events = [word for word in house.heard(OrderEvent) if word.order.type == "LIQUIDATION"]
    assert [(word.execution, word.order.status) for word in events] == [
        (ExecutionType.CALCULATED, "NEW"),
        (ExecutionType.CALCULATED, "FILLED"),
    ]
    assert events[0].order.client_id.startswith("autoclose-")
    # 90.9 less 1 bp; (90.89 - 100.01) x 10 is lost, then the fee, and the fine takes what is left of 100.01
    assert events[1].trade.price == d("90.89")
    assert kinds(house)["REALIZED_PNL"] == d("-91.2")
    assert kinds(house)["INSURANCE_CLEAR"] == -(d("100.01") - d("91.2") - d("0.45445"))
    assert house.wallet == d("899.48995")
    assert house.exchange.open_orders() == house.exchange.open_algos() == ()
    assert house.exchange.all_algos(BTC)[0].status == "CANCELED"


def test_a_liquidation_costs_its_fine_only():
    house = isolated()
    house.mark("90.90")
    # the last price is still 100: closed with little loss, then one per cent of the value as fine
    value = d("999.9")
    assert kinds(house)["INSURANCE_CLEAR"] == -value / 100


def test_a_sweep_liquidates_at_the_price_on_its_way():
    house = isolated()
    assert house.sweep(80) == 1
    # 90.918 is 90.91 on the way down, less 1 bp
    assert house.exchange.trades(BTC)[-1].price == d("90.90")


def test_an_isolated_position_loses_no_more_than_its_margin():
    house = isolated()
    house.print(50)
    trade = house.exchange.trades(BTC)[-1]
    assert (trade.price, trade.fee) == (d("90.01"), d("0.01"))
    assert house.wallet == d("899.48995")


def test_a_short_is_liquidated_upwards():
    house = House(wallet="100")
    house.market(SELL, 10)
    house.print(200)
    assert house.position().qty == 0
    assert house.wallet == 0


def test_a_cross_account_loses_all_its_cross_positions_and_never_more_than_it_has():
    house = crossed()
    house.market(SELL, "0.1", symbol=ETH)
    house.print("90.9")
    assert [state.qty for state in house.exchange.positions()] == [0, 0]
    assert 0 <= house.wallet < d("0.1")


def test_an_isolated_position_stays_when_the_cross_ones_go():
    house = House(wallet="200")
    house.exchange.set_margin_type(ETH, MarginType.ISOLATED)
    house.market(BUY, 20, symbol=ETH)
    house.market(BUY, 10)
    house.print(80)
    assert [state.qty for state in house.exchange.positions()] == [0, 20]


def test_the_insurance_fund_takes_what_no_level_takes():
    house = isolated()
    house.book([(95, 4)], [(101, 5)])
    house.mark("90.90")
    prices = [(trade.price, trade.qty) for trade in house.exchange.trades(BTC)][1:]
    assert prices == [(95, 4), (d("90.01"), 6)]


def test_a_closing_stop_ends_with_a_liquidated_position():
    house = crossed()
    stop = house.algo(SELL, AlgoType.STOP_MARKET, None, 60, close_position=True)
    house.print(85)
    assert house.exchange.algo(algo_id=stop.algo_id).status == "CANCELED"


def test_the_venue_warns_once_until_all_is_well_again():
    # maintenance is a tenth of the price; it is 80 % of the balance at 91.2
    house = crossed()
    house.print("91.3")
    assert house.heard(MarginCall) == []
    house.print("91.2").print("91.1").mark("91.15")
    (call,) = house.heard(MarginCall)
    assert [state.symbol for state in call.positions] == [BTC]
    house.mark(95).mark("91.2")
    assert len(house.heard(MarginCall)) == 1


def test_isolated_positions_are_warned_of_each():
    house = isolated()
    assert house.sweep("91.1") == 0
    (call,) = house.heard(MarginCall)
    assert call.positions[0].isolated_wallet == d("100.01")
