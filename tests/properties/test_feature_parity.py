"""Features computed bar by bar and over the whole history are the same (B9, X29), and never depend on the future (B8)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.data.blocks import Bars
from core.data.features import FEATURE_SETS, FeatureStore, build_features
from core.types import Timeframe
from tests.support.features import assert_same, frame_of, play, shipped_params, short_params
from tests.support.market import START_MS, blocks_from_bars, constant_bars, random_walk_bars, take_bars

pytestmark = pytest.mark.untraced

FRAMES = tuple(Timeframe)
BARS = 520
SHORT = short_params()

seeds = st.integers(min_value=0, max_value=2**32 - 1)
frames = st.sampled_from(FRAMES)
prices = st.sampled_from([1e-6, 0.3, 100.0, 6e4])


def _uneven(bars: Bars, seed: int) -> Bars:
    """Calm, flat, wild and silent stretches in one series."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 4, size=len(bars) // 25 + 1).repeat(25)[: len(bars)]
    factor = np.select([kind == 0, kind == 1], [0.05, 0.0], default=1.0)
    returns = np.diff(np.log(bars.close), prepend=np.log(bars.close[0])) * factor
    close = bars.close[0] * np.exp(np.cumsum(returns))
    opened = np.concatenate((close[:1], close[:-1]))
    high = np.maximum(opened, close) * (1.0 + (bars.high / np.maximum(bars.open, bars.close) - 1.0) * factor)
    low = np.minimum(opened, close) * (1.0 - (1.0 - bars.low / np.minimum(bars.open, bars.close)) * factor)
    volume = np.where(kind == 3, 0.0, bars.volume) * np.where(kind == 2, 1000.0, 1.0)
    return Bars(bars.ts, opened, high, low, close, volume)


@settings(max_examples=18, deadline=None)
@given(seed=seeds, tf=frames, price=prices)
def test_bar_by_bar_equals_the_whole_history_on_random_walks(seed, tf, price):
    """B9, X29."""
    bars = random_walk_bars(seed, BARS, tf, price)
    assert_same(play([bars], tf, SHORT)[0], build_features(frame_of(bars, tf), params=SHORT), bars.close)


@settings(max_examples=18, deadline=None)
@given(seed=seeds, tf=frames, price=prices)
def test_bar_by_bar_equals_the_whole_history_on_uneven_markets(seed, tf, price):
    """B9: calm, flat and silent stretches, where divisors come near zero."""
    bars = _uneven(random_walk_bars(seed, BARS, tf, price), seed)
    assert_same(play([bars], tf, SHORT)[0], build_features(frame_of(bars, tf), params=SHORT), bars.close)


@pytest.mark.parametrize("tf", FRAMES)
def test_bar_by_bar_equals_the_whole_history_when_nothing_ever_moves(tf):
    """B9, C1: constant prices and volumes."""
    for price, volume in ((100.1, 10.3), (7e4, 0.0)):
        bars = constant_bars(BARS, tf, price, volume)
        assert_same(play([bars], tf, SHORT)[0], build_features(frame_of(bars, tf), params=SHORT), bars.close)


def test_a_long_silence_after_movement_is_the_same_both_ways():
    """B9: what is left of earlier moves fades to next to nothing, the same in both forms."""
    walk = random_walk_bars(3, 60, Timeframe.M5)
    still = np.full(700, walk.close[-1])
    columns = [np.concatenate(pair) for pair in zip(walk[1:], (still, still, still, still, np.ones(700)), strict=True)]
    for tf in (Timeframe.M5, Timeframe.H1):
        bars = Bars(START_MS + tf.ms * np.arange(760), *columns)
        live = play([bars], tf, SHORT)[0]
        whole = build_features(frame_of(bars, tf), params=SHORT)
        assert_same(live, whole, bars.close)


