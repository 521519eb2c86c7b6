"""Sending an order: on the disk, out, and what became of it (F2). No id is ever sent twice.

What the venue did not take of an exit is sent again, under a new id, until it is taken or nothing is left to reduce; an
entry is given up. While nobody knows what became of an order, the caller is told just that, and hears the rest later.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from decimal import Decimal
from functools import partial

import msgspec

from core.codes import RefusalCode
from core.errors import StateError
from core.exec.live.checks import OTHER_FILTERS, Refused, refuse_form, refuse_market, refuse_stale, refuse_tick, slices
from core.exec.live.crash import CrashPoint
from core.exec.live.desk import Desk, at_most
from core.exec.live.halts import HaltKind
from core.exec.live.intake import Intake
from core.exec.live.outcome import Advice, Outcome, Verdict, outcome
from core.exec.live.resolver import Resolver
from core.exec.live.states import Row, State
from core.types import Order, OrderPurpose, OrderStatus, OrderType, OrderUpdate
from core.venues.client import FLIGHT, Flight
from core.venues.words import Limits, OrderSeen

_NEVER_WAS = (State.REJECTED, State.THROTTLED, State.ABSENT)
_CLOCK_PAUSE_S = 1.0
_LOST = "it was called back, or given up for lost, before it left"


class _Withheld(Exception):
    """An order is not to leave any more, now that its turn has come."""

    def __init__(self, code: RefusalCode, message: str) -> None:
        super().__init__(message)
        self.verdict = Verdict(Outcome.REJECTED, code, message=message)


class Sender:
    """Sends orders and calls them back.

    Attributes:
        limits: the venue's present filters, by symbol; set at the start, and looked at anew now and then.

    Args:
        desk: what the parts share.
        intake: hears replies.
        resolver: finds out what nobody knows.
    """

    def __init__(self, desk: Desk, intake: Intake, resolver: Resolver) -> None:
        self._desk, self._outbox, self._intake, self._resolver = desk, desk.outbox, intake, resolver
        self.limits: dict[str, Limits] = {}
        self._time_refused = asyncio.Event()

    # --- placing ----------------------------------------------------------------------------------

    def admit(self, order: Order) -> Row | OrderUpdate:
        """The order as it would be sent; or its answer, where it was sent before or must not be sent."""
        known = self._outbox.family(order.client_id)
        if known:
            return self._again(known[0])
        refused = None if order.reduce_only else self._refuse(order)
        row = self._row(order)
        return row if refused is None else self._never_sent(row, *refused)

    async def place_row(self, row: Row) -> OrderUpdate:
        """Send what was admitted, in slices where that is wanted and legal."""
        parts = self._cut(row)
        if len(parts) == 1:
            return await self.one(row)
        self._intake.working[row.told_as] = None
        update = await self.one(msgspec.structs.replace(row, client_id=f"{row.client_id}.0", qty=parts[0]))
        if update.status is OrderStatus.REJECTED:  # it could not be written down
            self._intake.working.pop(row.told_as, None)
            return update
        self._desk.start(self._rest(row, parts[1:]), f"slices of {row.client_id}")
        return update

    def _again(self, row: Row) -> OrderUpdate:
        if row.answer is not None:
            return row.answer
        if row.state in _NEVER_WAS:
            return self._answer(row, OrderStatus.REJECTED, row.code, row.message)
        return self._answer(row, OrderStatus.UNKNOWN if row.state.doubtful else OrderStatus.NEW)

    def _answer(self, row: Row, status: OrderStatus, code: RefusalCode | None = None, message: str = "") -> OrderUpdate:
        update = OrderUpdate(row.told_as, row.symbol, status, row.ts, code=code, message=message)
        if status is OrderStatus.NEW:
            row.answer = update  # it follows from the state: not worth a wait for the disk
        else:
            ended = row.ended or status is OrderStatus.REJECTED
            self._outbox.answer(row, answer=update, ended=ended, code=code, message=message)
        return update

    def _refuse(self, order: Order) -> Refused | None:
        shut = self.shut(order.symbol)
        if shut is not None:
            return shut
        if self._outbox.failure is not None:
            return RefusalCode.JOURNAL_LOST, f"the outbox can't be written: {self._outbox.failure}"
        apart = self._outbox.apart(order.symbol)
        if apart:
            return RefusalCode.SYMBOL_OWNED, f"{apart} of the position belong to no plan; nothing is opened beside them"
        options, instrument = self._desk.options, self._desk.instruments[order.symbol]
        book = self._desk.book(order.symbol)
        price = self._desk.prices.get(order.symbol)
        present = None if price is None else Decimal(repr(price))
        return (
            refuse_stale(order, self._desk.now(), options.entry_valid_ms)
            or refuse_tick(instrument, self.limits[order.symbol])
            or refuse_form(order, self.limits[order.symbol], present)
            or refuse_market(order, instrument, book, options.max_slippage_pct, must_see=options.book_valid_ms is not None)
        )

    def shut(self, symbol: str) -> Refused | None:
        """Why nothing may be opened on ``symbol`` now, whatever the order is."""
        why, wait_s = self._desk.halt_of(symbol), self._desk.account.left_alone_s()
        if why is not None:
            return RefusalCode.SYMBOL_HALTED, why
        if wait_s > 0.0:
            return RefusalCode.VENUE_THROTTLED, f"the exchange wants to be left alone for {wait_s:.0f} s"
        return None

    def called_back(self, told_as: str) -> bool:
        """Whether an order is to be cancelled, or the books were answered that it is: no part of it may follow."""
        return any(row.cancel_wanted or row.cancel_answer is not None for row in self._outbox.family(told_as))

    def _leaves(self, row: Row) -> None:
        """Look again when an order leaves: it may have waited for its turn since it was admitted.

        Raises:
            _Withheld: it was given up for lost; or it is an entry and too old, not wanted any more, looked for already, or
                nothing may be opened by now.
        """
        if row.opens:
            self._withhold(row)
        elif row.state.over:
            raise _Withheld(RefusalCode.ORDER_ABSENT, _LOST)
        row.sent_ms = self._desk.now()

    def _withhold(self, row: Row) -> None:
        refused = refuse_stale(row.order, self._desk.now(), self._desk.options.entry_valid_ms) or self.shut(row.symbol)
        if row.cancel_wanted or row.state is not State.SENT:
            refused = RefusalCode.ENTRY_NOT_FILLED, _LOST
        if refused is not None:
            raise _Withheld(*refused)

    def _never_sent(self, row: Row, code: RefusalCode, message: str) -> OrderUpdate:
        update = self._rejection(row, code, message)
        row.state, row.code, row.message, row.answer, row.ended = State.REJECTED, code, message, update, True
        self._outbox.add(row, self._desk.now(), must=False)
        return update

    def _row(self, order: Order) -> Row:
        book, row = self._desk.book(order.symbol), Row.of(order)
        expected = self._desk.prices.get(order.symbol, 0.0) if book is None else 0.5 * (book.bid + book.ask)
        resting = order.type in (OrderType.LIMIT, OrderType.STOP_MARKET)
        row.expected_price = float(order.price) if resting and order.price is not None else expected
        row.spread_bps = self._desk.instruments[order.symbol].modelled_spread_bps if book is None else book.spread_bps
        return row

    def _cut(self, row: Row) -> tuple[Decimal, ...]:
        wanted = self._desk.options.slices
        if wanted < 2 or row.reduce_only or row.price is None:
            return (row.qty,)
        return slices(row.qty, wanted, self.limits[row.symbol], row.price)

    async def _rest(self, first: Row, parts: tuple[Decimal, ...]) -> None:
        """The further slices, one after the other, while the ones before were taken."""
        with suppress(StateError):  # what cannot be written down is not sent, and the order ends with what was
            for number, qty in enumerate(parts, start=1):
                before = self._outbox.family(first.told_as)[-1]
                if before.state.doubtful:
                    await self._resolver.resolve(before)
                if number == len(parts):
                    self._intake.working.pop(first.told_as, None)
                taken = before.state.open or before.state is State.DONE
                late = self._desk.now() - first.ts > self._desk.options.entry_valid_ms
                if not taken or late or self.called_back(first.told_as) or self.shut(first.symbol):
                    break
                await self.send(msgspec.structs.replace(first, client_id=f"{first.client_id}.{number}", qty=qty, attempt=number))
        self._intake.working.pop(first.told_as, None)
        self.end_family(first.told_as)

    async def one(self, row: Row) -> OrderUpdate:
        """Send one attempt, and answer for the order; where another is still to come, it is not known yet."""
        try:
            self._write_down(row)
        except StateError as error:
            # nothing of it is on the disk, so nothing of it is remembered: the id may be tried again
            return self._rejection(row, RefusalCode.JOURNAL_LOST, error.what)
        # a request that hangs must not hold up what other symbols need
        await at_most(self._desk.start(self._fly(row), f"send {row.client_id}"), self._desk.options.send_patience_s)
        again = row.told_as in self._intake.working
        if row.state in _NEVER_WAS and not again:
            return self._answer(row, OrderStatus.REJECTED, row.code, row.message)
        doubtful = row.state.doubtful or row.state in _NEVER_WAS
        return self._answer(row, OrderStatus.UNKNOWN if doubtful else OrderStatus.NEW)

    def _rejection(self, row: Row, code: RefusalCode, message: str) -> OrderUpdate:
        return OrderUpdate(row.told_as, row.symbol, OrderStatus.REJECTED, row.ts, code=code, message=message)

    # --- one attempt ------------------------------------------------------------------------------

    async def send(self, row: Row) -> None:
        """One attempt: on the disk, out, judged. At the end it is known, in doubt (and looked into), or to be tried again.

        Raises:
            StateError: it opens risk and cannot be written down; nothing was sent.
        """
        self._write_down(row)
        await self._fly(row)

    def _write_down(self, row: Row) -> None:
        row.sent_ms, row.recv_window_ms = self._desk.now(), self._desk.options.recv_window_ms
        self._outbox.add(row, row.sent_ms, must=not row.reduce_only)

    async def _fly(self, row: Row) -> None:
        flight = Flight(on_leaving=partial(self._leaves, row))
        if not row.opens:  # an entry would be too old by then: it was refused before
            await self._desk.until_welcome()
        try:
            seen = await self._hand_over(row, flight)
        except Exception as error:  # noqa: BLE001 - only the number in it is believed
            self._desk.at(CrashPoint.REPLIED)
            # it may have waited before it left; the receive window runs from its signature
            ago_s = 0.0 if flight.left_at is None else asyncio.get_running_loop().time() - flight.left_at
            row.sent_ms = max(row.sent_ms, self._desk.now() - int(ago_s * 1000.0))
            if row.state is State.SENT:  # else the account's stream has told already, or it is looked for
                left = flight.left_at is not None
                await self._judge(row, error.verdict if isinstance(error, _Withheld) else outcome(error, left=left))
        else:
            self._desk.at(CrashPoint.REPLIED)
            self._intake.order(seen)

    async def _hand_over(self, row: Row, flight: Flight) -> OrderSeen:
        token = FLIGHT.set(flight)
        try:
            return await self._desk.account.send(row.ask)
        finally:
            FLIGHT.reset(token)  # what asks for its fate is no part of it

    async def _judge(self, row: Row, verdict: Verdict) -> None:
        if verdict.outcome in (Outcome.UNKNOWN, Outcome.DUPLICATE):
            self._outbox.move(row, State.UNKNOWN, self._desk.now(), note=verdict.message, message=verdict.message)
            task = self._desk.start(self._find_out(row), f"fate of {row.client_id}")
            await at_most(task, self._desk.options.patience_s)
            return
        to = State.THROTTLED if verdict.outcome is Outcome.THROTTLED else State.REJECTED
        self._outbox.move(row, to, self._desk.now(), note=verdict.message, code=verdict.refusal, message=verdict.message)
        if verdict.advice is Advice.HALT:
            self._desk.halt("", HaltKind.REFUSED, f"the exchange refused the account: {verdict.message}")
        elif verdict.advice is Advice.READ_POSITION:
            self._intake.on_doubt(row.symbol)
        if self._worth_another(row, verdict):
            self._try_again(row, verdict.retry_after_s)
        else:  # where the reply was not waited for, the books do not know
            self.end_family(row.told_as, row.code, row.message)

    async def keep_clock(self) -> None:
        """Measure the venue's clock: by it everything is signed, and receive windows are judged.

        Every few minutes, and at once where anything was refused for its time.
        """
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._desk.options.clock_every_s):
                    await self._time_refused.wait()
            self._time_refused.clear()
            await self._desk.until_welcome()
            await self._set_clock()
            await asyncio.sleep(_CLOCK_PAUSE_S)

    def doubt_clock(self) -> None:
        """The venue refused a request for its time: measure its clock soon."""
        self._time_refused.set()

    async def keep_filters(self) -> None:
        """Look at the venue's filters now and then; a person is told what it has changed, and what to do."""
        every_s = self._desk.options.filters_every_s
        while True:
            await asyncio.sleep(every_s)
            try:
                limits = await self._desk.account.reload(tuple(self._desk.instruments))
            except Exception as error:  # noqa: BLE001 - those from before stay, and the next look tries again
                what = f"the exchange's filters were not read: {type(error).__name__}"
                calm = f"those from before hold, and they are asked for again in {every_s:.0f} s; told again and again,"
                self._desk.alert("warning", "filters", f"{what}; {calm} look whether the exchange is in maintenance")
                continue
            for new in limits:
                old, self.limits[new.symbol] = self.limits[new.symbol], new
                if new != old:
                    self._tell_filters(old, new)

    def _tell_filters(self, old: Limits, new: Limits) -> None:
        """What the venue has changed of a symbol, what of ours does not fit it any more, and what to do."""
        instrument, symbol = self._desk.instruments[new.symbol], new.symbol
        names = [name for name in new.__struct_fields__ if getattr(new, name) != getattr(old, name)]
        text = ", ".join(
            f"{name} of {symbol} is {getattr(new, name)} at the exchange now, was {getattr(old, name)}" for name in names
        )
        resting = [row for row in self._outbox.live(symbol) if not row.close_position and refuse_form(row.order, new, None)]
        if resting:
            ids = ", ".join(row.client_id for row in resting)
            text += f"; of ours at the exchange {ids} would be refused by it now: see there that they still stand"
        stuck = refuse_tick(instrument, new) is not None and self._outbox.held(symbol) != 0
        if stuck:
            text += f"; the stop of {symbol} cannot be moved or placed again: close the position, or watch it yourself"
        fits = all(getattr(instrument, name, getattr(new, name)) == getattr(new, name) for name in names)
        remedy = "configs/symbols.yaml says nothing else: nothing is to be done there" if fits else OTHER_FILTERS
        self._desk.alert("page" if stuck else "warning", "filters", f"{text}; {remedy}")

    async def _set_clock(self) -> None:
        most_ms = self._desk.options.max_clock_offset_ms
        try:
            offset_ms = await self._desk.account.set_clock()
            if abs(offset_ms) > most_ms:
                what = f"this host's clock is {offset_ms:.0f} ms behind the exchange's, expected at most {most_ms} ms either way"
                self._desk.alert("page", "clock", f"{what}; set it (timedatectl set-ntp true)")
        except Exception as error:  # noqa: BLE001 - whatever is refused for it next tries again
            self._desk.alert("warning", "clock", f"the exchange's clock was not read: {type(error).__name__}")

    async def _find_out(self, row: Row) -> None:
        await self._resolver.resolve(row)
        if row.state is not State.ABSENT:
            return
        if row.purpose is OrderPurpose.EXIT and not row.own:
            self._try_again(row, 0.0)
        else:
            self.end_family(row.told_as, RefusalCode.ORDER_ABSENT, "it never reached the exchange")

    # --- trying again -----------------------------------------------------------------------------

    def _worth_another(self, row: Row, verdict: Verdict) -> bool:
        """Whether an exit that was not taken is tried again by itself; the broker's own are the guardian's care."""
        if row.opens or row.own:
            return False
        return verdict.outcome is Outcome.THROTTLED or verdict.advice is Advice.SET_CLOCK

    def _try_again(self, row: Row, wait_s: float) -> None:
        if row.attempt >= self._desk.options.retries:
            self.end_family(row.told_as, RefusalCode.VENUE_THROTTLED, f"not taken in {row.attempt + 1} attempts")
            return
        self._intake.working[row.told_as] = None
        self._desk.start(self._attempt(row, wait_s), f"again {row.told_as}")

    async def _attempt(self, row: Row, wait_s: float) -> None:
        """The next attempt of an exit, while there is something left to reduce."""
        pause_s = 0.1 * 2.0 ** min(row.attempt, 6)
        await asyncio.sleep(max(wait_s, pause_s))
        held = self._outbox.held(row.symbol)
        self._intake.working.pop(row.told_as, None)
        if self.called_back(row.told_as):
            self.end_family(row.told_as, RefusalCode.VENUE_THROTTLED, "it was called back before it was taken")
            return
        if held * row.side.sign >= 0:
            self.end_family(row.told_as, RefusalCode.REDUCE_ONLY_REJECTED, f"position is {held}")
            return
        number = row.attempt + 1
        again = Row.of(row.order)
        again.client_id, again.attempt, again.qty = f"{row.told_as}.{number}", number, row.qty
        again.expected_price, again.spread_bps = row.expected_price, row.spread_bps
        again.answer = self._outbox.family(row.told_as)[0].answer
        await self.send(again)
        self.end_family(row.told_as, again.code, again.message)

    def end_family(self, told_as: str, code: RefusalCode | None = None, message: str = "") -> None:
        """Tell the books of the end of an order, where all its attempts and slices are over and nobody was told yet."""
        family = self._outbox.family(told_as)
        if told_as in self._intake.working or not all(row.state.over for row in family):
            return
        first, told = family[0], any(row.ended or row.own for row in family)
        # what was at the venue is, or will be, answered as there, whatever of that is on the disk
        if told or not any(row.answer is not None or row.state is State.DONE for row in family):
            return  # the answer itself will tell
        last = family[-1]
        if last.state is State.DONE and last.standing is not None:
            status = OrderStatus.CANCELED if last.cancel_wanted else OrderStatus.EXPIRED
            event = self._intake.ending(last, status, sum((row.filled for row in family), Decimal(0)))
        else:
            event = self._intake.refused(last, code or last.code, message or last.message)
        self._outbox.note(first, events=(event,), ended=True)

    # --- cancelling -------------------------------------------------------------------------------

    async def cancel(self, symbol: str, client_id: str) -> OrderUpdate:
        """Call an order back, with all its attempts and slices; what is gone answers with its final status."""
        family = self._outbox.family(client_id)
        if not family:
            return OrderUpdate(client_id, symbol, OrderStatus.CANCELED, self._desk.now())
        first = family[0]
        if first.cancel_answer is not None:
            return first.cancel_answer
        self._intake.working.pop(client_id, None)
        tasks = []
        for row in family:
            if not row.state.over:
                self._desk.at(CrashPoint.CANCEL_BEFORE)
                self._outbox.note(row, cancel_wanted=True)
                tasks.append(self._desk.start(self.call_back(row), f"cancel {row.client_id}"))
        for task in tasks:
            await at_most(task, 4 * self._desk.options.patience_s)
        update = self._standing_of(self._outbox.family(client_id))
        self._outbox.answer(first, cancel_answer=update)
        return update

    async def call_back(self, row: Row) -> None:
        """Cancel until the order is over; what the venue does not answer is asked again."""
        wait_s = 0.1
        while row.state.open or row.state.doubtful:
            if row.state.open:
                await self._desk.until_welcome()
                try:
                    seen = await self._desk.account.cancel(row.symbol, row.client_id, algo=row.is_algo)
                except Exception as error:  # noqa: BLE001 - whatever stood in its way, it is asked for again
                    wait_s = max(wait_s, outcome(error).retry_after_s)
                else:
                    self._desk.at(CrashPoint.CANCEL_SENT)
                    if seen is not None:
                        self._intake.order(seen)
                    else:
                        self._intake.on_doubt(row.symbol)
            if row.state.open or row.state.doubtful:
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, 5.0)

    def _standing_of(self, family: tuple[Row, ...]) -> OrderUpdate:
        row, filled = family[-1], sum((one.filled for one in family), Decimal(0))
        if any(one.state.doubtful for one in family):
            return OrderUpdate(row.told_as, row.symbol, OrderStatus.UNKNOWN, self._desk.now(), filled, message="not known yet")
        if any(not one.state.over for one in family):
            return OrderUpdate(row.told_as, row.symbol, OrderStatus.NEW, self._desk.now(), filled, message="it is still there")
        if row.state is State.DONE:
            return self._intake.ending(row, OrderStatus.CANCELED, filled)
        return self._intake.refused(row, row.code, row.message)
