"""How far one question about the past reaches, and how far back anything is told: the venue's manual."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from core.sim.local.values import VenueError
from core.sim.server.options import HOUR

DAY = 24 * HOUR
WEEK = 7 * DAY
"""The longest time of which fills and orders are told at once, and all that is told where no time is named."""
TRADES_KEPT, INCOME_KEPT = 180 * DAY, 90 * DAY
"""Fills and income before that are told nobody; finished orders see to it themselves (:mod:`core.sim.local.history`)."""
Row = TypeVar("Row")


def of_a_week(
    find: Callable[[int | None, int], tuple[Row, ...]], at: Callable[[Row], int], now: int, start: int | None, end: int | None
) -> tuple[Row, ...]:
    """The first rows since ``start``, or the latest; of a week in either case.

    Args:
        find: the first rows of a time, or without its beginning the last ones before its end.
        at: time of a row (ms).
        now: the venue's time (ms).
        start: earliest time.
        end: latest time.

    Raises:
        VenueError: -4165 a longer time was asked for.
    """
    if start is None:
        last = now if end is None else end
        return tuple(row for row in find(None, last) if at(row) >= last - WEEK)
    last = start + WEEK if end is None else end
    if last - start > WEEK:
        raise VenueError(-4165, "Invalid time interval. Maximum time interval is 7 days.")
    return find(start, last)
