"""Arithmetic on timeframes (requirement B2): each divides the next, and all share the grid that starts at the epoch."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from core.errors import DataError
from core.types import Timeframe

LADDER: tuple[Timeframe, ...] = tuple(sorted(Timeframe, key=lambda tf: tf.ms))
"""Every timeframe, finest first."""

_BY_MS = {tf.ms: tf for tf in LADDER}


def from_ms(length_ms: int) -> Timeframe:
    """Timeframe of ``length_ms``.

    Raises:
        DataError: no timeframe has that length.

    Example:
        >>> from_ms(900_000).value
        '15m'
    """
    if length_ms not in _BY_MS:
        allowed = ", ".join(f"{tf.value} ({tf.ms})" for tf in LADDER)
        raise DataError(f"timeframe length was {length_ms} ms, expected one of {allowed}")
    return _BY_MS[length_ms]


def from_base(base: Timeframe) -> tuple[Timeframe, ...]:
    """``base`` and every coarser timeframe, finest first."""
    return LADDER[LADDER.index(base) :]


def finest(timeframes: Iterable[Timeframe]) -> Timeframe:
    """The shortest of ``timeframes``."""
    return min(timeframes, key=lambda tf: tf.ms)


def bucket_open(ts: int, tf: Timeframe) -> int:
    """Open time of the bar of ``tf`` in which ``ts`` lies.

    Example:
        >>> bucket_open(5_399_999, Timeframe.H1)
        3600000
    """
    return ts - ts % tf.ms


def say(ts: int) -> str:
    """``ts`` for people: ``2024-01-06 08:00`` (UTC).

    Example:
        >>> say(1_704_528_000_000)
        '2024-01-06 08:00'
    """
    return datetime.fromtimestamp(ts / 1000, UTC).strftime("%Y-%m-%d %H:%M")
