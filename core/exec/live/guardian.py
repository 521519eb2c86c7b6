"""Keeps every position covered, from its first fill to flat, whatever the books are doing meanwhile.

It can only reduce: it places stops that close the position, closes it at market, and cleans up when it is flat.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Container, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any

from core.codes import RefusalCode
from core.exec.live.audit import Audit
from core.exec.live.desk import Desk
from core.exec.live.halts import HaltKind
from core.exec.live.intake import Intake
from core.exec.live.protection import Act, Exposure, StopView, catastrophe_price, decide
from core.exec.live.sender import Sender
from core.exec.live.states import Row, State
from core.types import ExitReason, OrderPurpose, OrderSide, OrderType, Side
from core.venues.words import ZERO, Standing

StopOf = Callable[[str], Decimal | None]
_SLOWEST_S = 30.0
_LOOKS_NAKED = 10
"""So many times as often it is looked while something is naked: what is due then is due to the moment."""
_HOPELESS = 3
"""After so many tries in vain a person is told of a last stop that cannot be had, and a stop is tried beside a close."""
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(slots=True)
class _Pace:
    """How soon what came to nothing is tried again: ever more slowly."""

    first_s: float
    tries: int = 0
    after: float = 0.0

    def step(self) -> None:
        self.after = _now() + min(self.first_s * 2.0 ** min(self.tries, 16), _SLOWEST_S)
        self.tries += 1

    def reset(self) -> None:
        self.tries, self.after = 0, 0.0


@dataclass(slots=True)
class _Watch:
    """What is remembered of one symbol between two looks.

    ``busy``: while something is begun and not on record yet; ``standing``: since when its stops have stood as they do;
    ``due_since``: from when on it counts how long it has been naked, for what is to be done; ``tried``: whether a stop was;
    ``excused``: whether what was tried before the venue wanted to be left ``alone`` was forgotten once.
    """

    naked_since: float | None = None
    due_since: float = 0.0
    tried: bool = False
    excused: bool = False
    alone: bool = False
    beyond: bool = False
    place: _Pace = field(default_factory=lambda: _Pace(0.1))
    close: _Pace = field(default_factory=lambda: _Pace(0.25))
    busy: bool = False
    cleaned: bool = True
    standing: dict[tuple[str, Standing], float] = field(default_factory=dict)

    def begin(self, naked_since: float | None) -> None:
        """Another position, or one that has lost its cover: nothing that was tried before counts."""
        self.naked_since, self.beyond = naked_since, False
        self.due_since, self.tried, self.excused = naked_since or 0.0, False, False
        self.place.reset()
        self.close.reset()

    def welcome(self, *, alone: bool) -> None:
        """Where the venue wanted to be left alone it is begun anew, so that a stop is tried once more before the close.

        Neither the wait nor what was not taken before it says anything of the stop. But that goes for the first time only: a
        venue that throttles every stop may still take a close.
        """
        if self.alone and not alone and not self.excused and not self.close.tries:
            self.due_since, self.excused = _now(), self.tried
            self.place.reset()
        self.alone = alone


_Work = Callable[[str, _Watch], Coroutine[Any, Any, None]]


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
        self._reached: frozenset[tuple[str, Standing | None]] = frozenset()
        self._wake = asyncio.Event()
        self.trust_no_reached()

    def changed(self, symbol: str) -> None:
        """A fill or a stop of ``symbol`` changed: look at once."""
        self._watches.setdefault(symbol, _Watch()).cleaned = False
        self._wake.set()

    def trust_no_reached(self) -> None:
        """What is known to be reached was so before this life, or before its first question, and has had its time."""
        working = (row for row in self._outbox.live() if row.standing not in (None, Standing.LIVE))
        self._reached = frozenset((row.client_id, row.standing) for row in working)
        for watch in self._watches.values():
            watch.standing = {key: since for key, since in watch.standing.items() if key not in self._reached}
        self._wake.set()

    async def keep(self) -> None:
        """Look whenever something changed, and every so often."""
        while True:
            naked = any(watch.naked_since is not None for watch in self._watches.values())
            try:
                async with asyncio.timeout(self._desk.options.watch_every_s / (_LOOKS_NAKED if naked else 1)):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            self.look()

    def look(self) -> None:
        """Decide for each symbol, and let it be done beside; what goes wrong with one leaves the others covered."""
        halted = {halt.symbol for halt in self._desk.halts if halt.kind is HaltKind.UNCOVERED}
        for symbol in sorted({*self._watches, *self._outbox.holdings(), *self._audit.surplus, *halted}):
            try:
                self._look_at(symbol, self._watches.setdefault(symbol, _Watch()))
            except Exception as error:  # noqa: BLE001 - whatever it is
                self._desk.failed(f"guardian of {symbol}", error, goes_on=True)

    def _look_at(self, symbol: str, watch: _Watch) -> None:
        watch.welcome(alone=self._desk.account.left_alone_s() > 0.0)
        exposure = self.exposure(symbol)
        self._call(symbol, watch)
        if exposure.catastrophe:
            watch.place.reset()
        if not watch.busy and not watch.alone:
            self._begin(symbol, watch, self._due(exposure, watch), flat=self._flat(symbol, exposure))

    def _flat(self, symbol: str, exposure: Exposure) -> bool:
        """Whether nothing is left to protect.

        What the venue holds beyond the record may be a late answer, and an entry that is not over may have been filled unheard.
        """
        entering = any(row.opens for row in self._rows(symbol))
        return not exposure.held and not self._outbox.held(symbol) and not entering

    def _due(self, exposure: Exposure, watch: _Watch) -> Act:
        """What is to be done, if it is time for it; while closes come to nothing, a stop is better than none."""
        now, act = _now(), decide(exposure, self._desk.options)
        if act is Act.CLOSE:
            if now >= watch.close.after:
                return act
            act = Act.PLACE if watch.close.tries >= _HOPELESS and exposure.underway < _HOPELESS else Act.NOTHING
        return act if now >= watch.place.after else Act.NOTHING

    def _call(self, symbol: str, watch: _Watch) -> None:
        """A person is called where a position has been without cover for too long, whatever is being tried."""
        if watch.naked_since is None:
            self._desk.lift(symbol, HaltKind.UNCOVERED)
        elif _now() - watch.naked_since > self._desk.options.naked_s:
            why = f"{self.held(symbol)} could neither be covered nor closed; do so at the exchange"
            self._desk.halt(symbol, HaltKind.UNCOVERED, why)

    def _begin(self, symbol: str, watch: _Watch, act: Act, *, flat: bool) -> None:
        work: _Work
        if act in (Act.PLACE, Act.PLACE_SECOND):
            work = partial(self._place, second=act is Act.PLACE_SECOND)
        elif act is Act.CLOSE:
            work = self._close
        elif flat and not watch.cleaned:
            work = self._clean_up
        else:
            return
        watch.busy, pace = True, watch.close if act is Act.CLOSE else watch.place
        self._desk.start(self._do(work, symbol, watch, pace), f"{act} {symbol}", goes_on=True)

    async def _do(self, work: _Work, symbol: str, watch: _Watch, pace: _Pace) -> None:
        """Do ``work``, which tells by itself when it is on record; where it fails that is a try in vain, like every other."""
        try:
            await work(symbol, watch)
        except Exception:
            pace.step()  # or it would be begun again at each look, and the close never be due
            raise
        finally:
            watch.busy = False

    # --- seeing -----------------------------------------------------------------------------------

    def held(self, symbol: str) -> Decimal:
        """The position to be covered: the fills on record, and what the venue holds beyond them."""
        return self._outbox.held(symbol) + self._audit.surplus.get(symbol, ZERO)

    def exposure(self, symbol: str) -> Exposure:
        """All that is known of ``symbol``; notes since when nothing covers it."""
        held, watch = self.held(symbol), self._watches.setdefault(symbol, _Watch())
        against = [row for row in self._rows(symbol) if row.type is OrderType.STOP_MARKET and held * row.side.sign < 0]
        stops = tuple(_views(against, watch, self._reached))
        covered = any(stop.covers(held) for stop in stops)
        if not held:
            watch.begin(None)
        elif covered:
            watch.naked_since = None
        elif watch.naked_since is None:
            watch.begin(_now())
        return Exposure(
            held=held,
            stops=stops,
            naked_s=None if watch.naked_since is None else _now() - watch.due_since,
            underway=sum(1 for row in against if row.own and not row.state.open),
            tries=watch.place.tries,
            beyond=watch.beyond,
        )

    def _rows(self, symbol: str) -> list[Row]:
        """Orders that rest, as far as is known, or of which nobody knows."""
        return [row for row in (*self._outbox.live(symbol), *self._outbox.unresolved()) if row.symbol == symbol]

    # --- doing ------------------------------------------------------------------------------------

    def _own(self, symbol: str, leg: str, purpose: OrderPurpose, kind: OrderType, held: Decimal) -> Row:
        """A new order of the guardian's, with an id that was never used."""
        opening = next((row for row in reversed(self._outbox.rows.values()) if row.symbol == symbol and row.opens), None)
        if opening is None:
            stem = f"{_base36(self._desk.now())}g-{re.sub(r'[^A-Z0-9]', '', symbol.split(':', maxsplit=1)[0])[:8]}-0000"
        else:
            stem = opening.told_as.rsplit("-", maxsplit=1)[0]
        number = sum(1 for row in self._outbox.rows.values() if row.client_id.startswith(f"{stem}-{leg}"))
        while (client_id := f"{stem}-{leg}{_base36(number)}") in self._outbox.rows:  # a full disk leaves gaps
            number += 1
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
            spread_bps=self._desk.instrument(symbol).modelled_spread_bps,
        )

    async def _place(self, symbol: str, watch: _Watch, *, second: bool) -> None:
        """A stop of the guardian's, under a new id: one that closes everything, or beside it one for the present size."""
        watch.tried = True
        held = self.held(symbol)
        row = self._own(symbol, "c", OrderPurpose.STOP, OrderType.STOP_MARKET, held)
        side = Side.LONG if held > 0 else Side.SHORT
        seen = self._audit.seen.get(symbol)
        if seen is not None and seen.qty == held:
            entry, liquidation = seen.entry, seen.liquidation
        else:  # what the venue said was of another position
            entry, liquidation = self._last_entry(symbol), None
        plan_stop = self._stop_of(row.plan_id)
        row.price = catastrophe_price(side, entry, plan_stop, liquidation, self._desk.instrument(symbol), self._desk.options)
        row.expected_price = float(row.price)
        row.is_algo = row.on_mark = True
        row.close_position = not second
        row.qty = row.told_qty = abs(held) if second else ZERO
        watch.busy = False  # from here to the send nothing waits, and then the row tells that it is on its way
        await self._sender.send(row)
        if row.state.over and row.state is not State.DONE:
            self._refused(row, watch)

    def _refused(self, row: Row, watch: _Watch) -> None:
        watch.place.step()
        if row.code is not RefusalCode.STOP_WOULD_TRIGGER:
            self._intake.on_doubt(row.symbol)
            if watch.place.tries == _HOPELESS:
                self._desk.alert("page", "no_last_stop", f"the last stop of {row.symbol} was refused again: {row.message}")
        elif not watch.beyond:
            watch.beyond = True
            text = f"{row.symbol} is beyond its last stop at {row.price}: without another it is closed at market"
            self._desk.alert("page", "stop_beyond", text)
            self._wake.set()

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
        if not watch.close.tries:
            text = f"{symbol} has no stop that can be believed in: {abs(held)} are closed at market"
            self._desk.alert("page", "unprotected", text)
        watch.close.step()  # if it is lost, another follows: they can only reduce
        watch.busy = False
        await self._sender.send(row)
        if row.state.over and row.state is not State.DONE:
            self._intake.on_doubt(symbol)

    async def _clean_up(self, symbol: str, watch: _Watch) -> None:
        """The position is flat: nothing that was there to protect or close it may stay, in either book, or it hits the next."""
        watch.cleaned, watch.busy = True, False
        for row in self._outbox.live(symbol):
            if not row.opens and not row.cancel_wanted:
                self._outbox.note(row, cancel_wanted=True)
                self._desk.start(self._sender.call_back(row), f"cancel {row.client_id}")
        self._intake.on_doubt(symbol)


def _views(rows: Sequence[Row], watch: _Watch, reached: Container[tuple[str, Standing | None]]) -> Iterator[StopView]:
    """The stops among ``rows`` that are at the venue; notes since when each stands as it does."""
    now, before = _now(), watch.standing
    watch.standing = {}
    for row in rows:
        if row.state.open and row.standing is not None:
            key = row.client_id, row.standing
            watch.standing[key] = since = before.get(key, float("-inf") if key in reached else now)
            yield StopView(row.standing, now - since, row.close_position, row.qty - row.filled)


def _now() -> float:
    """Seconds of a clock that nobody sets: how long something has been naked is no matter of the time of day."""
    return asyncio.get_running_loop().time()


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits or "0"
