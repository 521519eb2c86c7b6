"""A made market whose truth is known: seeded, endless if wanted, with named scenarios.

The same seed, start, base timeframe, warm-up and scenario give the same bytes, whatever else runs beside and however
much is asked for (:mod:`core.data.sources.synthetic_market` says how). Warm-up history comes from the same process.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from core.canonical import digest
from core.data.blocks import BarBlock, Bars, Batch, Book, Bools, ClockReading, Floats, FundingRate, Ints, PriceAt
from core.data.sources.base import SourceInfo
from core.data.sources.scenarios import Defect, Outage, Scenario, Script, Stream, script_for
from core.data.sources.synthetic_market import DAY_MS, FUNDING_INTERVAL_MS, Geometry, MarketPath, MarketTide, PathChunk
from core.errors import SourceError
from core.types import Timeframe

DEFAULT_SYMBOLS = ("BTC/USDT:USDT", "ETH/USDT:USDT", "SOL/USDT:USDT")
DEFAULT_START_MS = 1_767_571_200_000
"""2026-01-05 00:00 UTC."""
GENERATOR = 1
"""Version of what makes the bytes, to be raised with every change of them: a session is not gone on with over another market."""
BASE_TIMEFRAMES = (Timeframe.M1, Timeframe.M5, Timeframe.M15, Timeframe.H1)

_Array = TypeVar("_Array", Floats, Ints)
_Item = TypeVar("_Item", FundingRate, PriceAt)
Row = tuple[int, int, float, float, float, float, float]
"""(position of the symbol, open time, open, high, low, close, volume)."""


@dataclass(slots=True)
class _Record:
    """What was delivered of one symbol from the origin on: base bars, settlements, hourly spot closes."""

    bars: Bars
    funding: tuple[FundingRate, ...]
    spot: tuple[PriceAt, ...]


@dataclass(slots=True)
class _Rows:
    """One chunk of all symbols, ready to hand out: arrays of shape (bars, symbols), read-only."""

    chunk: int
    ts: list[int]
    open_ts: Ints
    prices: tuple[Floats, Floats, Floats, Floats, Floats]
    books: list[tuple[Book, ...]]
    funding: dict[int, tuple[FundingRate, ...]]
    spot: dict[int, tuple[PriceAt, ...]]
    clock: list[ClockReading]


class SyntheticSource:
    """Synthetic market behind the :class:`~core.data.sources.base.Source` protocol.

    Args:
        symbols: ccxt symbols, perps (``BTC/USDT:USDT``) or spot (``BTC/USDT``); the two of one asset share a path.
        seed: any integer >= 0.
        start: open time of the first bar handed out, ms, on the grid of ``base_tf``.
        bars: how many base bars to hand out; None for no end.
        base_tf: 1m, 5m, 15m or 1h.
        scenario: see :class:`~core.data.sources.scenarios.Scenario`.
        warm_days: days of history before ``start`` (rounded to whole UTC days).

    Raises:
        SourceError: an argument is out of range.
    """

    def __init__(
        self,
        symbols: Sequence[str] = DEFAULT_SYMBOLS,
        *,
        seed: int = 1,
        start: int = DEFAULT_START_MS,
        bars: int | None = None,
        base_tf: Timeframe = Timeframe.M5,
        scenario: Scenario = Scenario.MIXED,
        warm_days: int = 200,
    ) -> None:
        _check_arguments(symbols, seed, start, bars, base_tf, warm_days)
        self.symbols = tuple(symbols)
        self.scenario = scenario
        self.script: Script = script_for(scenario, Timeframe.H1.ms // base_tf.ms)
        origin = (start // DAY_MS - warm_days) * DAY_MS
        self._grid = Geometry(base_tf, origin, (start - origin) // base_tf.ms)
        self._seed, self._start, self._bars = seed, start, bars
        self._tide = MarketTide(seed, self.script, self._grid)
        self._paths = {_market(s): MarketPath(_market(s), self._tide) for s in self.symbols}
        self._records: dict[str, tuple[int, _Record]] = {}
        self._handed_out = 0
        self._info = self._describe()

    @property
    def info(self) -> SourceInfo:
        """What this market has, and what its scenario is."""
        return self._info

    def truth(self, symbol: str, bars: int | None = None, first: int = 0) -> NDArray[np.int8]:
        """True regime of ``bars`` base bars from run bar ``first`` on, codes into :data:`core.types.REGIME_CODES`.

        Without ``bars``: to the end of the run, or, where it has none, what has been handed out so far.
        """
        count = bars if bars is not None else (self._bars if self._bars is not None else self._handed_out) - first
        begin = self._grid.warm_bars + first
        return self._path(symbol).codes(begin, begin + count)[0] if count > 0 else np.zeros(0, dtype=np.int8)

    def history(self, symbol: str, tf: Timeframe, before_ts: int, limit: int) -> Bars:
        """See :class:`~core.data.sources.base.Source`.

        Bars that a scenario withheld are not there; a higher bar is made of the base bars that are. Timeframes finer
        than the base have no history (empty).
        """
        base = self._record(symbol, before_ts).bars
        if tf.ms < self._grid.tf.ms or limit <= 0:
            return _cut(base, slice(0, 0))
        stop = int(np.searchsorted(base.ts, before_ts - self._grid.tf.ms, side="right"))
        base = _cut(base, slice(0, stop))
        whole = base if tf is self._grid.tf else _resample(base, tf, before_ts)
        return _cut(whole, slice(max(0, len(whole) - limit), len(whole)))

    def funding_history(self, symbol: str, before_ts: int, limit: int) -> tuple[FundingRate, ...]:
        """See :class:`~core.data.sources.base.Source`; empty for spot."""
        return _last([f for f in self._record(symbol, before_ts).funding if f.ts <= before_ts], limit)

    def spot_history(self, symbol: str, before_ts: int, limit: int) -> tuple[PriceAt, ...]:
        """See :class:`~core.data.sources.base.Source`; empty for spot."""
        return _last([p for p in self._record(symbol, before_ts).spot if p.ts <= before_ts], limit)

    async def batches(self, after_ts: int | None = None) -> AsyncIterator[Batch]:
        """One batch for each base bar, also where a scenario withholds all of them: time goes on."""
        for batch in self._iterate(after_ts):
            yield batch

    # --- handing out ------------------------------------------------------------------------------

    def _iterate(self, after_ts: int | None) -> Iterator[Batch]:
        tf_ms, warm, per_chunk = self._grid.tf.ms, self._grid.warm_bars, self._grid.chunk_bars
        bar = 0 if after_ts is None else max(0, (after_ts - self._start) // tf_ms)
        self._records.clear()
        while self._bars is None or bar < self._bars:
            chunk, row = divmod(bar + warm, per_chunk)
            rows = self._rows(chunk)
            stop = per_chunk if self._bars is None else min(per_chunk, row + self._bars - bar)
            strange = self._strange_bars(bar, bar + stop - row)
            notes = self._notes(bar, bar + stop - row)
            for position in range(row, stop):
                self._handed_out = max(self._handed_out, bar + 1)
                if bar in strange:
                    yield self._strange_batch(rows, position, bar, notes.get(bar, ()))
                else:
                    yield self._batch(rows, position, notes.get(bar, ()))
                bar += 1

    def _batch(self, rows: _Rows, position: int, notes: tuple[str, ...]) -> Batch:
        ts = rows.ts[position]
        open_, high, low, close, volume = rows.prices
        block = BarBlock(
            self._grid.tf,
            self._idx,
            rows.open_ts[position],
            open_[position],
            high[position],
            low[position],
            close[position],
            volume[position],
        )
        return Batch(
            ts, (block,), rows.funding.get(ts, ()), rows.spot.get(ts, ()), (), rows.books[position], rows.clock[position], notes
        )

    def _strange_bars(self, begin: int, end: int) -> frozenset[int]:
        """Run bars in [begin, end) that are not handed out as they are."""
        found: list[int] = []
        for outage in self.script.outages:
            found.extend(range(max(begin, outage.begin), min(end, outage.end)))
        for bar, defect in self.script.defects:
            found.extend((bar, bar + 1) if defect is Defect.LATE else (bar,))
        return frozenset(found)

    def _strange_batch(self, rows: _Rows, position: int, bar: int, notes: tuple[str, ...]) -> Batch:
        batch = self._batch(rows, position, notes)
        kept = [r for r in self._row_list(rows, position) if not self._lost(Stream.CANDLES, bar, r[0])]
        block = _block(self._grid.tf, self._with_defects(kept, rows, bar))
        batch.bars = (block,) if block.idx.size else ()
        last = len(self.symbols) - 1
        if self._lost(Stream.BOOK, bar, last):
            batch.books = ()
        if self._lost(Stream.FUNDING, bar, last):
            batch.funding = ()
        return batch

    def _lost(self, stream: Stream, bar: int, index: int) -> bool:
        last = len(self.symbols) - 1
        return any(
            o.stream is stream and o.begin <= bar < o.end and (index == last or not o.last_symbol_only)
            for o in self.script.outages
        )

    def _row_list(self, rows: _Rows, position: int) -> list[Row]:
        columns = [a[position].tolist() for a in rows.prices]
        stamps = rows.open_ts[position].tolist()
        return list(zip(range(len(self.symbols)), stamps, *columns, strict=True))

    def _with_defects(self, kept: list[Row], rows: _Rows, bar: int) -> list[Row]:
        for at, defect in self.script.defects:
            victim = at % len(self.symbols)
            if at == bar:
                kept = [r for row in kept for r in (_spoil(row, defect) if row[0] == victim else [row])]
            elif at == bar - 1 and defect is Defect.LATE:
                chunk, position = divmod(at + self._grid.warm_bars, self._grid.chunk_bars)
                source = rows if chunk == rows.chunk else self._rows(chunk)
                kept = [*kept, self._row_list(source, position)[victim]]
        return kept

    def _notes(self, begin: int, end: int) -> dict[int, tuple[str, ...]]:
        notes: dict[int, tuple[str, ...]] = {}
        for act in self.script.acts:
            for bar, verb in ((act.begin, "begins"), (act.end, "ends")):
                if begin <= bar < end:
                    notes[bar] = (*notes.get(bar, ()), f"scenario {self.scenario} {verb}: {act.what}")
        return notes

    # --- making -----------------------------------------------------------------------------------

    def _path(self, symbol: str) -> MarketPath:
        if symbol not in self.symbols:
            raise SourceError(f"symbol was {symbol!r}, expected one of {', '.join(self.symbols)}", code="DATA-021")
        return self._paths[_market(symbol)]

    def _candles(self, symbol: str, made: PathChunk) -> tuple[Floats, Floats, Floats, Floats, Floats]:
        """Prices of the perp as made; those of the spot market are the perp's without the basis."""
        if _is_perp(symbol):
            return made.open, made.high, made.low, made.close, made.volume
        decimals = self._path(symbol).asset.decimals
        per_spot = 1.0 + made.basis
        open_, close = np.round(made.open / per_spot, decimals), np.round(made.close / per_spot, decimals)
        high = np.maximum(np.round(made.high / per_spot, decimals), np.maximum(open_, close))
        low = np.minimum(np.round(made.low / per_spot, decimals), np.minimum(open_, close))
        return open_, high, low, close, made.volume

    def _rows(self, chunk: int) -> _Rows:
        grid = self._grid
        first = chunk * grid.chunk_bars
        opens = np.arange(first, first + grid.chunk_bars, dtype=np.int64) * grid.tf.ms + grid.origin
        ts = (opens + grid.tf.ms).tolist()
        made = {market: path.chunk(chunk) for market, path in self._paths.items()}
        candles = [self._candles(s, made[_market(s)]) for s in self.symbols]
        columns = [_frozen(np.stack([c[i] for c in candles], axis=1)) for i in range(5)]
        books = [self._books(s, made[_market(s)], ts) for s in self.symbols]
        perps = [s for s in self.symbols if _is_perp(s)]
        return _Rows(
            chunk=chunk,
            ts=ts,
            open_ts=_frozen(np.repeat(opens[:, None], len(self.symbols), axis=1)),
            prices=(columns[0], columns[1], columns[2], columns[3], columns[4]),
            books=list(zip(*books, strict=True)),
            funding=_by_time([self._settlements(s, made[_market(s)], ts) for s in perps]),
            spot=_by_time([self._spot_closes(s, made[_market(s)], ts) for s in perps]),
            clock=self._clock(chunk, ts),
        )

    def _books(self, symbol: str, made: PathChunk, ts: list[int]) -> list[Book]:
        per_spot = 1.0 if _is_perp(symbol) else 1.0 + made.basis
        bid, ask = (made.bid / per_spot).tolist(), (made.ask / per_spot).tolist()
        return list(map(Book, repeat(symbol), ts, bid, ask, made.depth_usd.tolist(), repeat(False)))

    def _settlements(self, symbol: str, made: PathChunk, ts: list[int]) -> list[FundingRate]:
        every = FUNDING_INTERVAL_MS // self._grid.tf.ms
        times = ts[every - 1 :: every]
        return [FundingRate(symbol, at, rate, FUNDING_INTERVAL_MS) for at, rate in zip(times, made.funding.tolist(), strict=True)]

    def _spot_closes(self, symbol: str, made: PathChunk, ts: list[int]) -> list[PriceAt]:
        every = self._grid.bars_per_hour
        hours = slice(every - 1, None, every)
        prices = np.round(made.close[hours] / (1.0 + made.basis[hours]), self._path(symbol).asset.decimals + 1)
        return [PriceAt(symbol, at, price) for at, price in zip(ts[hours], prices.tolist(), strict=True)]

    def _clock(self, chunk: int, ts: list[int]) -> list[ClockReading]:
        noise = self._tide.clock_noise_ms(chunk).tolist()
        fault = self.script.clock
        first = chunk * self._grid.chunk_bars - self._grid.warm_bars
        added = repeat(0.0) if fault is None else (fault.drift_ms(first + row) for row in range(len(ts)))
        return [ClockReading(at, drift + extra, drift) for at, drift, extra in zip(ts, noise, added, strict=False)]

    def _record(self, symbol: str, until_ts: int) -> _Record:
        """Delivered history, whole chunks up to the one that holds ``until_ts``."""
        path, grid = self._path(symbol), self._grid
        chunks = max(1, math.ceil((until_ts - grid.origin) / (grid.chunk_bars * grid.tf.ms)))
        cached = self._records.get(symbol)
        if cached is not None and cached[0] >= chunks:
            return cached[1]
        columns: list[tuple[Floats, ...]] = []
        funding: list[FundingRate] = []
        spot: list[PriceAt] = []
        for chunk in range(chunks):
            made = path.chunk(chunk)
            ends = [grid.open_ts(b + 1) for b in range(chunk * grid.chunk_bars, (chunk + 1) * grid.chunk_bars)]
            columns.append(self._candles(symbol, made))
            if _is_perp(symbol):
                funding.extend(self._settlements(symbol, made, ends))
                spot.extend(self._spot_closes(symbol, made, ends))
        ts = np.arange(chunks * grid.chunk_bars, dtype=np.int64) * grid.tf.ms + grid.origin
        whole = [np.concatenate([c[i] for c in columns]) for i in range(5)]
        bars = Bars(ts, whole[0], whole[1], whole[2], whole[3], whole[4])
        record = _Record(self._delivered_bars(symbol, bars), self._delivered_funding(funding), tuple(spot))
        self._records[symbol] = (chunks, record)
        return record

    def _delivered_bars(self, symbol: str, bars: Bars) -> Bars:
        kept = np.ones(len(bars), dtype=np.bool_)
        for outage in self._outages_of(Stream.CANDLES, symbol):
            kept[outage.begin + self._grid.warm_bars : outage.end + self._grid.warm_bars] = False
        return bars if bool(kept.all()) else _cut(bars, kept)

    def _delivered_funding(self, funding: list[FundingRate]) -> tuple[FundingRate, ...]:
        lost = [(self._close_ts(o.begin), self._close_ts(o.end)) for o in self.script.outages if o.stream is Stream.FUNDING]
        return tuple(f for f in funding if not any(begin <= f.ts < end for begin, end in lost))

    def _outages_of(self, stream: Stream, symbol: str) -> list[Outage]:
        last = symbol == self.symbols[-1]
        return [o for o in self.script.outages if o.stream is stream and (last or not o.last_symbol_only)]

    def _close_ts(self, bar: int) -> int:
        return self._start + (bar + 1) * self._grid.tf.ms

    def _describe(self) -> SourceInfo:
        self._idx = _frozen(np.arange(len(self.symbols), dtype=np.int64))
        grid, perp = self._grid, {s: _is_perp(s) for s in self.symbols}
        end = None if self._bars is None else self._start + self._bars * grid.tf.ms
        notes = [f"synthetic market, seed {self._seed}, scenario {self.scenario}: {self.scenario.description}"]
        late = [a for a in self.script.acts if self._bars is not None and a.begin >= self._bars]
        missing = tuple(f"the run ends before bar {a.begin}, at which begins: {a.what}" for a in late)
        base = dict.fromkeys(self.symbols, grid.tf)
        return SourceInfo(
            name="synthetic",
            symbols=self.symbols,
            base_tf=base,
            start=self._start,
            end=end,
            batches=self._bars,
            has_books=True,
            has_funding=perp,
            has_spot=perp,
            missing=missing,
            notes=tuple(notes),
            digest=self._digest(),
        )

    def _digest(self) -> str:
        """Of all that the bytes depend on; how many of them are handed out is not among it."""
        grid = self._grid
        return digest((GENERATOR, self._seed, self.scenario, self.script, self.symbols, grid.tf, grid.origin, self._start))


