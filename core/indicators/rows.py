"""What bar-by-bar indicators remember: the last values of each symbol, and cells of one number a symbol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.indicators.arrays import Floats
from core.indicators.packed import packed, unpack

Ints = NDArray[np.int64]
_CELLS = 64


class Rows:
    """The last values of several series of every symbol, oldest first; NaN where there are none yet.

    ``windows`` says for each series how many may be looked at; ``bars`` is the longest of them.
    One contiguous row a symbol and series, all at the same place, so a window is a plain view: values slide to the right
    and are moved back to the left when the end is reached, once in about ``bars`` bars. A window's sum therefore runs
    in time order, whatever came before it.
    """

    __slots__ = ("_capacity", "_windows", "at", "bars", "values")

    def __init__(self, windows: Sequence[int], symbols: int) -> None:
        self._windows = tuple(windows)
        self.bars = max(windows)
        self._capacity = 2 * self.bars + 2
        self.values: Floats = np.full((len(windows), symbols, self._capacity), np.nan)
        self.at = self.bars

    def push(self, newest: Floats) -> None:
        """Append one value a series and symbol; shape (series, symbols)."""
        at = self.at + 1
        if at == self._capacity:
            keep = self.bars + 1
            self.values[:, :, :keep] = self.values[:, :, at - keep : at]
            at = keep
        self.values[:, :, at] = newest
        self.at = at

    def series(self, number: int) -> Series:
        """One of the series."""
        return Series(self, number)

    def snapshot(self) -> dict[str, Any]:
        """Where the windows stand and what is in them; a window's place is kept, so that its sum is the same to the bit."""
        return {"at": self.at, "values": [packed(window) for window in self._longest()]}

    def restore(self, saved: dict[str, Any]) -> None:
        """Take over what :meth:`snapshot` of rows with the same windows gave."""
        self.at = int(saved["at"])
        for window, values in zip(self._longest(), saved["values"], strict=True):
            unpack(values, window)

    def _longest(self) -> list[Floats]:
        """The longest window of each series, a view: what lies before it is never looked at again."""
        end = self.at + 1
        return [series[:, end - bars : end] for series, bars in zip(self.values, self._windows, strict=True)]

    def hold(self, symbols: Ints) -> None:
        """Take the last push back for ``symbols``: their windows become what they were."""
        end, bars = self.at + 1, self.bars
        self.values[:, symbols, end - bars : end] = self.values[:, symbols, end - bars - 1 : end - 1]


class Series:
    """One series of :class:`Rows`, for all symbols."""

    __slots__ = ("_rows", "_values")

    def __init__(self, rows: Rows, number: int) -> None:
        self._rows = rows
        self._values: Floats = rows.values[number]

    def last(self, bars: int) -> Floats:
        """View (S, ``bars``) of the last values, the newest included."""
        end = self._rows.at + 1
        return self._values[:, end - bars : end]

    def before(self, bars: int) -> Floats:
        """View (S, ``bars``) of the values before the newest."""
        end = self._rows.at
        return self._values[:, end - bars : end]

    def lag(self, bars: int) -> Floats:
        """View (S,) of the values ``bars`` before the newest."""
        return self._values[:, self._rows.at - bars]


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

    def rows(self, windows: Sequence[int]) -> Rows:
        """New history of series, each with the longest window that may be asked of it."""
        rows = Rows(windows, self.symbols)
        self._histories.append(rows)
        return rows

    def snapshot(self) -> dict[str, Any]:
        """All of it."""
        return {"cells": packed(self._cells), "histories": [rows.snapshot() for rows in self._histories]}

    def take_over(self, saved: dict[str, Any]) -> None:
        """What :meth:`snapshot` of a memory with the same cells and histories gave."""
        unpack(saved["cells"], self._cells)
        for rows, past in zip(self._histories, saved["histories"], strict=True):
            rows.restore(past)

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
    as exact, since no sum has more words than a byte can count.
    """

    _MOST_WORDS = 255

    def __init__(self, symbols: int, bars: int) -> None:
        words = -(-bars // 8)
        sums = -(-words // self._MOST_WORDS)
        padded = np.zeros((symbols, sums, 8 * -(-words // sums)), dtype=np.bool_)
        self.mask = padded.reshape(symbols, -1)[:, :bars]
        self._words = padded.view(np.uint64)
        self._sums = np.zeros((symbols, sums), dtype=np.uint64)
        self._bytes = self._sums.view(np.uint8)

    def count(self, out: Floats) -> None:
        """Number of true cells of each row into ``out``."""
        np.add.reduce(self._words, axis=2, out=self._sums)
        np.add.reduce(self._bytes, axis=1, dtype=np.float64, out=out)
