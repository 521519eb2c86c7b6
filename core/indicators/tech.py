"""Technical indicators over pandas Series: pure, typed, aligned (requirement C1).

Each takes Series that share one index, oldest first, and gives a Series (or a frame of them) on that index; inputs
are never changed. NaN stands where a value is not known: see :mod:`core.indicators.arrays`, which does the arithmetic
and says how each value starts. None looks ahead; ``donchian`` includes the present bar, so a breakout compares with
its value one bar earlier.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from core.indicators import arrays
from core.indicators.arrays import Floats


def _values(series: pd.Series) -> Floats:
    return series.to_numpy(dtype=np.float64)


def _on(like: pd.Series, values: Floats, name: str) -> pd.Series:
    return pd.Series(values, index=like.index, name=name)


def _aligned(*series: pd.Series) -> tuple[Floats, ...]:
    first = series[0].index
    for other in series[1:]:
        if not first.equals(other.index):
            raise ValueError("inputs had different indexes, expected one shared index")
    return tuple(_values(s) for s in series)


def atr(high: pd.Series, low: pd.Series, close: pd.Series, bars: int = 14) -> pd.Series:
    """Wilder's average true range, in price units.

    The true range needs the close before; the first value is the mean of the first ``bars`` true ranges, at bar
    ``bars`` + 1; then (previous x (bars - 1) + true range) / bars.
    """
    high_values, low_values, close_values = _aligned(high, low, close)
    return _on(close, arrays.atr(high_values, low_values, close_values, bars), f"atr_{bars}")


def adx(high: pd.Series, low: pd.Series, close: pd.Series, bars: int = 14) -> pd.Series:
    """Wilder's average directional index, 0-100: strength of a trend, not its direction. First at bar 2 x ``bars``."""
    high_values, low_values, close_values = _aligned(high, low, close)
    return _on(close, arrays.adx(high_values, low_values, close_values, bars), f"adx_{bars}")


def rsi(close: pd.Series, bars: int = 14) -> pd.Series:
    """Wilder's relative strength index, 0-100. First at bar ``bars`` + 1; 50 where nothing ever moved."""
    return _on(close, arrays.rsi(_values(close), bars), f"rsi_{bars}")


def bb(close: pd.Series, bars: int = 20, sigmas: float = 2.0) -> pd.DataFrame:
    """Bollinger bands: columns ``mid upper lower width``.

    Bands lie ``sigmas`` population deviations (ddof 0) around the mean of the last ``bars`` closes; ``width`` is
    (upper - lower) / mid, a fraction.
    """
    mid, upper, lower, width = arrays.bollinger(_values(close), bars, sigmas)
    return pd.DataFrame({"mid": mid, "upper": upper, "lower": lower, "width": width}, index=close.index)


def ema(x: pd.Series, bars: int) -> pd.Series:
    """Exponential mean, weight 2/(bars+1). First at bar ``bars``, as the mean of the first ``bars`` values."""
    return _on(x, arrays.ema(_values(x), bars), f"ema_{bars}")


def slope(x: pd.Series, bars: int = 20, scale: pd.Series | None = None) -> pd.Series:
    """Change of ``x`` over ``bars`` bars, divided by ``scale`` (for example the ATR) where one is given."""
    values = _aligned(x) if scale is None else _aligned(x, scale)
    return _on(x, arrays.slope(values[0], bars, *values[1:]), f"slope_{bars}")


def donchian(high: pd.Series, low: pd.Series, bars: int = 20) -> pd.DataFrame:
    """Donchian channel: columns ``hi`` and ``lo``, extremes of the last ``bars`` bars *including* the present one."""
    high_values, low_values = _aligned(high, low)
    hi, lo = arrays.donchian(high_values, low_values, bars)
    return pd.DataFrame({"hi": hi, "lo": lo}, index=high.index)


def hv(close: pd.Series, bars: int, periods_a_year: float) -> pd.Series:
    """Historical volatility as a fraction per year.

    Sample deviation (ddof 1) of the last ``bars`` log returns x sqrt(``periods_a_year``); crypto trades every day, so
    hourly bars have 8760 periods a year.
    """
    return _on(close, arrays.hv(_values(close), bars, periods_a_year), f"hv_{bars}")


def rolling_quantile(x: pd.Series, bars: int, quantile: float) -> pd.Series:
    """Quantile (0-1, linear interpolation) of the last ``bars`` values including the present one."""
    return _on(x, arrays.rolling_quantile(_values(x), bars, quantile), f"quantile_{bars}")


def rolling_rank(x: pd.Series, bars: int) -> pd.Series:
    """Share of the last ``bars`` values, including the present one, that are not above the present one."""
    return _on(x, arrays.rolling_rank(_values(x), bars), f"rank_{bars}")
