"""One world: an exchange, a bot, what befalls both, and what must hold all the while and at the end."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import logging
import ssl
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextvars import Context
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import NamedTuple

import ccxt
import numpy.random  # noqa: F401 - it draws when it is first imported, and that must not be inside the first world
import pytest

from core.errors import BrainError
from core.exec.instrument import venue_id
from core.exec.live.crash import CrashPoint
from core.exec.live.halts import HaltKind
from core.sim.local.values import AlgoStatus
from core.sim.server.app import ExchangeServer
from core.sim.server.options import Latencies, ServerOptions, Span
from core.sim.server.tls import VENUE_HOSTS
from core.venues.words import Standing
from tests.faults.crash_matrix.around import Reach, full, hand, obey, stale
from tests.faults.crash_matrix.cells import FAULTS, Action, Beside, Cell, Happening, cell_of
from tests.faults.crash_matrix.market import (
    ACTION_BAR,
    BAR_MS,
    ENTRY_BAR,
    FIRST_BAR_MS,
    QTY,
    PathTape,
    PricePath,
    WatchedExchange,
)
from tests.faults.crash_matrix.rules import Agreement, Bot, Broken, Witness, hasty
from tests.faults.crash_matrix.trader import Trader
from tests.support.simulation import network
from tests.support.simulation.clocks import EPOCH_MS
from tests.support.simulation.world import Node, Outcome, World, _silence, run_world

LOOK_S = 0.25
_PATIENCE_S = 12.0
"""A point that was not passed so long after the action began: the life ends there and then."""
_END_S = 200.0
_OBEYED_S = 20.0
"""A person who is called comes so much later."""


@dataclass
class Story:
    """A life while it is lived; ``ended`` names the points at which the bot died."""

    world: World
    cell: Cell
    ended: list[str] = field(default_factory=list)
    trader: Trader | None = None
    server: ExchangeServer | None = None
    kills: int = 0
    calm: bool = False
    happening: int = 0
    """What still happens beside."""
    called_s: float | None = None
    """Since when a person is called for what belongs to no plan."""
    came: int = 0

    def __post_init__(self) -> None:
        cell = self.cell
        self.path = PricePath(cell, EPOCH_MS)
        self.witness = Witness(cell.side, self._exchange_ms, self.world.note, cell.symbols, tightened=cell.tightened)
        self.agreement = Agreement(self.witness, prompt=cell.prompt, silent=cell.silent, by_hand=cell.by_hand)
        self.reach = Reach(self.world.loop, self.look)
        self.seen: Counter[CrashPoint] = Counter()

    def _exchange_ms(self) -> int:
        return EPOCH_MS + round(self.world.loop.time() * 1000)

    # --- the exchange -----------------------------------------------------------------------------

    async def serve(self, node: Node) -> None:
        exchange = WatchedExchange(self.world.clocks, self.witness, self.cell.symbols)
        latencies = Latencies(Span(1, 5), Span(1, 20), Span(1, 5), Span(1, 30))
        state_file = None if self.cell.outage is None else node.folder / "exchange.db"
        options = ServerOptions(seed=self.cell.number, latencies=latencies, state_file=state_file)
        self.server = ExchangeServer(exchange, PathTape(self.path), self.world.clocks, options)
        self.reach.through(self.server)
        await self.server.start("0.0.0.0", 443)  # noqa: S104 - in memory
        await self.server.finished()

    async def outage(self) -> None:
        """The exchange dies and comes back, on its own state."""
        assert self.cell.outage is not None
        await asyncio.sleep(self.cell.outage.after_s)
        with self.reach.cut():
            self.world.kill("exchange")
            await asyncio.sleep(self.cell.outage.down_s)
            self.world.restart("exchange")

    # --- the bot ----------------------------------------------------------------------------------

    async def live(self, node: Node) -> None:
        while True:
            self.trader = Trader(
                self.cell, node.folder, self.world.clocks, self.path, EPOCH_MS, note=self.world.note, crash=self.passed
            )
            try:
                await self.trader.start()
                break
            except (ccxt.BaseError, BrainError, TimeoutError) as error:
                self.world.note("start failed", type(error).__name__)
                await self.trader.broker.stop()
                await asyncio.sleep(1.0)
        self.witness.started(self.trader.broker)
        self.look()
        await self.trader.run()

    def passed(self, point: CrashPoint) -> None:
        """The bot passes a point; where the cell says so, it is dead."""
        if self.kills >= len(self.cell.kills) or not self.armed or self._unwritten():
            return
        kill = self.cell.kills[self.kills]
        self.seen[point] += point is kill.point
        if self.seen[kill.point] == kill.nth and point is kill.point:
            self.ended.append(point.value)
            self.world.note("at", point)
            self.world.kill("bot")

    def _unwritten(self) -> bool:
        """What a full disk has not taken is lost with the process: nobody can promise more than to say so."""
        return self.trader is not None and bool(self.trader.broker._outbox._backlog)

    @property
    def armed(self) -> bool:
        return self.world.loop.time() * 1000 >= self._action_ms()

    def _action_ms(self) -> int:
        bar = ENTRY_BAR if self.cell.action is Action.ENTRY else ACTION_BAR
        return FIRST_BAR_MS + bar * BAR_MS - 20

    @property
    def up(self) -> bool:
        """Whether the bot lives and has recovered."""
        return not self._dead and self.trader is not None and self.trader.recovered

    @property
    def _dead(self) -> bool:
        return "bot" not in self.world.nodes or self.world.nodes["bot"].life in self.world.loop.dead

    def look(self) -> None:
        """Tell the witness what the bot can do now; it looks at the position then."""
        helpless = self._dead or not self.reach.there or self._unheard()
        self.witness.becomes(Bot.HELPLESS if helpless else Bot.UP if self.up else Bot.STARTING)
        self.witness.look()

    def _unheard(self) -> bool:
        """Whether words are lost without which nobody can know that something is to be done; the audit's schedule finds out."""
        if not self.cell.silent or not self.up or self.trader is None:
            return False
        broker, by_hand = self.trader.broker, self.cell.has(Beside.OPENS) is not None
        rows = broker._outbox.rows
        for symbol in broker._desk.instruments:
            name = venue_id(symbol)
            if by_hand and broker._guardian.held(symbol) != self.witness.held(name):
                return True
            for algo in self.witness.exchange.open_algos(name):
                row = rows.get(algo.client_id)
                if row is not None and row.standing is Standing.LIVE and algo.status is not AlgoStatus.NEW:
                    return True
        return False

    # --- what befalls them ------------------------------------------------------------------------

    async def trouble(self) -> None:
        """The cell's faults, from the moment of the action on, for a while."""
        cell, world = self.cell, self.world
        await asyncio.sleep(self._action_ms() / 1000 - world.loop.time())
        world.note("action", cell)
        for fault in cell.venue_faults:
            if self.server is not None:
                self.server.inject(fault)
        if cell.outage is not None:
            world.loop.create_task(self.outage(), context=Context())
        if cell.link_fault is not None:
            await self._cut(cell.link_fault)
        await asyncio.sleep(cell.faults_last_s)
        if self.server is not None:
            self.server.clear_faults()

    async def _cut(self, fault: network.Fault) -> None:
        """A fault of the link, for a while; what is reset is refused until it is over."""
        cell, links = self.cell, self.world.network
        await asyncio.sleep(cell.link_fault_after_s)
        with self.reach.cut() if cell.cuts else contextlib.nullcontext():
            links.add(fault)
            refused = network.Fault(network.Kind.REFUSE, "bot", "exchange")
            if fault.kind is network.Kind.RESET:
                links.add(refused)
            await asyncio.sleep(cell.link_fault_s)
            links.heal(fault)
            links.heal(refused)

    async def beside(self, happening: Happening) -> None:
        """What a person, a late answer or a full disk does meanwhile."""
        self.happening += 1
        await asyncio.sleep(self._action_ms() / 1000 + happening.after_s - self.world.loop.time())
        self.world.note("beside", happening.what)
        if happening.what is Beside.STALE:
            await stale(self.witness.exchange, happening.lasts_s)
        elif happening.what is Beside.FULL:
            await full(self.world, happening.lasts_s)
        elif self.server is not None:
            await hand(self.witness, self.server, self.cell, happening)
        self.happening -= 1

    async def ends(self) -> None:
        """The bot's lives, one after the other; the last one lives on."""
        await asyncio.sleep(self._action_ms() / 1000)
        for kill in self.cell.kills:
            gone = self.world.nodes["bot"].gone
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE_S):
                    await asyncio.shield(gone)
            if not gone.done() and (self.kills > 0 or self._unwritten()):
                self.kills = len(self.cell.kills)  # a second end that did not come
                break
            self.world.kill("bot")
            self.kills += 1
            self.seen.clear()
            self.look()
            await asyncio.sleep(kill.down_s)
            self.world.restart("bot", kill.loss)
            self.look()
        self.calm = True

    # --- to its end -------------------------------------------------------------------------------

    async def watch(self) -> None:
        """Look again and again until everything is over and agrees."""
        quiet = 0
        while quiet < 8:
            await asyncio.sleep(LOOK_S)
            self.look()
            self._call()
            quiet = quiet + 1 if self._agreed() and self._done() else 0
            self._raise()
            if self.world.loop.time() > _END_S:
                raise Broken(f"it came to no end: {self.agreement.state}, halted {self._halted()}")
        self._final()
        self._raise()

    def _call(self) -> None:
        """What only a person can end."""
        self._sell_what_is_nobodys()
        self._accept_what_came_back()

    def _accept_what_came_back(self) -> None:
        """An order is known as absent, and only then the exchange takes it, or tells of it: the person looks, and agrees."""
        if not (self.cell.belated and self.calm and self.up):
            return
        assert self.trader is not None
        broker, now_ms = self.trader.broker, self._exchange_ms()
        for halt in broker.halts:
            if halt.kind is HaltKind.CONTRADICTED and now_ms - halt.ts > _OBEYED_S * 1000:
                self.world.note("accepts", halt.symbol, halt.ref)
                broker.resume(halt.symbol, halt.kind, halt.ref)

    def _sell_what_is_nobodys(self) -> None:
        """Where words of what a person traded were lost it was taken for another's."""
        if not (self.cell.by_hand and self.cell.silent and self.calm and self.up) or self.happening or self.server is None:
            return
        assert self.trader is not None
        broker, now = self.trader.broker, self.world.loop.time()
        apart = {symbol: broker._outbox.unsettled(symbol) for symbol in broker.halted if symbol}
        if not any(apart.values()):
            self.called_s = None
        elif self.called_s is None:
            self.called_s = now
        elif now - self.called_s > _OBEYED_S:
            self.called_s, self.came = None, self.came + 1
            for symbol, qty in apart.items():
                obey(self.witness, self.server, venue_id(symbol), qty, 1 + self.came)

    def _agreed(self) -> bool:
        trader = self.trader
        if not self.up or trader is None:
            self.agreement.asleep()
            return False
        return self.agreement.look(trader.broker, trader.ledger, len(trader.orders.pending()), self._exchange_ms())

    def _done(self) -> bool:
        trader = self.trader
        if not self.calm or self.happening or trader is None or not trader.over:
            return False
        if self.server is not None:
            self.server.clear_faults()
        return True

    def _halted(self) -> dict[str, str]:
        return {} if self.trader is None else self.trader.broker.halted

    def _raise(self) -> None:
        if self.witness.broken:
            raise Broken("; ".join(self.witness.broken))

    def _final(self) -> None:
        """What is counted at the end: fills against plans, money against money."""
        witness, trader, cell = self.witness, self.trader, self.cell
        assert trader is not None
        if any(witness.held(symbol) for symbol in cell.symbols):
            raise Broken(f"something is held at the end: {self.agreement.state}")
        if trader.broker.halted:
            raise Broken(f"halted at the end: {trader.broker.halted}")
        rows = trader.broker._outbox.rows
        if not any(_leg(client_id)[1] == "e" for client_id in rows) and cell.has(Beside.FULL) is None:
            raise Broken("the entry was decided, and is on no record")
        for symbol in cell.symbols:
            for leg, most in (("e", QTY), ("a", QTY / 2)):
                filled = sum((qty for name, qty in witness.filled.items() if _leg(name) == (symbol[:8], leg)), Decimal(0))
                if filled > most:
                    raise Broken(f"{filled} {symbol} were filled of a plan of {most}: {dict(witness.filled)}")
        if cell.orderly and not witness.acted and (told := hasty(trader.broker)):
            raise Broken(told)


