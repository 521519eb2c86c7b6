"""Paper on the live adapter: the local exchange, its server on loopback and the daemon in one process (issue 4, point 5).

The exchange plays the source in real time, beginning where it stopped; its account lives in the session's folder. What a paper
run meets here is what a live one meets: a client, sockets, TLS, an account that somebody else keeps.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from loguru import logger

from core.clock import Clock, rfc3339_seconds
from core.data.sources.base import Source, SourceInfo
from core.errors import StateError
from core.monitor.store import Store
from core.sim.server.options import ServerOptions
from core.sim.server.pace import PacedClock
from core.sim.server.persistence import StateFile
from core.venues.client import Wiring
from graph.assembly import instruments_for
from graph.engines import Engine
from graph.exchange_folder import ExchangeFolder, ExchangeMarket
from graph.live.assembly import LiveRequest, Reach, live_daemon
from graph.live.daemon import LiveDaemon
from graph.live.local import LOCAL_KEYS, LocalVenue, local_venue, local_wiring, relayed_venue
from graph.live.missed import Stakes
from graph.live.relay import MarketRelay
from graph.live.watching import watched

_HOST = "127.0.0.1"
_KEEP_TIME_S = 1.0


@asynccontextmanager
async def daemon_at_local(request: LiveRequest, source: Source, engine: Engine, store: Store) -> AsyncIterator[LiveDaemon]:
    """A daemon at a local exchange that plays ``source``, ready to run; both end with the block, the exchange last.

    Raises:
        StateError: the folder is in use, or of another run.
        SourceError: the source has no perpetual.
    """
    folder = _folder_of(request, store)
    with folder.held():
        _same_market(folder, _played(request, source.info))
        clock = PacedClock(_begin(folder, source, _last_decided(store)), 1.0, asyncio.get_running_loop().time)
        request.on_stage("opening the local exchange")
        # nobody's clock but this one counts: the market's time is not the host's
        options = ServerOptions(check_time=False, state_file=folder.account)
        instruments = instruments_for(request.config, source.info.symbols)
        venue = local_venue(source, instruments, clock, request.equity or 0.0, options=options)
        async with _kept_time(folder, clock), _served(venue, folder) as wiring:
            # a client each: data and orders share neither budget nor session
            reach = Reach(clock, LOCAL_KEYS, {"binanceusdm": wiring()}, wiring(), read_ntp=lambda: None)
            async with live_daemon(request, reach, engine, store) as daemon, watched(daemon, venue.server):
                yield daemon


@asynccontextmanager
async def daemon_at_real_market(request: LiveRequest, real: Reach, engine: Engine, store: Store) -> AsyncIterator[LiveDaemon]:
    """A daemon that hears a real market and trades at a local exchange, which plays that very market (X32).

    Args:
        request: what is to be run.
        real: how the real exchange is reached; its keys and the wiring of orders are not used: nothing is sent there.
        engine: carries events through the brain.
        store: the session's records.

    Raises:
        StateError: the folder is in use, or of another run.
        SourceError: the market cannot be reached.
    """
    folder = _folder_of(request, store)
    with folder.held():
        _same_market(folder, _heard(request))
        instruments = instruments_for(request.config, tuple(request.base_tf))
        relay = MarketRelay(request.base_tf, next(iter(real.data.values())), real.settings, logger.warning)
        options = ServerOptions(check_time=True, state_file=folder.account)  # both ends have one clock
        venue = relayed_venue(relay.tape, instruments, real.clock, request.equity or 0.0, options)
        relay.stakes = Stakes(venue.exchange, instruments)
        try:
            async with _served(venue, folder) as wiring:
                request.on_stage("connecting to the market: waiting for the first price and the first book of each symbol")
                await relay.start()
                reach = replace(real, keys=LOCAL_KEYS, orders=wiring())
                async with (
                    live_daemon(request, reach, engine, store) as daemon,
                    watched(daemon, venue.server, relay.finished),
                ):
                    yield daemon
        finally:
            await relay.close()


@asynccontextmanager
async def _served(venue: LocalVenue, folder: ExchangeFolder) -> AsyncIterator[Callable[[], Wiring]]:
    """The exchange on loopback; how to reach it."""
    certificate = folder.certificate()
    try:
        address = (await venue.server.start(_HOST, 0, certificate)).rest
        yield partial(local_wiring, int(address.rpartition(":")[2]), certificate)
    finally:
        await venue.server.close()


def _played(request: LiveRequest, info: SourceInfo) -> ExchangeMarket:
    seed = request.identity.get("seed")
    return ExchangeMarket(
        source=info.name.partition(":")[0],
        symbols=info.symbols,
        seed=None if seed is None else int(seed),
        start=info.start,
        equity=repr(request.equity),
        digest=info.digest,
        scenario=request.identity.get("scenario"),
    )


def _heard(request: LiveRequest) -> ExchangeMarket:
    return ExchangeMarket("exchange", tuple(request.base_tf), None, 0, repr(request.equity), "")


def _same_market(folder: ExchangeFolder, market: ExchangeMarket) -> None:
    """An account meets no market but its own: prices of another would fill its orders before anything else is looked at.

    Raises:
        StateError: the folder's account is of another market.
    """
    before = folder.market()
    if before is None or not folder.account.exists():
        folder.keep_market(market)
    elif before != market:
        raise StateError(
            f"{folder.root.parent} holds the account of another market: {before.difference(market)}",
            help="start with the same source, symbols, range and equity, or with another --state DIR",
            code="STATE-010",
        )


def _folder_of(request: LiveRequest, store: Store) -> ExchangeFolder:
    """Where the exchange of the session is; it is made with the session, and never again.

    Raises:
        StateError: a session goes on, and its exchange's account is gone.
    """
    root, decided = request.folder.root / "exchange", _last_decided(store)
    if decided and not ExchangeFolder.holds_account(root):
        raise _lost(f"the exchange of the session in {root.parent}, which went up to {rfc3339_seconds(decided)}, is gone", root)
    return ExchangeFolder(root)


def _last_decided(store: Store) -> int:
    """Time (ms) of the session's last decision; 0 before the first."""
    ((ts,),) = store.query("SELECT COALESCE(MAX(ts), 0) FROM decisions")
    return int(ts)


