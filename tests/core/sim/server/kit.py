"""A market moved by hand, the server over it, and the unmodified client library with only its address redirected."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import aiohttp
import ccxt.pro
import yarl
from msgspec import structs

from core.clock import Clock, SystemClock
from core.sim.local.exchange import LocalExchange
from core.sim.local.values import (
    BookTick,
    Bracket,
    FundingTick,
    KlineTick,
    Listing,
    MarkTick,
    OrderSide,
    Tick,
    TradeTick,
)
from core.sim.server.app import ExchangeServer
from core.sim.server.options import API_KEY, API_SECRET, ServerOptions
from core.sim.server.redirect import redirected_session
from core.sim.server.signing import sign
from core.sim.server.tls import Certificate, make_certificate
from core.sim.tape.base import TapeInfo, venue_slice
from core.types import Timeframe

BTC, ETH = "BTCUSDT", "ETHUSDT"
BTC_SWAP, ETH_SWAP = "BTC/USDT:USDT", "ETH/USDT:USDT"
PRICE = Decimal(50_000)
EIGHT_HOURS = 28_800_000


def D(text: str | int) -> Decimal:  # noqa: N802 - a constructor's name
    return Decimal(text)


def listing(symbol: str = BTC, **changes: Any) -> Listing:
    """Filters as the venue states them for BTCUSDT."""
    brackets = (
        Bracket(1, 125, D(0), D(50_000), D("0.004"), D(0)),
        Bracket(2, 100, D(50_000), D(600_000), D("0.005"), D(50)),
    )
    made = Listing(
        symbol=symbol,
        base=symbol.removesuffix("USDT"),
        quote="USDT",
        tick=D("0.10"),
        min_price=D("0.10"),
        max_price=D(4_529_764),
        step=D("0.001"),
        min_qty=D("0.001"),
        max_qty=D(1000),
        market_step=D("0.001"),
        market_min_qty=D("0.001"),
        market_max_qty=D(120),
        min_notional=D(100),
        percent_up=D("1.05"),
        percent_down=D("0.95"),
        max_orders=200,
        max_algo_orders=10,
        maker_fee=D("0.0002"),
        taker_fee=D("0.0005"),
        market_take_bound=D("0.05"),
        trigger_protect=D("0.05"),
        liquidation_fee=D("0.0125"),
        brackets=brackets,
    )
    return structs.replace(made, **changes)


class HandTape:
    """A tape (core.sim.tape.base.MarketTape) that tells what a test pushes, when it does."""

    def __init__(self, *, drawn_path: bool = True) -> None:
        told = dict.fromkeys((BTC, ETH), (Timeframe.M5, Timeframe.H1))
        self.info = TapeInfo("hand", (BTC, ETH), told, None, None, drawn_path, spot=(BTC,))
        self.candles: list[KlineTick] = []
        self.spot_candles: list[KlineTick] = []
        self.settled: list[FundingTick] = []
        self.past: list[Tick] = []
        self.asked: list[int | None] = []
        self.played = 0
        self._queue: asyncio.Queue[Tick | None] = asyncio.Queue()

    def push(self, *ticks: Tick) -> None:
        for tick in ticks:
            self._queue.put_nowait(tick)

    def end(self) -> None:
        self._queue.put_nowait(None)

    @property
    def idle(self) -> bool:
        return self._queue.empty()

    async def ticks(self, after_ts: int | None = None) -> AsyncIterator[Tick]:
        self.asked.append(after_ts)
        for tick in self.past:
            if after_ts is None or tick.ts > after_ts:
                yield tick
        while (tick := await self._queue.get()) is not None:
            yield tick
            self.played += 1

    def klines(
        self, symbol: str, tf: Timeframe, start: int | None = None, end: int | None = None, limit: int = 500
    ) -> tuple[KlineTick, ...]:
        rows = [candle for candle in self.candles if candle.symbol == symbol and candle.tf is tf]
        return venue_slice(rows, lambda row: row.open_ts, start, end, limit)

    def mark_klines(
        self, symbol: str, tf: Timeframe, start: int | None = None, end: int | None = None, limit: int = 500
    ) -> tuple[KlineTick, ...]:
        return self.klines(symbol, tf, start, end, limit)

    def spot_klines(
        self, symbol: str, tf: Timeframe, start: int | None = None, end: int | None = None, limit: int = 500
    ) -> tuple[KlineTick, ...]:
        rows = [candle for candle in self.spot_candles if candle.symbol == symbol and candle.tf is tf]
        return venue_slice(rows, lambda row: row.open_ts, start, end, limit)

    def funding_rates(
        self, symbol: str, start: int | None = None, end: int | None = None, limit: int = 100
    ) -> tuple[FundingTick, ...]:
        rows = [tick for tick in self.settled if tick.symbol == symbol]
        return venue_slice(rows, lambda row: row.ts, start, end, limit)

    def premium(self, symbol: str) -> MarkTick | None:
        return None

    def snapshot(self) -> dict[str, Any]:
        return {"played": self.played}

    def restore(self, state: dict[str, Any]) -> None:
        self.played = state["played"]


class Reply(NamedTuple):
    """What came back; ``code`` is the venue's."""

    status: int
    told: Any
    headers: dict[str, str]

    @property
    def code(self) -> int:
        return int(self.told["code"])


