"""What the live broker's care for an order costs: against ccxt alone, and where many are sent at once.

Ours is :meth:`LiveBroker.place`: checks, the order on the disk, budget, ccxt.pro, what the reply and the account's stream tell.
Bare is ``create_order`` of ccxt.pro, unmodified. Each has a local exchange of its own, in a process of its own, behind TLS on
loopback; the orders rest. They go in turns, so that other work on the machine meets both.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.exchange import Venue, venue
from benchmarks.leaps import LeapingLoop
from benchmarks.market import configuration, symbols
from benchmarks.measure import Measured, Spread, now_ns, parts, percentile
from core.exec.broker_ccxt import LiveBroker
from core.exec.instrument import Instrument
from core.sim.server.redirect import redirected_session
from core.types import Order, OrderPurpose, OrderSide, OrderStatus, OrderType
from core.venues.binance_account import BinanceAccount
from graph.assembly import instruments_for
from graph.live.local import LOCAL_KEYS

_BURST = 10
_FIRST_TO_COUNT = 30
_WORTH_USD = 20.0
_BELOW = 0.97
"""So far below the last price orders rest."""


@dataclass
class _Pair:
    """The broker and the bare client, and an order that rests at both exchanges."""

    broker: LiveBroker
    bare: Any
    slow: Any
    instrument: Instrument
    qty: Decimal
    price: Decimal
    now: Callable[[], int]
    made: int = 0

    def order(self) -> Order:
        """The next one."""
        self.made += 1
        name = f"bench000b-MADE00US-{self.made:04x}-e0"
        symbol, now = self.instrument.symbol, self.now()
        kind, purpose = OrderType.LIMIT, OrderPurpose.ENTRY
        return Order(name, "bench", symbol, OrderSide.BUY, kind, purpose, self.qty, self.price, False, now)

    async def ours(self, order: Order) -> None:
        """Place it through the broker."""
        update = await self.broker.place(order)
        assert update.status is OrderStatus.NEW, update

    async def theirs(self, order: Order, client: Any) -> None:
        """Place it by ``client`` alone."""
        params = {"clientOrderId": order.client_id, "timeInForce": "GTC"}
        await client.create_order(order.symbol, "limit", "buy", str(order.qty), str(order.price), params=params)

    async def clean(self, orders: list[Order]) -> None:
        """Take them away again, unmeasured."""
        await self.bare.cancel_all_orders(self.instrument.symbol)
        for order in orders:
            await self.broker.cancel(order.symbol, order.client_id)


@asynccontextmanager
async def _pair(ours: Venue, theirs: Venue, folder: Path, *, quick: bool) -> AsyncIterator[_Pair]:
    instruments = instruments_for(configuration(1, quick=quick), symbols(1))
    instrument = instruments[0]
    sessions = [redirected_session(theirs.port, theirs.certificate) for _ in range(2)]
    clients = [_client(session, limiter=limiter) for session, limiter in zip(sessions, (False, True), strict=True)]
    broker = LiveBroker(BinanceAccount(LOCAL_KEYS, ours.clock, ours.wiring()), folder / "orders.sqlite", instruments)
    try:
        for client in clients:
            await client.load_markets()
        last = float((await clients[0].fetch_ticker(instrument.symbol))["last"])
        qty = instrument.qty_step * (int(_WORTH_USD / last / float(instrument.qty_step)) + 1)
        await broker.start()
        yield _Pair(broker, clients[0], clients[1], instrument, qty, instrument.price_down(last * _BELOW), ours.clock.now_ms)
    finally:
        await broker.stop()
        for client, session in zip(clients, sessions, strict=True):
            await client.close()
            await session.close()


def _client(session: Any, *, limiter: bool) -> Any:
    """ccxt.pro as it comes, but for its limiter where that is not asked for."""
    import ccxt.pro

    keys = {"apiKey": LOCAL_KEYS.api_key, "secret": LOCAL_KEYS.secret}
    return ccxt.pro.binanceusdm({**keys, "session": session, "enableRateLimit": limiter, "options": {"fetchCurrencies": False}})


def measure(*, quick: bool) -> list[Measured]:
    """Rows ``order_submit`` and ``order_burst``."""
    with (
        venue(1, 20, quick=quick) as ours,
        venue(1, 20, quick=quick) as theirs,
        TemporaryDirectory(prefix="brain-bench-") as folder,
        asyncio.Runner(loop_factory=LeapingLoop) as runner,
    ):
        return runner.run(_measure(ours, theirs, Path(folder), quick=quick))


async def _measure(ours: Venue, theirs: Venue, folder: Path, *, quick: bool) -> list[Measured]:
    async with _pair(ours, theirs, folder, quick=quick) as pair:
        return [await _submit(pair, folder, quick=quick), await _burst(pair, quick=quick)]


async def _submit(pair: _Pair, folder: Path, *, quick: bool) -> Measured:
    count, rounds = (40, 2) if quick else (730, 7)
    mine, other, syncs = list[int](), list[int](), list[int]()
    with (folder / "synced").open("wb", buffering=0) as file:
        for number in range(count):
            order = pair.order()
            turns = [(mine, pair.ours(order)), (other, pair.theirs(order, pair.bare))]
            for spent, placing in turns if number % 2 else reversed(turns):
                spent.append(await _timed(placing))
            syncs.append(_sync_ns(file.fileno()))
            await pair.clean([order])
    mine, other = mine[_FIRST_TO_COUNT:], other[_FIRST_TO_COUNT:]
    pairs = zip(parts(mine, rounds), parts(other, rounds), strict=True)
    spread = Spread.of([percentile(a, 0.5) / percentile(b, 0.5) for a, b in pairs])
    middle = [percentile(spent, 0.5) / 1e6 for spent in (mine, other, syncs)]
    note = f"{middle[0]:.2f} ms against {middle[1]:.2f} ms, {len(mine)} orders each; one fsync of this disk {middle[2]:.2f} ms"
    return Measured("order_submit", spread, note)


def _sync_ns(file: int) -> int:
    """What the disk takes to keep some bytes."""
    os.write(file, bytes(4_096))
    begun = now_ns()
    os.fdatasync(file)
    return now_ns() - begun


async def _burst(pair: _Pair, *, quick: bool) -> Measured:
    """Ten at once until all are confirmed; what is more than without any limiter is what was waited for."""
    shares, waits = list[float](), list[tuple[float, float]]()
    for _ in range(2 if quick else 9):
        spent = []
        for place in (pair.ours, lambda order: pair.theirs(order, pair.bare), lambda order: pair.theirs(order, pair.slow)):
            orders = [pair.order() for _ in range(_BURST)]
            spent.append(await _timed(asyncio.gather(*(place(order) for order in orders))) / 1e6)
            await pair.clean(orders)
        waits.append((spent[0] - spent[1], spent[2] - spent[1]))
        shares.append(waits[-1][0] / waits[-1][1])
    ours, theirs = (Spread.of(side).median for side in zip(*waits, strict=True))
    return Measured("order_burst", Spread.of(shares), f"{ours:.1f} ms against {theirs:.0f} ms more than ccxt without a limiter")


async def _timed(work: Awaitable[Any]) -> int:
    begun = now_ns()
    await work
    return now_ns() - begun
