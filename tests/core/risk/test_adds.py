from __future__ import annotations

import math
from decimal import Decimal

import pytest
from msgspec.structs import replace

from core.codes import RefusalCode
from core.risk.adds import Holding, solve_add
from core.risk.costs import CostModel
from core.risk.engine import RiskEngine
from core.types import Plan, PlanKind, Refusal, Side, Timeframe, TradingState, Trail, TrailStart
from tests.core.risk.making import DIGEST, HOUR, TS, context, governance, instrument, plan, position, view, winner

D = Decimal
ENGINE = RiskEngine(governance(), DIGEST)
LATER = TS + 2 * HOUR
FREE = CostModel(0.0, 0.0, 1e15)


def now(**changes):
    return context(**{"ts": LATER, "governor": view(), **changes})


def added(answer: Plan | Refusal | None) -> Plan:
    assert isinstance(answer, Plan), answer
    return answer


def refused(answer: Plan | Refusal | None, code: RefusalCode) -> None:
    assert isinstance(answer, Refusal), answer
    assert answer.code is code


# --- the algebra ------------------------------------------------------------------------------------


def test_without_costs_the_break_even_case_is_the_textbook_one():
    """X16: 0.75 at 100, price 104, budget 1.2: q = 1.2 x 0.75 / (3 - 1.2) = 0.5; stop 127 / 1.25 = 101.6; 0.5 x 2.4 = 1.2."""
    joint = solve_add(Holding(Side.LONG, 0.75, 100.0, 96.0), 104.0, 1.2, FREE)
    assert joint is not None
    assert joint.qty == pytest.approx(0.5)
    assert joint.stop_for(0.5) == pytest.approx(101.6)
    assert joint.loss(0.5, 101.6) == pytest.approx(1.2)


def test_without_costs_a_tighter_present_stop_stays():
    """X16: stop 103 already: q = 1.2 / (104 - 103) = 1.2, joint break-even (75 + 124.8) / 1.95 = 102.46 is worse."""
    joint = solve_add(Holding(Side.LONG, 0.75, 100.0, 103.0), 104.0, 1.2, FREE)
    assert joint is not None
    assert (joint.qty, joint.stop_for(1.2)) == (pytest.approx(1.2), 103.0)


def test_a_short_is_the_mirror_image():
    joint = solve_add(Holding(Side.SHORT, 0.75, 100.0, 104.0), 96.0, 1.2, FREE)
    assert joint is not None
    assert joint.qty == pytest.approx(0.5)
    assert joint.stop_for(0.5) == pytest.approx((75.0 + 48.0) / 1.25)


def test_where_the_open_profit_does_not_exceed_the_budget_there_is_no_solution():
    """X16: 0.25 x 4 = 1.0 of profit could never lose 1.2 at the joint break-even, whatever the size."""
    assert solve_add(Holding(Side.LONG, 0.25, 100.0, 96.0), 104.0, 1.2, FREE) is None


# --- when an add is wanted --------------------------------------------------------------------------


def test_a_winner_is_added_to_once_with_a_joint_stop_no_worse_than_break_even():
    """E5, X16: 0.3 x 4.2 = 1.26 USD."""
    made = added(ENGINE.plan_add(winner(), 104.0, now()))
    assert (made.kind, made.id, made.side) == (PlanKind.ADD, f"A-{LATER}-breakout_4h-SOLUSDT", Side.LONG)
    assert (made.qty, made.entry, made.tps) == (D("0.53"), D("104.05"), ())
    assert made.time_stop_ts == plan().time_stop_ts
    assert 1.2 < made.risk_usd <= 1.26
    # joint break-even with both legs' costs of 0.0006 (depth adds a little): 130.1465 x 1.0006 / 1.28 / 0.9994
    assert made.stop == D("101.80")
    assert float(made.stop) >= (75.0 + 0.53 * 104.05) * 1.0006 / 1.28 / 0.9994


def test_a_short_winner_is_added_to_as_well():
    made = added(ENGINE.plan_add(winner(Side.SHORT), 96.0, now()))
    assert float(made.stop) <= (75.0 + 0.53 * 95.96) * 0.9994 / 1.28 / 1.0006
    assert made.risk_usd <= 1.26


