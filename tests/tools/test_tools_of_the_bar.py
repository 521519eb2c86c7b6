"""Tools on the path of a bar, one by one, over a real market and a real position (requirement G3)."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest

from core.codes import RefusalCode
from core.data.blocks import Book
from core.errors import DataError
from core.types import (
    AdjustKind,
    Event,
    EventKind,
    ExitReason,
    GovernorView,
    Plan,
    Refusal,
    Regime,
    ScoredSignal,
    Side,
    Signal,
    Timeframe,
)
from tests.agents.making import BTC, CLOSE, ETH, SIGNAL, Ran, breaking_out, close_of, play, untouched
from tests.core.strategies.making import trade
from tests.support.ladder import HOUR, ladder
from tests.support.values import replace
from tools.context import BrainContext
from tools.tools_execution_agent.liquidity_check import liquidity_check
from tools.tools_execution_agent.slippage_estimator import slippage_estimator
from tools.tools_market_regime_agent.feature_loader import feature_loader
from tools.tools_market_regime_agent.regime_classifier import regime_classifier
from tools.tools_market_regime_agent.trend_detector import trend_detector
from tools.tools_market_regime_agent.volatility_calc import volatility_calc
from tools.tools_risk_manager_agent.dd_guard import dd_guard
from tools.tools_risk_manager_agent.position_sizer import Add, BarExposure, Entry, exit_cost_rate, position_sizer
from tools.tools_risk_manager_agent.stop_planner import stop_planner
from tools.tools_strategy_selection_agent.cooldown_manager import cooldown_manager
from tools.tools_strategy_selection_agent.enable_map_loader import enable_map_loader

LAST = SIGNAL + 1
"""Last hour of the run: the entry was filled in it."""


@pytest.fixture(scope="module")
def bought(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """BTC was bought an hour ago, ETH only climbs."""
    return play(tmp_path_factory.mktemp("bought"), BTC=breaking_out().climb(1), ETH=ladder().climb(LAST + 1))


@pytest.fixture
def ran(bought: Ran) -> Iterator[Ran]:
    with untouched(bought) as ran:
        yield ran


@pytest.fixture
def context(ran: Ran) -> BrainContext:
    return ran.context


@pytest.fixture
def plan(ran: Ran) -> Plan:
    return ran.states[SIGNAL]["risk"].plans[0]


def event(ts: int) -> Event:
    return Event(EventKind.BAR, 99, ts)


# --- market_regime --------------------------------------------------------------------------------


def test_features_are_handed_over_only_at_the_time_of_the_event(context: BrainContext) -> None:
    """G4: nothing is decided from features of another bar."""
    assert feature_loader.run(context, event(close_of(LAST))) is context.market.closed
    with pytest.raises(DataError, match=f"features stand at {close_of(LAST)}, the event is of {close_of(LAST + 1)}"):
        feature_loader.run(context, event(close_of(LAST + 1)))


def test_three_tools_together_hold_what_the_tracker_alone_would_hold(context: BrainContext) -> None:
    """G6: classification in steps is the same as in one go."""
    closed = context.market.closed
    before = context.regimes.snapshot()
    regimes = regime_classifier.run(context, closed, volatility_calc.run(context, closed), trend_detector.run(context, closed))
    in_steps = context.regimes.snapshot()
    context.regimes.restore(before)
    context.regimes.update(closed)
    assert context.regimes.snapshot() == in_steps
    assert [regime.value for regime in regimes.h1] == ["trend_up", "trend_up"]


def test_labels_that_did_not_change_are_the_same_object(context: BrainContext) -> None:
    """So that their hash is not made again on every bar."""
    closed = context.market.closed
    made = [
        regime_classifier.run(context, closed, volatility_calc.run(context, closed), trend_detector.run(context, closed))
        for _ in range(2)
    ]
    assert made[0] is made[1]


# --- strategy_selection ---------------------------------------------------------------------------


def test_the_enable_map_is_the_run_s_own(context: BrainContext) -> None:
    assert enable_map_loader.run(context) is context.config.enable_map


def test_a_resting_strategy_is_told_until_when(context: BrainContext) -> None:
    """G6: two stops on the 1h, then three whole bars."""
    now = close_of(LAST)
    assert cooldown_manager.run(context, "breakout_4h", now) is None
    for _ in range(2):
        context.cooldowns.on_trade(trade(-1.0, strategy="breakout_4h", closed_ts=now, tf=Timeframe.H1))
    assert cooldown_manager.run(context, "breakout_4h", now) == now + 4 * HOUR
    assert cooldown_manager.run(context, "breakout_4h", now + 4 * HOUR) is None


# --- risk_manager: the guard ----------------------------------------------------------------------


def test_the_guard_marks_equity_at_the_last_close(context: BrainContext) -> None:
    """X11: wallet and open profit; bought at 189.9, the last close is 0.06 above 189.88."""
    view = dd_guard.run(context, close_of(LAST) + HOUR)
    position = context.ledger.positions[BTC]
    assert view.equity == pytest.approx(context.ledger.wallet + 0.584 * (CLOSE + 0.06 - 189.9), abs=1e-9)
    assert view.ts == close_of(LAST) + HOUR
    assert position.qty == Decimal("0.584")


def test_the_guard_counts_a_bar_once(context: BrainContext) -> None:
    """The brain and the risk manager both ask; the second gets the very same answer."""
    first = dd_guard.run(context, close_of(LAST) + HOUR)
    assert dd_guard.run(context, close_of(LAST) + HOUR) is first


def test_an_unknown_mark_makes_equity_unknown_and_opens_nothing(context: BrainContext) -> None:
    """A missing price is not a price at which nothing was lost."""
    context.market.last_close[context.market.index[BTC]] = float("nan")
    view = dd_guard.run(context, close_of(LAST) + HOUR)
    assert (view.state.value, view.room_usd) == ("reducing", 0.0)


# --- risk_manager: exits --------------------------------------------------------------------------


def stops(context: BrainContext, ts: int, governor: GovernorView | None = None):
    return stop_planner.run(context, event(ts), BTC, governor or context.governor.view)


def test_nothing_is_planned_for_a_symbol_without_a_position(context: BrainContext) -> None:
    assert stop_planner.run(context, event(close_of(LAST)), ETH, context.governor.view) is None


def test_a_position_a_little_in_profit_keeps_its_stop(context: BrainContext) -> None:
    assert stops(context, close_of(LAST)) is None


def test_a_bar_of_others_changes_no_stop_but_the_time_stop_is_heard(context: BrainContext, plan: Plan) -> None:
    """Break-even and trail are decided at the symbol's own base close; time runs for all."""
    assert stops(context, close_of(LAST) + 1) is None
    late = stops(context, plan.time_stop_ts)
    assert late is not None
    assert (late.kind, late.reason, late.symbol) == (AdjustKind.CLOSE, ExitReason.TIME_STOP, BTC)


