"""The matching engine, each rule on a bar worked by hand (requirement K, decisions X10, X14).

The instruments of the kit cost exactly 1 bp of slippage (half of a 2 bps spread, bottomless book): at 100 a buyer pays
100.01 and a seller gets 99.99. Taker fee 5 bps, maker 2 bps.
"""

import asyncio
import json
import math
from decimal import Decimal

import numpy as np
import pytest

from core.codes import RefusalCode
from core.data.blocks import Book, FundingRate, PriceAt
from core.errors import StateError
from core.sim.exchange import SimExchange
from core.types import (
    ExitReason,
    Fill,
    FundingPayment,
    OrderPurpose,
    OrderSide,
    OrderStatus,
    OrderType,
    OrderUpdate,
    Timeframe,
)
from tests.core.sim.kit import BTC, ETH, SPOT, STEP, T0, batch, block_of, instrument, order, run

BUY, SELL = OrderSide.BUY, OrderSide.SELL
IOC, MARKET, STOP, LIMIT = OrderType.IOC_LIMIT, OrderType.MARKET, OrderType.STOP_MARKET, OrderType.LIMIT
FLAT = (100.0, 100.0, 100.0, 100.0)


class Floor:
    """An exchange and everything it said; ``answers`` are orders sent from inside, keyed by the event group's number."""

    def __init__(self, *instruments, equity=1_000.0, leverage_cap=3.0, answers=None):
        self.exchange = SimExchange(instruments or (instrument(BTC), instrument(ETH)), equity, leverage_cap=leverage_cap)
        self.events = []
        self.groups = 0
        self.answers = answers or {}
        self.replies = []

    async def on_events(self, events):
        assert events
        self.events.extend(events)
        self.groups += 1
        for made in self.answers.get(self.groups, ()):
            self.replies.append(await self.exchange.place(made))

    def bar(self, number, prices=None, **more):
        bars = {0: prices} if isinstance(prices, tuple) else prices
        run(self.exchange.advance(batch(number, bars, **more), self.on_events))
        return self

    def send(self, *orders):
        self.replies += [run(self.exchange.place(made)) for made in orders]
        return self

    def fills(self):
        return [event for event in self.events if isinstance(event, Fill)]

    def updates(self):
        return [event for event in self.events if isinstance(event, OrderUpdate)]


def entry(qty="1", cap="100.05", client_id="e", **more):
    return order(client_id, BUY, IOC, qty, cap, **more)


def long_floor(**more) -> Floor:
    """One BTC bought at 100.01 in bar 1; fee 100.01 x 5 bps."""
    floor = Floor(**more).bar(0, FLAT).send(entry()).bar(1, FLAT)
    assert floor.exchange.position_qty(BTC) == 1
    return floor


def short_floor() -> Floor:
    floor = Floor().bar(0, FLAT).send(order("e", SELL, IOC, "1", "99.95")).bar(1, FLAT)
    assert floor.exchange.position_qty(BTC) == -1
    return floor


# --- at the open ----------------------------------------------------------------------------------


def test_an_entry_fills_at_the_next_open_with_slippage_and_taker_fee():
    fill, update = long_floor().events
    assert isinstance(fill, Fill)
    assert (fill.id, fill.client_id, fill.plan_id) == (f"{BTC}#1", "e", "p")
    assert (fill.price, fill.qty, fill.maker) == (Decimal("100.01"), 1, False)
    assert (fill.expected_price, fill.spread_bps) == (100.0, 2.0)
    assert fill.fee == pytest.approx(100.01 * 0.0005)
    assert fill.ts == T0 + STEP  # the open of bar 1
    assert (update.status, update.filled, update.ts) == (OrderStatus.FILLED, 1, T0 + STEP)


def test_a_short_entry_fills_below_the_open():
    assert short_floor().fills()[0].price == Decimal("99.99")


def test_an_entry_whose_cap_the_open_passed_expires():
    """X10: an opening gap cannot enlarge the risk."""
    floor = Floor().bar(0, FLAT).send(entry()).bar(1, (100.1, 100.2, 99.0, 100.0))
    (update,) = floor.events
    assert (update.status, update.code) == (OrderStatus.EXPIRED, RefusalCode.ENTRY_NOT_FILLED)
    assert floor.exchange.position_qty(BTC) == 0


def test_slippage_alone_can_push_an_entry_beyond_its_cap():
    floor = Floor().bar(0, FLAT).send(entry()).bar(1, (100.05, 100.2, 99.0, 100.0))
    assert floor.events[0].code is RefusalCode.ENTRY_NOT_FILLED


