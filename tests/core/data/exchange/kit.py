"""A recorded market, the local exchange that plays it, its spot market, and the source under test, all in one world."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from aiohttp import web

from core.data.blocks import Bars, Batch
from core.data.exchange.settings import ExchangeSettings
from core.data.quality import select
from core.data.sources.exchange import ExchangeSource
from core.data.sources.replay import ReplaySource
from core.data.sources.synthetic import SyntheticSource
from core.exec.instrument import Instrument, venue_id
from core.sim.local.exchange import LocalExchange
from core.sim.server.app import ExchangeServer
from core.sim.server.faults import Fault, FaultKind
from core.sim.server.options import ServerOptions
from core.sim.tape.listings import liquidity_of, listing_of
from core.sim.tape.source import SourceTape, TapeOptions
from core.types import Timeframe
from tests.support.simulation.clocks import EPOCH_MS
from tests.support.simulation.serving import SPOT_STREAMS_PORT
from tests.support.simulation.world import Node, World, run_world

BTC, ETH = "BTC/USDT:USDT", "ETH/USDT:USDT"
M1, M5, H1 = Timeframe.M1, Timeframe.M5, Timeframe.H1
START = EPOCH_MS
HOSTS = ("fapi.binance.com", "fstream.binance.com")
SPOT_HOSTS = ("api.binance.com", "stream.binance.com")
Story = Callable[["Stand"], Awaitable[object]]


def instrument(symbol: str) -> Instrument:
    return Instrument(
        symbol=symbol, is_perp=True, tick_size=Decimal("0.1"), qty_step=Decimal("0.001"), min_qty=Decimal("0.001"),
        min_notional=Decimal(5), min_depth_usd=1_000.0, max_spread_bps=10.0, allowed_tfs=frozenset(Timeframe),
        taker_fee_rate=0.0005, maker_fee_rate=0.0002, maintenance_margin_rate=0.004, modelled_spread_bps=1.0,
        modelled_depth_usd=200_000.0,
    )  # fmt: skip


def write(folder: Path, kind: str, symbol: str, columns: dict[str, Any]) -> None:
    path = folder / kind / f"{venue_id(symbol)}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


def columns_of(bars: Bars) -> dict[str, Any]:
    return dict(zip(("ts", "open", "high", "low", "close", "volume"), bars, strict=True))


@lru_cache(maxsize=4)
def made(symbols: tuple[str, ...], bars: int, base: Timeframe = M1) -> SyntheticSource:
    return SyntheticSource(symbols, seed=5, start=START, bars=bars, base_tf=base, warm_days=4)


def record(
    folder: Path,
    symbols: Sequence[str],
    bars: int,
    base: Timeframe = M1,
    hole: int | None = None,
    spot: Sequence[str] | None = None,
) -> Path:
    """A market in the form of a replay folder: four days of past, then ``bars``; the last symbol lacks bar ``hole``.

    ``spot``: symbols that have a spot market (None: all).
    """
    market = made(tuple(symbols), bars, base)
    end = START + bars * base.ms
    for symbol in symbols:
        candles = market.history(symbol, base, end, 100_000)
        if hole is not None and symbol == symbols[-1]:
            candles = select(candles, np.flatnonzero(candles.ts != START + hole * base.ms))
        write(folder, f"perp_{base.value}", symbol, columns_of(candles))
        write(folder, "perp_1h", symbol, columns_of(market.history(symbol, H1, end, 10_000)))
        rates = market.funding_history(symbol, end, 10_000)
        write(folder, "funding", symbol, {"ts": [r.ts for r in rates], "funding_rate": [r.rate for r in rates]})
        if spot is None or symbol in spot:
            known = market.spot_history(symbol, end, 10_000)
            closes = [row.price for row in known]
            hours = {"ts": [row.ts - H1.ms for row in known], **dict.fromkeys(("open", "high", "low", "close"), closes)}
            write(folder, "spot_1h", symbol, {**hours, "volume": [1.0] * len(known)})
    return folder


@dataclass
class Stand:
    """The world with everything in it."""

    world: World
    replay: ReplaySource
    server: ExchangeServer
    exchange: LocalExchange
    source: ExchangeSource
    got: list[Batch] = field(default_factory=list)

    @property
    def venue(self) -> Any:
        return self.source._venue

    async def take(self, count: int, after_ts: int | None = None) -> list[Batch]:
        """The next batches, as long as they take."""
        if not hasattr(self, "_stream"):
            self._stream = self.source.batches(after_ts)
        for _ in range(count):
            self.got.append(await anext(self._stream))
        return self.got[-count:]

    def at(self, bar: float, what: Callable[..., object], *args: Any) -> None:
        """Let something happen so many base bars after the world began."""
        self.world.at(bar * self.source._base[0].ms / 1000.0, what, *args)

    def fault(self, bar: float, kind: FaultKind, **how: Any) -> None:
        """Let the venue fail so many base bars after the world began."""
        self.at(bar, self.server.inject, Fault(kind, **how))

    async def truth(self, count: int) -> list[Batch]:
        """What a replay of the same recordings gives."""
        batches = self.replay.batches()
        return [await anext(batches) for _ in range(count)]

    def notes(self) -> list[str]:
        return [note for batch in self.got for note in batch.notes]


def rows(batch: Batch) -> list[tuple[Any, ...]]:
    """Bars of a batch: timeframe, venue, position, open time and values."""
    found = []
    for block in batch.bars:
        columns = (block.idx, block.open_ts, block.open, block.high, block.low, block.close, block.volume)
        found += [(block.tf, block.venue, *row) for row in zip(*(column.tolist() for column in columns), strict=True)]
    return found


def all_rows(batches: Sequence[Batch]) -> list[tuple[Any, ...]]:
    return [row for batch in batches for row in rows(batch)]


def opens(batch: Batch, who: int = 0) -> list[int]:
    """Bars of one symbol in a batch, counted from the start."""
    return [(row[3] - START) // row[0].ms for row in rows(batch) if row[2] == who]


async def serve_spot(server: ExchangeServer, _node: Node) -> None:
    """The venue's spot hosts: the same calls and streams on a node of their own, so that it may be away alone."""
    runner = web.AppRunner(server._app(), access_log=None, handle_signals=False)
    await runner.setup()
    for port in (443, SPOT_STREAMS_PORT):
        await web.TCPSite(runner, "0.0.0.0", port).start()  # noqa: S104 - in memory
    await asyncio.Event().wait()


