from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.codes import RefusalCode
from core.monitor.schema import AlertLevel
from core.monitor.telemetry import Telemetry, TradeStats
from core.types import OrderSide, OrderStatus
from tests.core.monitor import making
from tests.core.monitor.making import BTC, ETH

ASKED = (  # of `brain paper --json`, as far as telemetry can know it
    *("bars", "symbol_bars", "decisions", "signals", "plans", "refusals", "orders", "trades", "regimes"),
    *("equity_start", "equity_end", "max_dd_pct", "profit_factor", "winrate", "fees", "funding"),
    *("daily_locks", "kill_switches", "errors", "warnings"),
)


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry((BTC, ETH), ("breakout_4h", "funding_rev"), r_pct_max=1.1)


def test_a_run_without_trades_is_not_judged(telemetry: Telemetry) -> None:
    result = telemetry.result()
    assert (result.winrate, result.profit_factor, result.winrate_with_scratches, result.avg_win_r) == (None, None, None, None)
    assert result.signals == {"breakout_4h": 0, "funding_rev": 0}
    assert (result.equity_start, result.max_dd_pct, result.refusals) == (None, 0.0, {})


def test_the_result_has_every_figure_that_is_asked_for(telemetry: Telemetry) -> None:
    """K: data of `brain paper --json`."""
    values = telemetry.result().to_dict()
    assert set(ASKED) <= set(values)
    assert json.loads(json.dumps(values)) == values


def test_the_result_says_where_the_books_come_from_and_what_was_wrong_with_the_data(telemetry: Telemetry) -> None:
    """B5: kinds are added up over symbols."""
    assert (telemetry.result().books, telemetry.result().data_issues) == ("recorded", {})
    assert Telemetry((BTC,), (), 1.1, has_books=False).result().books == "modelled"
    telemetry.set_data_issues([(BTC, "gap", 2), (ETH, "gap", 1), (ETH, "duplicate", 4)])
    assert telemetry.result().data_issues == {"duplicate": 4, "gap": 3}
    telemetry.set_data_issues([(BTC, "gap", 3)])
    assert telemetry.result().data_issues == {"gap": 3}


def test_things_are_counted_as_they_happen(telemetry: Telemetry) -> None:
    telemetry.on_bars(2)
    telemetry.on_bars(1)
    telemetry.on_decision()
    telemetry.on_signal(making.scored())
    telemetry.on_refusal(making.refusal())
    telemetry.on_refusal(making.refusal(RefusalCode.DAY_LOCK))
    telemetry.on_plan(making.plan(risk_r_pct=1.1))
    telemetry.on_plan(making.plan(risk_r_pct=1.2))
    telemetry.on_fill(making.fill())
    telemetry.on_funding(making.funding())
    telemetry.on_daily_lock()
    telemetry.on_kill_switch()
    telemetry.on_error()
    telemetry.on_alert(AlertLevel.WARNING)
    result = telemetry.result()
    assert (result.bars, result.symbol_bars, result.decisions, result.plans) == (2, 3, 1, 2)
    assert result.signals == {"breakout_4h": 1, "funding_rev": 0}
    assert result.refusals == {"COST_SHARE": 1, "DAY_LOCK": 1}
    assert (result.fees, result.funding) == (0.21, -0.042)
    assert (result.daily_locks, result.kill_switches, result.errors, result.warnings) == (1, 1, 1, 1)
    assert telemetry.plans_within == 1


def test_orders_are_counted_by_how_they_ended(telemetry: Telemetry) -> None:
    """F3: reject rate by symbol."""
    ends = [
        OrderStatus.NEW,
        OrderStatus.PARTIAL,
        OrderStatus.FILLED,
        OrderStatus.REJECTED,
        OrderStatus.EXPIRED,
        OrderStatus.CANCELED,
    ]
    for number, status in enumerate(ends):
        telemetry.on_order(making.order(number))
        telemetry.on_update(making.update(number, status))
    stats = telemetry.by_symbol[BTC]
    assert (stats.sent, stats.filled, stats.rejected, stats.expired, stats.canceled) == (6, 1, 1, 1, 1)
    assert stats.reject_ratio == pytest.approx(1 / 6)
    assert telemetry.by_symbol[ETH].reject_ratio is None


def test_slippage_is_what_was_paid_beyond_the_expected_price(telemetry: Telemetry) -> None:
    """F3: buying at 100.05 and selling at 99.95 against 100 both lose 5 basis points; makers are left out."""
    telemetry.on_fill(making.fill(1, price="100.05", expected=100.0))
    telemetry.on_fill(making.fill(2, price="99.95", expected=100.0, side=OrderSide.SELL))
    telemetry.on_fill(making.fill(3, price="101", expected=100.0, maker=True))
    stats = telemetry.by_symbol[BTC]
    assert stats.slippage_bps == pytest.approx(5.0)
    assert stats.spread_bps == pytest.approx(1.5)


