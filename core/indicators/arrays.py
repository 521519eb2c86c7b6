"""Indicators over whole histories as plain arrays: the numerical core of :mod:`core.indicators.tech`.

Every function takes one-dimensional float64 arrays, oldest first, and gives arrays of the same length. A value at
position t depends on positions up to t only (B8). Inputs are never written to. A value is NaN where it is not known:
in the warm-up; in a window that holds a NaN; and, for recursive indicators (EMA, Wilder), from the first NaN inside
the data to the end, because their state is lost there.

Recursions are TA-Lib's. Moving means and deviations are not: its running sums lose digits where prices are large and
deviations small, so these are computed from each window anew.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import talib
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Compare = Callable[[Floats, Floats], NDArray[np.bool_]]

SIGMA_FLOOR = 1e-9
"""Smallest standard deviation of log returns used as a divisor: a flat market gives a shock of 0, not 0/0."""
ATR_FLOOR = 1e-9
"""Smallest ATR used as a divisor, as a fraction of the price."""
VOLUME_STD_FLOOR = 1e-3
"""Smallest standard deviation of volume used as a divisor, as a fraction of the mean."""
TINY = 1e-300
"""Added to divisors that may be exactly zero; nothing beside any other number."""

_CHUNK_VALUES = 2_000_000


def check_window(name: str, bars: int, least: int = 1) -> int:
    """``bars`` if it is a usable window length, else ``ValueError``."""
    if bars < least:
        raise ValueError(f"{name} was {bars}, expected at least {least}")
    return bars


def _recursive(compute: Callable[..., Floats], *inputs: Floats) -> Floats:
    """Run ``compute`` between the leading NaNs and the first NaN after them; NaN elsewhere."""
    out = np.full(inputs[0].size, np.nan)
    known = np.logical_and.reduce([np.isfinite(x) for x in inputs])
    where = np.flatnonzero(known)
    if where.size == 0:
        return out
    start = int(where[0])
    holes = np.flatnonzero(~known[start:])
    stop = start + int(holes[0]) if holes.size else known.size
    out[start:stop] = compute(*(np.ascontiguousarray(x[start:stop]) for x in inputs))
    return out


def _windows(x: Floats, bars: int) -> Iterator[tuple[slice, Floats]]:
    """Windows of ``bars`` values with the positions at which they end, in chunks that fit in the cache."""
    if x.size < bars:
        return
    windows = sliding_window_view(x, bars)
    step = max(1, _CHUNK_VALUES // bars)
    for at in range(0, len(windows), step):
        chunk = windows[at : at + step]
        yield slice(at + bars - 1, at + bars - 1 + len(chunk)), chunk


def lag(x: Floats, bars: int) -> Floats:
    """Value ``bars`` positions earlier."""
    out = np.full(x.size, np.nan)
    if bars < x.size:
        out[bars:] = x[: x.size - bars]
    return out


def ema(x: Floats, bars: int) -> Floats:
    """Exponential mean, weight 2/(bars+1), seeded by the mean of the first ``bars`` values."""
    check_window("bars", bars, 2)
    return _recursive(lambda v: talib.EMA(v, bars), x)


def atr(high: Floats, low: Floats, close: Floats, bars: int) -> Floats:
    """Wilder's average true range in price units; first value after ``bars`` + 1 bars."""
    check_window("bars", bars, 2)
    return _recursive(lambda h, lo, c: talib.ATR(h, lo, c, bars), high, low, close)


def adx(high: Floats, low: Floats, close: Floats, bars: int) -> Floats:
    """Wilder's average directional index, 0-100; first value after 2 x ``bars`` bars."""
    check_window("bars", bars, 2)
    return _recursive(lambda h, lo, c: talib.ADX(h, lo, c, bars), high, low, close)


def rsi(x: Floats, bars: int) -> Floats:
    """Wilder's relative strength index, 0-100; 50 where nothing ever moved.

    TA-Lib's own RSI is 0 for a flat series, which would read as «oversold». Chande's index is made of the same smoothed
    gains and losses and is 0 there, and RSI = 50 + CMO / 2.
    """
    check_window("bars", bars, 2)
    return _recursive(lambda v: 50.0 + 0.5 * talib.CMO(v, bars), x)


def rolling_mean_std(x: Floats, bars: int, ddof: int = 0) -> tuple[Floats, Floats]:
    """Mean and standard deviation of the last ``bars`` values, the present one included."""
    check_window("bars", bars, ddof + 1)
    mean, std = np.full(x.size, np.nan), np.full(x.size, np.nan)
    for at, window in _windows(x, bars):
        middle = np.add.reduce(window, axis=1) / bars
        deviation = window - middle[:, None]
        mean[at] = middle
        std[at] = np.sqrt(np.add.reduce(deviation * deviation, axis=1) / (bars - ddof))
    return mean, std


def bollinger(x: Floats, bars: int, sigmas: float) -> tuple[Floats, Floats, Floats, Floats]:
    """Middle, upper and lower band (mean -/+ ``sigmas`` population deviations) and width = (upper - lower) / middle."""
    middle, std = rolling_mean_std(x, bars)
    upper, lower = middle + sigmas * std, middle - sigmas * std
    return middle, upper, lower, (upper - lower) / middle


