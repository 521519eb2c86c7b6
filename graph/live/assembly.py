"""Puts a run at an exchange together, brings it up in order and takes it down in order.

Up: records and journal, the source with its past, the books, the broker that goes on where they stand, recovery, the first bar.
Down: the daemon, then the broker (orders at the exchange stay), the source, the files. Data and orders have each their own
client and budget, so that neither waits for the other (issue 4, point 2).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal

from configs.validators import Configuration
from core.clock import Clock
from core.data.exchange.settings import ExchangeSettings
from core.data.sources.exchange import ExchangeSource
from core.exec.broker_ccxt import LiveBroker
from core.exec.live.crash import OnCrashPoint, never
from core.exec.live.settings import LiveOptions
from core.journal.bars import beginning
from core.journal.reader import JournalReader
from core.monitor.schema import AlertLevel
from core.monitor.store import Store
from core.types import Timeframe
from core.venues.binance_account import BinanceAccount
from core.venues.client import Wiring
from core.venues.keys import Keys
from graph.assembly import Assembly, assemble, instruments_for
from graph.engines import Engine
from graph.journaling import open_journal
from graph.live.daemon import LEAVE_WITHIN_S, LiveDaemon
from graph.live.venue import JournaledLive
from graph.runner import RunOptions
from graph.session_dir import SessionDir

ORDERS = "orders.sqlite"
"""The outbox's file in a session's folder."""


@dataclass(frozen=True, slots=True)
class Reach:
    """How the exchange is reached.

    Attributes:
        clock: the host's.
        keys: of the account.
        data: wiring of each venue for data, where it is not the usual one; venues are asked in this order.
        orders: wiring of the account's client.
        settings: patience with data; None: as a real venue needs it.
        options: of the live broker.
        wanted: bars of history of each timeframe; None: what features need.
        read_ntp: the host's own account of its drift; None: asked of the system.
    """

    clock: Clock
    keys: Keys
    data: Mapping[str, Wiring] = field(default_factory=lambda: {"binanceusdm": Wiring()})
    orders: Wiring = field(default_factory=Wiring)
    settings: ExchangeSettings | None = None
    options: LiveOptions = field(default_factory=LiveOptions)
    wanted: Callable[[Timeframe], int] | None = None
    read_ntp: Callable[[], float | None] | None = None


@dataclass(frozen=True, slots=True)
class LiveRequest:
    """What is to be run."""

    config: Configuration
    base_tf: Mapping[str, Timeframe]
    folder: SessionDir
    equity: float
    run: RunOptions = field(default_factory=lambda: RunOptions(market_time=True))
    identity: Mapping[str, str] = field(default_factory=dict)
    governance_changed: Callable[[], bool] = lambda: False
    handover: bool = False
    leave_within_s: float = LEAVE_WITHIN_S
    crash: OnCrashPoint = never


@asynccontextmanager
async def live_daemon(
    request: LiveRequest, reach: Reach, engine: Engine, store: Store | None = None
) -> AsyncIterator[LiveDaemon]:
    """A daemon at the exchange, ready to run; everything that was made for it ends with the block.

    Args:
        request: what is to be run.
        reach: how the exchange is reached.
        engine: carries events through the brain.
        store: the session's records where they are open already; whoever opened them closes them.

    Raises:
        StateError: the folder is in use, or of another run.
        SourceError: the exchange cannot be reached, or does not list a symbol.
    """
    async with AsyncExitStack() as stack:
        if store is None:
            store = Store(request.folder.database)
            stack.callback(store.close)
        journal = open_journal(request.folder.journal, store)
        stack.callback(journal.close)
        start = _start_of(request.folder, store) if journal.begun else None
        source = _source(request, reach, start)
        stack.push_async_callback(source.close)
        await source.prepare(history=start is None)
        books = _Books()
        broker = _broker(request, reach, books)
        stack.push_async_callback(broker.stop)
        venue = JournaledLive(broker, journal)
        books.parts = parts = assemble(request.config, source, store, request.equity, journal, venue)
        yield LiveDaemon(
            parts,
            engine,
            request.folder,
            request.run,
            broker,
            request.governance_changed,
            request.identity,
            handover=request.handover,
            leave_within_s=request.leave_within_s,
        )


def _start_of(folder: SessionDir, store: Store) -> int:
    """Open of the first bar of the session that is gone on with."""
    known = store.get_meta("start")
    if known is None:  # it was cut off before its first commit
        reader = JournalReader(folder.journal)
        known = beginning(reader, reader.segments[0]).opening.facts["start"]
    return int(known)


def _source(request: LiveRequest, reach: Reach, start: int | None) -> ExchangeSource:
    more = {name: given for name, given in (("wanted", reach.wanted), ("read_ntp", reach.read_ntp)) if given is not None}
    return ExchangeSource(
        request.base_tf,
        reach.clock,
        venues=tuple(reach.data),
        wirings=reach.data,
        settings=reach.settings,
        start=start,
        **more,  # type: ignore[arg-type]
    )


def _broker(request: LiveRequest, reach: Reach, books: _Books) -> LiveBroker:
    return LiveBroker(
        BinanceAccount(reach.keys, reach.clock, reach.orders),
        request.folder.root / ORDERS,
        instruments_for(request.config, tuple(request.base_tf)),
        reach.options,
        stop_of=books.stop_of,
        on_alert=books.alert,
        crash=request.crash,
    )


class _Books:
    """What the broker asks of the run, which is made after it."""

    parts: Assembly | None = None

    def stop_of(self, plan_id: str) -> Decimal | None:
        """The stop of a plan that the books know."""
        plan = None if self.parts is None else self.parts.context.ledger.plan(plan_id)
        return None if plan is None else plan.stop

    def alert(self, level: str, code: str, text: str) -> None:
        """Tell a person, on record."""
        if self.parts is not None:
            self.parts.recorder.alert(self.parts.clock.now_ms(), AlertLevel(level), code, text)