def test_a_short_entry_expires_below_its_cap_too():
    floor = Floor().bar(0, FLAT).send(order("e", SELL, IOC, "1", "99.95")).bar(1, (99.95, 99.95, 99.95, 99.95))
    assert floor.events[0].code is RefusalCode.ENTRY_NOT_FILLED


def test_an_entry_does_not_wait_over_a_missing_bar():
    floor = Floor().bar(0, FLAT).send(entry()).bar(1).bar(2, FLAT)
    (update,) = floor.events
    assert (update.code, update.message) == (RefusalCode.ENTRY_NOT_FILLED, "no bar followed the decision")


def test_a_market_exit_waits_for_the_symbols_next_bar():
    floor = long_floor().send(order("x", SELL, MARKET, "1", reason=ExitReason.TIME_STOP))
    floor.bar(2).bar(3, {1: FLAT})
    assert floor.exchange.position_qty(BTC) == 1
    floor.bar(4, (98.0, 98.0, 98.0, 98.0))
    fill = floor.fills()[-1]
    assert (fill.price, fill.reason, fill.ts) == (Decimal("97.99"), ExitReason.TIME_STOP, T0 + 4 * STEP)


def test_a_book_in_the_batch_replaces_the_modelled_one():
    floor = Floor().bar(0, FLAT).send(entry(cap="100.5"))
    floor.bar(1, FLAT, books=[Book(BTC, T0 + 2 * STEP, 99.98, 100.02, 10_000.0, False)])
    fill = floor.fills()[0]
    assert fill.spread_bps == pytest.approx(4.0)
    assert fill.price == Decimal("100.03")  # 2 bps of spread + 5 bps x 100 / 10,000 = 2.05 bps, up to the tick


# --- bars in which nothing trades (X44) ------------------------------------------------------------


def test_an_entry_expires_on_a_bar_in_which_nothing_traded():
    floor = Floor().bar(0, FLAT).send(entry()).bar(1, FLAT, volume={0: 0.0})
    (update,) = floor.events
    assert (update.status, update.code) == (OrderStatus.EXPIRED, RefusalCode.ENTRY_NOT_FILLED)
    assert update.message == "nothing traded in the bar"
    assert floor.exchange.position_qty(BTC) == 0
    assert floor.exchange.bad_bars == 0


def test_a_market_exit_waits_for_a_bar_with_volume():
    floor = long_floor().send(order("x", SELL, MARKET, "1")).bar(2, FLAT, volume={0: 0.0})
    assert len(floor.fills()) == 1
    floor.bar(3, (98.0, 99.0, 98.0, 98.0))
    assert (floor.fills()[-1].price, floor.fills()[-1].ts) == (Decimal("97.99"), T0 + 3 * STEP)


def test_a_stop_that_a_bar_without_trades_jumped_over_fills_at_the_next_traded_open():
    floor = long_floor().send(order("s", SELL, STOP, "1", "95")).bar(2, (90.0, 90.0, 90.0, 90.0), volume={0: 0.0})
    assert len(floor.fills()) == 1
    assert floor.exchange.prices[0] == 90.0
    floor.bar(3, (91.0, 92.0, 91.0, 92.0))
    assert (floor.fills()[-1].expected_price, floor.fills()[-1].price) == (91.0, Decimal("90.99"))


def test_a_take_and_a_liquidation_wait_for_trades_too():
    floor = long_floor().send(order("t", SELL, LIMIT, "0.25", "110")).bar(2, (111.0, 111.0, 111.0, 111.0), volume={0: 0.0})
    floor.bar(3, (60.0, 60.0, 60.0, 60.0), volume={0: 0.0})
    assert len(floor.fills()) == 1


def test_a_range_without_volume_triggers_stops_but_never_takes():
    """Doubt is settled against the trader."""
    floor = long_floor().send(order("s", SELL, STOP, "1", "95"), order("t", SELL, LIMIT, "0.25", "110"))
    floor.bar(2, (100.0, 111.0, 99.0, 100.0), volume={0: 0.0})
    assert len(floor.fills()) == 1
    floor.bar(3, (100.0, 100.0, 94.0, 100.0), volume={0: 0.0})
    assert floor.fills()[-1].price == Decimal("94.99")


# --- several base timeframes, entries without a bar -----------------------------------------------


def slow(number, prices=FLAT):
    """A 15-minute bar of ETH that opens at T0 + number STEP."""
    return block_of(Timeframe.M15, (1, T0 + number * STEP, prices))


