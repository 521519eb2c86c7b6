"""Whole histories at once: coarser bars from finer ones, several recordings as one, several symbols on one axis.

Coarser bars are summed step by step (5m -> 15m -> 1h -> 4h -> 1d), rows added in order, exactly as the feed does
it bar by bar, so that both give the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.data.blocks import BarFlag, Bars, Bools, Bytes, Floats, Ints, flagged
from core.data.quality import select
from core.data.timeframes import LADDER
from core.types import Timeframe

EMPTY = Bars(np.empty(0, dtype=np.int64), *(np.empty(0) for _ in range(5)))
"""No bars."""


def resample(bars: Bars, source: Timeframe, target: Timeframe) -> Bars:
    """Bars of ``target`` from bars of ``source`` (on the grid, strictly rising); only complete ones.

    A bar of ``target`` exists only where every bar of ``source`` that it should hold is there. For
    ``target == source`` the bars come back as they are.

    Raises:
        ValueError: ``target`` is finer than ``source``.
    """
    if target.ms < source.ms:
        raise ValueError(f"target was {target.value}, expected {source.value} or coarser")
    for coarser in LADDER[LADDER.index(source) + 1 : LADDER.index(target) + 1]:
        bars = _step_up(bars, coarser.ms // source.ms, coarser.ms)
        source = coarser
    return bars


def _step_up(bars: Bars, parts: int, length_ms: int) -> Bars:
    if len(bars) < parts:
        return EMPTY
    bucket: Ints = bars.ts // length_ms
    # strictly rising and on the grid: `parts` rows of one bucket in a row are all of it
    starts = np.flatnonzero(bucket[: bucket.size - parts + 1] == bucket[parts - 1 :])
    volume: Floats = bars.volume[starts]
    high: Floats = bars.high[starts]
    low: Floats = bars.low[starts]
    for part in range(1, parts):
        volume = volume + bars.volume[starts + part]
        high = np.maximum(high, bars.high[starts + part])
        low = np.minimum(low, bars.low[starts + part])
    return Bars(bars.ts[starts], bars.open[starts], high, low, bars.close[starts + parts - 1], volume)


def stitch(recordings: Sequence[Bars]) -> Bars:
    """One history from several of the same timeframe; where two have the same bar, the earlier in the list wins."""
    kept = [bars for bars in recordings if len(bars)]
    if not kept:
        return EMPTY
    result = kept[0]
    for older in kept[1:]:
        missing = np.flatnonzero(~np.isin(older.ts, result.ts, assume_unique=True))
        if missing.size:
            more = select(older, missing)
            joined = Bars(*(np.concatenate(pair) for pair in zip(result, more, strict=True)))
            result = select(joined, np.argsort(joined.ts, kind="stable"))
    return result


@dataclass(slots=True)
class Table:
    """Bars of one timeframe of several symbols on one time axis.

    ``idx`` (K,) are positions in the run's symbols, rising; ``ts`` (T,) open times, strictly rising; columns are
    (T, K), NaN where ``present`` is False. ``whole`` says for each row whether all K symbols have the bar.
    """

    tf: Timeframe
    idx: Ints
    ts: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    present: Bools
    whole: list[bool]


def align(tf: Timeframe, series: Sequence[tuple[int, Bars]]) -> Table:
    """Put histories (position, bars with strictly rising ``ts``) on one time axis."""
    series = sorted((pair for pair in series if len(pair[1])), key=lambda pair: pair[0])
    idx: Ints = np.array([index for index, _ in series], dtype=np.int64)
    if len(series) == 1:
        bars = series[0][1]
        columns = [np.ascontiguousarray(column).reshape(-1, 1) for column in bars[1:]]
        present: Bools = np.ones((len(bars), 1), dtype=np.bool_)
        return Table(tf, idx, bars.ts, *_five(columns), present, [True] * len(bars))
    ts: Ints = np.unique(np.concatenate([bars.ts for _, bars in series])) if series else EMPTY.ts
    shape = (ts.size, len(series))
    present = np.zeros(shape, dtype=np.bool_)
    columns = [np.full(shape, np.nan) for _ in range(5)]
    for k, (_, bars) in enumerate(series):
        rows = np.searchsorted(ts, bars.ts)
        present[rows, k] = True
        for column, values in zip(columns, bars[1:], strict=True):
            column[rows, k] = values
    whole: list[bool] = np.all(present, axis=1).tolist()
    return Table(tf, idx, ts, *_five(columns), present, whole)


def _five(columns: list[Floats]) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    open_, high, low, close, volume = columns
    return open_, high, low, close, volume


def built_flags(parts: Bytes, volume: Floats) -> Bytes | int:
    """Flags of a built bar: PARTIAL where a part was made up, REPAIRED or FOREIGN where one was; ZERO_VOLUME only if all were."""
    if not flagged(parts):
        return 0
    seen = np.bitwise_or.reduce(parts, axis=0)
    flags: Bytes = seen & np.uint8(BarFlag.REPAIRED | BarFlag.FOREIGN)
    flags |= np.where(seen & np.uint8(BarFlag.FILLED | BarFlag.PARTIAL), np.uint8(BarFlag.PARTIAL), np.uint8(0))
    flags |= np.where(volume == 0.0, np.uint8(BarFlag.ZERO_VOLUME), np.uint8(0))
    return flags