def with_funding_exit(context: BrainContext) -> BrainContext:
    """The same context, in which the position belongs to a strategy that leaves when funding is normal."""
    return replace(context, funding_exits=frozenset({"breakout_4h"}))


def test_a_position_for_funding_is_closed_when_funding_is_normal_again(context: BrainContext) -> None:
    """X4: the long waited for negative funding; it is at its default of +0.01 %."""
    found = stops(with_funding_exit(context), close_of(LAST))
    assert found is not None
    assert (found.kind, found.reason) == (AdjustKind.CLOSE, ExitReason.FUNDING_NORMAL)


def test_unknown_funding_closes_nothing(context: BrainContext) -> None:
    context.market.features.view["funding"][:] = float("nan")
    assert stops(with_funding_exit(context), close_of(LAST)) is None


def test_a_strategy_that_is_gone_leaves_its_position_to_stop_and_time(context: BrainContext) -> None:
    assert stops(replace(context, strategies={}), close_of(LAST)) is None


def test_without_an_atr_nothing_is_trailed(context: BrainContext) -> None:
    context.market.features.ready["atr@4h"][:] = False
    assert stops(context, close_of(LAST)) is None


# --- risk_manager: size ---------------------------------------------------------------------------


def test_exposure_counts_what_is_open_pending_and_admitted_on_this_bar(context: BrainContext, plan: Plan) -> None:
    """X9: risk at the present stop with costs: 0.584 x (189.9 - 186.0) and the way out."""
    other = replace(plan, symbol=ETH, id="P-other")
    view = BarExposure((other,)).view(context, context.governor.view)
    (held,), (pending,) = view.positions, view.pending
    leave = 0.584 * 186.0 * exit_cost_rate(context, context.ledger.positions[BTC], CLOSE + 0.06)
    assert held.risk_usd == pytest.approx(0.584 * 3.9 + leave, rel=1e-9)
    assert (pending.symbol, pending.risk_usd) == (ETH, plan.risk_usd)
    assert view.universe == (BTC, ETH)


def test_leaving_costs_a_fee_and_half_the_spread_even_when_there_is_no_book(context: BrainContext) -> None:
    """5 bps and half of 1 bps, and 5 bps of depth times 111 of 500,000 USD; the same where the last book is too old."""
    position = context.ledger.positions[BTC]
    expected = 5e-4 + 0.5e-4 + 5e-4 * (0.584 * 190.0) / 500_000.0
    assert exit_cost_rate(context, position, 190.0) == pytest.approx(expected, rel=1e-9)
    context.market.last_ts[context.market.index[BTC]] = -1
    assert exit_cost_rate(context, position, 190.0) == pytest.approx(expected, rel=1e-9)


