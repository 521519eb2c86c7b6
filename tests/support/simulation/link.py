"""The two ends of a connection: asyncio transports whose bytes travel through the network's memory."""

from __future__ import annotations

import asyncio
import errno
import os
from collections import deque
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass
from enum import Enum, auto
from random import Random
from typing import TYPE_CHECKING, Any

from tests.support.simulation.loop import Life

if TYPE_CHECKING:
    from tests.support.simulation.network import Network

HIGH_WATER_BYTES = 64 * 1024


class Ending(Enum):
    """How a connection ends for the one who reads."""

    EOF = auto()
    RESET = auto()


def reset_error() -> ConnectionResetError:
    return ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))


class End(asyncio.Transport):
    """One end. What the other end sends lies in its inbox until its time has come.

    Callbacks of the protocol run in ``context``, that is, as the node that owns this end, and not at all once that is dead.
    """

    peer: End
    protocol: Any

    def __init__(self, network: Network, number: int, life: Life, host: str, context: Context, *, opened: bool) -> None:
        super().__init__({"peername": ("10.255.0.1", 40_000 + number), "sockname": (host, 0)})
        self.network = network
        self.number = number
        self.life = life
        self.host = host
        self.context = context
        self.opened = opened
        self.chance = Random(f"{network.seed}/link/{number}/{opened:d}")
        self._inbox: deque[tuple[float, bytes | Ending]] = deque()
        self._inbox_bytes = 0
        self._last_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._reading = True
        self._closing = False
        self._lost = False
        self._held_back = False

    @property
    def route(self) -> tuple[str, str, str]:
        """Who sends here, who receives, and the host's name by which the link was opened."""
        return self.life.node, self.peer.life.node, self.host

    # --- sending -------------------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing or not data or self.life in self.network.loop.dead:
            return
        arriving = self.network.send(self, bytes(data))
        if arriving is None:
            self.network.loop.call_later(self.network.delay_s(self), self.break_both, context=Context())
            return
        self.peer.expect(self.network.delay_s(self), arriving)
        if len(arriving) < len(data):
            self.close()
        elif self.get_write_buffer_size() > HIGH_WATER_BYTES and not self._held_back:
            self._held_back = True
            self.protocol.pause_writing()

    def get_write_buffer_size(self) -> int:
        return self.peer._inbox_bytes

    def can_write_eof(self) -> bool:
        return False

    # --- receiving -----------------------------------------------------------------------------------------

    def expect(self, delay_s: float, item: bytes | Ending) -> None:
        """Something is on its way to this end; it never overtakes."""
        self._last_s = max(self._last_s, self.network.loop.time() + delay_s)
        self._inbox.append((self._last_s, item))
        self._inbox_bytes += 0 if isinstance(item, Ending) else len(item)
        self.pump()

    def pump(self) -> None:
        """See to it that the next thing in the inbox is delivered when it is due."""
        if self._inbox and self._timer is None and self._reading and not self.network.blocked(self.peer):
            due_s = max(self._inbox[0][0], self.network.loop.time())
            self._timer = self.network.loop.call_at(due_s, self._deliver, context=self.context)

    def _deliver(self) -> None:
        self._timer = None
        if not self._reading or self.network.blocked(self.peer):
            return
        _, item = self._inbox.popleft()
        self.pump()
        if isinstance(item, bytes):
            self._inbox_bytes -= len(item)
            self.peer.relieve()
        if self._closing:
            return
        if item is Ending.RESET:
            self._lose(reset_error())
        elif item is Ending.EOF:
            if not self.protocol.eof_received():
                self.close()
        else:
            self.protocol.data_received(item)

    def relieve(self) -> None:
        """The other end read something."""
        if self._held_back and self.get_write_buffer_size() <= HIGH_WATER_BYTES // 4:
            self._held_back = False
            self.soon(self.protocol.resume_writing)

    def is_reading(self) -> bool:
        return self._reading and not self._closing

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        self.pump()

    # --- ending --------------------------------------------------------------------------------------------

    def close(self) -> None:
        self._end(Ending.EOF)

    def abort(self) -> None:
        self._end(Ending.RESET)

    def is_closing(self) -> bool:
        return self._closing

    def _end(self, how: Ending) -> None:
        if not self._closing:
            self._closing = True
            self.peer.expect(self.network.delay_s(self), how)
            self.soon(self._lose, None)

    def break_both(self) -> None:
        """The connection breaks between the ends: both read a reset."""
        for end in (self, self.peer):
            if not end._closing:
                end._closing = True
                end.soon(end._lose, reset_error())

    def killed(self) -> None:
        """The process at this end is gone: its peer reads a reset behind what was sent before."""
        self._closing = True
        self.peer.expect(self.network.delay_s(self), Ending.RESET)
        self.network.forget(self)

    def _lose(self, error: Exception | None) -> None:
        if not self._lost:
            self._lost = self._closing = True
            self.network.forget(self)
            self.protocol.connection_lost(error)

    def soon(self, callback: Callable[..., object], *args: Any) -> None:
        """Call the protocol as its own node."""
        self.network.loop.call_soon(callback, *args, context=self.context)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        protocol: asyncio.BaseProtocol = self.protocol
        return protocol


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening port: what ``create_server`` returns."""

    network: Network
    factory: Callable[[], Any]
    life: Life
    port: int
    context: Context

    @property
    def sockets(self) -> tuple[Listener]:
        return (self,)

    def getsockname(self) -> tuple[str, int]:
        return self.life.node, self.port

    def is_serving(self) -> bool:
        return self.network.listening(self.life.node, self.port) is self

    def close(self) -> None:
        self.network.unlisten(self)

    async def wait_closed(self) -> None: ...