def _leg(client_id: str) -> tuple[str, str]:
    """Market and leg of an order of ours."""
    parts = client_id.split("-")
    return (parts[1], parts[3][0]) if len(parts) == 4 else ("", "")


@dataclass(frozen=True, slots=True)
class Result:
    """What a life came to. ``failure`` is empty where every rule held; ``ends`` are the points at which the bot died."""

    number: int
    failure: str
    ends: tuple[str, ...]
    naked_ms: int
    starting_ms: int
    outcome: Outcome | None
    events: tuple[str, ...]

    def bare(self) -> Result:
        """Without all that happened."""
        return replace(self, outcome=None, events=())


def live_through(number: int, points: Sequence[CrashPoint] = tuple(CrashPoint), faults: Sequence[str] = FAULTS) -> Result:
    """Live one life and judge it."""
    seen: list[Seen] = []
    failure, outcome = "", None
    try:
        with _quickly():
            outcome = run_world(number, lambda world: _tell(world, cell_of(number, points, faults), seen))
    except Exception as error:  # noqa: BLE001 - whatever it is, the life has failed
        failure = f"{type(error).__name__}: {error}"
        where = [frame for frame in traceback.extract_tb(error.__traceback__) if "/asyncio/" not in frame.filename]
        if not isinstance(error, Broken):
            failure += "".join(f"\n  {frame.filename}:{frame.lineno} in {frame.name}" for frame in where[-6:])
    [told] = seen
    result = Result(number, failure, told.ends, told.naked_ms, told.starting_ms, outcome, told.events)
    if failure:
        with _silence():  # the error held the world's coroutines
            gc.collect()
    return result


@contextlib.contextmanager
def _quickly() -> Iterator[None]:
    """Without what takes time and means nothing here: certificates nobody shows, and the server's log of broken requests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", _context)
        patch.setattr(logging.getLogger("aiohttp.server"), "disabled", True)
        yield


@functools.cache
def _context(**_more: object) -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Seen(NamedTuple):
    """What is kept of a life: the rest is buried with its world."""

    ends: tuple[str, ...]
    naked_ms: int
    starting_ms: int
    events: tuple[str, ...]


async def _tell(world: World, cell: Cell, seen: list[Seen]) -> None:
    story = Story(world, cell)
    try:
        await _play(world, story)
    finally:
        seen.append(Seen(tuple(story.ended), story.witness.naked_ms, story.witness.starting_ms, tuple(world.events)))


async def _play(world: World, story: Story) -> None:
    world.start("exchange", story.serve, hosts=VENUE_HOSTS)
    await asyncio.sleep(0.05)
    world.start("bot", story.live, watch_disk=True)
    besides = [story.beside(happening) for happening in story.cell.besides]
    parts = (story.trouble(), story.ends(), story.watch(), *besides)
    await asyncio.gather(*(world.loop.create_task(part, context=Context()) for part in parts))
