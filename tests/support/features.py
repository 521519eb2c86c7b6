"""Feeding the feature store bar by bar, and collecting what it showed after each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from configs.validators import StrategiesFile
from core.data.blocks import Bars, Floats
from core.data.features import FEATURE_SETS, FeatureStore
from core.types import Timeframe
from tests.support.market import blocks_from_bars

STRATEGIES_YAML = Path(__file__).resolve().parents[2] / "configs" / "strategies.yaml"


def shipped_params() -> StrategiesFile:
    """``configs/strategies.yaml`` as it stands."""
    return StrategiesFile.model_validate(yaml.safe_load(STRATEGIES_YAML.read_text(encoding="utf-8")))


def short_params() -> StrategiesFile:
    """The shipped parameters with windows cut so that every feature is warm within 230 bars."""
    raw = yaml.safe_load(STRATEGIES_YAML.read_text(encoding="utf-8"))
    raw["regimes"].update(rank_window=60, sigma_span=40)
    raw["vol_exp_15m"]["window"] = 50
    raw["funding_rev"].update(funding_window=30, basis_window_hours=48)
    return StrategiesFile.model_validate(raw)


def frame_of(bars: Bars, tf: Timeframe) -> pd.DataFrame:
    """Bars in the normalised form of requirement B2."""
    columns = dict(zip(Bars._fields, bars, strict=True))
    return pd.DataFrame({**columns, "tf": str(tf), "symbol": "BINANCE:BTCUSDT.P", "source": "test"})


def play(list_of_bars: Sequence[Bars], tf: Timeframe, params: StrategiesFile) -> list[dict[str, Floats]]:
    """For each symbol, the value of every feature after each of *its own* bars; ``ready`` is checked on the way."""
    store = FeatureStore([f"S{i}" for i in range(len(list_of_bars))], [tf], params)
    names = FEATURE_SETS[tf]
    seen: list[list[list[float]]] = [[] for _ in list_of_bars]
    for block in blocks_from_bars(list_of_bars, tf):
        store.on_closed(block)
        for symbol in block.idx.tolist():
            seen[symbol].append([float(store.view[f"{name}@{tf}"][symbol]) for name in names])
            values = dict(zip(names, seen[symbol][-1], strict=True))
            for key, ready in store.ready.items():
                name = key.removesuffix(f"@{tf}")
                assert name not in values or bool(ready[symbol]) is not math.isnan(values[name])
    return [dict(zip(names, np.array(rows).reshape(-1, len(names)).T, strict=True)) for rows in seen]


def assert_same(live: Mapping[str, Floats], whole: Mapping[str, pd.Series], close: Floats) -> None:
    """Equal to 1e-8 relative (X29); what is measured in prices is equal to 1e-8 of the price at worst."""
    for name, values in live.items():
        expected = whole[name].to_numpy()
        np.testing.assert_array_equal(np.isnan(values), np.isnan(expected), err_msg=f"{name}: not known at the same bars")
        scale = 1e-12 * float(np.max(close, initial=1.0))
        np.testing.assert_allclose(values, expected, rtol=1e-8, atol=max(scale, 1e-10), err_msg=name)
