from __future__ import annotations

import pytest

from core.monitor.kpi import ALL, KPIS, LEAST_HOURS, LEAST_SWITCHES, LEAST_TRADES, Kpi, Timings, assess, kpi_keys
from core.monitor.telemetry import Telemetry
from core.types import OrderStatus
from tests.core.monitor import making
from tests.core.monitor.making import BTC, ETH

STRATEGIES = ("breakout_4h", "funding_rev")


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry((BTC, ETH), STRATEGIES, r_pct_max=1.1)


def _found(kpis: tuple[Kpi, ...], name: str, scope: str = ALL) -> Kpi:
    (found,) = [kpi for kpi in kpis if kpi.spec.name == name and kpi.scope == scope]
    return found


def test_before_anything_happened_nothing_is_assessable(telemetry: Telemetry) -> None:
    """G11: a missing figure is not a good one."""
    for kpi in assess(telemetry, Timings()):
        assert (kpi.value, kpi.n, kpi.met) == (None, 0, None), kpi


def test_every_agent_has_a_figure() -> None:
    """G11: each agent has KPIs."""
    agents = {spec.agent for spec in KPIS}
    assert agents == {"brain", "market_regime", "strategy_selection", "risk_manager", "execution", "monitor", "research"}


def test_keys_name_exactly_what_is_assessed(telemetry: Telemetry) -> None:
    given = [(kpi.spec.agent, kpi.spec.name, kpi.scope) for kpi in assess(telemetry, Timings())]
    assert sorted(given) == sorted(kpi_keys(STRATEGIES, (BTC, ETH)))
    assert len(set(given)) == len(given)


def test_selection_is_judged_by_strategy_without_scratches(telemetry: Telemetry) -> None:
    """G11, X6: win rate at least 50 %."""
    for number, (net, scratch) in enumerate([(2.0, False), (-1.0, False), (-1.0, False), (0.1, True)] * 10):
        telemetry.on_trade(making.trade(number, net, net / 2, scratch))
    kpis = assess(telemetry, Timings())
    winrate = _found(kpis, "winrate", "breakout_4h")
    assert (winrate.value, winrate.n, winrate.met) == (pytest.approx(1 / 3), 30, False)
    assert winrate.spec.target == ">= 0.5"
    factor = _found(kpis, "profit_factor")
    assert (factor.value, factor.n) == (pytest.approx(2.1 / 2.0), 30)
    assert _found(kpis, "winrate", "funding_rev").met is None


@pytest.mark.parametrize("name", ["winrate", "profit_factor"])
def test_few_trades_say_nothing(name: str, telemetry: Telemetry) -> None:
    """G11: one trade that won is no win rate of 1; scratches do not count as cases."""
    for number in range(LEAST_TRADES - 1):
        telemetry.on_trade(making.trade(number, 1.0 if number % 2 else -1.0, 0.5, False))
    telemetry.on_trade(making.trade(99, 0.1, 0.05, True))
    few = _found(assess(telemetry, Timings()), name)
    assert (few.value, few.n, few.met, few.reason) == (None, 29, None, "29 of at least 30 cases")
    telemetry.on_trade(making.trade(100, 1.0, 0.5, False))
    assert _found(assess(telemetry, Timings()), name).value is not None


@pytest.mark.parametrize(
    ("name", "cases", "least"),
    [("macro_f1", "regime_cases", LEAST_HOURS), ("false_switch_ratio", "regime_switches", LEAST_SWITCHES)],
)
def test_few_hours_or_switches_say_nothing_of_the_regimes(name: str, cases: str, least: int, telemetry: Telemetry) -> None:
    """G11, X19."""
    figures = {"regime_macro_f1": 0.5, "regime_false_switch_ratio": 0.04}
    few = _found(assess(telemetry, Timings(**figures, **{cases: least - 1})), name)
    assert (few.value, few.n, few.met) == (None, least - 1, None)
    assert _found(assess(telemetry, Timings(**figures, **{cases: least})), name).value is not None


