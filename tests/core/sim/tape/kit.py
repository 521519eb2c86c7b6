"""A market given bar by bar, and what a tape makes of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TypeVar

import numpy as np

from core.data.blocks import Bars, Batch, Book, FundingRate, PriceAt
from core.data.resample import EMPTY, resample, stitch
from core.data.sources.base import SourceInfo
from core.exec.instrument import Instrument
from core.sim.local.values import KlineTick, Tick, TradeTick
from core.sim.tape.base import MarketTape
from core.types import Timeframe
from tests.core.data.making import T0, Candle, block
from tests.core.sim.kit import BTC, ETH, SPOT, instrument

__all__ = ["BTC", "ETH", "M5", "SPOT", "T0", "Candle", "Given", "bars_batch", "finals", "listed", "path", "played", "trades"]

M5 = Timeframe.M5.ms
Kind = TypeVar("Kind")


def listed(symbol: str = BTC, **changes: object) -> Instrument:
    """Round numbers as in the exchange's kit, with a modelled book of 2 bps and 10 000 USD."""
    return replace(instrument(symbol), **{"modelled_depth_usd": 10_000.0, **changes})


def bars_batch(
    *rows: Candle,
    tf: Timeframe = Timeframe.M5,
    ts: int | None = None,
    funding: Sequence[FundingRate] = (),
    spot: Sequence[PriceAt] = (),
    marks: Sequence[PriceAt] = (),
    books: Sequence[Book] = (),
) -> Batch:
    """Candles of one timeframe that close together."""
    close = max(row[1] for row in rows) + tf.ms if ts is None else ts
    return Batch(close, (block(tf, *rows),), tuple(funding), tuple(spot), tuple(marks), tuple(books))


@dataclass
class Given:
    """A source (core.data.sources.base.Source) that gives these batches; its history is what of them has closed, and ``past``."""

    all: Sequence[Batch]
    base_tf: dict[str, Timeframe] = field(default_factory=lambda: {BTC: Timeframe.M5})
    has_books: bool = False
    past: dict[str, Bars] = field(default_factory=dict)
    start: int = T0

    @property
    def info(self) -> SourceInfo:
        flags = dict.fromkeys(self.base_tf, True)
        names = tuple(self.base_tf)
        return SourceInfo("given", names, self.base_tf, self.start, self.all[-1].ts, len(self.all), self.has_books, flags, flags)

    def history(self, symbol: str, tf: Timeframe, before_ts: int, limit: int) -> Bars:
        base = self.base_tf[symbol]
        who = list(self.base_tf).index(symbol)
        rows = [
            (int(b.open_ts[k]), *(float(c[k]) for c in (b.open, b.high, b.low, b.close, b.volume)))
            for batch in self.all
            for b in batch.bars
            for k in range(b.idx.size)
            if int(b.idx[k]) == who and b.tf is base and int(b.open_ts[k]) + base.ms <= before_ts
        ]
        own = Bars(*(np.array(column) for column in zip(*rows, strict=True))) if rows else EMPTY
        older = self.past.get(symbol, EMPTY)
        older = Bars(*(column[older.ts + base.ms <= before_ts] for column in older))
        whole = resample(stitch([own, older]), base, tf)
        return Bars(*(column[max(0, len(whole) - limit) :] for column in whole)) if limit else EMPTY

    def funding_history(self, symbol: str, before_ts: int, limit: int) -> tuple[FundingRate, ...]:
        known = [f for batch in self.all for f in batch.funding if f.symbol == symbol and f.ts <= before_ts]
        return tuple(known[-limit:])

    def spot_history(self, symbol: str, before_ts: int, limit: int) -> tuple[PriceAt, ...]:
        known = [p for batch in self.all for p in batch.spot if p.symbol == symbol and p.ts <= before_ts]
        return tuple(known[-limit:])

    async def batches(self, after_ts: int | None = None) -> AsyncIterator[Batch]:
        for batch in self.all:
            if after_ts is None or batch.ts > after_ts:
                yield batch


async def played(tape: MarketTape, after_ts: int | None = None) -> list[Tick]:
    """All that is left, in the order told; time never runs back in it."""
    ticks = [tick async for tick in tape.ticks(after_ts)]
    assert [tick.ts for tick in ticks] == sorted(tick.ts for tick in ticks)
    return ticks


def trades(ticks: Sequence[Tick], symbol: str = "BTCUSDT") -> list[TradeTick]:
    return [tick for tick in ticks if isinstance(tick, TradeTick) and tick.symbol == symbol]


def path(ticks: Sequence[Tick], symbol: str = "BTCUSDT") -> list[tuple[int, Decimal]]:
    """When and at what a symbol traded."""
    return [(tick.ts, tick.price) for tick in trades(ticks, symbol)]


def finals(ticks: Sequence[Tick], tf: Timeframe | None = None) -> list[KlineTick]:
    """Candles that were told to be over."""
    return [tick for tick in ticks if isinstance(tick, KlineTick) and tick.final and tf in (None, tick.tf)]