def _check_arguments(symbols: Sequence[str], seed: int, start: int, bars: int | None, base_tf: Timeframe, warm_days: int) -> None:
    def demand(fine: bool, what: str) -> None:
        if not fine:
            raise SourceError(what, help="brain paper --source synthetic --help", code="DATA-020")

    demand(len(symbols) > 0, "symbols was empty, expected at least one")
    demand(len(set(symbols)) == len(symbols), f"symbols was {', '.join(symbols)}, expected each once")
    demand(seed >= 0, f"seed was {seed}, expected 0 or more")
    demand(bars is None or bars > 0, f"bars was {bars}, expected more than 0")
    demand(warm_days >= 0, f"warm_days was {warm_days}, expected 0 or more")
    allowed = ", ".join(BASE_TIMEFRAMES)
    demand(base_tf in BASE_TIMEFRAMES, f"base timeframe was {base_tf}, expected one of {allowed}")
    demand(start % base_tf.ms == 0, f"start was {start}, expected a multiple of {base_tf.ms} ms ({base_tf})")


def _market(symbol: str) -> str:
    return symbol.partition(":")[0]


def _is_perp(symbol: str) -> bool:
    return ":" in symbol


def _frozen(array: _Array) -> _Array:
    array.flags.writeable = False
    return array


