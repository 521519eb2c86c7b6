"""The real daemon at the local exchange, both in one virtual world: a made market, trades, kills."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from configs.validators import Configuration
from core.clock import Clock
from core.data.exchange.settings import ExchangeSettings
from core.data.sources.base import Source
from core.exec.live.audit import Difference
from core.exec.live.crash import OnCrashPoint, never
from core.exec.live.settings import LiveOptions
from core.monitor.store import Store
from core.monitor.telemetry import RunResult
from core.sim.server.options import ServerOptions
from core.sim.server.tls import VENUE_HOSTS
from core.sim.tape.source import TapeOptions
from core.types import Timeframe
from core.venues.client import Wiring
from graph.assembly import instruments_for
from graph.engines import EngineKind, build_engine
from graph.live.assembly import LiveRequest, Reach, live_daemon
from graph.live.daemon import LiveDaemon
from graph.live.local import LOCAL_KEYS, LocalVenue, local_venue
from graph.live.paper import daemon_at_real_market
from graph.runner import RunOptions
from graph.session_dir import SessionDir
from tests.support.run import EQUITY, short_configuration
from tests.support.simulation.clocks import EPOCH_MS
from tests.support.simulation.serving import serve
from tests.support.simulation.world import Node, World, run_world

OPENS_AFTER_S = 0.5
BEAT_MS = 600_000
"""Marks between trades; with it an hour of market takes a hundredth of a second."""
QUIET = ExchangeSettings(market_silent_s=900.0, book_silent_s=7_200.0, clock_every_s=1_800.0)
"""For a market that tells so little."""
CALM = LiveOptions(watch_every_s=10.0, audit_every_s=900.0, clock_every_s=1_800.0)
"""Looks at the position that often where nothing happened; what happens is looked at at once all the same."""
WANTED = dict.fromkeys(Timeframe, 1_440)


def seldom_warm() -> Wiring:
    """Else most of what a life of many hours asks for would be pings."""
    return Wiring(timeout_ms=2_000, warm_every_s=60.0)


@dataclass(frozen=True, slots=True)
class Shifted:
    """The node's clock, in the time of a market that does not begin when the world does."""

    clock: Clock
    by_ms: int

    def now_ms(self) -> int:
        return self.clock.now_ms() + self.by_ms


@dataclass
class Stand:
    """A world with the venue open."""

    world: World
    source: Source
    clock: Clock
    make_venue: Callable[[Path], LocalVenue]
    config: Configuration
    options: RunOptions
    venue: LocalVenue = field(init=False)
    daemons: list[LiveDaemon] = field(default_factory=list)
    look: Callable[[LiveDaemon], object] = lambda _: None
    crash: OnCrashPoint = never
    settings: ExchangeSettings = QUIET
    relayed: bool = False
    """Whether the venue is a real market's stand-in: heard only, orders go to an exchange of the daemon's own."""
    more: dict[str, Any] = field(default_factory=dict)
    result: RunResult | None = None
    differences: tuple[Difference, ...] | None = None
    """What did not agree at the end of a life that came to its end."""

    @property
    def session(self) -> Path:
        """The session's folder in the daemon's present life."""
        return self.world.nodes["bot"].folder / "session"

    @property
    def daemon(self) -> LiveDaemon:
        return self.daemons[-1]

    def start(self, **how: Any) -> Node:
        return self.world.start("bot", self.bot, **how)

    async def run(self) -> LiveDaemon:
        """One life from its start to its end."""
        await self.start().gone
        return self.daemon

    async def serve(self, node: Node) -> None:
        self.venue = self.make_venue(node.folder)
        await serve(self.venue.server)
        await asyncio.Event().wait()

    async def bot(self, node: Node) -> None:
        request = LiveRequest(
            self.config,
            self.source.info.base_tf,
            SessionDir(node.folder / "session"),
            EQUITY,
            self.options,
            crash=self.crash,
            **self.more,
        )
        reach = Reach(
            self.clock,
            LOCAL_KEYS,
            orders=seldom_warm(),
            options=CALM,
            wanted=WANTED.__getitem__,
            settings=self.settings,
            read_ntp=lambda: None,
        )
        async with self._daemon(request, reach) as daemon:
            self.daemons.append(daemon)
            self.result = await daemon.run(lambda: self.look(daemon))
            self.differences = await daemon.broker.compare()

    @asynccontextmanager
    async def _daemon(self, request: LiveRequest, reach: Reach) -> AsyncIterator[LiveDaemon]:
        engine = build_engine(EngineKind.DIRECT)
        if not self.relayed:
            async with live_daemon(request, reach, engine) as daemon:
                yield daemon
            return
        store = Store(request.folder.database)
        try:
            async with daemon_at_real_market(request, reach, engine, store) as daemon:
                yield daemon
        finally:
            store.close()


Story = Callable[[Stand], Awaitable[object]]


def trade(
    source: Source,
    story: Story,
    *,
    seed: int = 1,
    config: Configuration | None = None,
    bars: int | None = None,
    options: ServerOptions | None = None,
    levels: int = 10,
    keeps: bool = False,
    hosts_in_market_time: bool = False,
    **more: Any,
) -> None:
    """Run ``story`` beside a local exchange that plays ``source``; one that ``keeps`` its account can be restarted.

    With ``hosts_in_market_time`` clients sign with the market's time, as they do beside a real market.
    """

    async def scenario(world: World) -> None:
        used = config or short_configuration()
        apart = source.info.start - EPOCH_MS
        if hosts_in_market_time:
            world.clocks.skew_ms.default_factory = lambda: apart
        clock = Shifted(world.clocks, 0 if hosts_in_market_time else apart)
        given = replace(options or ServerOptions(reaction_ms=50), check_time=False)
        tape = TapeOptions(mark_every_ms=BEAT_MS, book_levels=levels)

        def make_venue(folder: Path) -> LocalVenue:
            kept = replace(given, state_file=folder / "exchange.db") if keeps else given
            instruments = instruments_for(used, source.info.symbols)
            return local_venue(source, instruments, clock, EQUITY, options=kept, tape=tape)

        until = RunOptions(market_time=True, until_bars=bars or source.info.batches)
        stand = Stand(world, source, clock, make_venue, used, until, more=more)
        world.start("venue", stand.serve, hosts=VENUE_HOSTS)
        await asyncio.sleep(OPENS_AFTER_S)
        await story(stand)

    run_world(seed, scenario)