def test_an_entry_whose_bar_has_opened_can_not_be_called_back():
    """The bar of a coarser symbol comes later than batches of the finer one; by then its entry was executed in truth."""
    floor = Floor().bar(2, FLAT, extra=[slow(0)]).send(entry(symbol=ETH))
    assert run(floor.exchange.cancel(ETH, "e")).status is OrderStatus.CANCELED
    floor.send(entry(symbol=ETH, client_id="f")).bar(3, FLAT)
    assert run(floor.exchange.cancel(ETH, "f")).status is OrderStatus.NEW
    floor.bar(4, FLAT).bar(5, FLAT, extra=[slow(3)])
    assert [(fill.client_id, fill.ts) for fill in floor.fills()] == [("f", T0 + 3 * STEP)]


def test_a_stop_can_be_called_back_at_any_time():
    floor = long_floor().send(order("s", SELL, STOP, "1", "95")).bar(2)
    assert run(floor.exchange.cancel(BTC, "s")).status is OrderStatus.CANCELED


def test_an_entry_of_a_symbol_that_gets_no_bars_expires_after_two_bars_time():
    floor = Floor().bar(0, {0: FLAT, 1: FLAT}).send(entry()).bar(1, {1: FLAT}).bar(2, {1: FLAT})
    assert floor.events == []
    floor.bar(3, {1: FLAT})
    (update,) = floor.events
    assert (update.status, update.code, update.ts) == (OrderStatus.EXPIRED, RefusalCode.ENTRY_NOT_FILLED, T0 + 4 * STEP)
    assert floor.exchange.open_orders() == ()


def test_the_patience_with_an_entry_is_measured_in_bars_of_its_symbol():
    floor = Floor().bar(2, FLAT, extra=[slow(0)]).send(entry(symbol=ETH))
    for number in range(3, 9):
        floor.bar(number, FLAT)
    assert len(floor.exchange.open_orders()) == 1  # T0 + 9 STEP is two bars of 15 minutes later
    again = Floor()
    again.exchange.restore(json.loads(json.dumps(floor.exchange.snapshot())))
    for one in (floor, again):
        one.bar(9, FLAT)
        assert one.events[-1].code is RefusalCode.ENTRY_NOT_FILLED


# --- inside the bar -------------------------------------------------------------------------------


def test_a_stop_fills_at_its_trigger_with_slippage():
    floor = long_floor().send(order("s", SELL, STOP, "1", "95", reason=ExitReason.STOP)).bar(2, (99.0, 99.5, 95.0, 96.0))
    fill = floor.fills()[-1]
    assert (fill.price, fill.expected_price, fill.maker) == (Decimal("94.99"), 95.0, False)  # 95 - 0.0095, down
    assert (fill.purpose, fill.reason, fill.ts) == (OrderPurpose.STOP, ExitReason.STOP, T0 + 3 * STEP)
    assert fill.fee == pytest.approx(94.99 * 0.0005)


def test_a_stop_that_is_not_touched_rests():
    floor = long_floor().send(order("s", SELL, STOP, "1", "95")).bar(2, (99.0, 99.5, 95.01, 96.0))
    assert [item.client_id for item in floor.exchange.open_orders()] == ["s"]


def test_a_gap_through_the_stop_fills_at_the_worse_open():
    floor = long_floor().send(order("s", SELL, STOP, "1", "95")).bar(2, (90.0, 99.5, 89.0, 96.0))
    assert floor.fills()[-1].price == Decimal("89.99")  # 90 - 0.009, down
    assert floor.fills()[-1].expected_price == 90.0


def test_the_stop_of_a_short_is_above_and_buys():
    floor = short_floor().send(order("s", BUY, STOP, "1", "105")).bar(2, (101.0, 105.0, 100.0, 104.0))
    assert floor.fills()[-1].price == Decimal("105.02")  # 105 + 0.0105, up
    gap = short_floor().send(order("s", BUY, STOP, "1", "105")).bar(2, (110.0, 111.0, 100.0, 104.0))
    assert gap.fills()[-1].price == Decimal("110.02")


def test_when_stop_and_take_lie_in_one_bar_the_stop_acts_first():
    floor = long_floor().send(order("s", SELL, STOP, "1", "95"), order("t", SELL, LIMIT, "0.5", "110"))
    floor.bar(2, (100.0, 120.0, 90.0, 115.0))
    assert [fill.client_id for fill in floor.fills()] == ["e", "s"]
    take = floor.updates()[-1]
    assert (take.client_id, take.status, take.code) == ("t", OrderStatus.EXPIRED, RefusalCode.REDUCE_ONLY_REJECTED)


def test_a_take_fills_at_its_limit_as_maker_when_traded_through():
    floor = long_floor().send(order("t", SELL, LIMIT, "0.25", "110")).bar(2, (100.0, 110.0, 99.0, 105.0))
    assert len(floor.fills()) == 1
    floor.bar(3, (105.0, 110.01, 99.0, 105.0))
    fill = floor.fills()[-1]
    assert (fill.price, fill.qty, fill.maker, fill.ts) == (Decimal(110), Decimal("0.25"), True, T0 + 4 * STEP)
    assert fill.fee == pytest.approx(27.5 * 0.0002)
    assert floor.exchange.position_qty(BTC) == Decimal("0.75")


