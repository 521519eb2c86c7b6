"""The live broker: orders to a venue through ccxt, none lost and none sent twice (F1, F2, F6).

Paper runs it too, against the local exchange. How it is made is in :mod:`core.exec.live`; this is its front.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from core.data.blocks import Batch, Book
from core.errors import StateError
from core.exec.broker import AccountView
from core.exec.instrument import Instrument
from core.exec.live.audit import Audit, Difference
from core.exec.live.crash import OnCrashPoint, never
from core.exec.live.desk import BookOf, Desk, OnAlert
from core.exec.live.guardian import Guardian, StopOf
from core.exec.live.halts import Halt, HaltKind
from core.exec.live.intake import Intake
from core.exec.live.maker import Maker
from core.exec.live.outbox import Outbox
from core.exec.live.port import Account
from core.exec.live.recovery import Recoverer, Recovery
from core.exec.live.resolver import Resolver
from core.exec.live.sender import Sender
from core.exec.live.settings import LiveOptions
from core.exec.live.telling import Telling
from core.types import BrokerEvent, Order, OrderUpdate
from core.venues.words import ZERO, BalanceSeen, TransferSeen

OnEvents = Callable[[tuple[BrokerEvent, ...]], Awaitable[None]]
MayTell = Callable[[], bool]
OTHER_BY_NOW = "LIVE-017"
"""Code of the error that says: the exchange has another position than was accepted."""


class LiveBroker:
    """A broker (:class:`core.exec.broker.Broker`) and venue of a run, at a real exchange or the local one.

    Call :meth:`restore` where the run goes on from a snapshot, then :meth:`start`; nothing is opened before that has agreed.
    Between bars :meth:`wait` says when there is something to hear, and :meth:`deliver` tells it.

    Args:
        account: at the venue (:class:`core.venues.binance_account.BinanceAccount`).
        path: the outbox's file, ``orders.sqlite`` of the session's folder.
        instruments: what may be traded.
        options: settings; the defaults say why they are what they are.
        stop_of: the stop of a plan by its id, for the stop that never moves; None where the books know no such plan.
        books: the present book of a symbol, for the checks before an entry and as the price without slippage; where it has
            none, or is not given, the last one of a batch counts while it is fresh.
        on_alert: told what a person should know, as ``(level, code, text)``.
        crash: called at named places, for tests.

    Raises:
        StateError: the outbox is in use, damaged or of another version.
    """

    def __init__(
        self,
        account: Account,
        path: Path,
        instruments: Sequence[Instrument],
        options: LiveOptions | None = None,
        *,
        stop_of: StopOf = lambda _: None,
        books: BookOf | None = None,
        on_alert: OnAlert = lambda _level, _code, _text: None,
        crash: OnCrashPoint = never,
    ) -> None:
        self._account, self._options = account, options or LiveOptions()
        self._outbox = Outbox(path, crash=crash)
        self._books: dict[str, Book] = {}
        self._present = books or self._books.get
        self._desk = Desk(
            account,
            self._outbox,
            instruments,
            self._options,
            books=self._book,
            on_alert=on_alert,
            crash=crash,
        )
        self._telling = Telling(self._outbox)
        self._intake = Intake(self._desk)
        self._audit = Audit(self._desk, self._intake)
        resolver = Resolver(self._desk, self._intake, self._audit.fetch_trades)
        self._sender = Sender(self._desk, self._intake, resolver)
        self._maker = Maker(self._desk, self._intake, self._sender, resolver)
        self._guardian = Guardian(self._desk, self._intake, self._sender, self._audit, stop_of)
        self._recoverer = Recoverer(self._desk, self._intake, resolver, self._sender, self._audit, self._guardian)
        self._ts = 0
        self._intake.surplus = lambda symbol: self._audit.surplus.get(symbol, ZERO)
        self._intake.on_position = self._guardian.changed
        self._intake.on_doubt = self._audit.want
        account.listen(self._intake.hear, self._intake.trouble, self._sender.doubt_clock)

    # --- life -------------------------------------------------------------------------------------

    async def check(self) -> BalanceSeen:
        """Whether the account may be traded at all, and what it holds; asked before anything begins.

        What is open on record is covered first.

        Raises:
            BrainError: it may not, or cannot be asked. Nothing was sent but what covers what was open.
        """
        return await self._recoverer.check()

    def open_nothing(self, why: str) -> None:
        """Only watch, protect and reduce in this life; to be said before :meth:`start`, which puts it on the disk."""
        self._recoverer.unproven = why

    async def start(self) -> Recovery:
        """Make exchange and outbox agree, and watch over both from then on.

        Raises:
            BrainError: the account must not be traded as it is; nothing was sent but what covers what was open.
        """
        return await self._recoverer.recover()

    async def stop(self) -> None:
        """End all that runs beside, and let go of account and outbox. Orders at the venue stay as they are (X34)."""
        await self._desk.stop()
        await self._account.close()
        self._outbox.close()

    async def compare(self) -> tuple[Difference, ...]:
        """Compare everything with the exchange now; what does not agree."""
        return await self._audit.compare([])

    @property
    def compared_ms(self) -> int:
        """When everything was last compared with the exchange, in its time; 0: never in this life."""
        return self._audit.compared_ms

    @property
    def wallet(self) -> Decimal | None:
        """Closed money of the account, as it was last told; None before that, and while the books are owed an event."""
        return None if self._outbox.owed or self._telling.repeating else self._intake.wallet

    async def transfers(self, since: int) -> tuple[TransferSeen, ...]:
        """Money that the owner paid in or took out from ``since`` (ms) on, oldest first."""
        return await self._account.transfers(since)

    async def accept(self, symbol: str, qty: Decimal, why: str) -> None:
        """By a person's word: ``qty`` is the position of ``symbol``, as the exchange says, whatever the record says.

        What the books have beyond it is closed in them, at the last price; what is held beyond the books belongs to no plan:
        it stays under a stop, and nothing is opened beside it until it is gone.

        Raises:
            StateError: the exchange has another position by now, or it could not be written; nothing was taken over.
        """
        await self._audit.compare([symbol])
        seen = self._audit.seen.get(symbol)
        present = ZERO if seen is None else seen.qty
        if present != qty:
            what = f"the exchange has {present} {symbol} by now, accepted were {qty}"
            raise StateError(what, help="look again, then brain accept", code=OTHER_BY_NOW)
        if any(halt.symbol == symbol and halt.kind.of_position for halt in self.halts):
            self._audit.surplus.pop(symbol, None)
            self._intake.take_over(symbol, qty, why)
            await self._audit.compare([symbol])

    @property
    def held(self) -> dict[str, Decimal]:
        """Signed position of every symbol, as far as is known: by the fills on record, and what was found beyond them."""
        symbols = sorted({*self._outbox.holdings(), *self._audit.surplus})
        held = {symbol: self._outbox.held(symbol) + self._audit.surplus.get(symbol, ZERO) for symbol in symbols}
        return {symbol: qty for symbol, qty in held.items() if qty}

    @property
    def apart(self) -> dict[str, Decimal]:
        """What the exchange has of each symbol beyond what the books were told (less: of the other sign): it is in no plan."""
        symbols = sorted({*self._outbox.holdings(), *self._audit.surplus})
        apart = {symbol: self._outbox.apart(symbol) + self._audit.surplus.get(symbol, ZERO) for symbol in symbols}
        return {symbol: qty for symbol, qty in apart.items() if qty}

    def covered(self, symbol: str) -> bool:
        """Whether a stop that is known to stand closes all that is held of ``symbol``."""
        return self._guardian.exposure(symbol).covered

    @property
    def in_doubt(self) -> tuple[Order, ...]:
        """Entries that may be at the exchange, or filled, and nobody knows."""
        return tuple(row.order for row in self._outbox.unresolved() if row.opens)

    @property
    def halts(self) -> tuple[Halt, ...]:
        """Why nothing is opened, and where; each goes when what it says is settled."""
        return self._desk.halts

    @property
    def halted(self) -> dict[str, str]:
        """The same in words, by symbol; "" is the whole account."""
        return self._desk.halted

    def resume(self, symbol: str, kind: HaltKind, ref: str = "") -> None:
        """By a person's word: a reason is settled that nothing but that settles; others stay."""
        if kind.by_person:
            self._desk.lift(symbol, kind, ref)

    @property
    def failure(self) -> str | None:
        """Why the outbox is not on the disk; None while it is."""
        return self._outbox.failure

    # --- the broker port --------------------------------------------------------------------------

    async def place(self, order: Order) -> OrderUpdate:
        """Send one order, unless its id is known: then what became of it is told again.

        NEW: the exchange has it. REJECTED: it has not, and why. UNKNOWN: nobody can tell yet; an event will.
        """
        return await self._maker.place(order)

    async def cancel(self, symbol: str, client_id: str) -> OrderUpdate:
        """Call one order back; NEW and UNKNOWN mean that it is not gone yet, and that it is gone on with."""
        return await self._sender.cancel(symbol, client_id)

    def drain(self) -> tuple[BrokerEvent, ...]:
        return self._telling.next(self._ts)

    def account(self) -> AccountView:
        """The account by its last words, marked to the last prices; used margin is what positions hold at the leverage."""
        wallet = float(self._intake.wallet or 0)
        unrealised = used = 0.0
        for symbol, qty in self._outbox.holdings().items():
            price, seen = self._desk.prices.get(symbol, 0.0), self._audit.seen.get(symbol)
            entry = price if seen is None else float(seen.entry)
            unrealised += float(qty) * (price - entry)
            used += abs(float(qty)) * price / self._options.leverage
        equity = wallet + unrealised
        return AccountView(self._desk.now(), wallet, unrealised, equity, used, equity - used)

    def open_orders(self, symbol: str | None = None) -> tuple[Order, ...]:
        """Orders that are known to be at the exchange, oldest first; the broker's own stops too."""
        return tuple(row.order for row in self._outbox.live(symbol))

    def position_qty(self, symbol: str) -> Decimal:
        return self._outbox.held(symbol)

    def _book(self, symbol: str) -> Book | None:
        return self._present(symbol) or self._books.get(symbol)

    # --- the venue of a run -------------------------------------------------------------------------

    async def advance(self, batch: Batch, on_events: OnEvents, may_tell: MayTell = lambda: True) -> None:
        """Take prices and books from ``batch``, and tell what happened before it is decided on.

        Where an earlier life had begun this bar, that is what it heard then; :meth:`deliver` tells what has come since.
        """
        names = tuple(self._desk.instruments)
        for block in batch.bars:
            for row, index in enumerate(block.idx.tolist()):
                self._desk.prices[names[index]] = float(block.close[row])
        for mark in batch.marks:
            self._desk.prices[mark.symbol] = float(mark.price)
        for book in batch.books:
            self._books[book.symbol] = book
        for funding in batch.funding:
            self._intake.rates[funding.symbol, funding.ts] = funding.rate
        self._ts = batch.ts
        while may_tell() and (events := self._telling.before(self._ts)):
            await on_events(events)

    async def deliver(self, on_events: OnEvents, may_tell: MayTell = lambda: True) -> None:
        """Tell what waits, group by group, until nothing does or ``may_tell`` forbids the next."""
        while may_tell() and (events := self._telling.next(self._ts)):
            await on_events(events)

    async def wait(self) -> None:
        """Until there is something to tell."""
        await self._telling.ready.wait()

    def snapshot(self) -> dict[str, Any]:
        """What the books have heard; orders and fills are in the outbox."""
        return {"told": self._telling.told, "groups": self._telling.groups, "ts": self._ts}

    def restore(self, state: dict[str, Any]) -> None:
        """The books stand where :meth:`snapshot` was taken: what they heard since is told again, in the same groups."""
        self._ts = int(state["ts"])
        self._telling.restore(int(state["told"]), int(state["groups"]))
