"""What bar-by-bar indicators remember: the last values of each symbol, and cells of one number a symbol."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.indicators.arrays import Floats

Ints = NDArray[np.int64]
_CELLS = 64


class Rows:
    """The last ``bars`` values of every symbol, oldest first; NaN where there are none yet.

    One contiguous row a symbol, all symbols at the same place, so a window is a plain view: values slide to the right
    and are moved back to the left when the end is reached, once in about ``bars`` bars. A window's sum therefore runs
    in time order, whatever came before it.
    """

    __slots__ = ("_at", "_capacity", "bars", "values")

    def __init__(self, symbols: int, bars: int) -> None:
        self.bars = bars
        self._capacity = 2 * bars + 2
        self.values: Floats = np.full((symbols, self._capacity), np.nan)
        self._at = bars

    def push(self, newest: Floats) -> None:
        """Append one value a symbol."""
        at = self._at + 1
        if at == self._capacity:
            keep = self.bars + 1
            self.values[:, :keep] = self.values[:, at - keep : at]
            at = keep
        self.values[:, at] = newest
        self._at = at

    def last(self, bars: int) -> Floats:
        """View (S, ``bars``) of the last values, the newest included."""
        end = self._at + 1
        return self.values[:, end - bars : end]

    def before(self, bars: int) -> Floats:
        """View (S, ``bars``) of the values before the newest."""
        return self.values[:, self._at - bars : self._at]

    def lag(self, bars: int) -> Floats:
        """View (S,) of the values ``bars`` before the newest."""
        return self.values[:, self._at - bars]

    def hold(self, symbols: Ints) -> None:
        """Take the last push back for ``symbols``: their window becomes what it was."""
        end, bars = self._at + 1, self.bars
        self.values[symbols, end - bars : end] = self.values[symbols, end - bars - 1 : end - 1]


class Memory:
    """Everything that lasts from bar to bar for ``symbols`` symbols, and ``count``, the bars each has seen."""

    def __init__(self, symbols: int) -> None:
        self.symbols = symbols
        self._cells: Floats = np.full((_CELLS, symbols), np.nan)
        self._used = 0
        self._histories: list[Rows] = []
        self.count: Floats = self.cells(1, start=0.0)[0]

    def cells(self, rows: int, start: float = np.nan) -> Floats:
        """New array (``rows``, S), filled with ``start``."""
        first, self._used = self._used, self._used + rows
        if self._used > _CELLS:
            raise MemoryError(f"{self._used} cells were asked for, expected at most {_CELLS}")
        cells = self._cells[first : self._used]
        cells.fill(start)
        return cells

    def rows(self, bars: int) -> Rows:
        """New history of ``bars`` values a symbol."""
        rows = Rows(self.symbols, bars)
        self._histories.append(rows)
        return rows

    def save(self, symbols: Ints) -> Floats:
        """Cells of ``symbols``, for :meth:`restore`."""
        return self._cells[:, symbols]

    def restore(self, symbols: Ints, saved: Floats) -> None:
        """Put ``symbols`` back to before the bar; those that never had one have only NaN histories to keep."""
        self._cells[:, symbols] = saved
        seen = symbols[self.count[symbols] > 0]
        if seen.size:
            for rows in self._histories:
                rows.hold(seen)


class TrueCounter:
    """Counts what is true in each row of ``mask``, shape (S, ``bars``).

    Eight cells at a time are added as the bytes of one word, which is several times faster than a sum of booleans and
    as exact while no byte overflows.
    """

    _LONGEST = 8 * 255

    def __init__(self, symbols: int, bars: int) -> None:
        words = -(-bars // 8)
        padded = np.zeros((symbols, 8 * words), dtype=np.bool_)
        self.mask = padded[:, :bars]
        self._words = padded.view(np.uint64)
        self._sums = np.zeros(symbols, dtype=np.uint64)
        self._bytes = self._sums.view(np.uint8).reshape(symbols, 8)
        self._long = bars > self._LONGEST

    def count(self, out: Floats) -> None:
        """Number of true cells of each row into ``out``."""
        if self._long:
            np.add.reduce(self.mask, axis=1, dtype=np.float64, out=out)
        else:
            np.add.reduce(self._words, axis=1, out=self._sums)
            np.add.reduce(self._bytes, axis=1, dtype=np.float64, out=out)