def test_leaving_where_nobody_stands_near_the_middle_costs_half_the_spread_and_the_modelled_depth(
    context: BrainContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A spread of 100 bps leaves nothing within 10 bps of the middle: 5 bps, 50 bps, and 5 bps times 111 of 500,000 USD."""
    position = context.ledger.positions[BTC]
    monkeypatch.setattr(context.market, "book", lambda index, ts: Book(BTC, ts, 199.0, 201.0, 0.0, False))
    expected = 5e-4 + 50e-4 + 5e-4 * (0.584 * 190.0) / 500_000.0
    assert exit_cost_rate(context, position, 190.0) == pytest.approx(expected, rel=1e-9)


def test_an_unknown_atr_rank_is_told_as_unknown(context: BrainContext) -> None:
    """E3: the risk engine counts it as high and cuts the risk; it is never read as quiet."""
    asked = Entry(scored_signal(), context.governor.view)
    known = position_sizer.run(context, asked, BarExposure())
    context.market.features.view["atr_rank@4h"][:] = float("nan")
    unknown = position_sizer.run(context, asked, BarExposure())
    assert isinstance(known, Plan)
    assert isinstance(unknown, Plan)
    assert (dict(known.meta)["atr_rank"] is None, dict(unknown.meta)["atr_rank"] is None) == (False, True)
    assert dict(unknown.meta)["r_pct"] == pytest.approx(0.6)  # 0.8 - 0.2


def scored_signal() -> ScoredSignal:
    """A breakout on ETH at the last close; its 4h frame has a rank of its ATR."""
    ts = close_of(LAST)
    signal = Signal("s", "breakout_4h", ETH, Side.LONG, 187.24, Timeframe.H4, ts, ts + HOUR, "by hand", 3.0)
    return ScoredSignal(signal, 9.0, 7.0, Regime.TREND_UP, ())


def add(context: BrainContext, symbol: str = BTC, ts: int = close_of(LAST)) -> Plan | Refusal | None:
    return position_sizer.run(
        context, Add(symbol, event(ts), context.governor.view, context.market.health.report(ts)), BarExposure()
    )


def test_no_add_is_due_without_a_position_before_the_take_or_on_the_bar_of_others(context: BrainContext) -> None:
    """X16."""
    assert add(context, ETH) is None
    assert add(context) is None
    assert add(context, ts=close_of(LAST) + 1) is None


# --- execution ------------------------------------------------------------------------------------


def test_an_order_as_large_as_the_book_is_too_large(context: BrainContext, plan: Plan) -> None:
    """H4: the modelled book of BTC holds 500,000 USD within 0.1 %."""
    fits = replace(plan, ts=close_of(LAST), qty=Decimal(2_600))
    too_large = replace(fits, qty=Decimal(2_700))
    assert liquidity_check.run(context, fits) is None
    refusal = liquidity_check.run(context, too_large)
    assert refusal is not None
    assert refusal.code is RefusalCode.BOOK_THIN
    assert refusal.detail == (("depth_usd", 500_000.0), ("needed_usd", pytest.approx(2_700 * 189.9)))


def test_expected_slippage_above_0_05_percent_is_refused(context: BrainContext, plan: Plan) -> None:
    """X31: 0.5 bps for the spread and 5 bps for a whole depth; 4.5 of 5 are 90 % of it."""
    depth, price = 500_000.0, 189.9
    fits = replace(plan, ts=close_of(LAST), qty=Decimal(str(round(0.89 * depth / price, 3))))
    too_much = replace(fits, qty=Decimal(str(round(0.91 * depth / price, 3))))
    assert slippage_estimator.run(context, fits) is None
    refusal = slippage_estimator.run(context, too_much)
    assert refusal is not None
    assert refusal.code is RefusalCode.SLIPPAGE_HIGH
    assert refusal.detail == (("expected_bps", pytest.approx(0.5 + 5 * 0.91, abs=1e-3)), ("limit_bps", 5.0))
    assert refusal.symbol == BTC
    assert "expected_bps" in refusal.message


def test_without_a_fresh_book_nothing_is_entered(context: BrainContext, plan: Plan) -> None:
    """X26: two base bars without a close, and the modelled book is stale too."""
    stale = replace(plan, ts=close_of(LAST + 3))
    for tool in (liquidity_check, slippage_estimator):
        refusal = tool.run(context, stale)
        assert refusal is not None
        assert refusal.code is RefusalCode.STREAM_BOOK
