"""A source of bars as a tape: the path that each bar is taken to have gone, and history out of the source itself.

Nothing of the market is kept here but the bars that are being played: those of the longest base timeframe at most.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from enum import IntEnum
from functools import partial
from typing import Any, NamedTuple

from msgspec import Struct

from core.data.blocks import Batch, Book, FundingRate, PriceAt
from core.data.sources.base import Source
from core.data.timeframes import bucket_open, from_base
from core.errors import SourceError
from core.exec.instrument import Instrument
from core.sim.local.values import FundingTick, KlineTick, MarkTick, Tick
from core.sim.marks import bars_of
from core.sim.matching import Bar
from core.sim.tape.base import FUNDING_DEFAULT, KLINES_DEFAULT, SPOT_KLINES_DEFAULT, TapeInfo
from core.sim.tape.history import SourceHistory, without_volume
from core.sim.tape.player import Player
from core.types import Timeframe

_FOREVER = 2**62


class TapeOptions(Struct, frozen=True):
    """How finely a tape tells.

    Marks and forming candles come with every trade; besides, every ``mark_every_ms`` and ``kline_every_ms`` of market time
    (0: not). ``timeframes`` limits candles further than the instruments' ``allowed_tfs`` do; None: it does not.
    """

    mark_every_ms: int = 1_000
    kline_every_ms: int = 0
    book_levels: int = 10
    timeframes: tuple[Timeframe, ...] | None = None


class _Act(IntEnum):
    """What happens at one moment, in this order (:mod:`core.sim.tape.base`)."""

    FUNDING = 0
    FINISH = 1
    SIDE = 2
    OPEN = 3
    FIRST = 4
    SECOND = 5
    CLOSE = 6


class _Event(NamedTuple):
    """``play`` gives what happens at ``ts`` to the player ``who``."""

    ts: int
    act: _Act
    who: int
    play: Callable[[], Iterable[Tick]]


def nobody(symbol: str) -> int:
    """No position in ``symbol``."""
    del symbol
    return 0


class SourceTape:
    """A tape (:class:`core.sim.tape.base.MarketTape`) of the perpetuals of ``source``.

    A bar is played as: its open when it opens, at a quarter of its time the extreme against whoever holds, at half of it
    the other one, its close at the end. Bars that the exchange would not believe (:mod:`core.sim.marks`) are not played.
    A bar without trades (X44) is told by one trade of quantity 0 at its open; until the next trade nothing can trade.

    Args:
        source: where bars, funding, marks, spot prices and books come from.
        instruments: of what is to be played; their modelled books stand in where the source has none.
        position_sign: sign of the position in a symbol (the venue's name) when it is asked; may be set later.
        options: how finely it tells.

    Raises:
        SourceError: the source has no perpetual, or one for which there is no instrument.
    """

    def __init__(
        self,
        source: Source,
        instruments: Sequence[Instrument],
        position_sign: Callable[[str], int] = nobody,
        options: TapeOptions | None = None,
    ) -> None:
        self.position_sign = position_sign
        self._options = options or TapeOptions()
        self._source = source
        self._past = SourceHistory(source)
        self._players = self._make_players(instruments)
        self._by_symbol = {player.symbol: player for player in self._players.values()}
        self._span = max(player.base.ms for player in self._players.values())
        self._opened: dict[int, int] = {}
        self._now = source.info.start
        self._next_mark = self._next_kline = _FOREVER
        info = source.info
        told = {player.symbol: player.ladder.told for player in self._players.values()}
        spot = tuple(player.symbol for player in self._players.values() if info.has_spot.get(player.instrument.symbol, False))
        self.info = TapeInfo(info.name, tuple(told), told, info.start, info.end, drawn_path=True, spot=spot)

    def _make_players(self, instruments: Sequence[Instrument]) -> dict[int, Player]:
        """By position in the source's symbols."""
        by_name = {instrument.symbol: instrument for instrument in instruments}
        perps = {index: name for index, name in enumerate(self._source.info.symbols) if ":" in name}
        missing = [name for name in perps.values() if name not in by_name]
        if missing or not perps:
            what = f"no instrument is configured for {', '.join(missing)}" if missing else "the source has no perpetual"
            raise SourceError(what, help="add it to configs/symbols.yaml, or choose others with --symbols", code="DATA-016")
        return {index: self._player(by_name[name]) for index, name in perps.items()}

    def _player(self, instrument: Instrument) -> Player:
        base = self._source.info.base_tf[instrument.symbol]
        wanted = self._options.timeframes
        told = [tf for tf in from_base(base) if tf in instrument.allowed_tfs and (wanted is None or tf in wanted)]
        return Player(instrument, base, told, self._sign, self._options.book_levels)

    def _sign(self, symbol: str) -> int:
        return self.position_sign(symbol)

    # --- playing ----------------------------------------------------------------------------------

    async def ticks(self, after_ts: int | None = None) -> AsyncIterator[Tick]:
        """Ticks in time order; with ``after_ts`` only those later than it.

        What went before in the bars that were open then is played again in silence.
        """
        begin = None if after_ts is None else after_ts - after_ts % self._span
        after = self._source.info.start - 1 if after_ts is None else after_ts
        self._seed(self._source.info.start if begin is None else begin)
        self._now = max(after, self._source.info.start)
        self._next_mark, self._next_kline = (
            (after // every + 1) * every if every else _FOREVER
            for every in (self._options.mark_every_ms, self._options.kline_every_ms)
        )
        async for edge, batches in self._windows(begin):
            for tick in self._play(edge, batches, after):
                yield tick

    def _seed(self, begin: int) -> None:
        self._opened = dict.fromkeys(self._players, -1)
        for player in self._players.values():
            name, base = player.instrument.symbol, player.base
            today = (begin - bucket_open(begin, Timeframe.D1)) // base.ms
            past = self._source.history(name, base, begin, max(1, today))
            spot = self._source.spot_history(name, begin, 2)
            player.seed(past, self._source.funding_history(name, begin, 1), spot, self._index_ratio(name, base, spot))

    def _index_ratio(self, name: str, base: Timeframe, spot: Sequence[PriceAt]) -> float | None:
        for known in spot[-1:]:
            for close in self._source.history(name, base, known.ts, 1).close.tolist():
                return known.price / float(close)
        return None

    async def _windows(self, begin: int | None) -> AsyncIterator[tuple[int, list[Batch]]]:
        """Batches by bars of the longest base timeframe, each with the close of that: all that can overlap is together."""
        held: list[Batch] = []
        edge = 0
        async for batch in self._source.batches(begin):
            if held and batch.ts > edge:
                yield edge, held
                held = []
            edge = -(-batch.ts // self._span) * self._span
            held.append(batch)
            if batch.ts == edge:
                yield edge, held
                held = []
        if held:
            yield edge, held

    def _play(self, edge: int, batches: Sequence[Batch], after: int) -> Iterator[Tick]:
        begin = edge - self._span
        self._next_mark = _on_grid(self._next_mark, self._options.mark_every_ms, begin)
        self._next_kline = _on_grid(self._next_kline, self._options.kline_every_ms, begin)
        for event in sorted((e for batch in batches for e in self._events(batch, begin)), key=lambda e: e[:3]):
            for tick in self._beats(event.ts + (event.act >= _Act.OPEN)):
                yield tick
                self._now = tick.ts  # only now has it come: whoever plays it waits for its time first
            for tick in event.play():
                if tick.ts > after:
                    yield tick
                    self._now = tick.ts

    def _beats(self, until: int) -> Iterator[Tick]:
        """Marks and forming candles that are due before ``until``."""
        while (ts := min(self._next_mark, self._next_kline)) < until:
            for player in self._players.values():
                if ts == self._next_mark and player.priced:
                    yield player.mark(ts)
                if ts == self._next_kline:
                    yield from player.ladder.forming(ts)
            if ts == self._next_mark:
                self._next_mark += self._options.mark_every_ms
            if ts == self._next_kline:
                self._next_kline += self._options.kline_every_ms

    # --- what happens in a batch ------------------------------------------------------------------

    def _events(self, batch: Batch, begin: int) -> Iterator[_Event]:
        books = {book.symbol: book for book in batch.books}
        for index, bar in bars_of(batch.bars, self._players):
            player = self._players[index]
            if self._believes(player, index, bar, batch.ts, begin):
                self._opened[index] = bar.open_ts
                yield from self._bar_events(player, index, bar, books.get(player.instrument.symbol))
        yield from self._side_events(batch)

    def _believes(self, player: Player, index: int, bar: Bar, ts: int, begin: int) -> bool:
        own = bar.close_ts - bar.open_ts == player.base.ms and bar.on_grid
        return own and bar.sane and bar.open_ts > self._opened[index] and begin <= bar.open_ts and bar.close_ts <= ts

    def _bar_events(self, player: Player, index: int, bar: Bar, book: Book | None) -> Iterator[_Event]:
        model = self._model(player, book)
        step = (bar.close_ts - bar.open_ts) // 4
        first, second, last = bar.open_ts + step, bar.open_ts + 2 * step, bar.close_ts - 1
        yield _Event(bar.open_ts, _Act.OPEN, index, lambda: player.open(bar, bar.open_ts, model))
        yield _Event(first, _Act.FIRST, index, lambda: player.extreme(bar, first, 1))
        yield _Event(second, _Act.SECOND, index, lambda: player.extreme(bar, second, 2))
        yield _Event(last, _Act.CLOSE, index, lambda: player.close(bar, last, book))
        yield _Event(bar.close_ts, _Act.FINISH, index, lambda: player.finish(bar))

    def _model(self, player: Player, book: Book | None) -> tuple[float, float] | None:
        if book is not None:
            return book.spread_bps, book.depth_usd
        if self._source.info.has_books:
            return None
        return player.instrument.modelled_spread_bps, player.instrument.modelled_depth_usd

    def _side_events(self, batch: Batch) -> Iterator[_Event]:
        marks = {(mark.symbol, mark.ts): mark.price for mark in batch.marks}
        index_of = {player.instrument.symbol: index for index, player in self._players.items()}
        for funding in batch.funding:
            if funding.symbol in index_of and math.isfinite(funding.rate):
                index = index_of[funding.symbol]
                mark = marks.get((funding.symbol, funding.ts))
                yield _Event(funding.ts, _Act.FUNDING, index, partial(_settle, self._players[index], funding, mark))
        for prices, know in ((batch.marks, Player.know_mark), (batch.spot, Player.know_spot)):
            for known in prices:
                player = self._players.get(index_of.get(known.symbol, -1))
                if player is not None:
                    yield _Event(known.ts, _Act.SIDE, index_of[known.symbol], partial(_know, know, player, known))

    # --- history ----------------------------------------------------------------------------------

    def klines(
        self, symbol: str, tf: Timeframe, start: int | None = None, end: int | None = None, limit: int = KLINES_DEFAULT
    ) -> tuple[KlineTick, ...]:
        """See :class:`~core.sim.tape.base.MarketTape`; timeframes finer than the bars have none."""
        player = self._by_symbol.get(symbol)
        if player is None or tf not in player.ladder.told:
            return ()
        return self._past.klines(player, tf, start, end, limit, self._now)

    def mark_klines(
        self, symbol: str, tf: Timeframe, start: int | None = None, end: int | None = None, limit: int = KLINES_DEFAULT
    ) -> tuple[KlineTick, ...]:
        """See :class:`~core.sim.tape.base.MarketTape`; sources keep no history of marks, so that it is the price's."""
        return tuple(without_volume(candle) for candle in self.klines(symbol, tf, start, end, limit))

    def funding_rates(
        self, symbol: str, start: int | None = None, end: int | None = None, limit: int = FUNDING_DEFAULT
    ) -> tuple[FundingTick, ...]:
        """See :class:`~core.sim.tape.base.MarketTape`."""
        player = self._by_symbol.get(symbol)
        return () if player is None else self._past.funding(player, start, end, limit, self._now)

    def spot_klines(
        self, symbol: str, tf: Timeframe, start: int | None = None, end: int | None = None, limit: int = SPOT_KLINES_DEFAULT
    ) -> tuple[KlineTick, ...]:
        """See :class:`~core.sim.tape.base.MarketTape`; sources know hourly closes, so that there are candles of an hour only."""
        if symbol not in self.info.spot or tf is not Timeframe.H1:
            return ()
        return self._past.spot(self._by_symbol[symbol], start, end, limit, self._now)

    def premium(self, symbol: str) -> MarkTick | None:
        """See :class:`~core.sim.tape.base.MarketTape`."""
        player = self._by_symbol.get(symbol)
        return player.mark(self._now) if player is not None and player.priced else None

    # --- state ------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """See :class:`~core.sim.tape.base.MarketTape`."""
        return {symbol: player.snapshot() for symbol, player in self._by_symbol.items()}

    def restore(self, state: dict[str, Any]) -> None:
        """See :class:`~core.sim.tape.base.MarketTape`; symbols that are not played here are passed over."""
        for symbol, player in self._by_symbol.items():
            if symbol in state:
                player.restore(state[symbol])


def _settle(player: Player, funding: FundingRate, mark: float | None) -> tuple[Tick, ...]:
    tick = player.funding_tick(funding, mark)
    player.settle(funding)
    return (tick,)


def _know(know: Callable[[Player, int, float], None], player: Player, known: PriceAt) -> tuple[Tick, ...]:
    know(player, known.ts, known.price)
    return ()


def _on_grid(due: int, every_ms: int, begin: int) -> int:
    """When a beat is next due, not before ``begin``: nothing is told of a time in which the source is silent."""
    return due if due >= begin else -(-begin // every_ms) * every_ms
