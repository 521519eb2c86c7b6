"""What the venue picks of a series."""

from __future__ import annotations

import pytest

from core.sim.tape.base import venue_slice

ROWS = [10, 20, 30, 40]


@pytest.mark.parametrize(
    ("start", "end", "limit", "chosen"),
    [
        (None, None, 2, (30, 40)),
        (20, None, 2, (20, 30)),
        (15, 30, 9, (20, 30)),
        (None, 30, 9, (10, 20, 30)),
        (None, 30, 2, (20, 30)),
        (50, None, 9, ()),
        (None, None, 0, ()),
    ],
)
def test_with_a_start_the_first_are_picked_else_the_newest(
    start: int | None, end: int | None, limit: int, chosen: tuple[int, ...]
) -> None:
    assert venue_slice(ROWS, lambda row: row, start, end, limit) == chosen
