"""The order manager: the whole life of a trade on the simulated exchange, and what only a live broker can do to it.

Kit costs: 1 bp of slippage (a buyer at 100 pays 100.01), taker 5 bps, maker 2 bps.
"""

import json
import re
from decimal import Decimal

import pytest

from core.codes import RefusalCode
from core.data.blocks import FundingRate
from core.errors import ContractError
from core.exec.ledger import Ledger
from core.exec.orders import OrderManager, client_id
from core.types import (
    ExitReason,
    Fill,
    FundingPayment,
    OrderPurpose,
    OrderSide,
    OrderStatus,
    OrderType,
    OrderUpdate,
    PlanKind,
    Side,
    Timeframe,
)
from tests.core.sim.kit import BTC, ETH, SPOT, STEP, T0, Desk, Record, block_of, instrument, plan, run

ENTRY, STOP, TAKE, EXIT = OrderPurpose.ENTRY, OrderPurpose.STOP, OrderPurpose.TAKE, OrderPurpose.EXIT
FLAT = (100.0, 100.0, 100.0, 100.0)
TAKES = [(1.0, "0.25"), (2.0, "0.25")]


def entered(made=None, **more) -> Desk:
    """A desk whose plan was filled at the open of bar 1: long 1 at 100.01 unless told."""
    desk = Desk()
    desk.step(0, {0: FLAT, 1: FLAT})
    assert run(desk.manager.submit(made or plan(**more))).status is OrderStatus.NEW
    desk.step(1, {0: FLAT, 1: FLAT})
    return desk


def the_stop(desk):
    (stop,) = desk.resting(STOP)
    return stop


# --- ids ------------------------------------------------------------------------------------------


def test_a_client_id_is_short_plain_and_the_same_on_every_run():
    made = client_id(plan(), STOP, 2)
    assert made == client_id(plan(), STOP, 2)
    assert re.fullmatch(r"[0-9a-z]{8}b-BTCUSDT-[0-9a-f]{4}-s2", made)
    assert int(made[:8], 36) == T0
    extreme = plan(symbol="1000000MOG/USDT:USDT", strategy="9", ts=10**14)
    longest = client_id(extreme, STOP, 36**5)
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,32}", longest)
    assert "z-1000000M-" in longest


def test_ids_differ_by_plan_role_and_number():
    plans = [plan("p"), plan("q"), plan(symbol=ETH), plan(strategy="vol_exp_15m"), plan(ts=T0 + 1)]
    ids = {client_id(item, role, number) for item in plans for role in OrderPurpose for number in (0, 1, 35, 36)}
    assert len(ids) == 5 * 5 * 4


# --- entering -------------------------------------------------------------------------------------


def test_an_entry_is_recorded_before_it_is_sent_and_capped_by_the_plan():
    desk = Desk()
    desk.step(0, {0: FLAT})
    run(desk.manager.submit(plan()))
    (order,) = desk.exchange.open_orders()
    assert desk.log.intents == [order]
    assert (order.type, order.price, order.qty, order.purpose) == (OrderType.IOC_LIMIT, Decimal("100.05"), 1, ENTRY)
    assert not order.reduce_only
    assert desk.manager.pending() == (plan(),)
    assert desk.log.updates[0].status is OrderStatus.NEW


def test_an_entry_that_expires_leaves_nothing_behind():
    desk = Desk()
    desk.step(0, {0: FLAT})
    run(desk.manager.submit(plan()))
    desk.step(1, {0: (101.0, 101.0, 101.0, 101.0)})
    assert desk.manager.pending() == ()
    assert desk.ledger.plan("p") is None
    assert desk.log.updates[-1].code is RefusalCode.ENTRY_NOT_FILLED
    assert desk.exchange.open_orders() == ()


def test_an_entry_that_the_broker_rejects_leaves_nothing_behind():
    desk = Desk(equity=10.0)
    desk.step(0, {0: FLAT})
    update = run(desk.manager.submit(plan()))
    assert (update.status, update.code) == (OrderStatus.REJECTED, RefusalCode.INSUFFICIENT_MARGIN)
    assert desk.manager.pending() == ()
    assert desk.ledger.plan("p") is None


def test_a_symbol_has_one_position_and_one_owner():
    """X17."""
    desk = Desk()
    desk.step(0, {0: FLAT})
    run(desk.manager.submit(plan()))
    assert run(desk.manager.submit(plan("q"))).code is RefusalCode.SYMBOL_OWNED
    desk.step(1, {0: FLAT})
    assert run(desk.manager.submit(plan("q"))).code is RefusalCode.SYMBOL_OWNED
    assert len([order for order in desk.log.intents if order.purpose is ENTRY]) == 1


