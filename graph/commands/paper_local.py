"""``brain paper --broker local``: the same answer as every paper run, given by the live adapter at the local exchange."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from core.clock import SystemClock
from core.data.sources.base import Source
from core.monitor.store import Store
from core.monitor.telemetry import RunResult
from graph.console import Console
from graph.engines import Engine
from graph.live.assembly import LiveRequest, Reach
from graph.live.daemon import LiveDaemon
from graph.live.local import LOCAL_KEYS
from graph.live.paper import daemon_at_local, daemon_at_real_market
from graph.status import watch

Ready = Callable[[LiveDaemon], str]
"""Told of the daemon when it stands; gives the line with which the run begins."""


def made_daemon(
    request: LiveRequest, source: Source | None, engine: Engine, store: Store
) -> AbstractAsyncContextManager[LiveDaemon]:
    """The daemon over ``source``, or over a real market where there is none."""
    if source is not None:
        return daemon_at_local(request, source, engine, store)
    return daemon_at_real_market(request, Reach(SystemClock(), LOCAL_KEYS), engine, store)


async def drive_local(
    making: AbstractAsyncContextManager[LiveDaemon], console: Console, ready: Ready, *, handover: bool
) -> tuple[RunResult, LiveDaemon, int | None]:
    """Run until the end or a signal: the first closes what is open, a second one leaves it under its stops (X34)."""
    seen: list[int] = []
    async with making as daemon:

        def stop(number: int) -> None:
            seen.append(number)
            daemon.stop()
            if len(seen) == 1 and not handover and daemon.parts.context.ledger.positions:
                console.info("closing what is open; once more leaves it under its stops")

        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop, number)
        console.info(ready(daemon))
        for sentence in daemon.warm():
            console.warn(sentence)
        with watch(daemon, console) as on_progress:
            result = await daemon.run(on_progress)
        for symbol, qty in daemon.left.items():
            console.warn(f"{qty} {symbol} stay open under their stop; the next start with this --state goes on with them")
    return result, daemon, seen[0] if seen else None
