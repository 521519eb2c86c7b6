"""breakout_4h: rule and exits (D2, set A of quant.md §2)."""

from __future__ import annotations

import pytest

from core.strategies.breakout_4h import build, exits, rule
from core.types import Side, Timeframe, Trail, TrailStart
from tests.core.strategies.making import NAMES, columns, snapshot, strategies_file

P = strategies_file().breakout_4h
LONG = {
    "close@4h": 110.1, "atr@4h": 3.0, "donchian_hi20@4h": 110.0, "donchian_lo20@4h": 90.0, "donchian_hi55@4h": 120.0,
    "donchian_lo55@4h": 80.0, "adx@4h": 20.1, "slope@4h": 0.01, "slope@1h": 0.01,
}  # fmt: skip
SHORT = {**LONG, "close@4h": 89.9, "slope@4h": -0.01, "slope@1h": -0.01}


def test_it_buys_above_the_channel_and_sells_below_it():
    masks = rule(columns([LONG, SHORT]), P)
    assert masks.long.tolist() == [True, False]
    assert masks.short.tolist() == [False, True]


@pytest.mark.parametrize(
    "change",
    [
        {"close@4h": 110.0},
        {"donchian_hi55@4h": 141.0},  # the middle of 141 and 80 is 110.5
        {"adx@4h": 20.0},
        {"slope@4h": 0.0},
        {"slope@1h": 0.0},
        {"slope@1h": -0.5},
        *({key: float("nan")} for key in LONG if key not in {"atr@4h", "donchian_lo20@4h"}),
    ],
)
def test_every_condition_is_needed_to_buy(change):
    masks = rule(columns([{**LONG, **change}]), P)
    assert not masks.long[0]
    assert not masks.short[0]


@pytest.mark.parametrize(
    "change",
    [{"close@4h": 90.0}, {"donchian_lo55@4h": 59.0}, {"adx@4h": 20.0}, {"slope@4h": 0.0}, {"slope@1h": 0.0}],
)
def test_every_condition_is_needed_to_sell(change):
    changed = {**SHORT, **change}
    if "donchian_lo55@4h" in change:  # middle of 120 and 59 is 89.5, below the close
        assert changed["close@4h"] > 89.5
    assert not rule(columns([changed]), P).short[0]


def test_it_speaks_only_when_a_4h_bar_closed_and_names_its_reason():
    strategy = build(P, NAMES[:1])
    assert strategy.generate(snapshot([SHORT], [Timeframe.H1])) == []
    (signal,) = strategy.generate(snapshot([SHORT], [Timeframe.M5, Timeframe.H1, Timeframe.H4]))
    assert (signal.side, signal.tf, signal.entry, signal.atr) == (Side.SHORT, Timeframe.H4, 89.9, 3.0)
    assert signal.reason == "4h close 89.9 below the low 90 of the 20 bars before, ADX 20.1 > 20, slope -0.01 (4h) and -0.01 (1h)"


def test_exits_are_a_quarter_at_1r_a_quarter_at_2r_and_a_2_atr_trail_from_the_first_take():
    """D2, X2-X4."""
    profile = exits(P)
    assert (profile.stop_atr, profile.takes_r, profile.take_fractions) == (2.0, (1.0, 2.0), (0.25, 0.25))
    assert profile.trail == Trail(TrailStart.FIRST_TAKE, 2.0, Timeframe.H4)
    assert profile.time_stop_ms == 120 * 3_600_000
    assert not profile.funding_exit
    assert build(P, NAMES).profile(Timeframe.H4) == profile
