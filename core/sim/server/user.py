"""The user stream: what happened to the account, in order, to every socket that was opened with the valid key."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from core.sim.local.values import AccountWord
from core.sim.server.faults import FaultKind, FaultPlan
from core.sim.server.listen_keys import ListenKeys
from core.sim.server.pace import Pace
from core.sim.server.shape_events import events_of, key_expired
from core.sim.server.sockets import Socket
from core.sim.server.stream_names import Stream
from core.sim.server.wire import Json, encode_text

HELD_MS = 1_000
"""How long a reordered event waits for another to overtake it."""


class UserFeed:
    """Sends account events and ends streams whose key has expired."""

    def __init__(self, keys: ListenKeys, pace: Pace, plan: FaultPlan) -> None:
        self._keys, self._pace, self._plan = keys, pace, plan
        self._sockets: dict[Socket, None] = {}
        self._held: list[Json] = []
        self._watched: asyncio.TimerHandle | None = None

    def subscribe(self, socket: Socket, stream: Stream) -> None:
        """From now on the socket gets what its listen key (the stream's name) is for."""
        socket.names[stream.name] = None
        self._sockets[socket] = None
        self._watch_key()

    def unsubscribe(self, socket: Socket, name: str) -> None:
        """The socket gets no more."""
        socket.names.pop(name, None)
        self._sockets.pop(socket, None)

    def publish(self, words: Iterable[AccountWord]) -> None:
        """Send what the exchange said, with the faults that are due."""
        for word in words:
            for event in events_of(word, self._pace.now()):
                self._pass_on(event)

    def expire(self) -> None:
        """The key expires: the last event of its streams says so; they stay open and silent, as at the venue."""
        if self._keys.current:
            self._emit(key_expired(self._keys.current, self._pace.now()))
        self._keys.drop()
        self._sockets.clear()

    def close(self) -> None:
        """Look at no key any more."""
        if self._watched:
            self._watched.cancel()

    def _watch_key(self) -> None:
        """Look at the key when it may have expired, as long as somebody uses it."""
        self.close()
        rest = self._keys.expires - self._pace.clock.now_ms()
        if rest <= 0:
            self.expire()
        elif self._sockets:
            self._watched = self._pace.later(rest, self._watch_key)

    def _pass_on(self, event: Json) -> None:
        name = event["e"]
        if self._plan.for_message(FaultKind.MISSING_EVENT, name):
            return
        held = self._plan.for_message(FaultKind.REORDERED_EVENT, name)
        if held:
            self._held.append(event)
            self._pace.later(held.delay_ms or HELD_MS, self._release)
            return
        self._emit(event)
        if self._plan.for_message(FaultKind.DUPLICATE_EVENT, name):
            self._emit(event)
        self._release()

    def _release(self) -> None:
        held, self._held = self._held, []
        for event in held:
            self._emit(event)

    def _emit(self, event: Json) -> None:
        payload = encode_text(event)
        for socket in list(self._sockets):
            if socket.listen_key == self._keys.current:
                socket.send(socket.listen_key, payload)
