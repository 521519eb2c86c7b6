"""What the parts of the live broker share: the account, the outbox, what is halted, and the tasks that run beside."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from core.data.blocks import Book
from core.exec.instrument import Instrument
from core.exec.live.crash import CrashPoint, OnCrashPoint, never
from core.exec.live.halts import Halt, HaltKind
from core.exec.live.outbox import Outbox
from core.exec.live.port import Account
from core.exec.live.settings import LiveOptions
from core.venues.words import Limits

OnAlert = Callable[[str, str, str], None]
"""``(level, code, text)``: levels are those of :class:`core.monitor.schema.AlertLevel`."""
BookOf = Callable[[str], Book | None]
_ANEW_S = 0.25
_RUNS_WELL_S = 7_500.0
"""A part that failed and runs again is believed in after so long without another failure: the slowest works each hour."""
_STRANGE_MARGIN = 0.05
"""Maintenance margin of a market of which the venue names no liquidation price: more than any that is listed for long."""


class Desk:
    """Shared by every part; no part holds another's state.

    Attributes:
        born_ms: when this life reached the venue: whatever an earlier one sent had left by then.
        prices: the last price of each symbol that is known.

    Args:
        account: at the venue.
        outbox: of this account.
        instruments: what may be traded.
        options: settings.
        books: the present book of a symbol, however old; None where there is none.
        on_alert: told what a person should know.
        crash: called at named places, for tests.
    """

    def __init__(
        self,
        account: Account,
        outbox: Outbox,
        instruments: Sequence[Instrument],
        options: LiveOptions,
        *,
        books: BookOf,
        on_alert: OnAlert,
        crash: OnCrashPoint = never,
    ) -> None:
        self.account, self.outbox, self.options = account, outbox, options
        self.instruments = {instrument.symbol: instrument for instrument in instruments}
        self._books = books
        self.born_ms = 0
        self.prices: dict[str, float] = {}
        self._on_alert, self._crash = on_alert, crash
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._on_trial: dict[str, asyncio.TimerHandle] = {}

    def now(self) -> int:
        """The venue's time (ms)."""
        return self.account.now_ms()

    def instrument(self, symbol: str) -> Instrument:
        """What is traded here; of anything else what must be known of it to protect it.

        Raises:
            KeyError: the venue does not list it.
        """
        known = self.instruments.get(symbol)
        return _stranger(self.account.limits(symbol)) if known is None else known

    def at(self, point: CrashPoint) -> None:
        """A named place is passed."""
        self._crash(point)

    def alert(self, level: str, code: str, text: str) -> None:
        """Tell a person."""
        self._on_alert(level, code, text)

    def book(self, symbol: str) -> Book | None:
        """The present book; None without one, and where it is older than a book may be."""
        book, valid_ms = self._books(symbol), self.options.book_valid_ms
        if book is None or (valid_ms is not None and self.now() - book.ts > valid_ms):
            return None
        return book

    # --- halts --------------------------------------------------------------------------------------

    @property
    def halts(self) -> tuple[Halt, ...]:
        """Why nothing is opened, and where."""
        return tuple(self.outbox.halts.values())

    @property
    def halted(self) -> dict[str, str]:
        """Symbols on which nothing is opened, with every reason; ``""`` stands for the whole account."""
        reasons: dict[str, list[str]] = {}
        for halt in self.halts:
            reasons.setdefault(halt.symbol, []).append(halt.text)
        return {symbol: "; ".join(texts) for symbol, texts in sorted(reasons.items())}

    def halt(self, symbol: str, kind: HaltKind, why: str, ref: str = "", venue: str = "") -> None:
        """Open nothing on ``symbol`` any more (empty: on any), and call a person; told once for the same reason."""
        halt = Halt(symbol, kind, ref, why, self.now(), venue)
        known = self.outbox.halts.get(halt.key)
        if known is None or known.text != why:
            self.outbox.halt(halt)
            self.alert("page", "symbol_halted", f"{halt.where}: {why}")

    def lift(self, symbol: str, kind: HaltKind, ref: str | None = None) -> bool:
        """This reason is settled (no ``ref``: all of its kind); whether there was one."""
        found = [halt for halt in self.halts if (halt.symbol, halt.kind) == (symbol, kind) and ref in (None, halt.ref)]
        for halt in found:
            self.outbox.lift(halt)
        return bool(found)

    def halt_of(self, symbol: str) -> str | None:
        """Why nothing may be opened on ``symbol``; None when it may."""
        halted = self.halted
        return halted.get(symbol) or halted.get("")

    async def until_welcome(self) -> None:
        """Wait while the venue wants to be left alone: it bans whoever goes on."""
        while (wait_s := self.account.left_alone_s()) > 0.0:  # noqa: ASYNC110 - time alone ends it
            await asyncio.sleep(wait_s)

    def start(self, work: Coroutine[Any, Any, None], name: str, *, goes_on: bool = False) -> asyncio.Task[None]:
        """Let ``work`` run beside; where it fails, a person is called and the account halts. ``goes_on``: it is begun again."""
        task = asyncio.create_task(self._watched(work, name, goes_on=goes_on), name=name)
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._ended(done, work))
        return task

    def _ended(self, task: asyncio.Task[None], work: Coroutine[Any, Any, None]) -> None:
        del self._tasks[task]
        work.close()  # one that was stopped before its first step was never awaited

    def keep(self, part: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        """Let ``part`` run for ever; where it fails, a person is called, the account halts, and it is begun anew.

        The halt goes when it has run well for :data:`_RUNS_WELL_S`.
        """
        self.start(self._kept(part, name), name)

    async def _kept(self, part: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        while True:
            await self._watched(part(), name, goes_on=True)
            await asyncio.sleep(_ANEW_S)

    async def _watched(self, work: Coroutine[Any, Any, None], name: str, *, goes_on: bool) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - a part that fails must not take the others with it, nor go unseen
            self.failed(name, error, goes_on=goes_on)

    def failed(self, name: str, error: Exception, *, goes_on: bool = False) -> None:
        """A part made a mistake: nothing is opened before a person has looked, or one that ``goes_on`` does so well for long."""
        why = f"{name} failed: {type(error).__name__}: {error}"
        if goes_on:
            why = f"{why}; it goes on, and this goes when it has done so without another for {_RUNS_WELL_S:.0f} s"
            if name in self._on_trial:
                self._on_trial[name].cancel()
            later = asyncio.get_running_loop().call_later
            self._on_trial[name] = later(_RUNS_WELL_S, self.lift, "", HaltKind.PART_FAILED, name)
        self.halt("", HaltKind.PART_FAILED, why, name)

    async def stop(self) -> None:
        """End every task that runs beside."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for trial in self._on_trial.values():
            trial.cancel()


def _stranger(limits: Limits) -> Instrument:
    """A market that nobody trades here: a stop can be placed on it, and nothing opened."""
    return Instrument(
        symbol=limits.symbol,
        is_perp=True,
        tick_size=limits.tick_size,
        qty_step=limits.qty_step,
        min_qty=limits.min_qty,
        min_notional=limits.min_notional,
        min_depth_usd=0.0,
        max_spread_bps=0.0,
        allowed_tfs=frozenset(),
        taker_fee_rate=0.0,
        maker_fee_rate=0.0,
        maintenance_margin_rate=_STRANGE_MARGIN,
        modelled_spread_bps=0.0,
        modelled_depth_usd=0.0,
    )


def pause_s(fails: int, first_s: float, most_s: float) -> float:
    """How long to wait after so many failures in a row."""
    return min(first_s * 2.0 ** min(fails, 10), most_s)


async def at_most(task: asyncio.Task[None], seconds: float) -> None:
    """Wait for a task, but not longer; it goes on by itself."""
    try:
        async with asyncio.timeout(seconds):
            await asyncio.shield(task)
    except TimeoutError:
        pass
