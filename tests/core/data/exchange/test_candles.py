"""Candles that wait for their announcement."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data.blocks import Bars
from core.data.exchange.candles import Candles, Values
from core.data.feed import Feed
from core.data.quality import Issue
from core.types import Timeframe

M1, M5 = Timeframe.M1, Timeframe.M5
MINUTE = M1.ms


def values(close: float = 1.0) -> Values:
    return (close, close, close, close, 1.0)


def collected(*base: Timeframe, hold: int = 3, most: int = 100) -> Candles:
    return Candles(base or (M1, M1), [0] * len(base or (M1, M1)), hold_closes=hold, most=most)


def went_out(candles: Candles, minute: int) -> list[tuple[int, int]]:
    blocks = candles.draw(minute * MINUTE)
    return [(who, ts // MINUTE) for b in blocks for who, ts in zip(b.idx.tolist(), b.open_ts.tolist(), strict=True)]


def bars(*minutes: int) -> Bars:
    ones = np.ones(len(minutes))
    return Bars(np.array([minute * MINUTE for minute in minutes], dtype=np.int64), ones, ones, ones, ones, ones)


def test_a_close_is_complete_when_each_of_its_symbols_is_there() -> None:
    candles = collected(M1, M5)
    assert candles.take(0, 0, values())
    assert candles.missing(1 * MINUTE) == []
    assert candles.due(5 * MINUTE) == [0, 1]
    assert candles.unfinished(5 * MINUTE) == [0, 1]
    assert went_out(candles, 1) == [(0, 0)]


def test_the_first_copy_counts_and_the_same_again_is_no_news() -> None:
    candles = collected()
    assert candles.take(0, 0, values(1.0))
    assert not candles.take(0, 0, values(1.0))
    (block,) = candles.draw(MINUTE)
    assert block.close.tolist() == [1.0]
    assert not candles.take(0, 0, values(1.0))
    assert candles.draw(MINUTE) == ()


def told(feed: Feed, candles: Candles, minute: int) -> tuple[int, ...]:
    """Tell a feed what goes out at a minute; which symbols it trusts no more."""
    feed.on_bars(minute * MINUTE, candles.draw(minute * MINUTE))
    return feed.troubled


def feed_of_two() -> Feed:
    return Feed(["A/USDT:USDT", "B/USDT:USDT"], [M1, M1], gap_fill=False)


@pytest.mark.parametrize("late", [False, True])
def test_a_copy_with_other_values_closes_the_gate_of_its_symbol_and_changes_no_bar(late: bool) -> None:
    """B5: the stream and REST tell one candle differently, before it is announced or after."""
    candles, feed = collected(), feed_of_two()
    for who in (0, 1):
        candles.take(who, 0, values(1.0))
        candles.take(who, MINUTE, values(3.0))
    if late:
        assert told(feed, candles, 1) == ()
    for _ in range(2):  # told again and again it is one conflict
        assert not candles.take(1, 0, values(2.0))
    assert told(feed, candles, 2) == (1,)
    assert feed.counters.total(Issue.CONFLICT) == 1
    assert feed.latest("B/USDT:USDT", M1, 2)["close"].tolist() == [1.0, 3.0]
    assert candles.draw(3 * MINUTE) == ()


def test_a_contradiction_waits_for_the_candle_that_it_contradicts() -> None:
    candles = collected(M1)
    candles.take(0, 1 * MINUTE, values(1.0))
    candles.take(0, 1 * MINUTE, values(2.0))
    assert went_out(candles, 2) == []
    candles.take(0, 0, values())
    assert went_out(candles, 3) == [(0, 0), (0, 1), (0, 1)]
    candles.take(0, 3 * MINUTE, values(1.0))
    candles.take(0, 3 * MINUTE, values(2.0))
    candles.skip(0, 3 * MINUTE)  # another venue's went out: neither counts
    assert went_out(candles, 5) == []


def test_off_the_grid_is_no_candle_and_is_told() -> None:
    candles = collected()
    assert not candles.take(0, 30_000, values())
    candles.take(0, 0, values())
    candles.take(1, 0, values())
    feed = feed_of_two()
    assert told(feed, candles, 1) == (0,)
    assert feed.counters.total(Issue.OFF_GRID) == feed.counters.total() == 1


def test_the_same_index_is_given_again_for_all_symbols() -> None:
    """The feed knows it by sight (its quick path)."""
    candles = collected()
    seen = []
    for minute in range(3):
        for who in (0, 1):
            candles.take(who, minute * MINUTE, values())
        seen.append(candles.draw((minute + 1) * MINUTE)[0].idx)
    assert seen[0] is seen[1] is seen[2]


def test_newer_ones_wait_for_a_missing_one_and_go_out_after_it() -> None:
    candles = collected(M1)
    candles.take(0, 1 * MINUTE, values())
    assert candles.missing(2 * MINUTE) == [0]
    assert went_out(candles, 2) == []
    candles.take(0, 0, values())
    assert went_out(candles, 3) == [(0, 0), (0, 1)]


def test_a_missing_one_is_given_up_after_so_many_closes() -> None:
    candles = collected(M1, hold=2)
    candles.take(0, 1 * MINUTE, values())
    assert went_out(candles, 2) == []
    candles.take(0, 2 * MINUTE, values())
    assert went_out(candles, 3) == [(0, 1), (0, 2)]


def test_what_the_venue_does_not_have_is_not_waited_for() -> None:
    """B5: REST has told everything up to minute 2, and minute 1 is not in it."""
    candles = collected(M1)
    candles.take_all(0, bars(0, 2))
    assert candles.missing(3 * MINUTE) == []
    assert went_out(candles, 3) == [(0, 0), (0, 2)]


def test_no_more_than_so_many_wait() -> None:
    candles = collected(M1, most=10)
    for minute in range(25):
        candles.take(0, minute * MINUTE, values())
    assert [minute for _, minute in went_out(candles, 30)] == list(range(15, 25))


def test_what_went_out_from_another_venue_is_not_wanted_any_more() -> None:
    candles = collected(M1)
    candles.take(0, 0, values())
    candles.take(0, 1 * MINUTE, values())
    candles.skip(0, 0)
    assert went_out(candles, 3) == [(0, 1)]


def test_a_candle_of_long_ago_does_not_come_out_again() -> None:
    """Too long ago to be compared with what went out: it would be decided upon a second time."""
    candles = collected(M1)
    for minute in range(12):
        candles.take(0, minute * MINUTE, values(minute + 1.0))
        assert went_out(candles, minute + 1) == [(0, minute)]
    for close in (1.0, 9.0):
        assert not candles.take(0, 0, values(close))
        assert went_out(candles, 12) == []
        assert candles.missing(12 * MINUTE) == []


@given(order=st.permutations(list(range(12))), every=st.integers(1, 6))
def test_in_whatever_order_they_come_each_goes_out_once_and_in_order(order: list[int], every: int) -> None:
    candles = collected(M1, hold=200)
    out: list[int] = []
    for count, minute in enumerate(order):
        candles.take(0, minute * MINUTE, values())
        if count % every == 0:
            out += [found for _, found in went_out(candles, 100)]
    assert out + [found for _, found in went_out(candles, 100)] == list(range(12))