def test_slippage_over_modelled_books_is_not_assessable() -> None:
    """X31: it would only repeat the assumption."""
    telemetry = Telemetry((BTC, ETH), STRATEGIES, r_pct_max=1.1, has_books=False)
    telemetry.on_fill(making.fill(1, price="100.04", expected=100.0))
    for scope in (ALL, BTC, ETH):
        slippage = _found(assess(telemetry, Timings()), "slippage", scope)
        assert (slippage.value, slippage.met) == (None, None)
        assert "no books" in slippage.reason
    assert _found(assess(telemetry, Timings()), "slippage", BTC).n == 1


def test_one_plan_beyond_the_cap_breaks_the_risk_figure(telemetry: Telemetry) -> None:
    """G11: risk 100 % within limits and under 50 ms."""
    telemetry.on_plan(making.plan(risk_r_pct=0.8))
    assert _found(assess(telemetry, Timings()), "within_limits").met is True
    telemetry.on_plan(making.plan(risk_r_pct=1.11))
    kpis = assess(telemetry, Timings(plan_p99_s=0.0001, plans=2))
    within = _found(kpis, "within_limits")
    assert (within.value, within.n, within.met) == (0.5, 2, False)
    assert _found(kpis, "plan_time_p99").met is True
    assert _found(assess(telemetry, Timings(plan_p99_s=0.1, plans=2)), "plan_time_p99").met is False


def test_slippage_is_in_percent_of_price_and_by_symbol(telemetry: Telemetry) -> None:
    """F3, X31: at most 0.05 %."""
    telemetry.on_fill(making.fill(1, price="100.04", expected=100.0))
    telemetry.on_fill(making.fill(2, symbol=ETH, price="100.08", expected=100.0))
    kpis = assess(telemetry, Timings())
    assert _found(kpis, "slippage", BTC).value == pytest.approx(0.04)
    assert _found(kpis, "slippage", BTC).met is True
    assert _found(kpis, "slippage", ETH).met is False
    overall = _found(kpis, "slippage")
    assert (overall.value, overall.n) == (pytest.approx(0.06), 2)


def test_the_reject_ratio_is_shown_and_not_judged(telemetry: Telemetry) -> None:
    for number, status in enumerate([OrderStatus.FILLED, OrderStatus.REJECTED]):
        telemetry.on_order(making.order(number))
        telemetry.on_update(making.update(number, status))
    ratio = _found(assess(telemetry, Timings()), "reject_ratio", BTC)
    assert (ratio.value, ratio.n, ratio.met, ratio.spec.target) == (0.5, 2, None, "")


def test_brain_and_monitor_answer_for_refused_tools_and_lost_records(telemetry: Telemetry) -> None:
    telemetry.on_decision()
    kpis = assess(telemetry, Timings(decision_p99_s=0.005, decisions=1, refused_tool_calls=1, records_lost=0))
    assert _found(kpis, "decision_latency_p99").met is True
    assert _found(kpis, "decision_latency_p99").spec.target == "<= 0.2"
    assert _found(kpis, "refused_tool_calls").met is False
    assert _found(kpis, "records_lost").met is True


def test_research_is_judged_only_when_it_ran(telemetry: Telemetry) -> None:
    kpis = assess(
        telemetry, Timings(research_trials=4, research_gate_pass_ratio=0.25, regime_false_switch_ratio=0.06, regime_switches=20)
    )
    assert (_found(kpis, "trials").value, _found(kpis, "gate_pass_ratio").value) == (4.0, 0.25)
    assert _found(kpis, "false_switch_ratio").met is False


def test_each_regime_figure_rests_on_its_own_cases(telemetry: Telemetry) -> None:
    """G11: macro-F1 on scored hours, false switches on switches; a real market has only the latter."""
    score = Timings(regime_macro_f1=0.45, regime_cases=700, regime_false_switch_ratio=0.04, regime_switches=50)
    kpis = assess(telemetry, score)
    assert (_found(kpis, "macro_f1").value, _found(kpis, "macro_f1").n) == (0.45, 700)
    assert (_found(kpis, "false_switch_ratio").n, _found(kpis, "false_switch_ratio").met) == (50, True)
    assert _found(assess(telemetry, Timings()), "macro_f1").met is None