def test_a_take_gets_its_limit_even_when_the_open_was_better():
    floor = long_floor().send(order("t", SELL, LIMIT, "1", "110")).bar(2, (115.0, 116.0, 114.0, 115.0))
    assert floor.fills()[-1].price == 110


def test_takes_in_one_bar_fill_nearest_first_each_in_its_own_group():
    floor = long_floor()
    floor.send(order("far", SELL, LIMIT, "0.5", "120"), order("near", SELL, LIMIT, "0.25", "110"))
    groups = floor.groups
    floor.bar(2, (100.0, 130.0, 99.0, 125.0))
    assert [fill.client_id for fill in floor.fills()] == ["e", "near", "far"]
    assert floor.groups == groups + 2


def test_the_take_of_a_short_buys_below():
    floor = short_floor().send(order("t", BUY, LIMIT, "1", "90")).bar(2, (100.0, 101.0, 89.99, 95.0))
    assert floor.fills()[-1].price == 90
    assert floor.exchange.account().equity == pytest.approx(1_000 + 9.99 - 99.99 * 0.0005 - 90 * 0.0002)


def test_a_limit_that_crossed_the_market_when_sent_pays_the_takers_fee():
    floor = long_floor().send(order("t", SELL, LIMIT, "1", "99")).bar(2, FLAT)
    assert (floor.fills()[-1].price, floor.fills()[-1].maker) == (99, False)


def test_a_stop_sent_at_the_open_can_act_in_the_same_bar():
    stop = order("s", SELL, STOP, "1", "95")
    floor = Floor(answers={1: [stop]}).bar(0, FLAT).send(entry()).bar(1, (100.0, 101.0, 94.0, 100.0))
    assert [(fill.client_id, fill.price) for fill in floor.fills()] == [("e", Decimal("100.01")), ("s", Decimal("94.99"))]
    assert floor.exchange.position_qty(BTC) == 0


def test_a_stop_sent_inside_the_bar_is_no_gap_and_acts_pessimistically():
    """Sent at the take's 110 with the open at 100: the bar's low may have come later, so 105 is taken as hit."""
    take, stop = order("t", SELL, LIMIT, "0.5", "110"), order("s", SELL, STOP, "0.5", "105")
    floor = long_floor(answers={2: [stop]}).send(take).bar(2, (100.0, 111.0, 99.0, 110.5))
    assert floor.replies[-1].status is OrderStatus.NEW
    assert floor.fills()[-1].price == Decimal("104.98")  # 105 - 0.0105, down


def test_a_market_order_sent_inside_the_bar_trades_at_the_price_reached():
    take, leave = order("t", SELL, LIMIT, "0.5", "110"), order("x", SELL, MARKET, "0.5")
    floor = long_floor(answers={2: [leave]}).send(take).bar(2, (100.0, 111.0, 99.0, 100.0))
    assert floor.fills()[-1].price == Decimal("109.98")  # 110 - 0.011, down
    assert floor.exchange.position_qty(BTC) == 0


def test_of_two_stops_the_nearer_acts_first():
    floor = long_floor().send(order("far", SELL, STOP, "1", "90"), order("near", SELL, STOP, "1", "95"))
    floor.bar(2, (99.0, 99.0, 80.0, 85.0))
    assert [fill.client_id for fill in floor.fills()] == ["e", "near"]
    assert floor.updates()[-1].code is RefusalCode.REDUCE_ONLY_REJECTED


def test_a_reduce_only_order_is_cut_to_the_position():
    floor = long_floor().send(order("s", SELL, STOP, "5", "95")).bar(2, (99.0, 99.0, 94.0, 96.0))
    assert floor.fills()[-1].qty == 1
    assert floor.updates()[-1].filled == 1
    assert floor.exchange.position_qty(BTC) == 0


def test_orders_of_a_bar_that_began_before_them_do_not_act():
    floor = long_floor().send(order("s", SELL, STOP, "1", "95")).bar(2, (99.0, 99.0, 80.0, 90.0), open_ts={0: T0 + STEP + 1})
    assert len(floor.fills()) == 1


