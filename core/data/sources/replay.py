"""Recorded history as a market: a folder of parquet files, played bar by bar (form: :mod:`core.data.sources.folder`).

Each symbol is played on its finest timeframe whose bars contain the start of the range; the feed builds the coarser
ones. Coarser files, and bars before the start, serve warm-up through :meth:`ReplaySource.history`.
"""

from __future__ import annotations

import difflib
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.data.blocks import BarBlock, Bars, Batch, ClockReading, Floats, FundingRate, Ints, PriceAt
from core.data.quality import clean, select
from core.data.resample import EMPTY, Table, align, resample, stitch
from core.data.sources.base import SourceInfo
from core.data.sources.folder import Contents, Kind, Recording, read_bars, read_funding, scan
from core.data.timeframes import say
from core.errors import BrainError, SourceError
from core.exec.instrument import parse_symbol, venue_id
from core.types import Timeframe

WARM_UP_MS = 400 * Timeframe.D1.ms
"""How far before the start recordings are read: twice the 200 days that the longest warm-up asks for, so that holes
do not shorten it."""

DEFAULT_BASE = Timeframe.M15
"""When no symbols are named, those with bars at least this fine are played: on hourly bars stops act too coarsely."""

LONGEST_FUNDING_MS = 8 * Timeframe.H1.ms
"""The longest regular interval of the venue; a wider space between rows is a hole in the recording."""

_FOREVER = 1 << 62


@dataclass(frozen=True, slots=True)
class _Track:
    """All that is played of one symbol. ``bars`` are the base bars in range, ``past`` cleaned recordings, finest first."""

    symbol: str
    base: Timeframe
    bars: Bars
    past: tuple[tuple[Timeframe, Bars], ...]
    spot: Bars
    mark: tuple[Timeframe, Bars] | None
    funding: tuple[Ints, Floats]


@dataclass(frozen=True, slots=True)
class _Stream:
    """A side stream of all symbols in time order: times, positions of symbols, values, and a fourth column or nothing."""

    ts: list[int]
    who: list[int]
    value: list[float]
    interval: list[int]


