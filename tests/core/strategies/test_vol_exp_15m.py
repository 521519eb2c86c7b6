"""vol_exp_15m: rule and exits (D3, set A of quant.md §2)."""

from __future__ import annotations

import pytest

from core.strategies.vol_exp_15m import exits, rule
from core.types import Timeframe, Trail, TrailStart
from tests.core.strategies.making import columns, strategies_file

P = strategies_file().vol_exp_15m
LONG = {
    "close@15m": 105.1, "atr@15m": 1.0, "donchian_hi20@15m": 105.0, "donchian_lo20@15m": 95.0,
    "atr_rank480@15m": 0.81, "volume_rank480@15m": 0.81,
}  # fmt: skip
SHORT = {**LONG, "close@15m": 94.9}


def test_it_follows_the_price_out_of_its_range_when_volatility_and_volume_are_high():
    masks = rule(columns([LONG, SHORT]), P)
    assert masks.long.tolist() == [True, False]
    assert masks.short.tolist() == [False, True]


@pytest.mark.parametrize("base", [LONG, SHORT])
@pytest.mark.parametrize(
    "change",
    [
        {"close@15m": 105.0},
        {"close@15m": 95.0},
        {"atr_rank480@15m": 0.8},
        {"volume_rank480@15m": 0.8},
        {"atr_rank480@15m": float("nan")},
        {"volume_rank480@15m": float("nan")},
        {"close@15m": float("nan")},
    ],
)
def test_every_condition_is_needed(base, change):
    masks = rule(columns([{**base, **change}]), P)
    assert not masks.long[0]
    assert not masks.short[0]


def test_exits_are_a_1_5_atr_trail_from_the_entry_and_two_and_a_half_hours():
    """D3, X2-X4: no takes."""
    profile = exits(P)
    assert (profile.stop_atr, profile.takes_r, profile.take_fractions) == (1.5, (), ())
    assert profile.trail == Trail(TrailStart.ENTRY, 1.5, Timeframe.M15)
    assert profile.time_stop_ms == 9_000_000
    assert not profile.funding_exit
