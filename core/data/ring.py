"""Ring buffers of bars (requirement B3).

One :class:`Ring` a timeframe holds all symbols that have it side by side, and *time* is the position: the bar that
opens at ``t`` stands in row ``t // step % size`` for every symbol. So an announcement is written as one row, a
hole leaves an old stamp behind (and is seen by it), and the parts of a coarser bar always lie in consecutive rows.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.data.blocks import Bars, Bools, Bytes, Floats, Ints
from core.data.resample import EMPTY
from core.errors import StateError
from core.indicators.packed import packed, unpack
from core.types import Timeframe

_ALIGNMENT = 60
"""Rows are a multiple of this (the lowest common multiple of 3, 4, 5, 6 bars of one timeframe in the next), so that
the parts of a coarser bar never wrap around the end."""

_FIRST: Ints = np.zeros(1, dtype=np.int64)

_VALUES = ("open", "high", "low", "close", "volume", "flags")


class Series(NamedTuple):
    """Last bars of one symbol on one timeframe with their flags, oldest first."""

    bars: Bars
    flags: Bytes


class Ring:
    """The last bars of one timeframe; arrays are (size, members), ``ts`` is -1 where empty.

    Args:
        tf: the timeframe.
        members: positions of the symbols that have it, rising; one column each.
        capacity: bars kept, at least.
    """

    __slots__ = ("close", "column", "flags", "high", "low", "members", "open", "size", "step", "tf", "ts", "volume", "width")

    def __init__(self, tf: Timeframe, members: Ints, capacity: int) -> None:
        self.tf = tf
        self.step = tf.ms
        self.members = members
        self.width = int(members.size)
        self.column: Ints = np.full(int(members[-1]) + 1, -1, dtype=np.int64)
        self.column[members] = np.arange(self.width)
        self.size = -(-capacity // _ALIGNMENT) * _ALIGNMENT
        shape = (self.size, self.width)
        self.ts: Ints = np.full(shape, -1, dtype=np.int64)
        self.open: Floats = np.full(shape, np.nan)
        self.high: Floats = np.full(shape, np.nan)
        self.low: Floats = np.full(shape, np.nan)
        self.close: Floats = np.full(shape, np.nan)
        self.volume: Floats = np.full(shape, np.nan)
        self.flags: Bytes = np.zeros(shape, dtype=np.uint8)

    def slot(self, open_ts: int) -> int:
        """Row of the bar that opens at ``open_ts``."""
        return open_ts // self.step % self.size

    def write(
        self,
        open_ts: int,
        idx: Ints,
        open_: Floats,
        high: Floats,
        low: Floats,
        close: Floats,
        volume: Floats,
        flags: Bytes | int,
    ) -> None:
        """Store one bar for each symbol of ``idx`` (members, rising, none twice)."""
        row = open_ts // self.step % self.size
        if idx.size == self.width:
            self.ts[row] = open_ts
            self.open[row] = open_
            self.high[row] = high
            self.low[row] = low
            self.close[row] = close
            self.volume[row] = volume
            self.flags[row] = flags
            return
        at = row, self.column[idx]
        self.ts[at] = open_ts
        self.open[at] = open_
        self.high[at] = high
        self.low[at] = low
        self.close[at] = close
        self.volume[at] = volume
        self.flags[at] = flags

    def has(self, open_ts: int, position: int) -> bool:
        """Whether a member's bar that opens at ``open_ts`` is (still) there."""
        return bool(self.ts[open_ts // self.step % self.size, self.column[position]] == open_ts)

    def last(self, position: int, count: int) -> Series:
        """At most ``count`` newest bars of a member, copied, oldest first; none for a symbol that is no member."""
        column = int(self.column[position]) if position < self.column.size else -1
        if column < 0:
            return Series(EMPTY, self.flags[:0, 0])
        stamps = self.ts[:, column]
        newest = int(stamps.max(initial=-1))
        alive = np.flatnonzero(stamps > max(newest - self.size * self.step, -1))
        rows = alive[np.argsort(stamps[alive])][-count:] if count > 0 else alive[:0]
        bars = Bars(
            stamps[rows],
            self.open[rows, column],
            self.high[rows, column],
            self.low[rows, column],
            self.close[rows, column],
            self.volume[rows, column],
        )
        return Series(bars, self.flags[rows, column])

    def snapshot(self) -> dict[str, Any]:
        """The rows that were written, each symbol's values side by side as in :class:`core.indicators.rows.Rows`.

        Stamps are kept without what their row tells, and are then nearly all the same.
        """
        written: Bools = np.logical_or.reduce(self.ts >= 0, axis=1)
        ts = self.ts[written]
        rounds = np.where(ts < 0, ts, ts - self._since_first_row(written))
        state = {"tf": self.tf.value, "size": self.size, "members": self.members.tolist()}
        columns = {name: packed(getattr(self, name)[written].T) for name in _VALUES}
        return {**state, "written": packed(written), "rounds": packed(rounds.T), **columns}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`snapshot` gave.

        Raises:
            StateError: the snapshot is of a ring of another shape.
        """
        saved = (state["tf"], state["size"], state["members"])
        mine = (self.tf.value, self.size, self.members.tolist())
        if saved != mine:
            raise StateError(f"saved ring was {saved} (timeframe, rows, positions of symbols), expected {mine}")
        written = np.empty(self.size, dtype=np.bool_)
        unpack(state["written"], written)
        rounds = self._of_rows(state["rounds"], written, self.ts)
        self.ts.fill(-1)
        self.ts[written] = np.where(rounds < 0, rounds, rounds + self._since_first_row(written))
        for name in _VALUES:
            array = getattr(self, name)
            array[written] = self._of_rows(state[name], written, array)

    def _since_first_row(self, rows: Bools) -> Ints:
        """Time from the first row to each of ``rows``, as a column."""
        since: Ints = np.flatnonzero(rows)[:, None] * self.step
        return since

    def _of_rows(self, saved: bytes, rows: Bools, like: NDArray[Any]) -> NDArray[Any]:
        values = np.empty((self.width, np.count_nonzero(rows)), dtype=like.dtype)
        unpack(saved, values)
        return values.T


class RingStore:
    """Every ring: those of the run's own symbols, which stay, and extra series, of which the least used go first.

    Args:
        symbols: the run's symbols.
        members: positions of the symbols that have a timeframe, for each one kept.
        capacity: bars kept of each series, at least.
        spare: how many extra series may be held beside them.
    """

    def __init__(self, symbols: Sequence[str], members: Mapping[Timeframe, Ints], capacity: int = 2000, spare: int = 32) -> None:
        self.index = {symbol: position for position, symbol in enumerate(symbols)}
        self.capacity = capacity
        self.spare = spare
        self.rings = {tf: Ring(tf, positions, capacity) for tf, positions in members.items()}
        self._extra: OrderedDict[tuple[str, Timeframe], Ring] = OrderedDict()

    @property
    def extra(self) -> tuple[tuple[str, Timeframe], ...]:
        """Extra series held, least recently used first."""
        return tuple(self._extra)

    def put(self, symbol: str, tf: Timeframe, bars: Bars) -> None:
        """Hold an extra series (a symbol or timeframe outside the run); may push out the least recently used one.

        Raises:
            ValueError: the series belongs to the run and is written by the feed alone.
        """
        if symbol in self.index and tf in self.rings:
            raise ValueError(f"{symbol} {tf.value} belongs to the run; only the feed writes it")
        ring = self._extra.pop((symbol, tf), None) or Ring(tf, _FIRST, self.capacity)
        for k in range(max(0, len(bars) - ring.size), len(bars)):
            row = ring.slot(int(bars.ts[k]))
            ring.ts[row, 0] = bars.ts[k]
            ring.open[row, 0] = bars.open[k]
            ring.high[row, 0] = bars.high[k]
            ring.low[row, 0] = bars.low[k]
            ring.close[row, 0] = bars.close[k]
            ring.volume[row, 0] = bars.volume[k]
        self._extra[symbol, tf] = ring
        while len(self._extra) > self.spare:
            self._extra.popitem(last=False)

    def last(self, symbol: str, tf: Timeframe, count: int) -> Series | None:
        """Newest bars of a series, or None where it is not held. Reading counts as use."""
        if symbol in self.index and tf in self.rings:
            return self.rings[tf].last(self.index[symbol], count)
        ring = self._extra.get((symbol, tf))
        if ring is None:
            return None
        self._extra.move_to_end((symbol, tf))
        return ring.last(0, count)
