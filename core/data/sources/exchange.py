"""A real venue as a source: one batch for each close, of candles that are over and of what was known beside them (B1, B7).

Candles come by the venue's stream as it finishes them, else by REST once their close is ``grace_ms`` ago. A close is told when
all its symbols are there, at the latest after ``barrier_ms``; who came later is in the next batch as a late bar, which the feed
takes for the record and nothing is decided upon. Nothing is ever made up here: gaps are the feed's to flag, and in paper to
bridge (B5).

While the first venue is silent for long, the next one's candles stand in, in blocks that name it: the feed flags each such bar,
so that its symbol can only be reduced (X33), and the series of the first venue is not mended afterwards where it was covered so.
The switch is for the venue as a whole: one symbol that falls silent alone, by stream and by REST, is a market that has stopped
there, and stale; another venue's candles would say that it goes on (``docs/data.md``).

Proven: Binance USD-M's protocol with the unmodified client against the local exchange, in simulation and over sockets. Not run
here: any real venue.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial

import numpy as np

from core.canonical import digest
from core.clock import Clock
from core.data.blocks import BarBlock, Bars, Batch, Book, FundingRate, PriceAt
from core.data.exchange.confirm import Confirm
from core.data.exchange.ntp import ntp_drift_ms
from core.data.exchange.past import Past, Wanted
from core.data.exchange.reserve import Reserve
from core.data.exchange.retry import patiently
from core.data.exchange.settings import ExchangeSettings
from core.data.exchange.side import Side
from core.data.exchange.venue import Venue
from core.data.sources.base import SourceInfo
from core.data.timeframes import bucket_open, say
from core.data.warmup import WARM_BARS, WARM_FUNDING, WARM_SPOT
from core.errors import SourceError
from core.types import Timeframe
from core.venues.client import Wiring

FIRST_VENUE = "binanceusdm"
SHORT = 2
"""Bars of history that are enough for a session that is gone on with."""


class ExchangeSource:
    """See above. :meth:`prepare` comes first, :meth:`close` last; both belong to whoever made it.

    Args:
        base_tf: the base timeframe by internal symbol, in the run's order.
        clock: the host's.
        venues: the first one and those behind it (:data:`core.venues.client.VENUES`).
        wirings: how a venue is reached, where not by the usual way (the local exchange).
        settings: patience.
        seed: of the jitter between two attempts.
        start: open of the first bar of a session that is gone on with; None: it begins now.
        wanted: bars of history of each timeframe.
        read_ntp: the host's own account of its drift (ms); None where it has none.
    """

    def __init__(
        self,
        base_tf: Mapping[str, Timeframe],
        clock: Clock,
        *,
        venues: Sequence[str] = (FIRST_VENUE,),
        wirings: Mapping[str, Wiring] | None = None,
        settings: ExchangeSettings | None = None,
        seed: int = 0,
        start: int | None = None,
        wanted: Wanted = WARM_BARS.__getitem__,
        read_ntp: Callable[[], float | None] = ntp_drift_ms,
    ) -> None:
        self._symbols, self._base = tuple(base_tf), tuple(base_tf.values())
        self._settings = settings or ExchangeSettings()
        self._clock, self._wirings, self._read_ntp = clock, dict(wirings or {}), read_ntp
        self._randoms = iter(np.random.SeedSequence(seed).spawn(len(venues) + 2))
        self._random = np.random.default_rng(next(self._randoms))
        self._venue = self._make(venues[0])
        self._reserve = Reserve(venues[1:], self._make)
        self._past = Past(self._symbols, self._base)
        self._side = Side(self._venue, self._past, self._settings)
        self._confirm = Confirm(self._venue, self._settings, np.random.default_rng(next(self._randoms)))
        self._start, self._wanted = start, wanted
        self._info: SourceInfo | None = None
        self._foreign = ""
        self._good = 0
        self._asking: asyncio.Task[None] | None = None

    def _make(self, name: str) -> Venue:
        random = np.random.default_rng(next(self._randoms))
        wiring = self._wirings.get(name, Wiring())
        return Venue(name, self._symbols, self._base, self._clock, wiring, self._settings, random, self._read_ntp)

    # --- start and end --------------------------------------------------------------------------------

    async def prepare(self, *, history: bool = True) -> SourceInfo:
        """Reach the venue and fetch the past, so that the rest of the source can answer at once.

        Args:
            history: whether features are to be warmed up from it; a session that is gone on with has them.

        Raises:
            SourceError: the venue cannot be reached, or does not list a symbol.
        """
        venue, patience_s = self._venue, self._settings.patience_s
        try:
            await patiently(venue.open, patience_s, self._random)
            until = bucket_open(int(venue.clock.now()), max(self._base, key=lambda tf: tf.ms))
            loads = [
                patiently(partial(self._load, who, until, history), patience_s, self._random) for who in range(len(self._symbols))
            ]
            missing = [why for why in await asyncio.gather(*loads) if why is not None]
        except SourceError:
            raise
        except Exception as error:
            raise SourceError(
                f"{venue.name} cannot be used: {type(error).__name__}: {_first_line(error)}",
                help="check the network and the venue's status page, then start again; brain doctor checks the rest",
                code="DATA-040",
            ) from error
        missing += await self._reserve.check(self._settings.switch_patience_s)
        self._side.begin(until)
        self._info = self._describe(self._start if self._start is not None else until, missing)
        return self._info

    async def _load(self, who: int, until: int, history: bool) -> str | None:
        wanted: Wanted = self._wanted if history else lambda _: SHORT
        rows = (WARM_FUNDING, WARM_SPOT) if history else (SHORT, SHORT)
        return await self._past.load(self._venue, who, until, wanted, *rows)

    def _describe(self, start: int, missing: Sequence[str]) -> SourceInfo:
        perps = [symbol for symbol in self._symbols if ":" in symbol]
        facts = [self._venue.name, list(self._symbols), [tf.value for tf in self._base]]
        return SourceInfo(
            name=f"exchange:{self._venue.name}",
            symbols=self._symbols,
            base_tf=dict(zip(self._symbols, self._base, strict=True)),
            start=start,
            end=None,
            batches=None,
            has_books=True,
            has_funding={symbol: symbol in perps and self._past.has_funding(symbol) for symbol in self._symbols},
            has_spot={symbol: symbol in perps and self._past.has_spot(symbol) for symbol in self._symbols},
            missing=tuple(missing),
            digest=digest(facts),
        )

    def present_book(self, symbol: str) -> Book | None:
        """The order book of ``symbol`` as it is now, of the time at which it was last heard of; None where there is none."""
        return None if self._foreign else self._venue.present_book(symbol)

    async def measure_clock(self) -> None:
        """Measure the venue's time now: for whoever was told that a timestamp is off (-1021).

        Raises:
            Exception: whatever the client raises when the venue does not answer.
        """
        await self._venue.clock.measure(self._venue.client)

    async def close(self) -> None:
        """End every connection and task."""
        self._confirm.stop()
        if self._asking is not None:
            self._asking.cancel()
        await self._venue.close()
        await self._reserve.close()

    # --- Source ---------------------------------------------------------------------------------------

    @property
    def info(self) -> SourceInfo:
        """What the venue has.

        Raises:
            SourceError: :meth:`prepare` was not called.
        """
        if self._info is None:
            raise SourceError(f"{self._venue.name} was not asked yet: prepare() comes first")
        return self._info

    def history(self, symbol: str, tf: Timeframe, before_ts: int, limit: int) -> Bars:
        """At most ``limit`` complete bars of ``tf`` that closed at or before ``before_ts``, oldest first; from memory."""
        return self._past.bars(symbol, tf, before_ts, limit)

    def funding_history(self, symbol: str, before_ts: int, limit: int) -> tuple[FundingRate, ...]:
        """At most ``limit`` settlements at or before ``before_ts``, oldest first; from memory."""
        return self._past.funding(symbol, before_ts, limit)

    def spot_history(self, symbol: str, before_ts: int, limit: int) -> tuple[PriceAt, ...]:
        """At most ``limit`` hourly spot closes known at or before ``before_ts``, oldest first; from memory."""
        return self._past.spot(symbol, before_ts, limit)

    async def batches(self, after_ts: int | None = None) -> AsyncIterator[Batch]:
        """A batch at each close, without end.

        With ``after_ts`` the first one is the first close after it, however long ago, with the bars as REST has them; what was
        missed since then comes with the next close as late bars, and is decided upon no more.
        """
        begin = self.info.start if after_ts is None else after_ts
        self._venue.listen([begin // tf.ms * tf.ms for tf in self._base], self._side.with_spot)
        ts = self._close_after(begin)
        yield await self._batch(ts, self._settings.patience_s if after_ts is not None else 0.0)
        while True:
            ts = self._close_after(ts)
            now = int(self._venue.clock.now())
            if now > ts + self._settings.stale_after_ms:
                ts = max(ts, self._close_after(now))
            yield await self._batch(ts)

    def _close_after(self, ts: int) -> int:
        return min(ts // tf.ms * tf.ms + tf.ms for tf in self._base)

    # --- one close ------------------------------------------------------------------------------------

    async def _batch(self, ts: int, patience_s: float = 0.0) -> Batch:
        venue, settings, candles = self._venue, self._settings, self._venue.candles
        due = candles.due(ts)
        await self._complete(ts, float(ts))
        begun = max(float(ts), venue.clock.now())
        self._ask_side(ts, due)
        await self._complete(ts, float(ts + settings.grace_ms))
        self._confirm.watch(ts)
        if candles.missing(ts):
            self._confirm.ask(ts)
            await self._complete(ts, begun + max(settings.barrier_ms, patience_s * 1000.0))
        await self._wait_for_side()
        bars, notes = await self._bars(ts, due)
        funding, spot = self._side.draw(ts)
        marks = () if self._foreign else self._side.marks(ts, due)
        books = () if self._foreign else self._side.books(ts, due)
        notes += (*self._reserve.notes, *venue.notes)
        self._reserve.notes.clear()
        venue.notes.clear()
        return Batch(ts, bars, funding, spot, marks, books, venue.clock.reading(ts), notes)

    async def _complete(self, ts: int, until: float) -> None:
        """Wait until all that closed at ``ts`` is there, or the venue's time is ``until``."""
        while self._venue.candles.missing(ts):
            left_s = (until - self._venue.clock.now()) / 1000.0
            if left_s <= 0.0:
                return
            self._venue.news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._venue.news.wait()

    def _ask_side(self, ts: int, due: Sequence[int]) -> None:
        if self._asking is not None:
            self._asking.cancel()
        self._asking = asyncio.create_task(self._side.ask(ts, due), name=f"side streams of {ts}")

    async def _wait_for_side(self) -> None:
        if self._asking is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.side_wait_ms / 1000.0):
                    await asyncio.shield(self._asking)

    # --- which venue ----------------------------------------------------------------------------------

    async def _bars(self, ts: int, due: Sequence[int]) -> tuple[tuple[BarBlock, ...], tuple[str, ...]]:
        """The bars of this close, and what is to be said of where they come from."""
        candles, settings = self._venue.candles, self._settings
        unfinished = candles.unfinished(ts)
        complete = not unfinished
        self._good = self._good + 1 if complete else 0
        lost = len(unfinished) == len(due) and self._venue.silent_s > settings.switch_after_s
        if (lost and not self._foreign) or (self._foreign and self._good < settings.back_after):
            wanted = [(who, candles.wanted(who)) for who in due]
            name, blocks = await self._reserve.blocks(ts, wanted, settings.switch_patience_s)
            if name:
                return self._foreign_bars(name, blocks, ts)
        notes: tuple[str, ...] = ()
        if self._foreign and complete:
            notes = (f"candles of {self._venue.name} again from {say(ts)} on, after those of {self._foreign}",)
            self._foreign = ""
        return self._own_bars(ts), notes

    def _own_bars(self, ts: int) -> tuple[BarBlock, ...]:
        blocks = self._venue.candles.draw(ts)
        for block in blocks:
            columns = (block.idx, block.open_ts, block.open, block.high, block.low, block.close, block.volume)
            for who, opened, *values in zip(*(column.tolist() for column in columns), strict=True):
                o, h, low, c, v = values
                self._past.add(self._symbols[who], opened, (o, h, low, c, v))
        return blocks

    def _foreign_bars(self, name: str, blocks: tuple[BarBlock, ...], ts: int) -> tuple[tuple[BarBlock, ...], tuple[str, ...]]:
        """Another venue's bars go out: those of the first one for the same time are not wanted any more."""
        candles = self._venue.candles
        for block in blocks:
            for who, opened in zip(block.idx.tolist(), block.open_ts.tolist(), strict=True):
                candles.skip(who, opened)
        notes: tuple[str, ...] = ()
        if self._foreign != name:
            why = f"{self._venue.name} has been silent for {self._venue.silent_s:.0f} s"
            notes = (f"candles of {name} from {say(ts)} on, since {why}: marked, positions are only reduced on them",)
        self._foreign = name
        return blocks, notes


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0][:300]
