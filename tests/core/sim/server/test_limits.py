"""Weights and order counts on the clock's own minutes."""

from __future__ import annotations

import pytest

from core.sim.local.values import VenueError
from core.sim.server.limits import Limiter, Throttled
from core.sim.server.options import MINUTE, Limits

NOON = MINUTE * 1_000_000


def refused(limiter: Limiter, weight: int, now: int, address: str = "a") -> tuple[int, int] | None:
    """Status and seconds to wait; None where the request is let in."""
    try:
        limiter.take(address, weight, now)
    except Throttled as error:
        return error.status, error.retry_after
    return None


def test_weight_is_counted_by_address_and_forgotten_with_the_minute() -> None:
    limiter = Limiter(Limits(weight_per_minute=10))
    assert refused(limiter, 10, NOON) is None
    assert refused(limiter, 1, NOON + 15_000) == (429, 45)
    assert refused(limiter, 10, NOON + 15_000, "b") is None
    assert refused(limiter, 10, NOON + MINUTE) is None


def test_bans_grow() -> None:
    limiter = Limiter(Limits(weight_per_minute=1, ban_after=1, ban_ms=1_000))
    assert [refused(limiter, 1, NOON) for _ in range(4)] == [None, (429, 60), (418, 1), (418, 1)]
    later = NOON + 2_000
    assert [refused(limiter, 1, later) for _ in range(2)] == [(418, 2), (418, 2)]


def test_orders_are_counted_in_ten_seconds_and_in_a_minute() -> None:
    limiter = Limiter(Limits(orders_per_10s=2, orders_per_minute=3))
    limiter.take_orders(2, NOON)
    with pytest.raises(VenueError, match="TEN_SECONDS") as error:
        limiter.take_orders(1, NOON)
    assert (error.value.code, error.value.status) == (-1015, 429)
    with pytest.raises(VenueError, match="MINUTE"):
        limiter.take_orders(1, NOON + 10_000)
    assert limiter.headers("a", NOON + MINUTE, orders=True)["X-MBX-ORDER-COUNT-1M"] == "0"
