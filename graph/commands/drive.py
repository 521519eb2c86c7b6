"""Drives a daemon at an exchange for a command: signals, what a person is told on the way, and what is left at the end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import NamedTuple

from core.errors import BrainError
from core.exec.live.recovery import Recovery
from core.monitor.telemetry import RunResult
from graph.console import Console
from graph.live.daemon import LiveDaemon
from graph.status import PAPER, watch

Ready = Callable[[LiveDaemon], str]
"""Told of the daemon when it stands; gives the line with which the run begins."""


class EndedEarly(BrainError):
    """A signal came before the daemon stood; what was made for it is taken down."""

    default_code = "LIVE-018"
    exit_code = 130


class Driven(NamedTuple):
    """A run that is over; ``signal_seen``: the first one that asked it to end."""

    result: RunResult
    daemon: LiveDaemon
    signal_seen: int | None


async def drive(
    making: AbstractAsyncContextManager[LiveDaemon], console: Console, ready: Ready, *, handover: bool, title: str = PAPER
) -> Driven:
    """Run until the end or a signal: the first closes what is open, a second one leaves it under its stops (X34).

    Raises:
        EndedEarly: the signal came before there was a daemon.
    """
    signals = _Signals(console, handover=handover)
    async with AsyncExitStack() as stack:
        daemon = await signals.until_it_stands(stack.enter_async_context(making))
        daemon.on_recovery = lambda recovery: _tell(console, recovery)
        console.info(ready(daemon))
        for sentence in (*daemon.parts.source.info.missing, *daemon.warm()):
            console.warn(sentence)
        with watch(daemon, console, title) as on_progress:
            result = await daemon.run(on_progress)
        for sentence in daemon.stays:
            console.warn(sentence, money=True)
    return Driven(result, daemon, signals.seen[0] if signals.seen else None)


class _Signals:
    """Hears them from now on: they end the making of a daemon, and ask one that stands to stop."""

    def __init__(self, console: Console, *, handover: bool) -> None:
        self.seen: list[int] = []
        self._console, self._handover = console, handover
        self._daemon: LiveDaemon | None = None
        self._making = asyncio.current_task()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # under nohup the end of a terminal is nobody's wish
                loop.add_signal_handler(number, self._hear, number)

    async def until_it_stands(self, making: Awaitable[LiveDaemon]) -> LiveDaemon:
        """The daemon, which hears signals from then on.

        Raises:
            EndedEarly: one came before.
        """
        try:
            daemon = await making
        except asyncio.CancelledError:
            if not self.seen:
                raise
            raise self._early() from None
        if self.seen:  # it came when no cancelling could be heard
            raise self._early()
        self._daemon = daemon
        return daemon

    def _early(self) -> EndedEarly:
        name = signal.Signals(self.seen[0]).name
        return EndedEarly(f"ended by {name} before the run had begun", help="start it again when it is wanted")

    def _hear(self, number: int) -> None:
        self.seen.append(number)
        if self._daemon is not None:
            self._daemon.stop()
            if len(self.seen) == 1 and not self._handover and self._daemon.parts.context.ledger.positions:
                self._console.info("closing what is open; once more leaves it under its stops")
        elif self._making is not None:
            self._making.cancel()


def _tell(console: Console, recovery: Recovery) -> None:
    """What the start found at the exchange."""
    for sentence in recovery.actions:
        console.info(f"at the exchange: {sentence}")
    for sentence in recovery.warnings:
        console.warn(sentence, money=True)
    for symbol, why in recovery.halted:
        console.warn(f"nothing is opened on {symbol or 'the whole account'}: {why}", money=True)
    if recovery.agreed:
        console.info("exchange and books agree")
