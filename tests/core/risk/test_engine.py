from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal

import pytest

from core.canonical import encode
from core.codes import RefusalCode
from core.errors import ContractError
from core.risk.engine import RiskEngine, takes_for
from core.types import Plan, PlanKind, Refusal, Side, TradingState
from tests.core.risk.making import (
    BREAKOUT,
    DIGEST,
    HOUR,
    TS,
    context,
    governance,
    instrument,
    scored,
    spot,
    view,
)

D = Decimal
ENGINE = RiskEngine(governance(), DIGEST)
BTC = "BTC/USDT:USDT"


def planned(answer: Plan | Refusal) -> Plan:
    assert isinstance(answer, Plan), answer
    return answer


def refused(answer: Plan | Refusal, code: RefusalCode) -> Refusal:
    assert isinstance(answer, Refusal), answer
    assert (answer.code, answer.stage) == (code, "risk_manager")
    assert answer.message
    return answer


# --- the size -------------------------------------------------------------------------------------


def test_an_entry_is_sized_at_its_cap_with_costs_inside_r():
    """E1, X10, X14: 2.40 USD / (100.05 - 96 + (100.05 + 96) x (5 bp + 1 bp + depth)) = 0.5758 -> 0.57 SOL."""
    plan = planned(ENGINE.plan(scored(), 300.0, context()))
    assert (plan.qty, plan.entry, plan.stop) == (D("0.57"), D("100.05"), D("96.00"))
    rate = 0.0006 + 0.0005 * 0.57 * 100.05 / 150_000.0
    assert plan.costs_usd == pytest.approx(0.57 * 196.05 * rate)
    assert plan.risk_usd == pytest.approx(0.57 * 4.05 + 0.57 * 196.05 * rate)
    assert plan.risk_r_pct == pytest.approx(plan.risk_usd / 3.0)
    assert plan.risk_usd <= 2.4 < plan.risk_usd * 0.58 / 0.57


def test_a_short_is_the_mirror():
    plan = planned(ENGINE.plan(scored(side=Side.SHORT), 300.0, context()))
    assert (plan.entry, plan.stop) == (D("99.95"), D("104.00"))
    assert plan.risk_usd <= 2.4


def test_size_falls_with_atr():
    """E1: twice the ATR is about half the size."""
    calm, wild = (planned(ENGINE.plan(scored(atr=atr), 300.0, context())) for atr in (1.0, 2.0))
    assert float(calm.qty) / float(wild.qty) == pytest.approx(2.0, rel=0.05)


def test_a_plan_carries_ids_exits_governance_and_the_arithmetic_in_order():
    """D1, E10."""
    plan = planned(ENGINE.plan(scored(), 300.0, context()))
    assert plan.id == f"P-{TS}-breakout_4h-SOLUSDT"
    assert (plan.kind, plan.signal_id, plan.governance, plan.score) == (PlanKind.ENTRY, "S-1", DIGEST, 8.0)
    assert (plan.trail, plan.time_stop_ts) == (BREAKOUT.trail, TS + 120 * HOUR)
    assert [(t.r, t.price, t.qty) for t in plan.tps] == [(1.0, D("104.00"), D("0.14")), (2.0, D("108.00"), D("0.14"))]
    names = [name for name, _ in plan.meta]
    assert names.index("equity") < names.index("cap") < names.index("r_pct") < names.index("qty_raw") < names.index("risk_usd")
    assert dict(plan.meta)["binding"] == "r_pct"
    assert takes_for(plan, 100.0, plan.stop, plan.qty, instrument()) == plan.tps


def test_the_same_inputs_give_the_same_bytes():
    """G4."""
    first, second = (encode(RiskEngine(governance(), DIGEST).plan(scored(), 300.0, context())) for _ in range(2))
    assert first == second


# --- how much risk --------------------------------------------------------------------------------


def r_pct_of(engine: RiskEngine = ENGINE, **changes) -> float:
    return float(dict(planned(engine.plan(scored(), 300.0, context(**changes))).meta)["r_pct"])


def test_high_or_unknown_atr_rank_cuts_r_once():
    """E3: 0.8 - 0.2 from the 90th percentile on; unknown counts as high; two reasons do not add up; no bonus in a cut."""
    assert r_pct_of(atr_rank=0.89) == 0.8
    assert r_pct_of(atr_rank=0.9) == pytest.approx(0.6)
    assert r_pct_of(atr_rank=None) == pytest.approx(0.6)
    assert r_pct_of(atr_rank=math.nan) == pytest.approx(0.6)
    assert r_pct_of(atr_rank=0.95, governor=view(cut=True, r_pct=0.6)) == pytest.approx(0.6)
    assert r_pct_of(atr_rank=0.95, governor=view(bonus=True, r_pct=1.1)) == pytest.approx(0.6)