@settings(max_examples=6, deadline=None)
@given(seed=seeds, tf=frames, data=st.data())
def test_gaps_of_some_symbols_change_nothing_for_any(seed, tf, data):
    """B9: symbols that miss bars, begin late or end early; each equals its own whole history bit for bit beside others."""
    walks = [random_walk_bars(seed + i, BARS, tf) for i in range(4)]
    rng = np.random.default_rng(seed)
    holes = [data.draw(st.sampled_from([0.0, 0.02, 0.3, 0.9])) for _ in walks]
    markets = [take_bars(w, rng.random(BARS) >= hole) for w, hole in zip(walks, holes, strict=True)]
    markets[1] = take_bars(markets[1], slice(len(markets[1]) // 3, None))
    together = play(markets, tf, SHORT)
    for bars, live in zip(markets, together, strict=True):
        alone = play([bars], tf, SHORT)[0]
        for name, values in live.items():
            np.testing.assert_array_equal(values, alone[name], err_msg=name)
        if len(bars):
            assert_same(live, build_features(frame_of(bars, tf), params=SHORT), bars.close)


@pytest.mark.parametrize("tf", FRAMES)
def test_a_symbol_is_bit_identical_alone_and_among_others(tf):
    """X29 and the summation trap: the number of symbols beside it never touches a value."""
    markets = [random_walk_bars(50 + i, BARS, tf, 10.0 ** (i % 6 - 2)) for i in range(20)]
    among_twenty = play(markets, tf, SHORT)
    for symbols in ([0], [7], [7, 3], [19, 0, 7]):
        for live, symbol in zip(play([markets[s] for s in symbols], tf, SHORT), symbols, strict=True):
            for name, values in live.items():
                np.testing.assert_array_equal(values, among_twenty[symbol][name], err_msg=f"{name} of {symbol} in {symbols}")


def test_the_shipped_windows_give_the_same_both_ways():
    """B9 with strategies.yaml as it stands, over histories long enough for its longest window."""
    params = shipped_params()
    for tf, count in ((Timeframe.M5, 560), (Timeframe.M15, 560), (Timeframe.H1, 1100), (Timeframe.H4, 1100)):
        bars = random_walk_bars(11, count, tf)
        live = play([bars], tf, params)[0]
        assert_same(live, build_features(frame_of(bars, tf), params=params), bars.close)
        assert all(np.isfinite(values[-1]) for values in live.values())


@settings(max_examples=10, deadline=None)
@given(seed=seeds, tf=frames, cut=st.integers(min_value=1, max_value=BARS - 1))
def test_later_bars_change_no_value(seed, tf, cut):
    """B8: truncation, over every feature, both forms."""
    bars = random_walk_bars(seed, BARS, tf)
    before = take_bars(bars, slice(0, cut))
    whole, cut_short = build_features(frame_of(bars, tf), params=SHORT), build_features(frame_of(before, tf), params=SHORT)
    live, live_cut = play([bars], tf, SHORT)[0], play([before], tf, SHORT)[0]
    assert set(whole) == set(FEATURE_SETS[tf])
    for name in FEATURE_SETS[tf]:
        np.testing.assert_array_equal(whole[name].to_numpy()[:cut], cut_short[name].to_numpy(), err_msg=name)
        np.testing.assert_array_equal(live[name][:cut], live_cut[name], err_msg=name)


@pytest.mark.parametrize("tf", FRAMES)
def test_once_known_a_value_stays_known(tf):
    """B8: NaN only in the warm-up."""
    for name, values in play([random_walk_bars(5, BARS, tf)], tf, SHORT)[0].items():
        known = np.isfinite(values)
        assert known.any(), name
        assert known[int(np.argmax(known)) :].all(), name


def test_blocks_are_never_written_to():
    """A receiver leaves the arrays of a block as they are (C1)."""
    markets = [random_walk_bars(i, 40, Timeframe.M5) for i in range(3)]
    store = FeatureStore(["A", "B", "C"], [Timeframe.M5], SHORT)
    for block in blocks_from_bars(markets, Timeframe.M5):
        kept = replace(block, close=block.close.copy(), high=block.high.copy(), volume=block.volume.copy())
        for array in (block.idx, block.open, block.high, block.low, block.close, block.volume):
            array.setflags(write=False)
        store.on_closed(block)
        np.testing.assert_array_equal(block.close, kept.close)


def test_the_order_of_symbols_inside_a_block_does_not_matter():
    """Each row of a block belongs to the symbol that ``idx`` names."""
    tf, order = Timeframe.M5, [2, 0, 1]
    markets = [random_walk_bars(40 + i, 60, tf) for i in range(3)]
    straight, mixed = (FeatureStore(["A", "B", "C"], [tf], SHORT) for _ in range(2))
    for block in blocks_from_bars(markets, tf):
        straight.on_closed(block)
        columns = {name: getattr(block, name)[order] for name in ("idx", "open", "high", "low", "close", "volume", "flags")}
        mixed.on_closed(replace(block, **columns))
        for name, values in straight.view.items():
            np.testing.assert_array_equal(values, mixed.view[name], err_msg=name)


def test_a_block_without_bars_changes_nothing():
    store = FeatureStore(["A"], [Timeframe.M5], SHORT)
    blocks = list(blocks_from_bars([random_walk_bars(41, 30, Timeframe.M5)], Timeframe.M5))
    for block in blocks:
        store.on_closed(block)
    kept = {name: values.copy() for name, values in store.view.items()}
    empty = np.array([], dtype=np.float64)
    nobody, no_flags = np.array([], dtype=np.int64), np.array([], dtype=np.uint8)
    store.on_closed(replace(blocks[-1], idx=nobody, open=empty, high=empty, low=empty, close=empty, volume=empty, flags=no_flags))
    np.testing.assert_equal(dict(store.view), kept)
