"""A network in memory, below asyncio: ordinary clients and servers meet over it, and it can fail in every way a network does.

Hosts have names and stand for nodes; what was sent on a link arrives in order, after the link's own seeded latency. TLS is not
spoken (a client that asks for it pays a round trip), and nothing is lost unless a :class:`Fault` says so.
"""

from __future__ import annotations

import asyncio
import contextvars
import errno
import hashlib
import itertools
import socket
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, Flag, auto
from random import Random
from typing import Any

from tests.support.simulation.link import End, Listener, reset_error
from tests.support.simulation.loop import NODE, Life, SimulationLoop

LATENCY_S = (0.0005, 0.003)
"""One way, between any two hosts."""
SYN_AGAIN_S = 1.0
ANYBODY = "*"
_LOCALHOST = "127.0.0.1"


class Kind(Enum):
    """What can befall a link."""

    DNS_DOWN = auto()  # names do not resolve
    REFUSE = auto()  # connections are refused; what is connected stays so
    RESET = auto()  # what is connected now breaks; the next connection works
    DROP = auto()  # what is sent breaks the connection and never arrives
    TRUNCATE = auto()  # the last byte of what is sent is missing, and the connection ends
    BLACK_HOLE = auto()  # connecting hangs; what is sent arrives when the fault is over, if anybody still listens
    SLOW = auto()  # what is sent takes longer, by delay_s


class Way(Flag):
    """Which bytes: those from the fault's node to its peer, or those that come back."""

    THERE = auto()
    BACK = auto()
    BOTH = THERE | BACK


@dataclass(eq=False, slots=True)
class Fault:
    """Trouble between ``node`` and ``peer`` (a node, or the host's name by which a link was opened).

    A partition is a BLACK_HOLE between a node and anybody. ``times``: over by itself after so many hits (DROP and TRUNCATE: of
    bytes sent; REFUSE and DNS_DOWN: of attempts); the others last until they are healed.
    """

    kind: Kind
    node: str
    peer: str = ANYBODY
    way: Way = Way.BOTH
    delay_s: float = 0.0
    times: int | None = None

    def hits(self, sender: str, receiver: str, host: str) -> bool:
        """Whether it meets bytes of ``sender`` for ``receiver`` on a link to ``host``."""
        there = Way.THERE in self.way and sender == self.node and self.peer in {ANYBODY, receiver, host}
        back = Way.BACK in self.way and receiver == self.node and self.peer in {ANYBODY, sender, host}
        return there or back


class UnknownHost(AssertionError):
    """Something asked for a host that is not in the world: a test's mistake, or a leak to the real network."""


@dataclass(frozen=True, slots=True)
class Host:
    """A name, the node it stands for, and its address."""

    name: str
    node: str
    address: str


