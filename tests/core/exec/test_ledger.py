"""The ledger: fills and funding become positions, trades and equity (X3, X5, X6, X9, X10, I2)."""

import json
from decimal import Decimal

import numpy as np
import pytest

from core.codes import RefusalCode
from core.errors import ContractError
from core.exec import ledger as ledger_module
from core.exec.ledger import Ledger, Unlisted
from core.types import (
    ExitReason,
    Fill,
    FundingPayment,
    OrderPurpose,
    OrderSide,
    OrderStatus,
    OrderUpdate,
    PlanKind,
    ScorePart,
    Side,
)
from tests.core.sim.kit import BTC, ETH, T0, instrument, plan

BUY, SELL = OrderSide.BUY, OrderSide.SELL
ENTRY, ADD, STOP, TAKE, EXIT = OrderPurpose.ENTRY, OrderPurpose.ADD, OrderPurpose.STOP, OrderPurpose.TAKE, OrderPurpose.EXIT


def made_ledger(*plans) -> Ledger:
    books = Ledger([instrument(BTC), instrument(ETH)], starting_equity=1_000.0, scratch_r=0.15)
    for item in plans:
        books.expect(item)
    return books


def fill(number, side, purpose, qty, price, *, plan_id="p", expected=None, fee=0.0, ts=T0, reason=None, **more):
    return Fill(
        id=f"f{number}",
        client_id=more.pop("client_id", f"c{number}"),
        plan_id=plan_id,
        symbol=more.pop("symbol", BTC),
        side=side,
        purpose=purpose,
        qty=Decimal(qty),
        price=Decimal(price),
        expected_price=float(price) if expected is None else expected,
        spread_bps=2.0,
        fee=fee,
        maker=False,
        ts=ts,
        reason=reason,
    )


def done(client_id, ts=T0, status=OrderStatus.FILLED):
    return OrderUpdate(client_id, BTC, status, ts)


def columns(*rows):
    """(closes, highs, lows) of rows (high, low, close)."""
    return tuple(np.array([row[k] for row in rows], dtype=float) for k in (2, 0, 1))


# --- opening --------------------------------------------------------------------------------------


def test_the_first_fill_opens_the_position_of_its_plan():
    books = made_ledger(plan())
    assert books.apply(fill(1, BUY, ENTRY, "1", "100.01", expected=100.0, fee=0.05, ts=T0 + 1))
    position = books.positions[BTC]
    assert (position.qty, position.avg_entry, position.first_entry, position.stop) == (1, 100.01, 100.01, 95)
    assert position.r_price == pytest.approx(5.01)  # X5: from the average fill to the initial stop
    assert position.slippage_usd == pytest.approx(0.01)
    assert (position.fees, position.opened_ts, position.best_close) == (0.05, T0 + 1, 100.01)
    assert books.wallet == pytest.approx(999.95)


def test_more_fills_of_the_entry_move_average_and_r():
    books = made_ledger(plan())
    books.apply(fill(1, BUY, ENTRY, "0.25", "100"))
    books.apply(fill(2, BUY, ENTRY, "0.75", "102"))
    position = books.positions[BTC]
    assert position.avg_entry == position.first_entry == 101.5
    assert (position.r_price, position.qty, position.adds, position.fills) == (6.5, 1, 0, 2)


def test_an_add_moves_the_average_but_not_r():
    add = plan("q", kind=PlanKind.ADD, stop="101")
    books = made_ledger(plan(), add)
    books.apply(fill(1, BUY, ENTRY, "1", "100"))
    books.apply(fill(2, BUY, ADD, "0.25", "110", plan_id="q"))
    books.apply(fill(3, BUY, ADD, "0.25", "112", plan_id="q"))
    position = books.positions[BTC]
    assert position.avg_entry == pytest.approx((100 + 27.5 + 28) / 1.5)
    assert (position.first_entry, position.r_price, position.adds) == (100.0, 5.0, 1)
    books.apply(fill(4, BUY, ENTRY, "0.5", "100"))  # a late part of the entry, after the add
    assert (books.positions[BTC].first_entry, books.positions[BTC].adds) == (100.0, 1)


def test_an_add_after_part_was_sold_averages_what_is_open():
    add = plan("q", kind=PlanKind.ADD)
    books = made_ledger(plan(), add)
    books.apply(fill(1, BUY, ENTRY, "1", "100"))
    books.apply(fill(2, SELL, TAKE, "0.5", "110"))
    books.apply(fill(3, BUY, ADD, "0.5", "120", plan_id="q"))
    assert books.positions[BTC].avg_entry == 110.0
    assert books.equity(np.array([120.0, np.nan])) == pytest.approx(1_000 + 5 + 10)