@dataclass
class World:
    """One server with everything around it."""

    exchange: LocalExchange
    tape: HandTape
    clock: Clock
    server: ExchangeServer
    rest: str
    streams: str
    cert: Certificate | None
    clients: list[Any] = field(default_factory=list)
    sessions: list[aiohttp.ClientSession] = field(default_factory=list)
    ids: int = 0

    @property
    def port(self) -> int:
        return int(self.rest.rpartition(":")[2])

    @property
    def subscriptions(self) -> int:
        """How many streams the server's sockets have in all: what a client does not tell a test in time."""
        return sum(len(socket.names) for socket in self.server._doors.sockets(""))

    def now(self) -> int:
        return self.clock.now_ms()

    async def play(self, *ticks: Tick) -> None:
        """Push ticks and wait until the server has played them."""
        target = self.tape.played + len(ticks)
        self.tape.push(*ticks)
        await until(lambda: self.tape.played >= target)

    def trade(self, price: Decimal | int | str, symbol: str = BTC, qty: str = "1", *, gap: bool = False) -> TradeTick:
        self.ids += 1
        return TradeTick(symbol, self.now(), self.ids, D(str(price)), D(qty), OrderSide.BUY, gap=gap)

    def book(self, bid: str = "49999.9", ask: str = "50000.1", symbol: str = BTC, size: str = "5") -> BookTick:
        self.ids += 1
        return BookTick(
            symbol,
            self.now(),
            self.ids,
            ((D(bid), D(size)), (D(bid) - 1, D("9"))),
            ((D(ask), D(size)), (D(ask) + 1, D("9"))),
            modelled=True,
        )

    def mark(self, price: Decimal | int | str = PRICE, symbol: str = BTC) -> MarkTick:
        now = self.now()
        return MarkTick(symbol, now, D(str(price)), D(str(price)), D("0.0001"), (now // EIGHT_HOURS + 1) * EIGHT_HOURS)

    def candle(self, open_ts: int, *, tf: Timeframe = Timeframe.M5, final: bool = True, symbol: str = BTC) -> KlineTick:
        return KlineTick(
            symbol, self.now(), tf, open_ts, D("50000.0"), D("50100.0"), D("49900.0"), D("50050.0"), D("12.5"),
            D("625000"), 4, 1, 4, D("6.25"), final,
        )  # fmt: skip

    async def open_market(self) -> None:
        """A first price, book and mark for both symbols."""
        for symbol in (BTC, ETH):
            await self.play(self.trade(PRICE, symbol, gap=True), self.book(symbol=symbol), self.mark(symbol=symbol))

    async def ask(self, method: str, path: str, *, signed: bool = True, key: str | None = API_KEY, **params: Any) -> Reply:
        """A request by hand; signed ones carry everything in the query."""
        if signed:
            params = {"timestamp": self.now(), **params}
        query = urlencode({name: value for name, value in params.items() if value is not None})
        if signed:
            query += f"&signature={sign(API_SECRET, query)}"
        return await self.send(method, f"{path}?{query}", key=key)

    async def send(self, method: str, target: str, *, key: str | None = API_KEY, body: str | None = None) -> Reply:
        """The very text of a request."""
        if not self.sessions:
            self.session()
        headers = {} if key is None else {"X-MBX-APIKEY": key}
        url = yarl.URL(self.rest + target, encoded=True)
        async with self.sessions[0].request(method, url, headers=headers, data=body) as response:
            raw = await response.read()
            told = json.loads(raw) if response.content_type == "application/json" else raw.decode()
            return Reply(response.status, told, dict(response.headers))

    def socket(self, path: str) -> Any:
        """A stream opened by hand."""
        if not self.sessions:
            self.session()
        return self.sessions[0].ws_connect(self.streams + path)

    def silent_socket(self) -> Any:
        """A public stream whose client answers no pings by itself."""
        return self.session().ws_connect(self.streams + "/public/ws", autoping=False)

    def session(self) -> aiohttp.ClientSession:
        made = redirected_session(self.port, self.cert.cert) if self.cert else aiohttp.ClientSession()
        self.sessions.append(made)
        return made

    def client(self, **config: Any) -> Any:
        """The client library as it is installed; over TLS not even an address of it is touched."""
        made = client_of(self, **config)
        self.clients.append(made)
        return made


def client_of(world: World, kind: str = "binanceusdm", **config: Any) -> Any:
    options = {"fetchCurrencies": False, "fetchOpenOrders": {"warnWithoutSymbol": False}, **config.pop("options", {})}
    base = {
        "apiKey": API_KEY,
        "secret": API_SECRET,
        "enableRateLimit": False,
        "timeout": 3_000,
        "timeout_on_exit": 0,
        "options": options,
    }
    if world.cert:
        return getattr(ccxt.pro, kind)({**base, "session": world.session(), **config})
    made = ccxt.pro.binanceusdm({**base, **config})
    api = made.urls["api"]
    for name in [name for name in api if name.startswith("fapi")]:
        version = next((v for v in ("v3", "v2") if name.endswith(v.upper())), "v1")
        api[name] = f"{world.rest}/fapi/{version}"
    api["ws"]["linear"] = f"{world.streams}/ws"
    return made


async def until(true: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110 - what is awaited has no event of its own
            await asyncio.sleep(0.002)


@asynccontextmanager
async def serving(
    folder: Path,
    options: ServerOptions | None = None,
    *,
    tls: bool = True,
    clock: Clock | None = None,
    tape: HandTape | None = None,
    wallet: str = "1000",
    open_market: bool = True,
    listings: tuple[Listing, ...] | None = None,
) -> AsyncIterator[World]:
    """A server on loopback."""
    clock, tape = clock or SystemClock(), tape or HandTape()
    exchange = LocalExchange(listings or (listing(), listing(ETH)), clock, wallet=D(wallet))
    server = ExchangeServer(exchange, tape, clock, options or ServerOptions(reaction_ms=5))
    cert = make_certificate(folder / "tls") if tls else None
    addresses = await server.start(tls=cert)
    world = World(exchange, tape, clock, server, addresses.rest, addresses.streams, cert)
    try:
        if open_market:
            await world.open_market()
        yield world
    finally:
        for client in world.clients:
            await client.close()
        for session in world.sessions:
            await session.close()
        await server.close()


async def raises(call: Awaitable[Any]) -> Exception:
    """What a call raised."""
    try:
        await call
    except Exception as error:  # noqa: BLE001 - the test looks at what it is
        return error
    raise AssertionError("nothing was raised")


def told(**changes: Any) -> ServerOptions:
    """Options of a quick test."""
    return replace(ServerOptions(reaction_ms=5), **changes)
