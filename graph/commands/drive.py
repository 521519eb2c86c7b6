"""Drives a daemon for a command: signals, what a person is told on the way, and what is left at the end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from core.errors import BrainError
from core.monitor.telemetry import RunResult
from graph.console import Console
from graph.runner import Daemon
from graph.status import PAPER, watch

if TYPE_CHECKING:  # a run inside this process need not wait for the live adapter
    from core.exec.live.recovery import Recovery
    from graph.live.daemon import LiveDaemon

Ready: TypeAlias = "Callable[[LiveDaemon], str]"
"""Told of the daemon when it stands; gives the line with which the run begins."""


class EndedEarly(BrainError):
    """A signal came before the daemon stood; what was made for it is taken down."""

    default_code = "LIVE-018"
    exit_code = 130


def ended_early(number: int) -> EndedEarly:
    """The error that tells of signal ``number``."""
    name = signal.Signals(number).name
    return EndedEarly(f"ended by {name} before the run had begun", help="start it again when it is wanted")


class _Heard(KeyboardInterrupt):
    """A signal, on its way past whoever takes any error for one of its own."""

    number: int


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """While the block runs and no loop hears them, signals end it.

    Raises:
        EndedEarly: one came.
    """

    def hear(number: int, _: object) -> None:
        heard = _Heard()
        heard.number = number
        raise heard

    before = {number: signal.signal(number, hear) for number in _wanted()}
    try:
        yield
    except _Heard as heard:
        raise ended_early(heard.number) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wanted() -> tuple[signal.Signals, ...]:
    """Signals that ask for the end; under nohup the end of a terminal is nobody's wish."""
    asking = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    return tuple(number for number in asking if signal.getsignal(number) is not signal.SIG_IGN)


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
        for sentence in daemon.parts.source.info.missing:
            console.warn(sentence)
        _warm(daemon, console)
        with watch(daemon, console, title) as on_progress:
            result = await daemon.run(on_progress)
        for sentence in daemon.stays:
            console.warn(sentence, money=True)
    return Driven(result, daemon, signals.seen[0] if signals.seen else None)


async def drive_direct(daemon: Daemon, console: Console, begin: str) -> tuple[RunResult, int | None]:
    """Say ``begin``, then run inside this process until the end or a signal; the state is saved either way (F5).

    The result, and the first signal that was seen.
    """
    loop = asyncio.get_running_loop()
    seen: list[int] = []

    def stop(number: int) -> None:
        seen.append(number)
        daemon.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    console.info(begin)
    if not daemon.parts.source.info.has_books:
        console.info("the source has no order books: spread, depth and slippage are modelled from symbols.yaml")
    _warm(daemon, console)
    with watch(daemon, console) as on_progress:
        result = await daemon.run(on_progress)
    return result, seen[0] if seen else None


def _warm(daemon: Daemon, console: Console) -> None:
    """What there is of the past: a crash may have torn the journal, and history may be shorter than wanted."""
    if daemon.parts.journal.torn is not None:
        console.warn(daemon.parts.journal.torn)
    for sentence in daemon.warm():
        console.warn(sentence)


class _Signals:
    """Hears them from now on: they end the making of a daemon, and ask one that stands to stop."""

    def __init__(self, console: Console, *, handover: bool) -> None:
        self.seen: list[int] = []
        self._console, self._handover = console, handover
        self._daemon: LiveDaemon | None = None
        self._making = asyncio.current_task()
        loop = asyncio.get_running_loop()
        for number in _wanted():
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
            raise ended_early(self.seen[0]) from None
        if self.seen:  # it came when no cancelling could be heard
            raise ended_early(self.seen[0])
        self._daemon = daemon
        return daemon

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