def test_symbols_are_matched_in_order_and_do_not_touch_each_other():
    floor = Floor().bar(0, {0: FLAT, 1: FLAT})
    floor.send(entry(client_id="b", symbol=ETH), entry(client_id="a")).bar(1, {0: FLAT, 1: (100.02, 101.0, 99.0, 100.0)})
    assert [(fill.symbol, fill.id) for fill in floor.fills()] == [(BTC, f"{BTC}#1"), (ETH, f"{ETH}#1")]
    floor.bar(2, {1: (120.0, 120.0, 120.0, 120.0)})
    assert floor.exchange.prices.tolist() == [100.0, 120.0]


# --- liquidation ----------------------------------------------------------------------------------


def test_a_position_without_a_stop_is_liquidated_when_its_margin_is_gone():
    """Long at 100.01 with leverage 3: 100.01 x (1 - 1/3) / 0.98 = 68.0340; seller gets 68.02."""
    floor = long_floor().bar(2, (80.0, 80.0, 60.0, 70.0))
    fill = floor.fills()[-1]
    assert (fill.reason, fill.purpose, fill.client_id) == (ExitReason.LIQUIDATION, OrderPurpose.EXIT, "liquidation-2")
    assert fill.expected_price == pytest.approx(100.01 * 2 / 3 / 0.98)
    assert fill.price == Decimal("68.02")
    assert floor.exchange.position_qty(BTC) == 0


def test_a_gap_beyond_liquidation_fills_at_the_open():
    assert long_floor().bar(2, (50.0, 80.0, 40.0, 70.0)).fills()[-1].expected_price == 50.0


def test_a_short_is_liquidated_above():
    floor = short_floor().bar(2, (120.0, 140.0, 120.0, 130.0))
    assert floor.fills()[-1].expected_price == pytest.approx(99.99 * 4 / 3 / 1.02)


def test_a_stop_nearer_than_liquidation_acts_first():
    floor = long_floor().send(order("s", SELL, STOP, "1", "95")).bar(2, (99.0, 99.0, 50.0, 60.0))
    assert [fill.client_id for fill in floor.fills()] == ["e", "s"]


def test_spot_is_never_liquidated():
    floor = Floor(instrument(SPOT)).bar(0, FLAT).send(entry(symbol=SPOT)).bar(1, FLAT).bar(2, (100.0, 100.0, 1.0, 2.0))
    assert floor.exchange.position_qty(SPOT) == 1


# --- funding --------------------------------------------------------------------------------------


def funding(number, rate=0.0001, symbol=BTC, offset=0):
    return FundingRate(symbol, T0 + number * STEP + offset, rate, 8 * 3_600_000)


def payments(floor):
    return [event for event in floor.events if isinstance(event, FundingPayment)]


def test_longs_pay_positive_funding_on_mark_value_and_shorts_receive_it():
    bar = (100.0, 111.0, 99.0, 110.0)
    long, short = long_floor(), short_floor()
    wallet = long.exchange.account().wallet
    (paid,) = payments(long.bar(2, bar, funding=[funding(3)]))
    assert (paid.amount, paid.mark, paid.qty) == (pytest.approx(-0.011), 110.0, 1)  # 1 x 110 x 0.0001
    assert long.exchange.account().wallet == pytest.approx(wallet - 0.011)
    (got,) = payments(short.bar(2, bar, funding=[funding(3)]))
    assert (got.amount, got.qty) == (pytest.approx(0.011), -1)


def test_the_mark_of_that_moment_is_used_where_there_is_one():
    marks = [PriceAt(BTC, T0 + 3 * STEP, 105.0), PriceAt(BTC, T0 + 2 * STEP, 1.0), PriceAt(ETH, T0 + 3 * STEP, 2.0)]
    (paid,) = payments(long_floor().bar(2, FLAT, funding=[funding(3)], marks=marks))
    assert (paid.mark, paid.amount) == (105.0, pytest.approx(-0.0105))


def test_funding_at_the_close_comes_after_the_bars_trading():
    floor = long_floor().send(order("s", SELL, STOP, "1", "95")).bar(2, (99.0, 99.0, 90.0, 91.0), funding=[funding(3)])
    assert payments(floor) == []
    opened = Floor().bar(0, FLAT).send(entry()).bar(1, FLAT, funding=[funding(2)])
    assert len(payments(opened)) == 1


def test_late_funding_is_paid_by_what_was_held_then():
    assert payments(Floor().bar(0, FLAT).send(entry()).bar(1, FLAT, funding=[funding(1)])) == []
    late = long_floor().send(order("x", SELL, MARKET, "1")).bar(2, FLAT, funding=[funding(2)])
    assert len(payments(late)) == 1  # held when bar 2 opened, sold right after
    assert payments(long_floor().bar(2, FLAT, funding=[funding(1)])) == []  # due before the entry


def test_funding_inside_a_bar_finds_what_was_opened_at_its_open():
    floor = Floor().bar(0, FLAT).send(entry()).bar(1, FLAT, funding=[funding(1, offset=60_000)])
    assert len(payments(floor)) == 1


