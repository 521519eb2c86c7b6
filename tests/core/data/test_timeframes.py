from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data.timeframes import LADDER, bucket_open, finest, from_base, from_ms, say
from core.errors import DataError
from core.types import Timeframe


@pytest.mark.parametrize(
    ("name", "length_ms"),
    [("1m", 60_000), ("5m", 300_000), ("15m", 900_000), ("1h", 3_600_000), ("4h", 14_400_000), ("1d", 86_400_000)],
)
def test_a_timeframe_and_its_length_are_one_thing(name, length_ms):
    """B2"""
    assert Timeframe(name).ms == length_ms
    assert from_ms(length_ms) is Timeframe(name)


def test_a_length_that_is_no_timeframe_is_refused_with_those_that_are():
    with pytest.raises(DataError, match=r"was 1234 ms.*15m \(900000\)"):
        from_ms(1234)


def test_each_timeframe_divides_the_next():
    assert [coarse.ms % fine.ms for fine, coarse in itertools.pairwise(LADDER)] == [0] * 5


def test_what_is_built_from_a_base():
    assert [tf.value for tf in from_base(Timeframe.M15)] == ["15m", "1h", "4h", "1d"]
    assert finest([Timeframe.H1, Timeframe.M5]) is Timeframe.M5


@given(st.integers(0, 4_000_000_000_000), st.sampled_from(list(Timeframe)))
def test_a_moment_lies_in_its_bucket(ts, tf):
    opened = bucket_open(ts, tf)
    assert opened % tf.ms == 0
    assert opened <= ts < opened + tf.ms


def test_times_are_told_in_utc():
    assert say(1_704_528_000_000) == "2024-01-06 08:00"
