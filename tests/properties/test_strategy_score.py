"""What must hold of the setup score for all inputs (G7, X23)."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.strategies.score import REVERTING, ScoreInputs, SetupScorer, read_inputs
from core.types import Regime, Side
from tests.core.strategies.making import columns, signal, strategies_file

SCORER = SetupScorer(strategies_file().score)
STRATEGIES = ("breakout_4h", "vol_exp_15m", "range_rev_5m", "funding_rev")


def maybe(low: float, high: float) -> st.SearchStrategy[float | None]:
    return st.one_of(st.none(), st.floats(low, high))


INPUTS = st.builds(
    ScoreInputs,
    regime=st.sampled_from(list(Regime)),
    threshold=st.sampled_from([7.0, 8.0]),
    ema50=maybe(90, 110),
    ema50_prev=maybe(90, 110),
    cost_r=maybe(0, 1),
    news_clear=st.sampled_from([True, False, None]),
    volume_z=maybe(-3, 6),
    close_location=maybe(0, 1),
    max_abs_rho=maybe(0, 1),
    open_positions=st.integers(0, 5),
)
NAME, SIDE = st.sampled_from(STRATEGIES), st.sampled_from(list(Side))


@given(NAME, SIDE, INPUTS)
@settings(max_examples=80, deadline=None)
def test_the_score_is_the_sum_of_parts_inside_their_limits(name, side, inputs):
    scored = SCORER.score(signal(name, side), inputs)
    assert 0 <= scored.score <= 10
    assert scored.score == pytest.approx(sum(p.points for p in scored.parts))
    assert all(0 <= p.points <= p.max_points for p in scored.parts)
    assert sum(p.max_points for p in scored.parts) == 10


@given(NAME, SIDE, INPUTS)
@settings(max_examples=80, deadline=None)
def test_learning_a_missing_input_never_lowers_the_score(name, side, inputs):
    """A missing input gives the fewest points of its criterion: it is never better not to know."""
    scored = SCORER.score(signal(name, side), inputs).score
    for field, values in (
        ("ema50", (90.0, 110.0)),
        ("ema50_prev", (90.0, 110.0)),
        ("cost_r", (0.0, 1.0)),
        ("news_clear", (True, False)),
        ("volume_z", (-3.0, 6.0)),
        ("close_location", (0.0, 1.0)),
        ("max_abs_rho", (0.0, 1.0)),
    ):
        if getattr(inputs, field) is None:
            for value in values:
                assert SCORER.score(signal(name, side), dataclasses.replace(inputs, **{field: value})).score >= scored


def score(name: str, side: Side, inputs: ScoreInputs, **change: float | bool) -> float:
    return SCORER.score(signal(name, side), dataclasses.replace(inputs, **change)).score


@given(NAME, SIDE, INPUTS, st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_cost_and_correlation_never_raise_the_score(name, side, inputs, one, other):
    low, high = sorted((one, other))
    assert score(name, side, inputs, cost_r=high) <= score(name, side, inputs, cost_r=low)
    assert score(name, side, inputs, max_abs_rho=high) <= score(name, side, inputs, max_abs_rho=low)
    assert score(name, side, inputs, open_positions=3) <= score(name, side, inputs, open_positions=0)
    assert score(name, side, inputs, news_clear=False) <= score(name, side, inputs, news_clear=True)


@given(NAME, SIDE, INPUTS, st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_volume_close_and_average_move_the_score_one_way(name, side, inputs, one, other):
    """Upwards for those who follow, downwards for those who revert; mirrored for shorts where direction matters."""
    low, high = sorted((one, other))
    follows = name not in REVERTING
    volume = (score(name, side, inputs, volume_z=low * 4), score(name, side, inputs, volume_z=high * 4))
    assert volume[0] <= volume[1] if follows else volume[0] >= volume[1]
    upwards = follows == (side is Side.LONG)
    close = (score(name, side, inputs, close_location=low), score(name, side, inputs, close_location=high))
    assert close[0] <= close[1] if upwards else close[0] >= close[1]
    before = (
        score(name, side, inputs, ema50=100.0, ema50_prev=90 + 20 * low),
        score(name, side, inputs, ema50=100.0, ema50_prev=90 + 20 * high),
    )
    assert before[0] >= before[1] if upwards else before[0] <= before[1]


@given(
    st.lists(st.tuples(st.floats(90, 110), st.floats(90, 110), st.floats(-3, 6), st.floats(0, 1)), min_size=2, max_size=20),
    st.data(),
)
@settings(max_examples=40, deadline=None)
def test_the_score_of_a_bar_is_the_same_without_the_bars_after_it(rows, data):
    """B8: truncation, through the reading of features."""
    keys = ("ema50@1d", "ema50_prev@1d", "volume_z@4h", "close_location@4h")
    whole = columns([dict(zip(keys, row, strict=True)) for row in rows])
    at = data.draw(st.integers(0, len(rows) - 1))
    rest = {
        "regime": Regime.TREND_UP,
        "threshold": 7.0,
        "cost_r": 0.1,
        "news_clear": True,
        "max_abs_rho": None,
        "open_positions": 0,
    }
    made = signal("breakout_4h")
    first = read_inputs(made, whole, at, **rest)
    second = read_inputs(made, {key: values[: at + 1] for key, values in whole.items()}, at, **rest)
    assert SCORER.score(made, first) == SCORER.score(made, second)