def test_the_bonus_is_planned_with_but_never_above_the_maximum():
    """E2."""
    assert r_pct_of(governor=view(bonus=True, r_pct=1.1)) == 1.1
    assert r_pct_of(governor=view(bonus=True, r_pct=5.0)) == 1.1


def test_a_volatility_target_only_shrinks():
    """X15: target 60 % a year."""
    engine = RiskEngine(governance(volatility_target_enabled=True), DIGEST)
    assert r_pct_of(engine, hv_annual_pct=120.0) == pytest.approx(0.4)
    assert r_pct_of(engine, hv_annual_pct=20.0) == 0.8
    assert r_pct_of(ENGINE, hv_annual_pct=120.0) == 0.8
    for unknown in (None, math.nan, 0.0):
        refused(engine.plan(scored(), 300.0, context(hv_annual_pct=unknown)), RefusalCode.MISSING_INPUT)


def test_cuts_that_leave_nothing_leave_no_plan():
    engine = RiskEngine(governance(r_cut_pp=0.8), DIGEST)
    answer = refused(engine.plan(scored(), 300.0, context(atr_rank=None)), RefusalCode.BELOW_MIN_R)
    assert "after cuts" in answer.message


# --- room -----------------------------------------------------------------------------------------


def test_an_entry_is_shrunk_to_the_room_in_the_portfolio():
    """X9: 1.5 % are 4.50 USD; 2.90 are open, 1.60 are left."""
    plan = planned(ENGINE.plan(scored(), 300.0, context(open_risk_usd=2.9)))
    assert 1.55 < plan.risk_usd <= 1.6
    assert dict(plan.meta)["binding"] == "PORTFOLIO_R_CAP"


def test_an_entry_is_refused_when_shrunk_below_the_least_risk_before_lots():
    """X9: 0.3 % are 0.90 USD."""
    assert planned(ENGINE.plan(scored(), 300.0, context(open_risk_usd=3.6))).risk_usd < 0.9
    answer = refused(ENGINE.plan(scored(), 300.0, context(open_risk_usd=3.61)), RefusalCode.BELOW_MIN_R)
    assert dict(answer.detail)["binding"] == "PORTFOLIO_R_CAP"
    refused(ENGINE.plan(scored(), 300.0, context(open_risk_usd=4.5)), RefusalCode.PORTFOLIO_R_CAP)


def test_the_days_worst_case_shrinks_and_then_refuses():
    """X10: 294.6 is the day's floor. At 297, 2.40 USD may be lost; 0.80 would go with what is open."""
    losing = view(equity=297.0, day_start_equity=300.0, peak_72h=300.0, room_usd=2.4)
    plan = planned(ENGINE.plan(scored(), 297.0, context(governor=losing, open_drop_usd=0.8)))
    assert 1.5 < plan.risk_usd <= 1.6
    assert dict(plan.meta)["binding"] == "DAY_WORST_CASE"
    refused(ENGINE.plan(scored(), 297.0, context(governor=losing, open_drop_usd=1.6)), RefusalCode.DAY_WORST_CASE)
    refused(ENGINE.plan(scored(), 297.0, context(governor=losing, open_drop_usd=2.4)), RefusalCode.DAY_WORST_CASE)


def test_the_72h_worst_case_is_named_where_it_binds():
    """X10: the peak's floor 310 x 0.965 = 299.15 leaves 0.85 USD of 300."""
    near = view(peak_72h=310.0, room_usd=0.85)
    refused(ENGINE.plan(scored(), 300.0, context(governor=near)), RefusalCode.DRAWDOWN_WORST_CASE)


def test_open_profit_that_would_be_given_back_takes_room_though_it_is_no_risk():
    """X10: nothing is risked against the entry, but 5.20 of equity would go at the stops."""
    answer = ENGINE.plan(scored(), 300.0, context(open_risk_usd=0.0, open_drop_usd=5.2))
    refused(answer, RefusalCode.DAY_WORST_CASE)


def test_leverage_shrinks_an_entry_and_then_refuses():
    """E6, X9: 3 x 300 = 900 USD, 898.65 with the fee of 0.05 % paid; 870 are open: 0.28 SOL, 1.18 USD of risk."""
    plan = planned(ENGINE.plan(scored(), 300.0, context(open_notional_usd=870.0)))
    assert plan.qty == D("0.28")
    assert dict(plan.meta)["binding"] == "LEVERAGE_CAP"
    refused(ENGINE.plan(scored(), 300.0, context(open_notional_usd=880.0)), RefusalCode.BELOW_MIN_R)
    refused(ENGINE.plan(scored(), 300.0, context(open_notional_usd=900.0)), RefusalCode.LEVERAGE_CAP)


