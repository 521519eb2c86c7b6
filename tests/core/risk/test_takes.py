from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.risk.takes import legal_takes, takes_for, wanted_takes
from core.types import Side, Take
from tests.core.risk.making import instrument, plan, spot

D = Decimal
QUARTERS = ((1.0, 2.0), (0.25, 0.25))


def takes(qty: str, side: Side = Side.LONG, levels=QUARTERS, entry: float = 100.0, market=None):
    market = market or instrument()
    stop = D(96) if side is Side.LONG else D(104)
    return legal_takes(side, wanted_takes(*levels, D(qty)), entry, stop, D(qty), market)


def test_a_quarter_each_is_taken_at_one_and_two_r():
    """E4, X4."""
    assert takes("1.00") == (Take(1.0, D("104.00"), D("0.25")), Take(2.0, D("108.00"), D("0.25")))
    assert takes("1.00", Side.SHORT) == (Take(1.0, D("96.00"), D("0.25")), Take(2.0, D("92.00"), D("0.25")))


def test_a_take_is_never_priced_nearer_than_its_r():
    """Entry 100.003, r 4.003: 1R is 104.006; a sell rests at the tick above it."""
    assert takes("1.00", entry=100.003)[0].price == D("104.01")


def test_what_lot_rounding_leaves_goes_to_the_next_take():
    """X14: 6 lots: 1.5 -> 1, then 1.5 + 0.5 -> 2; the half of the position that is to run stays whole."""
    assert [t.qty for t in takes("0.06")] == [D("0.01"), D("0.02")]


def test_a_take_below_a_lot_is_merged_into_the_next():
    """X14: 3 lots: 0.75 is no lot; 0.75 + 0.75 is one, at 2R."""
    assert takes("0.03") == (Take(2.0, D("108.00"), D("0.01")),)


def test_takes_below_a_lot_are_merged_into_the_runner():
    """X14: of one lot nothing can be taken."""
    assert takes("0.01") == ()


def test_halves_close_everything_even_of_an_odd_number_of_lots():
    """X4: range takes 50/50, 3 lots: 1 and 2."""
    assert [t.qty for t in takes("0.03", levels=((0.5, 1.0), (0.5, 0.5)))] == [D("0.01"), D("0.02")]


def test_a_take_below_zero_is_no_take():
    """A short from 100 with its stop at 104 has its 30R take at -20."""
    assert takes("1.00", Side.SHORT, ((1.0, 30.0), (0.25, 0.25))) == (Take(1.0, D("96.00"), D("0.25")),)


def test_a_perp_take_may_be_below_the_minimum_value_because_it_is_reduce_only():
    """X14: 0.02 SOL are 2 USD, the minimum order 5."""
    assert [t.qty for t in takes("0.08")] == [D("0.02"), D("0.02")]


def test_a_spot_take_needs_the_minimum_value():
    """X14: of 0.16 SOL a quarter is 4.16 USD at 104: merged; both are 8.64 USD at 108, and 7.68 are left at the stop."""
    assert takes("0.16", market=spot()) == (Take(2.0, D("108.00"), D("0.08")),)


def test_a_spot_take_leaves_a_remainder_that_can_still_be_stopped_out():
    """X14: of 0.10 SOL half is 5.20 USD at 104, but the other half would be 4.80 USD at the stop of 96."""
    assert takes("0.10", levels=((1.0,), (0.5,)), market=spot()) == ()


def test_a_minimum_above_the_step_holds_for_takes_too():
    assert takes("0.40", market=instrument(min_qty=D("0.15"))) == (Take(2.0, D("108.00"), D("0.20")),)


def test_after_the_fill_r_is_measured_from_the_average_fill():
    """X5: filled at 99.50 with the stop at 96: r = 3.50."""
    filled = takes_for(plan(), 99.5, D(96), D("1.00"), instrument())
    assert filled == (Take(1.0, D("103.00"), D("0.25")), Take(2.0, D("106.50"), D("0.25")))


def test_a_partial_fill_keeps_the_shares_of_the_plan():
    filled = takes_for(plan(), 100.0, D(96), D("0.40"), instrument())
    assert [t.qty for t in filled] == [D("0.10"), D("0.10")]


@pytest.mark.parametrize(("side", "fill"), [(Side.LONG, 96.0), (Side.LONG, 95.0), (Side.SHORT, 104.0), (Side.SHORT, 105.0)])
def test_a_fill_at_or_beyond_the_stop_has_no_takes(side, fill):
    assert takes_for(plan(side), fill, plan(side).stop, D("1.00"), instrument()) == ()


@given(
    lots=st.integers(1, 500),
    fractions=st.lists(st.floats(0.0, 0.5), min_size=0, max_size=4).filter(lambda f: sum(f) <= 1.0),
    short=st.booleans(),
    on_spot=st.booleans(),
)
def test_takes_never_exceed_the_position_and_are_legal(lots, fractions, short, on_spot):
    """X14."""
    market, side = (spot(), Side.LONG) if on_spot else (instrument(), Side.SHORT if short else Side.LONG)
    qty = market.qty_step * lots
    made = takes(str(qty), side, (tuple(float(k + 1) for k in range(len(fractions))), tuple(fractions)), market=market)
    total = sum((t.qty for t in made), D(0))
    assert total <= qty
    assert all(t.qty >= market.min_qty and t.qty % market.qty_step == 0 and t.price % market.tick_size == 0 for t in made)
    if on_spot:
        assert all(t.qty * t.price >= market.min_notional for t in made)
        left = qty - total
        assert not made or left == 0 or left * D(96) >= market.min_notional