def test_an_add_that_finds_nothing_open_is_a_position_of_its_own():
    books = made_ledger(plan("q", kind=PlanKind.ADD, stop="98"))
    books.apply(fill(1, BUY, ADD, "0.3", "110", plan_id="q"))
    assert (books.positions[BTC].stop, books.positions[BTC].adds) == (98, 0)


def test_a_fill_at_or_beyond_the_stop_takes_the_planned_r():
    books = made_ledger(plan())
    books.apply(fill(1, BUY, ENTRY, "1", "95"))
    assert books.positions[BTC].r_price == pytest.approx(5.05)  # 100.05 - 95
    short = made_ledger(plan(side=Side.SHORT, entry="99.95", stop="105"))
    short.apply(fill(1, SELL, ENTRY, "1", "106"))
    assert short.positions[BTC].r_price == pytest.approx(5.05)


def test_an_opening_fill_needs_its_plan():
    with pytest.raises(ContractError, match="without a plan"):
        made_ledger().apply(fill(1, BUY, ENTRY, "1", "100"))


def test_a_fill_against_the_open_side_is_an_error():
    books = made_ledger(plan(), plan("q", side=Side.SHORT, stop="105"))
    with pytest.raises(ContractError, match="turn"):
        books.apply(fill(1, SELL, ENTRY, "1", "100"))
    books.apply(fill(2, BUY, ENTRY, "1", "100"))
    with pytest.raises(ContractError, match="turn"):
        books.apply(fill(3, SELL, ENTRY, "1", "100", plan_id="q"))


@pytest.mark.parametrize(
    "bad", [fill(9, SELL, STOP, "1.5", "95"), fill(9, BUY, EXIT, "1", "95"), fill(9, SELL, EXIT, "1", "9", symbol=ETH)]
)
def test_closing_more_than_is_open_is_an_error_and_changes_nothing(bad):
    books = made_ledger(plan())
    books.apply(fill(1, BUY, ENTRY, "1", "100"))
    before = books.snapshot()
    with pytest.raises(ContractError, match="closes more"):
        books.apply(bad)
    assert books.snapshot() == before


def test_a_plan_is_announced_once_and_must_risk_something():
    books = made_ledger(plan())
    with pytest.raises(ContractError, match="twice"):
        books.expect(plan())
    for risk in (0.0, float("nan")):
        with pytest.raises(ContractError, match="risk_usd"):
            books.expect(plan("q", risk_usd=risk))


def test_a_plan_is_forgotten_only_while_nothing_of_it_was_filled():
    books = made_ledger(plan(), plan("q"))
    books.apply(fill(1, BUY, ENTRY, "1", "100"))
    for plan_id in ("p", "q", "unknown"):
        books.forget(plan_id)
    assert books.plan("p") == plan()
    assert books.plan("q") is None


# --- duplicates -----------------------------------------------------------------------------------


def test_a_fill_or_a_payment_that_comes_twice_counts_once():
    books = made_ledger(plan())
    opening, paid = fill(1, BUY, ENTRY, "1", "100", fee=0.1), FundingPayment(BTC, T0, 0.0001, 100.0, Decimal(1), -0.01)
    assert [books.apply(event) for event in (opening, paid, opening, paid)] == [True, True, False, False]
    assert books.duplicates == 2
    assert books.positions[BTC].qty == 1
    assert books.wallet == pytest.approx(1_000 - 0.1 - 0.01)
    assert books.seen("f1")
    assert not books.seen("f2")


def test_the_memory_for_duplicates_is_bounded(monkeypatch):
    monkeypatch.setattr(ledger_module, "SEEN_KEPT", 2)
    books = made_ledger(plan())
    for number in range(3):
        books.apply(fill(number, BUY, ENTRY, "0.1", "100"))
    assert [books.seen(f"f{number}") for number in range(3)] == [False, True, True]


# --- takes ----------------------------------------------------------------------------------------


