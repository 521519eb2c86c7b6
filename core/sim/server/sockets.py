"""One WebSocket of a client: what it subscribed, what waits to be sent, pings, and its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec
import numpy as np
from aiohttp import WSCloseCode, WSMsgType, web

from core.sim.server.options import ServerOptions, Span
from core.sim.server.pace import Pace
from core.sim.server.stream_names import Category, Stream, stream_at
from core.sim.server.wire import Json, encode_text

CLOSE_SECONDS = 1.0


class Hub(Protocol):
    """Who keeps the subscriptions."""

    def subscribe(self, socket: Socket, stream: Stream) -> None:
        """From now on the socket gets the stream."""
        ...

    def unsubscribe(self, socket: Socket, name: str) -> None:
        """No longer."""
        ...


class _Command(msgspec.Struct):
    """What a client sends."""

    method: str
    id: int | str | None = None
    params: list[str] = []


class Socket:
    """Sends in order, each message after its time under way; no client can hold up another."""

    def __init__(
        self, category: Category, *, wrapped: bool, pace: Pace, options: ServerOptions, span: Span, random: np.random.Generator
    ) -> None:
        self.category = category
        self.listen_key = ""
        self.names: dict[str, None] = {}
        self.silent = self.mute_pongs = False
        self.ws = web.WebSocketResponse(autoping=False, compress=False, timeout=CLOSE_SECONDS)
        self._wrapped, self._pace, self._options = wrapped, pace, options
        self._span, self._random = span, random
        self._queue: asyncio.Queue[tuple[float, str]] = asyncio.Queue(options.limits.queued_messages)
        self._last_due = 0.0
        self._pong_at = 0
        self._second, self._received = -1, 0
        self._abort: Callable[[], None] = lambda: None

    # --- sending ----------------------------------------------------------------------------------

    def send(self, stream: str, payload: str, delay_ms: float = 0.0) -> None:
        """Send an encoded event, in the envelope that the client chose by its address."""
        self._put(f'{{"stream":"{stream}","data":{payload}}}' if self._wrapped else payload, delay_ms)

    def _put(self, frame: str, delay_ms: float = 0.0) -> None:
        if self.silent:
            return
        due = self._pace.due(delay_ms + self._span.draw(self._random))
        self._last_due = max(self._last_due, due)
        try:
            self._queue.put_nowait((self._last_due, frame))
        except asyncio.QueueFull:
            self.abort()

    async def _write(self) -> None:
        while True:
            due, frame = await self._queue.get()
            await self._pace.until_due(due)
            if self.silent:
                continue
            if not await _sent(self.ws.send_str(frame)):
                return

    async def _beat(self) -> None:
        """Ping, and end what does not answer; end every connection after a day."""
        begun = self._pong_at = self._pace.clock.now_ms()
        while True:
            age = self._pace.clock.now_ms() - begun
            await self._pace.sleep(min(self._options.ping_ms, self._options.connection_ms - age))
            now = self._pace.clock.now_ms()
            if now - begun >= self._options.connection_ms or now - self._pong_at >= self._options.pong_ms:
                await self.close(WSCloseCode.GOING_AWAY)
                return
            if not self.silent:
                await _sent(self.ws.ping(str(now).encode()))

    # --- its life ---------------------------------------------------------------------------------

    async def run(self, request: web.Request, hub: Hub, streams: list[Stream]) -> web.WebSocketResponse:
        """Serve the client until one of the two goes.

        What the address names is subscribed before the client hears that it is connected: from then on it misses nothing.
        """
        transport = request.transport
        self._abort = transport.abort if isinstance(transport, asyncio.WriteTransport) else self._abort
        helpers: list[asyncio.Task[None]] = []
        try:
            for stream in streams:
                self._subscribe(hub, stream)
            await self.ws.prepare(request)
            helpers += [asyncio.create_task(self._write()), asyncio.create_task(self._beat())]
            await self._read(hub)
        finally:
            for name in list(self.names):
                hub.unsubscribe(self, name)
            for helper in helpers:
                helper.cancel()
        return self.ws

    async def close(self, code: int) -> None:
        """End in good manners; a client that does not answer is cut off."""
        if self.silent:
            self.abort()
        else:
            await self.ws.close(code=code)

    def abort(self) -> None:
        """End at once."""
        self._abort()

    async def _read(self, hub: Hub) -> None:
        while True:
            message = await self.ws.receive()
            if message.type not in {WSMsgType.TEXT, WSMsgType.PING, WSMsgType.PONG, WSMsgType.BINARY}:
                return
            if self._too_fast():
                await self.close(WSCloseCode.POLICY_VIOLATION)
                return
            if message.type is WSMsgType.PONG:
                self._pong_at = self._pace.clock.now_ms()
            elif message.type is WSMsgType.PING:
                if not self.mute_pongs:
                    await _sent(self.ws.pong(message.data))
            elif message.type is WSMsgType.TEXT:
                self._put(encode_text(self._obey(message.data, hub)))

    def _too_fast(self) -> bool:
        second = self._pace.clock.now_ms() // 1000
        if second != self._second:
            self._second, self._received = second, 0
        self._received += 1
        return self._received > self._options.limits.messages_per_second

    # --- commands ---------------------------------------------------------------------------------

    def _obey(self, frame: str, hub: Hub) -> Json:
        try:
            command = msgspec.json.decode(frame, type=_Command)
        except msgspec.ValidationError as wrong:
            return _error(None, f"Invalid request: {wrong}")
        except msgspec.DecodeError:
            return {"error": {"code": 3, "msg": "Invalid JSON: expected value at line 1 column 1"}}
        match command.method:
            case "SUBSCRIBE":
                return self._subscribe_all(hub, command)
            case "UNSUBSCRIBE":
                for name in command.params:
                    hub.unsubscribe(self, name)
                return {"result": None, "id": command.id}
            case "LIST_SUBSCRIPTIONS":
                return {"result": list(self.names), "id": command.id}
            case other:
                return _error(command.id, f"Invalid request: unknown variant `{other}`")

    def _subscribe_all(self, hub: Hub, command: _Command) -> Json:
        found: list[Stream] = []
        for name in command.params:
            stream = stream_at(self.category, name)
            if stream is None:
                return _error(command.id, f"Invalid request: no stream {name} on /{self.category}")
            found.append(stream)
        if len({*self.names, *command.params}) > self._options.limits.streams_per_socket:
            return _error(command.id, "Invalid request: too many streams")
        for stream in found:
            self._subscribe(hub, stream)
        return {"result": None, "id": command.id}

    def _subscribe(self, hub: Hub, stream: Stream) -> None:
        if stream.name not in self.names:
            hub.subscribe(self, stream)


async def _sent(sending: Awaitable[None]) -> bool:
    """Whether it could be sent; a client that is gone is found out by the reader, which ends the socket."""
    try:
        await sending
    except (ConnectionError, RuntimeError):
        return False
    return True


def _error(number: int | str | None, words: str) -> Json:
    told: Json = {"error": {"code": 2, "msg": words}}
    if number is not None:
        told["id"] = number
    return told
