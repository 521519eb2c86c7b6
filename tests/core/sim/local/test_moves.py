"""What the market does to resting orders: sweeps, prints, books, marks. At 100 a buyer pays 100.01, a seller gets 99.99."""

from core.sim.local.values import (
    AlgoStatus,
    AlgoType,
    BookTick,
    Liquidity,
    MarkTick,
    OrderEvent,
    OrderStatus,
    TimeInForce,
    TradeTick,
    WorkingType,
)
from tests.core.sim.local.kit import BTC, BUY, ETH, SELL, House, d, refused

STOP = AlgoType.STOP_MARKET
BIDS, ASKS = [(99, 4), (98, 5)], [(101, 1), (102, 5)]


def long(**more) -> House:
    house = House(**more)
    house.market(BUY, 1)
    house.heard()
    return house


def prices(house) -> list:
    return [word.trade.price for word in house.heard(OrderEvent) if word.trade]


# --- sweeps -------------------------------------------------------------------------------------------------


def test_a_sweep_triggers_a_stop_at_its_price_and_stops_there():
    house = long()
    house.stop(SELL, 1, 95)
    tick = house.tick(90)
    assert house.exchange.sweep(tick) is False
    assert house.exchange.last_price(BTC) == 95
    assert prices(house) == [d("94.99")]
    assert house.exchange.sweep(tick) is True
    assert house.exchange.last_price(BTC) == 90


def test_a_gap_fills_a_stop_at_the_open():
    house = long()
    house.stop(SELL, 1, 95)
    assert house.sweep(90, gap=True) == 1
    assert prices(house) == [d("89.99")]


def test_the_first_price_of_all_is_a_gap():
    house = House(price=None)
    assert house.exchange.last_price(BTC) is None
    assert house.sweep(100) == 0
    assert house.exchange.last_price(BTC) == house.exchange.mark_price(BTC) == 100


def test_orders_fill_in_the_order_in_which_a_sweep_meets_them():
    house = long()
    house.limit(BUY, 1, 97)
    house.stop(SELL, 1, 95)
    house.limit(BUY, 1, 94)
    assert house.sweep(90) == 3
    assert prices(house) == [97, d("94.99"), 94]


def test_a_limit_needs_a_price_a_tick_beyond_it():
    """Fills at a mere touch flatter a maker."""
    house = House()
    house.limit(BUY, 1, 97)
    assert house.sweep(97) == 0
    assert house.sweep("96.99") == 1
    trade = house.exchange.trades(BTC)[0]
    assert (trade.price, trade.maker, trade.fee) == (97, True, d("0.0194"))


def test_a_limit_beyond_which_the_bar_opened_waits_until_the_price_moves_its_way():
    """The stop acts before the take, whichever came first in truth."""
    house = long()
    house.limit(SELL, 1, 105, reduce_only=True)
    assert house.sweep(110, gap=True) == 0
    assert house.sweep(104) == 0
    assert house.sweep(107, gap=True) == 0
    assert house.sweep(108) == 1
    assert prices(house) == [105]
    assert house.exchange.last_price(BTC) == 108


def test_without_volume_stops_act_and_limits_wait():
    """X44."""
    house = long()
    house.limit(BUY, 1, 97)
    house.stop(SELL, 1, 95)
    assert house.sweep(90, 0) == 1
    assert prices(house) == [d("94.99")]


def test_a_sweep_goes_on_past_what_triggers_without_a_fill():
    house = long()
    house.algo(SELL, AlgoType.STOP, 1, 95, 96, reduce_only=True)
    assert house.sweep(90) == 0
    assert house.exchange.open_orders()[0].price == 96
    assert house.sweep(97) == 1
    assert prices(house) == [96]


def test_the_mark_moves_with_a_sweep_at_its_distance():
    house = long().mark(102)
    house.stop(SELL, 1, 97, working_type=WorkingType.MARK_PRICE)
    assert house.sweep(90) == 1
    # mark 97 is a last price of 95
    assert prices(house) == [d("94.99")]
    assert house.exchange.mark_price(BTC) == 92


def test_a_price_that_is_no_tick_is_met_at_the_next_one():
    house = long().mark("100.005")
    house.stop(SELL, 1, 97, working_type=WorkingType.MARK_PRICE)
    assert house.sweep(90) == 1
    # mark 97 is 96.995: rounded with the move to 96.99, less 1 bp
    assert prices(house) == [d("96.98")]


def test_a_trailing_stop_follows_a_sweep():
    house = long()
    house.algo(SELL, AlgoType.TRAILING_STOP_MARKET, 1, callback_rate=d(1), reduce_only=True, activate_price=d(105))
    house.sweep(103)
    house.sweep(101)
    assert house.position().qty == 1
    house.sweep(110)
    house.sweep(100)
    # 110 less 1 %
    assert prices(house) == [d("108.88")]


def test_other_symbols_are_left_alone():
    house = House()
    house.limit(BUY, 1, 97, symbol=ETH)
    assert house.sweep(90) == 0
    assert house.sweep(90, symbol=ETH) == 1


# --- prints -------------------------------------------------------------------------------------------------


def test_a_print_fills_what_it_goes_beyond():
    house = House()
    house.limit(BUY, 1, 97)
    house.print(97)
    assert prices(house) == []
    house.print("96.99")
    assert prices(house) == [97]


def test_the_queue_is_served_before_the_order_and_by_the_other_side_only():
    house = House().book(BIDS, ASKS)
    order = house.limit(BUY, 3, 99)
    house.print(99, 3, BUY)
    house.print(99, 3, SELL)
    assert house.position().qty == 0
    house.print(99, 2, SELL)
    assert house.exchange.order(BTC, order_id=order.order_id).status == "PARTIALLY_FILLED"
    assert house.position().qty == 1
    house.print(99, 9, SELL)
    assert house.exchange.order(BTC, order_id=order.order_id).status == "FILLED"