def test_a_take_counts_when_its_order_is_filled_whole():
    books = made_ledger(plan())
    books.apply(fill(1, BUY, ENTRY, "1", "100"))
    books.apply(fill(2, SELL, TAKE, "0.1", "105", client_id="t1", ts=T0 + 5))
    books.apply(done("t1", T0 + 5, OrderStatus.PARTIAL))
    assert (books.positions[BTC].takes_filled, books.positions[BTC].first_take_ts) == (0, None)
    books.apply(fill(3, SELL, TAKE, "0.15", "105", client_id="t1", ts=T0 + 9))
    books.apply(done("t1", T0 + 9))
    books.apply(done("t1", T0 + 9))
    books.apply(done("c1"))
    assert (books.positions[BTC].takes_filled, books.positions[BTC].first_take_ts) == (1, T0 + 9)
    books.apply(fill(4, SELL, TAKE, "0.25", "110", client_id="t2", ts=T0 + 20))
    books.apply(done("t2", T0 + 20))
    assert (books.positions[BTC].takes_filled, books.positions[BTC].first_take_ts) == (2, T0 + 9)


def test_a_take_that_is_told_inside_a_bar_counts_from_the_close_of_that_bar_on():
    """X16: a real venue tells it when it happens; an add waits for the close after the one of that bar all the same."""
    books = Ledger([instrument(BTC)], starting_equity=1_000.0, scratch_r=0.15, bar_ms=[300_000])
    books.expect(plan())
    books.apply(fill(1, BUY, ENTRY, "1", "100", ts=600_012))
    books.apply(fill(2, SELL, TAKE, "0.25", "105", client_id="t1", ts=700_001))
    books.apply(done("t1", 700_001))
    assert (books.positions[BTC].first_take_ts, books.positions[BTC].reached_1r_ts) == (900_000, 900_000)


def test_a_take_that_closes_the_position_counts_too():
    books = made_ledger(plan())
    books.apply(fill(1, BUY, ENTRY, "1", "100"))
    books.apply(fill(2, SELL, TAKE, "0.5", "102", client_id="t1"))
    books.apply(done("t1"))
    books.apply(fill(3, SELL, TAKE, "0.5", "104", client_id="t2"))
    books.apply(done("t2"))
    (trade,) = books.drain_trades()
    assert (trade.takes_filled, trade.exit_reason, trade.stop_exit) == (2, ExitReason.TAKE, False)


# --- trades ---------------------------------------------------------------------------------------


def test_a_closed_trade_carries_plan_money_and_r():
    """X5: R is net money over the planned risk money. Short 1 at 99.99, take 0.25 at 95, rest stopped at 101.02."""
    parts = (ScorePart("trend", 2.0, 2.5, True, (("adx", 30.0),)),)
    books = made_ledger()
    books.expect(plan(side=Side.SHORT, entry="99.95", stop="105"), parts)
    books.apply(fill(1, SELL, ENTRY, "1", "99.99", expected=100.0, fee=0.05, ts=T0 + 10))
    books.apply(FundingPayment(BTC, T0 + 20, 0.0001, 100.0, Decimal(-1), 0.01))
    books.apply(fill(2, BUY, TAKE, "0.25", "95", fee=0.005, client_id="t", ts=T0 + 30))
    books.apply(done("t", T0 + 30))
    books.on_close(T0 + 30, *columns((104.0, 94.0, 96.0)), np.array([0]))
    books.set_stop(BTC, Decimal(101))
    books.apply(fill(3, BUY, STOP, "0.75", "101.02", expected=101.0, fee=0.04, ts=T0 + 40, reason=ExitReason.BREAK_EVEN))
    (trade,) = books.drain_trades()
    assert books.drain_trades() == ()
    assert books.positions == {}
    gross = 0.25 * 4.99 - 0.75 * 1.03
    assert trade.gross == pytest.approx(gross)
    assert (trade.fees, trade.funding) == (pytest.approx(0.095), 0.01)
    assert trade.net == pytest.approx(gross - 0.095 + 0.01)
    assert trade.r_multiple == pytest.approx((gross - 0.085) / 5.0)
    assert books.wallet == pytest.approx(1_000 + trade.net)
    assert (trade.entry_price, trade.qty) == (pytest.approx(99.99), 1)
    assert trade.exit_price == pytest.approx(0.25 * 95 + 0.75 * 101.02)
    assert trade.avg_slippage_bps == pytest.approx((0.01 + 0.75 * 0.02) / (99.99 + 23.75 + 75.765) * 1e4)
    assert trade.avg_spread_bps == 2.0
    assert (trade.mae_r, trade.mfe_r) == (pytest.approx((99.99 - 104) / 5.01), pytest.approx((99.99 - 94) / 5.01))
    assert (trade.exit_reason, trade.stop_exit, trade.takes_filled) == (ExitReason.BREAK_EVEN, True, 1)
    assert (trade.initial_stop, trade.final_stop) == (105, 101)
    assert (trade.opened_ts, trade.closed_ts) == (T0 + 10, T0 + 40)
    assert (trade.id, trade.plan_id, trade.signal_id, trade.governance) == ("trade-p", "p", "s-p", "digest")
    assert trade.score_parts == parts
    assert trade.meta == plan().meta
    assert books.plan("p") is None


