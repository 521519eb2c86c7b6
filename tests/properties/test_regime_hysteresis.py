"""What must hold of regimes for every series of bars (G6, X18, X29, B8)."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from core.regimes import RegimeTracker, label_history
from core.types import REGIME_CODES, Timeframe
from tests.core.strategies.making import NAMES, TS, closed, strategies_file

PARAMS = strategies_file().regimes
CONFIRM = 9
FEATURES = ("adx", "slope", "close", "ema200", "atr_rank", "shock", "ret6_pct", "hi72")
UNKNOWN, UP, DOWN, LOW, HIGH, PANIC = range(6)


def one_of(*values: float) -> st.SearchStrategy[float]:
    return st.sampled_from(values)


BAR = st.fixed_dictionaries(
    {
        "adx": one_of(10.0, 15.0, 20.0, 27.0, 40.0),
        "slope": one_of(-1.0, -0.5, -0.3, 0.0, 0.3, 0.5, 1.0),
        "close": one_of(80.0, 99.0, 101.0),
        "ema200": one_of(100.0),
        "atr_rank": one_of(0.1, 0.5, 0.55, 0.6, 0.95),
        "shock": one_of(0.0, 0.0, 0.0, -4.5),
        "ret6_pct": one_of(0.0, -2.5),
        "hi72": one_of(100.0, 100.0, math.nan),
    }
)
# Blocks of equal bars, so that confirmations happen.
SERIES = st.lists(st.tuples(BAR, st.integers(1, 14)), min_size=1, max_size=25).map(
    lambda blocks: [bar for bar, times in blocks for _ in range(times)]
)


def arrays(bars: list[dict[str, float]], tf: str = "1h") -> dict[str, np.ndarray]:
    return {f"{name}@{tf}": np.array([bar[name] for bar in bars]) for name in FEATURES}


def raw_by_hand(bar: dict[str, float], last: int) -> int:
    """The rule of quant.md §1 in plain words, one bar at a time; with an input missing nothing is said."""
    if any(math.isnan(value) for value in bar.values()):
        return UNKNOWN
    if bar["shock"] <= -4 and bar["ret6_pct"] <= -2:
        return PANIC
    if bar["close"] <= bar["hi72"] * 0.88 and bar["atr_rank"] >= 0.9:
        return PANIC
    for code, sign in ((UP, 1), (DOWN, -1)):
        adx, slope = (15, 0.25) if last == code else (27, 0.5)
        if bar["adx"] >= adx and sign * bar["slope"] >= slope and sign * (bar["close"] - bar["ema200"]) > 0:
            return code
    return HIGH if bar["atr_rank"] >= (0.5 if last == HIGH else 0.6) else LOW


def raws(bars: list[dict[str, float]]) -> list[int]:
    found, last = [], UNKNOWN
    for bar in bars:
        last = raw_by_hand(bar, last)
        found.append(last)
    return found


@given(SERIES)
@settings(max_examples=60, deadline=None)
def test_no_label_but_panic_or_unknown_is_taken_without_its_confirmation(bars):
    """X18: nine equal raw labels in a row, except for the very first label; panic and loss of inputs act at once."""
    raw = raws(bars)
    held = label_history(arrays(bars), PARAMS, Timeframe.H1).tolist()
    started = False
    for t, label in enumerate(held):
        before = held[t - 1] if t else UNKNOWN
        if raw[t] == PANIC:
            assert label == PANIC
        elif label != before and label == UNKNOWN:
            assert raw[t] == UNKNOWN
        elif label != before and started:
            assert raw[max(0, t - CONFIRM + 1) : t + 1] == [label] * CONFIRM
        if label == before and label != PANIC and raw[t] != UNKNOWN and started:
            assert label == raw[t] or raw[max(0, t - CONFIRM + 1) : t + 1] != [raw[t]] * CONFIRM
        started = started or label != UNKNOWN


@given(SERIES, st.data())
@settings(max_examples=30, deadline=None)
def test_the_label_at_a_bar_is_the_same_without_the_bars_after_it(bars, data):
    """B8: truncation."""
    cut = data.draw(st.integers(1, len(bars)))
    whole = label_history(arrays(bars), PARAMS, Timeframe.H1)
    assert label_history(arrays(bars[:cut]), PARAMS, Timeframe.H1).tolist() == whole[:cut].tolist()


@given(st.lists(SERIES, min_size=1, max_size=3), st.data())
@settings(max_examples=25, deadline=None)
def test_the_live_tracker_holds_what_the_whole_history_holds(series, data):
    """X29: same labels bar by bar, fast panics included, whatever runs beside a symbol and whichever bars are late."""
    size = len(series)
    length = max(len(bars) for bars in series)
    fast = [data.draw(st.lists(st.booleans(), min_size=len(bars), max_size=len(bars))) for bars in series]
    fast = [[hit and k % 7 == 3 for k, hit in enumerate(row)] for row in fast]
    view = {f"{name}@{tf}": np.full(size, np.nan) for name in FEATURES for tf in ("1h", "4h")}
    view.update({f"{name}@5m": np.zeros(size) for name in ("shock", "ret6_pct")})
    view["close@5m"] = np.full(size, 100.0)

    class Store:
        def __init__(self) -> None:
            self.view = view

    tracker = RegimeTracker(NAMES[:size], Store(), PARAMS, 6, [Timeframe.M5] * size)
    seen = [[] for _ in series]
    for t in range(length):
        rows = [row for row in range(size) if t < len(series[row])]
        for row in rows:
            view["shock@5m"][row], view["ret6_pct@5m"][row] = (-9.0, -9.0) if fast[row][t] else (0.0, 0.0)
        tracker.update(closed(TS + t, (Timeframe.M5, rows)))
        for row in rows:
            view["shock@5m"][row] = 0.0
            for name in FEATURES:
                view[f"{name}@1h"][row] = series[row][t][name]
        tracker.update(closed(TS + t, (Timeframe.H1, rows)))
        for row in rows:
            seen[row].append(int(tracker.h1[row]))
    for row, bars in enumerate(series):
        expected = label_history(arrays(bars), PARAMS, Timeframe.H1, np.array(fast[row], dtype=np.bool_))
        assert seen[row] == expected.tolist()


def test_codes_here_are_the_codes_of_the_gauge():
    assert [REGIME_CODES[code].value for code in (UNKNOWN, UP, DOWN, LOW, HIGH, PANIC)] == [
        "unknown", "trend_up", "trend_down", "range_lowvol", "range_highvol", "panic",
    ]  # fmt: skip
