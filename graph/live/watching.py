"""What a run at a local exchange of its own rests on: that its market goes on, and that its account is written down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from loguru import logger

from core.errors import BrainError
from core.monitor.schema import AlertLevel
from core.sim.server.app import ExchangeServer
from graph.live.daemon import LiveDaemon

_LOOK_EVERY_S = 1.0
_LAST_BAR_S = 10.0
"""How long a market that is over is waited for: its last bar is under way."""
NOT_KEPT, KEPT = "exchange_not_kept", "exchange_kept"


class MarketStopped(BrainError):
    """The local exchange plays its market no more: no stop can trigger there, and entries would fill at a price that stands."""

    default_code = "EXCH-002"
    exit_code = 4


@asynccontextmanager
async def watched(daemon: LiveDaemon, server: ExchangeServer, *feeds: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """While the block lasts: what goes wrong beside ``daemon`` ends it, or is told.

    Args:
        daemon: of the run.
        server: the exchange it trades at.
        feeds: what the exchange hears its market by; each returns never, or raises what ended it.
    """
    watching = [_market(daemon, server), _written(daemon, server), *(_feed(daemon, feed) for feed in feeds)]
    tasks = [asyncio.create_task(one, name="watch of the local exchange") for one in watching]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _market(daemon: LiveDaemon, server: ExchangeServer) -> None:
    """A market that comes to its end ends the run after its last bar; one that breaks off is a fault of the run."""
    try:
        await server.finished()
    except Exception as error:  # noqa: BLE001 - whatever it was, nothing is played any more
        daemon.break_off(_stopped(error))
        return
    step_ms, loop = min(tf.ms for tf in daemon.parts.context.market.base_tf), asyncio.get_running_loop()
    last_close, until = server.played_to // step_ms * step_ms, loop.time() + _LAST_BAR_S
    while daemon.parts.clock.now_ms() < last_close and loop.time() < until:  # noqa: ASYNC110 - bars tell nobody
        await asyncio.sleep(_LOOK_EVERY_S)
    logger.info("the market is over")
    daemon.end()


async def _feed(daemon: LiveDaemon, feed: Callable[[], Awaitable[None]]) -> None:
    try:
        await feed()
    except Exception as error:  # noqa: BLE001 - as above
        daemon.break_off(_stopped(error))


def _stopped(error: Exception) -> MarketStopped:
    logger.opt(exception=error).error("the local exchange plays its market no more")
    return MarketStopped(
        f"the local exchange plays its market no more: {type(error).__name__}",
        help="start again with the same --state: it goes on where the market stopped; the log has the whole error",
    )


async def _written(daemon: LiveDaemon, server: ExchangeServer) -> None:
    """Tell a person when the exchange cannot write its account down, and when it can again."""
    told: str | None = None
    while True:
        why = server.not_kept
        if (why is None) != (told is None):
            level, code = (AlertLevel.WARNING, KEPT) if why is None else (AlertLevel.PAGE, NOT_KEPT)
            text = "the local exchange writes its account again" if why is None else f"{why}; it takes no orders until it can be"
            logger.warning(text)
            parts = daemon.parts
            parts.recorder.alert(parts.clock.now_ms() or parts.source.info.start, level, code, text)
            told = why
        await asyncio.sleep(_LOOK_EVERY_S)
