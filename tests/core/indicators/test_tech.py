"""Indicators against an independent library and on the edges (C1)."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from core.data.blocks import Bars
from core.indicators import tech
from core.types import Timeframe
from tests.support.market import constant_bars, random_walk_bars

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # at import it uses what pandas will drop
    import pandas_ta_classic as reference

Indicator = Callable[[pd.Series, pd.Series, pd.Series], pd.Series | pd.DataFrame]

INDICATORS: dict[str, tuple[Indicator, int]] = {
    "atr": (lambda h, lo, c: tech.atr(h, lo, c, 14), 14),
    "adx": (lambda h, lo, c: tech.adx(h, lo, c, 14), 27),
    "rsi": (lambda h, lo, c: tech.rsi(c, 14), 14),
    "bb": (lambda h, lo, c: tech.bb(c, 20, 2.0), 19),
    "ema": (lambda h, lo, c: tech.ema(c, 50), 49),
    "slope": (lambda h, lo, c: tech.slope(c, 5, h - lo + 1.0), 5),
    "donchian": (lambda h, lo, c: tech.donchian(h, lo, 20), 19),
    "hv": (lambda h, lo, c: tech.hv(c, 30, 8760.0), 30),
    "rolling_quantile": (lambda h, lo, c: tech.rolling_quantile(c, 25, 0.8), 24),
    "rolling_rank": (lambda h, lo, c: tech.rolling_rank(c, 25), 24),
}
"""Indicator, and the position of its first value."""

each_indicator = pytest.mark.parametrize("name", sorted(INDICATORS))


def _series(bars: Bars) -> tuple[pd.Series, pd.Series, pd.Series]:
    index = pd.Index(bars.ts, name="ts")
    return pd.Series(bars.high, index), pd.Series(bars.low, index), pd.Series(bars.close, index)


def _walk(seed: int = 1, count: int = 400) -> tuple[pd.Series, pd.Series, pd.Series]:
    return _series(random_walk_bars(seed, count, Timeframe.H1))


def _table(result: pd.Series | pd.DataFrame) -> np.ndarray:
    return result.to_numpy().reshape(len(result), -1)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_values_are_those_of_an_independent_library(seed):
    """C1: pandas-ta-classic with its own code, not TA-Lib's."""
    high, low, close = _walk(seed)
    bands = reference.bbands(close, length=20, std=2.0, talib=False)
    pairs = [
        (tech.atr(high, low, close, 14), reference.atr(high, low, close, length=14, talib=False)),
        (tech.adx(high, low, close, 14), reference.adx(high, low, close, length=14, talib=False).filter(like="ADX_").iloc[:, 0]),
        (tech.rsi(close, 14), reference.rsi(close, length=14, talib=False)),
        (tech.ema(close, 50), reference.ema(close, length=50, talib=False)),
        (tech.bb(close)["mid"], bands.filter(like="BBM").iloc[:, 0]),
        (tech.bb(close)["upper"], bands.filter(like="BBU").iloc[:, 0]),
        (tech.bb(close)["lower"], bands.filter(like="BBL").iloc[:, 0]),
        (tech.donchian(high, low, 20)["hi"], reference.donchian(high, low, 20, 20).filter(like="DCU").iloc[:, 0]),
        (tech.donchian(high, low, 20)["lo"], reference.donchian(high, low, 20, 20).filter(like="DCL").iloc[:, 0]),
    ]
    for mine, expected in pairs:
        np.testing.assert_allclose(mine.to_numpy(), expected.to_numpy(), rtol=1e-10, atol=1e-9, err_msg=str(mine.name))


