"""How a client is led here with its addresses untouched: names of the venue resolve to this machine."""

from __future__ import annotations

import socket
from collections.abc import Collection
from pathlib import Path

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from core.sim.server.tls import VENUE_HOSTS, Certificate


class LoopbackResolver(AbstractResolver):
    """Resolves the venue's names to ``address:port`` and refuses every other, so that nothing else is ever contacted."""

    def __init__(self, port: int, hosts: Collection[str] = VENUE_HOSTS, address: str = "127.0.0.1") -> None:
        self._port, self._hosts, self._address = port, frozenset(hosts), address

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        del port, family  # there is one port, and it speaks IPv4
        if host not in self._hosts:
            raise OSError(f"host was {host!r}, the local exchange stands for {', '.join(sorted(self._hosts))} only")
        return [
            ResolveResult(
                hostname=host, host=self._address, port=self._port, family=socket.AF_INET, proto=0, flags=socket.AI_NUMERICHOST
            )
        ]

    async def close(self) -> None:
        return None


def redirected_session(port: int, cert: Path, hosts: Collection[str] = VENUE_HOSTS) -> aiohttp.ClientSession:
    """A session that a client can be given: it reaches the local exchange under the venue's names. The caller closes it."""
    trusted = Certificate(cert, cert).client_context()
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusted, resolver=LoopbackResolver(port, hosts)))