# --- protection -----------------------------------------------------------------------------------


def test_the_first_fill_is_protected_before_the_bar_goes_on():
    desk = entered(tps=TAKES, stop="95.01")
    stop = the_stop(desk)
    assert (stop.type, stop.price, stop.qty, stop.side) == (OrderType.STOP_MARKET, Decimal("95.01"), 1, OrderSide.SELL)
    assert stop.reduce_only
    assert stop.reason is ExitReason.STOP
    assert [(take.price, take.qty) for take in desk.resting(TAKE)] == [
        (Decimal("105.01"), Decimal("0.25")),
        (Decimal("110.01"), Decimal("0.25")),
    ]  # 1R = 100.01 - 95.01 = 5 from the average fill (X5)
    assert desk.ledger.positions[BTC].stop == Decimal("95.01")
    assert desk.manager.unprotected() == ()


def test_an_entry_can_be_stopped_out_in_its_own_bar():
    desk = Desk()
    desk.step(0, {0: FLAT})
    run(desk.manager.submit(plan(tps=TAKES)))
    desk.step(1, {0: (100.0, 120.0, 94.0, 119.0)})
    assert [fill.price for fill in desk.fills()] == [Decimal("100.01"), Decimal("94.99")]
    (trade,) = desk.ledger.drain_trades()
    assert (trade.exit_reason, trade.takes_filled) == (ExitReason.STOP, 0)
    assert desk.exchange.open_orders() == ()


def test_an_open_beyond_the_stop_is_closed_at_market_at_once():
    """A long entry is bought below its stop by a gap; the stop would trigger, so the position goes at the same open."""
    desk = Desk()
    desk.step(0, {0: FLAT})
    run(desk.manager.submit(plan(tps=TAKES)))
    desk.step(1, {0: (94.0, 99.0, 93.0, 98.0)})
    assert [(fill.purpose, fill.price) for fill in desk.fills()] == [(ENTRY, Decimal("94.01")), (EXIT, Decimal("93.99"))]
    (trade,) = desk.ledger.drain_trades()
    assert (trade.exit_reason, trade.stop_exit) == (ExitReason.STOP, True)
    assert desk.exchange.open_orders() == ()
    assert desk.manager.snapshot() == {"guards": {}, "pending": {}, "outlived": {}}


def test_when_flat_nothing_stays_at_the_exchange():
    desk = entered(tps=TAKES)
    desk.step(2, {0: (100.0, 100.0, 90.0, 91.0)})
    assert desk.exchange.open_orders() == ()
    cancelled = [update for update in desk.log.updates if update.status is OrderStatus.CANCELED]
    assert len(cancelled) == 2


def test_a_liquidation_is_booked_and_cleaned_up_like_any_exit():
    """It needs a stop taken away behind our back; with the stop in place it is never reached."""
    desk = entered(tps=TAKES)
    run(desk.exchange.cancel(BTC, the_stop(desk).client_id))
    desk.step(2, {0: (99.0, 99.0, 50.0, 60.0)})
    (trade,) = desk.ledger.drain_trades()
    assert (trade.exit_reason, trade.stop_exit) == (ExitReason.LIQUIDATION, True)
    assert desk.exchange.open_orders() == ()


# --- stops ----------------------------------------------------------------------------------------


def test_a_stop_is_replaced_by_placing_the_new_one_first():
    desk = entered()
    old = the_stop(desk)
    update = run(desk.manager.move_stop(BTC, Decimal(97), T0 + 2 * STEP, ExitReason.TRAIL))
    new = the_stop(desk)
    assert (new.price, new.reason, new.qty) == (97, ExitReason.TRAIL, 1)
    assert [(item.client_id, item.status) for item in desk.log.updates[-2:]] == [
        (new.client_id, OrderStatus.NEW),
        (old.client_id, OrderStatus.CANCELED),
    ]
    assert update.client_id == new.client_id
    assert desk.ledger.positions[BTC].stop == 97


def test_a_stop_never_widens():
    """E4."""
    desk = entered()
    with pytest.raises(ContractError, match="only tighten"):
        run(desk.manager.move_stop(BTC, Decimal("94.99"), T0, ExitReason.TRAIL))
    short = entered(side=Side.SHORT, entry="99.95", stop="105")
    with pytest.raises(ContractError, match="only tighten"):
        run(short.manager.move_stop(BTC, Decimal("105.01"), T0, ExitReason.TRAIL))
    assert the_stop(desk).price == 95


def test_moving_a_stop_to_where_it_is_sends_nothing():
    desk = entered()
    sent = len(desk.log.intents)
    assert run(desk.manager.move_stop(BTC, Decimal("95.00"), T0, ExitReason.TRAIL)) is None
    assert len(desk.log.intents) == sent


