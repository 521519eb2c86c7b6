"""What must hold of every entry rule, for all feature values (D1-D5, B8, X29)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.strategies import breakout_4h, build_strategies, funding_rev, range_rev_5m, vol_exp_15m
from core.strategies.base import MarketSnapshot, Masks
from core.types import Side, Timeframe
from tests.core.strategies.making import NAMES, TS, governance, strategies_file

FILE = strategies_file()
GOVERNANCE = governance()
M5, M15 = Timeframe.M5, Timeframe.M15
RULES: dict[str, tuple[tuple[str, ...], Callable[..., Masks], Timeframe]] = {
    "breakout_4h": (breakout_4h.REQUIRED, lambda f: breakout_4h.rule(f, FILE.breakout_4h), Timeframe.H4),
    "vol_exp_15m": (vol_exp_15m.REQUIRED, lambda f: vol_exp_15m.rule(f, FILE.vol_exp_15m), M15),
    "range_rev_5m": (range_rev_5m.required(M5), lambda f: range_rev_5m.rule(f, FILE.range_rev_5m, M5), M5),
    "funding_rev": (funding_rev.REQUIRED, lambda f: funding_rev.rule(f, FILE.funding_rev), Timeframe.H1),
}
# Conditions that both sides of a rule need.
NEEDED = {
    "breakout_4h": ("close@4h", "adx@4h", "slope@4h", "slope@1h", "donchian_hi55@4h", "donchian_lo55@4h"),
    "vol_exp_15m": ("close@15m", "atr_rank480@15m", "volume_rank480@15m"),
    "range_rev_5m": ("close@5m", "rsi@5m"),
    "funding_rev": ("funding", "funding_age_h", "basis_rank"),
}
# Values around each feature's thresholds, so that rules fire often; NaN as in warm-up.
VALUES = {
    "close": (90.0, 100.0, 110.0),
    "atr": (1.0,),
    "donchian_hi20": (100.0, 105.0),
    "donchian_lo20": (95.0, 100.0),
    "donchian_hi55": (105.0, 108.0),
    "donchian_lo55": (92.0, 95.0),
    "adx": (19.0, 25.0, 30.0),
    "slope": (-0.5, 0.0, 0.5),
    "atr_rank480": (0.5, 0.8, 0.9),
    "volume_rank480": (0.7, 0.85, 0.99),
    "bb_lower": (95.0, 100.0),
    "bb_upper": (100.0, 105.0),
    "rsi": (20.0, 30.0, 50.0, 75.0),
    "funding": (-0.001, 0.0, 0.0001, 0.001),
    "funding_age_h": (0.0, 0.5, 1.0, 5.0),
    "funding_below": (0.0, 0.96, 0.99),
    "funding_above": (0.0, 0.96, 0.99),
    "basis": (-0.001, 0.001),
    "basis_rank": (0.1, 0.5, 0.9),
}


def history(name: str, draw: st.DataObject, size: int) -> dict[str, np.ndarray]:
    """Feature arrays of ``size`` bars; some values missing."""
    seed = draw.draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    found = {}
    for key in RULES[name][0]:
        values = rng.choice(np.array(VALUES[key.split("@")[0]]), size)
        values[rng.random(size) < 0.02] = np.nan
        found[key] = values
    return found


@pytest.mark.parametrize("name", sorted(RULES))
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_a_rule_never_says_both_and_never_speaks_over_a_missing_condition(name, data):
    _, rule, _ = RULES[name]
    f = history(name, data, 400)
    masks = rule(f)
    assert not np.any(masks.long & masks.short)
    for key in NEEDED[name]:
        assert not np.any((masks.long | masks.short)[np.isnan(f[key])])


@pytest.mark.parametrize("name", sorted(RULES))
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_a_rule_says_the_same_of_a_bar_without_the_bars_after_it(name, data):
    """B8: truncation; and the inputs are never written to (C1)."""
    _, rule, _ = RULES[name]
    f = history(name, data, 200)
    before = {key: values.copy() for key, values in f.items()}
    whole = rule(f)
    cut = data.draw(st.integers(0, 200))
    short = rule({key: values[:cut] for key, values in f.items()})
    assert np.array_equal(short.long, whole.long[:cut])
    assert np.array_equal(short.short, whole.short[:cut])
    assert all(np.array_equal(f[key], before[key], equal_nan=True) for key in f)


@pytest.mark.parametrize("name", sorted(RULES))
@pytest.mark.parametrize("size", [1, 3])
@given(data=st.data())
@settings(max_examples=10, deadline=None)
def test_live_signals_are_those_of_the_whole_history(name, size, data):
    """X29: one function, two shapes; whatever runs beside a symbol."""
    keys, rule, tf = RULES[name]
    bars = 60
    series = [history(name, data, bars) for _ in range(size)]
    base = [M5] * size
    strategy = build_strategies(FILE, NAMES[:size], base, GOVERNANCE)[name]
    view = {key: np.full(size, np.nan) for key in keys}
    ready = {key: np.zeros(size, dtype=np.bool_) for key in keys}
    live: list[tuple[int, str, Side]] = []
    for t in range(bars):
        for row in range(size):
            for key in keys:
                view[key][row] = series[row][key][t]
                ready[key][row] = not np.isnan(view[key][row])
        made = MarketSnapshot(
            TS + t, NAMES[:size], {tf: np.arange(size)}, view, ready, np.zeros(size, dtype=np.uint8), tuple(base)
        )
        live.extend((t, s.symbol, s.side) for s in strategy.generate(made))
    expected = []
    for t in range(bars):
        for row in range(size):
            masks = rule(series[row])
            whole = not any(np.isnan(series[row][key][t]) for key in keys)
            if whole and (masks.long[t] or masks.short[t]):
                expected.append((t, NAMES[row], Side.LONG if masks.long[t] else Side.SHORT))
    assert live == expected


@pytest.mark.parametrize("name", sorted(RULES))
def test_rules_do_fire_on_these_values(name):
    """The properties above would hold of a rule that is always silent."""
    keys, rule, _ = RULES[name]
    rng = np.random.default_rng(7)
    masks = rule({key: rng.choice(np.array(VALUES[key.split("@")[0]]), 20_000) for key in keys})
    assert np.count_nonzero(masks.long) > 20
    assert np.count_nonzero(masks.short) > 20
