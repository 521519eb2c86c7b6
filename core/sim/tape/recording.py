"""A recording of the venue's own messages as a tape: true trades, a true book, candles built from the trades.

The file (``.jsonl`` or ``.jsonl.gz``) has one object a line, ``msg`` being a message of USD-M as it came: of the streams depth,
bookTicker or trade of one symbol (under ``data``), or the REST snapshot of its book (``lastUpdateId``). Order is that of the
file; times are the venue's and never run back. Nothing settles: recordings of minutes have no funding.
"""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from core.data.timeframes import LADDER
from core.errors import SourceError
from core.sim.local.values import ZERO, BookTick, FundingTick, KlineTick, MarkTick, OrderSide, Tick, TradeTick
from core.sim.tape.base import FUNDING_DEFAULT, KLINES_DEFAULT, SPOT_KLINES_DEFAULT, TapeInfo
from core.sim.tape.candles import TradeLadder
from core.sim.tape.depth import Change, DepthBook, Top
from core.sim.tape.levels import Levels
from core.sim.tape.memory import TapeMemory
from core.sim.tape.player import FUNDING_INTERVAL_MS
from core.types import Timeframe

MARKET_TRADE = "MARKET"
"""Kind of a trade (``X``) between two participants; others come from the insurance fund or deleveraging."""