def test_a_stop_can_only_move_where_a_position_is():
    desk = Desk()
    with pytest.raises(ContractError, match="open position"):
        run(desk.manager.move_stop(BTC, Decimal(97), T0, ExitReason.TRAIL))


def test_a_stop_moved_beyond_the_price_closes_at_the_next_open_and_the_old_one_stays():
    desk = entered()
    update = run(desk.manager.move_stop(BTC, Decimal(100), T0 + 2 * STEP, ExitReason.TRAIL))
    assert update.code is RefusalCode.STOP_WOULD_TRIGGER
    assert the_stop(desk).price == 95
    assert desk.manager.closing(BTC)
    assert run(desk.manager.move_stop(BTC, Decimal(97), T0 + 2 * STEP, ExitReason.TRAIL)) is None
    desk.step(2, {0: (99.0, 99.0, 99.0, 99.0)})
    (trade,) = desk.ledger.drain_trades()
    assert (trade.exit_reason, trade.exit_price, trade.stop_exit) == (ExitReason.TRAIL, 98.99, True)
    assert desk.exchange.open_orders() == ()


def test_a_stop_refused_for_its_form_leaves_the_old_one():
    desk = entered()
    update = run(desk.manager.move_stop(BTC, Decimal("97.005"), T0, ExitReason.TRAIL))
    assert update.code is RefusalCode.FILTER_REJECTED
    assert the_stop(desk).price == 95
    assert not desk.manager.closing(BTC)
    assert run(desk.manager.move_stop(BTC, Decimal(96), T0, ExitReason.TRAIL)).status is OrderStatus.NEW


@pytest.mark.parametrize("reason", [ExitReason.BREAK_EVEN, ExitReason.TRAIL, ExitReason.JOINT_STOP])
def test_a_stop_fill_tells_what_last_moved_the_stop(reason):
    desk = entered()
    run(desk.manager.move_stop(BTC, Decimal(97), T0, reason))
    desk.step(2, {0: (100.0, 100.0, 96.0, 97.0)})
    assert desk.ledger.drain_trades()[0].exit_reason is reason


# --- closing --------------------------------------------------------------------------------------


def test_closing_is_idempotent_while_an_exit_is_on_its_way():
    desk = entered(tps=TAKES)
    assert run(desk.manager.close(BTC, T0, ExitReason.TIME_STOP)).status is OrderStatus.NEW
    assert run(desk.manager.close(BTC, T0, ExitReason.TIME_STOP)) is None
    assert run(desk.manager.close(ETH, T0, ExitReason.TIME_STOP)) is None
    assert the_stop(desk).qty == 1  # it stays until flat
    desk.step(2, {0: FLAT})
    (trade,) = desk.ledger.drain_trades()
    assert trade.exit_reason is ExitReason.TIME_STOP
    assert desk.exchange.open_orders() == ()
    assert not desk.manager.closing(BTC)


def test_flatten_all_cancels_entries_and_closes_positions_in_order():
    """X12."""
    desk = entered()
    run(desk.manager.submit(plan("e", symbol=ETH, ts=T0 + 2 * STEP)))
    updates = run(desk.manager.flatten_all(T0 + 2 * STEP, ExitReason.KILL_SWITCH))
    assert [update.symbol for update in updates] == [BTC]
    assert desk.manager.pending() == ()
    assert desk.ledger.plan("e") is None
    desk.step(2, {0: FLAT, 1: FLAT})
    assert desk.ledger.positions == {}
    assert desk.ledger.drain_trades()[0].exit_reason is ExitReason.KILL_SWITCH


def test_flatten_all_leaves_an_entry_that_has_executed_already_and_closes_it_when_asked_again():
    """X12, two base timeframes: the 15-minute bar whose open fills the entry is delivered after the kill-switch."""
    desk = Desk()
    desk.step(2, {0: FLAT}, extra=[block_of(Timeframe.M15, (1, T0, FLAT))])
    made = plan("e", symbol=ETH, ts=T0 + 3 * STEP)
    run(desk.manager.submit(made))
    desk.step(3, {0: FLAT})
    assert run(desk.manager.flatten_all(T0 + 4 * STEP, ExitReason.KILL_SWITCH)) == ()
    assert run(desk.manager.close(ETH, T0 + 4 * STEP, ExitReason.KILL_SWITCH)) is None
    assert desk.manager.pending() == (made,)
    desk.step(4, {0: FLAT})
    desk.step(5, {0: FLAT}, extra=[block_of(Timeframe.M15, (1, T0 + 3 * STEP, FLAT))])
    assert desk.ledger.positions[ETH].qty == 1
    assert desk.manager.unprotected() == ()
    run(desk.manager.close(ETH, T0 + 6 * STEP, ExitReason.KILL_SWITCH))
    for number in (6, 7):
        desk.step(number, {0: FLAT})
    desk.step(8, {0: FLAT}, extra=[block_of(Timeframe.M15, (1, T0 + 6 * STEP, FLAT))])
    (trade,) = desk.ledger.drain_trades()
    assert (trade.exit_reason, trade.closed_ts) == (ExitReason.KILL_SWITCH, T0 + 6 * STEP)
    assert desk.exchange.open_orders() == ()


