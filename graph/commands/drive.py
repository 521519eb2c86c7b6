"""Drives a daemon at an exchange for a command: signals, what a person is told on the way, and what is left at the end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple

from core.exec.live.recovery import Recovery
from core.monitor.telemetry import RunResult
from graph.console import Console
from graph.live.daemon import LiveDaemon
from graph.status import PAPER, watch

Ready = Callable[[LiveDaemon], str]
"""Told of the daemon when it stands; gives the line with which the run begins."""


class Driven(NamedTuple):
    """A run that is over; ``signal_seen``: the first one that asked it to end."""

    result: RunResult
    daemon: LiveDaemon
    signal_seen: int | None


async def drive(
    making: AbstractAsyncContextManager[LiveDaemon], console: Console, ready: Ready, *, handover: bool, title: str = PAPER
) -> Driven:
    """Run until the end or a signal: the first closes what is open, a second one leaves it under its stops (X34)."""
    seen: list[int] = []
    async with making as daemon:
        daemon.on_recovery = lambda recovery: _tell(console, recovery)

        def stop(number: int) -> None:
            seen.append(number)
            daemon.stop()
            if len(seen) == 1 and not handover and daemon.parts.context.ledger.positions:
                console.info("closing what is open; once more leaves it under its stops")

        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop, number)
        console.info(ready(daemon))
        for sentence in (*daemon.parts.source.info.missing, *daemon.warm()):
            console.warn(sentence)
        with watch(daemon, console, title) as on_progress:
            result = await daemon.run(on_progress)
        for symbol, qty in daemon.left.items():
            console.warn(
                f"{qty} {symbol} stay open under their stop; the next start with this --state goes on with them", money=True
            )
    return Driven(result, daemon, seen[0] if seen else None)


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