@pytest.mark.parametrize(("net", "scratch"), [("0.75", True), ("-0.75", True), ("0.76", False), ("-0.76", False)])
def test_a_trade_within_15_hundredths_of_r_is_a_scratch(net, scratch):
    """X6, with 5 USD of planned risk."""
    books = made_ledger(plan(risk_usd=5.0))
    books.apply(fill(1, BUY, ENTRY, "1", "100"))
    books.apply(fill(2, SELL, EXIT, "1", str(Decimal(100) + Decimal(net)), reason=ExitReason.TIME_STOP))
    (trade,) = books.drain_trades()
    assert trade.scratch is scratch
    assert trade.stop_exit is False


@pytest.mark.parametrize(
    ("purpose", "reason", "expected", "stop_exit"),
    [
        (STOP, None, ExitReason.STOP, True),
        (EXIT, None, ExitReason.STOP, True),
        (TAKE, None, ExitReason.TAKE, False),
        (STOP, ExitReason.TRAIL, ExitReason.TRAIL, True),
        (EXIT, ExitReason.LIQUIDATION, ExitReason.LIQUIDATION, True),
        (EXIT, ExitReason.KILL_SWITCH, ExitReason.KILL_SWITCH, False),
    ],
)
def test_the_last_exit_names_the_reason(purpose, reason, expected, stop_exit):
    books = made_ledger(plan())
    books.apply(fill(1, BUY, ENTRY, "1", "100"))
    books.apply(fill(2, SELL, purpose, "1", "99", reason=reason))
    (trade,) = books.drain_trades()
    assert (trade.exit_reason, trade.stop_exit) == (expected, stop_exit)


def test_other_symbols_plans_outlive_a_closed_trade():
    books = made_ledger(plan(), plan("e", symbol=ETH), plan("later"))
    books.apply(fill(1, BUY, ENTRY, "1", "100"))
    books.apply(fill(2, BUY, ENTRY, "1", "10", symbol=ETH, plan_id="e"))
    books.apply(fill(3, SELL, EXIT, "1", "99"))
    assert books.plan("p") is None
    assert books.plan("e") is not None
    assert books.plan("later") is not None
    assert list(books.positions) == [ETH]


def test_funding_after_the_close_still_reaches_the_wallet():
    books = made_ledger()
    books.apply(FundingPayment(BTC, T0, 0.0001, 100.0, Decimal(1), -0.5))
    assert books.wallet == 999.5


def test_order_updates_change_no_money():
    books = made_ledger(plan())
    before = books.snapshot()
    assert books.apply(OrderUpdate("x", BTC, OrderStatus.REJECTED, T0, code=RefusalCode.FILTER_REJECTED))
    assert books.snapshot() == before


# --- bars -----------------------------------------------------------------------------------------


def test_best_close_and_extremes_follow_open_positions():
    books = made_ledger(plan(), plan("e", symbol=ETH, side=Side.SHORT, entry="9", stop="12"))
    books.on_close(T0, *columns((1.0, 1.0, 1.0)), np.array([0]))
    books.apply(fill(1, BUY, ENTRY, "1", "100", ts=T0))
    books.apply(fill(2, SELL, ENTRY, "1", "10", symbol=ETH, plan_id="e", ts=T0))
    books.on_close(T0 + 1, *columns((12.0, 8.0, 9.0), (104.0, 97.0, 103.0)), np.array([1, 0]))
    long, short = books.positions[BTC], books.positions[ETH]
    assert (long.best_close, long.mae, long.mfe) == (103.0, 97.0, 104.0)
    assert (short.best_close, short.mae, short.mfe) == (9.0, 12.0, 8.0)
    books.on_close(T0 + 2, *columns((103.0, 98.0, 99.0)), np.array([0]))
    assert books.positions[BTC] is long
    books.on_close(T0, *columns((900.0, 1.0, 800.0)), np.array([0]))  # closed before (or as) the position opened
    assert books.positions[BTC] is long