def test_an_entry_of_a_symbol_that_gets_no_bars_gives_its_risk_back():
    """X9: what can not fill any more holds no risk."""
    desk = Desk()
    desk.step(0, {0: FLAT, 1: FLAT})
    run(desk.manager.submit(plan()))
    for number in (1, 2, 3):
        assert len(desk.manager.pending()) == 1
        desk.step(number, {1: FLAT})
    assert desk.manager.pending() == ()
    assert desk.ledger.plan("p") is None


# --- adds -----------------------------------------------------------------------------------------


def add_plan(**more):
    fields = {"kind": PlanKind.ADD, "qty": "0.5", "entry": "108.10", "stop": "104", "ts": T0 + 3 * STEP}
    return plan("q", **{**fields, **more})


def with_add_sent(**more) -> Desk:
    """Long 1 at 100.01, first take filled in bar 2 (close 108), an add sent at that close."""
    desk = entered(tps=TAKES, stop="95.01")
    desk.step(2, {0: (100.0, 108.0, 99.0, 108.0)})
    assert desk.ledger.positions[BTC].takes_filled == 1
    assert run(desk.manager.submit(add_plan(**more))).status is OrderStatus.NEW
    return desk


def test_an_add_gets_one_joint_stop_for_all():
    """X16."""
    desk = with_add_sent()
    desk.step(3, {0: (108.0, 108.0, 105.0, 107.0)})
    position, stop = desk.ledger.positions[BTC], the_stop(desk)
    assert (position.qty, position.adds) == (Decimal("1.25"), 1)
    assert (stop.qty, stop.price, stop.reason) == (Decimal("1.25"), 104, ExitReason.JOINT_STOP)
    assert len(desk.resting(TAKE)) == 1  # the add brings none of its own
    desk.step(4, {0: (107.0, 107.0, 103.0, 103.0)})
    assert desk.ledger.drain_trades()[0].exit_reason is ExitReason.JOINT_STOP


def test_a_joint_stop_that_would_widen_only_grows():
    desk = with_add_sent(stop="90")
    desk.step(3, {0: (108.0, 108.0, 105.0, 107.0)})
    stop = the_stop(desk)
    assert (stop.qty, stop.price, stop.reason) == (Decimal("1.25"), Decimal("95.01"), ExitReason.STOP)


def test_an_add_that_gaps_through_the_joint_stop_is_closed_at_once():
    desk = with_add_sent()
    desk.step(3, {0: (103.0, 104.0, 100.0, 101.0)})
    assert [fill.purpose for fill in desk.fills()[-2:]] == [OrderPurpose.ADD, EXIT]
    assert desk.fills()[-1].qty == Decimal("1.25")
    assert desk.exchange.open_orders() == ()


def test_an_add_needs_a_position_of_its_side_that_stays_open():
    desk = Desk()
    desk.step(0, {0: FLAT})
    assert run(desk.manager.submit(add_plan())).code is RefusalCode.NOT_ACTIVE
    desk = entered()
    assert run(desk.manager.submit(add_plan(side=Side.SHORT))).code is RefusalCode.NOT_ACTIVE
    run(desk.manager.close(BTC, T0, ExitReason.TIME_STOP))
    assert run(desk.manager.submit(add_plan())).code is RefusalCode.NOT_ACTIVE


def test_only_one_add_is_on_its_way_and_closing_cancels_it():
    desk = with_add_sent()
    assert run(desk.manager.submit(plan("r", kind=PlanKind.ADD))).code is RefusalCode.NOT_ACTIVE
    run(desk.manager.close(BTC, T0 + 3 * STEP, ExitReason.TIME_STOP))
    assert desk.manager.pending() == ()
    desk.step(3, {0: (108.0, 108.0, 108.0, 108.0)})
    assert desk.exchange.position_qty(BTC) == 0


def test_an_add_that_expires_changes_nothing():
    desk = with_add_sent()
    desk.step(3, {0: (109.0, 109.0, 109.0, 109.0)})
    assert (the_stop(desk).qty, desk.ledger.positions[BTC].adds) == (1, 0)
    assert desk.manager.pending() == ()


