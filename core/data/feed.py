"""From raw base bars to one announcement: checks, ring buffers, coarser timeframes (requirements B3, B5, B6).

On the fast path (every bar is the next of its symbol and possible) a few vector operations do for all symbols.
Anything else takes the careful path, row by row; see :meth:`Feed._judge` for what is done with each kind of trouble.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from core.data.blocks import BarBlock, BarFlag, Bars, Bytes, Closed, ClosedBlock, Floats, Ints, somewhere
from core.data.frames import to_frame
from core.data.quality import Issue, IssueCounters, OrdinaryCheck, closes_at, sound
from core.data.resample import EMPTY, built_flags
from core.data.ring import Ring, RingStore
from core.data.timeframes import finest, from_base
from core.errors import DataError
from core.types import Timeframe

_NEVER = -1
_Accepted = dict[Timeframe, list[int]]


class _Row(NamedTuple):
    open_ts: int
    tf: Timeframe
    who: int
    values: tuple[float, float, float, float, float]
    foreign: bool = False


class Feed:
    """Checked bars of a run's symbols on every timeframe.

    Attributes:
        counters: issues seen, by symbol and kind.
        catch_up: announcements with an earlier ``ts`` that the last :meth:`on_bars` had to make up for (filled gaps,
            late bars): for features, before the present one; nothing is decided on them (X26).
        troubled: positions of symbols that had an issue which blocks (``Issue.blocking``) in the last call, rising.
        last_close, last_ts, flags: (S,) close, close time and :class:`BarFlag` of each symbol's last base bar
            (NaN, -1, 0 before the first), updated in place.

    Args:
        symbols: ccxt names; positions are the ``idx`` of blocks.
        base_tf: base timeframe of each symbol.
        gap_fill: bridge gaps with flat, flagged bars (paper only, B5).
        capacity: bars kept for each (symbol, timeframe), at least.
        source: what stands in the ``source`` column.
    """

    def __init__(
        self,
        symbols: Sequence[str],
        base_tf: Sequence[Timeframe],
        *,
        gap_fill: bool = True,
        capacity: int = 2000,
        source: str = "",
    ) -> None:
        self.symbols = tuple(symbols)
        self.base_tf = tuple(base_tf)
        self.timeframes = from_base(finest(base_tf))
        members = {tf: np.flatnonzero([own.ms <= tf.ms for own in base_tf]) for tf in self.timeframes}
        self.store = RingStore(symbols, members, capacity)
        self.counters = IssueCounters()
        self.catch_up: tuple[Closed, ...] = ()
        self.troubled: tuple[int, ...] = ()
        count = len(self.symbols)
        self.last_close: Floats = np.full(count, np.nan)
        self.last_ts: Ints = np.full(count, _NEVER, dtype=np.int64)
        self.flags: Bytes = np.zeros(count, dtype=np.uint8)
        self._gap_fill = gap_fill
        self._fill_limit = capacity // 2
        self._source = source
        self._all: Ints = np.arange(count, dtype=np.int64)
        self._base_mask = {tf: np.array([tf is own for own in base_tf], dtype=np.bool_) for tf in self.timeframes}
        self._ladder = tuple((tf, tf.ms, self.store.rings[tf]) for tf in self.timeframes)
        self._parts = {
            coarse: (np.arange(coarse.ms // fine.ms, dtype=np.int64) * fine.ms).reshape(-1, 1)
            for fine, coarse in zip(self.timeframes, self.timeframes[1:], strict=False)
        }
        self._base_count = {tf: int(np.count_nonzero(mask)) for tf, mask in self._base_mask.items()}
        self._in_step: dict[Timeframe, int] = {}  # base timeframe -> close up to which all its symbols have come
        self._check = OrdinaryCheck()
        self._no_flags = {n: np.zeros(n, dtype=np.uint8) for n in range(count + 1)}
        self._known_idx: dict[Timeframe, Ints] = {}
        self._zero_runs: dict[int, int] = {}
        self._interest: dict[Timeframe, tuple[str, ...]] = {}
        self._cursor: dict[Timeframe, int] = {}

    # --- bars in ----------------------------------------------------------------------------------

    def on_bars(self, ts: int, blocks: Sequence[BarBlock]) -> Closed:
        """Take what a source delivered at ``ts`` and say what closed then.

        Args:
            ts: close time of the announcement.
            blocks: at most one for each base timeframe.

        Returns:
            One block a timeframe, finest first. Columns may be views into the source's or the ring's rows: valid
            until the ring comes round.
        """
        self.catch_up = ()
        self.troubled = ()
        accepted: dict[Timeframe, Ints] = {}
        doubtful: list[BarBlock] = []
        for block in blocks:
            if block.tf not in accepted and not block.venue and self._next_and_sound(ts, block):
                self._take(ts, block)
                accepted[block.tf] = block.idx
            elif block.idx.size:
                doubtful.append(block)
        if doubtful:
            self._sort_out(ts, doubtful, accepted)
        return self._announce(ts, accepted)

    def _next_and_sound(self, ts: int, block: BarBlock) -> bool:
        """Whether all rows are possible, close at ``ts`` and directly follow each symbol's last bar."""
        tf, idx = block.tf, block.idx
        if idx is not self._known_idx.get(tf) and not self._learn(tf, idx):
            return False
        opened = ts - tf.ms
        if self._in_step.get(tf) != opened and somewhere(self.last_ts[idx] != opened):
            return False
        if self._check.holds(ts, block):
            return True
        return closes_at(ts, block) and bool(sound(block.open, block.high, block.low, block.close, block.volume).all())

    def _learn(self, tf: Timeframe, idx: Ints) -> bool:
        """Whether ``idx`` is rising and all its symbols have ``tf`` as base; remembered, since sources reuse it."""
        mask = self._base_mask.get(tf)
        if mask is None or not idx.size or idx[0] < 0 or idx[-1] >= mask.size:
            return False
        if np.count_nonzero(idx[1:] <= idx[:-1]) or np.count_nonzero(mask[idx]) != idx.size:
            return False
        self._known_idx[tf] = idx
        return True

    def _take(self, ts: int, block: BarBlock) -> None:
        idx = block.idx
        flags: Bytes = self._no_flags[idx.size]
        self._in_step[block.tf] = ts if idx.size == self._base_count[block.tf] else _NEVER
        if self._zero_runs or block.ordinary_at != ts:
            flags = np.where(block.volume == 0.0, np.uint8(BarFlag.ZERO_VOLUME), np.uint8(0))
            for index, volume in zip(idx.tolist(), block.volume.tolist(), strict=True):
                self._watch_volume(index, volume)
        ring = self.store.rings[block.tf]
        ring.write(ts - ring.step, idx, block.open, block.high, block.low, block.close, block.volume, flags)
        self.last_close[idx] = block.close
        self.last_ts[idx] = ts
        self.flags[idx] = flags

    def _watch_volume(self, index: int, volume: float) -> None:
        if volume != 0.0:
            self._zero_runs.pop(index, None)
            return
        run = self._zero_runs.get(index, 0) + 1
        self._zero_runs[index] = run
        self.counters.add(self.symbols[index], Issue.ZERO_VOLUME)
        if run == 2:
            self.counters.add(self.symbols[index], Issue.ZERO_VOLUME_RUN)

    def seed(self, ts: int, block: ClosedBlock) -> None:
        """Put bars of history (any timeframe, closed at ``ts``) into the rings; base bars also set where we stand.

        The bars of a bucket that is still open are the beginning from which :meth:`on_bars` completes it.
        """
        idx = block.idx
        ring = self.store.rings[block.tf]
        ring.write(ts - ring.step, idx, block.open, block.high, block.low, block.close, block.volume, block.flags)
        base = self._base_mask[block.tf][idx]
        if np.count_nonzero(base):
            rows = idx[base]
            self._in_step.clear()
            self.last_close[rows] = block.close[base]
            self.last_ts[rows] = ts
            self.flags[rows] = block.flags[base]

    # --- the careful path -------------------------------------------------------------------------

    def _sort_out(self, ts: int, blocks: Sequence[BarBlock], accepted: dict[Timeframe, Ints]) -> None:
        """Judge row by row; rows of earlier closes become ``catch_up``, those of ``ts`` join ``accepted``."""
        self._in_step.clear()
        before = {index: int(self.last_ts[index]) for index in range(len(self.symbols))}
        troubled: set[int] = set()
        dropped: set[tuple[int, int]] = set()
        closes: dict[int, _Accepted] = {}
        for row in sorted(_rows(blocks), key=lambda r: r.open_ts):
            issue = self._judge(ts, row)
            if issue is None:
                troubled.update(self._take_row(ts, row, closes, repaired=(row.who, row.open_ts) in dropped))
                continue
            if 0 <= row.who < len(self.symbols):
                self.counters.add(self.symbols[row.who], issue)
                dropped.add((row.who, row.open_ts))
                if row.open_ts >= before[row.who]:
                    self._mark_repaired(row)
                if issue.blocking:
                    troubled.add(row.who)
        for tf, rows in closes.pop(ts, {}).items():
            accepted[tf] = self._union(accepted.get(tf), np.array(sorted(rows), dtype=np.int64))
        self.catch_up = tuple(
            self._announce(close, {tf: np.array(sorted(rows), dtype=np.int64) for tf, rows in closes[close].items()})
            for close in sorted(closes)
        )
        self.troubled = tuple(sorted(troubled))

    def _judge(self, ts: int, row: _Row) -> Issue | None:
        """Why ``row`` must be dropped, or None."""
        if not 0 <= row.who < len(self.symbols) or row.tf is not self.base_tf[row.who]:
            return Issue.WRONG_TIMEFRAME
        if row.open_ts % row.tf.ms:
            return Issue.OFF_GRID
        if row.open_ts + row.tf.ms > ts:
            return Issue.UNFINISHED
        if not sound(*(np.array([value]) for value in row.values))[0]:
            return Issue.BAD_BAR
        if row.open_ts >= self.last_ts[row.who]:
            return None
        ring = self.store.rings[row.tf]
        if not ring.has(row.open_ts, row.who):
            return Issue.OUT_OF_ORDER
        slot, column = ring.slot(row.open_ts), ring.column[row.who]
        if ring.flags[slot, column] & BarFlag.FILLED:
            return Issue.LATE
        known = tuple(float(a[slot, column]) for a in (ring.open, ring.high, ring.low, ring.close, ring.volume))
        return Issue.DUPLICATE if known == row.values else Issue.CONFLICT

    def _take_row(self, ts: int, row: _Row, closes: dict[int, _Accepted], *, repaired: bool) -> tuple[int, ...]:
        """Store ``row``, filling what is missing before it; returns its index where bars were missing or it is foreign."""
        symbol, step = self.symbols[row.who], row.tf.ms
        last = int(self.last_ts[row.who])
        missing = (row.open_ts - last) // step if last != _NEVER else 0
        if missing:
            self.counters.add(symbol, Issue.GAP, missing)
            # beyond half the buffer, made-up bars would outweigh the real ones
            if self._gap_fill and missing <= self._fill_limit:
                flat = (float(self.last_close[row.who]),) * 4
                for open_ts in range(last, row.open_ts, step):
                    filled = BarFlag.FILLED | BarFlag.ZERO_VOLUME
                    self._store(row._replace(open_ts=open_ts, values=(*flat, 0.0)), int(filled), closes)
        if row.open_ts + step < ts:
            self.counters.add(symbol, Issue.LATE)
        flags = BarFlag.REPAIRED if repaired else BarFlag.CLEAN
        if row.foreign:
            flags |= BarFlag.FOREIGN
        if row.values[4] == 0.0:
            flags |= BarFlag.ZERO_VOLUME
        self._watch_volume(row.who, row.values[4])
        self._store(row, int(flags), closes)
        return (row.who,) if missing or row.foreign else ()

    def _store(self, row: _Row, flags: int, closes: dict[int, _Accepted]) -> None:
        ring = self.store.rings[row.tf]
        idx = np.array([row.who], dtype=np.int64)
        open_, high, low, close, volume = (np.array([value]) for value in row.values)
        ring.write(row.open_ts, idx, open_, high, low, close, volume, flags)
        close_ts = row.open_ts + row.tf.ms
        self.last_close[row.who] = row.values[3]
        self.last_ts[row.who] = close_ts
        self.flags[row.who] = flags
        closes.setdefault(close_ts, {}).setdefault(row.tf, []).append(row.who)

    def _mark_repaired(self, row: _Row) -> None:
        """A second copy of a bar taken in this same call was dropped: say so on the bar."""
        if row.tf is not self.base_tf[row.who]:
            return
        ring = self.store.rings[row.tf]
        if ring.has(row.open_ts, row.who):
            ring.flags[ring.slot(row.open_ts), ring.column[row.who]] |= BarFlag.REPAIRED
            if row.open_ts + row.tf.ms == self.last_ts[row.who]:
                self.flags[row.who] |= BarFlag.REPAIRED

    # --- coarser timeframes -----------------------------------------------------------------------

    def _announce(self, ts: int, accepted: dict[Timeframe, Ints]) -> Closed:
        """Build what the bars that closed at ``ts`` complete, and gather one block a timeframe."""
        blocks: list[ClosedBlock] = []
        below: Ints | None = None
        finer: Ring | None = None
        for tf, step, ring in self._ladder:
            if ts % step:
                break  # each timeframe divides the next: nothing coarser closes either
            rows = accepted.get(tf)
            if below is not None and finer is not None:
                built = self._build(finer, ring, ts, below)
                rows = built if rows is None else self._union(rows, built)
            below, finer = rows, ring
            if rows is not None and rows.size:
                blocks.append(self._block(ring, ts, rows))
        return Closed(ts, tuple(blocks))

    def _build(self, finer: Ring, ring: Ring, ts: int, rows: Ints) -> Ints:
        """Sum up the bars of ``finer`` into those of ``ring`` that close at ``ts``; returns the complete ones."""
        opened = ts - ring.step
        offsets = self._parts[ring.tf]
        first = finer.slot(opened)
        part: tuple[Any, ...] = (slice(first, first + len(offsets)),)
        away = np.not_equal(finer.ts[part], offsets + opened)
        if rows.size != finer.width or somewhere(away):
            rows = rows[~away.any(axis=0)[finer.column[rows]]]
            if not rows.size:
                return rows
            part = (part[0], finer.column[rows])
        volumes = finer.volume[part]
        volume = volumes[0] + volumes[1]
        for row in volumes[2:]:  # in order: a numpy sum depends on the number of symbols
            volume += row
        high = np.maximum.reduce(finer.high[part], axis=0)
        low = np.minimum.reduce(finer.low[part], axis=0)
        flags = built_flags(finer.flags[part], volume)
        ring.write(opened, rows, finer.open[part][0], high, low, finer.close[part][-1], volume, flags)
        return rows

    def _block(self, ring: Ring, ts: int, rows: Ints) -> ClosedBlock:
        row = ring.slot(ts - ring.step)
        at: Any = row if rows.size == ring.width else (row, ring.column[rows])
        return ClosedBlock(
            tf=ring.tf,
            ts=ts,
            idx=rows,
            open=ring.open[at],
            high=ring.high[at],
            low=ring.low[at],
            close=ring.close[at],
            volume=ring.volume[at],
            flags=ring.flags[at],
        )

    def _union(self, some: Ints | None, others: Ints) -> Ints:
        if some is None or not some.size:
            return others
        if not others.size:
            return some
        if some.size + others.size == self._all.size:
            return self._all  # no symbol is in both: a base bar is never built from finer ones
        both = np.zeros(self._all.size, dtype=np.bool_)
        both[some] = True
        both[others] = True
        return np.flatnonzero(both)

    # --- frames out (B6) --------------------------------------------------------------------------

    def subscribe(self, symbols: Sequence[str], tfs: Sequence[Timeframe]) -> None:
        """Choose what :meth:`next_batch` delivers, from the next close on. Replaces earlier choices for ``tfs``.

        Raises:
            DataError: the run has no such symbol or timeframe.
        """
        for symbol in symbols:
            if symbol not in self.store.index:
                raise DataError(f"symbol was {symbol!r}, the run has {', '.join(self.symbols)}")
        for tf in tfs:
            ring = self._ring(tf)
            self._interest[tf] = tuple(s for s in symbols if self.base_tf[self.store.index[s]].ms <= tf.ms)
            self._cursor[tf] = int(ring.ts.max(initial=_NEVER))

    def next_batch(self, tf: Timeframe) -> pd.DataFrame:
        """Bars of ``tf`` of the oldest close not handed out yet, one row a symbol; an empty frame if there is none."""
        ring = self._ring(tf)
        symbols = self._interest.get(tf, ())
        columns = [int(ring.column[self.store.index[symbol]]) for symbol in symbols]
        stamps = ring.ts[:, columns]
        newer = stamps[stamps > self._cursor.get(tf, _NEVER)]
        if not newer.size:
            return to_frame(EMPTY, tf, (), self._source)
        opened = int(newer.min())
        self._cursor[tf] = opened
        row = ring.slot(opened)
        held = [(symbol, k) for symbol, k in zip(symbols, columns, strict=True) if ring.ts[row, k] == opened]
        at = (row, [k for _, k in held])
        bars = Bars(ring.ts[at], ring.open[at], ring.high[at], ring.low[at], ring.close[at], ring.volume[at])
        return to_frame(bars, tf, [symbol for symbol, _ in held], self._source)

    def latest(self, symbol: str, tf: Timeframe, n: int = 1) -> pd.DataFrame:
        """The last ``n`` bars of a series, oldest first.

        Raises:
            DataError: the series is not held.
        """
        series = self.store.last(symbol, tf, n)
        if series is None:
            raise DataError(f"no {tf.value} bars of {symbol} are held", help="subscribe to it, or load its history first")
        return to_frame(series.bars, tf, [symbol] * len(series.bars), self._source)

    def daily_closes(self, index: int, n: int) -> tuple[Ints, Floats]:
        """Open times and closes of the last ``n`` closed UTC days of the symbol at ``index``, oldest first."""
        bars = self.store.rings[Timeframe.D1].last(index, n).bars
        return bars.ts, bars.close

    def _ring(self, tf: Timeframe) -> Ring:
        if tf not in self.store.rings:
            raise DataError(f"timeframe was {tf.value}, the run has {', '.join(t.value for t in self.timeframes)}")
        return self.store.rings[tf]

    # --- state ------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Everything that later output depends on, rings included."""
        return {
            "symbols": list(self.symbols),
            "last_close": [None if math.isnan(value) else value for value in self.last_close.tolist()],
            "last_ts": self.last_ts.tolist(),
            "flags": self.flags.tolist(),
            "zero_runs": [[index, self._zero_runs[index]] for index in sorted(self._zero_runs)],
            "counters": self.counters.snapshot(),
            "interest": [[tf.value, list(names), self._cursor[tf]] for tf, names in self._interest.items()],
            "rings": [ring.snapshot() for ring in self.store.rings.values()],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`snapshot` gave.

        Raises:
            DataError: the snapshot is of other symbols.
        """
        if tuple(state["symbols"]) != self.symbols:
            raise DataError(f"saved feed has symbols {', '.join(state['symbols'])}, the run has {', '.join(self.symbols)}")
        self.last_close[:] = [np.nan if value is None else value for value in state["last_close"]]
        self.last_ts[:] = state["last_ts"]
        self.flags[:] = state["flags"]
        self._in_step.clear()
        self._zero_runs = {int(index): int(run) for index, run in state["zero_runs"]}
        self.counters.restore(state["counters"])
        self._interest = {Timeframe(tf): tuple(names) for tf, names, _ in state["interest"]}
        self._cursor = {Timeframe(tf): int(cursor) for tf, _, cursor in state["interest"]}
        for ring, saved in zip(self.store.rings.values(), state["rings"], strict=True):
            ring.restore(saved)


def _rows(blocks: Sequence[BarBlock]) -> list[_Row]:
    columns = ((bool(b.venue), b.tf, b.idx, b.open_ts, b.open, b.high, b.low, b.close, b.volume) for b in blocks)
    return [
        _Row(open_ts, tf, index, (o, h, low, c, v), foreign)
        for foreign, tf, *arrays in columns
        for index, open_ts, o, h, low, c, v in zip(*(array.tolist() for array in arrays), strict=True)
    ]
