"""All of one venue, running: its client, its time, its sockets, and what they have told so far.

Binance's streams are proven against the local exchange, with the unmodified client. Bybit and OKX are asked by REST alone,
through ccxt's unified calls: what of that was run is written in their modules (:mod:`core.venues`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from core.clock import Clock
from core.data.blocks import Book, PriceAt
from core.data.exchange.candles import Candles
from core.data.exchange.clock import VenueClock
from core.data.exchange.depth import Books, book_of
from core.data.exchange.line import Line
from core.data.exchange.rest import VenueRest
from core.data.exchange.settings import ExchangeSettings
from core.data.exchange.spot_told import SpotTold
from core.errors import SourceError
from core.types import Timeframe
from core.venues.budget import Budget
from core.venues.client import Wiring, make_client
from core.venues.market_words import CandleSeen, Carries, DepthSeen, MarketWord, MarkSeen, StreamLine

_NOTES_MOST = 100
_FAR = 1 << 62
_NEVER_S = 1e9
_UNDER_WAY_S = 0.05
"""What the stream tells at the close itself may still be on its way."""


@dataclass(slots=True)
class _Marks:
    """The last mark price at each of the last two closes' sides: ``before`` is the last one not later than ``close``."""

    last: tuple[int, float] = (-1, 0.0)
    older: tuple[int, float] = (-1, 0.0)
    next_funding: int = 0


