"""What was known of every timeframe at each close, over a whole history (B8, B9, X29)."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.data.alignment import known_at_close
from core.data.features import build_features
from core.data.resample import resample
from core.errors import DataError
from core.types import Timeframe
from tests.support.features import frame_of, short_params
from tests.support.market import START_MS, random_walk_bars, take_bars

M5, M15, H1, H4 = Timeframe.M5, Timeframe.M15, Timeframe.H1, Timeframe.H4
HOUR = H1.ms
NAN = math.nan


def table(tf: Timeframe, hours: list[float], **columns: list[float]) -> pd.DataFrame:
    """Columns on bars that open so many hours after the start."""
    opened = np.array([START_MS + round(hour * HOUR) for hour in hours], dtype=np.int64)
    assert not np.any(opened % tf.ms)
    return pd.DataFrame(columns, index=pd.Index(opened, name="ts"))


@st.composite
def histories(draw: st.DrawFn) -> dict[Timeframe, pd.DataFrame]:
    """Bars of two to four timeframes with gaps, late beginnings and missing values; every number is there once."""
    frames = {}
    for place, tf in enumerate(draw(st.permutations([M5, M15, H1, H4]))[: draw(st.integers(2, 4))]):
        count = 24 * HOUR // tf.ms
        present = draw(st.sets(st.integers(0, count - 1), min_size=1, max_size=40))
        opened = START_MS + tf.ms * np.array(sorted(present), dtype=np.int64)
        value = 1000.0 * place + np.arange(opened.size)
        value[np.array(draw(st.lists(st.booleans(), min_size=opened.size, max_size=opened.size)))] = NAN
        columns = {"value": value, "close": -1.0 - value}
        if draw(st.booleans()):
            columns["funding"] = 0.5 + value
        frames[tf] = pd.DataFrame(columns, index=pd.Index(opened, name="ts"))
    return frames


def scanned(frame: pd.DataFrame, name: str, length_ms: int, now: int) -> float:
    """Oracle: go through all bars and keep the last that is over at ``now``."""
    known = NAN
    for opened, value in zip(frame.index.tolist(), frame[name].tolist(), strict=True):
        if opened + length_ms <= now:
            known = value
    return known


@settings(max_examples=60, deadline=None)
@given(frames=histories())
def test_at_every_close_stands_the_last_bar_that_was_over(frames):
    """B8: against a scan of all bars; a stream is the rule's own timeframe's, else that of the finest that has it."""
    for tf, own in frames.items():
        found = known_at_close(frames, tf)
        closes = [opened + tf.ms for opened in own.index.tolist()]
        for other, frame in frames.items():
            for name in ("value", "close"):
                expected = [scanned(frame, name, other.ms, now) for now in closes]
                np.testing.assert_array_equal(found[f"{name}@{other}"], expected)
        having = [other for other in (tf, M5, M15, H1, H4) if other in frames and "funding" in frames[other]]
        assert ("funding" in found) is bool(having)
        if having:
            expected = [scanned(frames[having[0]], "funding", having[0].ms, now) for now in closes]
            np.testing.assert_array_equal(found["funding"], expected)
        assert len(found) == 2 * len(frames) + bool(having)


@settings(max_examples=40, deadline=None)
@given(frames=histories(), hours=st.integers(0, 24 * 12))
def test_what_was_not_over_at_a_moment_has_no_say_up_to_it(frames, hours):
    """B8: truncation; bars that were still open or not yet there are changed and taken away."""
    now = START_MS + hours * M5.ms
    for tf in frames:
        before = int(np.count_nonzero(frames[tf].index.to_numpy() + tf.ms <= now))
        whole = known_at_close(frames, tf)
        changed, cut = {}, {}
        for other, frame in frames.items():
            over = frame.index.to_numpy() + other.ms <= now
            changed[other] = frame.where(pd.Series(over, index=frame.index), 777.0, axis=0)
            cut[other] = frame[over]
        for past in (known_at_close(changed, tf), known_at_close(cut, tf)):
            assert past.keys() == whole.keys()
            for key, values in past.items():
                np.testing.assert_array_equal(values[:before], whole[key][:before], err_msg=key)


def test_an_hour_counts_from_its_close_on_and_what_closes_together_is_known_together():
    frames = {
        M15: table(M15, [0.25, 0.5, 0.75, 1.0, 1.75], close=[1.0, 2.0, 3.0, 4.0, 5.0]),
        H1: table(H1, [0.0, 1.0], slope=[10.0, 11.0]),
    }
    found = known_at_close(frames, M15)
    # closes: 0:30, 0:45, 1:00, 1:15, 2:00
    np.testing.assert_array_equal(found["slope@1h"], [NAN, NAN, 10.0, 10.0, 11.0])
    np.testing.assert_array_equal(found["close@15m"], [1.0, 2.0, 3.0, 4.0, 5.0])


def test_a_finer_timeframe_gives_its_last_bar_inside_the_coarser_one():
    frames = {H4: table(H4, [0.0, 4.0], close=[1.0, 2.0]), H1: table(H1, [2.0, 3.0, 6.0], slope=[10.0, 11.0, 12.0])}
    np.testing.assert_array_equal(known_at_close(frames, H4)["slope@1h"], [11.0, 12.0])


def test_a_bar_that_is_missing_leaves_the_one_before_and_an_unknown_value_stays_unknown():
    """As the feature store: its rows stay until the next bar, and a bar without a value takes the old one away."""
    frames = {M15: table(M15, [1.0, 2.0, 3.0, 4.0], close=[1.0] * 4), H1: table(H1, [0.0, 3.0], basis=[7.0, NAN])}
    np.testing.assert_array_equal(known_at_close(frames, M15)["basis"], [7.0, 7.0, 7.0, NAN])


def test_streams_are_those_of_the_rule_s_own_timeframe():
    """A settlement at half past is known to the 15m bars before the hour is over."""
    bars = random_walk_bars(5, 40, M15)
    streams = {"funding": pd.DataFrame({"ts": [START_MS + HOUR // 2, START_MS + 2 * HOUR], "funding_rate": [1e-4, 3e-4]})}
    params = short_params()
    own, hourly = (pd.DataFrame(build_features(frame_of(resample(bars, M15, tf), tf), streams, params)) for tf in (M15, H1))
    closes = bars.ts + M15.ms
    expected = np.select([closes >= START_MS + 2 * HOUR, closes >= START_MS + HOUR // 2], [3e-4, 1e-4], NAN)
    np.testing.assert_array_equal(known_at_close({M15: own, H1: hourly}, M15)["funding"], expected)
    later = np.select([closes >= START_MS + 2 * HOUR, closes >= START_MS + HOUR], [3e-4, 1e-4], NAN)
    np.testing.assert_array_equal(known_at_close({M15: own[["close"]], H1: hourly}, M15)["funding"], later)


def test_the_keys_are_those_of_the_feature_store_and_the_arrays_are_the_caller_s_own():
    bars = random_walk_bars(6, 64, M15)
    frames = {tf: pd.DataFrame(build_features(frame_of(resample(bars, M15, tf), tf))) for tf in (M15, H1)}
    kept = {tf: frame.copy() for tf, frame in frames.items()}
    found = known_at_close(frames, M15)
    assert list(found) == [f"{name}@{tf}" for tf, frame in frames.items() for name in frame]
    for values in found.values():
        assert (values.shape, values.dtype) == ((64,), np.float64)
        values[:] = 0.0
    for tf, frame in frames.items():
        pd.testing.assert_frame_equal(frame, kept[tf])


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda frame: frame.reset_index(), "not on its grid"),
        (lambda frame: frame.set_axis(pd.to_datetime(frame.index, unit="ms")), "expected open times as integer ms"),
        (lambda frame: frame.iloc[::-1], "did not rise"),
        (lambda frame: frame.iloc[[0, 0, 1]], "did not rise"),
    ],
)
def test_an_index_that_is_not_rising_open_times_is_refused(damage, says):
    bars = take_bars(random_walk_bars(7, 8, H1), slice(1, None))
    frame = pd.DataFrame({"close": bars.close}, index=pd.Index(bars.ts, name="ts"))
    with pytest.raises(DataError, match=says):
        known_at_close({H1: damage(frame)}, H1)


def test_a_rule_s_timeframe_must_be_there():
    with pytest.raises(DataError, match="timeframe was 4h, expected one of 1h"):
        known_at_close({H1: table(H1, [0.0], close=[1.0])}, H4)