def _rolling_max(x: Floats, bars: int) -> Floats:
    holes = np.isnan(x)
    out: Floats = np.full(x.size, np.nan)
    if x.size < bars:
        return out
    # TA-Lib's comparisons pass over a NaN silently, so windows with one are found separately
    out[:] = talib.MAX(np.where(holes, -np.inf, x), bars) if bars > 1 else x
    seen = np.concatenate(([0], np.cumsum(holes)))
    out[: bars - 1] = np.nan
    out[bars - 1 :][seen[bars:] > seen[:-bars]] = np.nan
    return out


def donchian(high: Floats, low: Floats, bars: int) -> tuple[Floats, Floats]:
    """Highest high and lowest low of the last ``bars`` bars, the present one included."""
    check_window("bars", bars)
    return _rolling_max(high, bars), -_rolling_max(-low, bars)


def log_returns(close: Floats) -> Floats:
    """Log returns, ln C_t - ln C_{t-1}; the first is NaN."""
    logs: Floats = np.log(close)
    return logs - lag(logs, 1)


def hv(close: Floats, bars: int, periods_a_year: float) -> Floats:
    """Historical volatility: sample deviation (ddof 1) of the last ``bars`` log returns, as a fraction per year."""
    return rolling_mean_std(log_returns(close), bars, ddof=1)[1] * math.sqrt(periods_a_year)


def rolling_share(x: Floats, bars: int, compare: Compare) -> Floats:
    """Share of the last ``bars`` values, the present one included, for which ``compare(value, present)`` holds."""
    check_window("bars", bars)
    out = np.full(x.size, np.nan)
    for at, window in _windows(x, bars):
        share = np.count_nonzero(compare(window, window[:, -1:]), axis=1) / bars
        out[at] = np.where(np.isnan(window).any(axis=1), np.nan, share)
    return out


def rolling_rank(x: Floats, bars: int) -> Floats:
    """Share of the last ``bars`` values, the present one included, that are not above the present one; in (0, 1]."""
    return rolling_share(x, bars, np.less_equal)


def rolling_quantile(x: Floats, bars: int, quantile: float) -> Floats:
    """Quantile of the last ``bars`` values, the present one included, interpolated linearly."""
    check_window("bars", bars)
    if not 0.0 <= quantile <= 1.0:
        raise ValueError(f"quantile was {quantile}, expected 0 to 1")
    return pd.Series(x).rolling(bars, min_periods=bars).quantile(quantile).to_numpy(dtype=np.float64)


def slope(x: Floats, bars: int, scale: Floats | None = None) -> Floats:
    """Change of ``x`` over ``bars`` bars, in units of ``scale`` (for example the ATR) where one is given."""
    change = x - lag(x, check_window("bars", bars))
    return change if scale is None else change / scale


def volume_z(volume: Floats, bars: int) -> Floats:
    """Volume above its mean of the last ``bars`` bars in population deviations; 0 where volume is constant."""
    mean, std = rolling_mean_std(volume, bars)
    return (volume - mean) / np.maximum(std, VOLUME_STD_FLOOR * mean + TINY)


def close_location(high: Floats, low: Floats, close: Floats) -> Floats:
    """Where the close lies in the bar: 0 at the low, 1 at the high, 0.5 in a bar without range."""
    span = high - low
    return np.where(span == 0.0, 0.5, (close - low) / np.where(span == 0.0, 1.0, span))


def ew_std(x: Floats, span: int) -> Floats:
    """Exponentially weighted standard deviation, weight a = 2/(span+1).

    Mean and variance start as those of the first ``span`` values; then, with d = x_t - mean_{t-1}:
    mean_t = mean_{t-1} + a d and var_t = (1 - a)(var_{t-1} + a d^2).
    """
    check_window("span", span, 2)
    return _recursive(lambda v: _ew_std(v, span), x)


def _ew_std(x: Floats, span: int) -> Floats:
    out = np.full(x.size, np.nan)
    if x.size < span:
        return out
    weight = 2.0 / (span + 1.0)
    deviation = x[span:] - ema(x, span)[span - 1 : -1]
    seed = np.full(span, np.add.reduce((x[:span] - np.add.reduce(x[:span]) / span) ** 2) / span)
    # an EMA whose first ``span`` inputs equal the seed is the recursion above
    squares = np.concatenate((seed, (1.0 - weight) * deviation * deviation))
    out[span - 1 :] = np.sqrt(np.maximum(ema(squares, span)[span - 1 :], 0.0))
    return out


def shock(close: Floats, bars: int, span: int) -> Floats:
    """Move of the last ``bars`` bars in deviations expected before it.

    (ln C_t - ln C_{t-bars}) / (sigma_{t-bars} sqrt(bars)), sigma = :func:`ew_std` of log returns.
    """
    logs: Floats = np.log(close)
    sigma: Floats = np.maximum(ew_std(log_returns(close), span), SIGMA_FLOOR)
    expected = lag(sigma, bars) * math.sqrt(bars)
    return (logs - lag(logs, bars)) / expected


def return_pct(close: Floats, bars: int) -> Floats:
    """Simple return over ``bars`` bars in percent."""
    return (close / lag(close, bars) - 1.0) * 100.0