def test_spot_is_paid_in_full_with_its_fee():
    """X9, X14: 2.40 USD over 1 % would be 2 SOL; the 100 USD left pay for 0.99 at 100.05 with the fee of 0.05 %."""
    near = scored("SOL/USDT", atr=0.5)
    cheap = {"instrument": spot(taker_fee_rate=0.0005), "spread_bps": 0.0}
    assert planned(ENGINE.plan(near, 300.0, context(**cheap))).qty > 2
    tight = planned(ENGINE.plan(near, 300.0, context(**cheap, open_notional_usd=200.0)))
    assert tight.qty == D("0.99")
    assert dict(tight.meta)["binding"] == "INSUFFICIENT_MARGIN"
    assert float(tight.qty * tight.entry) * 1.0005 <= 100.0
    refused(ENGINE.plan(near, 300.0, context(**cheap, open_notional_usd=300.0)), RefusalCode.INSUFFICIENT_MARGIN)


def test_net_exposure_limits_one_direction_only():
    """F4."""
    engine = RiskEngine(governance(max_net_exposure=1.0), DIGEST)
    one_sided = context(open_notional_usd=300.0, net_notional_usd=300.0)
    refused(engine.plan(scored(), 300.0, one_sided), RefusalCode.EXPOSURE_CAP)
    planned(engine.plan(scored(side=Side.SHORT), 300.0, one_sided))


# --- minimums and costs ---------------------------------------------------------------------------


def test_a_bitcoin_breakout_is_too_large_for_300_usd_and_says_what_it_would_need():
    """X14: at 60,000 two lots are the least (120 USD); a 3.67 % stop allows 0.00104. The study's table says the same."""
    answer = refused(
        ENGINE.plan(scored(BTC, entry=60_000.0, atr=1_100.0), 300.0, context(instrument=instrument(BTC))),
        RefusalCode.BELOW_MIN_NOTIONAL,
    )
    detail = dict(answer.detail)
    assert detail["qty_smallest"] == 0.002
    assert 560.0 < float(str(detail["equity_needed_usd"])) < 590.0
    need = float(str(detail["equity_needed_usd"])) * 1.001
    planned(ENGINE.plan(scored(BTC, entry=60_000.0, atr=1_100.0), need, context(instrument=instrument(BTC), governor=view(need))))


def test_less_than_a_lot_is_below_the_smallest_quantity():
    """X14."""
    market = instrument(BTC, min_notional=D(5))
    answer = ENGINE.plan(scored(BTC, entry=60_000.0, atr=1_600.0), 300.0, context(instrument=market))
    assert "0.001" in refused(answer, RefusalCode.BELOW_MIN_QTY).message


def test_costs_above_a_fifth_of_r_are_refused():
    """X13: 12 bp there and back over a stop of 0.5 % is 0.24 R; over 1 % it is 0.12."""
    answer = refused(ENGINE.plan(scored(atr=0.25), 300.0, context()), RefusalCode.COST_SHARE)
    assert 0.24 < float(str(dict(answer.detail)["cost_share_of_r"])) < 0.25
    planned(ENGINE.plan(scored(atr=0.5), 300.0, context()))


def test_an_expected_slippage_above_the_limit_is_refused():
    """X31: 57 USD in a book of 500 slip by 1 + 0.57 bp; at a spread of 9 bp by more than 5 bp."""
    planned(ENGINE.plan(scored(), 300.0, context(depth_usd=500.0)))
    refused(ENGINE.plan(scored(), 300.0, context(depth_usd=500.0, spread_bps=9.0)), RefusalCode.SLIPPAGE_HIGH)


# --- spot -----------------------------------------------------------------------------------------


def test_spot_is_never_sold_short():
    answer = ENGINE.plan(scored("SOL/USDT", Side.SHORT), 300.0, context(instrument=spot()))
    refused(answer, RefusalCode.SPOT_NO_SHORT)


def test_a_spot_entry_must_be_able_to_leave_at_its_stop():
    """X14: 57 USD at the cap, but only 54.72 at the stop."""
    planned(ENGINE.plan(scored("SOL/USDT"), 300.0, context(instrument=spot(min_notional=D("54.7")))))
    answer = ENGINE.plan(scored("SOL/USDT"), 300.0, context(instrument=spot(min_notional=D("54.8"))))
    refused(answer, RefusalCode.BELOW_MIN_NOTIONAL)