class Venue:
    """See above.

    Attributes:
        candles: final candles; none before :meth:`listen`.
        streamed: open of the last final candle of each symbol that a stream brought.
        alive_at: when (s, loop) it last told anything of the market.
        notes: what befell it since they were last taken.
        spot: hourly closes of its spot markets that a stream has told.

    Args:
        name: one of :data:`core.venues.client.VENUES`.
        symbols: internal symbols.
        base: timeframe of each.
        clock: the host's.
        wiring: how it is reached; what is heard, and the budget, are put in here.
        settings: patience.
        random: for jitter.
        read_ntp: the host's own account of its drift.
    """

    def __init__(
        self,
        name: str,
        symbols: Sequence[str],
        base: Sequence[Timeframe],
        clock: Clock,
        wiring: Wiring,
        settings: ExchangeSettings,
        random: np.random.Generator,
        read_ntp: Callable[[], float | None],
    ) -> None:
        self.name, self.symbols, self.base = name, tuple(symbols), tuple(base)
        self._settings, self._random = settings, random
        budget = Budget(limit=settings.weight_per_minute, reserve=0.0, address_most=settings.address_most)
        self.client: Any = make_client(name, None, replace(wiring, on_raw=self._on_raw, on_link=None, budget=budget))
        self.clock = VenueClock(clock, step_ms=settings.step_ms, every_s=settings.clock_every_s, read_ntp=read_ntp)
        self.rest = VenueRest(self.client, self.clock.now, settings.last_row_ms)
        self.candles = self._collect([_FAR] * len(self.symbols))
        self.streamed = [-1] * len(self.symbols)
        self.news = asyncio.Event()
        self.alive_at = 0.0
        self.notes: list[str] = []
        self.spot = SpotTold()
        self._names: dict[str, int] = {}
        self._spot_names: dict[str, int] = {}
        self._marks = [_Marks() for _ in symbols]
        self._unmarked: set[str] = set()
        self._books = Books({}, self._snapshot, self.clock.now)
        self._seen: dict[str, tuple[float, float]] = {}
        self._lines: list[Line] = []
        self._tasks: list[asyncio.Task[None]] = []

    # --- life ---------------------------------------------------------------------------------------

    async def open(self, *, partly: bool = False) -> None:
        """Load the markets and measure the time; again is harmless.

        Args:
            partly: some of the symbols are enough.

        Raises:
            SourceError: a symbol is not listed there; with ``partly``, none is.
            Exception: whatever the client raises when the venue does not answer.
        """
        await self.client.load_markets()
        missing = [symbol for symbol in self.symbols if symbol not in self.client.markets]
        if missing and not (partly and len(missing) < len(self.symbols)):
            raise SourceError(
                f"{self.name} does not list {', '.join(missing)}", help="choose others with --symbols", code="DATA-041"
            )
        listed = [(who, symbol) for who, symbol in enumerate(self.symbols) if self.lists(who)]
        self._names = {str(self.client.market(symbol)["id"]): who for who, symbol in listed}
        if not await self.clock.measure(self.client):
            raise OSError("the host's clock is being set again and again")
        self.alive_at = asyncio.get_running_loop().time()

    def lists(self, who: int) -> bool:
        """Whether it has the market of a symbol; not known before :meth:`open`."""
        return self.symbols[who] in (self.client.markets or {})

    def listen(self, begin: Sequence[int], spot: Sequence[int] = ()) -> None:
        """Begin to collect: candles that open at or after ``begin``, of each symbol, and spot closes of those at ``spot``."""
        self.candles = self._collect(begin)
        self.streamed = [opened - tf.ms for opened, tf in zip(begin, self.base, strict=True)]
        self._books = Books({name: self.symbols[who] for name, who in self._names.items()}, self._snapshot, self.clock.now)
        timeframes = dict(zip(self.symbols, (tf.value for tf in self.base), strict=True))
        for dial in self.client.quirks.stream_lines(self.client, timeframes):
            self._hold(dial)
        if spot:
            quirks, names = self.client.quirks, [self.symbols[who] for who in spot]
            self._spot_names = {quirks.spot_id(name): who for name, who in zip(names, spot, strict=True)}
            self._hold(quirks.spot_line(self.client, names, Timeframe.H1.value))
        self._tasks.append(asyncio.create_task(self.clock.keep(self.client), name=f"{self.name} clock"))

    def _hold(self, dial: StreamLine) -> None:
        line = Line(
            self.client,
            dial,
            silent_s=_NEVER_S if dial.carries is Carries.BOOKS else self._settings.market_silent_s,
            backoff_s=self._settings.backoff_s,
            random=np.random.default_rng(self._random.integers(2**63)),
            on_down=self._on_down(dial.carries),
        )
        self._lines.append(line)
        self._tasks.append(asyncio.create_task(line.run(), name=f"{self.name} {dial.url}"))

    def _collect(self, begin: Sequence[int]) -> Candles:
        settings = self._settings
        return Candles(self.base, begin, hold_closes=settings.hold_closes, most=settings.waiting_most)

    async def close(self) -> None:
        """End everything."""
        self._books.forget()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        with suppress(Exception):
            await self.client.close()

    # --- what is heard --------------------------------------------------------------------------------

    def _on_raw(self, message: Any, url: str) -> bool:
        """Take a message of ours; ccxt need not look at it then. One that cannot be read must not end ccxt's loop."""
        try:
            word = self.client.quirks.market_word(message)
            if word is None:
                return False
            spot = next((line for line in self._lines if line.dial.carries is Carries.SPOT), None)
            if spot is not None and spot.dial.url == url:
                self._take_spot(spot, word)
            else:
                self._take(word)
        except Exception as error:  # noqa: BLE001 - ccxt would go on in silence, with nothing read any more
            self.note(f"{self.name} sent what cannot be read: {type(error).__name__}")
        return True

    def _take_spot(self, line: Line, word: MarketWord) -> None:
        """It says nothing of whether the venue's perpetuals are told of."""
        line.heard()
        who = self._spot_names.get(word.name)
        if who is not None and isinstance(word, CandleSeen) and word.final and word.tf == Timeframe.H1.value:
            self.spot.take(who, word.open_ts + Timeframe.H1.ms, word.values[3])

    def _take(self, word: MarketWord) -> None:
        self.alive_at = asyncio.get_running_loop().time()
        carries = Carries.BOOKS if isinstance(word, DepthSeen) else Carries.CANDLES
        for line in self._lines:
            if line.dial.carries is carries:
                line.heard()
        who = self._names.get(word.name)
        if isinstance(word, DepthSeen):
            self._books.take(word)
        elif who is None:
            return
        elif isinstance(word, MarkSeen):
            self._on_mark(who, word)
        elif word.final and word.tf == self.base[who].value:
            self.streamed[who] = max(self.streamed[who], word.open_ts)
            if self.candles.take(who, word.open_ts, word.values):
                self.news.set()

    def _on_mark(self, who: int, word: MarkSeen) -> None:
        marks = self._marks[who]
        if word.ts // self.base[who].ms != marks.last[0] // self.base[who].ms:
            marks.older = marks.last
        if word.ts >= marks.last[0]:
            marks.last = (word.ts, word.price)
            marks.next_funding = word.next_funding or marks.next_funding

    def _on_down(self, what: Carries) -> Callable[[str], None]:
        def down(why: str) -> None:
            if what is Carries.BOOKS:
                self._books.forget()
                self._seen.clear()
            self.note(f"{self.name}: the stream of {what.value} broke ({why}); dialled again, what is missed is asked for")

        return down

    def note(self, text: str) -> None:
        """Words for the next batch."""
        if len(self.notes) < _NOTES_MOST:
            self.notes.append(text)

    def alive(self) -> None:
        """It has answered."""
        self.alive_at = asyncio.get_running_loop().time()

    @property
    def silent_s(self) -> float:
        """Seconds for which nothing was heard of the market."""
        return asyncio.get_running_loop().time() - self.alive_at

    @property
    def streaming(self) -> bool:
        """Whether its candles come by a stream now."""
        return self._stands(Carries.CANDLES)

    @property
    def streaming_spot(self) -> bool:
        """The same of its spot candles."""
        return self._stands(Carries.SPOT)

    def _stands(self, what: Carries) -> bool:
        return any(line.up and line.dial.carries is what for line in self._lines)

    def redial(self, why: str, what: Carries = Carries.CANDLES) -> None:
        """Dial the stream of ``what`` again: it tells less than it should."""
        for line in self._lines:
            if line.dial.carries is what:
                line.drop(why)

    # --- what is known --------------------------------------------------------------------------------

    def next_funding(self, who: int) -> int:
        """When funding is settled next, as last told; 0 where it was not."""
        return self._marks[who].next_funding

    def marks(self, ts: int, indices: Sequence[int], asked: Mapping[int, float]) -> tuple[PriceAt, ...]:
        """Mark prices at ``ts``: the stream's last ones not later than that, where they are fresh, else what was asked for."""
        found = {who: self._mark_told(who, ts) for who in indices}
        known = {who: asked.get(who) if price is None else price for who, price in found.items()}
        return tuple(PriceAt(self.symbols[who], ts, price) for who, price in known.items() if price is not None)

    def _mark_told(self, who: int, ts: int) -> float | None:
        marks = self._marks[who]
        stamp, price = marks.last if marks.last[0] <= ts else marks.older
        return price if 0 <= ts - stamp <= self._settings.mark_fresh_ms else None

    async def fresh_marks(self, ts: int, indices: Sequence[int]) -> dict[int, float]:
        """By REST, the marks at ``ts`` of those perpetuals whose stream has none that is fresh."""
        silent = self._unmarked_at(ts, indices)
        if silent:
            await asyncio.sleep(_UNDER_WAY_S)
            silent = self._unmarked_at(ts, silent)
        self._tell_unmarked({self.symbols[who] for who in silent}, {self.symbols[who] for who in indices})
        asked = zip(silent, await asyncio.gather(*(self._mark_now(who, ts) for who in silent)), strict=True)
        return {who: price for who, price in asked if price is not None}

    def _unmarked_at(self, ts: int, indices: Sequence[int]) -> list[int]:
        return [who for who in indices if ":" in self.symbols[who] and self._mark_told(who, ts) is None]

    async def _mark_now(self, who: int, ts: int) -> float | None:
        try:
            told = await self.rest.mark(self.symbols[who])
        except asyncio.CancelledError:
            raise
        except Exception:  # noqa: BLE001 - without a mark the last price stands in, as where the stream is late
            return None
        self.alive()
        if told is None or abs(told.ts - ts) > self._settings.mark_fresh_ms:
            return None
        self._marks[who].next_funding = told.next_funding or self._marks[who].next_funding
        return told.price

    def _tell_unmarked(self, silent: set[str], looked_at: set[str]) -> None:
        """Say it once for each time that a stream of marks falls silent."""
        news = sorted(silent - self._unmarked)
        self._unmarked = (self._unmarked - looked_at) | silent
        if news:
            self.note(f"{self.name}: no mark price of {', '.join(news)} by the stream; asked for by REST")

    async def _snapshot(self, symbol: str) -> dict[str, Any]:
        return await self.rest.book(symbol, self._settings.depth_levels)

    async def fresh_books(self, indices: Sequence[int]) -> dict[int, Book | None]:
        """By REST, the books of those symbols whose stream is not fresh; their time is not told yet (0)."""
        old = [who for who in indices if not self._books.fresh(self.symbols[who], self._settings.book_fresh_ms)]
        return dict(zip(old, await asyncio.gather(*(self._book_now(who) for who in old)), strict=True))

    async def _book_now(self, who: int) -> Book | None:
        try:
            told = await self.rest.book(self.symbols[who], 100)
        except asyncio.CancelledError:
            raise
        except Exception:  # noqa: BLE001 - without a book nothing is entered: the health gate says so
            return None
        self.alive()
        symbol = self.symbols[who]
        book = book_of(symbol, 0, told["bids"], told["asks"])
        if book is not None and not self._books.told(symbol, self._settings.book_silent_s * 1000.0):
            self._compare(symbol, book)
        return book

    def _compare(self, symbol: str, book: Book) -> None:
        """Books may stand still; one that has moved while its stream told nothing proves the stream dead."""
        held, now = self._books.book(symbol, 0), (book.bid, book.ask)
        before = self._seen.get(symbol) if held is None else (held.bid, held.ask)
        self._seen[symbol] = now
        if before not in (None, now):
            self._seen.clear()
            self.redial(f"{symbol} moved in silence", Carries.BOOKS)

    def present_book(self, symbol: str) -> Book | None:
        """The stream's book, of the time (ms) at which it was last told of; None without one."""
        return self._books.present(symbol)

    def books(self, ts: int, indices: Sequence[int], asked: dict[int, Book | None]) -> tuple[Book, ...]:
        """The books at this moment: from the stream where it is fresh, else what was asked for."""
        found: list[Book | None] = []
        for who in indices:
            if who in asked:
                told = asked[who]
                found.append(None if told is None else told._replace(ts=ts))
            elif self._books.fresh(self.symbols[who], 2.0 * self._settings.book_fresh_ms):
                found.append(self._books.book(self.symbols[who], ts))
        return tuple(book for book in found if book is not None)
