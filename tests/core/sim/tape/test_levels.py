"""Levels drawn from a spread and a depth."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from core.sim.tape.levels import best_prices, draw_levels
from tests.core.sim.tape.kit import listed


def test_best_prices_lie_on_ticks_and_not_nearer_than_the_spread() -> None:
    assert best_prices(listed(), 100.0, 2.5) == (Decimal("99.98"), Decimal("100.02"))
    assert best_prices(listed(tick_size=Decimal(1)), 0.4, 1.0) == (Decimal(1), Decimal(2))


@given(
    price=st.floats(1.0, 1e5), spread=st.floats(0.1, 30.0), depth=st.floats(1e3, 1e7), tick=st.sampled_from(["0.01", "0.1", "1"])
)
def test_levels_are_a_possible_book_of_that_depth(price: float, spread: float, depth: float, tick: str) -> None:
    one = listed(tick_size=Decimal(tick), qty_step=Decimal("0.00001"), min_qty=Decimal("0.00001"))
    bid, ask = best_prices(one, price, spread)
    bids, asks = draw_levels(one, bid, ask, depth, 10)
    assert (bids[0][0], asks[0][0]) == (bid, ask)
    assert bid < ask
    for levels, sign in ((bids, -1), (asks, 1)):
        prices = [level for level, _ in levels]
        assert prices == sorted(set(prices), key=lambda level: level * sign)
        assert all(level % Decimal(tick) == 0 for level in prices)
        worth = sum(float(level * qty) for level, qty in levels)
        assert abs(worth - depth) < 0.001 * depth + len(levels) * float(prices[0]) * 1e-5


def test_the_whole_depth_lies_within_a_thousandth_of_the_middle() -> None:
    """Where a client measures it (core.exec.slippage)."""
    bid, ask = best_prices(listed(), 1000.0, 2.0)
    bids, asks = draw_levels(listed(), bid, ask, 10_000.0, 10)
    assert (len(bids), len(asks)) == (10, 10)
    assert bids[-1][0] >= Decimal("999.0")
    assert asks[-1][0] <= Decimal("1001.0")
    assert asks[-1][0] > Decimal("1000.9")


def test_coarse_ticks_leave_room_for_few_levels() -> None:
    coarse = listed(tick_size=Decimal(1))
    assert len(draw_levels(coarse, Decimal(999), Decimal(1001), 10_000.0, 10)[0]) == 1
    assert [price for price, _ in draw_levels(coarse, Decimal(2999), Decimal(3001), 10_000.0, 10)[1]] == [3001, 3002, 3003]


def test_a_level_is_never_empty() -> None:
    assert {qty for _, qty in draw_levels(listed(), Decimal("99.9"), Decimal("100.1"), 0.001, 5)[0]} == {Decimal("0.001")}
