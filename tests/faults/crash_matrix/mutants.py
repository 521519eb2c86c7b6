"""Ways of building the live broker wrongly that look right. Each must break a rule in some life, or the rules have no teeth."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from core.exec.live import guardian, outbox
from core.exec.live.audit import Audit
from core.exec.live.guardian import Guardian
from core.exec.live.intake import Intake
from core.exec.live.outbox import Outbox
from core.exec.live.outcome import Outcome
from core.exec.live.protection import Act, decide
from core.exec.live.recovery import Recoverer
from core.exec.live.resolver import Resolver
from core.exec.live.sender import Sender
from core.exec.live.states import State
from core.exec.orders import OrderManager
from core.venues.words import LinkLost, Word

Patch = pytest.MonkeyPatch


def _synchronous(patch: Patch, how: str) -> None:
    """The outbox is quick: no commit of it is on the disk when it returns."""

    def wait_for_disk(db: sqlite3.Connection, *, wait: bool) -> None:
        del wait
        db.execute(f"PRAGMA synchronous={how}")

    patch.setattr(outbox, "wait_for_disk", wait_for_disk)


def _unknown_again_with_new_id(patch: Patch) -> None:
    """No reply is taken for a failure: the order is sent again."""
    real = Sender._judge

    async def judge(self: Any, row: Any, verdict: Any) -> None:
        await real(self, row, verdict)
        if verdict.outcome is Outcome.UNKNOWN and "." not in row.client_id and not row.own:
            again = msgspec.structs.replace(row, client_id=f"{row.client_id}.9", state=State.SENT, attempt=9, standing=None)
            await self.send(again)

    patch.setattr(Sender, "_judge", judge)


def _not_found_is_absent(patch: Patch) -> None:
    """An order that one look-up does not know was never there: nobody waits for the receive window."""

    async def resolve(self: Any, row: Any) -> None:
        if row.state is State.SENT:
            self._desk.outbox.move(row, State.UNKNOWN, self._desk.now())
        while row.state.doubtful:
            gone, _ = await self._look(row)
            if gone and row.state.doubtful:
                self._desk.outbox.move(row, State.ABSENT, self._desk.now())

    patch.setattr(Resolver, "resolve", resolve)


def _cancel_before_place(patch: Patch) -> None:
    """The old stop goes before the new one stands."""
    real = OrderManager._place_stop

    async def place_stop(self: Any, guard: Any, *more: Any) -> Any:
        if guard.stop is not None:
            await self._cancel(guard.stop)
            guard.stop = None
        return await real(self, guard, *more)

    patch.setattr(OrderManager, "_place_stop", place_stop)


def _no_catastrophe_stop(patch: Patch) -> None:
    """The working stop of the books is thought to be enough."""
    real = Guardian._begin

    def begin(self: Any, symbol: str, watch: Any, act: Act, *, flat: bool) -> None:
        real(self, symbol, watch, Act.NOTHING if act is Act.PLACE else act, flat=flat)

    patch.setattr(Guardian, "_begin", begin)


def _intent_after_send(patch: Patch) -> None:
    """The order is on the disk once the exchange has answered."""
    real, fly = Sender._write_down, Sender._fly

    def later(self: Any, row: Any) -> None:
        self.__dict__.setdefault("unwritten", {})[row.client_id] = row

    async def fly_first(self: Any, row: Any) -> None:
        if row.client_id in self.__dict__.get("unwritten", {}):
            seen = await self._desk.account.send(row.ask)
            real(self, self.unwritten.pop(row.client_id))
            self._intake.order(seen)
        else:
            await fly(self, row)

    patch.setattr(Sender, "_write_down", later)
    patch.setattr(Sender, "_fly", fly_first)


def _fills_after_the_last(patch: Patch) -> None:
    """Fills are asked for from the last known one on: one that the stream lost between two others never comes."""
    real = Audit.fetch_trades

    async def fetch_trades(self: Any, symbol: str) -> bool:
        known = [number for name, number in self._outbox._trades if name == symbol]
        if known:
            self._outbox.audited[symbol] = max(known)
        return await real(self, symbol)

    patch.setattr(Audit, "fetch_trades", fetch_trades)


def _fill_counts_twice(patch: Patch) -> None:
    """A fill that is told again is a fill."""
    patch.setattr(Outbox, "has_trade", lambda *_: False)


def _without(patch: Patch, act: Act) -> None:
    """The guardian never does this."""

    def other(*asked: Any) -> Act:
        due = decide(*asked)
        return Act.NOTHING if due is act else due

    patch.setattr(guardian, "decide", other)


def _never(patch: Patch, part: type, name: str) -> None:
    """This step is left out."""

    async def nothing(*_args: Any) -> None: ...

    patch.setattr(part, name, nothing)


def _one_witness(patch: Patch) -> None:
    """An order that no look-up knows was never there, whatever fills and position say."""

    async def no_trace(*_args: Any) -> bool:
        return True

    patch.setattr(Resolver, "_no_trace", no_trace)


def _no_fence(patch: Patch) -> None:
    """Look-ups and the second witness are enough: nobody waits for the receive window."""
    real = Resolver.resolve

    async def resolve(self: Any, row: Any) -> None:
        row.recv_window_ms = -60_000
        await real(self, row)

    patch.setattr(Resolver, "resolve", resolve)


def _links_are_lost_unheard(patch: Patch) -> None:
    """What a broken stream has missed will be found by the schedule."""
    real = Intake.hear

    def hear(self: Any, word: Word) -> None:
        if not isinstance(word, LinkLost):
            real(self, word)

    patch.setattr(Intake, "hear", hear)


def _quietly(patch: Patch, part: type, name: str) -> None:
    """This step, which waits for nothing, is left out."""
    patch.setattr(part, name, lambda *_args: None)


def _no_checks(patch: Patch) -> None:
    """An entry is sent however old it is, and whatever is halted."""
    _quietly(patch, Sender, "_refuse")
    _quietly(patch, Sender, "_withhold")


def _no_schedule(patch: Patch) -> None:
    """Nothing is compared with the exchange once the start is over."""

    async def keep(_self: Any) -> None:
        await asyncio.Event().wait()

    patch.setattr(Audit, "keep", keep)


def _cover_at_once(patch: Patch) -> None:
    """A start is over whether what is open is covered or not."""
    _never(patch, Recoverer, "_cover")


MUTANTS: dict[str, Callable[[Patch], None]] = {
    "synchronous_off": functools.partial(_synchronous, how="OFF"),
    "synchronous_normal": functools.partial(_synchronous, how="NORMAL"),
    "unknown_again_with_new_id": _unknown_again_with_new_id,
    "not_found_is_absent": _not_found_is_absent,
    "cancel_before_place": _cancel_before_place,
    "no_catastrophe_stop": _no_catastrophe_stop,
    "intent_after_send": _intent_after_send,
    "fills_after_the_last": _fills_after_the_last,
    "fill_counts_twice": _fill_counts_twice,
    "no_second_stop": functools.partial(_without, act=Act.PLACE_SECOND),
    "no_close": functools.partial(_without, act=Act.CLOSE),
    "no_close_of_what_is_stuck": functools.partial(_without, act=Act.CLOSE),
    "no_clean_up": functools.partial(_never, part=Guardian, name="_clean_up"),
    "one_witness": _one_witness,
    "no_fence": _no_fence,
    "missing_orders_rest": functools.partial(_never, part=Audit, name="_missing"),
    "children_are_not_asked_for": functools.partial(_never, part=Audit, name="_child"),
    "unknown_orders_are_nobodys": functools.partial(_never, part=Audit, name="_unknown"),
    "links_are_lost_unheard": _links_are_lost_unheard,
    "no_schedule": _no_schedule,
    "no_money": functools.partial(_never, part=Audit, name="_money"),
    "no_checks": _no_checks,
    "old_entries_are_sent": _no_checks,
    "start_covers_nothing": _cover_at_once,
    "start_calls_nothing_back": functools.partial(_quietly, part=Recoverer, name="_call_back"),
    "start_tells_no_ends": functools.partial(_quietly, part=Recoverer, name="_tell_ends"),
    "start_sets_no_modes": functools.partial(_never, part=Recoverer, name="_check_modes"),
}


@contextlib.contextmanager
def mutated(name: str | None) -> Iterator[None]:
    """The broker is built so inside."""
    with pytest.MonkeyPatch.context() as patch:
        if name is not None:
            MUTANTS[name](patch)
        yield
