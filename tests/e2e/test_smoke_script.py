"""What the owner will run first, run against the local exchange (issue 4, points 1 and 6)."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.sim.server.options import API_KEY, API_SECRET
from core.venues.client import make_client
from core.venues.keys import Keys
from graph.live.local import local_wiring
from scripts import smoke_demo
from tests.core.sim.server.kit import BTC, serving


async def test_the_steps_of_the_smoke_test_are_legal_and_leave_the_account_clean(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only its refusals can be tested at the demo; its steps can be here."""
    async with serving(tmp_path) as world:
        await world.open_market()
        assert world.cert is not None
        client = make_client("binanceusdm", Keys(API_KEY, API_SECRET), local_wiring(world.port, world.cert))
        try:
            assert await smoke_demo.smoke(client, smoke_demo.SYMBOL)
        finally:
            await client.close()
        assert [str(order.status) for order in world.exchange.all_orders(BTC)] == ["CANCELED", "FILLED", "FILLED"]
        assert [str(stop.status) for stop in world.exchange.all_algos(BTC)] == ["CANCELED"]
        assert world.exchange.positions(BTC)[0].qty == 0
    said = capsys.readouterr().out
    assert [word for word in ("rests:", "entered:", "stop stands:", "closed") if word not in said] == []


async def test_the_library_passes_the_first_version_of_the_price_call_too(tmp_path: Path) -> None:
    """The one documented call that no other test makes through the library."""
    async with serving(tmp_path) as world:
        await world.open_market()
        found = await world.client().fapiPublicGetTickerPrice({"symbol": BTC})
        assert (found["symbol"], float(found["price"])) == (BTC, 50_000.0)
