"""Matching rules, worked by hand (requirement K)."""

import math
from decimal import Decimal

import pytest

from core.sim.matching import (
    MAX_SLIPPAGE_BPS,
    Bar,
    crosses,
    gapped,
    limit_traded_through,
    liquidation_price,
    slippage_bps,
    slipped_price,
    stop_reached,
    would_trigger,
)
from core.types import OrderSide
from tests.core.sim.kit import instrument

BUY, SELL = OrderSide.BUY, OrderSide.SELL


@pytest.mark.parametrize(
    ("prices", "sane"),
    [
        ((100.0, 101.0, 99.0, 100.0), True),
        ((100.0, 100.0, 100.0, 100.0), True),
        ((100.0, 99.5, 99.0, 99.2), False),
        ((100.0, 101.0, 100.5, 101.0), False),
        ((100.0, 101.0, 0.0, 100.0), False),
        ((math.nan, 101.0, 99.0, 100.0), False),
        ((100.0, math.nan, 99.0, 100.0), False),
        ((100.0, 101.0, math.nan, 100.0), False),
        ((100.0, 101.0, 99.0, math.nan), False),
        ((100.0, math.inf, 99.0, 100.0), False),
    ],
)
def test_a_bar_is_sane_when_its_prices_can_be_those_of_a_market(prices, sane):
    assert Bar(0, 1, *prices, 1.0).sane is sane


@pytest.mark.parametrize("volume", [-1.0, math.nan, math.inf])
def test_a_bar_with_an_impossible_volume_is_not_sane(volume):
    assert not Bar(0, 1, 100.0, 101.0, 99.0, 100.0, volume).sane


@pytest.mark.parametrize(
    ("side", "trigger", "low", "high", "reached"),
    [
        (SELL, 95.0, 95.0, 99.0, True),
        (SELL, 95.0, 95.01, 99.0, False),
        (BUY, 105.0, 99.0, 105.0, True),
        (BUY, 105.0, 99.0, 104.99, False),
    ],
)
def test_a_stop_acts_when_its_trigger_is_touched(side, trigger, low, high, reached):
    assert stop_reached(side, trigger, low, high) is reached


def test_a_take_needs_a_trade_at_least_one_tick_beyond_its_price():
    assert not limit_traded_through(SELL, 110.0, 0.01, 99.0, 110.0)
    assert not limit_traded_through(SELL, 110.0, 0.01, 99.0, 110.005)
    assert limit_traded_through(SELL, 110.0, 0.01, 99.0, 110.01)
    assert not limit_traded_through(BUY, 90.0, 0.01, 90.0, 99.0)
    assert limit_traded_through(BUY, 90.0, 0.01, 89.99, 99.0)


def test_float_rounding_does_not_hide_a_tick():
    assert limit_traded_through(SELL, 0.3, 0.1, 0.1, 0.4)  # 0.4 - 0.3 is a little less than 0.1 in floats


def test_a_stop_would_trigger_at_or_beyond_the_present_price():
    assert would_trigger(SELL, 100.0, 100.0)
    assert not would_trigger(SELL, 99.99, 100.0)
    assert would_trigger(BUY, 100.0, 100.0)
    assert not would_trigger(BUY, 100.01, 100.0)
    assert gapped(SELL, 95.0, 94.0)
    assert not gapped(BUY, 105.0, 104.0)


def test_a_limit_crosses_when_it_would_trade_at_once():
    assert crosses(SELL, 100.0, 100.0)
    assert not crosses(SELL, 100.01, 100.0)
    assert crosses(BUY, 100.0, 100.0)
    assert not crosses(BUY, 99.99, 100.0)


def test_slippage_is_half_the_spread_plus_the_depth_walked_within_the_price_band():
    assert slippage_bps(10_000.0, 2.0, 100_000.0) == pytest.approx(1.5)  # 2/2 + 10/2 x 0.1
    assert slippage_bps(1e9, 2.0, 100_000.0) == MAX_SLIPPAGE_BPS
    assert slippage_bps(1.0, 2.0, 0.0) == MAX_SLIPPAGE_BPS
    assert slippage_bps(1.0, 2.0, math.nan) == MAX_SLIPPAGE_BPS


def test_a_taker_price_is_rounded_against_the_taker():
    assert slipped_price(instrument(), BUY, 100.0, 1.5) == Decimal("100.02")  # 100.015 up
    assert slipped_price(instrument(), SELL, 100.0, 1.5) == Decimal("99.98")  # 99.985 down


def test_liquidation_leaves_exactly_the_maintenance_margin():
    rate = instrument().maintenance_margin_rate
    long = liquidation_price(instrument(), True, 100.0, 3.0)
    assert 100.0 / 3.0 - (100.0 - long) == pytest.approx(rate * long)
    short = liquidation_price(instrument(), False, 100.0, 3.0)
    assert 100.0 / 3.0 - (short - 100.0) == pytest.approx(rate * short)
