"""The market as a run sees it: feed, features, side streams and health behind one door."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from configs.validators import Governance, StrategiesFile
from core.data.blocks import BarFlag, Batch, Book, Bytes, Closed, Floats, FundingRate, Ints, PriceAt
from core.data.feature_sets import FeatureParams
from core.data.features import FeatureStore
from core.data.feed import Feed
from core.data.health import HealthMonitor
from core.data.sources.base import Source, SourceInfo
from core.data.warmup import WarmReport, warm
from core.exec.instrument import Instrument
from core.types import Timeframe

_DIRTY = int(BarFlag.FILLED | BarFlag.PARTIAL | BarFlag.REPAIRED | BarFlag.FOREIGN)


class Market:
    """Everything known of the market at the last :meth:`ingest`.

    Attributes:
        symbols, index: the run's symbols and the position of each; (S,) arrays follow that order.
        instruments, base_tf: filters and base timeframe of each symbol.
        feed, features, health: the parts.
        last_close, last_ts, flags: (S,) close, close time and :class:`BarFlag` of the last base bar
            (NaN, -1, 0 before the first), updated in place.
        closed: the last announcement (``ts`` -1 before the first).
        windows, correlation_days: what decides how much past is wanted (:mod:`core.data.warmup`).
        on_missed: told of each made-up or late announcement after the features have it, before the present one.

    Args:
        instruments: what is traded.
        info: what the source has.
        params: windows of features.
        governance: limits of the health gates.
        gap_fill: bridge gaps in candles (paper only, B5).
        capacity: bars kept of each series.
        features: a feature store to use instead of a new one.
    """

    def __init__(
        self,
        instruments: Sequence[Instrument],
        info: SourceInfo,
        params: StrategiesFile,
        governance: Governance,
        *,
        gap_fill: bool = True,
        capacity: int = 2000,
        features: FeatureStore | None = None,
    ) -> None:
        self.instruments = tuple(instruments)
        self.symbols = tuple(instrument.symbol for instrument in instruments)
        self.index = {symbol: position for position, symbol in enumerate(self.symbols)}
        self.base_tf = tuple(info.base_tf[symbol] for symbol in self.symbols)
        self.feed = Feed(self.symbols, self.base_tf, gap_fill=gap_fill, capacity=capacity, source=info.name)
        self.features = FeatureStore(self.symbols, self.feed.timeframes, params) if features is None else features
        self.last_close: Floats = self.feed.last_close
        self.last_ts: Ints = self.feed.last_ts
        self.flags: Bytes = self.feed.flags
        self.health = HealthMonitor(
            self.symbols,
            [instrument.is_perp for instrument in instruments],
            self.base_tf,
            self.last_ts,
            ntp_skew_ms=governance.ntp_skew_ms,
            require_streams=governance.require_streams,
            has_books=info.has_books,
        )
        self.windows = FeatureParams.of(params)
        self.correlation_days = governance.correlation_window_days
        self.closed = Closed(-1, ())
        self.on_missed: Callable[[Closed], None] = lambda _: None
        self._has_books = info.has_books
        count = len(self.symbols)
        self._funding: list[FundingRate | None] = [None] * count
        self._spot: list[PriceAt | None] = [None] * count
        self._books: list[Book | None] = [None] * count
        self._marks: list[PriceAt | None] = [None] * count
        self._mark_step = [0] * count

    # --- in ---------------------------------------------------------------------------------------

    def warm(self, source: Source, before_ts: int, on_closed: Callable[[Closed], None] | None = None) -> WarmReport:
        """Feed the past, in time order, through rings and features (X28).

        Args:
            source: where the history comes from.
            before_ts: nothing that was known later than this is used.
            on_closed: called with each announcement after the features have it (regimes).
        """
        return warm(self, source, before_ts, on_closed)

    def ingest(self, batch: Batch) -> Closed:
        """Take a batch; returns what closed at its ``ts``.

        Side streams are delivered before the bars of the same moment, made-up and late bars before the present
        ones, each in time order.
        """
        closed = self.closed = self.feed.on_bars(batch.ts, batch.bars)
        if self.feed.catch_up:
            for missed in self.feed.catch_up:
                self._side_streams(batch, until=missed.ts)
                self.give(missed)
                self.on_missed(missed)
            self._side_streams(batch, since=self.feed.catch_up[-1].ts)
        elif batch.funding or batch.spot:
            self._side_streams(batch)
        self.give(closed)
        for mark in batch.marks:
            self._on_mark(mark)
        if batch.books:
            self._on_books(batch.books)
        if batch.clock is not None:
            self.health.on_clock(batch.clock)
        self._tell_health(closed)
        return closed

    def give(self, closed: Closed) -> None:
        """Hand an announcement to the features, finest timeframe first."""
        for block in closed.blocks:
            self.features.on_closed(block)

    def _side_streams(self, batch: Batch, since: int = -1, until: int | None = None) -> None:
        last = batch.ts if until is None else until
        for rate in batch.funding:
            if since < rate.ts <= last:
                self.on_funding(rate)
        for price in batch.spot:
            if since < price.ts <= last:
                self.on_spot(price)

    def on_funding(self, rate: FundingRate) -> None:
        """Take a settlement; one that is known already, or of a symbol outside the run, is ignored."""
        index = self.index.get(rate.symbol)
        if index is None:
            return
        known = self._funding[index]
        if known is None or rate.ts > known.ts:
            self._funding[index] = rate
            self.features.on_funding(index, rate.ts, rate.rate)
            self.health.on_funding(index, rate.ts, rate.interval_ms)

    def on_spot(self, price: PriceAt) -> None:
        """Take an hourly spot close; one that is known already, or of a symbol outside the run, is ignored."""
        index = self.index.get(price.symbol)
        if index is None:
            return
        known = self._spot[index]
        if known is None or price.ts > known.ts:
            self._spot[index] = price
            self.features.on_spot(index, price.ts, price.price)

    def _on_mark(self, mark: PriceAt) -> None:
        index = self.index.get(mark.symbol)
        if index is None:
            return
        known = self._marks[index]
        self._mark_step[index] = mark.ts - known.ts if known is not None else 0
        self._marks[index] = mark

    def _on_books(self, books: Sequence[Book]) -> None:
        known, held, stamps = self.index, self._books, self.health.book_ts
        for book in books:
            index = known.get(book.symbol)
            if index is not None:
                held[index] = book
                stamps[index] = book.ts
        self.health.on_books()

    def _tell_health(self, closed: Closed) -> None:
        if not self.feed.troubled and not self.health.rebuilding:
            self.health.on_bars(None)
            return
        arrived = np.flatnonzero(self.last_ts == closed.ts)
        clean = arrived[(self.flags[arrived] & _DIRTY) == 0].tolist()
        self.health.on_bars(clean)
        for index in self.feed.troubled:
            self.health.on_trouble(index)

    # --- out --------------------------------------------------------------------------------------

    def mark(self, index: int) -> float:
        """Price at which equity is marked (X11).

        The exchange's mark where marks come at least as often as base bars and are as new as the last of them,
        else the last close; NaN before the first bar.
        """
        mark = self._marks[index]
        if mark is not None and 0 < self._mark_step[index] <= self.base_tf[index].ms and mark.ts >= self.last_ts[index]:
            return mark.price
        return float(self.last_close[index])

    def book(self, index: int, ts: int) -> Book | None:
        """Top of the book at ``ts``; None where it is missing or older than two base bars.

        Where the source has no books, spread and depth of ``symbols.yaml`` around the last close, labelled
        ``modelled``.
        """
        oldest = ts - 2 * self.base_tf[index].ms
        if self._has_books:
            book = self._books[index]
            return book if book is not None and book.ts >= oldest else None
        known_ts, close = int(self.last_ts[index]), float(self.last_close[index])
        if known_ts < 0 or known_ts < oldest or not close > 0.0:
            return None
        instrument = self.instruments[index]
        half = close * instrument.modelled_spread_bps / 2e4
        return Book(self.symbols[index], known_ts, close - half, close + half, instrument.modelled_depth_usd, True)

    def funding(self, index: int) -> FundingRate | None:
        """The last settlement; None where there was none."""
        return self._funding[index]

    def timeframes(self, index: int) -> tuple[Timeframe, ...]:
        """Timeframes that a symbol has, finest first."""
        return tuple(tf for tf in self.feed.timeframes if tf.ms >= self.base_tf[index].ms)

    # --- state ------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """State of feed, health and side streams; the feature store has its own."""
        return {
            "feed": self.feed.snapshot(),
            "health": self.health.snapshot(),
            "funding": [None if rate is None else list(rate) for rate in self._funding],
            "spot": [None if price is None else list(price) for price in self._spot],
            "books": [None if book is None else list(book) for book in self._books],
            "marks": [None if mark is None else list(mark) for mark in self._marks],
            "mark_step": list(self._mark_step),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`snapshot` gave."""
        self.feed.restore(state["feed"])
        self.health.restore(state["health"])
        self._funding = [None if row is None else FundingRate(*row) for row in state["funding"]]
        self._spot = [None if row is None else PriceAt(*row) for row in state["spot"]]
        self._books = [None if row is None else Book(*row) for row in state["books"]]
        self._marks = [None if row is None else PriceAt(*row) for row in state["marks"]]
        self._mark_step = [int(step) for step in state["mark_step"]]
