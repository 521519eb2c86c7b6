from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from core.risk.exits import ExitFrame, ExitNumbers, break_even_price, manage, may_act
from core.types import AdjustKind, Adjustment, ExitReason, Side, Timeframe, Trail, TrailStart
from tests.core.risk.making import HOUR, TS, governance, instrument, plan, position, winner

D = Decimal
NUMBERS = ExitNumbers.of(governance())
RATE = 0.0006


def frame(close: float, atr: float | None = 2.0, ts: int = TS + 2 * HOUR, **changes) -> ExitFrame:
    values = {
        "ts": ts,
        "close": close,
        "atr": atr,
        "funding_normal": None,
        "exit_cost_rate": RATE,
        "entry_cost_rate": RATE,
        "instrument": instrument(),
    }
    return ExitFrame(**{**values, **changes})


def moved(answer: Adjustment | None) -> tuple[ExitReason, Decimal | None]:
    assert answer is not None
    assert answer.kind is AdjustKind.MOVE_STOP
    return answer.reason, answer.new_stop


def closed(answer: Adjustment | None) -> ExitReason:
    assert answer is not None
    assert (answer.kind, answer.new_stop) == (AdjustKind.CLOSE, None)
    return answer.reason


def trailed(side: Side = Side.LONG, start: TrailStart = TrailStart.ENTRY, **changes):
    """Trail of 2 ATR from entry."""
    return position(side, plan(side, trail=Trail(start, 2.0, Timeframe.H4)), **changes)


# --- closing ----------------------------------------------------------------------------------------


def test_the_time_stop_closes_at_its_time_and_not_before():
    """E4, X4."""
    end = plan().time_stop_ts
    assert closed(manage(position(), frame(100.0, ts=end), NUMBERS)) is ExitReason.TIME_STOP
    assert manage(position(), frame(100.0, ts=end - 1), NUMBERS) is None


def test_normal_funding_closes():
    """X4: funding_rev leaves when funding normalises; unknown or not applicable does not close."""
    assert closed(manage(position(), frame(100.0, funding_normal=True), NUMBERS)) is ExitReason.FUNDING_NORMAL
    assert manage(position(), frame(100.0, funding_normal=False), NUMBERS) is None
    assert manage(position(), frame(100.0, funding_normal=None), NUMBERS) is None


# --- break-even -------------------------------------------------------------------------------------


def test_break_even_pays_for_both_legs():
    """X5: long 100 x 1.0006 / 0.9994; short 100 x 0.9994 / 1.0006."""
    assert break_even_price(Side.LONG, 100.0, RATE, RATE) == pytest.approx(100.12007)
    assert break_even_price(Side.SHORT, 100.0, RATE, RATE) == pytest.approx(99.88007)


def test_at_six_tenths_of_r_the_stop_goes_to_entry_plus_costs():
    """E4, X5: r is 4; 102.40 is 0.6R."""
    assert manage(position(), frame(102.39), NUMBERS) is None
    assert moved(manage(position(), frame(102.40), NUMBERS)) == (ExitReason.BREAK_EVEN, D("100.13"))
    assert moved(manage(position(Side.SHORT), frame(97.60), NUMBERS)) == (ExitReason.BREAK_EVEN, D("99.88"))


def test_a_break_even_stop_waits_until_the_close_has_passed_it():
    """Costs of 2 % a leg put break-even at 104.08: a stop there would trigger as it is placed."""
    dear = {"exit_cost_rate": 0.02, "entry_cost_rate": 0.02}
    assert manage(position(), frame(103.0, **dear), NUMBERS) is None
    assert moved(manage(position(), frame(104.2, **dear), NUMBERS))[1] == D("104.09")


def test_unknown_costs_are_replaced_by_the_modelled_ones():
    """Exits are never blocked by missing data: 5 bp fee + 1 bp half spread + a little depth."""
    blind = {"exit_cost_rate": None, "entry_cost_rate": math.nan}
    assert moved(manage(position(), frame(102.40, **blind), NUMBERS)) == (ExitReason.BREAK_EVEN, D("100.13"))


def test_numbers_beyond_all_measure_move_nothing():
    """A close of 3.6e307 overflows the modelled slippage, an ATR of 1e308 the trail."""
    blind = {"exit_cost_rate": None, "entry_cost_rate": None}
    assert manage(position(), frame(3.6e307, **blind), NUMBERS) is None
    assert manage(trailed(), frame(101.0, atr=1e308), NUMBERS) is None


def test_a_position_filled_at_its_stop_has_no_r_and_still_times_out():
    odd = position(r_price=0.0)
    assert manage(odd, frame(110.0), NUMBERS) is None
    assert closed(manage(odd, frame(110.0, ts=plan().time_stop_ts), NUMBERS)) is ExitReason.TIME_STOP


# --- trail ------------------------------------------------------------------------------------------


def test_after_the_first_take_the_stop_follows_the_best_close():
    """X3: best close 110 - 2 x 2."""
    held = winner(best_close=110.0)
    assert moved(manage(held, frame(109.0), NUMBERS)) == (ExitReason.TRAIL, D("106.00"))
    short = winner(Side.SHORT, best_close=90.0)
    assert moved(manage(short, frame(91.0), NUMBERS)) == (ExitReason.TRAIL, D("94.00"))


