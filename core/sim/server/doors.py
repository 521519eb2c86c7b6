"""The addresses for streams: who may come in, and the sockets that are open."""

from __future__ import annotations

import asyncio

import numpy as np
from aiohttp import WSCloseCode, web

from core.sim.server.gateway import refusal
from core.sim.server.listen_keys import ListenKeys, no_such_key
from core.sim.server.options import ServerOptions
from core.sim.server.pace import Pace
from core.sim.server.sockets import Hub, Socket
from core.sim.server.spot_streams import SpotStreams
from core.sim.server.stream_names import Category, Stream, stream_at
from core.sim.server.streams import Streams
from core.sim.server.tls import FUTURES_STREAMS
from core.sim.server.user import UserFeed


class Doors:
    """Opens sockets and can end them."""

    def __init__(
        self,
        streams: Streams,
        spot: SpotStreams,
        user: UserFeed,
        keys: ListenKeys,
        pace: Pace,
        options: ServerOptions,
        random: np.random.Generator,
    ) -> None:
        self._streams, self._spot, self._user, self._keys = streams, spot, user, keys
        self._pace, self._options, self._random = pace, options, random
        self._open: dict[Socket, None] = {}

    def sockets(self, category: str) -> list[Socket]:
        """The open sockets of a category; all where it is empty."""
        return [socket for socket in self._open if category in {"", socket.category}]

    async def close(self) -> None:
        """End all sockets."""
        await asyncio.gather(*(socket.close(WSCloseCode.GOING_AWAY) for socket in self.sockets("")))

    async def enter(self, request: web.Request) -> web.StreamResponse:
        """Serve ``/<category>/ws`` (bare events) or ``/<category>/stream`` (with the stream's name).

        Without a category it is the spot host's address. The futures host had it too, and has it no more: whoever goes there
        must not take candles of the spot market for a perpetual's.
        """
        category = Category(request.match_info.get("category", Category.SPOT))
        if category is Category.PRIVATE:
            return await self._enter_private(request)
        if category is Category.SPOT and request.url.host == FUTURES_STREAMS:
            return web.Response(status=404)
        names = [*request.match_info["names"].split("/"), *request.query.get("streams", "").split("/")]
        found = [stream for name in names if (stream := stream_at(category, name))]
        hub = self._spot if category is Category.SPOT else self._streams
        return await self._serve(request, self._socket(request, category), hub, found)

    async def _enter_private(self, request: web.Request) -> web.StreamResponse:
        key = request.query.get("listenKey") or request.match_info["names"].strip("/")
        if not self._keys.valid(key, self._pace.clock.now_ms()):
            return refusal(no_such_key()).response()
        socket = self._socket(request, Category.PRIVATE)
        socket.listen_key = key
        return await self._serve(request, socket, self._user, [Stream(key, "", "user", Category.PRIVATE)])

    def _socket(self, request: web.Request, category: Category) -> Socket:
        latencies = self._options.latencies
        span = latencies.user if category is Category.PRIVATE else latencies.market
        wrapped = request.match_info["form"] == "stream"
        # a generator of its own, so that one connection's times do not depend on what others are sent
        random = np.random.default_rng(self._random.integers(2**63))
        return Socket(category, wrapped=wrapped, pace=self._pace, options=self._options, span=span, random=random)

    async def _serve(self, request: web.Request, socket: Socket, hub: Hub, streams: list[Stream]) -> web.StreamResponse:
        self._open[socket] = None
        try:
            return await socket.run(request, hub, streams)
        finally:
            self._open.pop(socket)