class Network:
    """Hosts, listeners, links, and the faults that are on."""

    def __init__(self, loop: SimulationLoop, seed: int) -> None:
        self.loop = loop
        self.seed = seed
        self.latency_s = LATENCY_S
        self.faults: list[Fault] = []
        self.strangers: list[str] = []
        self.bytes_sent = 0
        self._wire = hashlib.blake2b(digest_size=16)
        self._numbers = itertools.count()
        self._ports = itertools.count(40_000)
        self._hosts: dict[str, Host] = {}
        self._listeners: dict[tuple[str, int], Listener] = {}
        self._ends: dict[End, None] = {}
        self._dialled: weakref.WeakKeyDictionary[socket.socket, tuple[int, Host, int]] = weakref.WeakKeyDictionary()

    def host(self, name: str, node: str) -> None:
        """Let ``name`` stand for ``node``."""
        number = len(self._hosts) // 2
        host = Host(name, node, f"10.0.{number // 250}.{number % 250 + 1}")
        self._hosts[name] = self._hosts[host.address] = host

    def digest(self) -> str:
        """A hash over every byte sent, with its time and link."""
        return self._wire.hexdigest()

    # --- faults --------------------------------------------------------------------------------------------

    def add(self, fault: Fault) -> Fault:
        """From now on; a RESET happens now and is over."""
        if fault.kind is not Kind.RESET:
            self.faults.append(fault)
            return fault
        for end in list(self._ends):
            if end.opened and (fault.hits(*end.route) or fault.hits(*end.peer.route)):
                end.break_both()
        return fault

    def heal(self, fault: Fault | None = None) -> None:
        """End one fault, or all; what a black hole held back arrives now."""
        self.faults = [other for other in self.faults if fault is not None and other is not fault]
        for end in list(self._ends):
            end.pump()

    def blocked(self, end: End) -> bool:
        """Whether what this end sent stays on its way."""
        return self._on(Kind.BLACK_HOLE, *end.route) is not None

    def delay_s(self, end: End) -> float:
        """How long what this end sends now will take."""
        slow = self._on(Kind.SLOW, *end.route)
        return end.chance.uniform(*self.latency_s) + (slow.delay_s if slow else 0.0)

    def _on(self, kind: Kind, *route: str) -> Fault | None:
        return next((fault for fault in self.faults if fault.kind is kind and fault.hits(*route)), None)

    def _struck(self, kind: Kind, *route: str) -> bool:
        fault = self._on(kind, *route)
        if fault is not None and fault.times is not None:
            fault.times -= 1
            if fault.times == 0:
                self.faults.remove(fault)
        return fault is not None

    def kill(self, life: Life) -> None:
        """A process is gone: its ports are free, what it had sent still arrives, then its peers read a reset."""
        self._listeners = {place: listener for place, listener in self._listeners.items() if listener.life != life}
        for end in [end for end in self._ends if end.life == life]:
            end.killed()
            self.loop.graveyard.append(end)

    # --- connecting ----------------------------------------------------------------------------------------

    async def resolve(self, name: str) -> str:
        """The address of a host.

        Raises:
            UnknownHost: there is none; the world fails at its end even if somebody catches this.
            socket.gaierror: DNS_DOWN.
        """
        host = self._host(name)
        if self._struck(Kind.DNS_DOWN, NODE.get().node, host.node, host.name):
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return host.address

    def _host(self, name: str) -> Host:
        if name in {"localhost", _LOCALHOST}:
            return Host("localhost", NODE.get().node, _LOCALHOST)
        if name not in self._hosts:
            self.strangers.append(f"{NODE.get().node} asked for {name}")
            raise UnknownHost(self.strangers[-1])
        return self._hosts[name]

    def listen(self, factory: Callable[[], Any], port: int) -> Listener:
        """Listen on a port of all addresses of the present node; port 0 finds a free one."""
        life = NODE.get()
        listener = Listener(self, factory, life, port or next(self._ports), contextvars.copy_context())
        place = life.node, listener.port
        if place in self._listeners:
            raise OSError(errno.EADDRINUSE, f"{life.node} already listens on port {port}")
        self._listeners[place] = listener
        return listener

    def listening(self, node: str, port: int) -> Listener | None:
        return self._listeners.get((node, port))

    def unlisten(self, listener: Listener) -> None:
        if listener.is_serving():
            del self._listeners[listener.life.node, listener.port]

    async def dial(self, sock: socket.socket, address: tuple[str, int]) -> None:
        """The first handshake; ConnectionRefusedError where nobody listens."""
        host, number = self._host(address[0]), next(self._numbers)
        node = NODE.get().node
        await asyncio.sleep(self._round_trip_s(number))
        there, back = (node, host.node, host.name), (host.node, node, host.name)
        while self._on(Kind.BLACK_HOLE, *there) or self._on(Kind.BLACK_HOLE, *back):  # noqa: ASYNC110 - as SYNs are
            await asyncio.sleep(SYN_AGAIN_S)
        if self._struck(Kind.REFUSE, *there) or self.listening(host.node, address[1]) is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"Connect call failed {address}")
        self._dialled[sock] = (number, host, address[1])

    async def connect(self, factory: Callable[[], Any], sock: socket.socket, *, tls: bool) -> tuple[End, Any]:
        """The rest of it: two ends, each with a protocol in the context of its own node."""
        number, host, port = self._dialled.pop(sock)
        sock.close()  # never more than a name for this connection
        if tls:
            await asyncio.sleep(self._round_trip_s(number))
        listener = self.listening(host.node, port)
        if listener is None:
            raise reset_error()
        here = End(self, number, NODE.get(), host.name, contextvars.copy_context(), opened=True)
        there = End(self, number, listener.life, host.name, listener.context, opened=False)
        here.peer, there.peer = there, here
        here.protocol, there.protocol = factory(), listener.context.run(listener.factory)
        self._ends |= {here: None, there: None}
        here.protocol.connection_made(here)
        there.soon(there.protocol.connection_made, there)
        return here, here.protocol

    def _round_trip_s(self, number: int) -> float:
        chance = Random(f"{self.seed}/dial/{number}")
        return chance.uniform(*self.latency_s) + chance.uniform(*self.latency_s)

    # --- sending -------------------------------------------------------------------------------------------

    def send(self, end: End, data: bytes) -> bytes | None:
        """Note what an end sends: what of it will arrive, or None where the connection breaks on it."""
        self._wire.update(f"{self.loop.time()!r} {end.number} {end.opened:d} {len(data)}\n".encode())
        self._wire.update(data)
        self.bytes_sent += len(data)
        if self._struck(Kind.DROP, *end.route):
            return None
        return data[:-1] if self._struck(Kind.TRUNCATE, *end.route) else data

    def forget(self, end: End) -> None:
        self._ends.pop(end, None)
