"""The live broker in a virtual world: the unmodified client, the local exchange behind its server, and a network in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from core.codes import RefusalCode
from core.data.blocks import Book
from core.errors import StateError
from core.exec.broker_ccxt import LiveBroker
from core.exec.instrument import Instrument
from core.exec.live.crash import CrashPoint, never
from core.exec.live.recovery import Recovery
from core.exec.live.settings import LiveOptions
from core.exec.live.states import Row, State
from core.sim.local.exchange import LocalExchange
from core.sim.server.app import ExchangeServer
from core.sim.server.faults import Fault, FaultKind
from core.sim.server.options import API_KEY, API_SECRET, KeyScope, ServerOptions
from core.sim.server.tls import VENUE_HOSTS
from core.types import (
    BrokerEvent,
    ExitReason,
    Fill,
    Order,
    OrderPurpose,
    OrderSide,
    OrderStatus,
    OrderType,
    OrderUpdate,
    Timeframe,
)
from core.venues.binance_account import BinanceAccount
from core.venues.client import Wiring
from core.venues.keys import Keys
from tests.core.sim.server.kit import BTC as VENUE_BTC
from tests.core.sim.server.kit import ETH as VENUE_ETH
from tests.core.sim.server.kit import HandTape, listing
from tests.core.sim.server.kit import World as Market
from tests.support.simulation.world import World, run_world

BTC, ETH = "BTC/USDT:USDT", "ETH/USDT:USDT"
KEYS = Keys(API_KEY, API_SECRET)
D = Decimal


def instrument(symbol: str = BTC, **changes: Any) -> Instrument:
    """As the venue's kit lists it."""
    made = Instrument(
        symbol=symbol,
        is_perp=True,
        tick_size=D("0.10"),
        qty_step=D("0.001"),
        min_qty=D("0.001"),
        min_notional=D("100"),
        min_depth_usd=1_000.0,
        max_spread_bps=5.0,
        allowed_tfs=frozenset(Timeframe),
        taker_fee_rate=0.0005,
        maker_fee_rate=0.0002,
        maintenance_margin_rate=0.004,
        modelled_spread_bps=1.0,
        modelled_depth_usd=500_000.0,
    )
    return replace(made, **changes)


