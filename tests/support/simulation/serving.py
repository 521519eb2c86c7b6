"""The local exchange in memory, on each port that the venue's addresses name."""

from __future__ import annotations

from aiohttp import web

from core.sim.server.app import ExchangeServer

SPOT_STREAMS_PORT = 9443
_EVERYWHERE = "0.0.0.0"  # noqa: S104 - in memory


async def serve(server: ExchangeServer) -> None:
    """Listen and begin to play."""
    await server.start(_EVERYWHERE, 443)
    assert server._runner is not None
    await web.TCPSite(server._runner, _EVERYWHERE, SPOT_STREAMS_PORT).start()