# --- the whole life, to the cent ------------------------------------------------------------------


def test_entry_take_break_even_trail_stop_adds_up_to_the_cent():
    """X3-X5: every number below is worked by hand.

    entry   1.00 @ 100.01 taker   take 0.25 @ 105.01 maker   funding at the end of bar 3: 0.75 x 109 x 0.0001 paid
    break-even to 100.30, trail to 106.00, stopped: 106 less 1 bp = 105.9894, down to 105.98
    """
    desk = entered(tps=TAKES, stop="95.01")
    desk.step(2, {0: (100.0, 105.02, 99.0, 104.0)})
    run(desk.manager.move_stop(BTC, Decimal("100.30"), T0 + 3 * STEP, ExitReason.BREAK_EVEN))
    desk.step(3, {0: (104.0, 109.5, 103.0, 109.0)}, funding=[FundingRate(BTC, T0 + 4 * STEP, 0.0001, 28_800_000)])
    run(desk.manager.move_stop(BTC, Decimal("106.00"), T0 + 4 * STEP, ExitReason.TRAIL))
    desk.step(4, {0: (108.0, 108.5, 105.0, 105.5)})
    (trade,) = desk.ledger.drain_trades()
    gross = Decimal("0.25") * Decimal("5.00") + Decimal("0.75") * Decimal("5.97")
    fees = (
        Decimal("100.01") * Decimal("0.0005")
        + Decimal("0.25") * Decimal("105.01") * Decimal("0.0002")
        + Decimal("0.75") * Decimal("105.98") * Decimal("0.0005")
    )
    funding = -Decimal("0.75") * 109 * Decimal("0.0001")
    net = gross - fees + funding
    assert trade.gross == pytest.approx(float(gross), abs=1e-9)
    assert trade.fees == pytest.approx(float(fees), abs=1e-9)
    assert trade.funding == pytest.approx(float(funding), abs=1e-9)
    assert trade.net == pytest.approx(float(net), abs=1e-9)
    assert round(trade.net, 2) == 5.62
    assert trade.r_multiple == pytest.approx(float(net) / 5.0)
    assert (trade.exit_reason, trade.takes_filled, trade.final_stop) == (ExitReason.TRAIL, 1, Decimal("106.00"))
    assert (trade.mae_r, trade.mfe_r) == (pytest.approx((99 - 100.01) / 5.0), pytest.approx((109.5 - 100.01) / 5.0))
    assert desk.exchange.account().equity == pytest.approx(1_000 + float(net), abs=1e-9)
    assert desk.ledger.equity(desk.prices) == pytest.approx(1_000 + float(net), abs=1e-9)
    assert desk.exchange.open_orders() == ()


# --- what only a live broker does -----------------------------------------------------------------


class Scripted:
    """A broker that accepts everything but what the script refuses, and whose fills the test sends itself."""

    def __init__(self, refuse=None):
        self.refuse = refuse or {}
        self.orders = {}
        self.placed = []
        self.answers = {}

    async def place(self, order):
        self.placed.append(order)
        queue = self.refuse.get(order.purpose, [])
        if queue and queue.pop(0):
            return OrderUpdate(order.client_id, order.symbol, OrderStatus.REJECTED, order.ts, code=RefusalCode.FILTER_REJECTED)
        self.orders[order.client_id] = order
        return OrderUpdate(order.client_id, order.symbol, OrderStatus.NEW, order.ts)

    async def cancel(self, symbol, client_id):
        self.orders.pop(client_id, None)
        return self.answers.get(client_id) or OrderUpdate(client_id, symbol, OrderStatus.CANCELED, T0)

    def open_orders(self, symbol=None):
        return tuple(self.orders.values())

    def of(self, purpose):
        return [order for order in self.orders.values() if order.purpose is purpose]


class Live:
    """Order manager and ledger on a scripted broker."""

    def __init__(self, refuse=None):
        self.broker = Scripted(refuse)
        instruments = (instrument(BTC), instrument(ETH), instrument(SPOT))
        self.ledger = Ledger(instruments, starting_equity=1_000.0, scratch_r=0.15)
        self.log = Record(self.broker)
        self.manager = OrderManager(self.broker, self.ledger, instruments, self.log)
        self.count = 0

    def fill(self, order, qty, price="100.00", status=OrderStatus.PARTIAL, number=None):
        """Tell one (part) fill of ``order``."""
        if status is OrderStatus.FILLED:
            self.broker.orders.pop(order.client_id, None)
        run(self.manager.handle(self.made(order, qty, price, status, number)))

    def made(self, order, qty, price, status, number=None):
        """Events of one (part) fill of ``order``."""
        self.count += 1
        part = Fill(
            id=f"f{number or self.count}",
            client_id=order.client_id,
            plan_id=order.plan_id,
            symbol=order.symbol,
            side=order.side,
            purpose=order.purpose,
            qty=Decimal(qty),
            price=Decimal(price),
            expected_price=100.0,
            spread_bps=2.0,
            fee=0.01,
            maker=False,
            ts=T0,
            reason=order.reason,
        )
        return part, OrderUpdate(order.client_id, order.symbol, status, T0, Decimal(qty))

    def enter(self, made):
        run(self.manager.submit(made))
        return self.broker.placed[-1]


