"""A book kept in step from a snapshot and differences."""

from __future__ import annotations

from decimal import Decimal

from core.sim.tape.depth import WAITING_MOST, Change, DepthBook, Top
from core.sim.tape.levels import Levels


def levels(*rows: tuple[str, str]) -> Levels:
    return tuple((Decimal(price), Decimal(qty)) for price, qty in rows)


def change(first: int, last: int, previous: int, bids: Levels = (), asks: Levels = ()) -> Change:
    return Change(first, last, previous, bids, asks)


BIDS, ASKS = levels(("99", "1"), ("98", "2")), levels(("101", "1"), ("102", "2"))


def synced(update: int = 100) -> DepthBook:
    book = DepthBook()
    book.snapshot(update, BIDS, ASKS)
    return book


def test_nothing_is_known_without_a_snapshot() -> None:
    book = DepthBook()
    book.change(change(1, 2, 0, BIDS, ASKS))
    assert book.levels(5) is None
    assert not book.synced


def test_levels_are_replaced_added_and_taken_away() -> None:
    book = synced()
    book.change(change(99, 101, 98, levels(("98", "5"), ("97", "1"), ("99", "0"), ("50", "0")), levels(("100", "3"))))
    assert book.synced
    assert book.levels(5) == (101, levels(("98", "5"), ("97", "1")), levels(("100", "3"), ("101", "1"), ("102", "2")))
    assert book.levels(1) == (101, levels(("98", "5")), levels(("100", "3")))


def test_differences_before_the_snapshot_are_dropped_and_those_after_it_applied() -> None:
    book = DepthBook()
    book.change(change(90, 95, 89, levels(("99", "7"))))
    book.change(change(96, 103, 95, levels(("99", "8"))))
    book.change(change(104, 110, 103, levels(("99", "9"))))
    book.snapshot(100, BIDS, ASKS)
    assert book.levels(1) == (110, levels(("99", "9")), levels(("101", "1")))
    assert book.breaks == 0


def test_a_broken_chain_makes_the_book_unknown_until_the_next_snapshot() -> None:
    book = synced()
    book.change(change(100, 105, 99))
    book.change(change(107, 110, 106, levels(("99", "9"))))
    assert (book.breaks, book.levels(1)) == (1, None)
    book.snapshot(108, BIDS, ASKS)
    assert book.levels(1) == (110, levels(("99", "9")), levels(("101", "1")))


def test_a_snapshot_older_than_the_differences_is_of_no_use() -> None:
    book = synced(100)
    book.change(change(105, 110, 104))
    assert (book.breaks, book.synced) == (1, False)


def test_only_so_many_differences_wait_for_a_snapshot() -> None:
    book = DepthBook()
    for k in range(WAITING_MOST + 5):
        book.change(change(k, k, k - 1, levels(("99", str(k + 1)))))
    book.snapshot(4, BIDS, ASKS)
    assert book.breaks == 1  # the fifth difference was given up


def test_newer_best_prices_take_the_place_of_what_lies_before_them() -> None:
    book = synced(100)
    book.top(Top(101, *levels(("98.5", "4"), ("101", "6"))))
    assert book.levels(2) == (101, levels(("98.5", "4"), ("98", "2")), levels(("101", "6"), ("102", "2")))


def test_older_best_prices_are_passed_over() -> None:
    book = synced(100)
    book.top(Top(99, *levels(("98.5", "4"), ("103", "6"))))
    assert book.levels(1) == (100, levels(("99", "1")), levels(("101", "1")))


def test_best_prices_beyond_the_known_book_stand_alone() -> None:
    book = synced(100)
    book.top(Top(101, *levels(("90", "4"), ("110", "6"))))
    assert book.levels(3) == (101, levels(("90", "4")), levels(("110", "6")))
