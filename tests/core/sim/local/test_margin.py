"""Money: profit, fees, funding, isolated and cross margin, leverage, brackets. At 100 a buyer pays 100.01."""

import pytest

from core.sim.local.brackets import bracket_of, liquidation_price, maintenance, max_leverage, max_notional
from core.sim.local.values import AccountEvent, Bracket, ConfigEvent, MarginType
from tests.core.sim.local.kit import BTC, BUY, ETH, SELL, House, d, listing, refused

ISOLATED, CROSSED = MarginType.ISOLATED, MarginType.CROSSED


def isolated(leverage: int = 10, **more) -> House:
    house = House(**more)
    house.exchange.set_leverage(BTC, leverage)
    house.exchange.set_margin_type(BTC, ISOLATED)
    return house


# --- positions ----------------------------------------------------------------------------------------------


def test_adding_averages_and_closing_realises_against_the_average():
    house = House()
    house.market(BUY, 1)
    house.print(110).market(BUY, 3)
    # (100.01 + 3 x 110.02) / 4, since 110 and 1 bp is 110.011, rounded up
    assert house.position().entry_price == d("107.5175")
    house.print(120).market(SELL, 2)
    # sold at 119.988, rounded down to 119.98
    assert house.exchange.trades(BTC)[-1].realised == d("24.925")
    assert house.position().realised == d("24.925")
    assert house.position().entry_price == d("107.5175")


def test_turning_closes_the_old_position_and_opens_the_new_at_the_price():
    house = House()
    house.market(BUY, 1)
    house.market(SELL, 3)
    assert (house.position().qty, house.position().entry_price) == (-2, d("99.99"))
    assert house.exchange.trades(BTC)[-1].realised == d("-0.02")
    house.market(BUY, 1)
    assert house.exchange.trades(BTC)[-1].realised == d("-0.02")
    assert house.exchange.position_sign(BTC) == -1


def test_the_wallet_moves_by_profit_and_fees_only():
    house = House()
    house.market(BUY, 1)
    assert house.wallet == d(1000) - d("0.050005")
    house.print(110).market(SELL, 1)
    assert house.wallet == d(1000) - d("0.050005") + d("9.97") - d("0.05499")
    assert house.exchange.position_sign(BTC) == 0


def test_break_even_covers_what_was_paid_since_the_position_began():
    house = House()
    assert house.position().break_even_price == 0
    house.market(BUY, 1)
    assert house.position().break_even_price == d("100.01") + d("0.050005")
    house.market(SELL, 1)
    house.market(SELL, 1)
    # the short began at 99.99 and paid 0.049995
    assert house.position().break_even_price == d("99.99") - d("0.049995")


def test_the_account_adds_up():
    house = House()
    house.market(BUY, 1)
    house.market(SELL, 2, symbol=ETH)
    house.print(104).print(101, symbol=ETH)
    account = house.exchange.account()
    assert account.unrealised == d("3.99") - d("2.02")
    assert account.margin_balance == account.wallet + account.unrealised
    assert account.initial_margin == account.position_initial_margin == (d(104) + d(202)) / 20
    assert account.maintenance_margin == d("1.04") + d("2.02")
    assert account.available == account.wallet + account.unrealised - account.initial_margin
    assert [state.qty for state in house.exchange.positions()] == [1, -2]


# --- isolated -----------------------------------------------------------------------------------------------


def test_an_isolated_position_sets_its_margin_aside():
    house = isolated()
    house.market(BUY, 10)
    state, account = house.position(), house.exchange.account()
    assert state.isolated_wallet == d("100.01")
    assert state.isolated_margin == d("100.01") - d("0.1")
    assert account.cross_wallet == account.wallet - d("100.01")
    assert account.available == account.cross_wallet
    # 100.01 x (1 - 1/10) / (1 - 0.01)
    assert state.liquidation_price == pytest.approx(d("90.9181818181818"))


def test_closing_gives_the_margin_back_in_proportion():
    house = isolated()
    house.market(BUY, 10)
    house.market(SELL, 4)
    assert house.position().isolated_wallet == d("60.006")
    house.market(SELL, 6)
    assert house.position().isolated_wallet == 0
    assert house.exchange.account().cross_wallet == house.wallet


def test_the_loss_of_an_isolated_position_binds_no_other_money():
    house = isolated()
    house.market(BUY, 10)
    free = house.exchange.account().available
    house.print(95)
    assert house.exchange.account().available == free


# --- funding ------------------------------------------------------------------------------------------------


def test_longs_pay_a_positive_rate_and_shorts_receive_it():
    house = House()
    house.market(BUY, 1)
    house.market(SELL, 2, symbol=ETH)
    before = house.wallet
    house.later(1).heard()
    house.fund("0.001", 100)
    (word,) = house.heard()
    assert (word.reason, word.change, word.positions) == ("FUNDING_FEE", d("-0.1"), ())
    assert house.wallet == before - d("0.1")
    house.fund("0.001", 0, symbol=ETH)
    # no mark was told with it: the present one holds
    assert house.wallet == before - d("0.1") + d("0.2")
    assert [row.amount for row in house.exchange.income(kind="FUNDING_FEE")] == [d("-0.1"), d("0.2")]


def test_isolated_funding_comes_from_the_margin_set_aside():
    house = isolated()
    house.market(BUY, 10)
    house.later(1).heard()
    house.fund("0.001", 100)
    (word,) = house.heard(AccountEvent)
    assert word.positions[0].isolated_wallet == d("100.01") - 1


