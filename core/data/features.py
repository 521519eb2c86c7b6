"""Features: one definition, computed bar by bar (:class:`FeatureStore`) or over a whole history (:func:`build_features`).

Both give the same values to 1e-8 relative when they start at the same first bar (B9, X29). A value is NaN until its
window is full, and never after; ``ready`` says the same as a mask (X28). Nothing looks ahead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from configs.validators import StrategiesFile
from core.data.blocks import Bools, ClosedBlock, Floats, Ints
from core.data.feature_kernels import FrameFeatures
from core.data.feature_sets import (
    ADX_BARS,
    ATR_BARS,
    DONCHIAN_INNER,
    DONCHIAN_OUTER,
    EMA_FAST,
    EMA_SLOW,
    FEATURE_SETS,
    HV_BARS,
    STREAM_FEATURES,
    FeatureParams,
    high_bars,
    periods_a_year,
    volume_bars,
)
from core.data.feature_streams import StreamFeatures, basis_history, funding_history
from core.errors import DataError
from core.indicators import arrays
from core.types import Timeframe

__all__ = ["FEATURE_SETS", "STREAM_FEATURES", "FeatureParams", "FeatureStore", "build_features"]


class FeatureStore:
    """Features of every symbol on every timeframe, updated bar by bar.

    ``view["name@tf"]`` (``view["name"]`` for side streams) is an array of shape (S,), one place a symbol in the order of
    ``symbols``; it lives as long as the store, is updated in place, and must not be written to. What follows from the
    present bar and a window alone is calculated at the first look on each bar, so look it up on every bar anew. ``ready``
    has the same keys: False until the value is known.
    """

    def __init__(self, symbols: Sequence[str], timeframes: Sequence[Timeframe], params: StrategiesFile) -> None:
        windows = FeatureParams.of(params)
        self._frames = {tf: FrameFeatures(len(symbols), tf, windows) for tf in timeframes}
        self._streams = StreamFeatures(len(symbols), windows)
        self.view: Mapping[str, Floats] = PresentFeatures(self._frames, self._streams)
        self.ready: dict[str, Bools] = {f"{name}@{tf}": row for tf, f in self._frames.items() for name, row in f.ready.items()}
        self.ready.update(self._streams.ready)

    def on_closed(self, block: ClosedBlock) -> None:
        """Take in bars of one timeframe that closed together; a timeframe that was not asked for is passed over."""
        frame = self._frames.get(block.tf)
        if frame is None:
            return
        frame.update(block)
        if block.tf is Timeframe.H1:
            self._streams.on_hour(block.ts, block.idx, frame.rows["close"])

    def on_funding(self, index: int, ts: int, rate: float) -> None:
        """Take in a funding settlement of symbol ``index``: ``rate`` is the fraction paid by longs at ``ts``."""
        self._streams.on_funding(index, ts, rate)

    def on_spot(self, index: int, ts: int, price: float) -> None:
        """Take in the spot price at the hourly close ``ts``, before :meth:`on_closed` of the 1h block of that moment."""
        self._streams.on_spot(index, ts, price)

    def snapshot(self) -> dict[str, Any]:
        """Everything that the next bar depends on, to the bit."""
        return {
            "frames": {tf.value: frame.snapshot() for tf, frame in self._frames.items()},
            "streams": self._streams.snapshot(),
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Take over what :meth:`snapshot` gave for the same symbols, timeframes and windows."""
        for tf, frame in self._frames.items():
            frame.restore(saved["frames"][tf.value])
        self._streams.restore(saved["streams"])


class PresentFeatures(Mapping[str, Floats]):
    """Every feature by key as it is on the present bar; what is on demand is calculated at the first look."""

    def __init__(self, frames: Mapping[Timeframe, FrameFeatures], streams: StreamFeatures) -> None:
        rows = {f"{name}@{tf}": row for tf, frame in frames.items() for name, row in frame.rows.items()}
        later = {f"{name}@{tf}": look for tf, frame in frames.items() for name, look in frame.later.items()}
        self._rows, self._later = rows | streams.rows, later | streams.later

    def __getitem__(self, key: str) -> Floats:
        look = self._later.get(key)
        if look is not None:
            look.bring_up()
        return self._rows[key]

    def __contains__(self, key: object) -> bool:
        return key in self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


def build_features(
    ohlcv_df: pd.DataFrame,
    extra_streams: Mapping[str, pd.DataFrame] | None = None,
    params: StrategiesFile | None = None,
) -> dict[str, pd.Series]:
    """All features of one symbol's timeframe over a whole history (B8).

    Args:
        ohlcv_df: columns ``open high low close volume tf`` and ``ts`` (column or index): open time, int ms, rising.
        extra_streams: ``"funding"``: frame ``ts`` (settlement, ms), ``funding_rate``; ``"spot"``: frame ``ts``, ``close``,
            where ``ts`` is the moment at which the hourly close was *known* (its close time, never its open time). Funding
            features are given on every timeframe, basis features on 1h.
        params: window lengths; those of the shipped ``strategies.yaml`` if absent.

    Returns:
        Series by plain feature name, all on one index ``ts``; NaN only in the warm-up and where a stream is absent.

    Raises:
        DataError: a column is missing, a value is not finite, ``ts`` does not rise, or timeframes or symbols are mixed.
    """
    windows = FeatureParams() if params is None else FeatureParams.of(params)
    ts, tf, bars = _checked(ohlcv_df)
    features = {**bars, **_bar_features(tf, bars, windows)}
    values = {name: features[name] for name in FEATURE_SETS[tf]}
    values.update(_stream_features(ts + tf.ms, tf, bars["close"], extra_streams or {}, windows))
    index = pd.Index(ts, name="ts")
    return {name: pd.Series(array, index=index, name=name) for name, array in values.items()}