def test_more_fills_of_the_entry_grow_the_stop_and_reprice_the_takes():
    live = Live()
    entry = live.enter(plan(qty="1", tps=TAKES))
    live.fill(entry, "0.4", "100")
    assert [stop.qty for stop in live.broker.of(STOP)] == [Decimal("0.4")]
    assert [(take.price, take.qty) for take in live.broker.of(TAKE)] == [(105, Decimal("0.1")), (110, Decimal("0.1"))]
    assert live.manager.pending() == (plan(tps=TAKES),)
    live.fill(entry, "0.6", "102", OrderStatus.FILLED)
    assert [stop.qty for stop in live.broker.of(STOP)] == [1]
    takes = [(take.price, take.qty) for take in live.broker.of(TAKE)]
    assert takes == [(Decimal("107.4"), Decimal("0.25")), (Decimal("113.6"), Decimal("0.25"))]  # average 101.2, r 6.2
    assert live.manager.pending() == ()


def test_the_rest_of_an_entry_that_expired_is_forgotten_but_the_plan_is_kept():
    live = Live()
    entry = live.enter(plan())
    live.fill(entry, "0.4")
    run(live.manager.handle((OrderUpdate(entry.client_id, BTC, OrderStatus.EXPIRED, T0, Decimal("0.4")),)))
    assert live.manager.pending() == ()
    assert live.ledger.plan("p") is not None


def test_a_fill_told_twice_is_logged_and_counted_once():
    live = Live()
    entry = live.enter(plan())
    live.fill(entry, "1", number=7, status=OrderStatus.FILLED)
    sent = len(live.broker.placed)
    live.fill(entry, "1", number=7, status=OrderStatus.FILLED)
    assert (len(live.log.fills), live.ledger.duplicates, len(live.broker.placed)) == (1, 1, sent)


def test_a_part_filled_take_does_not_change_stop_or_takes():
    live = Live()
    live.fill(live.enter(plan(tps=TAKES)), "1", "100", OrderStatus.FILLED)
    take = live.broker.of(TAKE)[0]
    sent = len(live.broker.placed)
    live.fill(take, "0.1", "105")
    live.fill(take, "0.15", "105", OrderStatus.FILLED)
    assert len(live.broker.placed) == sent
    assert live.ledger.positions[BTC].takes_filled == 1


def test_a_position_whose_stop_is_refused_is_closed_at_market():
    live = Live({STOP: [True]})
    live.fill(live.enter(plan(tps=TAKES)), "1", "100", OrderStatus.FILLED)
    (leave,) = live.broker.of(EXIT)
    assert (leave.type, leave.qty, leave.reason) == (OrderType.MARKET, 1, ExitReason.STOP)
    assert live.broker.of(TAKE) == []
    assert live.manager.unprotected() == ()
    run(live.manager.handle((FundingPayment(BTC, T0, 0.0001, 100.0, Decimal(1), -0.01),)))
    assert len(live.broker.placed) == 3  # entry, refused stop, exit: nothing is repeated while the exit is on its way


def with_joint_stop_refused() -> Live:
    """Long 1 at stop 95, an add of 0.5 whose joint stop at 98 was refused for its form, as was the exit that followed."""
    live = Live({STOP: [False, True], EXIT: [True]})
    live.fill(live.enter(plan()), "1", "100", OrderStatus.FILLED)
    live.fill(live.enter(plan("q", kind=PlanKind.ADD, stop="98")), "0.5", "100", OrderStatus.FILLED)
    assert live.ledger.positions[BTC].stop == 95
    return live


def test_after_a_refused_joint_stop_a_stop_between_can_still_be_set():
    """The joint stop is the guard's only once it was accepted; what the exits ask for meanwhile is no error."""
    live = with_joint_stop_refused()
    update = run(live.manager.move_stop(BTC, Decimal("96.5"), T0 + 1, ExitReason.TRAIL))
    assert update.status is OrderStatus.NEW
    (stop,) = live.broker.of(STOP)
    assert (stop.price, stop.qty, stop.reason) == (Decimal("96.5"), Decimal("1.5"), ExitReason.TRAIL)


