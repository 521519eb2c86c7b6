"""What can be wrong with a bar, how it is told, and how often it was (requirement B5)."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from core.data.blocks import BarBlock, Bars, Bools, Floats, Ints, somewhere
from core.types import Timeframe


class Issue(StrEnum):
    """Kinds of trouble; each is counted by symbol. ``blocking`` ones close the candle-integrity gate."""

    DUPLICATE = "duplicate"
    """The same bar again, with the same values: dropped."""
    CONFLICT = "conflict"
    """The same bar again, with other values: the first one stands, the second is dropped."""
    GAP = "gap"
    """A bar of the grid never came in time; counts bars, whatever they were lost to."""
    OFF_GRID = "off_grid"
    """The open time is no multiple of the timeframe: dropped."""
    OUT_OF_ORDER = "out_of_order"
    """Older than a bar already taken, and not known: dropped."""
    BAD_BAR = "bad_bar"
    """high < max(open, close), low > min(open, close), a price <= 0, volume < 0, NaN or infinity: dropped."""
    UNFINISHED = "unfinished"
    """The bar closes after the announcement, so it is not final: dropped."""
    WRONG_TIMEFRAME = "wrong_timeframe"
    """Not the symbol's base timeframe: dropped."""
    LATE = "late"
    """Came after its announcement. Taken for the record where it is the next of its symbol, else dropped."""
    ZERO_VOLUME = "zero_volume"
    """Nothing traded, or nothing was recorded: flagged, taken (X44)."""
    ZERO_VOLUME_RUN = "zero_volume_run"
    """Two or more zero-volume bars on end; counts runs."""

    @property
    def blocking(self) -> bool:
        """Whether the symbol's candles are not to be trusted for a while."""
        return self in _BLOCKING


_BLOCKING = frozenset(
    {
        Issue.CONFLICT,
        Issue.GAP,
        Issue.OFF_GRID,
        Issue.OUT_OF_ORDER,
        Issue.BAD_BAR,
        Issue.UNFINISHED,
        Issue.WRONG_TIMEFRAME,
    }
)


class Counted(NamedTuple):
    """How many ``times`` ``kind`` was seen on ``symbol``."""

    symbol: str
    kind: Issue
    times: int


class IssueCounters:
    """Counts of issues, keyed (symbol, kind)."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, Issue], int] = {}

    def add(self, symbol: str, kind: Issue, count: int = 1) -> None:
        """Count ``count`` more."""
        key = (symbol, kind)
        self._counts[key] = self._counts.get(key, 0) + count

    def get(self, symbol: str, kind: Issue) -> int:
        """Count so far."""
        return self._counts.get((symbol, kind), 0)

    def total(self, kind: Issue | None = None) -> int:
        """Count over all symbols, of one kind or of all."""
        return sum(count for (_, seen), count in self._counts.items() if kind is None or seen is kind)

    def all(self) -> tuple[Counted, ...]:
        """Every count above zero, by symbol and kind."""
        return tuple(Counted(symbol, kind, self._counts[symbol, kind]) for symbol, kind in sorted(self._counts))

    def snapshot(self) -> list[list[str | int]]:
        """Counts as plain rows."""
        return [[row.symbol, row.kind.value, row.times] for row in self.all()]

    def restore(self, rows: list[list[str | int]]) -> None:
        """Take over what :meth:`snapshot` gave."""
        self._counts = {(str(symbol), Issue(str(kind))): int(count) for symbol, kind, count in rows}


def sound(open_: Floats, high: Floats, low: Floats, close: Floats, volume: Floats) -> Bools:
    """True where a bar is possible: positive finite prices, low <= open, close <= high, finite volume >= 0."""
    ok: Bools = (
        (high >= np.maximum(open_, close))
        & (low <= np.minimum(open_, close))
        & (low > 0.0)
        & (high < np.inf)
        & (volume >= 0.0)
        & (volume < np.inf)
    )
    return ok


class OrdinaryCheck:
    """Finds blocks about which there is nothing to say. Its buffers are kept, so nothing is allocated on the per-bar path."""

    _ZERO = np.array(0.0)
    _INFINITY = np.array(np.inf)

    def __init__(self) -> None:
        self._buffers: dict[int, tuple[Floats, Floats, Bools, tuple[Bools, ...]]] = {}

    def holds(self, ts: int, block: BarBlock) -> bool:
        """Whether every row closes at ``ts``, is possible and has volume.

        The answer is noted on the block, since exchange and feed both ask.
        """
        if block.ordinary_at == ts:
            return True
        if not closes_at(ts, block) or not self._all_traded(block):
            return False
        block.ordinary_at = ts
        return True

    def _all_traded(self, block: BarBlock) -> bool:
        """NaN fails, since it compares false."""
        open_, high, low, close, volume = block.open, block.high, block.low, block.close, block.volume
        rows = open_.size
        if rows == 1:  # Python floats beat arrays of one
            o, h, low_, c, v = open_.item(), high.item(), low.item(), close.item(), volume.item()
            return 0.0 < low_ <= o <= h < math.inf and low_ <= c <= h and 0.0 < v < math.inf
        top, bottom, table, line = self._buffers.get(rows) or self._make(rows)
        np.maximum(open_, close, out=top)
        np.minimum(open_, close, out=bottom)
        np.greater_equal(high, top, out=line[0])
        np.less_equal(low, bottom, out=line[1])
        np.greater(low, self._ZERO, out=line[2])
        np.less(high, self._INFINITY, out=line[3])
        np.greater(volume, self._ZERO, out=line[4])
        np.less(volume, self._INFINITY, out=line[5])
        return False not in table.tobytes()

    def _make(self, rows: int) -> tuple[Floats, Floats, Bools, tuple[Bools, ...]]:
        table = np.zeros((6, rows), dtype=np.bool_)
        made = (np.empty(rows), np.empty(rows), table, tuple(table[k] for k in range(6)))
        self._buffers[rows] = made
        return made


def closes_at(ts: int, block: BarBlock) -> bool:
    """Whether every row closes at ``ts``."""
    opened = ts - block.tf.ms
    if block.open_ts.size == 1:
        return bool(block.open_ts.item() == opened)
    return not somewhere(block.open_ts != opened)


class Cleaned(NamedTuple):
    """History fit for use, and what had to go."""

    bars: Bars
    duplicates: int
    unsorted: int
    off_grid: int
    bad: int


def clean(bars: Bars, tf: Timeframe) -> Cleaned:
    """Sort ``bars`` by time, keep the first of equal times, drop bars off the grid of ``tf`` and impossible ones."""
    steps: Ints = np.diff(bars.ts)
    unsorted = int(np.count_nonzero(steps < 0))
    if unsorted or np.count_nonzero(steps == 0):
        _, first = np.unique(bars.ts, return_index=True)
        duplicates = len(bars) - int(first.size)
        bars = select(bars, first)
    else:
        duplicates = 0
    on_grid: Bools = bars.ts % tf.ms == 0
    possible = sound(*bars[1:])
    off_grid = len(bars) - int(np.count_nonzero(on_grid))
    keep: Bools = on_grid & possible
    bad = len(bars) - off_grid - int(np.count_nonzero(keep))
    if off_grid or bad:
        bars = select(bars, np.flatnonzero(keep))
    return Cleaned(bars, duplicates, unsorted, off_grid, bad)


def select(bars: Bars, rows: Ints | slice) -> Bars:
    """Some rows of ``bars``."""
    return Bars(bars.ts[rows], bars.open[rows], bars.high[rows], bars.low[rows], bars.close[rows], bars.volume[rows])
