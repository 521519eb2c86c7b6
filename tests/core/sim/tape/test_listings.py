"""What the local exchange lists."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from core.sim.local.values import Liquidity
from core.sim.tape.listings import brackets_from, liquidity_of, listing_of, listings_from_info
from tests.core.data.making import instruments

BTC = "BTC/USDT:USDT"


def test_an_instrument_is_listed_with_its_own_filters_and_fees() -> None:
    (btc,) = instruments(BTC)
    listed = listing_of(btc, onboard_ts=7)
    assert (listed.symbol, listed.base, listed.quote, listed.onboard_ts) == ("BTCUSDT", "BTC", "USDT", 7)
    assert (listed.tick, listed.step, listed.min_qty, listed.min_notional) == tuple(
        map(Decimal, ("0.1", "0.001", "0.001", "100"))
    )
    assert (listed.maker_fee, listed.taker_fee) == (Decimal("0.0002"), Decimal("0.0005"))
    assert listed.max_qty == Decimal(1000)


def test_the_modelled_book_goes_with_the_venues_name() -> None:
    (btc,) = instruments(BTC)
    assert liquidity_of([btc]) == {"BTCUSDT": Liquidity(1.0, 500_000.0)}


@given(st.decimals("0.002", "0.2", places=4))
def test_brackets_join_and_leave_room_between_initial_and_maintenance_margin(rate: Decimal) -> None:
    brackets = brackets_from(rate)
    assert brackets[0].maintenance_rate == rate
    assert brackets[0].cum == 0
    for lower, upper in pairwise(brackets):
        assert lower.cap == upper.floor
        edge = upper.floor
        assert edge * lower.maintenance_rate - lower.cum == edge * upper.maintenance_rate - upper.cum
        assert lower.maintenance_rate <= upper.maintenance_rate
    assert all(
        bracket.max_leverage == 1 or 1 / Decimal(bracket.max_leverage) >= 2 * bracket.maintenance_rate for bracket in brackets
    )


def test_a_recorded_exchange_info_is_read_as_the_venue_states_it(shared_data: Path) -> None:
    raw = gzip.decompress((shared_data / "meta" / "exchange_info_usdm_testnet_20251224.json.gz").read_bytes())
    info = json.loads(raw)
    everything = {listing.symbol: listing for listing in listings_from_info(info)}
    assert len(everything) > 400
    btc = everything["BTCUSDT"]
    assert (btc.tick, btc.step, btc.min_notional, btc.max_qty) == tuple(map(Decimal, ("0.10", "0.001", "100", "1000")))
    assert (btc.percent_up, btc.percent_down) == (Decimal("1.0500"), Decimal("0.9500"))
    assert (btc.max_orders, btc.max_algo_orders) == (10_000, 10)
    assert btc.brackets[0].maintenance_rate == Decimal("0.025")
    assert btc.onboard_ts == 1_569_398_400_000
    assert [listing.symbol for listing in listings_from_info(info, ["ETHUSDT"])] == ["ETHUSDT"]


def test_what_is_no_perpetual_in_usdt_or_does_not_trade_is_left_out() -> None:
    row = {"symbol": "X", "contractType": "PERPETUAL", "status": "TRADING", "marginAsset": "USDT"}
    other = [row | {key: "OTHER"} for key in ("contractType", "status", "marginAsset")]
    assert listings_from_info({"symbols": other}) == ()