def test_after_a_refused_joint_stop_the_last_accepted_one_covers_all():
    live = with_joint_stop_refused()
    assert live.manager.unprotected() == (BTC,)
    assert run(live.manager.protect_again(T0 + 1)) == (BTC,)
    (stop,) = live.broker.of(STOP)
    assert (stop.price, stop.qty, stop.reason) == (95, Decimal("1.5"), ExitReason.STOP)
    assert live.manager.unprotected() == ()


def test_a_stop_between_the_books_and_the_guard_is_nothing_to_do():
    """An add that fills in the group in which its position ends inherits the tighter guard, while its plan has a wider stop."""
    live = Live({STOP: [False, False, True], EXIT: [True]})
    live.fill(live.enter(plan()), "1", "100", OrderStatus.FILLED)
    run(live.manager.move_stop(BTC, Decimal(97), T0, ExitReason.TRAIL))
    add = live.enter(plan("q", kind=PlanKind.ADD, stop="96"))
    (stop,) = live.broker.of(STOP)
    live.broker.orders.pop(stop.client_id)
    parts = [live.made(stop, "1", "97", OrderStatus.FILLED), live.made(add, "0.5", "100", OrderStatus.FILLED)]
    run(live.manager.handle(parts[0] + parts[1]))
    assert live.ledger.positions[BTC].stop == 96
    assert run(live.manager.move_stop(BTC, Decimal("96.5"), T0 + 1, ExitReason.TRAIL)) is None
    with pytest.raises(ContractError, match="only tighten"):
        run(live.manager.move_stop(BTC, Decimal("95.5"), T0 + 1, ExitReason.TRAIL))
    run(live.manager.protect_again(T0 + 1))
    assert [item.price for item in live.broker.of(STOP)] == [97]


def test_what_could_not_be_protected_is_named_and_tried_again():
    live = Live({STOP: [True, False], EXIT: [True]})
    live.fill(live.enter(plan()), "1", "100", OrderStatus.FILLED)
    assert live.manager.unprotected() == (BTC,)
    assert run(live.manager.protect_again(T0 + 1)) == (BTC,)
    assert live.manager.unprotected() == ()
    assert [stop.ts for stop in live.broker.of(STOP)] == [T0 + 1]
    assert run(live.manager.protect_again(T0 + 2)) == ()


def test_a_stop_that_the_exchange_dropped_is_placed_again():
    live = Live()
    live.fill(live.enter(plan()), "1", "100", OrderStatus.FILLED)
    (stop,) = live.broker.of(STOP)
    del live.broker.orders[stop.client_id]
    run(live.manager.handle((OrderUpdate(stop.client_id, BTC, OrderStatus.CANCELED, T0),)))
    (again,) = live.broker.of(STOP)
    assert again.client_id != stop.client_id
    assert (again.price, again.qty) == (95, 1)


def test_an_exit_that_ended_without_closing_all_can_be_sent_again():
    live = Live()
    live.fill(live.enter(plan()), "1", "100", OrderStatus.FILLED)
    run(live.manager.close(BTC, T0, ExitReason.TIME_STOP))
    (leave,) = live.broker.of(EXIT)
    live.fill(leave, "0.4", "100")
    run(live.manager.handle((OrderUpdate(leave.client_id, BTC, OrderStatus.EXPIRED, T0, Decimal("0.4")),)))
    assert not live.manager.closing(BTC)
    assert run(live.manager.close(BTC, T0, ExitReason.TIME_STOP)).status is OrderStatus.NEW
    assert live.broker.placed[-1].qty == Decimal("0.6")


def test_a_take_that_is_refused_leaves_the_rest_in_place():
    live = Live({TAKE: [True, False]})
    live.fill(live.enter(plan(tps=TAKES)), "1", "100", OrderStatus.FILLED)
    assert [take.price for take in live.broker.of(TAKE)] == [110]
    assert len(live.broker.of(STOP)) == 1


def test_an_entry_that_filled_while_it_was_being_cancelled_is_still_expected():
    live = Live()
    entry = live.enter(plan())
    live.broker.answers[entry.client_id] = OrderUpdate(entry.client_id, BTC, OrderStatus.FILLED, T0, Decimal(1))
    run(live.manager.flatten_all(T0, ExitReason.KILL_SWITCH))
    assert live.ledger.plan("p") is not None
    live.fill(entry, "1", "100", OrderStatus.FILLED)
    assert len(live.broker.of(STOP)) == 1


