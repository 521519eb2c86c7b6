"""The past of a market that nobody else keeps: the latest candles, settlements and marks, bounded."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable

from core.sim.local.values import FundingTick, KlineTick, MarkTick, Tick, TradeTick
from core.sim.tape.base import FUNDING_DEFAULT, FUNDING_MOST, KLINES_DEFAULT, KLINES_MOST, Row, venue_slice
from core.sim.tape.history import without_volume
from core.types import Timeframe


class TapeMemory:
    """What was told, as REST answers it: at most what the venue gives in one answer, per series."""

    def __init__(self) -> None:
        self._klines: dict[tuple[str, Timeframe], list[KlineTick]] = {}
        self._funding: dict[str, list[FundingTick]] = {}
        self._marks: dict[str, MarkTick] = {}
        self._prices: dict[str, TradeTick] = {}

    def take(self, tick: Tick) -> None:
        """Remember a tick."""
        match tick:
            case KlineTick():
                self.fill([tick])
            case FundingTick():
                _put(self._funding.setdefault(tick.symbol, []), tick, lambda row: row.ts, FUNDING_MOST)
            case MarkTick():
                self._marks[tick.symbol] = tick
            case TradeTick():
                self._prices[tick.symbol] = tick
            case _:
                pass

    def fill(self, candles: Iterable[KlineTick]) -> None:
        """Remember candles from elsewhere, in any order; of two copies the later one given counts, but final stays final."""
        for candle in candles:
            rows = self._klines.setdefault((candle.symbol, candle.tf), [])
            at = bisect_left(rows, candle.open_ts, key=_opened)
            if candle.final or not (at < len(rows) and rows[at].open_ts == candle.open_ts and rows[at].final):
                _put(rows, candle, _opened, KLINES_MOST)

    def last_trade(self, symbol: str) -> TradeTick | None:
        """The last trade; None before the first."""
        return self._prices.get(symbol)

    def klines(
        self, symbol: str, tf: Timeframe, start: int | None = None, end: int | None = None, limit: int = KLINES_DEFAULT
    ) -> tuple[KlineTick, ...]:
        """See :class:`~core.sim.tape.base.MarketTape`."""
        return venue_slice(self._klines.get((symbol, tf), []), _opened, start, end, limit)

    def mark_klines(
        self, symbol: str, tf: Timeframe, start: int | None = None, end: int | None = None, limit: int = KLINES_DEFAULT
    ) -> tuple[KlineTick, ...]:
        """See :class:`~core.sim.tape.base.MarketTape`; marks are not summed up here, so that it is the price's."""
        return tuple(without_volume(candle) for candle in self.klines(symbol, tf, start, end, limit))

    def funding_rates(
        self, symbol: str, start: int | None = None, end: int | None = None, limit: int = FUNDING_DEFAULT
    ) -> tuple[FundingTick, ...]:
        """See :class:`~core.sim.tape.base.MarketTape`."""
        return venue_slice(self._funding.get(symbol, []), lambda row: row.ts, start, end, limit)

    def premium(self, symbol: str) -> MarkTick | None:
        """See :class:`~core.sim.tape.base.MarketTape`."""
        return self._marks.get(symbol)


def _opened(candle: KlineTick) -> int:
    return candle.open_ts


def _put(rows: list[Row], row: Row, when: Callable[[Row], int], most: int) -> None:
    """Put ``row`` at its time, in place of another of that time; the oldest go."""
    at = bisect_left(rows, when(row), key=when)
    if at < len(rows) and when(rows[at]) == when(row):
        rows[at] = row
    else:
        rows.insert(at, row)
    if len(rows) > most:
        del rows[:-most]
