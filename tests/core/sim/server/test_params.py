"""Reading a request's parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from core.sim.local.values import OrderSide, VenueError
from core.sim.server.params import Params, parse_pairs


def code_of(read: Callable[[Params], Any], **pairs: str) -> int:
    """The code with which reading is refused; 0 where it is not."""
    try:
        read(Params(pairs))
    except VenueError as error:
        return error.code
    return 0


def test_query_and_body_are_read_together_and_the_query_wins() -> None:
    assert parse_pairs("a=1&b=%3A", "b=2&c=3&d=") == {"a": "1", "b": ":", "c": "3", "d": ""}


def test_what_is_missing_is_named() -> None:
    with pytest.raises(VenueError, match="Mandatory parameter 'symbol' was not sent") as refusal:
        Params({"symbol": ""}).text("symbol")
    assert refusal.value.code == -1102


def test_numbers_are_whole_or_decimal_and_never_anything_else() -> None:
    assert code_of(lambda p: p.integer("limit", 5), limit="-1") == -1100
    assert code_of(lambda p: p.integer("limit", 5), limit="9" * 21) == -1100
    assert Params({}).integer("limit", 5) == 5
    assert code_of(lambda p: p.limit(5, 10), limit="0") == -1130
    assert Params({"limit": "50"}).limit(5, 10) == 10
    assert code_of(lambda p: p.decimal("price"), price="NaN") == -1100
    assert code_of(lambda p: p.decimal("price")) == -1102
    assert Params({}).maybe_decimal("price") is None
    for foreign in ("\u0663", "\uff13", "0.\u0663"):  # digits of other scripts
        assert code_of(lambda p: p.decimal("quantity"), quantity=foreign) == -1100
    assert Params({"leverage": "3"}).whole("leverage") == 3
    assert code_of(lambda p: p.whole("leverage"), leverage="2.7") == -1100
    assert code_of(lambda p: p.whole("leverage")) == -1102


def test_words_are_the_venues_own() -> None:
    assert code_of(lambda p: p.choice("side", OrderSide), side="buy") == -1117
    assert code_of(lambda p: p.choice("side", OrderSide)) == -1102
    assert Params({}).choice("side", OrderSide, OrderSide.BUY) is OrderSide.BUY
    assert Params({"on": "TRUE"}).flag("on") is True
    assert code_of(lambda p: p.flag("on"), on="1") == -1100