def test_a_spot_stop_has_no_liquidation_to_stay_short_of():
    wide = scored("SOL/USDT", atr=20.0)
    planned(ENGINE.plan(wide, 3_000.0, context(instrument=spot(), governor=view(3_000.0))))


# --- what stops a plan before its arithmetic --------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"governance": "other"}, RefusalCode.GOVERNANCE_CHANGED),
        ({"governor": view(state=TradingState.HALTED, kill_switch=True)}, RefusalCode.KILL_SWITCH),
        ({"governor": view(state=TradingState.REDUCING, day_lock=True)}, RefusalCode.DAY_LOCK),
        ({"ts": TS + HOUR + 1}, RefusalCode.SIGNAL_EXPIRED),
        ({"spread_bps": None}, RefusalCode.STREAM_BOOK),
        ({"spread_bps": -1.0}, RefusalCode.STREAM_BOOK),
        ({"depth_usd": math.nan}, RefusalCode.STREAM_BOOK),
        ({"depth_usd": 0.0}, RefusalCode.BOOK_THIN),
        ({"open_risk_usd": math.nan}, RefusalCode.MISSING_INPUT),
        ({"open_drop_usd": math.nan}, RefusalCode.MISSING_INPUT),
        ({"open_notional_usd": math.inf}, RefusalCode.MISSING_INPUT),
        ({"profile": replace(BREAKOUT, stop_atr=20.0)}, RefusalCode.STOP_INVALID),
        ({"profile": replace(BREAKOUT, stop_atr=60.0)}, RefusalCode.STOP_INVALID),
    ],
)
def test_an_entry_is_refused_with_the_code_of_its_cause(changes, code):
    """E6, X10, X14: locks, missing inputs, stops beyond liquidation (40 % away at leverage 3) or below zero."""
    refused(ENGINE.plan(scored(), 300.0, context(**changes)), code)
    if code is not RefusalCode.SIGNAL_EXPIRED:
        refused(ENGINE.plan_canary(scored(), 300.0, context(**changes)), code)


@pytest.mark.parametrize("equity", [0.0, -5.0, math.nan, math.inf])
def test_without_equity_there_is_no_plan(equity):
    refused(ENGINE.plan(scored(), equity, context()), RefusalCode.NO_EQUITY)


@pytest.mark.parametrize("changes", [{"entry": math.nan}, {"atr": math.nan}, {"atr": 0.0}, {"entry": -1.0}, {"atr": 1e-6}])
def test_without_a_price_or_a_distance_there_is_no_stop(changes):
    """The last case: the stop rounds to the close itself."""
    refused(ENGINE.plan(scored(**changes), 300.0, context()), RefusalCode.STOP_INVALID)


def test_a_context_of_another_symbol_is_an_error_of_ours():
    with pytest.raises(ContractError):
        ENGINE.plan(scored(BTC), 300.0, context())


# --- canaries -------------------------------------------------------------------------------------


def test_a_canary_risks_a_twentieth_of_a_percent_where_that_is_legal():
    """X35: 0.05 % of 3,000 are 1.50 USD."""
    rich = context(governor=view(3_000.0))
    plan = planned(ENGINE.plan_canary(scored(), 3_000.0, rich))
    assert plan.id.startswith("C-")
    assert 1.4 < plan.risk_usd <= 1.5
    assert dict(plan.meta)["canary"] is True


def test_a_canary_is_else_the_smallest_legal_order_flagged_with_its_real_r():
    """X35: 5 USD of SOL over a 4 % stop are 0.21 USD, 0.07 % of 300."""
    plan = planned(ENGINE.plan_canary(scored(), 300.0, context()))
    assert plan.qty == D("0.05")
    assert dict(plan.meta)["real_r_pct"] == plan.risk_r_pct == pytest.approx(0.0695, abs=1e-3)


def test_a_canary_whose_smallest_order_risks_too_much_stays_in_paper():
    """X35: 120 USD of BTC over 3.67 % are 1.5 % of 300."""
    answer = ENGINE.plan_canary(scored(BTC, entry=60_000.0, atr=1_100.0), 300.0, context(instrument=instrument(BTC)))
    refused(answer, RefusalCode.UNSIZABLE)


def test_a_canary_comes_whole_or_not_at_all():
    """X9."""
    refused(ENGINE.plan_canary(scored(), 300.0, context(open_risk_usd=4.4)), RefusalCode.PORTFOLIO_R_CAP)
    refused(ENGINE.plan_canary(scored(), 300.0, context(open_notional_usd=896.0)), RefusalCode.LEVERAGE_CAP)
    refused(ENGINE.plan_canary(scored(atr=0.25), 300.0, context()), RefusalCode.COST_SHARE)