def test_funding_is_paid_once_and_only_on_what_was_held_before():
    house = House()
    house.later(1).fund("0.001")
    house.market(BUY, 1)
    before = house.wallet
    house.fund("0.001")
    assert house.wallet == before
    house.later(1).fund("0.001").fund("0.001")
    assert house.wallet == before - d("0.1")


# --- settings -----------------------------------------------------------------------------------------------


def test_leverage_changes_are_told_once():
    house = House()
    house.heard()
    config = house.exchange.set_leverage(BTC, 10)
    assert (config.leverage, config.margin_type, config.max_notional) == (10, CROSSED, 100_000)
    assert house.exchange.set_leverage(BTC, 10) == config == house.exchange.symbol_config(BTC)
    assert house.heard() == [ConfigEvent(house.clock.now_ms(), BTC, 10)]
    for leverage in (0, 51):
        with refused(-4028):
            house.exchange.set_leverage(BTC, leverage)


def test_leverage_can_not_be_what_position_and_margin_do_not_allow():
    house = House(wallet="2000")
    house.exchange.set_leverage(BTC, 10)
    house.market(BUY, 98)
    with refused(-2028):
        house.exchange.set_leverage(BTC, 4)
    assert house.exchange.symbol_config(BTC).leverage == 10
    house.limit(BUY, 3, 100)
    with refused(-2027):
        house.exchange.set_leverage(BTC, 50)
    house.market(SELL, 90)
    assert house.exchange.set_leverage(BTC, 5).leverage == 5
    assert house.exchange.set_leverage(BTC, 10).leverage == 10


def test_leverage_of_an_isolated_position_only_rises():
    house = isolated()
    house.market(BUY, 1)
    with refused(-4161):
        house.exchange.set_leverage(BTC, 5)
    assert house.exchange.set_leverage(BTC, 20).leverage == 20
    house.market(SELL, 1)
    assert house.exchange.set_leverage(BTC, 5).leverage == 5


def test_margin_type_changes_only_where_nothing_is_open():
    house = House()
    with refused(-4046):
        house.exchange.set_margin_type(BTC, CROSSED)
    order = house.limit(BUY, 1, 90)
    with refused(-4047):
        house.exchange.set_margin_type(BTC, ISOLATED)
    house.exchange.cancel(BTC, order_id=order.order_id)
    house.market(BUY, 1)
    with refused(-4048):
        house.exchange.set_margin_type(BTC, ISOLATED)
    house.stop(SELL, 1, 90)
    with refused(-4047):
        house.exchange.set_margin_type(BTC, ISOLATED)
    house.heard()
    house.exchange.set_margin_type(ETH, ISOLATED)
    (word,) = house.heard()
    assert (word.reason, word.positions[0].margin_type) == ("MARGIN_TYPE_CHANGE", "ISOLATED")


def test_position_mode_changes_only_where_nothing_is_open():
    house = House()
    with refused(-4059):
        house.exchange.set_dual_side(False)
    order = house.limit(BUY, 1, 90)
    with refused(-4067):
        house.exchange.set_dual_side(True)
    house.exchange.cancel(BTC, order_id=order.order_id)
    house.market(BUY, 1)
    with refused(-4068):
        house.exchange.set_dual_side(True)
    house.market(SELL, 1)
    house.exchange.set_dual_side(True)
    assert house.exchange.dual_side
    assert house.exchange.account().dual_side


def test_money_comes_and_goes_as_far_as_it_is_free():
    house = House()
    house.heard()
    house.exchange.transfer(d(50))
    house.exchange.transfer(d(-1050))
    assert house.wallet == 0
    assert [(word.reason, word.change) for word in house.heard()] == [("DEPOSIT", 50), ("WITHDRAW", -1050)]
    with refused(-2018):
        house.exchange.transfer(d(-1))
    assert [row.kind for row in house.exchange.income()] == ["TRANSFER", "TRANSFER"]


# --- brackets -----------------------------------------------------------------------------------------------


def test_brackets_bound_leverage_and_margin():
    item = listing()
    assert max_leverage(item) == 50
    assert [max_notional(item, leverage) for leverage in (50, 11, 10, 1, 51)] == [10_000, 10_000, 100_000, 100_000, 0]
    assert [bracket_of(item, d(value)).number for value in (0, 9_999, 10_000, 10**9)] == [1, 1, 2, 2]
    # the sum has no step at the border: 10,000 x 5 % - 400 = 100 = 10,000 x 1 %
    assert maintenance(item, d(10_000)) == 100
    assert maintenance(item, d(20_000)) == 600


@pytest.mark.parametrize(("qty", "backing"), [(150, 600), (-150, 600), (90, 100), (-90, 100), (2_000, 30_000), (-2_000, 30_000)])
def test_at_the_liquidation_price_just_the_maintenance_is_left(qty, backing):
    item = listing()
    price = liquidation_price(item, d(qty), d(100), d(backing))
    left = d(backing) + d(qty) * (price - 100)
    assert left == pytest.approx(maintenance(item, abs(d(qty)) * price))


def test_there_may_be_no_liquidation_price_or_every_price_may_be_one():
    item = listing(brackets=(Bracket(1, 50, d(0), d(10_000), d("0.01"), d(0)),))
    assert liquidation_price(item, d(1), d(100), d(500)) == 0
    assert liquidation_price(item, d(-1), d(100), d(-500)) == item.tick
    assert liquidation_price(item, d(-1_000), d(100), d(0)) == pytest.approx(d("99.0099009900990"))
