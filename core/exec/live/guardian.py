"""Keeps every position covered, from its first fill to flat, whatever the books are doing meanwhile.

It can only reduce: it places stops that close the position, closes it at market, and cleans up when it is flat.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from core.codes import RefusalCode
from core.exec.live.audit import Audit
from core.exec.live.desk import Desk
from core.exec.live.intake import Intake
from core.exec.live.protection import Act, Exposure, StopView, catastrophe_price, decide
from core.exec.live.sender import Sender
from core.exec.live.states import Row, State
from core.types import ExitReason, OrderPurpose, OrderSide, OrderType, Side
from core.venues.words import ZERO

StopOf = Callable[[str], Decimal | None]
_THROTTLED_MS, _FAILED_MS = 500, 100
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(slots=True)
class _Watch:
    """What is remembered of one symbol between two looks; ``busy`` while something is begun and not on record yet."""

    naked_since: int | None = None
    tries: int = 0
    not_before: int = 0
    busy: bool = False
    cleaned: bool = True


class Guardian:
    """Watches positions.

    Args:
        desk: what the parts share.
        intake: tells which positions and stops have changed.
        sender: sends and calls back.
        audit: knows the venue's positions, and is asked when something is not as it should be.
        stop_of: the stop of a plan, by the plan's id.
    """

    def __init__(self, desk: Desk, intake: Intake, sender: Sender, audit: Audit, stop_of: StopOf) -> None:
        self._desk, self._outbox, self._intake = desk, desk.outbox, intake
        self._sender, self._audit, self._stop_of = sender, audit, stop_of
        self._watches: dict[str, _Watch] = {}
        self._wake = asyncio.Event()

    def changed(self, symbol: str) -> None:
        """A fill or a stop of ``symbol`` changed: look at once."""
        self._watches.setdefault(symbol, _Watch()).cleaned = False
        self._wake.set()

    async def keep(self) -> None:
        """Look whenever something changed, and every so often."""
        while True:
            try:
                async with asyncio.timeout(self._desk.options.watch_every_s):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            self.look()

    def look(self) -> None:
        """Decide for each symbol, and let what is to be done be done beside."""
        for symbol in sorted({*self._watches, *self._outbox.holdings(), *self._audit.surplus}):
            if symbol not in self._desk.instruments:
                continue
            watch = self._watches.setdefault(symbol, _Watch())
            exposure = self.exposure(symbol)
            if not watch.busy and self._desk.now() >= watch.not_before:
                self._begin(symbol, watch, decide(exposure, self._desk.now(), self._desk.options), flat=not exposure.held)

    def _begin(self, symbol: str, watch: _Watch, act: Act, *, flat: bool) -> None:
        if act in (Act.PLACE, Act.PLACE_SECOND):
            work = self._place(symbol, watch, second=act is Act.PLACE_SECOND)
        elif act is Act.CLOSE:
            work = self._close(symbol, watch)
        elif flat and not watch.cleaned:
            work = self._clean_up(symbol, watch)
        else:
            return
        watch.busy = True
        self._desk.start(work, f"{act} {symbol}")

    # --- seeing -----------------------------------------------------------------------------------

    def held(self, symbol: str) -> Decimal:
        """The position to be covered: the fills on record, and what the venue holds beyond them."""
        return self._outbox.held(symbol) + self._audit.surplus.get(symbol, ZERO)

    def exposure(self, symbol: str) -> Exposure:
        """All that is known of ``symbol``; notes since when nothing covers it."""
        held, watch = self.held(symbol), self._watches.setdefault(symbol, _Watch())
        rows = [row for row in (*self._outbox.live(symbol), *self._outbox.unresolved()) if row.symbol == symbol]
        against = [row for row in rows if held * row.side.sign < 0]
        stops = tuple(
            StopView(row.standing, row.standing_since, row.close_position, row.qty - row.filled)
            for row in against
            if row.type is OrderType.STOP_MARKET and row.state.open and row.standing is not None
        )
        covered = any(stop.covers(held) for stop in stops)
        if not held or covered:
            watch.naked_since = None
        elif watch.naked_since is None:
            watch.naked_since = self._desk.now()
        return Exposure(
            held=held,
            stops=stops,
            naked_since=watch.naked_since,
            underway=sum(1 for row in against if row.own and row.type is OrderType.STOP_MARKET and not row.state.open),
            closing=any(row.type is OrderType.MARKET for row in against),
            tries=watch.tries,
        )

    # --- doing ------------------------------------------------------------------------------------

    def _own(self, symbol: str, leg: str, purpose: OrderPurpose, kind: OrderType, held: Decimal) -> Row:
        """A new order of the guardian's, with an id that was never used."""
        opening = next((row for row in reversed(self._outbox.rows.values()) if row.symbol == symbol and row.opens), None)
        if opening is None:
            stem = f"{_base36(self._desk.now())}g-{re.sub(r'[^A-Z0-9]', '', symbol.split(':', maxsplit=1)[0])[:8]}-0000"
        else:
            stem = opening.told_as.rsplit("-", maxsplit=1)[0]
        number = sum(1 for row in self._outbox.rows.values() if row.client_id.startswith(f"{stem}-{leg}"))
        client_id = f"{stem}-{leg}{_base36(number)}"
        return Row(
            client_id=client_id,
            told_as=client_id,
            plan_id="" if opening is None else opening.plan_id,
            symbol=symbol,
            side=OrderSide.SELL if held > 0 else OrderSide.BUY,
            type=kind,
            purpose=purpose,
            qty=ZERO,
            price=None,
            reduce_only=True,
            ts=self._desk.now(),
            reason=ExitReason.STOP,
            own=True,
            spread_bps=self._desk.instruments[symbol].modelled_spread_bps,
        )

    async def _place(self, symbol: str, watch: _Watch, *, second: bool) -> None:
        """A stop of the guardian's, under a new id: one that closes everything, or beside it one for the present size."""
        held = self.held(symbol)
        row = self._own(symbol, "c", OrderPurpose.STOP, OrderType.STOP_MARKET, held)
        side = Side.LONG if held > 0 else Side.SHORT
        seen = self._audit.seen.get(symbol)
        if seen is not None and seen.qty == held:
            entry, liquidation = seen.entry, seen.liquidation
        else:  # what the venue said was of another position
            entry, liquidation = self._last_entry(symbol), None
        plan_stop = self._stop_of(row.plan_id)
        row.price = catastrophe_price(side, entry, plan_stop, liquidation, self._desk.instruments[symbol], self._desk.options)
        row.expected_price = float(row.price)
        row.is_algo = row.on_mark = True
        row.close_position = not second
        row.qty = row.told_qty = abs(held) if second else ZERO
        watch.busy = False  # from here to the send nothing waits, and then the row tells that it is on its way
        await self._sender.send(row)
        if row.state.open or row.state is State.DONE:
            watch.tries = 0
        else:
            self._failed(row, watch)

    def _failed(self, row: Row, watch: _Watch) -> None:
        if not row.state.over:
            return  # nobody knows yet; it is looked into
        throttled = row.state is State.THROTTLED
        watch.not_before = self._desk.now() + (_THROTTLED_MS if throttled else _FAILED_MS)
        watch.tries += not throttled
        if row.code is RefusalCode.STOP_WOULD_TRIGGER:
            self._desk.alert(
                "page", "stop_beyond", f"{row.symbol} is beyond its last stop at {row.price}: it is closed at market"
            )
            watch.tries, watch.not_before = self._desk.options.place_tries, 0
        else:
            self._intake.on_doubt(row.symbol)

    def _last_entry(self, symbol: str) -> Decimal:
        """The cap of the last entry, near enough to what it was filled at; else the last price."""
        rows = (row for row in reversed(self._outbox.rows.values()) if row.symbol == symbol and row.opens)
        price = next((row.price for row in rows if row.price is not None), None)
        return price if price is not None else Decimal(repr(self._desk.prices[symbol]))

    async def _close(self, symbol: str, watch: _Watch) -> None:
        """Out at market, reduce-only; a person is told."""
        held = self.held(symbol)
        row = self._own(symbol, "w", OrderPurpose.EXIT, OrderType.MARKET, held)
        row.qty = row.told_qty = abs(held)
        row.expected_price = self._desk.prices.get(symbol, 0.0)
        self._desk.alert("page", "unprotected", f"{symbol} has no stop that can be believed in: {abs(held)} are closed at market")
        watch.busy = False
        await self._sender.send(row)
        if row.state.over and row.state is not State.DONE:
            watch.not_before = self._desk.now() + _FAILED_MS
            self._intake.on_doubt(symbol)

    async def _clean_up(self, symbol: str, watch: _Watch) -> None:
        """The position is flat: nothing that was there to protect or close it may stay, in either book, or it hits the next."""
        watch.cleaned, watch.busy, watch.tries, watch.not_before = True, False, 0, 0
        for row in self._outbox.live(symbol):
            if not row.opens and not row.cancel_wanted:
                self._outbox.note(row, cancel_wanted=True)
                self._desk.start(self._sender.call_back(row), f"cancel {row.client_id}")
        self._intake.on_doubt(symbol)


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits or "0"
