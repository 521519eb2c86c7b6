"""Plain orders: what trades at once, what rests, what is refused. At 100 a buyer pays 100.01, a seller gets 99.99."""

import pytest

from core.sim.local.values import (
    AccountEvent,
    ExecutionType,
    OrderEvent,
    OrderStatus,
    TimeInForce,
)
from tests.core.sim.local.kit import BUY, ETH, SELL, House, d, listing, refused

IOC, FOK, GTX = TimeInForce.IOC, TimeInForce.FOK, TimeInForce.GTX
BIDS, ASKS = [(99, 1), (98, 5)], [(101, 1), (102, 5)]


def test_a_market_order_fills_at_the_modelled_price_and_says_so_in_the_venues_order():
    house = House()
    house.heard()
    state = house.market(BUY, 2, client_id="mine")
    assert (state.status, state.average, state.cum_quote, state.origin) == ("FILLED", d("100.01"), d("200.02"), "MARKET")
    new, account, trade = house.heard()
    assert (type(new), new.execution, new.order.status) == (OrderEvent, ExecutionType.NEW, "NEW")
    assert (type(account), account.reason, account.positions[0].qty) == (AccountEvent, "ORDER", 2)
    assert (trade.execution, trade.trade.price, trade.trade.fee, trade.trade.maker) == ("TRADE", d("100.01"), d("0.10001"), False)
    assert account.account.wallet == d(1000) - d("0.10001")


def test_depth_costs_as_the_model_says():
    # 100 USD into 10,000 USD within 10 bps: 5 bps x 0.01, and half of 2 bps; 100.0105 is rounded up to 100.02
    from core.sim.local.values import Liquidity

    house = House(liquidity={"BTCUSDT": Liquidity(2.0, 10_000.0)})
    assert house.market(BUY, 1).average == d("100.02")


def test_an_immediate_limit_trades_within_its_cap_or_expires():
    house = House()
    assert house.limit(BUY, 1, "100.01", IOC).status == "FILLED"
    gone = house.limit(BUY, 1, "100", IOC)
    assert (gone.status, gone.filled) == ("EXPIRED", 0)
    assert house.limit(BUY, 1, "101").average == d("100.01")


def test_nothing_trades_with_a_limit_in_a_bar_without_volume():
    """X44."""
    house = House()
    house.sweep("100", 0)
    assert house.limit(BUY, 1, "101", IOC).status == "EXPIRED"
    assert house.limit(BUY, 1, "101").status == "NEW"
    assert house.market(BUY, 1).status == "FILLED"


def test_fill_or_kill_takes_all_or_nothing():
    house = House().book(BIDS, ASKS)
    with refused(-5021):
        house.limit(BUY, 2, "101", FOK)
    assert house.limit(BUY, 2, "102", FOK).average == d("101.5")
    assert len(house.exchange.all_orders("BTCUSDT")) == 1


def test_post_only_is_refused_where_it_would_take():
    house = House()
    with refused(-5022):
        house.limit(BUY, 1, "100.01", GTX)
    assert house.limit(BUY, 1, "100", GTX).status == "NEW"
    house.book([], ASKS)
    assert house.limit(SELL, 1, "50", GTX).status == "NEW"
    with refused(-5022):
        house.limit(BUY, 1, "101", GTX)


def test_a_taker_walks_real_levels_and_what_it_took_is_gone_until_the_level_changes():
    house = House().book(BIDS, ASKS)
    assert house.market(BUY, 3).average == (d(101) + 2 * d(102)) / 3
    assert house.market(BUY, 1).average == 102
    house.book(BIDS, [(101, 1), (102, 4)])
    assert house.market(BUY, 1).average == 102
    assert house.book(BIDS, [(101, 2), (102, 4)]).market(BUY, 2).average == 101


def test_a_level_that_is_shown_with_another_size_is_there_as_a_whole():
    house = House(wallet="10000").book(BIDS, [(101, 5), (102, 50)])
    assert house.market(BUY, 3).average == 101
    assert house.book(BIDS, [(101, 8), (102, 50)]).market(BUY, 8).average == 101
    # the same size again: nobody has come
    assert house.book(BIDS, [(101, 8), (102, 50)]).market(BUY, 1).average == 102
    house.market(SELL, 12)
    # less than was taken from it before
    assert house.book(BIDS, [(101, 2), (102, 50)]).market(BUY, 2).average == 101


def test_a_limit_takes_what_it_may_and_rests_with_the_rest():
    house = House().book(BIDS, ASKS)
    state = house.limit(BUY, 3, "101")
    assert (state.status, state.filled) == ("PARTIALLY_FILLED", 1)
    ended = house.limit(SELL, 3, "99", IOC)
    assert (ended.status, ended.filled) == ("EXPIRED", 1)


def test_a_limit_can_meet_real_levels_before_the_first_trade():
    house = House(price=None).book(BIDS, ASKS)
    assert house.limit(BUY, 1, "101").status == "FILLED"


def test_a_market_order_goes_no_further_than_the_take_bound():
    house = House().book(BIDS, [(101, 1), ("105.01", 9)])
    state = house.market(BUY, 2)
    assert (state.status, state.filled) == ("EXPIRED", 1)


