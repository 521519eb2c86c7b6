"""What people type, read: times, durations, speeds, lists of symbols (issue section 6)."""

from __future__ import annotations

import pytest

from core.errors import BrainError
from core.exec.entering import Entering, Entry
from graph.exit_codes import ExitCode, UsageError, exit_code_of
from graph.parse import parse_backup, parse_duration, parse_entering, parse_speed, parse_symbols, parse_time

DAY = 86_400_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-02", DAY),
        ("1970-01-02T01:00", DAY + 3_600_000),
        ("1970-01-02T00:00:00Z", DAY),
        ("1970-01-02T02:00:00+02:00", DAY),
        ("2024-02-29T12:00:00.123Z", 1_709_208_000_123),
    ],
)
def test_a_time_is_utc_unless_it_says_otherwise(text: str, expected: int) -> None:
    assert parse_time(text) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "2024-13-01", "2024-02-30", "1709208000123", "01.02.2024"])
def test_what_is_no_time_is_a_misuse_that_shows_one(text: str) -> None:
    with pytest.raises(UsageError, match="expected a date such as 2024-01-31") as error:
        parse_time(text)
    assert exit_code_of(error.value) is ExitCode.USAGE
    assert error.value.help == "brain paper --source replay --data DIR --from 2024-01-01 --to 2024-02-01"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90s", 90_000), ("15m", 900_000), ("24h", DAY), ("2d", 2 * DAY), ("1.5h", 5_400_000), (" 1 s ", 1_000)],
)
def test_a_duration_is_a_number_and_a_unit(text: str, expected: int) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize("text", ["", "24", "h", "-1h", "1w", "1h30m", "1e3s", "inf d", "9" * 400 + "d"])
def test_what_is_no_duration_is_a_misuse(text: str) -> None:
    with pytest.raises(UsageError, match="expected a number and a unit"):
        parse_duration(text)


def test_backups_are_known_venues_in_the_order_of_their_turn() -> None:
    """B7: any but the first venue, which has no reserve in itself."""
    assert parse_backup(None) == ()
    assert parse_backup("okx, bybit,okx") == ("okx", "bybit")
    for text in ("", ",", "binance", "bybit,mtgox"):
        with pytest.raises(UsageError, match="expected some of bybit, okx"):
            parse_backup(text)


def test_a_speed_is_max_or_above_zero() -> None:
    assert parse_speed("max") is None
    assert parse_speed("60") == 60.0
    assert parse_speed("0.5") == 0.5


@pytest.mark.parametrize("text", ["0", "-1", "fast", "inf", "nan", ""])
def test_another_speed_is_a_misuse(text: str) -> None:
    with pytest.raises(UsageError, match="expected max or a number above zero"):
        parse_speed(text)
    with pytest.raises(UsageError) as error:
        parse_speed(text, "brain exchange --speed 60")
    assert error.value.help == "brain exchange --speed 60"


def test_symbols_are_accepted_in_both_forms_and_named_once() -> None:
    """B2."""
    given = "BINANCE:BTCUSDT.P, BTC/USDT:USDT ,BINANCE:ETHUSDT,,SOL/USDT:USDT"
    assert parse_symbols(given) == ("BTC/USDT:USDT", "ETH/USDT", "SOL/USDT:USDT")
    assert parse_symbols(None) is None


@pytest.mark.parametrize("text", ["", " , "])
def test_an_empty_list_of_symbols_is_a_misuse(text: str) -> None:
    with pytest.raises(UsageError, match="expected at least one"):
        parse_symbols(text)


def test_a_symbol_in_no_known_form_is_an_error_that_shows_both() -> None:
    with pytest.raises(BrainError, match=r"symbol was 'btc', expected BASE/QUOTE:SETTLE"):
        parse_symbols("btc")


def test_how_entries_are_made_is_as_ever_where_nothing_is_said() -> None:
    assert parse_entering(None, None) == Entering(Entry.ACROSS, 1)
    assert parse_entering("maker", None) == parse_entering("maker", 1) == Entering(Entry.MAKER, 1)
    assert parse_entering("across", 10) == Entering(Entry.ACROSS, 10)


def test_what_rests_first_is_not_cut() -> None:
    with pytest.raises(UsageError, match="--slices was 2 with --entry maker"):
        parse_entering("maker", 2)
