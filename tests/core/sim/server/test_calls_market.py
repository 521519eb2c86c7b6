"""Market calls at their edges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.sim.local.values import MarkTick
from tests.core.sim.server.kit import BTC, EIGHT_HOURS, ETH, D, World, listing, serving

TICKER = "/fapi/v1/ticker/24hr"


@pytest.mark.parametrize(
    ("path", "params", "code"),
    [
        ("klines", {"symbol": BTC, "interval": "3m"}, -1120),
        ("klines", {"symbol": BTC}, -1102),
        ("klines", {"symbol": "X", "interval": "5m"}, -1121),
        ("indexPriceKlines", {"symbol": BTC, "interval": "5m"}, -1102),
        ("indexPriceKlines", {"pair": "X", "interval": "5m"}, -1121),
        ("depth", {"symbol": BTC, "limit": 7}, -4021),
        ("trades", {"symbol": BTC, "limit": 0}, -1130),
    ],
)
async def test_a_question_that_makes_no_sense_is_refused(path: str, params: dict[str, Any], code: int, plain: World) -> None:
    assert (await plain.ask("GET", f"/fapi/v1/{path}", signed=False, **params)).code == code


async def test_before_the_first_tick_everything_is_empty_and_nothing_breaks(tmp_path: Path) -> None:
    async with serving(tmp_path, tls=False, open_market=False) as world:

        async def ask(path: str, **params: Any) -> Any:
            return (await world.ask("GET", path, signed=False, symbol=BTC, **params)).told

        assert (await ask("/fapi/v1/depth"))["bids"] == []
        assert await ask("/fapi/v1/trades") == await ask("/fapi/v1/klines", interval="5m") == []
        assert (await ask("/fapi/v1/ticker/bookTicker"))["bidPrice"] == "0"
        assert (await ask(TICKER))["lastPrice"] == "0"
        assert (await ask("/fapi/v1/ticker/price"))["price"] == "0"
        due = (await ask("/fapi/v1/premiumIndex"))["nextFundingTime"]
        assert due % EIGHT_HOURS == 0
        assert due > world.now()


async def test_the_mark_is_the_tapes_until_one_was_played(tmp_path: Path) -> None:
    async with serving(tmp_path, tls=False, open_market=False) as world:
        known = MarkTick(BTC, world.now(), D("50001"), D("50002"), D("0.0002"), EIGHT_HOURS)
        world.tape.premium = lambda symbol: known
        told = (await world.ask("GET", "/fapi/v1/premiumIndex", signed=False, symbol=BTC)).told
        assert (told["markPrice"], told["indexPrice"], told["lastFundingRate"]) == ("50001", "50002", "0.00020000")


async def test_unusual_funding_intervals_are_listed(tmp_path: Path) -> None:
    """exchange.md 1.1: the list names only symbols that differ."""
    listings = (listing(), listing(ETH, funding_interval_ms=EIGHT_HOURS // 2))
    async with serving(tmp_path, tls=False, listings=listings) as world:
        (row,) = (await world.ask("GET", "/fapi/v1/fundingInfo", signed=False)).told
        assert (row["symbol"], row["fundingIntervalHours"]) == (ETH, 4)


async def test_a_day_without_trades_has_its_last_price(plain: World) -> None:
    told = (await plain.ask("GET", TICKER, signed=False, symbol=BTC)).told
    assert (told["lastPrice"], told["priceChangePercent"], told["weightedAvgPrice"]) == ("50000", "0.000", "50000")


async def test_a_margin_type_is_one_of_two(plain: World) -> None:
    assert (await plain.ask("POST", "/fapi/v1/marginType", symbol=BTC, marginType="CROSS")).code == -1130
    assert (await plain.ask("POST", "/fapi/v1/marginType", symbol=BTC, marginType="CROSSED")).code == -4046
