"""Puts a run at an exchange together, brings it up in order and takes it down in order.

Up: records and journal, the source with its past, the books, the broker that goes on where they stand, recovery, the first bar.
Down: the daemon, then the broker (orders at the exchange stay), the source, the files. Data and orders have each their own
client and budget, so that neither waits for the other (issue 4, point 2).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import NamedTuple

from loguru import logger

from configs.validators import Configuration
from core.clock import Clock
from core.data.blocks import Book
from core.data.exchange.settings import ExchangeSettings
from core.data.sources.exchange import ExchangeSource
from core.errors import AccountRefused
from core.exec.broker_ccxt import LiveBroker
from core.exec.entering import Entering
from core.exec.live.crash import OnCrashPoint, never
from core.exec.live.settings import LiveOptions
from core.journal.bars import beginning
from core.journal.reader import JournalReader
from core.monitor.schema import AlertLevel
from core.monitor.store import Store
from core.risk.canary import Sizing
from core.types import Timeframe
from core.venues.binance_account import BinanceAccount
from core.venues.client import Wiring
from core.venues.keys import Keys
from core.venues.words import ZERO, BalanceSeen
from graph.assembly import Assembly, assemble, instruments_for
from graph.engines import Engine
from graph.identity import Known
from graph.journaling import open_journal
from graph.live.daemon import LEAVE_WITHIN_S, LiveDaemon
from graph.live.venue import JournaledLive
from graph.opening import EQUITY, SIZING, facts_of_entering, gap_fill_of
from graph.provenance import provenance_of
from graph.recorder import LOG_LEVELS
from graph.runner import RunOptions
from graph.session_dir import SessionDir

ORDERS = "orders.sqlite"
"""The outbox's file in a session's folder."""
_START, _EQUITY_TS = "start", "equity_ts"
"""Facts of a session: open of its first bar, and when the account was asked what it begins with."""


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

    def backed_by(self, venues: Sequence[str]) -> Reach:
        """The same, with more venues whose candles stand in while the first one is silent (B7)."""
        return replace(self, data={**self.data, **{venue: Wiring() for venue in venues if venue not in self.data}})


@dataclass(frozen=True, slots=True)
class LiveRequest:
    """What is to be run.

    ``equity``: USD at the first start; None: what the account holds then. ``on_balance``: told what the account holds now.
    ``on_stage``: told what the start is busy with.
    """

    config: Configuration
    base_tf: Mapping[str, Timeframe]
    folder: SessionDir
    equity: float | None
    run: RunOptions = field(default_factory=lambda: RunOptions(market_time=True))
    identity: Mapping[str, str] = field(default_factory=dict)
    governance_changed: Callable[[], bool] = lambda: False
    handover: bool = False
    leave_within_s: float = LEAVE_WITHIN_S
    sizing: Sizing = Sizing.WHOLE
    crash: OnCrashPoint = never
    on_balance: Callable[[BalanceSeen], None] = lambda _: None
    entering: Entering = field(default_factory=Entering)
    on_stage: Callable[[str], None] = lambda _: None


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
        BrainError: the account may not be traded as it is; nothing was sent but what covers what was open.
    """
    async with AsyncExitStack() as stack:
        if store is None:
            store = Store(request.folder.database)
            stack.callback(store.close)
        journal = open_journal(request.folder.journal, store)
        stack.callback(journal.close)
        known = _known(request.folder, store) if journal.begun else None
        books = _Books()
        stack.callback(books.close)
        broker = _broker(request, reach, books)
        stack.push_async_callback(broker.stop)
        request.on_stage("asking the account what it is and holds")
        held = await broker.check()
        request.on_balance(held)
        begun = _begun(request, held, known)
        books.source = source = _source(request, reach, begun.start)
        stack.push_async_callback(source.close)
        request.on_stage(f"fetching the past of {', '.join(request.base_tf)}")
        await source.prepare(history=begun.start is None)
        venue = JournaledLive(broker, journal)
        parts = assemble(
            request.config, source, store, begun.equity, journal, venue, request.sizing, gap_fill_of(request.identity)
        )
        daemon = LiveDaemon(
            parts,
            engine,
            request.folder,
            request.run,
            broker,
            request.governance_changed,
            {**request.identity, **begun.facts, **_facts(request, reach)},
            since=begun.since,
            handover=request.handover,
            leave_within_s=request.leave_within_s,
        )
        books.meet(parts)
        daemon.outside = lambda: _outside(broker)
        if known is not None:
            daemon.refuse_another(known)
        yield daemon