def test_a_merged_1r_take_is_stood_for_by_the_first_close_at_1r():
    """X3, X14, X16: 1R is 5; a take at 1R is waited for, unless a smaller fill may have merged it; restarts change nothing."""
    cases = (
        (plan(tps=[(2.0, "0.5")]), "1", T0 + 2),
        (plan(), "1", T0 + 2),
        (plan(tps=[(0.5, "0.5"), (2.0, "0.5")]), "1", T0 + 2),
        (plan(tps=[(1.0, "0.25"), (2.0, "0.25")]), "1", None),
        (plan(tps=[(1.0, "0.25"), (2.0, "0.25")]), "0.4", T0 + 2),
    )
    for made, qty, since in cases:
        books = made_ledger(made)
        books.apply(fill(1, BUY, ENTRY, qty, "100", ts=T0))
        for step, close in enumerate((104.99, 105.0, 101.0, 106.0), start=1):
            books.on_close(T0 + step, *columns((close, close, close)), np.array([0]))
            again = made_ledger()
            again.restore(json.loads(json.dumps(books.snapshot())))
            books = again
        assert books.positions[BTC].reached_1r_ts == since


def test_a_take_nearer_than_1r_is_not_the_1r_take():
    """X16: range's take at 0.5R is only half of the way."""
    books = made_ledger(plan(tps=[(0.5, "0.25"), (1.0, "0.25")]))
    books.apply(fill(1, BUY, ENTRY, "1", "100"))
    for number, ts in ((1, T0 + 5), (2, T0 + 9)):
        assert books.positions[BTC].reached_1r_ts is None
        books.apply(fill(1 + number, SELL, TAKE, "0.25", "105", client_id=f"t{number}", ts=ts))
        books.apply(done(f"t{number}", ts))
    assert (books.positions[BTC].first_take_ts, books.positions[BTC].reached_1r_ts) == (T0 + 5, T0 + 9)


# --- money ----------------------------------------------------------------------------------------


def test_open_profit_adds_up_over_positions_in_instrument_order():
    """X11."""
    books = made_ledger(plan("e", symbol=ETH, side=Side.SHORT, entry="9", stop="12"), plan())
    books.apply(fill(1, SELL, ENTRY, "2", "10", symbol=ETH, plan_id="e"))
    books.apply(fill(2, BUY, ENTRY, "1", "100"))
    prices = np.array([103.0, 9.0])
    assert books.unrealised(prices) == pytest.approx(3 + 2)
    assert books.equity(prices) == pytest.approx(1_005)


def test_an_unknown_price_makes_equity_unknown():
    books = made_ledger(plan())
    books.apply(fill(1, BUY, ENTRY, "1", "100"))
    assert np.isnan(books.equity(np.array([np.nan, 1.0])))


# --- state ----------------------------------------------------------------------------------------


def test_a_ledger_comes_back_from_json_text_unchanged():
    """X43: positions, plans, trades not yet drained, and what was seen."""
    books = made_ledger(plan(tps=[(1.0, "0.25")]), plan("e", symbol=ETH))
    books.apply(fill(1, BUY, ENTRY, "1", "100.01", fee=0.1))
    books.apply(fill(2, SELL, TAKE, "0.25", "105", client_id="t", fee=0.1))
    books.apply(fill(3, BUY, ENTRY, "1", "10", symbol=ETH, plan_id="e"))
    books.apply(fill(4, SELL, EXIT, "1", "11", symbol=ETH))
    again = made_ledger()
    again.restore(json.loads(json.dumps(books.snapshot())))
    assert again.snapshot() == books.snapshot()
    assert again.positions == books.positions
    assert again.apply(fill(1, BUY, ENTRY, "1", "100.01")) is False
    again.apply(done("t"))
    assert again.positions[BTC].takes_filled == 1
    assert again.drain_trades() == books.drain_trades()


def test_closed_money_is_told_once_when_it_was_made():
    """X8: fees of opening fills, gross less fee of closing ones, funding; together they are the change of the wallet."""
    books = made_ledger(plan())
    books.apply(fill(1, BUY, ENTRY, "1", "100", fee=0.05, ts=T0))
    books.apply(fill(1, BUY, ENTRY, "1", "100", fee=0.05, ts=T0))
    books.apply(fill(2, SELL, TAKE, "0.25", "104", fee=0.01, client_id="t", ts=T0 + 5))
    again = made_ledger()
    again.restore(json.loads(json.dumps(books.snapshot())))
    again.apply(FundingPayment(BTC, T0 + 7, 0.0001, 100.0, Decimal(1), -0.02))
    again.apply(fill(3, SELL, EXIT, "0.75", "99", fee=0.03, ts=T0 + 9))
    booked = again.drain_realised()
    assert [ts for ts, _ in booked] == [T0, T0 + 5, T0 + 7, T0 + 9]
    assert [amount for _, amount in booked] == pytest.approx([-0.05, 0.99, -0.02, -0.78])
    assert sum(amount for _, amount in booked) == pytest.approx(again.wallet - 1_000.0)
    assert again.drain_realised() == ()


