"""Regimes and rules over the real feature store: bar by bar as over the whole history (B9, X29)."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from core.data.blocks import Closed, ClosedBlock
from core.data.features import FeatureStore, build_features
from core.regimes import RegimeTracker, label_history, panics
from core.regimes import Thresholds as RegimeThresholds
from core.strategies import build_strategies, range_rev_5m, vol_exp_15m
from core.strategies.base import MarketSnapshot
from core.strategies.score import HIGHER_TIMEFRAME
from core.types import Side, Timeframe
from tests.core.strategies.making import NAMES, TS, governance, strategies_file

FILE = strategies_file()
GOVERNANCE = governance()


def walk(bars: int, seed: int, tf: Timeframe) -> pd.DataFrame:
    """A made-up market with calm and wild stretches and two falls, so that every regime occurs."""
    rng = np.random.default_rng(seed)
    size = np.where(np.arange(bars) // 120 % 3 == 0, 0.012, 0.004)
    moves = rng.normal(0.0, 1.0, bars) * size + 0.0015 * np.sin(np.arange(bars) / 90.0)
    moves[[bars * 9 // 10, bars * 9 // 10 + 1]] = -0.08
    close = 100.0 * np.exp(np.cumsum(moves))
    opened = np.concatenate(([100.0], close[:-1]))
    spread = np.abs(rng.normal(0.0, 0.004, bars)) * close
    return pd.DataFrame(
        {
            "ts": TS + np.arange(bars) * tf.ms,
            "open": opened,
            "high": np.maximum(opened, close) + spread,
            "low": np.minimum(opened, close) - spread,
            "close": close,
            "volume": rng.lognormal(3.0, 0.5, bars) * (1.0 + 200.0 * np.abs(moves)),
            "tf": tf.value,
        }
    )


def block(frame: pd.DataFrame, t: int, tf: Timeframe) -> ClosedBlock:
    values = [np.array([frame[name].iloc[t]]) for name in ("open", "high", "low", "close", "volume")]
    return ClosedBlock(tf, int(frame["ts"].iloc[t]) + tf.ms, np.array([0]), *values, np.zeros(1, dtype=np.uint8))


def keyed(frame: pd.DataFrame, tf: Timeframe) -> dict[str, np.ndarray]:
    return {f"{name}@{tf}": series.to_numpy() for name, series in build_features(frame, params=FILE).items()}


@pytest.mark.parametrize("tf", [Timeframe.H1, Timeframe.H4])
def test_labels_are_the_same_live_and_over_the_whole_history(tf):
    """X29: labels equal exactly."""
    frame = walk(1600, 3, tf)
    store = FeatureStore(NAMES[:1], list(Timeframe), FILE)
    tracker = RegimeTracker(NAMES[:1], store, FILE.regimes, 6, [tf])
    live = []
    for t in range(len(frame)):
        made = block(frame, t, tf)
        store.on_closed(made)
        tracker.update(Closed(made.ts, (made,)))
        live.append(int((tracker.h1 if tf is Timeframe.H1 else tracker.h4)[0]))
    features = keyed(frame, tf)
    fast = None
    if tf is Timeframe.H4:  # the fast check then reads shock and return of 4h, and no 1h bar: shocks alone
        fast = panics(
            features["shock@4h"], features["ret6_pct@4h"], features["close@4h"], np.full(1600, np.nan), np.full(1600, np.nan),
            RegimeThresholds(FILE.regimes),
        )  # fmt: skip
    assert live == label_history(features, FILE.regimes, tf, fast).tolist()
    assert len(set(live)) >= 5


@pytest.mark.parametrize(("name", "tf"), [("vol_exp_15m", Timeframe.M15), ("range_rev_5m", Timeframe.M5)])
def test_signals_are_the_same_live_and_over_the_whole_history(name, tf):
    """X29: signals equal exactly."""
    frame = walk(1800, 5, tf)
    store = FeatureStore(NAMES[:1], list(Timeframe), FILE)
    strategy = build_strategies(FILE, NAMES[:1], [tf], GOVERNANCE)[name]
    live = []
    for t in range(len(frame)):
        made = block(frame, t, tf)
        store.on_closed(made)
        snapshot = MarketSnapshot(made.ts, NAMES[:1], {tf: made.idx}, store.view, store.ready, made.flags, (tf,))
        live.extend((t, signal.side) for signal in strategy.generate(snapshot))
    features = keyed(frame, tf)
    masks = (
        vol_exp_15m.rule(features, FILE.vol_exp_15m) if tf is Timeframe.M15 else range_rev_5m.rule(features, FILE.range_rev_5m)
    )
    whole = [(int(t), Side.LONG if masks.long[t] else Side.SHORT) for t in np.flatnonzero(masks.long | masks.short)]
    assert live == whole
    assert len(live) > 3


def test_the_feature_store_has_everything_that_strategies_score_and_regimes_read():
    store = FeatureStore(NAMES, list(Timeframe), FILE)
    bases = [Timeframe.M5, Timeframe.M15, Timeframe.M1]
    strategies = build_strategies(FILE, NAMES, bases, GOVERNANCE)
    assert set(strategies) == set(HIGHER_TIMEFRAME)
    wanted = [key for strategy in strategies.values() for key in strategy.required]
    wanted += [f"{key}@{tf}" for tf in ("1h", "4h") for key in ("adx", "slope", "close", "ema200", "atr_rank", "hi72")]
    wanted += [f"{key}@{tf}" for tf in ("1m", "5m", "15m", "1h", "4h") for key in ("shock", "ret6_pct")]
    assert [key for key in wanted if key not in store.view or key not in store.ready] == []
    scored = [f"{key}@{tf}" for tf in HIGHER_TIMEFRAME.values() for key in ("ema50", "ema50_prev")]
    scored += [f"{key}@{tf}" for s in strategies.values() for tf in s.tfs for key in ("volume_z", "close_location")]
    assert [key for key in scored if key not in store.view] == []
