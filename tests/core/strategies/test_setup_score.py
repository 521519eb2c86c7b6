"""The setup score: exact points, missing inputs, what is on record (G7, X22, X23)."""

from __future__ import annotations

import math

import pytest

from core.canonical import encode
from core.strategies.score import ScoreInputs, SetupScorer, read_inputs
from core.types import Regime, Side, Timeframe
from tests.core.strategies.making import columns, signal, strategies_file

SCORER = SetupScorer(strategies_file().score)
BEST = {
    "regime": Regime.TREND_UP, "threshold": 7.0, "ema50": 99.0, "ema50_prev": 98.0, "cost_r": 0.05, "news_clear": True,
    "volume_z": 1.1, "close_location": 0.71, "max_abs_rho": None, "open_positions": 0,
}  # fmt: skip


def points(name: str, strategy: str = "breakout_4h", side: Side = Side.LONG, **change) -> float:
    return part(name, strategy, side, **change).points


def part(name: str, strategy: str = "breakout_4h", side: Side = Side.LONG, **change):
    scored = SCORER.score(signal(strategy, side), ScoreInputs(**{**BEST, **change}))
    return {p.name: p for p in scored.parts}[name]


def test_a_perfect_setup_has_ten_points():
    """G7, X23: 2.5 + 2 + 2 + 1 + 1.5 + 1."""
    scored = SCORER.score(signal("breakout_4h"), ScoreInputs(**BEST))
    assert [(p.name, p.points, p.max_points) for p in scored.parts] == [
        ("regime_fit", 2.5, 2.5),
        ("higher_tf", 2.0, 2.0),
        ("liquidity", 2.0, 2.0),
        ("no_news", 1.0, 1.0),
        ("volume_pattern", 1.5, 1.5),
        ("correlation_exposure", 1.0, 1.0),
    ]
    assert (scored.score, scored.threshold, scored.regime) == (10.0, 7.0, Regime.TREND_UP)
    assert all(p.known for p in scored.parts)


@pytest.mark.parametrize(
    ("strategy", "side", "regime", "expected"),
    [
        ("breakout_4h", Side.LONG, Regime.TREND_UP, 2.5),
        ("breakout_4h", Side.SHORT, Regime.TREND_UP, 0.5),
        ("breakout_4h", Side.SHORT, Regime.RANGE_HIGHVOL, 1.5),
        ("vol_exp_15m", Side.SHORT, Regime.TREND_DOWN, 2.5),
        ("range_rev_5m", Side.LONG, Regime.RANGE_LOWVOL, 2.5),
        ("funding_rev", Side.LONG, Regime.TREND_UP, 0.0),
        ("breakout_4h", Side.LONG, Regime.PANIC, 0.0),
        ("unheard_of", Side.LONG, Regime.TREND_UP, 0.0),
    ],
)
def test_regime_fit_is_the_configured_table(strategy, side, regime, expected):
    assert points("regime_fit", strategy, side, regime=regime) == expected


def test_an_unknown_regime_gives_nothing_and_says_so():
    found = part("regime_fit", regime=Regime.UNKNOWN)
    assert (found.points, found.known) == (0.0, False)


@pytest.mark.parametrize(
    ("strategy", "side", "ema50", "before", "expected"),
    [
        ("breakout_4h", Side.LONG, 99.0, 98.0, 2.0),  # above a rising average
        ("breakout_4h", Side.LONG, 99.0, 99.5, 1.0),
        ("breakout_4h", Side.LONG, 101.0, 100.5, 1.0),
        ("breakout_4h", Side.LONG, 100.0, 100.0, 0.0),  # on the line agrees with nobody who follows
        ("vol_exp_15m", Side.SHORT, 101.0, 101.5, 2.0),
        ("vol_exp_15m", Side.SHORT, 99.0, 98.0, 0.0),
        ("range_rev_5m", Side.LONG, 101.0, 101.5, 2.0),  # stretched below a falling average
        ("range_rev_5m", Side.LONG, 100.0, 100.0, 2.0),  # flat
        ("range_rev_5m", Side.LONG, 99.0, 98.0, 0.0),
        ("funding_rev", Side.SHORT, 99.0, 98.0, 2.0),
        ("funding_rev", Side.SHORT, 99.0, 99.5, 1.0),
    ],
)
def test_the_higher_timeframe_gives_a_point_for_the_side_of_ema50_and_one_for_its_direction(
    strategy, side, ema50, before, expected
):
    """quant.md §4: reversed or flat for those that revert; the price is 100."""
    assert points("higher_tf", strategy, side, ema50=ema50, ema50_prev=before) == expected


