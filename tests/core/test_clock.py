"""How a time is written for scripts."""

from __future__ import annotations

from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st

from core.clock import rfc3339

MOMENTS = st.integers(0, 4_102_444_800_000)  # up to the year 2100


def test_a_time_is_written_in_utc_with_milliseconds() -> None:
    assert rfc3339(0) == "1970-01-01T00:00:00.000Z"
    assert rfc3339(1_767_571_500_250) == "2026-01-05T00:05:00.250Z"


@given(MOMENTS)
def test_a_written_time_reads_back_to_the_millisecond(ts: int) -> None:
    assert round(datetime.fromisoformat(rfc3339(ts)).timestamp() * 1000) == ts


@given(MOMENTS, MOMENTS)
def test_written_times_sort_as_the_times_do(one: int, other: int) -> None:
    assert (rfc3339(one) < rfc3339(other)) == (one < other)