def _begin(folder: ExchangeFolder, source: Source, decided: int) -> int:
    """Where the market goes on.

    Raises:
        StateError: that is before what the session has ``decided``: it would wait for its last bar, and for fills that
            this account never had.
    """
    state = StateFile(folder.account).load()
    played = int(state["position"][0]) if state is not None and state["position"] else source.info.start
    begin = max(played, folder.time())
    if begin < decided:
        went, stands = rfc3339_seconds(decided), rfc3339_seconds(begin)
        raise _lost(f"the session in {folder.root.parent} went up to {went}, its exchange only up to {stands}", folder.root)
    return begin


def _lost(what: str, root: Path) -> StateError:
    return StateError(
        what,
        help=f"put {root} back as it was when the session stopped, or begin another session with another --state DIR",
        code="STATE-016",
    )


@asynccontextmanager
async def _kept_time(folder: ExchangeFolder, clock: Clock) -> AsyncIterator[None]:
    """After a kill the clock must not go back behind what the daemon was told."""

    async def keep() -> None:
        failing = False
        while True:
            failing = not _keep_time(folder, clock.now_ms() + round(2_000 * _KEEP_TIME_S), quiet=failing)
            await asyncio.sleep(_KEEP_TIME_S)

    keeping = asyncio.create_task(keep(), name="time of the local exchange")
    try:
        yield
    finally:
        keeping.cancel()
        _keep_time(folder, clock.now_ms())


def _keep_time(folder: ExchangeFolder, ts: int, *, quiet: bool = False) -> bool:
    try:
        folder.keep_time(ts)
    except OSError as error:  # the next second tries again
        if not quiet:
            logger.warning("the time of the local exchange cannot be written down: {}", error.strerror)
        return False
    return True
