"""Final candles of one venue, from the moment they are known until the announcement that they belong into.

Nothing forming ever gets in; each symbol's candles go out in order. Of two copies the first one counts; a second one with other
values goes out behind it, for the feed to judge, which drops it and trusts the symbol's candles no more for a while. Where one is
missing, those after it wait for it, until it has come, is known not to exist, or was waited for long enough: then the feed sees a
gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from core.data.blocks import BarBlock, Bars, Ints
from core.types import Timeframe

_COMPARED = 10
"""Candles of a symbol that went out and with which late copies are compared."""

Values = tuple[float, float, float, float, float]


class Row(NamedTuple):
    """A final candle of the symbol at ``who``: open, high, low, close, volume."""

    open_ts: int
    who: int
    values: Values


class Candles:
    """See above.

    Args:
        base: timeframe of each symbol.
        begin: open of the first candle of each that counts; what is older is known already.
        hold_closes: for how many closes newer candles wait for a missing one.
        most: candles that wait, for each symbol.
    """

    def __init__(self, base: Sequence[Timeframe], begin: Sequence[int], *, hold_closes: int, most: int) -> None:
        self._base = tuple(base)
        self._next = list(begin)
        self._hold, self._most = hold_closes, most
        self._waiting: list[dict[int, Values]] = [{} for _ in base]
        self._seen_until = [opened - tf.ms for opened, tf in zip(begin, base, strict=True)]
        self._told: list[dict[int, Values]] = [{} for _ in base]
        self._doubtful: list[Row] = []
        self._full: dict[Timeframe, Ints] = {}

    # --- in -----------------------------------------------------------------------------------------

    def take(self, who: int, open_ts: int, values: Values) -> bool:
        """A final candle; whether it is news."""
        waiting = self._waiting[who]
        known = waiting.get(open_ts) or self._told[who].get(open_ts)
        if open_ts % self._base[who].ms or known not in (None, values):
            self._doubt(Row(open_ts, who, values))
        if open_ts % self._base[who].ms or known is not None or open_ts < self._next[who]:
            return False
        waiting[open_ts] = values
        if len(waiting) > self._most:
            del waiting[min(waiting)]
        return True

    def _doubt(self, row: Row) -> None:
        if row not in self._doubtful and len(self._doubtful) < self._most:
            self._doubtful.append(row)

    def take_all(self, who: int, bars: Bars) -> None:
        """All that the venue has from the next candle on: what is missing between them does not exist."""
        for open_ts, *values in zip(*(column.tolist() for column in bars), strict=True):
            o, h, low, c, v = values
            self.take(who, open_ts, (o, h, low, c, v))
        if len(bars):
            self._seen_until[who] = max(self._seen_until[who], int(bars.ts[-1]))

    # --- what is there ------------------------------------------------------------------------------

    def due(self, ts: int) -> list[int]:
        """Symbols of which a candle closes at ``ts``."""
        return [who for who, tf in enumerate(self._base) if ts % tf.ms == 0]

    def wanted(self, who: int) -> int:
        """Open of the next candle to go out."""
        return self._next[who]

    def missing(self, ts: int) -> list[int]:
        """Symbols whose candles up to ``ts`` are not all there, and may still come."""
        return [who for who in self.due(ts) if not self._ready(who, ts)]

    def unfinished(self, ts: int) -> list[int]:
        """Symbols whose candle that closes at ``ts`` is not there."""
        return [who for who in self.due(ts) if not self._has(who, ts)]

    def _has(self, who: int, ts: int) -> bool:
        opened = ts - self._base[who].ms
        return opened < self._next[who] or opened in self._waiting[who]

    def _ready(self, who: int, ts: int) -> bool:
        return self._has(who, ts) and self._hole(who) is None

    def _hole(self, who: int) -> int | None:
        """Open of the first candle that is missing before one that waits; None where there is none, or it does not exist."""
        waiting, step = self._waiting[who], self._base[who].ms
        start = max(self._next[who], self._seen_until[who] + step)
        for open_ts in range(start, max(waiting, default=start), step):
            if open_ts not in waiting:
                return open_ts
        return None

    # --- out ----------------------------------------------------------------------------------------

    def draw(self, ts: int) -> tuple[BarBlock, ...]:
        """What goes out with the announcement at ``ts``: at most one block a timeframe, late candles first."""
        rows: dict[Timeframe, list[Row]] = {}
        for who, tf in enumerate(self._base):
            rows.setdefault(tf, []).extend([*self._out(who, ts), *self._doubted(who)])
        return tuple(self._block(tf, rows[tf]) for tf in sorted(rows, key=lambda tf: tf.ms) if rows[tf])

    def _out(self, who: int, ts: int) -> list[Row]:
        waiting, step = self._waiting[who], self._base[who].ms
        over = sorted(open_ts for open_ts in waiting if open_ts + step <= ts)
        hole = self._hole(who)
        if hole is not None and ts - (hole + step) < self._hold * step:
            over = [open_ts for open_ts in over if open_ts < hole]
        if not over:
            return []
        self._next[who] = over[-1] + step
        rows = [Row(open_ts, who, waiting.pop(open_ts)) for open_ts in over]
        told = self._told[who] | {row.open_ts: row.values for row in rows}
        self._told[who] = {open_ts: told[open_ts] for open_ts in sorted(told)[-_COMPARED:]}
        return rows

    def _doubted(self, who: int) -> list[Row]:
        """What contradicts a candle that is out; before it, it would be taken for the first copy."""
        rows = [row for row in self._doubtful if row.who == who and row.open_ts < self._next[who]]
        self._doubtful = [row for row in self._doubtful if row not in rows]
        return rows

    def skip(self, who: int, open_ts: int) -> None:
        """The candle of ``open_ts`` went out from another venue: ours is not wanted any more."""
        self._next[who] = max(self._next[who], open_ts + self._base[who].ms)
        self._waiting[who] = {ts: values for ts, values in self._waiting[who].items() if ts >= self._next[who]}
        self._doubtful = [row for row in self._doubtful if row.who != who or row.open_ts >= self._next[who]]

    def _block(self, tf: Timeframe, rows: list[Row]) -> BarBlock:
        return block_of(tf, rows, self._index(tf, rows))

    def _index(self, tf: Timeframe, rows: list[Row]) -> Ints:
        """The same array each time where all symbols are there: the feed knows it by sight."""
        who = sorted(row.who for row in rows)
        known = self._full.get(tf)
        if known is not None and who == known.tolist():
            return known
        made = np.array(who, dtype=np.int64)
        if who == [index for index, own in enumerate(self._base) if own is tf]:
            self._full[tf] = made
        return made


def block_of(tf: Timeframe, rows: list[Row], idx: Ints | None = None, venue: str = "") -> BarBlock:
    """Rows as a block, oldest first; ``idx`` are the positions of rows that all close together, rising."""
    ordered = sorted(rows, key=lambda row: (row.open_ts, row.who))
    if idx is None or ordered[0].open_ts != ordered[-1].open_ts:
        idx = np.array([row.who for row in ordered], dtype=np.int64)
    columns = np.array([row.values for row in ordered], dtype=np.float64).T
    o, h, low, c, v = (np.ascontiguousarray(column) for column in columns)
    return BarBlock(tf, idx, np.array([row.open_ts for row in ordered], dtype=np.int64), o, h, low, c, v, venue=venue)
