"""Features of one 5m bar for 50 symbols: our update against TA-Lib over the last 2000 bars, same values."""

from __future__ import annotations

import math

import numpy as np
import talib

from benchmarks.market import SEED, symbols
from benchmarks.measure import Measured, Spread, now_ns, only_new_garbage, percentile
from configs.loader import load
from core.data.blocks import ClosedBlock, Floats
from core.data.feature_sets import ATR_BARS, FEATURE_SETS, FeatureParams, volume_bars
from core.data.features import FeatureStore
from core.types import Timeframe

WINDOW_BARS = 2000
_TF = Timeframe.M5
_AGREEMENT = 1e-4
_BARS = ("open", "high", "low", "close", "volume")
_KEYS = tuple(f"{name}@{_TF}" for name in FEATURE_SETS[_TF] if name not in _BARS)


def measure(*, quick: bool) -> list[Measured]:
    """Row ``features``."""
    count, rounds, updates, recomputes = (5, 2, 20, 4) if quick else (50, 7, 300, 20)
    bars = _made_bars(count, WINDOW_BARS + 1 + rounds * updates)
    store = FeatureStore(symbols(count), (_TF,), load().strategies)
    blocks = _blocks(bars)
    for block in blocks[:WINDOW_BARS]:
        store.on_closed(block)
    _check_agreement(store, bars[:, :, :WINDOW_BARS])
    ours: list[float] = []
    theirs: list[float] = []
    at = WINDOW_BARS
    for _ in range(rounds):
        with only_new_garbage():
            ours.append(percentile([_update_ns(store, block) for block in blocks[at : at + updates]], 0.5))
            theirs.append(percentile([_recompute_ns(bars[:, :, at - WINDOW_BARS + k : at + k]) for k in range(recomputes)], 0.5))
        at += updates
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    mine, other = Spread.of(ours).median / 1e3, Spread.of(theirs).median / 1e3
    note = f"{mine:.0f} µs against {other:.0f} µs, {len(_KEYS)} values of {count} symbols"
    return [Measured("features", Spread.of(ratios), note)]


def _update_ns(store: FeatureStore, block: ClosedBlock) -> float:
    """Also of those features that are calculated only when somebody looks: here everyone looks at all of them."""
    start = now_ns()
    store.on_closed(block)
    for key in _KEYS:
        store.view[key]
    return now_ns() - start


def _recompute_ns(window: Floats) -> float:
    start = now_ns()
    for _, high, low, close, volume in window.swapaxes(0, 1):
        recompute(high, low, close, volume)
    return now_ns() - start


def recompute(high: Floats, low: Floats, close: Floats, volume: Floats) -> dict[str, float]:
    """The 5m set at the last bar, from the bars given alone."""
    p = FeatureParams()
    atr = talib.ATR(high, low, close, ATR_BARS)
    upper, middle, lower = talib.BBANDS(close, p.bb_bars, p.bb_sigmas, p.bb_sigmas)
    atr_pct = atr[-p.activity_bars :] / close[-p.activity_bars :]
    week = volume_bars(_TF)
    span = high[-1] - low[-1]
    return {
        "atr": atr[-1],
        "rsi": talib.RSI(close, p.rsi_bars)[-1],
        "bb_mid": middle[-1],
        "bb_upper": upper[-1],
        "bb_lower": lower[-1],
        "bb_width": (upper[-1] - lower[-1]) / middle[-1],
        "volume_z": (volume[-1] - talib.SMA(volume, week)[-1]) / talib.STDDEV(volume, week)[-1],
        "close_location": (close[-1] - low[-1]) / span if span else 0.5,
        "atr_rank480": np.count_nonzero(atr_pct <= atr_pct[-1]) / atr_pct.size,
        "shock": _shock(close, p.shock_bars, p.sigma_span),
        "ret6_pct": talib.ROC(close, p.shock_bars)[-1],
    }


def _shock(close: Floats, bars: int, span: int) -> float:
    logs = talib.LN(close)
    returns = logs[1:] - logs[:-1]
    deviation = returns[span:] - talib.EMA(returns, span)[span - 1 : -1]
    variance = talib.EMA(deviation * deviation, span) * (1.0 - 2.0 / (span + 1.0))
    return float((logs[-1] - logs[-1 - bars]) / math.sqrt(variance[-1 - bars] * bars))


def _check_agreement(store: FeatureStore, window: Floats) -> None:
    """Two clocks on different work would say nothing."""
    for index, (_, high, low, close, volume) in enumerate(window.swapaxes(0, 1)):
        for name, expected in recompute(high, low, close, volume).items():
            got = float(store.view[f"{name}@{_TF}"][index])
            assert math.isclose(got, expected, rel_tol=_AGREEMENT, abs_tol=_AGREEMENT), f"{name}: {got}, TA-Lib has {expected}"


def _made_bars(count: int, bars: int) -> Floats:
    """Random walks, shape (5, symbols, bars)."""
    rng = np.random.default_rng(SEED)
    close = 10.0 * np.exp(np.cumsum(rng.normal(0.0, 0.002, (count, bars)), axis=1))
    open_ = np.concatenate([close[:, :1], close[:, :-1]], axis=1)
    reach = 0.001 * close * rng.random((2, count, bars))
    high, low = np.maximum(open_, close) + reach[0], np.minimum(open_, close) - reach[1]
    return np.stack([open_, high, low, close, rng.lognormal(8.0, 0.5, (count, bars))])


def _blocks(bars: Floats) -> list[ClosedBlock]:
    columns = np.ascontiguousarray(bars.transpose(2, 0, 1))
    everyone = np.arange(bars.shape[1], dtype=np.int64)
    clean = np.zeros(bars.shape[1], dtype=np.uint8)
    return [
        ClosedBlock(_TF, (k + 1) * _TF.ms, everyone, open_, high, low, close, volume, clean)
        for k, (open_, high, low, close, volume) in enumerate(columns)
    ]
