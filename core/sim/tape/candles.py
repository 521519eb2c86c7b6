"""Candles as they form: summed up from base bars, or from single trades.

From bars, each timeframe is summed up from the one below it, parts in order, exactly as the feed and
:mod:`core.data.resample` do, so that a final candle has the same bits as history has later. A candle of which a part is
missing is not told at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

from msgspec import structs

from core.data.timeframes import bucket_open, from_base
from core.sim.local.values import ZERO, KlineTick, OrderSide, TradeTick
from core.types import Timeframe

PRINTS = 4
"""Trades that a bar is played as: open, two extremes, close."""
TAKER_SHARE = 0.5
"""Which part of a bar's volume is said to be purchases by takers; bars do not tell."""


_DIGITS = 8


def number(value: float) -> Decimal:
    """The shortest decimal that reads back as ``value``.

    Example:
        >>> number(61800.1)
        Decimal('61800.1')
    """
    return Decimal(repr(float(value)))


@dataclass(slots=True)
class Candle:
    """One bar, made or in the making: prices in quote, volume in base, ids of its first and last trade."""

    open_ts: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    first_trade: int
    last_trade: int

    def joined(self, later: Candle) -> Candle:
        """Both as one."""
        return Candle(
            self.open_ts,
            self.open,
            max(self.high, later.high),
            min(self.low, later.low),
            later.close,
            self.volume + later.volume,
            self.first_trade,
            later.last_trade,
        )

    def tick(self, symbol: str, tf: Timeframe, ts: int, *, final: bool) -> KlineTick:
        """As the venue tells it.

        Turnover is that of trades spread evenly over the four prices.
        """
        turnover = self.volume * (self.open + self.high + self.low + self.close) / PRINTS
        return KlineTick(
            symbol,
            ts,
            tf,
            self.open_ts,
            number(self.open),
            number(self.high),
            number(self.low),
            number(self.close),
            number(self.volume),
            number(round(turnover, _DIGITS)),
            self.last_trade - self.first_trade + 1,
            self.first_trade,
            self.last_trade,
            number(round(self.volume * TAKER_SHARE, _DIGITS)),
            final,
        )


def trade_number(open_ts: int, bar_ms: int, nth: int = 0) -> int:
    """Id of the ``nth`` trade of the bar that opens at ``open_ts``: rising, and without gaps where bars have none."""
    return open_ts // bar_ms * PRINTS + nth


@dataclass(slots=True)
class _Rung:
    """A timeframe: the closed ``parts`` of its candle so far, and when the next one must open (-1: one was missed)."""

    tf: Timeframe
    part_ms: int
    parts: Candle | None = None
    due: int = -1

    def take(self, part: Candle) -> Candle | None:
        """Add a closed part; the candle when it is complete."""
        if part.open_ts % self.tf.ms == 0:
            self.parts = part
        elif self.parts is not None and part.open_ts == self.due:
            self.parts = self.parts.joined(part)
        else:
            self.parts = None
        self.due = part.open_ts + self.part_ms
        whole = self.parts
        if whole is None or self.due < whole.open_ts + self.tf.ms:
            return None
        self.parts = None
        return whole

    def with_forming(self, forming: Candle | None) -> Candle | None:
        """The candle as it stands, given the forming part of the timeframe below."""
        if forming is None:
            return self.parts
        if forming.open_ts % self.tf.ms == 0:
            return forming
        return self.parts.joined(forming) if self.parts is not None and forming.open_ts == self.due else None


