"""Paper on the live adapter: the local exchange, its server on loopback and the daemon in one process (issue 4, point 5).

The exchange plays the source in real time, beginning where it stopped; its account lives in the session's folder. What a paper
run meets here is what a live one meets: a client, sockets, TLS, an account that somebody else keeps.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from core.clock import Clock
from core.data.sources.base import Source
from core.monitor.store import Store
from core.sim.server.options import ServerOptions
from core.sim.server.pace import PacedClock
from core.sim.server.persistence import StateFile
from graph.assembly import instruments_for
from graph.engines import Engine
from graph.exchange_folder import ExchangeFolder
from graph.live.assembly import LiveRequest, Reach, live_daemon
from graph.live.daemon import LiveDaemon
from graph.live.local import LOCAL_KEYS, local_venue, local_wiring

_HOST = "127.0.0.1"
_KEEP_TIME_S = 1.0


@asynccontextmanager
async def daemon_at_local(request: LiveRequest, source: Source, engine: Engine, store: Store) -> AsyncIterator[LiveDaemon]:
    """A daemon at a local exchange that plays ``source``, ready to run; both end with the block, the exchange last.

    Raises:
        StateError: the folder is in use, or of another run.
        SourceError: the source has no perpetual.
    """
    folder = ExchangeFolder(request.folder.root / "exchange")
    with folder.held():
        clock = PacedClock(_begin(folder, source), 1.0, asyncio.get_running_loop().time)
        # nobody's clock but this one counts: the market's time is not the host's
        options = ServerOptions(check_time=False, state_file=folder.account)
        instruments = instruments_for(request.config, source.info.symbols)
        venue = local_venue(source, instruments, clock, request.equity, options=options)
        keeping = asyncio.create_task(_keep_time(folder, clock), name="time of the local exchange")
        try:
            certificate = folder.certificate()
            address = (await venue.server.start(_HOST, 0, certificate)).rest
            port = int(address.rpartition(":")[2])
            reach = Reach(
                clock,
                LOCAL_KEYS,
                data={"binanceusdm": local_wiring(port, certificate)},
                orders=local_wiring(port, certificate),
                read_ntp=lambda: None,
            )
            async with live_daemon(request, reach, engine, store) as daemon:
                yield daemon
        finally:
            keeping.cancel()
            await venue.server.close()
            folder.keep_time(clock.now_ms())


def _begin(folder: ExchangeFolder, source: Source) -> int:
    state = StateFile(folder.account).load()
    played = int(state["position"][0]) if state is not None and state["position"] else source.info.start
    return max(played, folder.time())


async def _keep_time(folder: ExchangeFolder, clock: Clock) -> None:
    """After a kill the clock must not go back behind what the daemon was told."""
    while True:
        folder.keep_time(clock.now_ms() + round(2_000 * _KEEP_TIME_S))
        await asyncio.sleep(_KEEP_TIME_S)