def test_a_snapshot_is_not_touched_by_what_follows():
    books = made_ledger(plan())
    books.apply(fill(1, BUY, ENTRY, "1", "100"))
    saved = books.snapshot()
    text = json.dumps(saved)
    books.apply(fill(2, SELL, EXIT, "1", "101"))
    assert json.dumps(saved) == text


def test_money_that_no_fill_tells_of_is_in_the_wallet_and_outlives_a_restart():
    """X11: paid in or taken out by the owner, or explained by nobody."""
    books = made_ledger()
    books.move(-100.0, T0)
    books.move(0.5)
    assert (books.wallet, books.transfers) == (900.5, ((T0, -100.0),))
    again = made_ledger()
    again.restore(json.loads(json.dumps(books.snapshot())))
    assert (again.wallet, again.transfers, again.starting_equity) == (900.5, ((T0, -100.0),), 1_000.0)


def test_transfers_are_remembered_as_long_as_an_older_one_may_still_be_listed():
    """X11: six days; what is older is looked for no more, whatever came after it."""
    books, day = made_ledger(), 86_400_000
    for at in (T0, T0 + 3 * day, T0 + 2 * day):
        books.move(1.0, at)
    assert (books.moved_ts, len(books.transfers)) == (T0 - 3 * day, 3)
    books.move(1.0, T0 + 6 * day)
    assert (books.moved_ts, [ts for ts, _ in books.transfers]) == (T0, [T0 + 3 * day, T0 + 2 * day, T0 + 6 * day])
    books.count(-1.0, T0 + 8 * day, T0 + 9 * day, 1_000.0, 0)
    assert (books.moved_ts, [ts for ts, _ in books.transfers]) == (T0 + 2 * day, [T0 + 3 * day, T0 + 6 * day])


def test_a_snapshot_from_before_transfers_were_remembered_one_by_one_knows_all_up_to_its_time():
    books = made_ledger()
    books.restore(made_ledger().snapshot() | {"moved": -100.0, "moved_ts": T0})
    assert (books.wallet, books.moved_ts, books.transfers) == (900.0, T0, ())
    assert "transfers" not in books.snapshot()


def test_what_counted_as_a_result_and_was_moved_by_the_owner_leaves_a_share_and_moves_no_money_again():
    """X11: of 1,000 USD 200 and then 300 more turn out to have been taken out; of what came later nothing is in it."""
    books = made_ledger()
    books.count(-600.0, T0 + 9, T0 + 5, 1_000.0, 0)
    assert (books.wallet, books.transfers) == (400.0, ())
    assert books.list_late(T0 + 9, -200.0) == (T0 + 5, pytest.approx(0.8))
    again = made_ledger()
    again.restore(json.loads(json.dumps(books.snapshot())))
    assert again.unlisted == books.unlisted == (Unlisted(0, T0 + 9, T0 + 5, 1_000.0, -200.0),)
    assert again.transfers == ((T0 + 9, -200.0),)
    assert again.list_late(T0 + 1, -300.0) == (T0 + 5, pytest.approx(500.0 / 800.0))
    assert again.list_late(T0 + 9, -900.0) == (T0 + 5, 0.0)
    assert again.wallet == 400.0


def test_what_counted_long_ago_or_out_of_nothing_changes_no_share():
    books = made_ledger()
    books.count(-1.0, 10, 5, 1_000.0, 0)
    books.count(-1.0, 20, 15, 0.0, 5)
    assert [one.upto for one in books.unlisted] == [10, 20]
    assert books.list_late(20, -1.0) == (15, 1.0)
    books.count(-1.0, 30, 25, 1_000.0, 6)
    assert [(one.after, one.upto) for one in books.unlisted] == [(10, 20), (20, 30)]
    with pytest.raises(ContractError, match="a transfer of 10 was listed late"):
        books.list_late(10, -1.0)
    assert "unlisted" not in made_ledger().snapshot()