class BarLadder:
    """Candles of one symbol in its base timeframe and all coarser ones.

    Args:
        symbol: the venue's name.
        base: timeframe of the bars.
        told: timeframes that are handed out.
    """

    def __init__(self, symbol: str, base: Timeframe, told: Iterable[Timeframe]) -> None:
        self._symbol, self._base = symbol, base
        ladder = from_base(base)
        self.told = tuple(tf for tf in ladder if tf in set(told))
        self._rungs = [_Rung(tf, below.ms) for below, tf in pairwise(ladder)]
        self._forming: Candle | None = None

    def show(self, forming: Candle) -> None:
        """``forming`` is the base bar as far as it has come."""
        self._forming = forming

    def close(self, bar: Candle) -> list[KlineTick]:
        """``bar`` is complete: the candles that close with it, finest first."""
        self._forming = None
        ts = bar.open_ts + self._base.ms
        done: list[tuple[Timeframe, Candle]] = [(self._base, bar)]
        part: Candle | None = bar
        for rung in self._rungs:
            part = None if part is None else rung.take(part)
            if part is not None:
                done.append((rung.tf, part))
        return [c.tick(self._symbol, tf, ts, final=True) for tf, c in done if tf in self.told]

    def forming(self, ts: int, tf: Timeframe | None = None) -> list[KlineTick]:
        """Candles (of one timeframe) that are open at ``ts``, finest first."""
        return [
            candle.tick(self._symbol, own, ts, final=False)
            for own, candle in self._standing()
            if own in self.told and tf in (None, own) and candle.open_ts <= ts < candle.open_ts + own.ms
        ]

    def _standing(self) -> Iterator[tuple[Timeframe, Candle]]:
        candle = self._forming
        if candle is not None:
            yield self._base, candle
        for rung in self._rungs:
            candle = rung.with_forming(candle)
            if candle is not None:
                yield rung.tf, candle


class TradeLadder:
    """Candles of one symbol from its single trades.

    A candle whose beginning was not seen is never final. Where nobody trades, candles are flat at the last price, as the
    venue's are.
    """

    def __init__(self, symbol: str, told: Sequence[Timeframe]) -> None:
        self._symbol = symbol
        self._told = tuple(sorted(told, key=lambda tf: tf.ms))
        self._open: dict[Timeframe, KlineTick] = {}
        self._whole: dict[Timeframe, bool] = dict.fromkeys(self._told, False)

    def pass_time(self, ts: int) -> list[KlineTick]:
        """Candles that closed at or before ``ts``, in order of time."""
        closed: list[KlineTick] = []
        for tf in self._told:
            while (candle := self._open.get(tf)) is not None and candle.open_ts + tf.ms <= ts:
                end = candle.open_ts + tf.ms
                if self._whole[tf]:
                    closed.append(structs.replace(candle, ts=end, final=True))
                self._whole[tf] = True
                self._open[tf] = self._flat(tf, end, candle)
        return sorted(closed, key=lambda tick: tick.ts)

    def take(self, trade: TradeTick) -> list[KlineTick]:
        """Add a trade, not older than the last one: the forming candles, finest first."""
        for tf in self._told:
            self._open[tf] = self._with(self._open.get(tf), tf, trade)
        return list(self._open.values())

    def _with(self, candle: KlineTick | None, tf: Timeframe, trade: TradeTick) -> KlineTick:
        price, qty = trade.price, trade.qty
        bought = qty if trade.taker is OrderSide.BUY else ZERO
        if candle is None or candle.trades == 0:
            opened = bucket_open(trade.ts, tf)
            one = (price, price, price, price, qty, price * qty, 1, trade.trade_id, trade.trade_id, bought)
            return KlineTick(self._symbol, trade.ts, tf, opened, *one, final=False)
        return structs.replace(
            candle,
            ts=trade.ts,
            high=max(candle.high, price),
            low=min(candle.low, price),
            close=price,
            volume=candle.volume + qty,
            quote_volume=candle.quote_volume + price * qty,
            trades=candle.trades + 1,
            last_trade=trade.trade_id,
            taker_volume=candle.taker_volume + bought,
        )

    def _flat(self, tf: Timeframe, opened: int, before: KlineTick) -> KlineTick:
        price = before.close
        return KlineTick(self._symbol, opened, tf, opened, price, price, price, price, ZERO, ZERO, 0, -1, -1, ZERO, final=False)