def test_a_settlement_that_comes_twice_is_paid_once():
    floor = long_floor().bar(2, FLAT, funding=[funding(3), funding(3)]).bar(3, FLAT, funding=[funding(3), funding(4)])
    assert [paid.ts for paid in payments(floor)] == [T0 + 3 * STEP, T0 + 4 * STEP]


def test_a_settlement_without_a_rate_is_counted_and_an_unknown_mark_is_no_mark():
    marks = [PriceAt(BTC, T0 + 3 * STEP, math.nan)]
    floor = long_floor().bar(2, FLAT, funding=[funding(3, math.nan), funding(3)], marks=marks)
    assert floor.exchange.bad_funding == 1
    assert [paid.mark for paid in payments(floor)] == [100.0]


def test_funding_is_paid_without_a_bar_and_ignored_without_a_position():
    other = funding(3, symbol="XRP/USDT:USDT")
    floor = long_floor().bar(2, None, funding=[funding(3), other, funding(3, symbol=ETH)])
    assert [(item.symbol, item.mark) for item in payments(floor)] == [(BTC, 100.0)]


# --- acceptance -----------------------------------------------------------------------------------


def refusal(floor: Floor, made):
    before = len(floor.exchange.open_orders())
    reply = run(floor.exchange.place(made))
    assert (reply.status is OrderStatus.REJECTED) == (len(floor.exchange.open_orders()) == before)
    return reply.code


def test_unknown_symbols_and_unknown_prices_are_refused():
    floor = Floor()
    assert refusal(floor, entry()) is RefusalCode.MISSING_INPUT
    assert refusal(floor, entry(symbol="XRP/USDT:USDT")) is RefusalCode.FILTER_REJECTED


def test_filters_are_applied_to_the_present_price_of_market_orders():
    floor = Floor().bar(0, FLAT)
    assert refusal(floor, entry(qty="0.0005")) is RefusalCode.FILTER_REJECTED
    assert refusal(floor, order("m", BUY, MARKET, "0.049", reduce_only=False)) is RefusalCode.FILTER_REJECTED
    assert refusal(floor, order("m", BUY, MARKET, "0.05", reduce_only=False)) is None


def test_a_client_id_is_never_accepted_twice():
    floor = long_floor()
    assert refusal(floor, entry()) is RefusalCode.DUPLICATE_CLIENT_ID
    assert refusal(floor, order("s", SELL, STOP, "1", "95")) is None
    assert refusal(floor, order("s", SELL, STOP, "1", "96")) is RefusalCode.DUPLICATE_CLIENT_ID


def test_a_reduce_only_order_needs_something_to_reduce():
    assert refusal(Floor().bar(0, FLAT), order("x", SELL, MARKET, "1")) is RefusalCode.REDUCE_ONLY_REJECTED
    assert refusal(long_floor(), order("x", BUY, MARKET, "1")) is RefusalCode.REDUCE_ONLY_REJECTED


def test_a_stop_that_would_trigger_at_once_is_refused():
    assert refusal(long_floor(), order("s", SELL, STOP, "1", "100")) is RefusalCode.STOP_WOULD_TRIGGER
    assert refusal(short_floor(), order("s", BUY, STOP, "1", "100")) is RefusalCode.STOP_WOULD_TRIGGER


def test_opening_orders_need_free_margin_and_reserve_it():
    floor = Floor(equity=100.0).bar(0, FLAT)  # 100 USD carry at most 300 of value, less the fee
    assert refusal(floor, entry("3", "100.00", "a")) is RefusalCode.INSUFFICIENT_MARGIN
    assert refusal(floor, entry("1.5", "100.00", "b")) is None
    assert floor.exchange.account().free_margin == pytest.approx(50.0)
    assert refusal(floor, order("c", BUY, MARKET, "1.5", reduce_only=False)) is RefusalCode.INSUFFICIENT_MARGIN
    assert refusal(floor, order("d", BUY, MARKET, "1.4", reduce_only=False)) is None
    assert floor.exchange.account().used_margin == pytest.approx(50 + 140 / 3)


def test_spot_cannot_be_sold_short():
    floor = Floor(instrument(SPOT)).bar(0, FLAT)
    assert refusal(floor, order("s", SELL, IOC, "1", "99", symbol=SPOT)) is RefusalCode.INSUFFICIENT_MARGIN
    floor.send(entry(symbol=SPOT)).bar(1, FLAT)
    assert refusal(floor, order("s2", SELL, IOC, "1", "99", symbol=SPOT)) is None