@pytest.mark.parametrize(
    ("changes", "price", "ts"),
    [
        ({}, 103.99, LATER),  # below +1R
        ({}, 99.0, LATER),  # losing
        ({}, math.nan, LATER),
        ({"reached_1r_ts": None}, 104.0, LATER),  # range's take at 0.5R is none at 1R
        ({}, 104.0, TS + HOUR),  # the bar of the take itself
        ({"first_take_ts": LATER}, 104.0, LATER),  # the bar of a take at 2R, the one at 1R having been merged away
        ({"plan": plan(trail=Trail(TrailStart.ENTRY, 1.5, Timeframe.M15), tps=())}, 104.0, LATER),
        ({"adds": 1}, 104.0, LATER),
        ({"r_price": 0.0}, 104.0, LATER),
        ({}, 104.0, TS + 120 * HOUR),  # the time stop closes it now
    ],
)
def test_an_add_is_not_even_wanted(changes, price, ts):
    """X16: never when losing, never on the bar of a take, never twice."""
    assert ENGINE.plan_add(replace(winner(), **changes), price, now(ts=ts)) is None


def test_a_small_winner_whose_1r_take_was_merged_away_is_added_to_after_a_close_at_1r():
    """X14, X16: no take was ever filled; the close that reached +1r is not later than itself."""
    small = position(of=plan(tps=()), stop=D("100.13"), best_close=104.0, reached_1r_ts=TS + HOUR)
    assert ENGINE.plan_add(small, 104.0, now(ts=TS + HOUR)) is None
    assert added(ENGINE.plan_add(small, 104.0, now())).kind is PlanKind.ADD


def test_pyramiding_can_be_switched_off():
    assert RiskEngine(governance(pyramiding="off"), DIGEST).plan_add(winner(), 104.0, now()) is None


# --- when it is wanted and refused ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"governor": view(state=TradingState.REDUCING, day_lock=True)}, RefusalCode.DAY_LOCK),
        ({"depth_usd": None}, RefusalCode.STREAM_BOOK),
        ({"open_risk_usd": 3.3}, RefusalCode.PORTFOLIO_R_CAP),
        ({"open_drop_usd": 4.2}, RefusalCode.DAY_WORST_CASE),
        ({"open_notional_usd": 850.0}, RefusalCode.LEVERAGE_CAP),
        ({"instrument": instrument(min_notional=D(60))}, RefusalCode.BELOW_MIN_NOTIONAL),
        ({"instrument": instrument(min_qty=D("0.6"))}, RefusalCode.BELOW_MIN_QTY),
        ({"spread_bps": 10.5}, RefusalCode.SLIPPAGE_HIGH),
        ({"instrument": instrument(taker_fee_rate=0.003)}, RefusalCode.COST_SHARE),
    ],
)
def test_an_add_comes_whole_or_not_at_all(changes, code):
    """X9, X16."""
    refused(ENGINE.plan_add(winner(), 104.0, now(**changes)), code)


def test_an_add_needs_an_open_profit_above_what_it_risks():
    """X16: 0.3 SOL at +4 hold 1.20 USD, the add would risk 1.26."""
    refused(ENGINE.plan_add(replace(winner(), qty=D("0.30")), 104.0, now()), RefusalCode.ADD_TO_LOSER)


def test_a_price_at_or_beyond_the_present_stop_refuses():
    refused(ENGINE.plan_add(replace(winner(), stop=D("104.00")), 104.0, now()), RefusalCode.STOP_INVALID)


def test_a_joint_stop_beyond_the_price_refuses():
    """Costs of 2 % a leg put the joint break-even above the price."""
    dear = now(instrument=instrument(taker_fee_rate=0.02))
    refused(ENGINE.plan_add(winner(), 104.0, dear), RefusalCode.STOP_INVALID)


def test_holding_of_a_position_is_what_is_left_of_it():
    assert Holding.of(position()) == Holding(Side.LONG, 1.0, 100.0, 96.0)
