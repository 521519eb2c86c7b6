"""When bytes of this process came in and went out, seen at the sockets of asyncio's TLS.

``SSLProtocol.buffer_updated`` is called with what was just read from a socket, before it is decrypted: that is when a candle is
read. ``_SSLProtocolTransport.write`` returns when the encrypted bytes were handed to the socket: that is when an order is
written. Which candle and which order they are is found between the two, in the plain text.
"""

from __future__ import annotations

import asyncio.sslproto as tls
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from aiohttp.client_proto import ResponseHandler

from benchmarks.measure import now_ns

_CANDLE = re.compile(rb'"e":"kline",.*?"s":"(\w+)".*?"x":(true|false)')
_ORDER = re.compile(rb"(?:newClientOrderId|clientAlgoId)=([\w.-]+)")
_SYMBOL = re.compile(rb"symbol=(\w+)")
_POSTS = (b"POST /fapi/v1/order ", b"POST /fapi/v1/algoOrder ")
_LONGEST_FRAME = 4_096


@dataclass(frozen=True, slots=True)
class Sent:
    """An order whose bytes are written, and when the last final candle of its market before that was read (ns).

    ``cpu_ns``: what the process computed in between; the rest it waited, for the disk, the exchange, or its turn.
    """

    client_id: str
    candle_ns: int
    written_ns: int
    cpu_ns: int


@dataclass
class Wire:
    """What was seen. ``finals``: when the last final candle of each market was read, and CPU time spent until then (ns)."""

    finals: dict[str, tuple[int, int]] = field(default_factory=dict)
    sent: list[Sent] = field(default_factory=list)
    _read: tuple[int, int] = (0, 0)
    _tails: dict[int, bytes] = field(default_factory=dict)
    _begun: dict[int, bytes] = field(default_factory=dict)

    def _came(self, protocol: int, data: bytes) -> None:
        text, end = self._tails.get(protocol, b"") + data, 0
        for candle in _CANDLE.finditer(text):
            end = candle.end()
            if candle[2] == b"true":
                self.finals[candle[1].decode()] = self._read
        self._tails[protocol] = text[end:][-_LONGEST_FRAME:]

    def _went(self, transport: int, data: bytes) -> None:
        if data.startswith(_POSTS):
            self._begun[transport] = b""
        if transport not in self._begun:
            return
        self._begun[transport] += data  # headers and body may go one by one
        order, symbol = _ORDER.search(self._begun[transport]), _SYMBOL.search(self._begun[transport])
        if order is not None and symbol is not None:
            del self._begun[transport]
            candle_ns, cpu_ns = self.finals.get(symbol[1].decode(), (0, 0))
            self.sent.append(Sent(order[1].decode(), candle_ns, now_ns(), time.process_time_ns() - cpu_ns))


@contextmanager
def watched() -> Iterator[Wire]:
    """Every TLS connection of this process is watched inside."""
    wire = Wire()
    updated, received, write = tls.SSLProtocol.buffer_updated, ResponseHandler.data_received, tls._SSLProtocolTransport.write

    def on_updated(self: Any, count: int) -> None:
        wire._read = now_ns(), time.process_time_ns()
        updated(self, count)

    def on_received(self: Any, data: bytes) -> None:
        wire._came(id(self), data)
        received(self, data)

    def on_write(self: Any, data: Any) -> None:
        write(self, data)
        wire._went(id(self), bytes(data))

    with (
        mock.patch.object(tls.SSLProtocol, "buffer_updated", on_updated),
        mock.patch.object(ResponseHandler, "data_received", on_received),
        mock.patch.object(tls._SSLProtocolTransport, "write", on_write),
    ):
        yield wire