def _outside(broker: LiveBroker) -> tuple[str, ...]:
    """What is held there beyond the books; where they have more than the exchange, a halt tells it."""
    held = broker.held
    beyond = {symbol: qty for symbol, qty in broker.apart.items() if qty * held.get(symbol, ZERO) > ZERO}
    stop = {symbol: "under a stop" if broker.covered(symbol) else "WITHOUT A STOP that is known" for symbol in beyond}
    return tuple(f"{qty} {symbol}, {stop[symbol]}" for symbol, qty in beyond.items())


def _facts(request: LiveRequest, reach: Reach) -> dict[str, str]:
    """What a session says of itself: where market, time and orders came from (X32), how entries are sized, and how made."""
    provenance = provenance_of(reach.data, reach.orders, reach.clock, request.run)
    return {SIZING: request.sizing.value, **facts_of_entering(request.entering), **provenance.facts()}


class _Begun(NamedTuple):
    """How the session began: USD, since when (ms) they are the account's, and open of the first bar where that is over."""

    equity: float
    since: int
    start: int | None
    facts: Mapping[str, str]


def _begun(request: LiveRequest, held: BalanceSeen, known: Known | None) -> _Begun:
    """A session that is gone on with keeps the money that it began with; transfers since are told to it."""
    start = None if known is None else int(known(_START) or 0)
    if request.equity is not None:
        return _Begun(request.equity, held.ts if start is None else start, start, {})
    facts = {name: None if known is None else known(name) for name in (EQUITY, _EQUITY_TS)}
    if facts[EQUITY] is None:
        if held.wallet <= 0:
            raise AccountRefused(
                f"the futures account holds {held.wallet:.2f} USDT, expected some to trade with",
                help="transfer USDT to the futures wallet, then start again",
                code="LIVE-016",
            )
        facts = {EQUITY: repr(float(held.wallet)), _EQUITY_TS: str(held.ts)}
    kept = {name: str(value) for name, value in facts.items()}
    return _Begun(float(kept[EQUITY]), int(kept[_EQUITY_TS]), start, kept)


def _known(folder: SessionDir, store: Store) -> Known:
    """Facts of the session that is gone on with."""
    if store.get_meta(_START) is not None:
        return store.get_meta
    reader = JournalReader(folder.journal)  # it was cut off before its first commit
    return beginning(reader, reader.segments[0]).opening.facts.get


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
        _options(request, reach),
        stop_of=books.stop_of,
        books=books.book,
        on_alert=books.alert,
        crash=request.crash,
    )


def _options(request: LiveRequest, reach: Reach) -> LiveOptions:
    """Under the limits in force; nothing is entered on a book of which the stream was silent for too long."""
    settings = reach.settings or ExchangeSettings()
    options = reach.options.under(request.config.governance).entering(request.entering)
    return replace(options, book_valid_ms=round(1000.0 * settings.book_silent_s))


class _Books:
    """What the broker asks of the run, which is made after it; what the broker tells before that is told to it then."""

    def __init__(self) -> None:
        self.parts: Assembly | None = None
        self.source: ExchangeSource | None = None
        self._early: list[tuple[str, str, str]] = []

    def meet(self, parts: Assembly) -> None:
        """Here is the run."""
        self.parts = parts
        for level, code, text in self._early:
            self.alert(level, code, text)
        self._early.clear()

    def close(self) -> None:
        """There was none: what nobody was told of is in the log at least."""
        for level, code, text in self._early:
            logger.log(LOG_LEVELS[AlertLevel(level)], "{}: {}", code, text)

    def book(self, symbol: str) -> Book | None:
        """The order book as it is now."""
        return None if self.source is None else self.source.present_book(symbol)

    def stop_of(self, plan_id: str) -> Decimal | None:
        """The stop of a plan that the books know."""
        plan = None if self.parts is None else self.parts.context.ledger.plan(plan_id)
        return None if plan is None else plan.stop

    def alert(self, level: str, code: str, text: str) -> None:
        """Tell a person, on record."""
        if self.parts is None:
            self._early.append((level, code, text))
        else:
            self.parts.recorder.alert(self.parts.clock.now_ms(), AlertLevel(level), code, text)
