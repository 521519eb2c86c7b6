"""Wallet, averages and margin by hand."""

from decimal import Decimal

import numpy as np
import pytest

from core.sim.account import Account, price_array, price_list
from tests.core.sim.kit import BTC, ETH, SPOT, instrument


def account() -> Account:
    return Account([instrument(BTC), instrument(ETH), instrument(SPOT)], 1_000.0, 3.0)


def test_adding_moves_the_average_and_closing_realises_against_it():
    book = account()
    book.trade(BTC, Decimal(1), 100.0, 0.05, 10)
    book.trade(BTC, Decimal(3), 104.0, 0.2, 20)
    assert book.holdings[BTC].average == 103.0  # (100 + 3 x 104) / 4
    assert book.holdings[BTC].since == 10
    book.trade(BTC, Decimal(-2), 105.0, 0.1, 30)
    assert book.wallet == pytest.approx(1_000 - 0.35 + 2 * 2.0)
    book.trade(BTC, Decimal(-2), 100.0, 0.0, 40)
    assert book.wallet == pytest.approx(1_000 - 0.35 + 4.0 - 6.0)
    assert book.qty(BTC) == 0


def test_a_trade_through_zero_closes_the_old_side_and_opens_the_new():
    book = account()
    book.trade(BTC, Decimal(-1), 100.0, 0.0, 10)
    book.trade(BTC, Decimal(3), 90.0, 0.0, 20)
    assert book.wallet == 1_010.0
    assert (book.holdings[BTC].qty, book.holdings[BTC].average, book.holdings[BTC].since) == (2, 90.0, 20)


def test_margin_is_entry_value_over_leverage_and_spot_is_paid_in_full():
    book = account()
    book.trade(ETH, Decimal(-3), 10.0, 0.0, 10)
    book.trade(SPOT, Decimal(1), 7.0, 0.0, 10)
    assert book.used_margin() == pytest.approx(30 / 3 + 7)
    assert book.unrealised(np.array([np.nan, 9.0, 8.0])) == pytest.approx(3 + 1)
    assert np.isnan(book.unrealised(np.array([np.nan, np.nan, 8.0])))


def test_an_account_comes_back_from_its_snapshot():
    book, again = account(), account()
    book.trade(ETH, Decimal("-0.5"), 10.0, 0.01, 10)
    again.restore(book.snapshot())
    assert again.snapshot() == book.snapshot()
    assert again.holdings == book.holdings


def test_an_unknown_price_is_saved_as_null_not_as_a_number():
    assert price_list(np.array([1.5, np.nan])) == [1.5, None]
    back = price_array([1.5, None])
    assert back[0] == 1.5
    assert np.isnan(back[1])
