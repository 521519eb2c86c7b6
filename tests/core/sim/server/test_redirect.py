"""A client that is led here reaches nothing else."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from core.sim.server.redirect import LoopbackResolver
from core.sim.server.tls import VENUE_HOSTS, make_certificate
from tests.core.sim.server.kit import World, raises


async def test_any_other_host_is_refused() -> None:
    """Nothing may touch the internet."""
    resolver = LoopbackResolver(4242)
    for host in VENUE_HOSTS:
        (found,) = await resolver.resolve(host, 443)
        assert (found["host"], found["port"]) == ("127.0.0.1", 4242)
    with pytest.raises(OSError, match=r"example\.org"):
        await resolver.resolve("example.org")
    await resolver.close()


async def test_the_certificate_is_trusted_by_those_who_were_given_it_only(world: World) -> None:
    import aiohttp

    async with aiohttp.ClientSession() as stranger:
        error = await raises(stranger.get(f"{world.rest}/fapi/v1/time"))
    assert isinstance(error, aiohttp.ClientConnectorCertificateError)
    assert (await world.ask("GET", "/fapi/v1/time", signed=False)).status == 200


def test_the_key_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    made = make_certificate(tmp_path)
    assert stat.S_IMODE(made.key.stat().st_mode) == 0o600
