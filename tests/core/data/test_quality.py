from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data.blocks import BarBlock, Bars
from core.data.quality import Issue, IssueCounters, OrdinaryCheck, clean, sound
from core.types import Timeframe
from tests.core.data.making import T0, random_bars

BAD = [
    (10.0, 9.5, 9.0, 9.2, 1.0),  # high below open
    (10.0, 11.0, 9.0, 11.5, 1.0),  # high below close
    (10.0, 11.0, 10.5, 10.6, 1.0),  # low above open
    (10.0, 11.0, 9.9, 9.8, 1.0),  # low above close
    (10.0, 11.0, 0.0, 10.0, 1.0),
    (10.0, 11.0, -1.0, 10.0, 1.0),
    (10.0, 11.0, 9.0, 10.0, -0.1),
    (math.nan, 11.0, 9.0, 10.0, 1.0),
    (10.0, math.nan, 9.0, 10.0, 1.0),
    (10.0, 11.0, math.nan, 10.0, 1.0),
    (10.0, 11.0, 9.0, math.nan, 1.0),
    (10.0, 11.0, 9.0, 10.0, math.nan),
    (10.0, math.inf, 9.0, 10.0, 1.0),
    (10.0, 11.0, 9.0, 10.0, math.inf),
]


def columns(*rows):
    return tuple(np.array(column) for column in zip(*rows, strict=True))


STEP = Timeframe.M5.ms


def block_of(*rows):
    count = len(rows)
    return BarBlock(Timeframe.M5, np.arange(count), np.full(count, T0, dtype=np.int64), *columns(*rows))


def ordinary(*rows):
    return OrdinaryCheck().holds(T0 + STEP, block_of(*rows))


@pytest.mark.parametrize("row", BAD)
def test_an_impossible_bar_is_seen(row):
    """B5"""
    good = (10.0, 11.0, 9.0, 10.5, 3.0)
    assert sound(*columns(good, row)).tolist() == [True, False]
    assert not ordinary(row)
    assert not ordinary(good, row, good)


def test_a_bar_without_volume_is_possible_but_not_traded():
    """X44"""
    quiet = (10.0, 10.0, 10.0, 10.0, 0.0)
    assert sound(*columns(quiet)).all()
    assert not ordinary(quiet)
    assert not ordinary(quiet, quiet)


prices = st.floats(-1.0, 5.0) | st.sampled_from([math.nan, math.inf, 0.0, 1.0])


@given(st.lists(st.tuples(prices, prices, prices, prices, prices), min_size=1, max_size=4))
def test_the_fast_check_says_what_the_rule_says(rows):
    def possible(o, h, low, c, v):
        finite = all(math.isfinite(x) for x in (o, h, low, c, v))
        return finite and low > 0 and low <= min(o, c) and h >= max(o, c) and v >= 0

    assert sound(*columns(*rows)).tolist() == [possible(*row) for row in rows]
    assert ordinary(*rows) == all(possible(*row) and row[4] > 0 for row in rows)


@pytest.mark.parametrize("count", [1, 3])
def test_a_bar_that_closes_at_another_time_is_not_ordinary(count):
    """B5: a late bar is judged by itself."""
    made, check = block_of(*[(10.0, 11.0, 9.0, 10.5, 3.0)] * count), OrdinaryCheck()
    assert not check.holds(T0 + 2 * STEP, made)
    assert check.holds(T0 + STEP, made)
    assert check.holds(T0 + STEP, made)
    assert not check.holds(T0 + 2 * STEP, made)
    made = block_of(*[(10.0, 11.0, 9.0, 10.5, 3.0)] * count)
    made.open_ts[-1] -= STEP
    assert not check.holds(T0 + STEP, made)


def test_history_is_sorted_and_rid_of_what_cannot_be():
    """B5"""
    step = Timeframe.M5.ms
    bars = random_bars(6, step)
    order = np.array([0, 2, 1, 3, 3, 4, 5])
    ts, o, h, low, c, v = (column[order] for column in bars)
    ts[6] += 1  # off the grid
    h[5] = 0.5 * low[5]  # impossible
    result = clean(Bars(ts, o, h, low, c, v), Timeframe.M5)
    assert result.bars.ts.tolist() == [T0 + k * step for k in range(4)]
    assert result.bars.close.tolist() == bars.close[:4].tolist()
    assert (result.duplicates, result.unsorted, result.off_grid, result.bad) == (1, 1, 1, 1)


def test_counts_are_kept_by_symbol_and_kind():
    counters = IssueCounters()
    counters.add("B", Issue.GAP, 3)
    counters.add("A", Issue.DUPLICATE)
    counters.add("B", Issue.GAP)
    assert counters.get("B", Issue.GAP) == 4
    assert counters.get("A", Issue.GAP) == 0
    assert counters.total() == 5
    assert counters.total(Issue.DUPLICATE) == 1
    assert [tuple(row) for row in counters.all()] == [("A", "duplicate", 1), ("B", "gap", 4)]
    copy = IssueCounters()
    copy.restore(counters.snapshot())
    assert copy.all() == counters.all()