class RecordingTape:
    """A tape (:class:`core.sim.tape.base.MarketTape`) of one symbol from a recording.

    Args:
        path: the file.
        timeframes: of the candles that are built.
        book_levels: how many levels a side each book tells.
        mark_every_ms: cadence of marks, which are the last price (0: none).

    ``breaks`` counts how often the book's chain broke; until it is known again no book is told.

    Raises:
        SourceError: the file cannot be read, or a line in it is no such message; also while playing.
    """

    def __init__(
        self, path: Path, timeframes: Sequence[Timeframe] = LADDER, *, book_levels: int = 20, mark_every_ms: int = 1_000
    ) -> None:
        self._path, self._levels, self._mark_every_ms = path, book_levels, mark_every_ms
        symbol, start = self._first()
        self._symbol = symbol
        self._timeframes = tuple(timeframes)
        self.info = TapeInfo(f"recording:{path.name}", (symbol,), {symbol: self._timeframes}, start, None, drawn_path=False)
        self._begin()

    def _begin(self) -> None:
        self._memory = TapeMemory()
        self._candles = TradeLadder(self._symbol, self._timeframes)
        self._book = DepthBook()
        self._now = 0
        self._next_mark = 0

    @property
    def breaks(self) -> int:
        """How often the chain of the book's differences broke."""
        return self._book.breaks

    # --- playing ----------------------------------------------------------------------------------

    async def ticks(self, after_ts: int | None = None) -> AsyncIterator[Tick]:
        """Ticks in time order; what lies at or before ``after_ts`` is read in silence."""
        self._begin()
        for number, message in self._messages():
            try:
                made = list(self._play(message))
            except (KeyError, ValueError, ArithmeticError, TypeError) as error:
                raise self._broken(number, error) from error
            for tick in made:
                self._memory.take(tick)
                if after_ts is None or tick.ts > after_ts:
                    yield tick

    def _play(self, message: dict[str, Any]) -> Iterator[Tick]:
        if "lastUpdateId" in message:
            self._book.snapshot(message["lastUpdateId"], _levels(message["bids"]), _levels(message["asks"]))
            return
        data = message["data"]
        if data["s"] != self._symbol:
            raise ValueError(f"symbol was {data['s']}, expected {self._symbol}")
        yield from self._pass_time(int(data["T"]))
        match data["e"]:
            case "trade" if data.get("X", MARKET_TRADE) == MARKET_TRADE:
                yield from self._trade(data)
            case "depthUpdate":
                self._book.change(Change(data["U"], data["u"], data["pu"], _levels(data["b"]), _levels(data["a"])))
                yield from self._book_tick()
            case "bookTicker":
                bid, ask = (Decimal(data["b"]), Decimal(data["B"])), (Decimal(data["a"]), Decimal(data["A"]))
                self._book.top(Top(data["u"], bid, ask))
                yield from self._book_tick()
            case _:
                pass

    def _pass_time(self, ts: int) -> Iterator[Tick]:
        """Candles that closed and marks that were due up to ``ts``."""
        ts = max(ts, self._now)
        due: list[KlineTick | MarkTick] = [*self._candles.pass_time(ts), *self._marks(ts)]
        yield from sorted(due, key=lambda tick: tick.ts)
        self._now = ts

    def _marks(self, ts: int) -> Iterator[MarkTick]:
        every, last = self._mark_every_ms, self._memory.last_trade(self._symbol)
        if every and last is not None:
            for due in range(-(-max(self._next_mark, last.ts) // every) * every, ts + 1, every):
                funding = (due // FUNDING_INTERVAL_MS + 1) * FUNDING_INTERVAL_MS
                yield MarkTick(self._symbol, due, last.price, last.price, ZERO, funding)
        self._next_mark = ts + 1

    def _trade(self, data: dict[str, Any]) -> Iterator[Tick]:
        taker = OrderSide.SELL if data["m"] else OrderSide.BUY
        trade = TradeTick(self._symbol, self._now, int(data["t"]), Decimal(data["p"]), Decimal(data["q"]), taker)
        yield trade
        yield from self._candles.take(trade)

    def _book_tick(self) -> Iterator[Tick]:
        known = self._book.levels(self._levels)
        if known is not None:
            yield BookTick(self._symbol, self._now, *known)

    # --- reading ----------------------------------------------------------------------------------

    def _first(self) -> tuple[str, int]:
        for number, message in self._messages():
            data = message.get("data")
            if isinstance(data, dict):
                try:
                    return str(data["s"]), int(data["T"])
                except (KeyError, ValueError) as error:
                    raise self._broken(number, error) from error
        raise SourceError(f"recording {self._path} has no message", help="give another file", code="DATA-030")

    def _messages(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Messages with the numbers of their lines."""
        opener = gzip.open if self._path.suffix == ".gz" else open
        decoder = msgspec.json.Decoder(dict[str, Any])
        try:
            with opener(self._path, "rb") as lines:
                for number, line in enumerate(lines, start=1):
                    try:
                        yield number, dict(decoder.decode(line)["msg"])
                    except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
                        raise self._broken(number, error) from error
        except (OSError, EOFError) as error:
            raise SourceError(
                f"recording {self._path} cannot be read: {error}", help="give another file", code="DATA-030"
            ) from error

    def _broken(self, number: int, error: Exception) -> SourceError:
        what = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        return SourceError(
            f"recording {self._path}, line {number}: no message of a USD-M stream ({what})",
            help="remove the line",
            code="DATA-030",
        )

    # --- history ----------------------------------------------------------------------------------

    def klines(
        self, symbol: str, tf: Timeframe, start: int | None = None, end: int | None = None, limit: int = KLINES_DEFAULT
    ) -> tuple[KlineTick, ...]:
        """See :class:`~core.sim.tape.base.MarketTape`; since the recording began."""
        return self._memory.klines(symbol, tf, start, end, limit)

    def mark_klines(
        self, symbol: str, tf: Timeframe, start: int | None = None, end: int | None = None, limit: int = KLINES_DEFAULT
    ) -> tuple[KlineTick, ...]:
        """See :class:`~core.sim.tape.base.MarketTape`."""
        return self._memory.mark_klines(symbol, tf, start, end, limit)

    def funding_rates(
        self, symbol: str, start: int | None = None, end: int | None = None, limit: int = FUNDING_DEFAULT
    ) -> tuple[FundingTick, ...]:
        """See :class:`~core.sim.tape.base.MarketTape`; none."""
        return self._memory.funding_rates(symbol, start, end, limit)

    def spot_klines(
        self, symbol: str, tf: Timeframe, start: int | None = None, end: int | None = None, limit: int = SPOT_KLINES_DEFAULT
    ) -> tuple[KlineTick, ...]:
        """See :class:`~core.sim.tape.base.MarketTape`; none."""
        del symbol, tf, start, end, limit
        return ()

    def premium(self, symbol: str) -> MarkTick | None:
        """See :class:`~core.sim.tape.base.MarketTape`."""
        return self._memory.premium(symbol)

    # --- state ------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Nothing: the file tells all."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing."""


def _levels(rows: Sequence[Sequence[str]]) -> Levels:
    return tuple((Decimal(price), Decimal(qty)) for price, qty in rows)
