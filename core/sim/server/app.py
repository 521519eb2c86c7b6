"""The server: the local exchange behind the venue's REST and WebSocket."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import numpy as np
from aiohttp import web

from core.clock import Clock
from core.errors import StateError
from core.sim.local.exchange import LocalExchange
from core.sim.local.values import AccountWord
from core.sim.server import control
from core.sim.server.calls_market import day_stats
from core.sim.server.control import Control
from core.sim.server.countdowns import Countdowns
from core.sim.server.desk import Desk
from core.sim.server.doors import Doors
from core.sim.server.faults import Fault, FaultPlan
from core.sim.server.gateway import Gateway
from core.sim.server.listen_keys import ListenKeys
from core.sim.server.market import MarketView
from core.sim.server.mishaps import Mishaps
from core.sim.server.options import ServerOptions
from core.sim.server.pace import Pace
from core.sim.server.persistence import StateFile
from core.sim.server.pump import Pump
from core.sim.server.spot_streams import SpotStreams
from core.sim.server.streams import Streams
from core.sim.server.tls import Certificate
from core.sim.server.user import UserFeed
from core.sim.tape.base import MarketTape

BODY_MOST = 1_000_000
SHUTDOWN_SECONDS = 1.0
SAVE_EVERY_MS = 60_000
"""A quiet account is saved too, so that a start after a crash plays no more than this again."""
SAVE_AGAIN_S = 1.0
"""How long after a save that failed the next one is tried."""


class Addresses(NamedTuple):
    """Where the server is reached."""

    rest: str
    streams: str


class ExchangeServer:
    """Serves one exchange and plays one tape to it.

    Args:
        exchange: the engine; nobody else may drive it.
        tape: the market.
        clock: the venue's time, the same that the engine was given.
        options: see :class:`~core.sim.server.options.ServerOptions`.

    Raises:
        StateError: the state file cannot be read.
    """

    def __init__(self, exchange: LocalExchange, tape: MarketTape, clock: Clock, options: ServerOptions | None = None) -> None:
        options = options or ServerOptions()
        draws, waits, chances, sockets = (np.random.default_rng(part) for part in np.random.SeedSequence(options.seed).spawn(4))
        pace, market = Pace(clock, options.speed), MarketView(exchange.listings)
        keys = ListenKeys(options.listen_key_ms, options.seed)
        countdowns = Countdowns(pace, self._cancel_all)
        self._desk = Desk(exchange, tape, market, pace, options, keys, countdowns, draws)
        self._plan = FaultPlan(chances)
        self._streams = Streams(market, pace, self._plan, lambda symbol: day_stats(self._desk, symbol))
        self._spot = SpotStreams(tape, pace, self._plan)
        self._user = UserFeed(keys, pace, self._plan)
        self._gateway = Gateway(self._desk, self._plan, waits, self._settle)
        self._doors = Doors(self._streams, self._spot, self._user, keys, pace, options, sockets)
        self._mishaps = Mishaps(self._desk, self._plan, self._doors, self._user, self._settle)
        hubs = self._streams, self._spot
        self._pump = Pump(exchange, tape, market, *hubs, pace, reaction_ms=options.reaction_ms, settle=self._settle)
        self._file = StateFile(options.state_file) if options.state_file else None
        self._runner: web.AppRunner | None = None
        self._playing: asyncio.Task[None] | None = None
        self._saved_ms = 0
        self._untold: list[AccountWord] = []
        self._again: asyncio.TimerHandle | None = None
        self._restore()

    # --- life -------------------------------------------------------------------------------------

    async def start(self, host: str = "127.0.0.1", port: int = 0, tls: Certificate | None = None) -> Addresses:
        """Listen and begin to play; port 0 takes a free one, without ``tls`` it is plain HTTP."""
        self._runner = web.AppRunner(self._app(), access_log=None, handle_signals=False, shutdown_timeout=SHUTDOWN_SECONDS)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, ssl_context=tls.server_context() if tls else None)
        await site.start()
        self._playing = asyncio.create_task(self._pump.run())
        bound = self._runner.addresses[0][1] if port == 0 else port
        secure = "s" if tls else ""
        return Addresses(f"http{secure}://{host}:{bound}", f"ws{secure}://{host}:{bound}")

    async def finished(self) -> None:
        """Wait until the tape has ended, or raise what stopped it."""
        if self._playing:
            await asyncio.shield(self._playing)

    @property
    def played_to(self) -> int:
        """Time (ms) of the last tick that was played; 0 before the first."""
        return self._pump.position[0] if self._pump.position else 0

    @property
    def not_kept(self) -> str | None:
        """Why the account cannot be written down; None while it can.

        Meanwhile the market goes on, and what it does to the account is tried to be written again and again. Nobody is told of
        it before, and nobody can ask or order anything: a kill would take it back.
        """
        return self._desk.not_kept

    async def close(self) -> None:
        """End everything; the state is saved.

        Raises:
            StateError: it cannot be: what happened to the account since, and was told to nobody, is lost.
        """
        if self._again:
            self._again.cancel()
        self._desk.countdowns.close()
        self._gateway.close()
        if self._playing:
            self._playing.cancel()
            await asyncio.gather(self._playing, return_exceptions=True)  # who waits in finished() was told what broke it
        await self._doors.close()
        self._user.close()
        if self._runner:
            await self._runner.cleanup()
        if self._file:
            try:
                self._write(self._file)
            finally:
                self._file.close()

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=BODY_MOST)
        for category in ("/{category:public|market|private}", ""):
            app.router.add_get(f"{category}/{{form:ws|stream}}{{names:(/.*)?}}", self._doors.enter)
        if self._desk.options.control:
            app.router.add_route("*", control.PATH, Control(self._plan, self._mishaps).handle)
        app.router.add_route("*", "/{path:.*}", self._gateway.handle)
        return app

    # --- faults -----------------------------------------------------------------------------------

    def inject(self, fault: Fault) -> None:
        """Let a fault happen: at once if it is the venue's own, else to the requests or messages that it names."""
        self._mishaps.add(fault)

    def clear_faults(self) -> None:
        """No more faults; stuck triggers come loose."""
        self._mishaps.clear()

    @property
    def faults_waiting(self) -> tuple[Fault, ...]:
        """Faults that have not happened yet, or not as often as they should."""
        return self._plan.waiting

    # --- after every change -----------------------------------------------------------------------

    def _settle(self, changed: bool = False) -> None:
        """Save the account where it changed, then tell what happened to it; what is not on the disk is told to nobody."""
        self._untold += self._desk.exchange.drain_words()
        due = changed or self._untold or self._desk.pace.clock.now_ms() >= self._saved_ms + SAVE_EVERY_MS
        if due and self._again is None:
            self._save()
        if self._desk.not_kept is None:
            words, self._untold = tuple(self._untold), []
            self._user.publish(words)
            self._streams.tell_liquidations(words)

    def _cancel_all(self, symbol: str) -> None:
        self._desk.exchange.cancel_all(symbol)
        self._settle(True)

    # --- state ------------------------------------------------------------------------------------

    def _save(self) -> None:
        if self._file is None:
            return
        try:
            self._write(self._file)
        except StateError as error:
            self._desk.not_kept = error.what
            self._again = asyncio.get_running_loop().call_later(SAVE_AGAIN_S, self._save_again)
        else:
            self._desk.not_kept = None

    def _save_again(self) -> None:
        self._again = None
        self._settle(True)

    def _write(self, file: StateFile) -> None:
        file.save(self._present(), self._desk.exchange.past)
        self._saved_ms = self._desk.pace.clock.now_ms()

    def _present(self) -> dict[str, Any]:
        return {
            "exchange": self._desk.exchange.present(),
            "tape": self._desk.tape.snapshot(),
            "memory": self._desk.memory.snapshot(),
            "position": self._pump.position,
        }

    def _restore(self) -> None:
        state = self._file.load() if self._file else None
        if state is None:
            return
        self._desk.exchange.restore({**state["exchange"], "past": state["past"]})
        self._desk.tape.restore(state["tape"])
        self._desk.memory.restore(state["memory"])
        if state["position"]:
            ts, count = state["position"]
            self._pump.position = (ts, count)
