"""Markets written by hand, hour by hour, so that what a strategy must find in them can be worked out on paper.

A *ladder* climbs by the same step every hour with the same wicks: true range, and so ATR, is the same on every bar
(1h: step + 2 wicks, 4h: 4 steps + 2 wicks), ADX is 100 and EMA200 rises. No close exceeds the high before it, so no
channel is broken until a candle is written that does so.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from core.data.blocks import BarBlock, Bars, Batch, Book, ClockReading, FundingRate, PriceAt
from core.data.sources.base import SourceInfo
from core.types import Timeframe

HOUR = Timeframe.H1.ms
START_MS = 1_704_067_200_000
"""2024-01-01 00:00 UTC."""
WARM_HOURS = 60 * 24
STEP, WICK = 0.06, 0.8
ATR_4H = 4 * STEP + 2 * WICK
FUNDING_MS = 8 * HOUR


@dataclass(slots=True)
class Hours:
    """Hourly candles, written one after the other; each opens where the last closed, unless it gaps."""

    price: float = 100.0
    rows: list[tuple[float, float, float, float, float]] = field(default_factory=list)

    def climb(self, hours: int, step: float = STEP, wick: float = WICK) -> Hours:
        """``hours`` rungs of the ladder; the volume goes up and down a little, so that it has a deviation."""
        for number in range(hours):
            self.candle(step, above=wick, below=wick, volume=1.0 + 0.2 * (number % 2))
        return self

    def candle(self, move: float, *, above: float = 0.1, below: float = 0.1, volume: float = 1.0, gap: float = 0.0) -> Hours:
        """One candle: opens ``gap`` away from the last close, closes ``move`` from its open, wicks beyond both."""
        opened = self.price + gap
        close = opened + move
        self.rows.append((opened, max(opened, close) + above, min(opened, close) - below, close, volume))
        self.price = close
        return self

    def breakout(self, volume: float = 10.0) -> Hours:
        """Four hours that close 3 above their open, beyond every high before them; to be begun where a 4h bar begins.

        The 4h bar reaches from ``WICK`` below its open to 0.1 above its close, so its true range is 3.9.
        """
        return self.climb(3).candle(3.0 - 3 * STEP, above=0.1, below=WICK, volume=volume)


def ladder() -> Hours:
    """The history before a run: sixty days of climbing."""
    return Hours().climb(WARM_HOURS)


class HandMade:
    """A source of hourly candles; the first :data:`WARM_HOURS` of each symbol are history.

    Args:
        paths: candles by symbol, all of one length.
        books: order books by hour of the run; None: the source has none and they are modelled.
        drift_ms: drift of the clock by hour of the run, 0 where nothing is said.
        lost: hours of the run that are not delivered.
    """

    def __init__(
        self,
        paths: Mapping[str, Hours],
        books: Mapping[int, Iterable[Book]] | None = None,
        *,
        drift_ms: Mapping[int, float] | None = None,
        lost: Iterable[int] = (),
    ) -> None:
        self._columns = {symbol: np.array(path.rows).T for symbol, path in paths.items()}
        self._books, self._drift_ms, self._lost = books, drift_ms or {}, frozenset(lost)
        lengths = {column.shape[1] for column in self._columns.values()}
        assert len(lengths) == 1, "paths of one length"
        self.hours = lengths.pop() - WARM_HOURS
        self._origin = START_MS - WARM_HOURS * HOUR
        symbols = tuple(paths)
        self.info = SourceInfo(
            name="hand-made",
            symbols=symbols,
            base_tf=dict.fromkeys(symbols, Timeframe.H1),
            start=START_MS,
            end=START_MS + self.hours * HOUR,
            batches=self.hours,
            has_books=books is not None,
            has_funding=dict.fromkeys(symbols, True),
            has_spot=dict.fromkeys(symbols, False),
        )

    def history(self, symbol: str, tf: Timeframe, before_ts: int, limit: int) -> Bars:
        per = tf.ms // HOUR
        count = (before_ts - self._origin) // tf.ms
        if per < 1:
            empty = np.empty(0)
            return Bars(np.empty(0, dtype=np.int64), empty, empty, empty, empty, empty)
        opened, high, low, close, volume = (c[: count * per].reshape(count, per) for c in self._columns[symbol])
        ts = self._origin + tf.ms * np.arange(count, dtype=np.int64)
        bars = (ts, opened[:, 0], high.max(axis=1), low.min(axis=1), close[:, -1], volume.sum(axis=1))
        return Bars(*(column[-limit:].copy() for column in bars))

    def funding_history(self, symbol: str, before_ts: int, limit: int) -> tuple[FundingRate, ...]:
        times = range(self._origin + FUNDING_MS, before_ts + 1, FUNDING_MS)
        return tuple(FundingRate(symbol, ts, 0.0001, FUNDING_MS) for ts in times)[-limit:]

    def spot_history(self, symbol: str, before_ts: int, limit: int) -> tuple[PriceAt, ...]:
        return ()

    async def batches(self, after_ts: int | None = None) -> AsyncIterator[Batch]:
        for hour in range(self.hours):
            batch = self.batch(hour)
            if hour not in self._lost and (after_ts is None or batch.ts > after_ts):
                yield batch

    def batch(self, hour: int) -> Batch:
        """What becomes known at the close of ``hour`` of the run."""
        opened = START_MS + hour * HOUR
        ts, symbols = opened + HOUR, self.info.symbols
        columns = np.array([column[:, WARM_HOURS + hour] for column in self._columns.values()]).T.copy()
        idx = np.arange(len(symbols), dtype=np.int64)
        block = BarBlock(Timeframe.H1, idx, np.full(idx.size, opened, dtype=np.int64), *columns)
        funding = tuple(FundingRate(s, ts, 0.0001, FUNDING_MS) for s in symbols) if ts % FUNDING_MS == 0 else ()
        books = tuple((self._books or {}).get(hour, ()))
        return Batch(ts, (block,), funding, books=books, clock=ClockReading(ts, self._drift_ms.get(hour, 0.0), None))