def test_a_reduce_only_order_is_cut_to_the_position_and_never_turns_it():
    house = House()
    with refused(-2022):
        house.market(SELL, 1, reduce_only=True)
    house.market(BUY, 1)
    with refused(-2022):
        house.market(BUY, 1, reduce_only=True)
    state = house.market(SELL, 3, reduce_only=True)
    assert (state.status, state.filled) == ("EXPIRED", 1)
    assert house.position().qty == 0


def test_resting_reduce_only_orders_end_with_the_position():
    house = House()
    house.market(BUY, 1)
    kept = house.limit(BUY, 1, 90)
    take = house.limit(SELL, 1, 110, reduce_only=True)
    house.market(SELL, 1)
    assert house.exchange.order("BTCUSDT", order_id=take.order_id).status == "EXPIRED"
    assert house.exchange.open_orders() == (kept,)


def test_an_open_client_id_is_refused_and_a_finished_one_may_be_used_again():
    """exchange.md 2.1: a market order that filled frees its id."""
    house = House()
    first = house.limit(BUY, 1, 90, client_id="a")
    with refused(-4116):
        house.market(BUY, 1, client_id="a")
    house.exchange.cancel("BTCUSDT", client_id="a")
    second = house.market(BUY, 1, client_id="a")
    third = house.market(BUY, 1, client_id="a")
    assert first.order_id < second.order_id < third.order_id
    assert house.exchange.order("BTCUSDT", client_id="a") == third


def test_the_venue_makes_up_ids_that_depend_on_the_seed_only():
    ids = [House(seed=seed).market(BUY, 1).client_id for seed in (1, 1, 2)]
    assert ids[0] == ids[1] != ids[2]


def test_an_order_beyond_the_free_margin_is_refused_and_changes_nothing():
    house = House(wallet="100")
    # 20 x: 19.9 at 100.01 ask 99.5 of margin (at the mark of 100), 0.995 of fee, 0.199 of loss against the mark
    with refused(-2019):
        house.market(BUY, "19.9")
    assert house.position().qty == 0
    house.market(BUY, "19.7")
    assert 0 < house.exchange.account().available < 1
    with refused(-2019):
        house.limit(BUY, 1, 90)
    house.market(SELL, 1)


def test_open_orders_bind_the_margin_of_the_worse_side():
    house = House()
    house.market(BUY, 1)
    house.limit(BUY, 2, 90)
    house.limit(SELL, 2, 110)
    account = house.exchange.account()
    # long 100 + 180 = 280 beats 220 - 100: 180 / 20 on top of the position
    assert account.open_order_initial_margin == 9
    assert account.position_initial_margin == 5
    assert house.position().order_margin == 9


def test_without_money_nothing_opens():
    with refused(-2018):
        House(wallet="0").market(BUY, 1)


def test_an_order_that_lessens_the_need_passes_even_when_nothing_is_free():
    house = House(wallet="100")
    house.market(BUY, "19.7")
    house.mark("99")
    assert house.exchange.account().available == 0
    assert house.market(SELL, 1).status == "FILLED"
    with refused(-2019):
        house.limit(BUY, 1, 90)


def test_a_position_may_not_outgrow_the_bracket_of_its_leverage():
    house = House(wallet="100000")
    house.exchange.set_leverage("BTCUSDT", 20)
    with refused(-2027):
        house.market(BUY, 101)
    house.market(BUY, 99)
    with refused(-2027):
        house.limit(BUY, 2, 90)
    house.limit(SELL, 150, 110)
    house.exchange.set_leverage(ETH, 10)
    assert house.market(BUY, 101, symbol=ETH).status == "FILLED"


def test_a_position_that_outgrew_its_bracket_by_price_can_be_lessened():
    house = House(wallet="100000")
    house.market(BUY, 99)
    house.print(120)
    assert house.market(SELL, 1).status == "FILLED"


@pytest.mark.parametrize(
    ("mode", "taker", "maker", "filled"),
    [
        ("EXPIRE_MAKER", OrderStatus.FILLED, OrderStatus.EXPIRED_IN_MATCH, 3),
        ("EXPIRE_TAKER", OrderStatus.EXPIRED_IN_MATCH, OrderStatus.NEW, 1),
        ("EXPIRE_BOTH", OrderStatus.EXPIRED_IN_MATCH, OrderStatus.EXPIRED_IN_MATCH, 1),
        ("NONE", OrderStatus.FILLED, OrderStatus.NEW, 3),
    ],
)
def test_an_account_does_not_trade_with_itself(mode, taker, maker, filled):
    house = House().book(BIDS, ASKS)
    house.limit(SELL, 1, 103)
    own = house.limit(SELL, 1, 102)
    state = house.market(BUY, 3, self_trade_prevention=mode)
    assert (state.status, state.filled) == (taker, filled)
    assert house.exchange.order("BTCUSDT", order_id=own.order_id).status is maker
    assert len(house.exchange.open_orders()) == (2 if maker is OrderStatus.NEW else 1)


def test_in_hedge_mode_every_order_is_refused():
    house = House()
    house.exchange.set_dual_side(True)
    with refused(-4061):
        house.market(BUY, 1)
    with refused(-4061):
        house.stop(SELL, 1, 90)


def test_rising_ids_tell_the_order_of_acceptance():
    house = House(listing())
    ids = [house.market(BUY, 1).order_id, house.limit(BUY, 1, 90).order_id, house.market(SELL, 1).order_id]
    assert ids == sorted(set(ids))