def test_cancelling_takes_the_order_away():
    floor = long_floor().send(order("s", SELL, STOP, "1", "95"))
    assert run(floor.exchange.cancel(BTC, "s")).status is OrderStatus.CANCELED
    assert floor.exchange.open_orders() == ()
    assert run(floor.exchange.cancel(BTC, "e")).status is OrderStatus.FILLED
    assert floor.exchange.drain() == ()


# --- account, bad data, state ---------------------------------------------------------------------


def test_equity_is_wallet_plus_open_profit_at_the_last_close():
    floor = long_floor().send(order("s", SELL, STOP, "1", "95")).bar(2, (100.0, 104.0, 99.0, 103.0))
    view = floor.exchange.account()
    fee = 100.01 * 0.0005
    assert view.wallet == pytest.approx(1_000 - fee)
    assert view.unrealised == pytest.approx(2.99)
    assert view.equity == pytest.approx(1_000 - fee + 2.99)
    assert view.used_margin == pytest.approx(100.01 / 3)
    assert view.ts == T0 + 3 * STEP


def test_marks_are_known_without_orders():
    floor = Floor().bar(0, {1: FLAT})
    assert math.isnan(floor.exchange.prices[0])
    assert floor.exchange.prices[1] == 100.0


@pytest.mark.parametrize("bad", [(100.0, 99.0, 80.0, 90.0), (100.0, 101.0, 80.0, math.nan), (100.0, 101.0, -1.0, 90.0)])
def test_an_impossible_bar_trades_nothing_and_marks_nothing(bad):
    floor = long_floor().send(order("s", SELL, STOP, "1", "95")).bar(2, bad)
    assert len(floor.fills()) == 1
    assert floor.exchange.prices[0] == 100.0
    assert floor.exchange.bad_bars == 1
    floor.bar(2, (99.0, 99.0, 94.0, 96.0))  # the repaired bar comes after all
    assert len(floor.fills()) == 2


def test_a_bar_that_came_before_trades_nothing_again():
    floor = long_floor().send(order("s", SELL, STOP, "1", "95"))
    floor.bar(2, {0: (99.0, 99.0, 80.0, 90.0), 1: FLAT}, open_ts={0: T0})
    assert len(floor.fills()) == 1
    assert floor.exchange.prices.tolist() == [100.0, 100.0]
    assert floor.exchange.bad_bars == 1


def opened(number):
    return T0 + number * STEP


LATE = (60.0, 70.0, 50.0, 60.0)
NEXT = (100.0, 104.0, 99.0, 103.0)
MIXED_ROWS = {
    "a late older one after the present one": [(0, opened(2), NEXT), (0, opened(0), LATE)],
    "a late older one before the present one": [(0, opened(0), LATE), (0, opened(2), NEXT)],
    "an impossible copy after": [(0, opened(2), NEXT), (0, opened(2), (100.0, 101.0, -1.0, 60.0))],
    "an impossible copy before": [(0, opened(2), (100.0, 101.0, 99.0, math.nan)), (0, opened(2), NEXT)],
    "a differing copy after": [(0, opened(2), NEXT), (0, opened(2), (60.0, 70.0, 50.0, 60.0))],
    "one off the grid": [(0, opened(2), NEXT), (0, opened(2) + 1234, LATE)],
    "one that is not closed yet": [(0, opened(2), NEXT), (0, opened(3), LATE)],
    "symbols that are not traded here": [(-1, opened(2), LATE), (0, opened(2), NEXT), (2, opened(2), LATE)],
    "a late newer one after": [(0, opened(2), NEXT), (0, opened(1), (100.0, 100.0, 100.0, 100.0))],
}


@pytest.mark.parametrize("rows", MIXED_ROWS.values(), ids=MIXED_ROWS.keys())
@pytest.mark.parametrize("active", [False, True])
def test_the_newest_sane_bar_alone_sets_the_mark(rows, active):
    """The feed's rule: newer, on the grid, closed, possible; the first of two copies counts. Idle or active alike."""
    floor = Floor().bar(0, {0: FLAT, 1: FLAT})
    if active:
        floor.send(order("t", BUY, LIMIT, "1", "40", reduce_only=False))
    if rows[-1][1] != opened(1):
        floor.bar(1, FLAT)
    floor.bar(2, extra=[block_of(Timeframe.M5, *rows)])
    assert floor.exchange.prices.tolist() == [103.0, 100.0]
    assert floor.fills() == []
    # and the bar is known as the last: it can not be delivered again, the next one can
    floor.bar(2, LATE)
    assert floor.exchange.prices[0] == 103.0
    floor.bar(3, (103.0, 106.0, 103.0, 105.0))
    assert floor.exchange.prices[0] == 105.0


