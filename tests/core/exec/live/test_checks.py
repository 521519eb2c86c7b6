"""What is looked at before an entry is sent (F1, X31), and slices that are legal each on its own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.codes import RefusalCode as R
from core.data.blocks import Book
from core.exec.live.checks import refuse_form, refuse_market, refuse_stale, refuse_tick, slices
from core.types import Order, OrderPurpose, OrderSide, OrderType
from core.venues.words import Limits
from tests.core.exec.live.kit import BTC, D, instrument

LIMITS = Limits(BTC, D("0.1"), D("0.001"), D("0.001"), D("1"), D("100"))


def order(qty="0.010", price="50000.0", kind=OrderType.IOC_LIMIT, reduce_only=False, ts=0):
    priced = None if price is None else D(price)
    return Order("id", "p", BTC, OrderSide.BUY, kind, OrderPurpose.ENTRY, D(qty), priced, reduce_only, ts)


def test_an_entry_is_good_for_a_while_only():
    assert refuse_stale(order(ts=1_000), 31_000, 30_000) is None
    assert refuse_stale(order(ts=1_000), 31_001, 30_000) == (
        R.SIGNAL_EXPIRED,
        "decided 30001 ms ago, sent within 30000 ms at most",
    )


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (order(price="50000.05"), "price was 50000.05"),
        (order(price="0"), "price was 0"),
        (order(qty="0.0105"), "qty was 0.0105"),
        (order(qty="0"), "qty was 0"),
        (order(qty="0.001"), "value was 50.0000"),
        (order(qty="0.001", price=None, kind=OrderType.MARKET), "value was 50.000"),
        (order(qty="1.001", price=None, kind=OrderType.MARKET), "at most 1 at market"),
    ],
)
def test_the_venues_present_filters_are_asked_first(made, words):
    code, message = refuse_form(made, LIMITS, D("50000"))
    assert code is R.FILTER_REJECTED
    assert words in message
    assert message.startswith(f"{BTC}: ")
    assert "see whether configs/symbols.yaml has the same" in message


def test_an_entry_whose_stop_would_lie_between_two_prices_of_the_venue_is_not_made():
    """Its own price may fit by chance; refused, its stop would leave it to be closed at market."""
    fine = instrument(tick_size=D("0.2"))
    assert refuse_tick(fine, LIMITS) is None
    assert refuse_tick(instrument(), LIMITS) is None
    code, message = refuse_tick(instrument(tick_size=D("0.05")), LIMITS)
    assert code is R.FILTER_REJECTED
    assert message.startswith(f"tick_size of {BTC} is 0.1 at the exchange, 0.05 in configs/symbols.yaml: no stop can be placed; ")
    assert "correct it once nothing is open" in message


def test_a_fit_order_passes_and_reductions_are_free_from_the_minimum():
    assert refuse_form(order(), LIMITS, None) is None
    assert refuse_form(order("0.001", reduce_only=True), LIMITS, None) is None
    assert refuse_form(order("0.001", None, OrderType.MARKET), LIMITS, None) is None  # no price is known: not valued


@pytest.mark.parametrize(
    ("book", "code"),
    [
        (None, None),
        (Book(BTC, 0, 49_997.5, 50_002.5, 1e6, False), None),
        (Book(BTC, 0, 49_980.0, 50_020.0, 1e6, False), R.SPREAD_WIDE),
        (Book(BTC, 0, 49_997.5, 50_002.5, 900.0, False), R.BOOK_THIN),
        (Book(BTC, 0, 49_997.5, 50_002.5, 1_000.0, False), R.BOOK_THIN),
    ],
)
def test_a_wide_or_thin_book_is_not_taken_from(book, code):
    found = refuse_market(order(), instrument(min_depth_usd=1_001.0), book, 0.05, must_see=False)
    assert (found and found[0]) == code


def test_a_book_in_which_nobody_stands_near_the_middle_is_too_thin_whatever_is_asked_of_it():
    book = Book(BTC, 0, 49_900.0, 50_100.0, 0.0, False)
    found = refuse_market(order(), instrument(min_depth_usd=0.0, max_spread_bps=50.0), book, 0.05, must_see=True)
    assert found is not None
    assert found[0] is R.BOOK_THIN


def test_an_entry_that_would_slip_too_far_is_refused():
    """X31: 0.5 bp of half a spread and 5 bp x 500 / 600 of depth are 4.7 bp; the limit is 4 bp."""
    book = Book(BTC, 0, 49_997.5, 50_002.5, 600.0, False)
    assert refuse_market(order(), instrument(min_depth_usd=1.0), book, 0.05, must_see=True) is None
    code, message = refuse_market(order(), instrument(min_depth_usd=1.0), book, 0.04, must_see=True)
    assert code is R.SLIPPAGE_HIGH
    assert message == "expected slippage is 0.0467 %, at most 0.0400 %"


@given(lots=st.integers(2, 500), wanted=st.integers(1, 30), price=st.integers(1_000, 200_000))
def test_slices_are_each_legal_and_make_up_the_whole(lots, wanted, price):
    qty, worth = D(lots) * LIMITS.qty_step, D(price)
    parts = slices(qty, wanted, LIMITS, worth)
    assert sum(parts) == qty
    assert len(parts) <= wanted
    assert len(parts) == 1 or all(part * worth >= LIMITS.min_notional and part % LIMITS.qty_step == 0 for part in parts)


def test_slices_are_as_many_as_are_legal():
    assert slices(D("0.010"), 3, LIMITS, D(50_000)) == (D("0.003"), D("0.003"), D("0.004"))
    assert slices(D("0.003"), 3, LIMITS, D(50_000)) == (D("0.003"),)
