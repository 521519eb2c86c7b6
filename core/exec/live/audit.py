"""Comparing the outbox with the venue: on a schedule, after every break of the stream, and whenever something is in doubt.

What was missed is taken in as if it had just been told. Where the two do not agree about a position, the venue is right,
and nothing is opened on the symbol until they do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from core.clock import rfc3339_seconds
from core.exec.live.desk import Desk, at_most, pause_s
from core.exec.live.halts import HaltKind, remedy
from core.exec.live.intake import OURS, Intake
from core.exec.live.outcome import outcome
from core.exec.live.settings import ForeignPolicy
from core.exec.live.states import Row, State
from core.types import ExitReason, OrderPurpose, OrderType
from core.venues.errors import NO_ANSWER, unusable
from core.venues.words import ZERO, OrderSeen, PositionSeen, Standing, TradeSeen, Unreadable

_PAUSE_S, _PAUSE_MOST_S = 0.5, 30.0
_BLIND_AFTER = 4
"""Comparisons that fail in a row before nothing is opened any more; with the pauses between them some ten seconds."""
_BEARABLE_S = 10.0
"""The venue may want to be left alone for so long before a person is called: comparisons that fail get as much patience."""
_SAME_MS = 2_000
_LATE_MS = 3_000
"""A position may be told as it was before fills that are younger than this."""
_LOOKS = 3
_TRIES = 5


class Difference(Struct, frozen=True):
    """A position of which venue and outbox say another thing, and what a person can do."""

    symbol: str
    venue: Decimal
    outbox: Decimal
    remedy: str = ""

    def __str__(self) -> str:
        return f"position of {self.symbol} is {self.venue} at the exchange, {self.outbox} by the fills on record; {self.remedy}"


class Unsettled(Exception):
    """Positions did not hold still long enough to be compared."""


class Audit:
    """Compares, and takes in what was missed.

    Attributes:
        seen: the venue's positions, as of the last comparison.
        compared_ms: when everything was last compared (the venue's time); 0: never in this life.
        surplus: what the venue holds beyond the fills on record, where that was looked at twice.
        actions: what was done about what was found, sentence by sentence, since somebody last took them.
    """

    def __init__(self, desk: Desk, intake: Intake) -> None:
        self._desk, self._outbox, self._intake = desk, desk.outbox, intake
        self.seen: dict[str, PositionSeen] = {}
        self.compared_ms = 0
        self.surplus: dict[str, Decimal] = {}
        self.actions: list[str] = []
        self._wanted: dict[str, None] = {}
        self._left_alone: dict[str, None] = {}
        self._called_back: dict[tuple[str, bool], asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._left_until_ms = 0

    def want(self, symbol: str) -> None:
        """Compare ``symbol`` soon; "" for everything."""
        self._wanted[symbol] = None
        self._wake.set()

    async def keep(self) -> None:
        """Compare for ever; ever more slowly while the venue does not answer."""
        fails = 0
        while True:
            try:
                async with asyncio.timeout(self._desk.options.audit_every_s):
                    await self._wake.wait()
            except TimeoutError:
                self._wanted[""] = None
            await self._until_welcome()
            wanted = list(self._wanted)
            self._wanted.clear()
            self._wake.clear()
            self._outbox.catch_up()
            for symbol in self._desk.instruments:
                if self._outbox.unsettled(symbol):  # a disk that was full may have kept something from being told
                    self._intake.compare_books(symbol)
            try:
                await self.compare([] if "" in wanted else wanted)
            except Exception as error:  # noqa: BLE001 - a venue that does not answer is asked again
                fails += 1
                if self._desk.account.left_alone_s() <= _BEARABLE_S:
                    self._failed(fails, error)
                for symbol in wanted:
                    self.want(symbol)
            else:
                fails = 0
                self._desk.lift("", HaltKind.NOT_COMPARED, "")
            for text in self.actions:
                self._desk.alert("warning", "audit", text)
            self.actions.clear()
            await asyncio.sleep(pause_s(fails, _PAUSE_S, _PAUSE_MOST_S))

    def left_alone(self) -> str:
        """Until when the venue wants to be left alone, in the same words as long as that holds; empty: it does not."""
        wait_s = self._desk.account.left_alone_s()
        if not wait_s:
            return ""
        until_ms = self._desk.now() + round(wait_s * 1000.0)
        if abs(until_ms - self._left_until_ms) > _SAME_MS:
            self._left_until_ms = until_ms
        day, _, time = rfc3339_seconds(self._left_until_ms)[:-1].partition("T")
        return (
            f"the exchange wants to be left alone until {time} UTC of {day}: it counted too many requests from this address; "
            "nothing is asked or opened before that, what stands under stops stays so; end what else asks it from here (another "
            "daemon, a download), and do not start anew: each start asks"
        )

    async def _until_welcome(self) -> None:
        """Compare nothing while the venue wants to be left alone; a person is called where that takes long."""
        while (wait_s := self._desk.account.left_alone_s()) > 0.0:
            if wait_s > _BEARABLE_S:
                self._desk.halt("", HaltKind.NOT_COMPARED, self.left_alone())
            await asyncio.sleep(wait_s)

    def _failed(self, fails: int, error: Exception) -> None:
        why = unusable(error)
        known = why.code != NO_ANSWER
        what = f"the exchange could not be compared: {f'{why.what} [{why.code}]' if known else type(error).__name__}"
        if fails == 1:
            self._desk.alert("warning", "audit", what)
        elif fails >= _BLIND_AFTER:
            calm = "nothing is opened until it can be, what stands under stops stays so"
            self._desk.halt("", HaltKind.NOT_COMPARED, f"{what}; {calm}{f'; {why.help}' if known else ''}")

    async def compare(self, symbols: list[str]) -> tuple[Difference, ...]:
        """Compare ``symbols`` (none: all, money too); what does not agree at the end.

        What fails keeps nothing else from being compared, and is raised at the end.

        Raises:
            Unsettled: fills came all the while.
            Exception: whatever the account raises when the venue does not answer.
        """
        failed: list[Exception] = []
        await self._orders(symbols, failed)
        for symbol in symbols or self._traded():
            await _attempt(self.fetch_trades(symbol), failed)
        if not symbols:
            await _attempt(self._money(), failed)
        believed = await self._positions(symbols, failed)
        self._judge(believed)
        if failed:
            raise failed[0]
        if not symbols:
            self.compared_ms = self._desk.now()
        return tuple(difference for difference in believed.values() if difference is not None)

    async def _positions(self, symbols: list[str], failed: list[Exception]) -> dict[str, Difference | None]:
        """Where the positions differ (None: not there); what did not hold still is left out, and keeps no other out.

        One is believed only where no fill of it came between asking for the positions and having all fills up to then, and
        where two answers in a row say the same: one may be late. That it agrees is doubted only where it did not before.
        """
        halted = {halt.symbol for halt in self._desk.halts if halt.kind is HaltKind.POSITION}
        believed: dict[str, Difference | None] = {}
        before: dict[str, Difference | None] = {}
        for _ in range(_TRIES):
            known = self._outbox.holdings()
            self.seen = {position.symbol: position for position in await self._desk.account.positions()}
            for position in self.seen.values():
                self._desk.prices[position.symbol] = float(position.mark)
            asked = symbols or sorted({*self.seen, *known, *self._outbox.holdings(), *halted})
            found = {symbol: self._difference(symbol) for symbol in asked if symbol not in believed}
            for symbol, difference in found.items():
                if difference is not None:
                    await _attempt(self.fetch_trades(symbol), failed)
            for symbol, difference in found.items():
                still = known.get(symbol, ZERO) == self._outbox.held(symbol)
                again = before.get(symbol) == difference and (symbol in before or symbol not in halted)
                if still and again and (difference is None or not self._late(symbol)):
                    believed[symbol] = difference
            if believed.keys() >= found.keys():
                return believed
            before = found
            await asyncio.sleep(self._desk.options.look_up_every_s)
        failed.append(Unsettled())
        return believed

    def _late(self, symbol: str) -> bool:
        return self._desk.now() - self._intake.filled_ms.get(symbol, 0) < _LATE_MS

    def _traded(self) -> list[str]:
        """Symbols that may have fills: those that hold something, and those with orders that are not over.

        At first all of ours that were ever filled: this record may be older than what was traded since, and flat before and
        after it.
        """
        active = {row.symbol for row in (*self._outbox.live(), *self._outbox.unresolved())}
        traded = self._desk.instruments
        before = (
            () if self.compared_ms else [row.symbol for row in self._outbox.rows.values() if row.filled and row.symbol in traded]
        )
        return sorted({*active, *self._outbox.holdings(), *self.seen, *before})

    # --- orders -----------------------------------------------------------------------------------

    async def _orders(self, symbols: list[str], failed: list[Exception]) -> None:
        live = [row for row in self._outbox.live() if not symbols or row.symbol in symbols]
        halts = [halt for halt in self._desk.halts if halt.kind is HaltKind.FOREIGN_ORDER]
        resting: list[OrderSeen] = []
        whole = True
        for symbol in symbols or (None,):
            try:
                resting += await self._desk.account.open_orders(symbol)
            except Unreadable as error:
                failed.append(error)
                resting += error.seen
                whole = False
            except Exception as error:  # noqa: BLE001 - it is raised once everything else is compared
                failed.append(error)
                return
        known = {(seen.symbol, seen.client_id) for seen in resting}
        strange: dict[tuple[str, str], None] = {}
        for seen in resting:
            await _attempt(self._resting(seen, strange), failed)
        for row in live:
            if row.state.open and (row.symbol, row.client_id) not in known:
                await _attempt(self._missing(row), failed)
        for halt in halts if whole else ():
            if (halt.symbol, halt.ref) not in strange and (not symbols or halt.symbol in symbols):
                self._desk.lift(halt.symbol, halt.kind, halt.ref)

    async def _resting(self, seen: OrderSeen, strange: dict[tuple[str, str], None]) -> None:
        row = self._intake.row_of(seen.symbol, seen.client_id, "" if seen.algo else seen.venue_id)
        if row is None:
            await self._unknown(seen, strange)
            return
        self._intake.order(seen)
        if row.state.over:
            await self._call_back(seen, "it was over on record")

    async def _missing(self, row: Row) -> None:
        """An order that rests in no book: over, or at work, or lost."""
        for _ in range(_LOOKS):
            if not row.state.open:
                return
            seen = await self._desk.account.look_up(row.symbol, row.client_id, algo=row.is_algo)
            if seen is not None:
                self._intake.order(seen)
                await self._child(row)
                return
            if self._desk.now() - row.sent_ms < self._desk.options.settle_s * 1000.0:
                return  # confirmed a moment ago: it may be slow to show
            await asyncio.sleep(self._desk.options.look_up_every_s)
        self._desk.alert("warning", "order_lost", f"the exchange has forgotten order {row.client_id} of {row.symbol}")
        lost = OrderSeen(
            row.symbol, row.client_id, row.venue_id, row.is_algo, Standing.EXPIRED, row.side, row.qty, row.filled, None, 0
        )
        self._intake.order(lost)
        # a venue that is slow to know its own orders may still have it: it would rest there with nothing to reduce
        asyncio.get_running_loop().call_later(self._desk.options.settle_s, self.want, row.symbol)

    async def _child(self, row: Row) -> None:
        """The plain order that a conditional one became tells how it ends."""
        if row.is_algo and row.state.open and row.child_id:
            child = await self._desk.account.order_of(row.symbol, row.child_id)
            if child is not None:
                self._intake.child(row, child)

    async def _unknown(self, seen: OrderSeen, strange: dict[tuple[str, str], None]) -> None:
        """An order in the venue's books that is not in ours; noted in ``strange`` where it is a reason to open nothing."""
        account = self._desk.account
        if account.forced(seen.client_id):
            return
        ours = OURS.match(seen.client_id) and seen.symbol in self._desk.instruments
        if ours:
            self._intake.not_on_record(seen.symbol, seen.client_id)
        if seen.stop and seen.close_position:
            self._adopt(seen)  # it covers the position, whoever placed it
        elif ours:
            if seen.reduce_only and seen.stop == seen.algo:
                self._adopt(seen)
            else:
                await self._call_back(seen, "it has our form, and is not on record")
        elif self._desk.options.foreign is ForeignPolicy.HALT and seen.symbol in self._desk.instruments:
            strange[seen.symbol, seen.venue_id] = None
            why = f"order {seen.client_id} ({seen.side} {seen.qty}) is none of ours; cancel it at the exchange"
            self._desk.halt(seen.symbol, HaltKind.FOREIGN_ORDER, why, seen.venue_id)
        elif seen.venue_id not in self._left_alone:
            self._left_alone[seen.venue_id] = None
            self.actions.append(f"left order {seen.client_id} of {seen.symbol} alone: it is none of ours")

    async def _call_back(self, seen: OrderSeen, why: str) -> None:
        """Beside: a cancel that has to wait, or is refused, keeps nothing from being compared."""
        key = seen.venue_id, seen.algo
        task = self._called_back.get(key)
        if task is None:
            self._called_back[key] = task = self._desk.start(self._until_gone(seen, why), f"cancel {seen.client_id}")
            task.add_done_callback(lambda _: self._called_back.pop(key))
        await at_most(task, 4 * self._desk.options.patience_s)

    async def _until_gone(self, seen: OrderSeen, why: str) -> None:
        wait_s = _PAUSE_S
        while True:
            await self._desk.until_welcome()
            try:
                await self._desk.account.cancel(seen.symbol, seen.client_id, algo=seen.algo)
            except Exception as error:  # noqa: BLE001 - whatever stood in its way, it is asked for again
                wait_s = max(wait_s, outcome(error).retry_after_s)
            else:
                self.actions.append(f"cancelled order {seen.client_id} of {seen.symbol}: {why}")
                return
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, _PAUSE_MOST_S)

    def _adopt(self, seen: OrderSeen) -> None:
        row = Row(
            client_id=seen.client_id,
            told_as=seen.client_id,
            plan_id="",
            symbol=seen.symbol,
            side=seen.side,
            type=OrderType.STOP_MARKET if seen.algo else OrderType.LIMIT,
            purpose=OrderPurpose.STOP if seen.algo else OrderPurpose.TAKE,
            qty=seen.qty,
            price=seen.price,
            reduce_only=True,
            ts=seen.ts,
            reason=ExitReason.STOP if seen.algo else ExitReason.TAKE,
            is_algo=seen.algo,
            close_position=seen.close_position,
            own=True,
            state=State.ACK,
            venue_id=seen.venue_id,
            standing=seen.standing,
        )
        self._outbox.add(row, self._desk.now(), must=False)
        self.actions.append(f"adopted order {seen.client_id} of {seen.symbol}: it is not on record, and can only reduce")

    # --- fills and money --------------------------------------------------------------------------

    async def fetch_trades(self, symbol: str) -> bool:
        """Take in every fill of ``symbol`` that is not on record; one may be missing between others that the stream told.

        Returns:
            Whether every fill was taken in; False where one may be of an order of which nobody knows.
        """
        after, first_ms = self._outbox.audited.get(symbol), self._first_sent_ms(symbol)
        if after is None and not first_ms:
            return True
        # our clock may have been ahead when the first order was sent, by as much as the venue lets pass: its fill is older then
        since = first_ms - self._desk.options.max_clock_offset_ms
        trades = await self._desk.account.trades(symbol, after_id=after, since=since)
        before: list[TradeSeen] = []
        begun, complete = after is not None, True
        for trade in trades:
            if self._on_record(trade):
                begun = True
                continue
            told = await self._named(trade)
            if told is None:
                complete = False
                continue
            begun = begun or self._intake.row_of(symbol, told.client_id, told.venue_id) is not None
            if begun:
                self._intake.trade(told)
            else:
                before.append(told)
        # what somebody traded before our first fill is over, or the positions differ: half a round trip is no part of ours
        for told in () if begun else before:
            self._intake.trade(told)
        if trades and complete:
            self._outbox.audit(symbol, trades[-1].trade_id)
        return complete

    def _first_sent_ms(self, symbol: str) -> int:
        """When the first order of ``symbol`` was sent; 0: none was."""
        return min((row.sent_ms for row in self._outbox.rows.values() if row.symbol == symbol and row.sent_ms), default=0)

    def _on_record(self, trade: TradeSeen) -> bool:
        """Whether a fill was taken in, by itself or in what a person took over."""
        symbol = trade.symbol
        return self._outbox.has_trade(symbol, trade.trade_id) or trade.ts <= self._outbox.settled_ms.get(symbol, 0)

    async def _named(self, trade: TradeSeen) -> TradeSeen | None:
        """A fill with the client id of its order, which is heard too; None while it may be of an order of which nobody knows."""
        symbol = trade.symbol
        if self._intake.row_of(symbol, "", trade.venue_id) is not None:
            return trade
        seen = await self._desk.account.order_of(symbol, trade.venue_id)
        if seen is None:
            doubtful = any(row.symbol == symbol and row.state.doubtful for row in self._outbox.unresolved())
            return None if doubtful else trade
        if self._intake.row_of(symbol, seen.client_id, trade.venue_id) is not None:
            self._intake.order(seen)
        return replace(trade, client_id=seen.client_id, forced=self._desk.account.forced(seen.client_id))

    async def _money(self) -> None:
        self._intake.hear(await self._desk.account.balance())
        if not self._outbox.rows:
            return
        since = self._outbox.last_funding or min(row.ts for row in self._outbox.rows.values())
        for payment in await self._desk.account.funding(since):
            self._intake.funding(payment)

    # --- positions --------------------------------------------------------------------------------

    def _difference(self, symbol: str) -> Difference | None:
        venue = self.seen[symbol].qty if symbol in self.seen else ZERO
        held = self._outbox.held(symbol)
        return None if venue == held else Difference(symbol, venue, held, remedy(symbol, venue, held))

    def _judge(self, believed: dict[str, Difference | None]) -> None:
        for symbol, difference in believed.items():
            self.surplus.pop(symbol, None)
            if difference is not None and not self._settled(difference):
                self.surplus[symbol] = difference.venue - difference.outbox
                self._desk.halt(symbol, HaltKind.POSITION, str(difference), venue=str(difference.venue))
            elif self._desk.lift(symbol, HaltKind.POSITION):
                self.actions.append(f"{symbol} agrees again")

    def _settled(self, difference: Difference) -> bool:
        """Whether what a person traded there has brought it to what the books were told; the fills alone do not add up."""
        symbol, why = difference.symbol, "the exchange has what the books were told"
        stood = (symbol, HaltKind.POSITION.value, "") in self._outbox.halts
        if not stood or difference.venue != self._outbox.booked(symbol):
            return False
        self._outbox.settle(symbol, difference.venue - difference.outbox, self._desk.now(), why)
        self._intake.compare_books(symbol)
        return True


async def _attempt(step: Awaitable[object], failed: list[Exception]) -> None:
    """One step of several that do not depend on each other."""
    try:
        await step
    except Exception as error:  # noqa: BLE001 - it is raised once everything else is compared
        failed.append(error)
