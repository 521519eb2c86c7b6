"""Drives a daemon for a command: signals, what a person is told on the way, and what is left at the end."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar

from core.errors import BrainError
from core.monitor.logger import Redactor
from core.monitor.telemetry import RunResult
from graph.console import Console
from graph.exit_codes import ExitCode
from graph.runner import Daemon
from graph.status import PAPER, watch

if TYPE_CHECKING:  # a run inside this process need not wait for the live adapter
    from core.exec.live.recovery import Recovery
    from graph.live.daemon import LiveDaemon

Ready: TypeAlias = "Callable[[LiveDaemon], str]"
"""Told of the daemon when it stands; gives the line with which the run begins."""
Made = TypeVar("Made")


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

    @property
    def code(self) -> ExitCode:
        """What the run answers to the shell, on paper as live: something that stays unasked for needs a person."""
        return ExitCode.PERSON if self.daemon.unasked else code_of_end(self.signal_seen)


def code_of_end(signal_seen: int | None) -> ExitCode:
    """What an end that was asked for answers to the shell."""
    return ExitCode.INTERRUPTED if signal_seen == signal.SIGINT else ExitCode.DONE


async def drive(
    making: AbstractAsyncContextManager[LiveDaemon], console: Console, ready: Ready, *, handover: bool, title: str = PAPER
) -> Driven:
    """Run until the end or a signal: the first closes what is open, a second one leaves it under its stops (X34).

    Raises:
        EndedEarly: the signal came before the run began: there was no daemon yet, or it was being brought to where it had been.
    """
    signals = _Signals(console, handover=handover)
    async with AsyncExitStack() as stack:
        signals.daemon = daemon = await signals.heard(stack.enter_async_context(making))
        console.info(ready(daemon))
        for sentence in daemon.parts.source.info.missing:
            console.warn(sentence)
        _warm(daemon, console)
        console.stage("making exchange and books agree")
        with watch(daemon, console, title, first_bar=_first_bar(daemon, console)) as on_progress:
            daemon.on_recovery = lambda recovery: _tell(console, recovery)
            daemon.parts.recorder.on_page = _calling(console, on_progress.wake)
            async with on_progress.following():
                result = await signals.heard(daemon.run(on_progress))
        outside = daemon.outside()
        daemon.outside = lambda: outside  # whoever knows it is taken down before it is told
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
    daemon.parts.recorder.on_page = _calling(console)
    with watch(daemon, console) as on_progress:
        result = await daemon.run(on_progress)
    return result, seen[0] if seen else None


def _first_bar(daemon: LiveDaemon, console: Console) -> str:
    """When the next bar is over, by the reader's clock; a made market has another one."""
    step, now = min(tf.ms for tf in daemon.parts.context.market.base_tf), daemon.broker.account().ts
    due_s = time.time() + (step - now % step) / 1000.0
    return f"first bar at {datetime.fromtimestamp(due_s, console.zone):%H:%M:%S %Z}"


def _calling(console: Console, wake: Callable[[], None] = lambda: None) -> Callable[[str, str], None]:
    """Tells a page at once; ``wake`` whoever shows what it is about."""
    redact = Redactor(console.secrets)  # the words of a foreign exception may hold anything

    def call(code: str, text: str) -> None:
        console.page(redact(f"{code}: {text}"))
        wake()

    return call


def _warm(daemon: Daemon, console: Console) -> None:
    """What there is of the past: a crash may have torn the journal, and history may be shorter than wanted."""
    begun = daemon.parts.journal.begun
    console.stage("bringing the session to where it stopped" if begun else "warming up features and regimes from the past")
    if daemon.parts.journal.torn is not None:
        console.warn(daemon.parts.journal.torn)
    for sentence in daemon.warm():
        console.warn(sentence)


class _Signals:
    """Hears them from now on: they end the making of a daemon, and ask one whose run has begun to stop.

    Attributes:
        daemon: once it stands.
    """

    def __init__(self, console: Console, *, handover: bool) -> None:
        self.seen: list[int] = []
        self._console, self._handover = console, handover
        self.daemon: LiveDaemon | None = None
        self._making = asyncio.current_task()
        loop = asyncio.get_running_loop()
        for number in _wanted():
            loop.add_signal_handler(number, self._hear, number)

    async def heard(self, work: Awaitable[Made]) -> Made:
        """What comes of ``work``, which a signal ends as long as no run has begun.

        Raises:
            EndedEarly: one did.
        """
        try:
            made = await work
        except asyncio.CancelledError:
            if not self.seen:
                raise
            raise ended_early(self.seen[0]) from None
        if self.seen and self.daemon is None:  # it came when no cancelling could be heard
            raise ended_early(self.seen[0])
        return made

    def _hear(self, number: int) -> None:
        self.seen.append(number)
        daemon = self.daemon
        if daemon is not None and not daemon.warming:
            daemon.stop()
            if len(self.seen) == 1:
                self._say_what_it_waits_for(daemon)
        elif self._making is not None:
            self._making.cancel()

    def _say_what_it_waits_for(self, daemon: LiveDaemon) -> None:
        from graph.live.daemon import LEAVE_WITHIN_S

        if daemon.recovery is None:
            most = f"at most {LEAVE_WITHIN_S:.0f} s"
            self._console.info(f"waiting {most} until it is known what the exchange has; once more ends it at once")
        elif not self._handover and daemon.parts.context.ledger.positions:
            self._console.info("closing what is open; once more leaves it under its stops")


def _tell(console: Console, recovery: Recovery) -> None:
    """What the start found at the exchange; of what is halted a page has told."""
    for sentence in recovery.actions:
        console.info(f"at the exchange: {sentence}")
    for sentence in recovery.warnings:
        console.warn(sentence, money=True)
    if recovery.agreed:
        console.info("exchange and books agree")