def test_the_present_close_may_be_the_best():
    assert moved(manage(winner(best_close=104.0), frame(110.0), NUMBERS)) == (ExitReason.TRAIL, D("106.00"))
    assert moved(manage(winner(best_close=math.nan), frame(110.0), NUMBERS)) == (ExitReason.TRAIL, D("106.00"))


def test_before_the_first_take_nothing_is_trailed():
    """X3: at 103.9 only break-even moves the stop; the close of the bar of the take is the first that trails."""
    assert moved(manage(position(best_close=103.9), frame(103.9, atr=0.5), NUMBERS))[0] is ExitReason.BREAK_EVEN
    held = winner(best_close=110.0)
    assert moved(manage(held, frame(109.0, ts=TS + HOUR), NUMBERS))[0] is ExitReason.TRAIL
    assert manage(held, frame(109.0, ts=TS + HOUR - 1), NUMBERS) is None


def test_a_small_position_without_a_1r_take_trails_from_the_close_that_reached_1r():
    """X3, X14: 106 - 2 x 2; the take nearer than 1R that was filled starts nothing."""
    small = position(of=plan(tps=()), best_close=106.0, reached_1r_ts=TS + HOUR)
    assert moved(manage(small, frame(106.0, ts=TS + HOUR), NUMBERS)) == (ExitReason.TRAIL, D("102.00"))
    early = position(takes_filled=1, first_take_ts=TS, best_close=103.9)
    assert moved(manage(early, frame(103.9, atr=0.5), NUMBERS))[0] is ExitReason.BREAK_EVEN


def test_a_trail_from_entry_does_not_wait():
    """X3: vol_exp. 100.5 - 2 x 1 = 98.5 beats the initial 96."""
    assert moved(manage(trailed(), frame(100.5, atr=1.0), NUMBERS)) == (ExitReason.TRAIL, D("98.50"))


def test_what_never_trails_never_does():
    """X3: range."""
    assert manage(trailed(start=TrailStart.NEVER), frame(101.0, atr=0.1), NUMBERS) is None


@pytest.mark.parametrize("atr", [None, math.nan, 0.0])
def test_without_an_atr_nothing_is_trailed_but_break_even_works(atr):
    assert manage(trailed(), frame(101.0, atr=atr), NUMBERS) is None
    assert moved(manage(trailed(), frame(103.0, atr=atr), NUMBERS))[0] is ExitReason.BREAK_EVEN


@pytest.mark.parametrize("close", [math.nan, 0.0])
def test_without_a_close_only_time_and_funding_act(close):
    assert manage(winner(), frame(close), NUMBERS) is None
    assert closed(manage(winner(), frame(close, funding_normal=True), NUMBERS)) is ExitReason.FUNDING_NORMAL


def test_the_tightest_candidate_wins():
    """At 103: break-even 100.13 against 103 - 2 = 101, and against 103 - 4 = 99."""
    assert moved(manage(trailed(), frame(103.0, atr=1.0), NUMBERS)) == (ExitReason.TRAIL, D("101.00"))
    assert moved(manage(trailed(), frame(103.0, atr=2.0), NUMBERS)) == (ExitReason.BREAK_EVEN, D("100.13"))


def test_a_stop_needs_a_whole_tick():
    assert manage(winner(best_close=110.0, stop=D("106.00")), frame(109.0), NUMBERS) is None
    assert moved(manage(winner(best_close=110.0, stop=D("105.99")), frame(109.0), NUMBERS))[1] == D("106.00")


def test_a_trailed_stop_is_held_one_tick_short_of_the_close():
    """Best close 110 less 2 x 0.5 is 109, the close is 108: a stop at 109 would trigger as it is placed."""
    assert moved(manage(winner(best_close=110.0), frame(108.0, atr=0.5), NUMBERS)) == (ExitReason.TRAIL, D("107.99"))
    short = winner(Side.SHORT, best_close=90.0)
    assert moved(manage(short, frame(92.0, atr=0.5), NUMBERS)) == (ExitReason.TRAIL, D("92.01"))
    assert moved(manage(winner(best_close=110.0), frame(108.004, atr=0.5), NUMBERS))[1] == D("108.00")


def test_after_an_add_break_even_is_the_joint_one():
    """X16: the average entry counts, not the first."""
    held = replace(winner(), avg_entry=101.0, adds=1, stop=D("100.50"))
    assert moved(manage(held, frame(103.0), NUMBERS)) == (ExitReason.BREAK_EVEN, D("101.13"))


# --- the quick look ---------------------------------------------------------------------------------


@given(
    side=st.sampled_from(list(Side)),
    start=st.sampled_from(list(TrailStart)),
    close=st.one_of(st.floats(50.0, 200.0), st.just(math.nan)),
    hours=st.integers(0, 200),
    taken=st.booleans(),
)
def test_the_quick_look_passes_over_nothing_that_management_would_do(side, start, close, hours, taken):
    """E4, X3, X5: where it says that nothing is due, nothing is."""
    changes = {"takes_filled": 1, "first_take_ts": TS + HOUR, "reached_1r_ts": TS + HOUR} if taken else {}
    held = trailed(side, start, **changes)
    seen = frame(close, ts=TS + hours * HOUR)
    if not may_act(held, seen.ts, close, NUMBERS):
        assert manage(held, seen, NUMBERS) is None


def test_a_position_without_r_is_never_due_before_its_time():
    held = trailed(start=TrailStart.NEVER, r_price=0.0)
    assert not may_act(held, TS + HOUR, 500.0, NUMBERS)