def tell(
    story: Story,
    *,
    seed: int = 1,
    symbols: tuple[str, ...] = (BTC, ETH),
    bars: int = 60,
    base: Timeframe = M1,
    hole: int | None = None,
    spot: Sequence[str] | None = None,
    settings: ExchangeSettings | None = None,
    options: ServerOptions | None = None,
    tape: TapeOptions | None = None,
    prepare: bool = True,
    others: Callable[[World, ReplaySource], object] = lambda *_: None,
    **more: Any,
) -> Any:
    """Run ``story`` in a world of its own; ``more`` goes to the source."""

    async def scenario(world: World) -> None:
        folder = record(world.folder / "market", symbols, bars, base, hole, spot)
        replay = ReplaySource(folder, symbols, START)
        instruments = [instrument(symbol) for symbol in symbols]
        played = SourceTape(ReplaySource(folder, symbols, START), instruments, options=tape or TapeOptions(mark_every_ms=10_000))
        listings = [listing_of(one, START) for one in instruments]
        exchange = LocalExchange(listings, world.clocks, wallet=Decimal(1000), liquidity=liquidity_of(instruments))
        server = ExchangeServer(exchange, played, world.clocks, options or ServerOptions(reaction_ms=5))

        async def serve(_node: Node) -> None:
            await server.start("0.0.0.0", 443)  # noqa: S104 - in memory
            await asyncio.Event().wait()

        world.start("venue", serve, hosts=HOSTS)
        world.start("spot", partial(serve_spot, server), hosts=SPOT_HOSTS)
        others(world, replay)

        async def bot(_node: Node) -> None:
            wanted = dict.fromkeys(Timeframe, 120)
            told = {"wanted": wanted.__getitem__, "read_ntp": lambda: None, "settings": settings, **more}
            source = ExchangeSource(dict.fromkeys(symbols, base), world.clocks, **told)
            stand = Stand(world, replay, server, exchange, source)
            try:
                await asyncio.sleep(0.5)
                if prepare:
                    await source.prepare()
                await story(stand)
            finally:
                await source.close()

        await world.start("bot", bot).gone

    return run_world(seed, scenario)