def _cut(bars: Bars, rows: slice | Bools) -> Bars:
    return Bars(bars.ts[rows], bars.open[rows], bars.high[rows], bars.low[rows], bars.close[rows], bars.volume[rows])


def _last(items: list[_Item], limit: int) -> tuple[_Item, ...]:
    return tuple(items[max(0, len(items) - limit) :]) if limit > 0 else ()


def _resample(bars: Bars, tf: Timeframe, before_ts: int) -> Bars:
    """Higher bars that closed at or before ``before_ts``."""
    group = bars.ts // tf.ms
    rows = int(np.searchsorted(group, before_ts // tf.ms, side="left"))
    if rows == 0:
        return _cut(bars, slice(0, 0))
    first = np.flatnonzero(np.diff(group[:rows], prepend=group[0] - 1))
    last = np.append(first[1:], rows) - 1
    return Bars(
        group[first] * tf.ms,
        bars.open[first],
        np.maximum.reduceat(bars.high[:rows], first),
        np.minimum.reduceat(bars.low[:rows], first),
        bars.close[last],
        np.add.reduceat(bars.volume[:rows], first),
    )


def _by_time(lists: list[list[_Item]]) -> dict[int, tuple[_Item, ...]]:
    """Events of all symbols by time, in the order of symbols."""
    return {rows[0].ts: rows for rows in zip(*lists, strict=True)}


def _block(tf: Timeframe, rows: list[Row]) -> BarBlock:
    columns = list(zip(*rows, strict=True)) if rows else [()] * 7
    whole = [np.array(c, dtype=np.int64) for c in columns[:2]]
    open_, high, low, close, volume = (np.array(c, dtype=np.float64) for c in columns[2:])
    return BarBlock(tf, whole[0], whole[1], open_, high, low, close, volume)


def _spoil(row: Row, defect: Defect) -> list[Row]:
    """What is delivered in place of ``row``."""
    index, ts, open_, high, low, close, volume = row
    match defect:
        case Defect.DUPLICATE:
            return [row, row]
        case Defect.LATE:
            return []
        case Defect.HIGH_BELOW_LOW:
            return [(index, ts, open_, low * 0.99, high, close, volume)]
        case Defect.NEGATIVE_PRICE:
            return [(index, ts, open_, high, -low, close, volume)]
        case Defect.NOT_A_NUMBER:
            return [(index, ts, open_, high, low, math.nan, volume)]
        case Defect.OFF_GRID:
            return [(index, ts + 1234, open_, high, low, close, volume)]
        case Defect.ZERO_VOLUME:
            return [(index, ts, open_, open_, open_, open_, 0.0)]
