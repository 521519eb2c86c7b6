"""What the parts of the live broker share: the account, the outbox, what is halted, and the tasks that run beside."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from core.data.blocks import Book
from core.exec.instrument import Instrument
from core.exec.live.crash import CrashPoint, OnCrashPoint, never
from core.exec.live.outbox import Outbox
from core.exec.live.port import Account
from core.exec.live.settings import LiveOptions

OnAlert = Callable[[str, str, str], None]
"""``(level, code, text)``: levels are those of :class:`core.monitor.schema.AlertLevel`."""
BookOf = Callable[[str], Book | None]


class Desk:
    """Shared by every part; no part holds another's state.

    Attributes:
        halted: symbols on which nothing is opened, with why; ``""`` stands for the whole account.
        prices: the last price of each symbol that is known.

    Args:
        account: at the venue.
        outbox: of this account.
        instruments: what may be traded.
        options: settings.
        books: the present book of a symbol; None where there is none.
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
        self.books = books
        self.halted: dict[str, str] = {}
        self.prices: dict[str, float] = {}
        self._on_alert, self._crash = on_alert, crash
        self._tasks: dict[asyncio.Task[Any], None] = {}

    def now(self) -> int:
        """The venue's time (ms)."""
        return self.account.now_ms()

    def at(self, point: CrashPoint) -> None:
        """A named place is passed."""
        self._crash(point)

    def alert(self, level: str, code: str, text: str) -> None:
        """Tell a person."""
        self._on_alert(level, code, text)

    def halt(self, symbol: str, why: str) -> None:
        """Open nothing on ``symbol`` any more (empty: on any), and call a person; told once for the same reason."""
        if self.halted.get(symbol) != why:
            self.halted[symbol] = why
            self.alert("page", "symbol_halted", f"{symbol or 'the whole account'}: {why}")

    def resume(self, symbol: str) -> None:
        """What halted ``symbol`` is settled."""
        self.halted.pop(symbol, None)

    def halt_of(self, symbol: str) -> str | None:
        """Why nothing may be opened on ``symbol``; None when it may."""
        return self.halted.get(symbol) or self.halted.get("")

    def start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Let ``work`` run beside; where it fails, a person is called and the account halts."""
        task = asyncio.create_task(self._watched(work, name), name=name)
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._ended(done, work))
        return task

    def _ended(self, task: asyncio.Task[None], work: Coroutine[Any, Any, None]) -> None:
        del self._tasks[task]
        work.close()  # one that was stopped before its first step was never awaited

    async def _watched(self, work: Coroutine[Any, Any, None], name: str) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - a part that fails must not take the others with it, nor go unseen
            self.halt("", f"{name} failed: {type(error).__name__}: {error}")

    async def stop(self) -> None:
        """End every task that runs beside."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
