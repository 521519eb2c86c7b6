"""range_rev_5m: rule, its timeframe and exits (D4, set A of quant.md §2)."""

from __future__ import annotations

import pytest

from core.strategies.range_rev_5m import build, exits, rule
from core.types import Side, Timeframe, TrailStart
from tests.core.strategies.making import NAMES, columns, snapshot, strategies_file

P = strategies_file().range_rev_5m


def row(tf: str, close: float, rsi: float) -> dict[str, float]:
    return {f"close@{tf}": close, f"atr@{tf}": 0.5, f"bb_lower@{tf}": 99.0, f"bb_upper@{tf}": 101.0, f"rsi@{tf}": rsi}


BOTH = {**row("5m", 98.9, 29.9), **row("15m", 101.1, 70.1)}


@pytest.mark.parametrize("tf", [Timeframe.M5, Timeframe.M15])
def test_it_buys_below_the_band_and_sells_above_it(tf):
    f = columns([row(tf, 98.9, 29.9), row(tf, 101.1, 70.1)])
    masks = rule(f, P, tf)
    assert masks.long.tolist() == [True, False]
    assert masks.short.tolist() == [False, True]


@pytest.mark.parametrize(
    ("close", "rsi"),
    [(99.0, 29.9), (98.9, 30.0), (101.0, 70.1), (101.1, 70.0), (float("nan"), 29.9), (98.9, float("nan")), (98.9, 80.0)],
)
def test_band_and_rsi_are_both_needed(close, rsi):
    masks = rule(columns([row("5m", close, rsi)]), P)
    assert not masks.long[0]
    assert not masks.short[0]


@pytest.mark.parametrize(
    ("base", "heard"),
    [
        (Timeframe.M1, [(Timeframe.M5, Side.LONG)]),
        (Timeframe.M5, [(Timeframe.M5, Side.LONG)]),
        (Timeframe.M15, [(Timeframe.M15, Side.SHORT)]),
        (Timeframe.H1, []),
    ],
)
def test_each_symbol_is_judged_on_the_finest_of_5m_and_15m_that_it_has(base, heard):
    """D4: 5-15m."""
    strategy = build(P, NAMES[:1], [base])
    signals = strategy.generate(snapshot([BOTH], [Timeframe.M5, Timeframe.M15], base_tf=[base]))
    assert [(s.tf, s.side) for s in signals] == heard
    assert strategy.abstaining(snapshot([BOTH], [Timeframe.M5, Timeframe.M15], base_tf=[base])) == ()


def test_symbols_of_different_bases_speak_in_symbol_order():
    bases = [Timeframe.M15, Timeframe.M5]
    strategy = build(P, NAMES[:2], bases)
    signals = strategy.generate(snapshot([BOTH, BOTH], [Timeframe.M5, Timeframe.M15], base_tf=bases))
    assert [(s.symbol, s.tf) for s in signals] == [(NAMES[0], Timeframe.M15), (NAMES[1], Timeframe.M5)]
    assert signals[0].reason == "close@15m 101.1 above the upper band 101, RSI 70.1 > 70"
    assert signals[1].reason == "close@5m 98.9 below the lower band 99, RSI 29.9 < 30"
    assert signals[0].validity_ts - signals[0].ts == 900_000


def test_exits_are_half_at_half_r_half_at_1r_no_trail_and_one_hour():
    """D4, X3, X4."""
    strategy = build(P, NAMES[:1], [Timeframe.M5])
    for tf in (Timeframe.M5, Timeframe.M15):
        profile = strategy.profile(tf)
        assert profile == exits(P, tf)
        assert (profile.stop_atr, profile.takes_r, profile.take_fractions) == (1.5, (0.5, 1.0), (0.5, 0.5))
        assert (profile.trail.start, profile.trail.tf, profile.tf) == (TrailStart.NEVER, tf, tf)
        assert profile.time_stop_ms == 3_600_000
