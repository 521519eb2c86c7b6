"""What every tape looks like to the exchange that plays it: ticks in time order, and the history that REST answers with.

Symbols are the venue's own (``BTCUSDT``). A tape tells nothing of a bar before its time: :meth:`MarketTape.ticks` is asked for
one tick after the other, and the history ends at the last tick that was handed out, forming candle included.

At one moment T the order is: funding settled at T, candles that close at T (``final``), the mark, then the first trade of the
bars that open at T, its book, and the candles that begin with it. The last trade of a bar that closes at T carries T - 1.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from core.sim.local.values import FundingTick, KlineTick, MarkTick, Tick
from core.types import Timeframe

KLINES_DEFAULT, KLINES_MOST = 500, 1500
"""How many candles the venue answers with when not asked for a number, and at most."""
SPOT_KLINES_DEFAULT, SPOT_KLINES_MOST = 500, 1000
"""The same of the spot market."""
FUNDING_DEFAULT, FUNDING_MOST = 100, 1000
"""The same for settlements."""


class TapeInfo(NamedTuple):
    """What a tape has. ``start``/``end`` (ms) where they are known; ``timeframes`` are those of a symbol's candles.

    ``drawn_path`` says whether prices between two trades were really there: then an exchange sweeps to each trade (bars);
    otherwise each trade is one print (recordings, live markets). ``spot`` are those whose spot market is known too.
    """

    name: str
    symbols: tuple[str, ...]
    timeframes: Mapping[str, tuple[Timeframe, ...]]
    start: int | None
    end: int | None
    drawn_path: bool
    spot: tuple[str, ...] = ()


class MarketTape(Protocol):
    """A market to be played. One consumer at a time."""

    @property
    def info(self) -> TapeInfo: ...

    def ticks(self, after_ts: int | None = None) -> AsyncIterator[Tick]:
        """Ticks in time order; with ``after_ts`` only those later than it (restart)."""
        ...

    def klines(
        self, symbol: str, tf: Timeframe, start: int | None = None, end: int | None = None, limit: int = KLINES_DEFAULT
    ) -> tuple[KlineTick, ...]:
        """Candles as of the last tick, oldest first, the forming one last; see :func:`venue_slice`. Empty for an unknown one."""
        ...

    def mark_klines(
        self, symbol: str, tf: Timeframe, start: int | None = None, end: int | None = None, limit: int = KLINES_DEFAULT
    ) -> tuple[KlineTick, ...]:
        """The same of the mark price; no volume, no trades."""
        ...

    def funding_rates(
        self, symbol: str, start: int | None = None, end: int | None = None, limit: int = FUNDING_DEFAULT
    ) -> tuple[FundingTick, ...]:
        """Settlements as of the last tick, oldest first; ``mark`` is 0 where it is not known (the venue leaves it empty then)."""
        ...

    def spot_klines(
        self, symbol: str, tf: Timeframe, start: int | None = None, end: int | None = None, limit: int = SPOT_KLINES_DEFAULT
    ) -> tuple[KlineTick, ...]:
        """Candles of the spot market as of the last tick; empty for timeframes, and symbols, of which nothing is known."""
        ...

    def premium(self, symbol: str) -> MarkTick | None:
        """Mark, index and next funding as of the last tick; None before the first price."""
        ...

    def snapshot(self) -> dict[str, Any]:
        """What :meth:`ticks` with ``after_ts`` cannot know from the market alone, as JSON-like values."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a :meth:`snapshot`, before :meth:`ticks` is asked."""
        ...


Row = TypeVar("Row")


def venue_slice(
    rows: Sequence[Row], when: Callable[[Row], int], start: int | None, end: int | None, limit: int
) -> tuple[Row, ...]:
    """What the venue picks of ``rows`` (oldest first): with ``start`` the first ``limit`` from it on, else the newest ``limit``.

    ``start`` and ``end`` belong to the range themselves; candles count by their open time.

    Example:
        >>> venue_slice([10, 20, 30, 40], lambda row: row, 20, None, 2)
        (20, 30)
        >>> venue_slice([10, 20, 30, 40], lambda row: row, None, 30, 2)
        (20, 30)
    """
    first = 0 if start is None else bisect_left(rows, start, key=when)
    last = len(rows) if end is None else bisect_right(rows, end, key=when)
    chosen = rows[first:last]
    if limit <= 0:
        return ()
    return tuple(chosen[-limit:] if start is None else chosen[:limit])