def test_one_print_does_not_fill_two_orders_with_the_same_quantity():
    house = House().book([(98, 5)], ASKS)
    house.limit(BUY, 2, 99)
    house.limit(BUY, 2, 99)
    house.print(99, 3, SELL)
    assert house.position().qty == 3
    house.print(99, 0, SELL)
    assert house.position().qty == 3


def test_a_better_price_is_served_first():
    house = long().book([(90, 5)], [(120, 5)])
    first, second = house.limit(SELL, 1, 106, reduce_only=True), house.limit(SELL, 1, 105, reduce_only=True)
    house.print(110)
    assert prices(house) == [105]
    # flat: the other has nothing to reduce
    assert house.exchange.order(BTC, order_id=first.order_id).status == "EXPIRED"
    assert house.exchange.order(BTC, order_id=second.order_id).status == "FILLED"


def test_a_reduce_only_order_is_cut_when_it_fills():
    house = long()
    take = house.limit(SELL, 3, 105, reduce_only=True)
    house.print(106)
    state = house.exchange.order(BTC, order_id=take.order_id)
    assert (state.status, state.filled) == ("EXPIRED", 1)
    assert house.position().qty == 0


# --- books --------------------------------------------------------------------------------------------------


def test_a_book_that_crosses_an_order_fills_it_up_to_its_size():
    house = House().book(BIDS, ASKS)
    house.limit(BUY, 3, 100)
    house.book(BIDS, [("99.5", 1), (100, 1), (101, 5)])
    assert prices(house) == [100]
    assert house.position().qty == 2
    house.book(BIDS, [("99.5", 1), (100, 1), (101, 5)])
    assert house.position().qty == 2
    house.book(BIDS, [(100, 9)])
    assert house.position().qty == 3


def test_crossed_orders_that_lose_their_position_do_not_trade():
    house = long().book([(90, 5)], [(120, 5)])
    house.limit(SELL, 1, 105, reduce_only=True)
    house.limit(SELL, 1, 106, reduce_only=True)
    house.book([(107, 5)], [(120, 5)])
    assert house.position().qty == 0
    assert len(prices(house)) == 1


def test_a_modelled_book_is_for_watchers_only():
    house = House().book([(50, 1)], [(150, 1)], modelled=True)
    assert house.market(BUY, 1).average == d("100.01")
    house.book(BIDS, ASKS)
    assert house.market(BUY, 1).average == 101


def test_by_a_book_that_nobody_knows_any_more_nothing_is_filled_until_it_is_told_again():
    """Neither by its last levels nor by the model: evidence of what a market would have paid must not be made up."""
    house = House().book(BIDS, ASKS)
    house.market(BUY, 1)
    stop, resting = house.stop(SELL, 1, 95), house.limit(BUY, 1, 90)
    for one in (house, house.book([], []).twin()):
        with refused(-4131):
            one.market(BUY, 1)
        assert one.limit(BUY, 1, 100, TimeInForce.IOC).status is OrderStatus.EXPIRED
        ahead = one.limit(BUY, 1, 89)
        one.print(89, 1, SELL)
        assert one.exchange.order(BTC, order_id=resting.order_id).status is OrderStatus.FILLED  # a print beyond it is no book
        assert one.exchange.order(BTC, order_id=ahead.order_id).status is OrderStatus.NEW  # who stood before it is not known
        assert one.exchange.algo(algo_id=stop.algo_id).status is AlgoStatus.NEW
        one.book([(88, 9)], [(91, 9)]).print(89, 1, SELL)
        assert one.exchange.algo(algo_id=stop.algo_id).status is AlgoStatus.FINISHED
        assert one.exchange.trades(BTC)[-1].price == 88


def test_a_modelled_book_tells_what_its_model_assumes():
    house = House()
    house.exchange.book(BookTick(BTC, 0, 1, (), (), True, 20.0, 1e12))
    assert house.market(BUY, 1).average == d("100.11")


def test_liquidity_can_be_told_anew():
    house = House()
    house.exchange.set_liquidity(BTC, Liquidity(20.0, 1e12))
    assert house.market(BUY, 1).average == d("100.11")
    house.exchange.set_liquidity(BTC, Liquidity(20.0, 0.0))
    # an empty book costs the whole band of ten per cent
    assert house.market(SELL, 1).average == 90


# --- marks --------------------------------------------------------------------------------------------------


def test_the_mark_is_the_last_price_until_the_market_tells_one():
    house = House()
    house.print(101)
    assert house.exchange.mark_price(BTC) == 101
    house.mark(99).print(102)
    assert house.exchange.mark_price(BTC) == 99


def test_a_mark_before_the_first_trade_waits_for_it():
    house = House(price=None)
    house.exchange.mark(MarkTick(BTC, 0, d(99), d(99), d(0), 0))
    house.print(100)
    assert (house.exchange.mark_price(BTC), house.exchange.last_price(BTC)) == (99, 100)


def test_ticks_of_an_unknown_symbol_are_refused():
    house = House()
    tick = TradeTick("NOPE", 0, 1, d(1), d(1), BUY)
    for play in (house.exchange.sweep, house.exchange.trade):
        with refused(-1121):
            play(tick)
    with refused(-1121):
        house.book([], [], symbol="NOPE")
    with refused(-1121):
        house.mark(1, symbol="NOPE")
    with refused(-1121):
        house.fund(1, symbol="NOPE")


def test_post_only_orders_wait_for_the_market():
    house = House()
    house.limit(SELL, 2, 101, TimeInForce.GTX)
    house.sweep(102)
    assert prices(house) == [101]