def test_windowed_values_are_those_of_plain_arithmetic():
    """C1: worked out window by window with the standard library."""
    high, low, close = _walk(2, 80)
    values = close.tolist()
    returns = [math.log(b / a) for a, b in itertools.pairwise(values)]
    last = returns[-30:]
    mean = math.fsum(last) / 30
    deviation = math.sqrt(math.fsum((r - mean) ** 2 for r in last) / 29)
    assert tech.hv(close, 30, 8760.0).iloc[-1] == pytest.approx(deviation * math.sqrt(8760), rel=1e-12)
    window = sorted(values[-25:])
    assert tech.rolling_rank(close, 25).iloc[-1] == (window.index(values[-1]) + 1) / 25
    place = 0.8 * 24
    below = int(place)
    expected = window[below] + (place - below) * (window[below + 1] - window[below])
    assert tech.rolling_quantile(close, 25, 0.8).iloc[-1] == pytest.approx(expected, rel=1e-12)
    assert tech.slope(close, 5).iloc[-1] == values[-1] - values[-6]
    assert tech.slope(close, 5, high - low).iloc[-1] == (values[-1] - values[-6]) / (high.iloc[-1] - low.iloc[-1])
    width = tech.bb(close).iloc[-1]
    assert width["width"] == pytest.approx((width["upper"] - width["lower"]) / width["mid"], rel=1e-12)


def test_a_small_series_gives_the_values_computed_by_hand():
    """C1: 2-bar windows on five bars."""
    high, low, close = (pd.Series(x, dtype=float) for x in ([11, 12, 14, 13, 15], [9, 10, 11, 11, 12], [10, 12, 11, 12, 15]))
    nan = np.nan
    np.testing.assert_allclose(tech.ema(close, 2), [nan, 11, 11, 11 + 2 / 3, 15 - (15 - 35 / 3) / 3])
    # true ranges from the second bar: 2, 3, 2, 3
    np.testing.assert_allclose(tech.atr(high, low, close, 2), [nan, nan, 2.5, 2.25, 2.625])
    # moves +2 -1 +1 +3: gains 1, 1, 2 and losses .5, .25, .125
    np.testing.assert_allclose(tech.rsi(close, 2), [nan, nan, 100 / 1.5, 100 / 1.25, 200 / 2.125])
    np.testing.assert_array_equal(tech.donchian(high, low, 2)["hi"], [nan, 12, 14, 14, 15])
    np.testing.assert_array_equal(tech.donchian(high, low, 2)["lo"], [nan, 9, 10, 11, 11])
    np.testing.assert_array_equal(tech.rolling_rank(close, 3), [nan, nan, 2 / 3, 1.0, 1.0])


@each_indicator
def test_the_first_value_stands_where_it_should_and_none_is_lost_after(name):
    """B8: NaN only in the warm-up."""
    compute, first = INDICATORS[name]
    table = _table(compute(*_walk()))
    assert np.isnan(table[:first]).all()
    assert np.isfinite(table[first:]).all()


@each_indicator
def test_inputs_stay_as_they_were_and_the_index_is_kept(name):
    """C1: pure and aligned."""
    inputs = _walk(3)
    copies = [series.copy(deep=True) for series in inputs]
    for series in inputs:
        series.to_numpy().flags.writeable = False
    result = INDICATORS[name][0](*inputs)
    for series, copy in zip(inputs, copies, strict=True):
        pd.testing.assert_series_equal(series, copy)
    assert result.index.equals(inputs[0].index)


@each_indicator
def test_an_empty_series_gives_an_empty_result(name):
    """C1."""
    empty = pd.Series([], dtype=float)
    assert len(INDICATORS[name][0](empty, empty, empty)) == 0


@each_indicator
def test_a_series_shorter_than_the_window_is_all_unknown(name):
    """C1."""
    compute, first = INDICATORS[name]
    for count in (1, first):
        assert np.isnan(_table(compute(*_walk(4, count)))).all()


@each_indicator
def test_nothing_known_gives_nothing_known(name):
    """C1: TA-Lib itself raises here."""
    unknown = pd.Series(np.full(100, np.nan))
    assert np.isnan(_table(INDICATORS[name][0](unknown, unknown, unknown))).all()


