"""Made-up markets for tests: random walks as bars, and bars as the blocks in which they travel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from core.data.blocks import BarFlag, Bars, ClosedBlock
from core.types import Timeframe

START_MS = 1_700_006_400_000
"""2023-11-15 00:00 UTC: the open of a bar on every timeframe."""


def random_walk_bars(seed: int, n: int, tf: Timeframe, s0: float = 100.0) -> Bars:
    """``n`` consecutive bars from :data:`START_MS` on; opens gap a little, every price is positive and OHLC is sane."""
    rng = np.random.default_rng(seed)
    close = s0 * np.exp(np.cumsum(rng.normal(0.0, 0.01, n)))
    before = np.concatenate(([s0], close[:-1])) if n else close
    opened = before * np.exp(rng.normal(0.0, 0.001, n))
    high = np.maximum(opened, close) * np.exp(np.abs(rng.normal(0.0, 0.004, n)))
    low = np.minimum(opened, close) * np.exp(-np.abs(rng.normal(0.0, 0.004, n)))
    volume = np.exp(rng.normal(5.0, 0.7, n))
    return Bars(START_MS + tf.ms * np.arange(n, dtype=np.int64), opened, high, low, close, volume)


def constant_bars(n: int, tf: Timeframe, price: float = 100.0, volume: float = 10.0) -> Bars:
    """``n`` bars in which nothing happens."""
    flat = np.full(n, price)
    return Bars(START_MS + tf.ms * np.arange(n, dtype=np.int64), flat, flat, flat, flat, np.full(n, volume))


def take_bars(bars: Bars, which: Sequence[int] | np.ndarray | slice) -> Bars:
    """Only the bars at positions ``which`` (a mask leaves gaps, a slice cuts)."""
    opened, high, low, close, volume = (column[which] for column in bars[1:])
    return Bars(bars.ts[which], opened, high, low, close, volume)


def blocks_from_bars(list_of_bars: Sequence[Bars], tf: Timeframe) -> Iterator[ClosedBlock]:
    """One block for each moment at which at least one of the symbols (in order of the list) has a bar."""
    if not list_of_bars:
        return
    moments = np.unique(np.concatenate([bars.ts for bars in list_of_bars]))
    present = np.zeros((moments.size, len(list_of_bars)), dtype=np.bool_)
    columns = np.full((5, moments.size, len(list_of_bars)), np.nan)
    for symbol, bars in enumerate(list_of_bars):
        places = np.searchsorted(moments, bars.ts)
        present[places, symbol] = True
        columns[:, places, symbol] = bars[1:]
    for at, moment in enumerate(moments.tolist()):
        idx = np.flatnonzero(present[at])
        opened, high, low, close, volume = (np.ascontiguousarray(column[at, idx]) for column in columns)
        flags = np.where(volume == 0.0, BarFlag.ZERO_VOLUME, BarFlag.CLEAN).astype(np.uint8)
        yield ClosedBlock(tf, moment + tf.ms, idx, opened, high, low, close, volume, flags)
