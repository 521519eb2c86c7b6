"""An exchange that cannot write its account down: what it does meanwhile, and what a kill would leave."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from core.errors import StateError
from core.sim.server import app
from core.sim.server.faults import Fault, FaultKind
from tests.core.sim.server.kit import BTC, D, World, serving, told, until
from tests.core.sim.server.test_app import BUY, REST, as_killed

ORDER = "/fapi/v1/order"


def let_it_write(world: World, *, yes: bool) -> None:
    """SQLite itself refuses, as it does on a full disk."""
    file = world.server._file
    assert file is not None
    file._opened().execute(f"PRAGMA query_only = {'OFF' if yes else 'ON'}")


@asynccontextmanager
async def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(app, "SAVE_AGAIN_S", 0.05)
    async with serving(tmp_path, told(state_file=tmp_path / "exchange.db"), tls=False) as world:
        yield world
        let_it_write(world, yes=True)


async def test_what_is_not_on_the_disk_is_told_to_nobody_until_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An order that it took and could not write down is neither accepted nor refused; then it is found, and told of once."""
    async with kept(tmp_path, monkeypatch) as world:
        key = (await world.ask("POST", "/fapi/v1/listenKey", signed=False)).told["listenKey"]
        async with world.socket(f"/private/ws/{key}") as heard:
            let_it_write(world, yes=False)
            placed = await world.ask("POST", ORDER, newClientOrderId="mine", **BUY)
            assert (placed.status, "Unknown error" in placed.told) == (503, True)
            assert "readonly" in str(world.server.not_kept)
            for refused in (
                await world.ask("GET", ORDER, symbol=BTC, origClientOrderId="mine"),
                await world.ask("GET", "/fapi/v3/positionRisk"),
                await world.ask("POST", ORDER, **BUY),
            ):
                assert (refused.status, refused.code) == (503, -1008)
                assert "Nothing was done" in refused.told["msg"]
            assert (await world.ask("GET", "/fapi/v1/time", signed=False)).status == 200
            with pytest.raises(TimeoutError):
                await heard.receive_str(timeout=0.1)
            let_it_write(world, yes=True)
            await until(lambda: world.server.not_kept is None)
            found = await world.ask("GET", ORDER, symbol=BTC, origClientOrderId="mine")
            assert found.told["status"] == "FILLED"
            events = [json.loads(await heard.receive_str(timeout=1.0))["e"] for _ in range(4)]
            assert sorted(events) == ["ACCOUNT_UPDATE", "ORDER_TRADE_UPDATE", "ORDER_TRADE_UPDATE", "TRADE_LITE"]
            assert len(world.exchange.trades(BTC)) == 1
        killed = as_killed(tmp_path / "exchange.db")
    async with serving(tmp_path, told(state_file=killed), tls=False, open_market=False) as again:
        assert again.exchange.position_sign(BTC) == 1


async def test_the_market_goes_on_while_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tape that ended here would leave stops that nothing can trigger any more, beside a market that goes on."""
    async with kept(tmp_path, monkeypatch) as world:
        await world.ask("POST", ORDER, **REST)
        let_it_write(world, yes=False)
        await world.play(world.trade(48_000), world.book("47999.9", "48000.1"))
        assert world.exchange.last_price(BTC) == D(48_000)
        assert world.exchange.position_sign(BTC) == 1
        assert world.server.not_kept is not None
        let_it_write(world, yes=True)
        await until(lambda: world.server.not_kept is None)
        await world.play(world.trade(47_000), world.book("46999.9", "47000.1"))
        assert world.exchange.last_price(BTC) == D(47_000)


async def test_an_order_hidden_by_a_fault_meets_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with kept(tmp_path, monkeypatch) as world:
        let_it_write(world, yes=False)
        world.server.inject(Fault(FaultKind.FOUND_LATE, path=ORDER, delay_ms=1_000))
        assert (await world.ask("POST", ORDER, **BUY)).status == 503


async def test_an_end_that_cannot_be_written_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    async with serving(tmp_path, told(state_file=tmp_path / "exchange.db"), tls=False) as world:
        let_it_write(world, yes=False)
        await world.ask("POST", ORDER, **BUY)
        with pytest.raises(StateError, match="cannot be written") as error:
            await world.server.close()
        assert error.value.help == "free some space there"


async def test_a_file_that_could_not_be_opened_is_opened_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder in the file's place, as it were a disk that is not there: what was tried first leaves nothing behind."""
    monkeypatch.setattr(app, "SAVE_AGAIN_S", 0.05)
    file = tmp_path / "state" / "exchange.db"
    async with serving(tmp_path, told(state_file=file), tls=False, open_market=False) as world:
        file.mkdir(parents=True)
        world.tape.push(world.trade(50_000))
        await until(lambda: world.server.not_kept is not None)
        file.rmdir()
        await until(lambda: world.server.not_kept is None)
    assert file.is_file()