def test_liquidity_falls_with_the_cost_in_r():
    """X13's cost, in the steps of quant.md §4."""
    costs = [0.0, 0.05, 0.051, 0.10, 0.11, 0.20, 0.21, 0.30, 0.31, 5.0]
    assert [points("liquidity", cost_r=c) for c in costs] == [2.0, 2.0, 1.5, 1.5, 1.0, 1.0, 0.5, 0.5, 0.0, 0.0]


@pytest.mark.parametrize(("clear", "expected"), [(True, (1.0, True)), (False, (0.0, True)), (None, (0.0, False))])
def test_unreviewed_news_give_no_point_and_say_so(clear, expected):
    """X22."""
    found = part("no_news", news_clear=clear)
    assert (found.points, found.known) == expected


@pytest.mark.parametrize(
    ("strategy", "side", "volume_z", "location", "expected"),
    [
        ("breakout_4h", Side.LONG, 1.01, 0.71, 1.5),
        ("breakout_4h", Side.LONG, 1.0, 0.7, 0.0),
        ("breakout_4h", Side.LONG, 2.0, 0.2, 0.75),
        ("breakout_4h", Side.SHORT, 0.0, 0.2, 0.75),
        ("breakout_4h", Side.SHORT, 0.0, 0.9, 0.0),
        ("range_rev_5m", Side.LONG, 1.0, 0.2, 1.5),  # little volume behind a close at the low
        ("range_rev_5m", Side.LONG, 1.01, 0.8, 0.0),
        ("funding_rev", Side.SHORT, 0.5, 0.8, 1.5),
    ],
)
def test_volume_and_the_close_in_the_bar_give_three_quarters_each(strategy, side, volume_z, location, expected):
    assert points("volume_pattern", strategy, side, volume_z=volume_z, close_location=location) == expected


@pytest.mark.parametrize(
    ("rho", "open_positions", "expected"),
    [(None, 0, (1.0, True)), (0.7, 2, (1.0, True)), (0.71, 1, (0.5, True)), (None, 1, (0.5, False)), (math.nan, 1, (0.5, False))],
)
def test_an_open_position_that_moves_along_halves_the_last_point(rho, open_positions, expected):
    """F4 limit 0.7; an unknown correlation counts as correlated and says so."""
    found = part("correlation_exposure", max_abs_rho=rho, open_positions=open_positions)
    assert (found.points, found.known) == expected


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("higher_tf", "ema50"),
        ("higher_tf", "ema50_prev"),
        ("liquidity", "cost_r"),
        ("volume_pattern", "volume_z"),
        ("volume_pattern", "close_location"),
    ],
)
@pytest.mark.parametrize("value", [None, math.nan])
def test_a_missing_input_is_explicit_and_never_neutral(name, missing, value):
    """X23: known is False, the points are fewer, the fact on record is None, the threshold does not move."""
    full, found = part(name), part(name, **{missing: value})
    assert (full.known, found.known) == (True, False)
    assert found.points < full.points
    assert dict(found.inputs)[missing] is None
    assert SCORER.score(signal("breakout_4h"), ScoreInputs(**{**BEST, missing: value})).threshold == 7.0


def test_the_inputs_are_read_from_the_timeframes_the_strategy_is_judged_by():
    row = {"ema50@1d": 1.0, "ema50_prev@1d": 2.0, "ema50@1h": 9.0, "volume_z@4h": 3.0, "close_location@4h": math.nan}
    rest = {
        "regime": Regime.TREND_UP,
        "threshold": 8.0,
        "cost_r": 0.1,
        "news_clear": None,
        "max_abs_rho": 0.2,
        "open_positions": 1,
    }
    found = read_inputs(signal("breakout_4h", tf=Timeframe.H4), columns([row]), 0, **rest)
    assert found == ScoreInputs(ema50=1.0, ema50_prev=2.0, volume_z=3.0, close_location=None, **rest)


def test_the_same_setup_always_has_the_same_bytes():
    """G4; parts hold plain values only."""
    made = [encode(SCORER.score(signal("breakout_4h"), ScoreInputs(**BEST))) for _ in range(2)]
    assert made[0] == made[1]