def _checked(frame: pd.DataFrame) -> tuple[Ints, Timeframe, dict[str, Floats]]:
    if frame.index.name == "ts" and "ts" not in frame.columns:
        frame = frame.reset_index()
    missing = [name for name in ("ts", "open", "high", "low", "close", "volume", "tf") if name not in frame.columns]
    if missing:
        raise DataError(f"bars had no column {', '.join(missing)}; expected ts open high low close volume tf")
    for name in ("tf", "symbol"):
        if name in frame.columns and frame[name].nunique() > 1:
            raise DataError(f"bars held {frame[name].nunique()} values of {name}, expected one")
    if frame.empty:
        raise DataError("bars were empty, expected at least one")
    bars = {name: frame[name].to_numpy(dtype=np.float64, copy=True) for name in ("open", "high", "low", "close", "volume")}
    for name, values in bars.items():
        if not np.isfinite(values).all():
            raise DataError(f"{name} held a value that is not a finite number")
    return _rising(frame["ts"], "bars"), Timeframe(str(frame["tf"].iloc[0])), bars


def _rising(column: pd.Series, what: str) -> Ints:
    if not pd.api.types.is_integer_dtype(column.dtype):
        raise DataError(f"ts of {what} was {column.dtype}, expected integer ms")
    ts = column.to_numpy(dtype=np.int64)
    if not (np.diff(ts) > 0).all():
        raise DataError(f"ts of {what} did not rise, expected each later than the one before")
    return ts


def _bar_features(tf: Timeframe, bars: dict[str, Floats], params: FeatureParams) -> dict[str, Floats]:
    """More than the timeframe's own set may come out; the caller picks."""
    high, low, close, volume = bars["high"], bars["low"], bars["close"], bars["volume"]
    atr = arrays.atr(high, low, close, ATR_BARS)
    fast = arrays.ema(close, EMA_FAST)
    features = {"atr": atr, "ema50": fast, "ema50_prev": arrays.lag(fast, 1)}
    names = FEATURE_SETS[tf]
    if "shock" in names:
        features["shock"] = arrays.shock(close, params.shock_bars, params.sigma_span)
        features["ret6_pct"] = arrays.return_pct(close, params.shock_bars)
        features["atr_pct"] = atr / close * 100.0
        features["volume_z"] = arrays.volume_z(volume, volume_bars(tf))
        features["close_location"] = arrays.close_location(high, low, close)
    if "rsi" in names:
        features.update(_intraday_features(close, volume, features["atr_pct"], params))
    if "adx" in names:
        features.update(_trend_features(tf, high, low, close, atr, params))
    if "donchian_hi20" in names:
        for bars_back in (DONCHIAN_INNER, DONCHIAN_OUTER):
            hi, lo = arrays.donchian(high, low, bars_back)
            features[f"donchian_hi{bars_back}"], features[f"donchian_lo{bars_back}"] = arrays.lag(hi, 1), arrays.lag(lo, 1)
    return features


def _intraday_features(close: Floats, volume: Floats, atr_pct: Floats, params: FeatureParams) -> dict[str, Floats]:
    mid, upper, lower, width = arrays.bollinger(close, params.bb_bars, params.bb_sigmas)
    return {
        "rsi": arrays.rsi(close, params.rsi_bars),
        "bb_mid": mid,
        "bb_upper": upper,
        "bb_lower": lower,
        "bb_width": width,
        "atr_rank480": arrays.rolling_rank(atr_pct, params.activity_bars),
        "volume_rank480": arrays.rolling_rank(volume, params.activity_bars),
    }


def _trend_features(
    tf: Timeframe, high: Floats, low: Floats, close: Floats, atr: Floats, params: FeatureParams
) -> dict[str, Floats]:
    slow = arrays.ema(close, EMA_SLOW)
    return {
        "adx": arrays.adx(high, low, close, ADX_BARS),
        "ema200": slow,
        "slope": arrays.slope(slow, params.slope_bars, np.maximum(atr, arrays.ATR_FLOOR * close)),
        "atr_rank": arrays.rolling_rank(atr / close * 100.0, params.rank_bars),
        "hi72": arrays.donchian(high, low, high_bars(tf))[0],
        "hv": arrays.hv(close, HV_BARS, periods_a_year(tf)),
    }


def _stream_features(
    close_ts: Ints, tf: Timeframe, close: Floats, streams: Mapping[str, pd.DataFrame], params: FeatureParams
) -> dict[str, Floats]:
    features: dict[str, Floats] = {}
    if "funding" in streams:
        funding = streams["funding"]
        rates = funding["funding_rate"].to_numpy(dtype=np.float64)
        features.update(funding_history(close_ts, _rising(funding["ts"], "funding"), rates, params))
    if "spot" in streams and tf is Timeframe.H1:
        spot = streams["spot"]
        prices = spot["close"].to_numpy(dtype=np.float64)
        features.update(basis_history(close_ts, close, _rising(spot["ts"], "spot"), prices, params))
    return features