@each_indicator
def test_leading_unknowns_only_delay(name):
    """C1: the values are those of the series without them."""
    compute, _ = INDICATORS[name]
    inputs = _walk(5, 200)
    padded = [pd.Series(np.concatenate((np.full(7, np.nan), s.to_numpy()))) for s in inputs]
    result = _table(compute(*padded))
    assert np.isnan(result[:7]).all()
    np.testing.assert_array_equal(result[7:], _table(compute(*inputs)))


@each_indicator
def test_an_unknown_inside_is_never_bridged(name):
    """C1: recursive indicators stay unknown, windowed ones until the hole has left the window; the past is untouched."""
    compute, first = INDICATORS[name]
    inputs = _walk(6, 200)
    holed = [s.copy() for s in inputs]
    for series in holed:
        series.iloc[120] = np.nan
    result, whole = _table(compute(*holed)), _table(compute(*inputs))
    np.testing.assert_array_equal(result[:120], whole[:120])
    assert np.isnan(result[120]).all()
    if name in {"atr", "adx", "rsi", "ema"}:
        assert np.isnan(result[120:]).all()
    elif name != "slope":  # a slope looks at two bars only
        assert np.isnan(result[120 : 120 + first]).all()
        np.testing.assert_allclose(result[-20:], whole[-20:], rtol=1e-12)


@each_indicator
def test_later_values_change_no_earlier_one(name):
    """B8: truncation."""
    compute, _ = INDICATORS[name]
    inputs = _walk(7, 300)
    whole = _table(compute(*inputs))
    for cut in (1, 60, 299):
        np.testing.assert_array_equal(_table(compute(*(s.iloc[:cut] for s in inputs))), whole[:cut])


def test_a_constant_market_has_no_range_no_trend_and_a_neutral_rsi():
    """C1: TA-Lib's RSI says 0 (oversold) here."""
    high, low, close = _series(constant_bars(100, Timeframe.H1, 100.1))
    assert tech.atr(high, low, close).iloc[-1] == 0.0
    assert tech.adx(high, low, close).iloc[-1] == 0.0
    assert tech.rsi(close).iloc[-1] == 50.0
    assert tech.hv(close, 30, 8760.0).iloc[-1] == 0.0
    assert tech.bb(close)["width"].iloc[-1] == pytest.approx(0.0, abs=1e-14)
    assert tech.ema(close, 20).iloc[-1] == pytest.approx(100.1, rel=1e-14)
    assert tech.rolling_rank(close, 25).iloc[-1] == 1.0
    assert tech.rolling_quantile(close, 25, 0.8).iloc[-1] == pytest.approx(100.1)


def test_bollinger_bands_keep_their_digits_at_large_prices():
    """C1: running sums of squares lose the deviation of a calm market at 60,000; windows do not."""
    rng = np.random.default_rng(8)
    close = pd.Series(6e4 + 1e-3 * rng.normal(size=50_000).cumsum() % 0.01)
    expected = np.array([np.std(close.to_numpy()[at - 19 : at + 1]) for at in range(49_000, 50_000)])
    bands = tech.bb(close, 20, 2.0).iloc[49_000:]
    np.testing.assert_allclose((bands["upper"] - bands["mid"]).to_numpy() / 2.0, expected, atol=1e-11)


def test_a_window_without_sense_is_refused():
    close = pd.Series([1.0, 2.0])
    with pytest.raises(ValueError, match="bars was 0, expected at least 2"):
        tech.ema(close, 0)
    with pytest.raises(ValueError, match="expected 0 to 1"):
        tech.rolling_quantile(close, 2, 1.5)


def test_inputs_of_different_indexes_are_refused():
    high, low, close = _walk(9, 50)
    with pytest.raises(ValueError, match="one shared index"):
        tech.atr(high, low.iloc[1:], close)
