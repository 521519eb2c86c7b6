from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.risk.costs import CostModel
from tests.core.risk.making import instrument

BOOK = CostModel(fee_rate=0.0005, spread_bps=2.0, depth_usd=100_000.0)


def test_a_leg_costs_the_taker_fee_half_the_spread_and_the_depth_walked():
    """X13: 5 bp fee + 1 bp half spread + 5 bp x 1000/100000 of depth."""
    assert BOOK.entry_cost_rate(1_000.0) == pytest.approx(0.000605)
    assert BOOK.exit_cost_rate(1_000.0) == pytest.approx(0.000605)
    assert BOOK.slippage_rate(0.0) == pytest.approx(0.0001)


def test_cost_in_r_is_the_round_trip_over_the_stop_distance():
    """X13: (0.0006 + 0.0006) x 100 / 0.6 = 0.2 R."""
    assert BOOK.cost_in_r(100.0, 0.6) == pytest.approx(0.2)


def test_the_model_of_an_instrument_takes_its_taker_fee_and_book():
    sol = instrument()
    assert CostModel.of(sol, 3.0, 1e5) == CostModel(0.0005, 3.0, 1e5)
    assert CostModel.modelled(sol) == CostModel(0.0005, 2.0, 150_000.0)


def test_worst_loss_counts_distance_and_both_legs():
    """X14: 10 x 4 + 10 x (100 + 96) x (0.0005 + 0.0001 + 0.0005 x 1000/100000)."""
    assert BOOK.worst_loss(10.0, 100.0, 96.0) == pytest.approx(40.0 + 1960.0 * 0.000605)


@given(
    budget=st.floats(0.01, 1e5),
    entry=st.floats(1e-3, 1e5),
    distance=st.floats(1e-4, 0.3),
    short=st.booleans(),
    spread=st.floats(0.0, 50.0),
    depth=st.floats(100.0, 1e8),
)
def test_the_quantity_uses_the_budget_and_never_more(budget, entry, distance, short, spread, depth):
    """X14: what the size loses at worst is at most R, and all of R is used before the lot."""
    costs = CostModel(0.0005, spread, depth)
    stop = entry * (1.0 + distance if short else 1.0 - distance)
    loss = costs.worst_loss(costs.quantity_for(budget, entry, stop), entry, stop)
    assert loss <= budget
    assert loss == pytest.approx(budget, rel=1e-9)