def test_an_add_filled_after_its_position_went_is_protected_on_its_own():
    live = Live()
    live.fill(live.enter(plan()), "1", "100", OrderStatus.FILLED)
    add = live.enter(plan("q", kind=PlanKind.ADD, stop="98"))
    (stop,) = live.broker.of(STOP)
    live.broker.answers[add.client_id] = OrderUpdate(add.client_id, BTC, OrderStatus.FILLED, T0, Decimal("0.5"))
    live.fill(stop, "1", "95", OrderStatus.FILLED)
    assert live.manager.pending() == ()
    live.fill(add, "0.5", "100", OrderStatus.FILLED)
    (stop,) = live.broker.of(STOP)
    assert (stop.price, stop.qty, stop.plan_id) == (98, Decimal("0.5"), "q")


def test_the_rest_of_an_entry_that_is_told_after_its_stop_is_a_position_of_its_own():
    """F2: a venue may tell it so late; its ids are new, and the first trade stays as it was."""
    live = Live()
    entry = live.enter(plan(qty="1"))
    live.fill(entry, "0.4", "100")
    (stop,) = live.broker.of(STOP)
    live.fill(stop, "0.4", "95", OrderStatus.FILLED)
    assert (live.ledger.positions, live.broker.of(STOP)) == ({}, [])
    live.fill(entry, "0.3", "100")
    (second,) = live.broker.of(STOP)
    assert (second.qty, second.price, second.plan_id) == (Decimal("0.3"), 95, "p+")
    live.fill(entry, "0.3", "100", OrderStatus.FILLED)
    assert [order.qty for order in live.broker.of(STOP)] == [Decimal("0.6")]
    (whole,) = live.broker.of(STOP)
    live.fill(whole, "0.6", "95", OrderStatus.FILLED)
    ids = [order.client_id for order in live.broker.placed]
    assert len(set(ids)) == len(ids)
    assert [(trade.id, trade.qty) for trade in live.ledger.drain_trades()] == [
        ("trade-p", Decimal("0.4")),
        ("trade-p+", Decimal("0.6")),
    ]
    assert (live.manager.pending(), live.ledger.plan("p+")) == ((), None)
    assert live.ledger.wallet == pytest.approx(1_000.0 - 5.0 - 5 * 0.01)


@pytest.mark.parametrize("restarted", [False, True])
def test_the_rest_of_an_entry_that_was_called_back_after_its_stop_is_a_position_of_its_own(restarted: bool):
    """F2: the answer to the cancel counts fills that are told only then; without a plan they no run could go on."""
    live = Live()
    entry = live.enter(plan(qty="1"))
    live.fill(entry, "0.4", "100")
    (stop,) = live.broker.of(STOP)
    live.fill(stop, "0.4", "95", OrderStatus.FILLED)
    live.broker.answers[entry.client_id] = OrderUpdate(entry.client_id, BTC, OrderStatus.CANCELED, T0, Decimal("0.9"))
    run(live.manager.flatten_all(T0, ExitReason.KILL_SWITCH))
    assert live.manager.pending() == ()
    if restarted:
        live.manager.restore(json.loads(json.dumps(live.manager.snapshot())))
    live.fill(entry, "0.3", "100")
    live.fill(entry, "0.2", "100")
    (second,) = live.broker.of(STOP)
    assert (second.qty, second.price, second.plan_id) == (Decimal("0.5"), 95, "p+")


def test_entries_that_outlived_their_position_are_not_remembered_for_ever():
    live = Live()
    entries = []
    for number in range(17):
        entries.append(live.enter(plan(f"p{number}", ts=T0 + number)))
        live.fill(entries[-1], "0.4", "100")
        (stop,) = live.broker.of(STOP)
        live.fill(stop, "0.4", "95", OrderStatus.FILLED)
        run(live.manager.handle([OrderUpdate(entries[-1].client_id, BTC, OrderStatus.CANCELED, T0, Decimal("0.4"))]))
    assert list(live.manager.snapshot()["outlived"]) == [entry.client_id for entry in entries[1:]]


def test_a_manager_comes_back_from_json_text_and_numbers_on():
    """X43, F6: no client id is used twice over a restart."""
    desk = entered(tps=TAKES)
    run(desk.manager.submit(plan("e", symbol=ETH, ts=T0 + 2 * STEP)))
    before = desk.manager.snapshot()
    desk.restart()
    assert json.dumps(desk.manager.snapshot()) == json.dumps(before)
    assert desk.manager.pending() == (plan("e", symbol=ETH, ts=T0 + 2 * STEP),)
    run(desk.manager.move_stop(BTC, Decimal(97), T0, ExitReason.TRAIL))
    ids = [order.client_id for order in desk.log.intents]
    assert len(ids) == len(set(ids))