class ReplaySource:
    """A folder of recordings as a :class:`core.data.sources.base.Source`.

    Args:
        folder: see :mod:`core.data.sources.folder`.
        symbols: what to play, in either form of :func:`core.exec.instrument.parse_symbol`; spot symbols
            (``BTC/USDT``) are played from ``spot_<tf>/``. None: every perpetual that has bars of 15m or finer at the
            start of the range (every one that has any bars there, if none is that fine).
        start: open of the first bar, at the earliest (the first moment from it on at which bars of all base
            timeframes open). None: the first base bar of the latest-starting symbol,
            rounded up to the next midnight UTC.
        end: close of the last bar, at the latest. None: where the first of the symbols ends, so that none falls
            silent; with an ``end`` given, a symbol whose recording ends earlier simply stops.

    Raises:
        SourceError: the folder cannot be used, or has nothing of a symbol in the range.
    """

    def __init__(
        self, folder: Path, symbols: Sequence[str] | None = None, start: int | None = None, end: int | None = None
    ) -> None:
        self._folder = folder
        self._found = scan(folder)
        self._notes: list[str] = []
        self._missing: list[str] = []
        self._contents = Contents()
        chosen = self._choose(symbols, start)
        begin = self._default_start(chosen) if start is None else start
        bases = {symbol: self._base(symbol, begin, end) for symbol in chosen}
        begin = self._common_begin(begin, bases.values())
        until = min(base.end for base in bases.values()) if end is None else end
        if until <= begin:
            raise self._no_bars(chosen[0], begin, until)
        self._tracks = tuple(self._load(symbol, bases[symbol], begin, until) for symbol in chosen)
        self._tables = self._align()
        self._closes: Ints = np.unique(np.concatenate([table.ts + table.tf.ms for table in self._tables]))
        first_open = min(int(table.ts[0]) for table in self._tables)
        self._funding, self._spot, self._marks = self._streams(first_open)
        self._tell_missing(begin)
        self.info = self._describe(first_open)

    # --- choosing ---------------------------------------------------------------------------------

    def _files(self, symbol: str, kind: Kind | None = None) -> list[Recording]:
        """Recordings of a symbol, finest first; by default its candles."""
        wanted = kind or (Kind.PERP if ":" in symbol else Kind.SPOT)
        own = [file for file in self._found if file.kind is wanted and file.venue_id == venue_id(symbol)]
        return sorted(own, key=lambda file: file.tf.ms if file.tf is not None else 0)

    def _known(self, kind: Kind) -> list[str]:
        """Symbols that have recordings of ``kind``, in order."""
        suffix = "" if kind is Kind.SPOT else ".P"
        names: set[str] = set()
        for file in self._found:
            if file.kind is kind:
                try:
                    names.add(parse_symbol(f"BINANCE:{file.venue_id}{suffix}"))
                except BrainError:
                    note = f"{file.path.parent.name}/{file.path.name} left out: {file.venue_id} is no known pair"
                    if note not in self._notes:
                        self._notes.append(note)
        return sorted(names)

    def _choose(self, symbols: Sequence[str] | None, start: int | None) -> tuple[str, ...]:
        if symbols is not None:
            chosen = tuple(dict.fromkeys(parse_symbol(symbol) for symbol in symbols))
            if not chosen:
                raise SourceError("no symbols were given, expected at least one", help="leave --symbols out to play all")
            for symbol in chosen:
                if not self._files(symbol):
                    raise self._unknown(symbol)
            return chosen
        everything = self._known(Kind.PERP)
        here = [s for s in everything if start is None or any(f.first <= start < f.end for f in self._files(s))]
        fine = [s for s in here if self._finest_at(s, start).ms <= DEFAULT_BASE.ms]
        chosen = tuple(fine or here)
        if not chosen:
            raise self._no_bars(None, start or 0, _FOREVER)
        left_out = [symbol for symbol in here if symbol not in chosen]
        if left_out:
            self._notes.append(
                f"left out, no bars of {DEFAULT_BASE.value} or finer at the start (name them in --symbols to play them):"
                f" {_bases(left_out)}"
            )
        absent = [symbol for symbol in everything if symbol not in here]
        if absent:
            self._notes.append(f"left out, no bars at the start: {_bases(absent)}")
        return chosen

    def _finest_at(self, symbol: str, start: int | None) -> Timeframe:
        files = [f for f in self._files(symbol) if start is None or f.first <= start < f.end]
        return next(f.tf for f in files if f.tf is not None)

    def _default_start(self, chosen: Iterable[str]) -> int:
        latest = max(self._files(symbol)[0].first for symbol in chosen)
        return -(-latest // Timeframe.D1.ms) * Timeframe.D1.ms

    def _base(self, symbol: str, begin: int, end: int | None) -> Recording:
        """The recording on which a symbol is played: the finest that contains its start of the range."""
        until = _FOREVER if end is None else end
        inside = [file for file in self._files(symbol) if file.first < until and file.end > begin]
        if not inside:
            raise self._no_bars(symbol, begin, until)
        own_begin = max(begin, min(file.first for file in inside))
        if own_begin > begin:
            self._notes.append(f"{symbol} joins at {say(own_begin)}, its first bar")
        base = next(file for file in inside if file.first <= own_begin < file.end)
        if end is not None and base.end < end and base.end < end - (base.tf.ms if base.tf else 0):
            self._notes.append(f"{symbol} ends at {say(base.end)}, before the range does")
        return base

    def _common_begin(self, begin: int, bases: Iterable[Recording]) -> int:
        """First moment from ``begin`` on at which a bar of every base timeframe opens: no symbol starts with a gap."""
        grid = max(base.tf.ms for base in bases if base.tf is not None)
        common = -(-begin // grid) * grid
        if common != begin:
            self._notes.append(f"the range starts at {say(common)}, where bars of all symbols begin together")
        return common

    # --- loading ----------------------------------------------------------------------------------

    def _load(self, symbol: str, base: Recording, begin: int, until: int) -> _Track:
        past: list[tuple[Timeframe, Bars]] = []
        bars = EMPTY
        for file in self._files(symbol):
            raw = read_bars(file, begin - WARM_UP_MS, until, self._contents)
            tf = file.tf or Timeframe.H1
            cleaned = clean(raw, tf)
            past.append((tf, cleaned.bars))
            if file is base:
                bars = self._in_order(file, select(raw, np.flatnonzero(raw.ts >= begin)))
        if not len(bars):
            raise self._no_bars(symbol, begin, until)
        perp = ":" in symbol
        spot = self._hourly_spot(symbol, begin, until) if perp else EMPTY
        marks = self._files(symbol, Kind.MARK) if perp else []
        mark = None
        if marks and marks[0].tf is not None:
            mark = (marks[0].tf, clean(read_bars(marks[0], begin, until, self._contents), marks[0].tf).bars)
        rates = self._files(symbol, Kind.FUNDING) if perp else []
        funding = read_funding(rates[0], until, self._contents) if rates else (EMPTY.ts, EMPTY.open)
        tf = base.tf or Timeframe.H1
        return _Track(symbol, tf, bars, tuple(past), spot, mark, funding)

    def _in_order(self, file: Recording, bars: Bars) -> Bars:
        """Base bars in rising order, no time twice. All else that may be wrong with them is the feed's to find."""
        if np.count_nonzero(np.diff(bars.ts) <= 0):
            stamps, first = np.unique(bars.ts, return_index=True)
            self._notes.append(
                f"{file.path.parent.name}/{file.path.name}: rows were out of order or twice; sorted,"
                f" {len(bars) - stamps.size} repeated rows left out"
            )
            bars = select(bars, first)
        return bars

    def _hourly_spot(self, symbol: str, begin: int, until: int) -> Bars:
        hourly = [
            resample(clean(read_bars(file, begin - WARM_UP_MS, until, self._contents), file.tf).bars, file.tf, Timeframe.H1)
            for file in self._files(symbol, Kind.SPOT)
            if file.tf is not None and file.tf.ms <= Timeframe.H1.ms
        ]
        return stitch(hourly[::-1])

    def _align(self) -> tuple[Table, ...]:
        by_tf: dict[Timeframe, list[tuple[int, Bars]]] = {}
        for position, track in enumerate(self._tracks):
            by_tf.setdefault(track.base, []).append((position, track.bars))
        return tuple(align(tf, by_tf[tf]) for tf in sorted(by_tf, key=lambda tf: tf.ms))

    def _streams(self, after: int) -> tuple[_Stream, _Stream, _Stream]:
        hour = Timeframe.H1.ms
        funding = [(*track.funding, _intervals(track.funding[0])) for track in self._tracks]
        spot = [(t.spot.ts + hour, t.spot.close, EMPTY.ts) for t in self._tracks]
        marks = [(t.mark[1].ts + t.mark[0].ms, t.mark[1].close, EMPTY.ts) if t.mark else None for t in self._tracks]
        none = (EMPTY.ts, EMPTY.open, EMPTY.ts)
        return _merged(funding, after), _merged(spot, after), _merged([m or none for m in marks], after)

    # --- telling ----------------------------------------------------------------------------------

    def _tell_missing(self, begin: int) -> None:
        name = self._folder.name
        perps = [track for track in self._tracks if ":" in track.symbol]
        there = {kind: _bases(self._known_any(kind)) for kind in (Kind.FUNDING, Kind.SPOT, Kind.MARK)}
        for track in perps:
            if not track.funding[0].size:
                self._missing.append(f"{track.symbol}: no funding in {name}; funding is there for {there[Kind.FUNDING]}")
            elif int(track.funding[0][0]) > begin:
                self._missing.append(
                    f"{track.symbol}: funding in {name} begins {say(int(track.funding[0][0]))}, the range {say(begin)}"
                )
            if not len(track.spot):
                self._missing.append(f"{track.symbol}: no spot in {name}, so no basis; spot is there for {there[Kind.SPOT]}")
            if track.mark is None:
                self._notes.append(f"{track.symbol}: no mark prices in {name}; equity is marked at last closes")

    def _known_any(self, kind: Kind) -> list[str]:
        return [symbol for symbol in self._known(Kind.PERP) if self._files(symbol, kind)]

    def _describe(self, first_open: int) -> SourceInfo:
        return SourceInfo(
            name=f"replay:{self._folder.name}",
            symbols=tuple(track.symbol for track in self._tracks),
            base_tf={track.symbol: track.base for track in self._tracks},
            start=first_open,
            end=int(self._closes[-1]),
            batches=int(self._closes.size),
            has_books=False,
            has_funding={track.symbol: bool(track.funding[0].size) for track in self._tracks},
            has_spot={track.symbol: bool(len(track.spot)) for track in self._tracks},
            missing=tuple(self._missing),
            notes=tuple(self._notes),
            digest=self._contents.digest,
        )

    def _unknown(self, symbol: str) -> SourceError:
        known = self._known(Kind.PERP) + self._known(Kind.SPOT)
        close = difflib.get_close_matches(symbol, known, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else f"there is {_bases(self._known(Kind.PERP))}"
        return SourceError(f"{self._folder} has no candles of {symbol}; it has {', '.join(known)}", help=hint, code="DATA-014")

    def _no_bars(self, symbol: str | None, begin: int, until: int) -> SourceError:
        files = [f for f in self._found if f.kind is Kind.PERP] if symbol is None else self._files(symbol)
        there = "; ".join(f"{f.venue_id} {f.tf.value if f.tf else ''} {say(f.first)} to {say(f.end)}" for f in files[:20])
        span = f"from {say(begin)}" + (f" to {say(until)}" if until != _FOREVER else "")
        return SourceError(
            f"{self._folder} has no candles of {symbol or 'any symbol'} {span}; it has {there}",
            help="choose --from and --to inside one of these ranges",
            code="DATA-015",
        )

    # --- Source -----------------------------------------------------------------------------------

    def _track(self, symbol: str) -> _Track:
        for track in self._tracks:
            if track.symbol == symbol:
                return track
        raise SourceError(f"symbol was {symbol!r}, this replay plays {', '.join(self.info.symbols)}", code="DATA-014")

    def history(self, symbol: str, tf: Timeframe, before_ts: int, limit: int) -> Bars:
        """At most ``limit`` complete bars of ``tf`` that closed at or before ``before_ts``, oldest first.

        Summed up from the finest recording; where that has no complete bar, from the next coarser one. Looks back
        over twice the time that ``limit`` bars take, so a longer hole costs bars.
        """
        since = before_ts - 2 * limit * tf.ms
        pieces = [
            resample(_between(bars, own, since, before_ts), own, tf) for own, bars in self._track(symbol).past if own.ms <= tf.ms
        ]
        return _newest(stitch(pieces), limit)

    def funding_history(self, symbol: str, before_ts: int, limit: int) -> tuple[FundingRate, ...]:
        """At most ``limit`` settlements at or before ``before_ts``, oldest first."""
        ts, rate = self._track(symbol).funding
        stop = int(np.searchsorted(ts, before_ts, side="right"))
        rows = slice(max(0, stop - limit), stop)
        columns = (ts[rows].tolist(), rate[rows].tolist(), _intervals(ts)[rows].tolist())
        return tuple(FundingRate(symbol, *row) for row in zip(*columns, strict=True))

    def spot_history(self, symbol: str, before_ts: int, limit: int) -> tuple[PriceAt, ...]:
        """At most ``limit`` hourly spot closes known at or before ``before_ts``, oldest first."""
        hour = Timeframe.H1.ms
        spot = _newest(_between(self._track(symbol).spot, Timeframe.H1, 0, before_ts), limit)
        return tuple(PriceAt(symbol, ts + hour, price) for ts, price in zip(spot.ts.tolist(), spot.close.tolist(), strict=True))

    async def batches(self, after_ts: int | None = None) -> AsyncIterator[Batch]:
        """One batch for each time at which a base bar closed; with ``after_ts`` only those later than it.

        A recording has one clock, so the first batch states a drift of 0.
        """
        begin = self.info.start if after_ts is None else after_ts
        decks = [_Deck(table, begin) for table in self._tables]
        funding, spot, marks = _Reader(self._funding, begin), _Reader(self._spot, begin), _Reader(self._marks, begin)
        names = self.info.symbols
        clock: ClockReading | None = None
        first = True
        for ts in self._closes[np.searchsorted(self._closes, begin, side="right") :].tolist():
            clock = ClockReading(ts, 0.0, None) if first else None
            first = False
            yield Batch(
                ts,
                tuple(deck.draw() for deck in decks if deck.close == ts),
                tuple(FundingRate(names[w], t, v, i) for t, w, v, i in funding.take(ts)) if funding.due <= ts else (),
                tuple(PriceAt(names[w], t, v) for t, w, v, _ in spot.take(ts)) if spot.due <= ts else (),
                tuple(PriceAt(names[w], t, v) for t, w, v, _ in marks.take(ts)) if marks.due <= ts else (),
                (),
                clock,
            )


class _Deck:
    """Rows of a table, one after the other. ``close`` is when the next one closes."""

    __slots__ = ("_closes", "_row", "_stamps", "_table", "close")

    def __init__(self, table: Table, after: int) -> None:
        self._table = table
        self._closes: list[int] = [*(table.ts + table.tf.ms).tolist(), _FOREVER]
        self._stamps: Ints = np.broadcast_to(table.ts.reshape(-1, 1), table.open.shape)
        self._row = int(np.searchsorted(table.ts, after - table.tf.ms, side="right"))
        self.close = self._closes[self._row]

    def draw(self) -> BarBlock:
        table, row = self._table, self._row
        self._row = row + 1
        self.close = self._closes[row + 1]
        if table.whole[row]:
            return BarBlock(
                table.tf,
                table.idx,
                self._stamps[row],
                table.open[row],
                table.high[row],
                table.low[row],
                table.close[row],
                table.volume[row],
            )
        at = table.present[row]
        return BarBlock(
            table.tf,
            table.idx[at],
            self._stamps[row, at],
            table.open[row, at],
            table.high[row, at],
            table.low[row, at],
            table.close[row, at],
            table.volume[row, at],
        )


class _Reader:
    """A stream, read up to a time. ``due`` is when its next entry becomes known."""

    __slots__ = ("_next", "_stream", "due")

    def __init__(self, stream: _Stream, after: int) -> None:
        self._stream = stream
        self._next = int(np.searchsorted(np.array(stream.ts, dtype=np.int64), after, side="right"))
        self.due = stream.ts[self._next] if self._next < len(stream.ts) else _FOREVER

    def take(self, until: int) -> list[tuple[int, int, float, int]]:
        stream, taken = self._stream, []
        while self.due <= until:
            k = self._next
            taken.append((stream.ts[k], stream.who[k], stream.value[k], stream.interval[k]))
            self._next = k + 1
            self.due = stream.ts[k + 1] if k + 1 < len(stream.ts) else _FOREVER
        return taken


def _merged(columns: Sequence[tuple[Ints, Floats, Ints]], after: int) -> _Stream:
    """Streams of all symbols as one, by time and then by symbol, later than ``after``; only finite values."""
    ts = np.concatenate([column[0] for column in columns])
    value = np.concatenate([column[1] for column in columns])
    who = np.concatenate([np.full(column[0].size, position) for position, column in enumerate(columns)])
    interval = np.concatenate([column[2] if column[2].size else np.zeros(column[0].size, np.int64) for column in columns])
    keep = np.flatnonzero((ts > after) & np.isfinite(value))
    keep = keep[np.lexsort((who[keep], ts[keep]))]
    return _Stream(ts[keep].tolist(), who[keep].tolist(), value[keep].tolist(), interval[keep].tolist())


def _intervals(ts: Ints) -> Ints:
    """Time since the settlement before (the first: until the next), at most the venue's longest interval."""
    if ts.size < 2:
        return np.full(ts.size, LONGEST_FUNDING_MS, dtype=np.int64)
    steps = np.diff(ts)
    intervals: Ints = np.minimum(np.concatenate([steps[:1], steps]), LONGEST_FUNDING_MS)
    return intervals


def _between(bars: Bars, tf: Timeframe, since: int, until: int) -> Bars:
    """Bars that open at or after ``since`` and close at or before ``until``."""
    start = int(np.searchsorted(bars.ts, since, side="left"))
    stop = int(np.searchsorted(bars.ts, until - tf.ms, side="right"))
    return select(bars, slice(start, max(start, stop)))


def _newest(bars: Bars, limit: int) -> Bars:
    return select(bars, slice(max(0, len(bars) - limit), len(bars)))


def _bases(symbols: Iterable[str]) -> str:
    """Short names for people: ``BTC, ETH``."""
    return ", ".join(symbol.split("/")[0] for symbol in symbols) or "none"
