"""A real market as the tape of the local exchange: trades, best levels and marks of Binance USD-M, as they come.

Its own client and sockets, beside those of the data source: what the source makes bars of and what orders are filled by are the
same market. Proven with a second local exchange in the real one's place; no real venue can be reached from where it is tested.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any

import numpy as np

from core.data.exchange.line import Line
from core.data.exchange.settings import ExchangeSettings
from core.errors import SourceError
from core.sim.local.values import BookTick, FundingTick, MarkTick, OrderSide, Tick, TradeTick
from core.sim.tape.relay import RelayTape
from core.types import Timeframe
from core.venues.client import Wiring, make_client
from core.venues.market_words import Carries, StreamLine
from graph.live.missed import Heard, Stakes, missed

_VENUE = "binanceusdm"
_FIRST_PRICE_S = 60.0
_SETTLEMENTS = 1_000
_LEVELS = "depth20@500ms"
_ASK_AGAIN_S = 5.0
_AT_ONCE, _PLAYED_WITHIN_S, _LOOK_EVERY_S = 1_000, 60.0, 0.001
"""So many ticks of what was missed wait at once: the tape leaves books out where too many do."""


class MarketRelay:
    """Feeds ``tape`` until it is closed.

    Attributes:
        stakes: what the exchange that plays the tape has at stake: over a time that was not heard, that is played first.

    Args:
        base_tf: the base timeframe by internal symbol; perpetuals.
        wiring: how the real venue is reached.
        settings: patience.
        on_note: told what befalls it.
    """

    def __init__(
        self,
        base_tf: Mapping[str, Timeframe],
        wiring: Wiring,
        settings: ExchangeSettings | None = None,
        on_note: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._settings = settings or ExchangeSettings()
        self._symbols = tuple(base_tf)
        self._client: Any = make_client(_VENUE, None, replace(wiring, on_raw=self._on_raw, on_link=None))
        names = [symbol.partition(":")[0].replace("/", "") for symbol in base_tf]
        self.tape = RelayTape(f"relay:{_VENUE}", dict.fromkeys(names, ()))
        self._garbled: set[str] = set()
        self._on_note = on_note
        self._lines: list[Line] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._due: dict[str, tuple[int, Decimal]] = {}
        self._priced: dict[str, asyncio.Event] = {name: asyncio.Event() for name in names}
        self._booked: dict[str, asyncio.Event] = {name: asyncio.Event() for name in names}
        self.stakes: Stakes | None = None
        self._heard: dict[str, Heard] = {}
        self._breaks = 0
        self._behind = False
        self._catching_up: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Dial, and wait until every market has told a price and a book: without them nothing can be filled.

        What happened while nobody listened is played first: funding that was settled, and prices where something is at stake.

        Raises:
            SourceError: a symbol is not listed, or is not told of.
        """
        with _usable():
            await self._client.load_markets()
        missing = [symbol for symbol in self._symbols if symbol not in self._client.markets]
        if missing:
            raise SourceError(
                f"{_VENUE} does not list {', '.join(missing)}", help="choose others with --symbols", code="DATA-041"
            )
        with _usable():
            await self._play_what_was_missed()
            await self._played()
        ids = [str(self._client.market(symbol)["lowercaseId"]) for symbol in self._symbols]
        prints = [f"{name}@{stream}" for stream in ("aggTrade", "markPrice@1s") for name in ids]
        for category, streams in (("market", prints), ("public", [f"{name}@{_LEVELS}" for name in ids])):
            self._hold(category, streams)
        try:
            async with asyncio.timeout(_FIRST_PRICE_S):
                for told in (*self._priced.values(), *self._booked.values()):
                    await told.wait()
        except TimeoutError as error:
            silent = ", ".join(
                f"{what} of {name}"
                for what, heard in (("price", self._priced), ("book", self._booked))
                for name, told in heard.items()
                if not told.is_set()
            )
            raise SourceError(
                f"{_VENUE} told no {silent} within {_FIRST_PRICE_S:.0f} s",
                help="look at the venue's status page, then start again",
                code="DATA-040",
            ) from error

    async def _play_what_was_missed(self) -> None:
        """Settlements and prices since the last mark that was heard, in order of time."""
        ticks: list[Tick] = []
        for symbol in self._symbols:
            name = str(self._client.market(symbol)["id"])
            before = self.tape.premium(name)
            if before is None:
                continue
            ticks += await self._settled(symbol, before)
            if self.stakes is not None and self.tape.clock is not None:
                now_ms, heard = self.tape.clock.now_ms(), self._heard.get(name)
                ticks += await missed(self._client, symbol, before, now_ms, self.stakes, heard)
        for tick in sorted(ticks, key=lambda tick: tick.ts):
            self.tape.push(tick)
            if isinstance(tick, TradeTick):
                self._note_price(tick.symbol, tick.ts, float(tick.price))
                if self.tape.waiting >= _AT_ONCE:
                    await self._played()
        if not self._lines or any(isinstance(tick, BookTick) for tick in ticks):
            self.tape.forget_books()  # those of an earlier life, and those that prices were played by

    async def _played(self) -> None:
        """All that was pushed in has reached the exchange."""
        async with asyncio.timeout(_PLAYED_WITHIN_S):
            while self.tape.waiting:  # noqa: ASYNC110 - the tape's consumer tells nobody
                await asyncio.sleep(_LOOK_EVERY_S)

    async def _settled(self, symbol: str, before: MarkTick) -> list[FundingTick]:
        """Settlements after ``before``, which also says which one is still to come."""
        name = before.symbol
        rows = await self._client.fetch_funding_rate_history(symbol, before.next_funding, _SETTLEMENTS)
        told = [row["info"] for row in rows]
        if told:
            self._due.pop(name, None)
        else:
            self._due[name] = before.next_funding, before.funding_rate
        return [
            FundingTick(name, int(one["fundingTime"]), Decimal(one["fundingRate"]), Decimal(one["markPrice"] or 0))
            for one in told
        ]

    async def _catch_up(self) -> None:
        """Trades and marks are heard again: first what came between."""
        while self._behind:
            breaks = self._breaks
            try:
                await self._play_what_was_missed()
            except Exception as error:  # noqa: BLE001 - a venue that does not answer is asked again
                self._on_note(f"what was missed cannot be asked for yet ({type(error).__name__}); no order triggers before it is")
                await asyncio.sleep(_ASK_AGAIN_S)
                continue
            if self._breaks != breaks or not self._lines[0].up:
                break  # and goes on with the next message
            self._behind = False
        self._catching_up = None

    def _hold(self, category: str, streams: list[str]) -> None:
        client = self._client
        url = f"{client.get_ws_url('linear', category)}/{client.stream('linear', f'relay {category}')}"
        request = {"method": "SUBSCRIBE", "params": streams, "id": client.request_id(url)}
        line = Line(
            client,
            StreamLine(url, request, Carries.BOOKS if category == "public" else Carries.CANDLES),
            silent_s=self._settings.market_silent_s,
            backoff_s=self._settings.backoff_s,
            random=np.random.default_rng(len(self._lines)),
            on_down=partial(self._broke, category),
        )
        self._lines.append(line)
        self._tasks.append(asyncio.create_task(line.run(), name=f"relay of {category}"))

    def _broke(self, category: str, why: str) -> None:
        if category == "public":
            self.tape.forget_books()
            self._on_note(f"the book by which paper orders are filled broke ({why}): none is filled until it is told again")
        else:
            self._behind, self._breaks = True, self._breaks + 1
            self._on_note(f"trades and marks by which paper orders trigger broke ({why}); dialled again")

    async def finished(self) -> None:
        """Never returns; raises what ended one of its lines."""
        await asyncio.gather(*(asyncio.shield(task) for task in self._tasks))

    async def close(self) -> None:
        """End everything; what was heard is still played."""
        self._tasks += [] if self._catching_up is None else [self._catching_up]
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        self.tape.close()
        with suppress(Exception):
            await self._client.close()

    # --- what is heard ----------------------------------------------------------------------------

    def _on_raw(self, message: Any, _url: str) -> bool:
        """Take a message of ours; one that cannot be read must not end ccxt's loop."""
        kind = message.get("e") if isinstance(message, dict) else None
        if kind not in ("aggTrade", "depthUpdate", "markPriceUpdate"):
            return False
        try:
            for line in self._lines:
                if (line.dial.carries is Carries.BOOKS) is (kind == "depthUpdate"):
                    line.heard()
            if not self._behind or kind == "depthUpdate":
                for tick in self._ticks(kind, message):
                    self._pass_on(tick)
            elif self._catching_up is None:  # the candles tell what this does
                self._catching_up = asyncio.create_task(self._catch_up(), name="relay of what was missed")
        except (KeyError, ValueError, ArithmeticError, TypeError) as error:
            if kind == "depthUpdate":  # what is known of the book is no book any more: nothing is filled by it
                self.tape.forget_books()
            self._note_garbled(kind, error)
        return True

    def _note_garbled(self, kind: str, error: Exception) -> None:
        """Once for each kind: a venue that has changed a message's form sends it all day."""
        if kind not in self._garbled:
            self._garbled.add(kind)
            self._on_note(f"{_VENUE} sends {kind} messages that cannot be read ({type(error).__name__}): they are passed over")

    def _pass_on(self, tick: Tick) -> None:
        """While no book is heard a trade brings its own for what it triggers, and takes it away again."""
        stakes = self.stakes
        if stakes is None or not isinstance(tick, TradeTick) or self._lines[-1].up or stakes.side(tick.symbol) is None:
            self.tape.push(tick)
            return
        self.tape.push(stakes.book(tick.symbol, tick.ts, float(tick.price)))
        self.tape.push(tick)
        self.tape.push(BookTick(tick.symbol, tick.ts, 0, (), ()))

    def _ticks(self, kind: str, told: Mapping[str, Any]) -> list[Tick]:
        name = str(told["s"])
        if name not in self._priced:
            return []
        if kind == "aggTrade":
            taker = OrderSide.SELL if told["m"] else OrderSide.BUY
            self._priced[name].set()
            self._note_price(name, int(told["T"]), float(told["p"]))
            return [TradeTick(name, int(told["T"]), int(told["l"]), Decimal(told["p"]), Decimal(told["q"]), taker)]
        if kind == "depthUpdate":
            self._booked[name].set()
            return [BookTick(name, int(told["T"]), int(told["u"]), _levels(told["b"]), _levels(told["a"]))]
        return self._mark(name, told)

    def _note_price(self, name: str, ts: int, price: float) -> None:
        self._heard[name] = self._heard.get(name, Heard(0, price, price)).with_price(ts, price)

    def _mark(self, name: str, told: Mapping[str, Any]) -> list[Tick]:
        """A mark; where the next settlement is a later one than before, that one has just been settled."""
        ts, mark, due = int(told["E"]), Decimal(told["p"]), int(told["T"])
        ticks: list[Tick] = []
        before, rate = self._due.get(name, (due, Decimal(0)))
        if due > before > 0:
            ticks.append(FundingTick(name, ts, rate, mark))
        self._due[name] = due, Decimal(told["r"] or 0)
        return [*ticks, MarkTick(name, ts, mark, Decimal(told["i"]), self._due[name][1], due)]


@contextmanager
def _usable() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise SourceError(
            f"{_VENUE} cannot be used: {type(error).__name__}",
            help="check the network and the venue's status page, then start again; brain doctor checks the rest",
            code="DATA-040",
        ) from error


def _levels(rows: Any) -> tuple[tuple[Decimal, Decimal], ...]:
    return tuple((Decimal(price), Decimal(qty)) for price, qty in rows)
