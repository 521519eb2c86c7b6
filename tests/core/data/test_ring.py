from __future__ import annotations

import numpy as np
import pytest

from core.data.quality import select
from core.data.ring import Ring, RingStore
from core.errors import StateError
from core.types import Timeframe
from tests.core.data.making import BTC, ETH, MINUTE, T0, random_bars

STEP = 5 * MINUTE
BOTH = np.array([0, 1])


def put(ring, open_ts, idx, price):
    column = np.full(len(idx), price)
    ring.write(open_ts, np.array(idx), column, column, column, column, column, 0)


def test_a_ring_keeps_at_least_its_capacity():
    """B3"""
    ring = Ring(Timeframe.M5, BOTH, 2000)
    for k in range(5000):
        put(ring, T0 + k * STEP, [0, 1], float(k))
    series = ring.last(1, 2000)
    assert series.bars.close.tolist() == [float(k) for k in range(3000, 5000)]
    assert series.bars.ts[0] == T0 + 3000 * STEP
    assert ring.last(0, 3).bars.close.tolist() == [4997.0, 4998.0, 4999.0]
    assert len(ring.last(0, 0).bars) == 0


def test_a_hole_is_no_bar():
    ring = Ring(Timeframe.M5, BOTH, 2000)
    for k in range(2100):
        put(ring, T0 + k * STEP, [0] if k == 2099 else [0, 1], float(k))
    assert ring.last(1, 1).bars.close.tolist() == [2098.0]
    assert not ring.has(T0 + 2099 * STEP, 1)
    put(ring, T0 + 5000 * STEP, [1], 1.0)  # far ahead: what lies before has left the window
    assert ring.last(1, 2000).bars.close.tolist() == [1.0]


def test_only_members_have_a_column():
    ring = Ring(Timeframe.M5, np.array([0, 2]), 2000)
    put(ring, T0, [2], 7.0)
    assert ring.last(2, 5).bars.close.tolist() == [7.0]
    assert len(ring.last(0, 5).bars) == len(ring.last(1, 5).bars) == len(ring.last(3, 5).bars) == 0


def test_the_parts_of_a_coarser_bar_never_wrap():
    for tf, coarser in ((Timeframe.M1, 5), (Timeframe.M5, 3), (Timeframe.H1, 4), (Timeframe.H4, 6)):
        ring = Ring(tf, BOTH, 2000)
        assert ring.size >= 2000
        assert ring.size % coarser == 0


def test_a_restored_ring_is_the_same():
    ring = Ring(Timeframe.M5, BOTH, 60)
    for k in range(100):
        put(ring, T0 + k * STEP, [k % 2], float(k))
    copy = Ring(Timeframe.M5, BOTH, 60)
    copy.restore(ring.snapshot())
    for name in ("ts", "open", "high", "low", "close", "volume", "flags"):
        np.testing.assert_array_equal(getattr(copy, name), getattr(ring, name))
    with pytest.raises(StateError, match="positions of symbols"):
        Ring(Timeframe.M5, np.array([0]), 60).restore(ring.snapshot())


def test_the_least_used_extra_series_goes_first_and_those_of_the_run_stay():
    """B3: LRU eviction of unused series"""
    store = RingStore([BTC], {Timeframe.M5: np.array([0])}, capacity=2000, spare=2)
    bars = random_bars(2500, STEP)
    store.put("A/USDT", Timeframe.M5, bars)
    store.put("B/USDT", Timeframe.M5, bars)
    assert store.last("A/USDT", Timeframe.M5, 1) is not None  # used again
    store.put("C/USDT", Timeframe.M5, bars)
    assert store.extra == (("A/USDT", Timeframe.M5), ("C/USDT", Timeframe.M5))
    assert store.last("B/USDT", Timeframe.M5, 1) is None
    assert store.last(BTC, Timeframe.M5, 1) is not None
    kept = store.last("C/USDT", Timeframe.M5, 2000)
    assert kept is not None
    assert kept.bars.close.tolist() == select(bars, slice(500, 2500)).close.tolist()


def test_only_the_feed_writes_series_of_the_run():
    store = RingStore([BTC, ETH], {Timeframe.M5: np.array([0, 1])})
    with pytest.raises(ValueError, match="only the feed"):
        store.put(BTC, Timeframe.M5, random_bars(3, STEP))
