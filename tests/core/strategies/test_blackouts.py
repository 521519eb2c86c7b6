"""Blackout windows (G7, X22)."""

from __future__ import annotations

import pytest

from configs.validators import Blackouts
from core.errors import BrainError
from core.strategies.blackouts import NewsCalendar

HOUR = 3_600_000
NOON = 1_800_014_400_000  # 2027-01-15 12:00 UTC
BTC, ETH = "BTC/USDT:USDT", "ETH/USDT:USDT"


def calendar(reviewed: str | None = "2027-01-16T00:00:00Z", symbols: tuple[str, ...] = ()) -> NewsCalendar:
    window = {"start": "2027-01-15T12:00:00Z", "end": "2027-01-15T13:00:00Z", "reason": "made up", "symbols": symbols}
    return NewsCalendar(Blackouts.model_validate({"version": 1, "reviewed_until": reviewed, "windows": [window]}))


def test_a_window_holds_from_its_start_until_before_its_end():
    times = (NOON - 1, NOON, NOON + HOUR - 1, NOON + HOUR)
    assert [calendar().status(ts, BTC) for ts in times] == [True, False, False, True]


def test_a_window_may_be_for_some_symbols_in_either_spelling():
    one = calendar(symbols=("BINANCE:BTCUSDT.P",))
    assert (one.status(NOON, BTC), one.status(NOON, ETH)) == (False, True)


def test_time_that_nobody_reviewed_is_unknown_not_clear():
    """X22."""
    assert calendar(None).status(NOON - HOUR, BTC) is None
    assert calendar().status(NOON + 12 * HOUR, BTC) is True
    assert calendar().status(NOON + 12 * HOUR + 1, BTC) is None


def test_a_window_counts_even_beyond_the_review():
    assert calendar(None).status(NOON, BTC) is False


def test_windows_are_read_in_their_own_offset():
    window = {"start": "2027-01-15T14:00:00+02:00", "end": "2027-01-15T15:00:00+02:00", "reason": "made up"}
    made = NewsCalendar(Blackouts.model_validate({"version": 1, "reviewed_until": None, "windows": [window]}))
    assert made.status(NOON, BTC) is False


def test_a_symbol_in_an_unknown_form_is_refused():
    with pytest.raises(BrainError, match="expected BASE/QUOTE:SETTLE"):
        calendar(symbols=("bitcoin",))
