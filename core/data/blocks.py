"""Columns of bars: how market data moves between source, feed and features.

A block holds bars of *one* timeframe that closed together, one row a symbol; ``idx`` says which symbols, as
positions in the run's instrument tuple. Arrays are float64 unless said otherwise and are never written to by
a receiver.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntFlag
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.types import Timeframe

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Bytes = NDArray[np.uint8]


def somewhere(mask: Bools) -> bool:
    """Whether any element is True: on short arrays several times faster than numpy's own ways to ask."""
    return True in mask.tobytes()


def flagged(flags: Bytes) -> bool:
    """Whether any element is not zero."""
    return flags.tobytes().count(0) != flags.size


class BarFlag(IntFlag):
    """What is unusual about a bar. Nothing is opened on a flagged bar (X44)."""

    CLEAN = 0
    ZERO_VOLUME = 1
    FILLED = 2
    """Made up to bridge a gap (paper only, B5): flat at the last close, no volume."""
    PARTIAL = 4
    """Built from fewer base bars than it should have."""
    REPAIRED = 8
    """A duplicate or bad bar was dropped for it."""
    FOREIGN = 16
    """Of another venue than the run's, which was down (X33)."""


class Bars(NamedTuple):
    """History of one symbol on one timeframe, oldest first; ``ts`` is the open time (int64 ms)."""

    ts: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    def __len__(self) -> int:
        return int(self.ts.size)


@dataclass(slots=True)
class BarBlock:
    """Raw base bars of one timeframe as a source delivers them; ``open_ts`` may differ by row (late bars).

    ``ordinary_at`` is for :class:`core.data.quality.OrdinaryCheck` alone, which notes there what it found. ``venue`` is empty,
    or names another venue than the run's: prices of two venues are never one series unmarked (X33).
    """

    tf: Timeframe
    idx: Ints
    open_ts: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    ordinary_at: int = field(default=-1, init=False, repr=False, compare=False)
    venue: str = ""


@dataclass(slots=True)
class ClosedBlock:
    """Checked bars of one timeframe that all closed at ``ts``; ``flags`` are :class:`BarFlag` bits."""

    tf: Timeframe
    ts: int
    idx: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    flags: Bytes


@dataclass(slots=True)
class Closed:
    """The one announcement: everything that closed together at ``ts``, finest timeframe first."""

    ts: int
    blocks: tuple[ClosedBlock, ...]


class FundingRate(NamedTuple):
    """A funding settlement: ``rate`` is the fraction per interval (longs pay when positive)."""

    symbol: str
    ts: int
    rate: float
    interval_ms: int


class PriceAt(NamedTuple):
    """A price of a side stream (spot close for the basis, mark) known at ``ts``."""

    symbol: str
    ts: int
    price: float


class Book(NamedTuple):
    """Top of the book and the depth (USD) within 0.1 % of the middle, the thinner side.

    ``modelled`` is True where the source has no books and symbols.yaml's assumption stands in.
    """

    symbol: str
    ts: int
    bid: float
    ask: float
    depth_usd: float
    modelled: bool

    @property
    def spread_bps(self) -> float:
        """Spread in basis points of the middle."""
        return (self.ask - self.bid) / (0.5 * (self.ask + self.bid)) * 1e4


class ClockReading(NamedTuple):
    """Measured drift: of the local clock against the exchange, and of the host's NTP (None: not readable)."""

    ts: int
    exchange_drift_ms: float | None
    ntp_drift_ms: float | None


@dataclass(slots=True)
class Batch:
    """Everything that a source knows at ``ts`` (the close of the bars in it) and did not know before.

    ``bars`` has at most one block a base timeframe. Funding settled at ``ts`` is in this batch. ``notes`` are
    lines for the log (a scenario that begins or ends).
    """

    ts: int
    bars: tuple[BarBlock, ...] = ()
    funding: tuple[FundingRate, ...] = ()
    spot: tuple[PriceAt, ...] = ()
    marks: tuple[PriceAt, ...] = ()
    books: tuple[Book, ...] = ()
    clock: ClockReading | None = None
    notes: tuple[str, ...] = field(default=())
