"""Measures of regime labels, worked by hand, and the running score (G11, X19)."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import StateError
from core.regime_quality import (
    Detection,
    FalseSwitchCounter,
    RegimeScore,
    TruthTape,
    accuracy,
    confusion,
    count_false_switches,
    count_unsupported_switches,
    detection,
    f1_by_code,
    macro_f1,
    majority_f1,
    mean_f1,
    pooled,
    trend_f1,
)
from core.regimes import false_switch_rate
from core.types import Timeframe
from tests.core.strategies.making import TS, closed

NONE, UP, DOWN, LOW, HIGH, PANIC = range(6)
START = TS - TS % Timeframe.H1.ms


def codes(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int8)


TRUE = codes(UP, UP, UP, UP, LOW, LOW, LOW, LOW, NONE)
SAID = codes(UP, UP, LOW, NONE, LOW, LOW, HIGH, LOW, UP)


def test_f1_is_twice_the_hits_over_labelled_and_true_bars():
    """X19. up: 2 hits, 2 labelled, 4 true; low: 3 hits, 4 labelled, 4 true; high: labelled once, never true."""
    scores = f1_by_code(confusion(SAID, TRUE))
    assert scores == {UP: 4 / 6, LOW: 6 / 8, HIGH: 0.0}
    assert macro_f1(SAID, TRUE) == pytest.approx((4 / 6 + 6 / 8 + 0) / 3)


def test_bars_without_truth_are_not_scored_and_unknown_labels_are_wrong():
    table = confusion(SAID, TRUE)
    assert table.sum() == 8
    assert accuracy(table) == 5 / 8
    assert macro_f1(codes(NONE, NONE), codes(UP, UP)) == 0.0


def test_nothing_known_gives_no_figure():
    table = confusion(codes(UP, LOW), codes(NONE, NONE))
    assert (mean_f1(table), accuracy(table), macro_f1(codes(), codes()), trend_f1(table)) == (None, None, None, None)


def test_trend_f1_looks_at_the_two_trends_only():
    said, true = codes(UP, UP, DOWN, LOW), codes(UP, DOWN, DOWN, LOW)
    assert trend_f1(confusion(said, true)) == pytest.approx((2 / 3 + 2 / 3) / 2)


def test_the_majority_label_scores_its_own_f1_spread_over_all_true_regimes():
    """Five low bars of eight: precision 5/8, recall 1, F1 = 10/13; the other two regimes score 0."""
    true = codes(LOW, LOW, LOW, LOW, LOW, UP, UP, HIGH)
    assert majority_f1(confusion(true, true)) == pytest.approx(10 / 13 / 3)


def test_lag_counts_bars_from_the_true_switch_to_the_first_right_label():
    """X19: first and last segment are left out; a segment without one right bar is missed."""
    true = codes(LOW, LOW, UP, UP, UP, UP, DOWN, DOWN, DOWN, HIGH, HIGH, LOW, LOW)
    said = codes(UP, LOW, LOW, LOW, UP, UP, DOWN, UP, UP, UP, UP, LOW, LOW)
    found = detection(said, true)
    assert found == {UP: Detection((2,), 0), DOWN: Detection((0,), 0), HIGH: Detection((), 1)}
    together = pooled(found.values())
    assert (together.segments, together.median_lag_bars, together.missed_share) == (3, 1.0, 1 / 3)


def test_a_label_that_is_right_only_after_the_segment_is_a_miss():
    true = codes(LOW, UP, UP, LOW, LOW, UP)
    assert detection(codes(LOW, LOW, LOW, UP, UP, LOW), true) == {UP: Detection((), 1), LOW: Detection((), 1)}


def test_stretches_without_truth_are_no_segments():
    assert detection(codes(UP, UP, UP, UP), codes(UP, NONE, NONE, UP)) == {}
    assert (Detection((), 0).missed_share, Detection((), 0).median_lag_bars) == (None, None)


def test_whipsaws_are_counted_as_in_the_worked_series():
    """X19: low->high is back after 9 bars; high->low and low->up (back after 13) are not; panic does not count."""
    series = codes(*[LOW] * 20, *[HIGH] * 9, *[LOW] * 30, *[UP] * 13, *[LOW] * 20, *[PANIC] * 5, *[LOW] * 20)
    assert count_false_switches(series, 12) == (1, 4)
    assert count_false_switches(series, 13) == (2, 4)
    assert count_false_switches(codes(), 12) == (0, 0)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 15)), max_size=20), st.integers(1, 14))
def test_the_counter_says_after_every_bar_what_the_whole_history_says(blocks, window):
    """X19, X29: one definition, live and in hindsight; a restored counter goes on alike."""
    series = codes(*(code for code, bars in blocks for _ in range(bars)))
    counter = FalseSwitchCounter(2, window)
    for t, code in enumerate(series.tolist()):
        counter.on_close(1, code)
        assert counter.ratio == false_switch_rate(series[: t + 1], window)
        saved = json.loads(json.dumps(counter.snapshot()))
        counter = FalseSwitchCounter(2, window)
        counter.restore(saved)


def test_symbols_are_counted_together_each_with_its_own_memory():
    counter = FalseSwitchCounter(2, 12)
    for first, second in ((LOW, HIGH), (HIGH, HIGH), (LOW, LOW)):
        counter.on_close(0, first)
        counter.on_close(1, second)
    assert (counter.false_switches, counter.switches) == (1, 3)


def test_a_switch_is_unsupported_when_its_label_is_true_nowhere_near():
    """low->up at bar 4 is true two bars later, up->high at bar 8 nowhere within two; the way to panic does not count."""
    said = codes(LOW, LOW, LOW, LOW, UP, UP, UP, UP, HIGH, HIGH, PANIC)
    true = codes(HIGH, LOW, LOW, LOW, LOW, LOW, UP, UP, UP, UP, UP)
    assert count_unsupported_switches(said, true, 2) == (1, 2)
    assert count_unsupported_switches(said, true, 1) == (2, 2)


class Knower:
    """A market whose regimes are written down."""

    def __init__(self, **written: np.ndarray) -> None:
        self.written = written
        self.asked = 0

    def truth(self, symbol: str, bars: int | None = None, first: int = 0) -> np.ndarray:
        self.asked += 1
        return np.resize(self.written[symbol], 5000)[first : first + (bars or 0)]


def test_the_tape_gives_the_truth_of_the_base_bar_that_closed():
    long = np.arange(700, dtype=np.int8) % 5 + 1
    knower = Knower(A=long, B=codes(UP))
    tape = TruthTape(knower, ("A", "B"), START, Timeframe.M15)
    seen = [tape.at(0, START + (bar + 1) * Timeframe.M15.ms) for bar in range(700)]
    assert seen == long.tolist()
    assert knower.asked == 3  # 288 bars at a time
    assert tape.at(0, START) == NONE  # the last bar of the warm-up
    assert tape.at(1, START + Timeframe.M15.ms) == UP


def hour(score: RegimeScore, number: int, *held: int, rows: list[int] | None = None) -> None:
    every = list(range(len(held)))
    ts = START + number * Timeframe.H1.ms
    score.on_closed(closed(ts, (Timeframe.M15, every), (Timeframe.H1, rows or every)), codes(*held))


def test_a_run_on_a_market_that_knows_its_truth_is_scored_hour_by_hour():
    """G11: macro-F1 and false switches. up: 2 hits, 3 labelled, 2 true = 4/5; low: 1 hit, 1 labelled, 2 true = 2/3."""
    knower = Knower(A=np.repeat(codes(UP, UP, LOW, LOW), 4))
    score = RegimeScore(1, TruthTape(knower, ("A",), START, Timeframe.M15))
    hour(score, 0, LOW)  # closes with the warm-up: no truth yet
    for number, held in enumerate((UP, UP, UP, LOW), start=1):
        hour(score, number, held)
    assert score.macro_f1 == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert score.scored_hours == 4
    assert (score.switches, score.false_switch_ratio) == (2, 0.5)  # low->up is back after three bars


def test_what_the_warm_up_did_does_not_count():
    """G11, X19: neither its switches nor the return from one of them; the switch at the run's first hour does."""
    score = RegimeScore(1, start=START)
    for number, held in enumerate((LOW, UP, LOW, UP), start=-3):
        hour(score, number, held)
    assert (score.switches, score.false_switch_ratio) == (0, None)
    hour(score, 1, LOW)
    assert (score.switches, score.false_switch_ratio) == (1, 0.0)