@dataclass
class Bench:
    """A broker at a venue, and everything it said."""

    world: World
    market: Market
    folder: Path
    options: LiveOptions = field(default_factory=LiveOptions)
    symbols: tuple[str, ...] = (BTC, ETH)
    told: list[BrokerEvent] = field(default_factory=list)
    alerts: list[tuple[str, str, str]] = field(default_factory=list)
    crash: Callable[[CrashPoint], None] = never
    stops: dict[str, Decimal] = field(default_factory=dict)
    books: dict[str, Book] = field(default_factory=dict)
    recovery: Recovery | None = None
    broker: LiveBroker = field(init=False)
    lives: int = 0

    def make(self, **more: Any) -> LiveBroker:
        """A broker on this folder's outbox, not started."""
        account = BinanceAccount(KEYS, self.world.clocks, Wiring(timeout_ms=2_000))
        self.broker = LiveBroker(
            account,
            self.folder / "orders.sqlite",
            [instrument(symbol) for symbol in self.symbols],
            self.options,
            stop_of=self.stops.get,
            books=self.books.get,
            on_alert=lambda level, code, text: self.alerts.append((level, code, text)),
            crash=self.crash,
            **more,
        )
        self.lives += 1
        return self.broker

    async def start(self) -> Recovery:
        self.make()
        self.recovery = await self.broker.start()
        return self.recovery

    async def restart(self) -> Recovery:
        """Stop, leaving everything at the venue as it is, and start again."""
        await self.broker.stop()
        return await self.start()

    async def hear(self, seconds: float = 0.0) -> list[BrokerEvent]:
        """What the broker tells within this time; also kept in ``told``."""
        await asyncio.sleep(seconds)
        heard: list[BrokerEvent] = []
        while events := self.broker.drain():
            heard += events
        self.told += heard
        return heard

    async def until(self, true: Callable[[], bool], seconds: float = 30.0) -> None:
        async with asyncio.timeout(seconds):
            while not true():  # noqa: ASYNC110 - anything may make it true
                await asyncio.sleep(0.01)

    # --- asking -------------------------------------------------------------------------------------

    def order(
        self,
        client_id: str = "k0000000b-BTCUSDT-0123-e0",
        side: OrderSide = OrderSide.BUY,
        qty: str = "0.010",
        price: str | None = "50025.0",
        *,
        symbol: str = BTC,
        kind: OrderType = OrderType.IOC_LIMIT,
        purpose: OrderPurpose = OrderPurpose.ENTRY,
        reason: ExitReason | None = None,
        age_ms: int = 0,
    ) -> Order:
        return Order(
            client_id,
            "plan",
            symbol,
            side,
            kind,
            purpose,
            D(qty),
            None if price is None else D(price),
            purpose not in (OrderPurpose.ENTRY, OrderPurpose.ADD),
            self.world.clocks.now_ms() - age_ms,
            reason,
        )

    def stop(self, client_id: str = "k0000000b-BTCUSDT-0123-s1", price: str = "49500.0", qty: str = "0.010") -> Order:
        return self.order(
            client_id, OrderSide.SELL, qty, price, kind=OrderType.STOP_MARKET, purpose=OrderPurpose.STOP, reason=ExitReason.STOP
        )

    def exit(self, client_id: str = "k0000000b-BTCUSDT-0123-x2", qty: str = "0.010") -> Order:
        return self.order(
            client_id,
            OrderSide.SELL,
            qty,
            None,
            kind=OrderType.MARKET,
            purpose=OrderPurpose.EXIT,
            reason=ExitReason.TIME_STOP,
        )

    def take(self, client_id: str = "k0000000b-BTCUSDT-0123-t3", price: str = "50500.0", qty: str = "0.005") -> Order:
        return self.order(
            client_id, OrderSide.SELL, qty, price, kind=OrderType.LIMIT, purpose=OrderPurpose.TAKE, reason=ExitReason.TAKE
        )

    async def enter(self, **more: Any) -> OrderUpdate:
        """An entry that fills, and the time for its stop to stand."""
        update = await self.broker.place(self.order(**more))
        await asyncio.sleep(0.5)
        return update

    # --- seeing -------------------------------------------------------------------------------------

    @property
    def venue(self) -> LocalExchange:
        return self.market.exchange

    def inject(self, kind: FaultKind, **more: Any) -> None:
        self.market.server.inject(Fault(kind, **more))

    def held(self, symbol: str = VENUE_BTC) -> Decimal:
        """The position at the venue."""
        return self.venue.positions(symbol)[0].qty

    def rows(self) -> dict[str, State]:
        return {client_id: row.state for client_id, row in self.broker._outbox.rows.items()}

    def algos(self, symbol: str = VENUE_BTC) -> list[Any]:
        return list(self.venue.open_algos(symbol))

    def venue_ids(self, symbol: str = VENUE_BTC) -> list[str]:
        """Client ids of every plain order that the venue ever took, in order."""
        return [order.client_id for order in self.venue.all_orders(symbol)]

    def fills(self) -> list[Fill]:
        return [event for event in self.told if isinstance(event, Fill)]

    def updates(self, client_id: str) -> list[tuple[OrderStatus, RefusalCode | None]]:
        return [(e.status, e.code) for e in self.told if isinstance(e, OrderUpdate) and e.client_id == client_id]


def disk_full_after(b: Bench, orders: int) -> None:
    """So many orders that open risk can still be written down."""
    real, left = b.broker._outbox.add, [orders]

    def add(row: Row, ts: int, *, must: bool) -> None:
        left[0] -= must
        if must and left[0] < 0:
            raise StateError("disk full", help="make room", code="LIVE-003")
        real(row, ts, must=must)

    b.broker._outbox.add = add  # type: ignore[method-assign]


Story = Callable[[Bench], Awaitable[object]]


def tell(
    story: Story,
    *,
    seed: int = 1,
    options: LiveOptions | None = None,
    scope: KeyScope | None = None,
    wallet: str = "1000",
    start: bool = True,
    symbols: tuple[str, ...] = (BTC, ETH),
    prepare: Callable[[LocalExchange], object] = lambda _: None,
) -> None:
    """Run ``story`` in a world of its own, with the venue open and the broker started."""

    async def scenario(world: World) -> None:
        tape = HandTape()
        exchange = LocalExchange((listing(), listing(VENUE_ETH)), world.clocks, wallet=D(wallet))
        server = ExchangeServer(exchange, tape, world.clocks, ServerOptions(reaction_ms=5, scope=scope or KeyScope()))
        ready, over = world.loop.create_future(), asyncio.Event()

        async def serve(_node: Any) -> None:
            await server.start("0.0.0.0", 443)  # noqa: S104 - in memory
            ready.set_result(None)
            await over.wait()
            await server.close()

        node = world.start("venue", serve, hosts=VENUE_HOSTS)
        await ready
        market = Market(exchange, tape, world.clocks, server, "", "", None)
        await market.open_market()
        prepare(exchange)
        folder = world.folder / "session"
        folder.mkdir()
        bench = Bench(world, market, folder, options or LiveOptions(leverage=3), symbols)
        try:
            if start:
                await bench.start()
            await story(bench)
        finally:
            world.network.heal()
            if bench.lives:
                await bench.broker.stop()
            over.set()
            await node.gone

    run_world(seed, scenario)