def test_a_scratch_is_neither_won_nor_lost_and_raw_figures_are_shown_too(telemetry: Telemetry) -> None:
    """X6."""
    for number, (net, r, scratch) in enumerate([(3.0, 1.2, False), (0.2, 0.1, True), (-2.0, -0.9, False), (-0.1, -0.05, True)]):
        telemetry.on_trade(making.trade(number, net, r, scratch))
    result = telemetry.result()
    assert (result.trades, result.scratches) == (4, 2)
    assert result.winrate == 0.5
    assert result.winrate_with_scratches == 0.5
    assert result.profit_factor == pytest.approx(3.2 / 2.1)
    assert result.profit_factor_without_scratches == pytest.approx(1.5)
    assert (result.avg_win_r, result.avg_loss_r) == (1.2, -0.9)
    assert result.pnl_r == pytest.approx(0.35)
    assert result.max_dd_r == pytest.approx(0.95)  # from 1.3 to 0.35


def test_profit_factor_is_not_judged_while_nothing_was_lost() -> None:
    stats = TradeStats()
    stats.add(making.trade(1, 2.0, 1.0))
    assert stats.profit_factor is None
    assert stats.winrate == 1.0


def test_drawdown_is_the_largest_fall_from_a_peak(telemetry: Telemetry) -> None:
    for equity in (300.0, 330.0, 297.0, math.nan, 340.0, 323.0):
        telemetry.on_equity(equity)
    result = telemetry.result()
    assert (result.equity_start, result.equity_end) == (300.0, 323.0)
    assert result.max_dd_pct == pytest.approx(10.0)


@given(st.lists(st.floats(1.0, 1e6), min_size=1, max_size=50))
def test_drawdown_equals_its_definition(equities: list[float]) -> None:
    telemetry = Telemetry((BTC,), (), 1.1)
    for equity in equities:
        telemetry.on_equity(equity)
    worst = max((max(equities[: i + 1]) - equities[i]) / max(equities[: i + 1]) * 100 for i in range(len(equities)))
    assert telemetry.max_dd_pct == pytest.approx(worst)


@given(st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=4), max_size=30))
def test_regimes_are_counted_by_symbol_bar(bars: list[list[int]]) -> None:
    telemetry = Telemetry((BTC,), (), 1.1)
    for number, codes in enumerate(bars):
        telemetry.on_regimes(np.array(codes, dtype=np.int8))
        if number == 5:
            telemetry.snapshot()
    flat = [code for codes in bars for code in codes]
    names = ["unknown", "trend_up", "trend_down", "range_lowvol", "range_highvol", "panic"]
    assert telemetry.regimes == {name: flat.count(code) for code, name in enumerate(names)}


def _live(telemetry: Telemetry, first: int, last: int) -> None:
    for i in range(first, last):
        telemetry.on_bars(2)
        telemetry.on_decision()
        telemetry.on_equity(300.0 + (i * 37 % 11))
        telemetry.on_regimes(np.array([i // 3 % 6, 1], dtype=np.int8))
        telemetry.on_order(making.order(i))
        telemetry.on_fill(making.fill(i))
        telemetry.on_trade(making.trade(i, net=(-1.0) ** i, r=(-1.0) ** i * 0.7))
        telemetry.on_refusal(making.refusal())


@pytest.mark.parametrize("stop", [0, 4, 9])
def test_a_restored_count_goes_on_as_if_never_stopped(telemetry: Telemetry, stop: int) -> None:
    """X43."""
    _live(telemetry, 0, stop)
    saved = json.loads(json.dumps(telemetry.snapshot()))
    _live(telemetry, stop, 12)
    other = Telemetry((BTC, ETH), ("breakout_4h", "funding_rev"), r_pct_max=1.1)
    other.restore(saved)
    _live(other, stop, 12)
    assert other.result() == telemetry.result()
    assert other.snapshot() == telemetry.snapshot()


def test_a_transfer_that_counted_as_a_result_is_no_drawdown_once_it_is_known():
    telemetry = Telemetry((BTC,), (), 1.1)
    telemetry.on_late_transfer(0.5)
    for equity in (300.0, 297.0, 148.5):
        telemetry.on_equity(equity)
    telemetry.on_late_transfer(0.5)
    assert telemetry.drawdown_pct == pytest.approx(1.0)
    telemetry.on_late_transfer(0.5)
    assert telemetry.drawdown_pct == 0.0


def test_what_the_owner_moves_is_no_drawdown():
    """X11."""
    telemetry = Telemetry((BTC,), (), 1.1)
    telemetry.on_transfer(50.0)
    assert telemetry.equity is None
    for equity in (300.0, 297.0):
        telemetry.on_equity(equity)
    telemetry.on_transfer(-97.0)
    telemetry.on_equity(200.0)
    assert telemetry.drawdown_pct == pytest.approx(1.0)
    assert telemetry.max_dd_pct == pytest.approx(1.0)
