"""Prices and quantities are brought onto the exchange's steps, each in the direction that its user can bear."""

from decimal import Decimal

import pytest

from tests.core.exec.live.kit import instrument


@pytest.mark.parametrize(("price", "near"), [("100.04", "100.0"), ("100.06", "100.1"), ("100.05", "100.0"), ("100.15", "100.2")])
def test_a_price_to_be_shown_is_the_nearest_legal_one_and_half_way_the_even_step(price, near):
    assert instrument().price_near(Decimal(price)) == Decimal(near)


def test_a_quantity_is_never_rounded_up():
    assert instrument().qty_down(Decimal("0.0019")) == Decimal("0.001")
