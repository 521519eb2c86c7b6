"""How things are measured here: rounds, spreads, and a quiet collector of garbage."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

T = TypeVar("T")

now_ns = time.perf_counter_ns


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, least and greatest of ``rounds`` values: a range, not a confidence interval."""

    median: float
    low: float
    high: float
    rounds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Spread of at least one value."""
        return cls(median(values), min(values), max(values), len(values))


@dataclass(frozen=True, slots=True)
class Measured:
    """What a benchmark found for one row of the table; ``note`` gives the figures behind a ratio."""

    row: str
    spread: Spread
    note: str


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of ``values`` lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def parts(values: Sequence[T], count: int) -> list[Sequence[T]]:
    """``values`` in ``count`` runs of about the same length, in order; none is empty."""
    count = max(1, min(count, len(values)))
    return [values[len(values) * k // count : len(values) * (k + 1) // count] for k in range(count)]


@contextmanager
def only_new_garbage() -> Iterator[None]:
    """Leave the collector on, as in a real run, and keep what exists by now out of its sight.

    Otherwise recorded bars, which only a benchmark holds, would be walked through on the system's account.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
