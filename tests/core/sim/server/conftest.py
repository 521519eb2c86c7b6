"""Servers for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.core.sim.server.kit import World, serving


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """As in production: TLS, addresses untouched."""
    async with serving(tmp_path) as made:
        yield made


@pytest.fixture
async def plain(tmp_path: Path) -> AsyncIterator[World]:
    """Plain HTTP, for requests by hand."""
    async with serving(tmp_path, tls=False) as made:
        yield made


@pytest.fixture
async def venue(world: World) -> Any:
    """The client library with its markets loaded."""
    client = world.client()
    await client.load_markets()
    return client