@pytest.mark.parametrize("row", [(0, T0 + 2 * STEP + 1234, LATE), (0, T0 + 3 * STEP, LATE)], ids=["off the grid", "not closed"])
def test_a_bar_off_its_grid_or_not_closed_yet_is_not_traded(row):
    floor = long_floor().send(order("s", SELL, STOP, "1", "95")).bar(2, extra=[block_of(Timeframe.M5, row)])
    assert len(floor.fills()) == 1
    assert floor.exchange.prices[0] == 100.0
    assert floor.exchange.bad_bars == 1
    alone = Floor().bar(0, FLAT).bar(2, extra=[block_of(Timeframe.M5, row)])
    assert alone.exchange.prices[0] == 100.0


def test_of_two_copies_the_first_delivered_is_traded():
    """A copy that sorts lower by its prices must not come first."""
    rows = [(0, opened(2), (100.0, 100.0, 96.0, 97.0)), (0, opened(2), (94.0, 94.0, 94.0, 94.0))]
    floor = long_floor().send(order("s", SELL, STOP, "1", "95")).bar(2, extra=[block_of(Timeframe.M5, *rows)])
    assert len(floor.fills()) == 1
    assert (floor.exchange.prices[0], floor.exchange.bad_bars) == (97.0, 1)


def test_a_time_off_the_grid_marks_no_bar_of_that_time():
    floor = Floor().bar(0, {0: FLAT, 1: FLAT})
    odd = batch(1, {0: NEXT, 1: NEXT}, open_ts={0: opened(1) + 7, 1: opened(1) + 7})
    odd.ts += 7
    run(floor.exchange.advance(odd, floor.on_events))
    assert floor.exchange.prices.tolist() == [100.0, 100.0]


def test_whole_blocks_of_two_timeframes_and_bars_that_came_before():
    quiet = Floor().bar(2, {0: FLAT}, extra=[slow(0, NEXT)]).bar(3, FLAT).bar(4, FLAT)
    quiet.bar(5, {0: FLAT}, extra=[slow(3, (103.0, 106.0, 103.0, 105.0))])
    assert quiet.exchange.prices.tolist() == [100.0, 105.0]
    pair = Floor().bar(1, {0: NEXT, 1: NEXT}).bar(1, {0: FLAT, 1: FLAT})
    assert pair.exchange.prices.tolist() == [103.0, 103.0]
    assert pair.bar(2, {0: FLAT, 1: FLAT}, volume={1: 0.0}).exchange.prices.tolist() == [100.0, 100.0]


def test_time_never_runs_backwards():
    with pytest.raises(StateError):
        Floor().bar(1, FLAT).bar(0, FLAT)


def test_a_snapshot_inside_a_bar_or_after_a_broken_one_is_refused():
    floor = long_floor().send(order("t", SELL, LIMIT, "0.5", "110"))

    async def saves(events):
        floor.exchange.snapshot()

    with pytest.raises(StateError, match="inside a bar"):
        run(floor.exchange.advance(batch(2, {0: (100.0, 111.0, 99.0, 110.0)}), saves))
    with pytest.raises(StateError, match="inside a bar"):
        floor.exchange.snapshot()


def test_a_restored_exchange_goes_on_as_if_nothing_had_been():
    """X43: the snapshot goes through JSON text."""
    floor = long_floor().send(order("s", SELL, STOP, "1", "95"), order("t", SELL, LIMIT, "0.25", "110"))
    floor.bar(2, (100.0, 111.0, 99.0, 110.0)).send(order("x", SELL, MARKET, "0.1"))
    again = Floor()
    again.exchange.restore(json.loads(json.dumps(floor.exchange.snapshot())))
    assert again.exchange.snapshot() == floor.exchange.snapshot()
    rest = [(3, (110.0, 112.0, 108.0, 109.0)), (4, (109.0, 109.0, 90.0, 91.0))]
    seen = len(floor.events)
    for number, prices in rest:
        floor.bar(number, prices)
        again.bar(number, prices)
    assert again.events == floor.events[seen:]
    assert again.exchange.snapshot() == floor.exchange.snapshot()
    assert np.array_equal(again.exchange.prices, floor.exchange.prices, equal_nan=True)


def test_a_snapshot_of_other_instruments_is_refused():
    with pytest.raises(StateError):
        Floor(instrument()).exchange.restore(Floor().exchange.snapshot())


def test_it_has_nothing_to_say_between_two_bars():
    """Things happen inside bars only: whoever waits for its word waits for ever."""
    floor = Floor().bar(0, FLAT)
    run(floor.exchange.deliver(floor.on_events))
    assert floor.events == []

    async def waited():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(floor.exchange.wait(), 0.01)

    asyncio.run(waited())