def test_a_real_market_has_no_macro_f1_but_false_switches():
    score = RegimeScore(2)
    for number in range(3):
        hour(score, number, LOW, HIGH)
    hour(score, 3, UP, LOW, rows=[0])
    assert (score.macro_f1, score.scored_hours) == (None, 0)
    assert (score.switches, score.false_switch_ratio) == (1, 0.0)  # the second symbol's hour did not close


def test_between_hours_nothing_is_scored():
    score = RegimeScore(1)
    for code in (LOW, HIGH):
        score.on_closed(closed(START, (Timeframe.M15, [0]), (Timeframe.H4, [0])), codes(code))
    assert score.switches == 0
    assert score.false_switch_ratio is None


def test_a_restored_score_goes_on_and_a_damaged_one_is_refused():
    knower = Knower(A=np.repeat(codes(UP, LOW), 4))
    make = lambda: RegimeScore(1, TruthTape(knower, ("A",), START, Timeframe.M15))  # noqa: E731
    whole, second = make(), make()
    labels = [LOW, UP, UP, LOW, UP, LOW]
    for number, held in enumerate(labels[:3], start=1):
        hour(whole, number, held)
    second.restore(json.loads(json.dumps(whole.snapshot())))
    for number, held in enumerate(labels[3:], start=4):
        hour(whole, number, held)
        hour(second, number, held)
    assert second.snapshot() == whole.snapshot()
    assert (second.macro_f1, second.false_switch_ratio) == (whole.macro_f1, whole.false_switch_ratio)
    with pytest.raises(StateError, match="damaged"):
        second.restore({"table": []})
