"""The daemon at an exchange: recovery before the first bar, and an end that leaves nothing behind that nobody watches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from loguru import logger

from core.clock import rfc3339_seconds
from core.data.blocks import Batch
from core.errors import BrainError
from core.exec.broker_ccxt import LiveBroker
from core.exec.live.halts import Halt
from core.exec.live.recovery import Recovery
from core.journal.records import Word
from core.monitor.paper_sessions import RECOVERED, RECOVERY
from core.monitor.schema import AlertLevel
from graph.assembly import Assembly
from graph.engines import Engine
from graph.live.acceptance import Acceptance
from graph.live.money import Money
from graph.runner import Daemon, RunOptions
from graph.session_dir import SessionDir
from graph.words import WordKind

LEAVE_WITHIN_S = 30.0
"""How long a stop waits until everything is closed."""
_HEAR_OUT_S = 10.0
"""How long an end waits for what was ordered before it closes what is open."""
_DOUBT_S = 60.0
"""How long it takes in all until nobody knows what became of an entry: by then it is found, or a person has been called."""
_LOOK_S = 1.0
_CLOSING = 0.9
"""Share of the time for closing after which no exit is waited for any more: the rest is for a last look at the exchange."""
_NOT_WAITED_FOR = "the end did not wait for that"
_ASK_AGAIN_S = 3.0
"""Exits that were not taken are asked for again after this long."""


class LiveDaemon(Daemon):
    """A daemon whose venue is a live broker.

    When it is asked to stop it closes every position at market, reduce-only, and waits for that; with ``handover``, or when
    asked a second time, it leaves them under their stops instead (X34). What it closed is on record between two bars.

    Attributes:
        broker: the venue, to be asked what it knows.
        recovery: what the start found; None before.
        left: what was still held at the exchange at the end, with its signed quantity; also what is in no books.
        unknown: entries of which nobody knew at the end what became.
        unverified: why the exchange was not compared once more at the very end; empty: it was.
        orders: whether orders rested there at the end that no position needs.
        stays: all that in sentences for a person.
        on_recovery: told what the start found, for whoever watches.

    Args:
        broker: the venue of ``parts``, restored with it and not started.
        since: time (ms) at which the books began with what the account had.
        handover: positions stay.
        leave_within_s: how long closing what is open may take, with the last look at the exchange.
    """

    def __init__(
        self,
        parts: Assembly,
        engine: Engine,
        folder: SessionDir,
        options: RunOptions,
        broker: LiveBroker,
        governance_changed: Callable[[], bool] = lambda: False,
        identity: Mapping[str, str] | None = None,
        *,
        since: int = 0,
        handover: bool = False,
        leave_within_s: float = LEAVE_WITHIN_S,
    ) -> None:
        super().__init__(parts, engine, folder, options, governance_changed, identity)
        self._money = Money(broker, parts.context.ledger, since)
        self._acceptance = Acceptance(broker, folder, self._note_damaged)
        self._live.halts = lambda: broker.halts
        self.broker, self._handover, self._leave_within_s = broker, handover, leave_within_s
        self._hurry = asyncio.Event()
        self._at_end = False
        self._broken: BrainError | None = None
        self.recovery: Recovery | None = None
        self.left: dict[str, str] = {}
        self.unknown: tuple[str, ...] = ()
        self.unverified = _NOT_WAITED_FOR
        self._gone: tuple[str, ...] = ()
        self.orders = False
        self.stays: tuple[str, ...] = ()
        self.on_recovery: Callable[[Recovery], None] = lambda _: None

    def stop(self) -> None:
        """Ask the run to end; asked twice, positions are left under their stops."""
        if self._stop.is_set():
            self._hurry.set()
        super().stop()

    def end(self) -> None:
        """The market is over: the run ends as at its last bar, and what is open stays under its stops."""
        self._at_end = True
        super().stop()

    def break_off(self, why: BrainError) -> None:
        """What the run rests on is gone: it ends with ``why``, and sends nothing more."""
        self._broken = self._broken or why
        self._hurry.set()
        super().stop()

    @property
    def halts(self) -> tuple[Halt, ...]:
        return self.broker.halts

    async def _through(self, after_ts: int | None) -> None:
        """Nothing is opened before exchange and outbox agree; where they do not, what is concerned stays halted (F6)."""
        before = self.broker.halts
        self.recovery = await self._begun()
        self._refuse_broken()
        if self.recovery is None:
            self._say_what_is_left()
            return
        self._tell(self.recovery, before)
        self.on_recovery(self.recovery)
        if not self._journal.catching_up:
            await self._acceptance.look(self.broker.account().ts)
            await self._money.look(self.broker.account().ts, settled=True)
        # 0: cut off before its first bar, it begins where it would have begun
        await super()._through(after_ts or None)
        self._refuse_broken()
        await self._end()
        self._refuse_broken()
        self._say_what_is_left()

    async def _begun(self) -> Recovery | None:
        """What the start found at the exchange; None where the end was asked for and did not wait for it any more."""
        starting, ends = asyncio.ensure_future(self.broker.start()), asyncio.ensure_future(self._waited_out())
        try:
            await asyncio.wait([starting, ends], return_when=asyncio.FIRST_COMPLETED)
            return starting.result() if starting.done() else None
        finally:
            starting.cancel()
            ends.cancel()
            await asyncio.gather(starting, ends, return_exceptions=True)

    async def _waited_out(self) -> None:
        """A second signal, or a first one after which the start had as long as closing may take: it may never come to its end."""
        await self._stop.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._leave_within_s):
                await self._hurry.wait()

    def _refuse_broken(self) -> None:
        if self._broken is not None:
            raise self._broken

    def _tell(self, recovery: Recovery, before: tuple[Halt, ...]) -> None:
        """What the start found. Of halts that came with it a page has told; those from ``before`` are told of here."""
        for sentence in (*recovery.actions, *recovery.warnings):
            logger.info("recovery: {}", sentence)
        alert, ts = self._parts.recorder.alert, self.broker.account().ts
        for sentence in recovery.warnings:
            alert(ts, AlertLevel.WARNING, RECOVERY, sentence)
        for halt in self.broker.halts:
            if halt in before:
                alert(ts, AlertLevel.PAGE, RECOVERY, f"nothing is opened on {halt.where}: {halt.text}")
        if recovery.agreed:
            alert(ts, AlertLevel.INFO, RECOVERED, "exchange and books agree")
        else:
            where = ", ".join(symbol or "the whole account" for symbol, _ in recovery.halted)
            alert(ts, AlertLevel.INFO, RECOVERY, f"the start settled not everything: nothing is opened on {where}")

    async def _bar(self, batch: Batch) -> None:
        await super()._bar(batch)
        if not self._journal.catching_up:
            await self._acceptance.look(self.broker.account().ts)
        if not (self._journal.catching_up or self._parts.context.orders.pending()):
            await self._money.look(self.broker.account().ts)

    def heard(self, ts: int) -> Iterator[Word]:
        """As of every run, and what became of the account's money otherwise than by trading."""
        yield from super().heard(ts)
        if not self._journal.catching_up:
            yield from self._acceptance.heard()
            yield from self._money.heard()

    async def _hear(self, *others: asyncio.Future[Any]) -> None:
        word = self._journal.expected_word()
        if word is not None and word.kind == WordKind.SHUTDOWN:
            await self._run.said(word)
        else:
            await super()._hear(*others)

    # --- the end ------------------------------------------------------------------------------------------

    async def _end(self) -> None:
        """What was ordered at the last bar is known to the books before they are closed; and no entry is left in doubt."""
        time = asyncio.get_running_loop().time
        until = time() + _DOUBT_S
        await self._hear_while(self._parts.context.orders.pending, _HEAR_OUT_S)
        by = time() + self._leave_within_s
        await self._leave(by)
        if self.broker.in_doubt:
            await self._hear_while(lambda: self.broker.in_doubt, until - time())
            by = time() + self._leave_within_s
            await self._leave(by)  # it may have been filled
        await self._look_last(by)

    async def _look_last(self, by: float) -> None:
        """Compare with the exchange as it is now; what that brings is heard, and what is being called back is waited for."""
        time, looking = asyncio.get_running_loop().time, asyncio.ensure_future(self._compare())
        try:
            await self._hear_while(lambda: not looking.done(), by - time(), looking)
            if looking.done():
                await self._hear(looking)  # what it brought last
                await self._hear_while(lambda: any(self._resting()), by - time())
            elif self._hurry.is_set():
                self.unverified = _NOT_WAITED_FOR
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)

    async def _compare(self) -> None:
        """Until it was done; what fails is tried again."""
        self.unverified = "it did not answer in time"
        while self.unverified:
            try:
                await self.broker.compare()
                self.unverified = ""
            except Exception as error:  # noqa: BLE001 - whatever it is, a person is told of it
                self.unverified = f"it could not be in time: {type(error).__name__}"
                await asyncio.sleep(_LOOK_S)

    def _resting(self) -> tuple[list[str], list[str]]:
        """Orders at the exchange that no position needs, by their ids: those that open something, and others that it is flat of.

        Flat: nothing is held of the symbol, nor should be.
        """
        held, orders = {*self.broker.held, *self.broker.apart}, self.broker.open_orders()
        opening = [order.client_id for order in orders if order.purpose.opens]
        return opening, [order.client_id for order in orders if not order.purpose.opens and order.symbol not in held]

    async def _hear_while(self, waits: Callable[[], object], within_s: float, *others: asyncio.Future[Any]) -> None:
        late, hurry = asyncio.ensure_future(asyncio.sleep(within_s)), asyncio.ensure_future(self._hurry.wait())
        look = asyncio.ensure_future(asyncio.sleep(0))
        try:
            while waits() and not (late.done() or hurry.done()):
                if look.done():  # an entry that is proven absent may be no word to the books
                    look = asyncio.ensure_future(asyncio.sleep(_LOOK_S))
                await self._hear(late, hurry, look, *others)
        finally:
            late.cancel()
            hurry.cancel()
            look.cancel()

    async def _leave(self, by: float) -> None:
        """Close what is open in time for a last look before ``by``, where a person asked for the end."""
        if not self._stop.is_set() or self._at_end:
            return
        if not (self._handover or self._hurry.is_set() or self._flat or self._journal.catching_up):
            rest_s = self._leave_within_s * (1.0 - _CLOSING)
            late = asyncio.ensure_future(asyncio.sleep(by - rest_s - asyncio.get_running_loop().time()))
            hurry = asyncio.ensure_future(self._hurry.wait())
            try:
                while not (self._flat or late.done() or hurry.done()):
                    await self._close(hurry, late)
            finally:
                late.cancel()
                hurry.cancel()

    @property
    def _flat(self) -> bool:
        context = self._parts.context
        return not (context.ledger.positions or context.orders.pending())

    async def _close(self, *others: asyncio.Future[Any]) -> None:
        """Ask for every exit once, and hear what comes of it for a while."""
        await self._run.said(Word(self.broker.account().ts, WordKind.SHUTDOWN.value))
        self._commit()
        again = asyncio.ensure_future(asyncio.sleep(_ASK_AGAIN_S))
        try:
            while not (self._flat or again.done() or any(other.done() for other in others)):
                await self._hear(again, *others)
        finally:
            again.cancel()

    @property
    def unasked(self) -> bool:
        """Whether something stays at the exchange although its end was asked for, or nobody knows what it is."""
        asked = self._at_end or self._handover or self._hurry.is_set() or not self._stop.is_set()
        return bool(self.unknown or self._gone or self.orders) or (bool(self.left or self.unverified) and not asked)

    def _say_what_is_left(self) -> None:
        held, apart = self.broker.held, self.broker.apart
        self.left = {symbol: str(qty) for symbol, qty in held.items()}
        self.unknown = tuple(f"{order.client_id} ({order.side} {order.qty} {order.symbol})" for order in self.broker.in_doubt)
        self._gone = tuple(f"{-qty} {symbol}" for symbol, qty in apart.items() if symbol not in held)
        bare = [f"{qty} {symbol}" for symbol, qty in held.items() if not self.broker.covered(symbol)]
        covered = [f"{qty} {symbol}" for symbol, qty in held.items() if self.broker.covered(symbol)]
        strange = [f"{qty} {symbol}" for symbol, qty in apart.items() if symbol in held]
        opening, idle = self._resting()
        self.orders = bool(opening or idle)
        found = (
            (covered, "left at the exchange under their stops: {}; the next start with this --state goes on with them"),
            (bare, "left at the exchange WITHOUT A STOP that is known: {}; close them there, or start again"),
            (strange, "of this {} belong to no plan, so no end of a run closes them; sell or keep them at the exchange"),
            (self._gone, "the books still have {}, and the exchange has not: look there, then `brain accept`"),
            (
                opening,
                "orders left at the exchange that would open something, with nobody to watch: {}; cancel them, or start again",
            ),
            (idle, "orders left at the exchange although nothing is held there: {}; cancel them, or start again"),
            (self.unknown, "left in doubt: {}; filled by now, they have no stop: look there, or start again"),
        )
        stays = [text.format(", ".join(which)) for which, text in found if which]
        if self.unverified:
            stays.append(f"{'so it is' if stays else 'nothing is left'} {self._as_known()}")
        self.stays = tuple(stays)
        for text in self.stays:
            calm = self._handover and not (bare or self.orders or self._gone or self.unknown or self.unverified)
            level = AlertLevel.INFO if calm else AlertLevel.WARNING
            self._parts.recorder.alert(self.broker.account().ts, level, "left_open", text)

    def _as_known(self) -> str:
        """Since when nobody has looked."""
        ts = self.broker.compared_ms
        last = f"as of the comparison of {rfc3339_seconds(ts)[11:-1]} UTC" if ts else "by the record alone"
        return (
            f"{last}, unverified since: the exchange was to be compared once more at the end, and {self.unverified}; look there"
        )
