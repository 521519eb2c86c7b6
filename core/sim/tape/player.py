"""One symbol of a market of bars, played as ticks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from core.data.blocks import Bars, Book, FundingRate, PriceAt
from core.exec.instrument import Instrument, venue_id
from core.sim.local.values import ZERO, BookTick, FundingTick, KlineTick, MarkTick, OrderSide, Tick, TradeTick
from core.sim.matching import Bar
from core.sim.tape.candles import PRINTS, BarLadder, Candle, number, trade_number
from core.sim.tape.levels import best_prices, draw_levels
from core.types import Timeframe

FUNDING_INTERVAL_MS = 8 * Timeframe.H1.ms
"""Between settlements, where no settlement has told yet."""
SPOT_KEPT = 48
"""Spot closes that are held: what clients ask for at a full hour. Older ones are asked of the source."""

_PRICE_DIGITS = 8


@dataclass(slots=True)
class _Seen:
    """What is known of a symbol at the last tick; offsets are to the last price (``index`` as its multiple)."""

    price: float = math.nan
    mark_offset: float = 0.0
    index_ratio: float | None = None
    funding_rate: float = 0.0
    funded: int | None = None
    interval_ms: int = FUNDING_INTERVAL_MS


def _no_bar() -> Candle:
    return Candle(-1, math.nan, math.nan, math.nan, math.nan, 0.0, -1, -1)


@dataclass(slots=True)
class Player:
    """Plays bars of one symbol: open, adverse extreme, other extreme, close.

    Args:
        instrument: filters, and the book that is modelled where the source has none.
        base: timeframe of the bars.
        told: timeframes of the candles.
        sign: the sign of the position that is held at the moment it is asked (0: none).
        levels: of the modelled book, each side.
    """

    instrument: Instrument
    base: Timeframe
    told: Sequence[Timeframe]
    sign: Callable[[str], int]
    levels: int
    symbol: str = field(init=False)
    ladder: BarLadder = field(init=False)
    seen: _Seen = field(init=False, default_factory=_Seen)
    book: tuple[float, float] | None = field(init=False, default=None)
    spot: dict[int, float] = field(init=False, default_factory=dict)
    _turn: tuple[int, bool] = field(init=False, default=(-1, True))
    _kept: tuple[int, bool, float] = field(init=False, default=(-1, True, 0.0))
    _bar: Candle = field(init=False, default_factory=_no_bar)

    def __post_init__(self) -> None:
        self.symbol = venue_id(self.instrument.symbol)
        self.ladder = BarLadder(self.symbol, self.base, self.told)

    # --- before the first bar ---------------------------------------------------------------------

    @property
    def priced(self) -> bool:
        """Whether a price is known."""
        return not math.isnan(self.seen.price)

    def seed(self, past: Bars, funding: Sequence[FundingRate], spot: Sequence[PriceAt], index_ratio: float | None) -> None:
        """Begin anew after base bars of the day so far, the last settlement, the last spot closes, spot price through price."""
        self.spot = {known.ts: known.price for known in spot}
        self.ladder = BarLadder(self.symbol, self.base, self.told)
        self.seen = _Seen(mark_offset=self._kept[2])
        rows = zip(past.ts.tolist(), *(column.tolist() for column in past[1:]), strict=True)
        for open_ts, *prices in rows:
            self.ladder.close(self._candle(Bar(open_ts, open_ts + self.base.ms, *prices)))
            self.seen.price = prices[3]
        for settled in funding:
            self.settle(settled)
        self.seen.index_ratio = index_ratio

    # --- a bar ------------------------------------------------------------------------------------

    def open(self, bar: Bar, ts: int, model: tuple[float, float] | None) -> Iterator[Tick]:
        """The first trade of ``bar``; books in it are drawn from ``model`` (spread in bps, depth in USD; None: no books)."""
        self.book = model
        first = trade_number(bar.open_ts, self.base.ms)
        self._bar = Candle(bar.open_ts, bar.open, bar.open, bar.open, bar.open, 0.0, first, first)
        self.ladder.show(self._bar)
        yield from self._print(bar, ts, bar.open, 0)

    def extreme(self, bar: Bar, ts: int, nth: int) -> Iterator[Tick]:
        """The ``nth`` (1 or 2) extreme of ``bar``: first the one against whoever holds, low where nobody does.

        Where the order was chosen before a restart, it stays.
        """
        if nth == 1:
            kept = self._kept[0] == bar.open_ts
            self._turn = (bar.open_ts, self._kept[1] if kept else self.sign(self.symbol) >= 0)
        yield from self._print(bar, ts, bar.low if self._turn[1] == (nth == 1) else bar.high, nth)

    def close(self, bar: Bar, ts: int, book: Book | None) -> Iterator[Tick]:
        """The last trade of ``bar``, and its true book where the source has one."""
        yield from self._print(bar, ts, bar.close, PRINTS - 1, book)

    def finish(self, bar: Bar) -> list[KlineTick]:
        """``bar`` is over: the candles that close with it."""
        return self.ladder.close(self._candle(bar))

    def _candle(self, bar: Bar) -> Candle:
        first = trade_number(bar.open_ts, self.base.ms)
        return Candle(bar.open_ts, bar.open, bar.high, bar.low, bar.close, bar.volume, first, first + PRINTS - 1)

    def _print(self, bar: Bar, ts: int, price: float, nth: int, book: Book | None = None) -> Iterator[Tick]:
        if not bar.moved and nth > 0:
            return
        yield self._trade(bar, ts, price, nth)
        if self.book is not None:
            yield self._book_tick(self.book, bar, ts, price, nth, book)
        yield self.mark(ts)
        yield from self._show(bar, ts, price, nth)

    def _trade(self, bar: Bar, ts: int, price: float, nth: int) -> TradeTick:
        before = self.seen.price
        taker = OrderSide.SELL if price < before else OrderSide.BUY
        self.seen.price = price
        qty = self._qty(bar, nth)
        return TradeTick(self.symbol, ts, trade_number(bar.open_ts, self.base.ms, nth), number(price), qty, taker, gap=nth == 0)

    def _qty(self, bar: Bar, nth: int) -> Decimal:
        """A quarter of the volume, the rest with the last trade; 0 only where nothing can trade."""
        if not bar.traded:
            return ZERO
        part = self.instrument.qty_down(bar.volume / PRINTS)
        qty = part if nth < PRINTS - 1 else number(bar.volume) - part * (PRINTS - 1)
        return max(qty, self.instrument.qty_step)

    def _show(self, bar: Bar, ts: int, price: float, nth: int) -> list[KlineTick]:
        candle = self._bar
        candle.high, candle.low, candle.close = max(candle.high, price), min(candle.low, price), price
        candle.volume, candle.last_trade = bar.volume * (nth + 1) / PRINTS, candle.first_trade + nth
        return self.ladder.forming(ts)

    def _book_tick(self, model: tuple[float, float], bar: Bar, ts: int, price: float, nth: int, true: Book | None) -> BookTick:
        spread, depth = model
        bid, ask = best_prices(self.instrument, price, spread) if true is None else (number(true.bid), number(true.ask))
        bids, asks = draw_levels(self.instrument, bid, ask, depth, self.levels)
        return BookTick(self.symbol, ts, trade_number(bar.open_ts, self.base.ms, nth), bids, asks, True, spread, depth)

    # --- side streams -----------------------------------------------------------------------------

    def mark(self, ts: int) -> MarkTick:
        """Mark, index and the funding expected next: that of the last settlement."""
        seen, price = self.seen, self.seen.price
        mark = round(price + seen.mark_offset, _PRICE_DIGITS)
        index = mark if seen.index_ratio is None else round(price * seen.index_ratio, _PRICE_DIGITS)
        return MarkTick(self.symbol, ts, number(mark), number(index), number(seen.funding_rate), self.next_funding(ts))

    def next_funding(self, ts: int) -> int:
        """When funding is settled next, seen from ``ts``."""
        interval = self.seen.interval_ms
        begin = self.seen.funded or 0
        return begin + ((ts - begin) // interval + 1) * interval

    def know_mark(self, ts: int, price: float) -> None:
        """The source's mark at ``ts``, where a bar closes then; between two of them its distance to the price is kept."""
        if self.priced and ts % self.base.ms == 0:
            self.seen.mark_offset = price - self.seen.price

    def know_spot(self, ts: int, price: float) -> None:
        """The spot price at ``ts``: the index, where a bar closes then; between two of them its ratio to the price is kept."""
        self.spot[ts] = price
        if len(self.spot) > SPOT_KEPT:
            del self.spot[min(self.spot)]
        if self.priced and ts % self.base.ms == 0:
            self.seen.index_ratio = price / self.seen.price

    def settle(self, funding: FundingRate) -> None:
        """Funding was settled."""
        self.seen.funding_rate, self.seen.funded = funding.rate, funding.ts
        self.seen.interval_ms = funding.interval_ms or self.seen.interval_ms

    def funding_tick(self, funding: FundingRate, mark: float | None) -> FundingTick:
        """The settlement as the exchange books it, at the source's mark of that moment or the present one."""
        present = self.mark(funding.ts).mark if mark is None and self.priced else ZERO
        return FundingTick(self.symbol, funding.ts, number(funding.rate), present if mark is None else number(mark))

    # --- state ------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """What bars do not tell: which extreme came first in the present bar, and how far the mark was off."""
        return {"opened": self._turn[0], "low_first": self._turn[1], "mark_offset": self.seen.mark_offset}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a :meth:`snapshot`."""
        self._kept = (int(state["opened"]), bool(state["low_first"]), float(state["mark_offset"]))
