"""Regimes: the rule, the bands, the confirmation, panic, and the counting of false switches (G6, X18, X19)."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from core.errors import StateError
from core.regimes import RegimeTracker, false_switch_rate, label_history, switches_per_month
from core.types import REGIME_CODES, Regime, Timeframe
from tests.core.strategies.making import NAMES, TS, closed, strategies_file

PARAMS = strategies_file().regimes
HOUR = 3_600_000
CALM = {
    "adx": 10.0, "slope": 0.0, "close": 100.0, "ema200": 100.0, "atr_rank": 0.3, "shock": 0.0, "ret6_pct": 0.0, "hi72": 105.0,
}  # fmt: skip
WILD = {**CALM, "atr_rank": 0.6}
UP = {**CALM, "adx": 27.0, "slope": 0.5, "close": 100.1}
DOWN = {**CALM, "adx": 27.0, "slope": -0.5, "close": 99.9}
SHOCK = {**CALM, "shock": -4.0, "ret6_pct": -2.0}
CRASH = {**CALM, "close": 92.4, "atr_rank": 0.9}  # 105 x 0.88
MISSING = {**CALM, "slope": math.nan}
LOWVOL, HIGHVOL, TREND_UP, TREND_DOWN = Regime.RANGE_LOWVOL, Regime.RANGE_HIGHVOL, Regime.TREND_UP, Regime.TREND_DOWN
PANIC, UNKNOWN = Regime.PANIC, Regime.UNKNOWN


class Store:
    """Feature arrays as the feature store keeps them."""

    def __init__(self, size: int = 1, base: Timeframe = Timeframe.M5) -> None:
        self.view = {}
        for tf in (base, Timeframe.M15, Timeframe.H1, Timeframe.H4):
            for name in CALM:
                if name in {"shock", "ret6_pct", "close"} or tf in {Timeframe.H1, Timeframe.H4}:
                    self.view[f"{name}@{tf}"] = np.full(size, np.nan)

    def put(self, row: int, tf: Timeframe, values: dict[str, float]) -> None:
        for name, value in values.items():
            if f"{name}@{tf}" in self.view:
                self.view[f"{name}@{tf}"][row] = value


class Run:
    """One tracker and its store, fed bar by bar."""

    def __init__(self, size: int = 1, base_tf: list[Timeframe] | None = None) -> None:
        self.store = Store(size)
        self.tracker = RegimeTracker(NAMES[:size], self.store, PARAMS, 6, base_tf)
        self.ts = TS

    def bar(self, values: dict[str, float], tf: Timeframe = Timeframe.H1, row: int = 0) -> Regime:
        self.store.put(row, tf, values)
        self.tracker.update(closed(self.ts, (tf, [row])))
        self.ts += tf.ms
        return self.label(row, tf)

    def label(self, row: int = 0, tf: Timeframe = Timeframe.H1) -> Regime:
        return REGIME_CODES[int((self.tracker.h4 if tf is Timeframe.H4 else self.tracker.h1)[row])]


@pytest.mark.parametrize(
    ("bar", "label"),
    [
        (CALM, LOWVOL),
        (WILD, HIGHVOL),
        ({**CALM, "atr_rank": 0.599}, LOWVOL),
        (UP, TREND_UP),
        (DOWN, TREND_DOWN),
        ({**UP, "adx": 26.99}, LOWVOL),
        ({**UP, "slope": 0.49}, LOWVOL),
        ({**UP, "close": 100.0}, LOWVOL),
        ({**DOWN, "close": 100.0, "atr_rank": 0.7}, HIGHVOL),
        (SHOCK, PANIC),
        ({**SHOCK, "ret6_pct": -1.99}, LOWVOL),
        ({**SHOCK, "shock": -3.99}, LOWVOL),
        (CRASH, PANIC),
        ({**CRASH, "atr_rank": 0.89}, HIGHVOL),
        ({**CRASH, "close": 92.5}, HIGHVOL),
        (MISSING, UNKNOWN),
        ({**SHOCK, "adx": math.nan}, UNKNOWN),
        ({**CALM, "hi72": math.nan}, UNKNOWN),
    ],
)
def test_the_first_bar_is_labelled_by_the_enter_thresholds(bar, label):
    """G6, X41: thresholds 27 / 0.5 / 0.6, panic -4 sigma and -2 %, or -12 % in 72 h with rank 0.9; NaN abstains."""
    assert Run().bar(bar) is label
    assert Run().bar(bar, Timeframe.H4) is label


def test_a_trend_is_kept_down_to_the_leave_thresholds_and_no_further():
    """X41: bands 27/15 and 0.5/0.25; below them the raw label changes, and nine such bars change the held one."""
    run = Run()
    run.bar(UP)
    weak = {**UP, "adx": 15.0, "slope": 0.25}
    assert [run.bar(weak) for _ in range(30)] == [TREND_UP] * 30
    gone = {**weak, "adx": 14.99}
    assert [run.bar(gone) for _ in range(9)] == [TREND_UP] * 8 + [LOWVOL]
    assert [run.bar(weak) for _ in range(20)] == [LOWVOL] * 20


def test_high_volatility_is_kept_down_to_half():
    run = Run()
    run.bar(WILD)
    assert {run.bar({**CALM, "atr_rank": 0.5}) for _ in range(20)} == {HIGHVOL}
    assert [run.bar({**CALM, "atr_rank": 0.49}) for _ in range(9)] == [HIGHVOL] * 8 + [LOWVOL]


def test_a_new_label_needs_nine_bars_in_a_row():
    """X18: nine (at least six) equal raw labels; one different bar starts the count again."""
    run = Run()
    run.bar(CALM)
    assert {run.bar(UP) for _ in range(8)} == {LOWVOL}
    run.bar(DOWN)
    assert [run.bar(UP) for _ in range(9)] == [LOWVOL] * 8 + [TREND_UP]
    assert run.tracker.h1_bars[0] == 1
    run.bar(UP)
    assert run.tracker.h1_bars[0] == 2


def test_fewer_confirmation_bars_than_the_minimum_are_refused():
    """X18: min_bars_hold is the least confirmation."""
    with pytest.raises(ValueError, match="expected at least min_bars_hold = 10"):
        RegimeTracker(NAMES[:1], Store(), PARAMS, 10)


def test_panic_is_taken_at_once_and_left_after_nine_calm_bars():
    """X18: panic at once; it is left by confirmation like every label."""
    run = Run()
    run.bar(UP)
    assert run.bar(SHOCK) is PANIC
    assert [run.bar(WILD) for _ in range(9)] == [PANIC] * 8 + [HIGHVOL]


def test_a_base_bar_shock_sets_both_carriers_to_panic_between_their_closes():
    """X18: at once on the fastest frame."""
    run = Run()
    run.bar(CALM)
    run.bar(UP, Timeframe.H4)
    assert run.bar(SHOCK, Timeframe.M5) is PANIC
    assert run.label(tf=Timeframe.H4) is PANIC
    assert run.tracker.h1_bars[0] == 0
    run.bar(CALM, Timeframe.M5)
    assert [run.bar(CALM) for _ in range(10)] == [PANIC] * 9 + [LOWVOL]  # the bar of the shock itself confirms nothing


def test_a_symbol_that_was_never_known_does_not_become_panic():
    """G6, X18: a missing value is never neutral; unknown opens nothing either, and claims nothing."""
    run = Run()
    assert run.bar(SHOCK, Timeframe.M5) is UNKNOWN
    assert run.bar({**SHOCK, "ema200": math.nan}) is UNKNOWN
    assert run.bar(SHOCK, Timeframe.M5) is UNKNOWN
    assert run.bar(CALM) is LOWVOL  # the first label is taken at once
    assert run.bar(SHOCK, Timeframe.M5) is PANIC
    assert run.label(tf=Timeframe.H4) is UNKNOWN  # each carrier for itself


def test_once_known_the_fast_check_goes_on_without_the_carrier_s_inputs():
    run = Run()
    run.bar(CALM)
    assert run.bar(MISSING) is UNKNOWN
    assert run.bar(SHOCK, Timeframe.M5) is PANIC


def test_a_fast_shock_while_leaving_panic_starts_the_count_again():
    run = Run()
    run.bar(SHOCK)
    for _ in range(8):
        run.bar(CALM)
    run.bar(SHOCK, Timeframe.M5)
    run.bar(CALM, Timeframe.M5)
    assert [run.bar(CALM) for _ in range(10)] == [PANIC] * 9 + [LOWVOL]


def test_a_base_close_far_below_the_72_hour_high_is_panic_while_volatility_ranks_high():
    """The crash condition uses the base close against hi72 and ATR rank of 1h."""
    run = Run()
    run.bar({**CALM, "atr_rank": 0.95})
    assert run.bar({"close": 92.5, "shock": 0.0, "ret6_pct": 0.0}, Timeframe.M5) is HIGHVOL
    run.bar({"close": 92.4, "shock": 0.0, "ret6_pct": 0.0}, Timeframe.M5)
    assert run.label() is PANIC


def test_a_shock_on_a_middle_timeframe_is_not_the_fast_check():
    run = Run()
    run.bar(CALM)
    run.bar(SHOCK, Timeframe.M15)
    assert run.label() is LOWVOL


def test_each_symbol_is_checked_on_its_own_base_timeframe():
    run = Run(2, [Timeframe.M5, Timeframe.M15])
    for row in (0, 1):
        run.bar(CALM, row=row)
        run.bar(SHOCK, Timeframe.M15, row)
    assert [run.label(0), run.label(1)] == [LOWVOL, PANIC]


def test_a_symbol_whose_bar_did_not_close_keeps_its_label():
    run = Run(2)
    run.bar(CALM, row=0)
    run.bar(CALM, row=1)
    run.store.put(1, Timeframe.H1, SHOCK)
    run.store.put(1, Timeframe.M5, SHOCK)
    run.tracker.update(closed(run.ts, (Timeframe.M5, [0]), (Timeframe.H1, [0])))
    assert [run.label(0), run.label(1)] == [LOWVOL, LOWVOL]
    assert run.tracker.h1_bars.tolist() == [2, 1]


def test_inputs_that_vanish_make_the_regime_unknown_at_once_and_confirmation_brings_it_back():
    """A missing value is never neutral; the second start is not a first label."""
    run = Run()
    run.bar(CALM)
    assert run.bar(MISSING) is UNKNOWN
    assert [run.bar(CALM) for _ in range(9)] == [UNKNOWN] * 8 + [LOWVOL]


def test_panic_stays_while_inputs_are_missing():
    run = Run()
    run.bar(CALM)
    run.bar(SHOCK)
    assert [run.bar(MISSING) for _ in range(12)] == [PANIC] * 12


def test_breakout_is_gated_by_four_hours_and_the_others_by_one():
    """X18: the carrier."""
    run = Run()
    run.bar(CALM)
    run.bar(UP, Timeframe.H4)
    assert run.tracker.carrier("breakout_4h", 0) is TREND_UP
    for other in ("vol_exp_15m", "range_rev_5m", "funding_rev"):
        assert run.tracker.carrier(other, 0) is LOWVOL
    view = run.tracker.view(0)
    assert (view.h1, view.h1_bars, view.h4, view.h4_bars) == (LOWVOL, 1, TREND_UP, 1)
    assert type(view.h1_bars) is int


@pytest.mark.parametrize("tf", [Timeframe.H1, Timeframe.H4])
def test_a_store_without_the_carrier_leaves_the_regime_unknown(tf):
    store = Store()
    store.view = {key: values for key, values in store.view.items() if f"@{tf}" not in key}
    tracker = RegimeTracker(NAMES[:1], store, PARAMS, 6)
    tracker.update(closed(TS, (Timeframe.M5, [0]), (Timeframe.H1, [0]), (Timeframe.H4, [0])))
    view = tracker.view(0)
    assert (view.h1 if tf is Timeframe.H1 else view.h4) is UNKNOWN


def test_a_restored_tracker_goes_on_bit_for_bit():
    """X18: a restart takes the held state from its own snapshot."""
    bars = [CALM, UP, UP, SHOCK, *[WILD] * 6, *[UP] * 12, CALM]
    whole = Run()
    labels = [whole.bar(bar) for bar in bars]
    for cut in range(len(bars)):
        first, second = Run(), Run()
        for bar in bars[:cut]:
            first.bar(bar)
        second.tracker.restore(json.loads(json.dumps(first.tracker.snapshot())))
        assert [second.bar(bar) for bar in bars[cut:]] == labels[cut:]
        assert second.tracker.snapshot() == whole.tracker.snapshot()


def test_a_snapshot_of_other_symbols_or_a_damaged_one_is_refused():
    run = Run()
    saved = run.tracker.snapshot()
    with pytest.raises(StateError, match="expected"):
        run.tracker.restore({**saved, "symbols": ["X/Y"]})
    with pytest.raises(StateError, match="damaged"):
        run.tracker.restore({**saved, "h4": {}})


def test_whipsaws_are_returns_within_twelve_bars_panic_apart():
    """X19: A->B->A within the window, among switches that do not touch panic."""
    low, high, up, panic = 3, 4, 1, 5
    codes = np.array([low] * 20 + [high] * 9 + [low] * 30 + [up] * 13 + [low] * 20 + [panic] * 5 + [low] * 20, dtype=np.int8)
    # low->high returns after 9 bars (whipsaw); high->low, low->up (returns after 13), up->low do not; panic does not count
    assert false_switch_rate(codes, 12) == 1 / 4
    assert false_switch_rate(codes, 13) == 2 / 4
    assert false_switch_rate(np.array([low, low, panic, low], dtype=np.int8)) is None
    assert false_switch_rate(np.array([], dtype=np.int8)) is None


def test_switches_a_month_count_known_bars_only():
    codes = np.array([0] * 500 + [3] * 365 + [5] * 10 + [3] * 355, dtype=np.int8)  # 730 hours = 30.4 days
    assert switches_per_month(codes, Timeframe.H1) == pytest.approx(2 * 730.5 / 730)
    assert switches_per_month(codes[:500], Timeframe.H1) is None


def test_history_counts_a_fast_panic_like_the_live_tracker():
    bars = [CALM, CALM, SHOCK, *[CALM] * 12]
    features = {f"{name}@1h": np.array([bar[name] for bar in bars]) for name in CALM}
    fast = np.zeros(len(bars), dtype=np.bool_)
    fast[5] = True
    labels = [REGIME_CODES[code] for code in label_history(features, PARAMS, Timeframe.H1, fast)]
    assert labels == [LOWVOL] * 2 + [PANIC] * 12 + [LOWVOL]  # bars 6..14 are the nine calm ones
