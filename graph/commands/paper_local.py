"""``brain paper --broker local``: which local exchange the live adapter trades at."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from core.clock import SystemClock
from core.data.sources.base import Source
from core.monitor.store import Store
from graph.engines import Engine
from graph.live.assembly import LiveRequest, Reach
from graph.live.daemon import LiveDaemon
from graph.live.local import LOCAL_KEYS
from graph.live.paper import daemon_at_local, daemon_at_real_market


def made_daemon(
    request: LiveRequest, source: Source | None, engine: Engine, store: Store, backup: Sequence[str] = ()
) -> AbstractAsyncContextManager[LiveDaemon]:
    """The daemon over ``source``, or over a real market where there is none, behind which ``backup`` stands."""
    if source is not None:
        return daemon_at_local(request, source, engine, store)
    return daemon_at_real_market(request, Reach(SystemClock(), LOCAL_KEYS).backed_by(backup), engine, store)
