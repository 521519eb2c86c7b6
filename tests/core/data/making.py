"""Bars, instruments and configuration for tests of market data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import yaml

from configs.validators import Governance, StrategiesFile, SymbolsFile
from core.data.blocks import BarBlock, Bars, Closed, ClosedBlock
from core.data.features import FeatureStore
from core.data.sources.base import SourceInfo
from core.exec.instrument import Instrument
from core.types import Timeframe

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
BTC, ETH, SOL = "BTC/USDT:USDT", "ETH/USDT:USDT", "SOL/USDT:USDT"
MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
T0 = 1_704_067_200_000  # 2024-01-01 00:00 UTC


def at(text: str) -> int:
    """``2024-01-01 08:00`` (UTC) in ms."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


def governance() -> Governance:
    return Governance.model_validate(yaml.safe_load((CONFIGS / "governance.yaml").read_text()))


def strategies() -> StrategiesFile:
    return StrategiesFile.model_validate(yaml.safe_load((CONFIGS / "strategies.yaml").read_text()))


def instruments(*symbols: str) -> tuple[Instrument, ...]:
    known = SymbolsFile.model_validate(yaml.safe_load((CONFIGS / "symbols.yaml").read_text())).by_name()
    return tuple(Instrument.from_config(known[symbol]) for symbol in symbols)


def info(base_tf: dict[str, Timeframe], *, has_books: bool = False) -> SourceInfo:
    flags = dict.fromkeys(base_tf, True)
    return SourceInfo("test", tuple(base_tf), base_tf, T0, None, None, has_books, flags, flags)


Candle = tuple[int, int, float, float, float, float, float]
"""(position of the symbol, open time, open, high, low, close, volume)"""


def block(tf: Timeframe, *rows: Candle) -> BarBlock:
    columns = list(zip(*rows, strict=True)) if rows else [()] * 7
    idx, open_ts = (np.array(column, dtype=np.int64) for column in columns[:2])
    return BarBlock(tf, idx, open_ts, *(np.array(column, dtype=np.float64) for column in columns[2:]))


def candle(open_ts: int, who: int = 0, price: float = 100.0, volume: float = 5.0) -> Candle:
    """A candle whose range and close are told by its price."""
    return who, open_ts, price, price + 2.0, price - 1.0, price + 0.5, volume


def rows_of(closed: Closed, tf: Timeframe) -> ClosedBlock | None:
    return next((b for b in closed.blocks if b.tf is tf), None)


def random_bars(count: int, step: int, start: int = T0, seed: int = 7) -> Bars:
    """Possible bars on the grid of ``step``."""
    rng = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.004, count)))
    open_ = np.concatenate([[100.0], close[:-1]])
    high = np.maximum(open_, close) * (1 + rng.uniform(0, 0.003, count))
    low = np.minimum(open_, close) * (1 - rng.uniform(0, 0.003, count))
    return Bars(start + step * np.arange(count, dtype=np.int64), open_, high, low, close, rng.uniform(1, 50, count))


def candles(bars: Bars, who: int = 0) -> list[Candle]:
    columns = (column.tolist() for column in bars)
    return [(who, ts, *values) for ts, *values in zip(*columns, strict=True)]


def write(folder: Path, name: str, bars: Bars, *, volume: bool = True) -> Path:
    """``bars`` as ``folder/name.parquet`` in the form of a replay folder."""
    frame = pd.DataFrame(dict(zip(("ts", "open", "high", "low", "close", "volume"), bars, strict=True)))
    path = folder / f"{name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    (frame if volume else frame.drop(columns="volume")).to_parquet(path)
    return path


def write_funding(folder: Path, name: str, ts: Sequence[int], rates: Sequence[float]) -> None:
    (folder / "funding").mkdir(parents=True, exist_ok=True)
    pd.DataFrame({"ts": np.array(ts, dtype=np.int64), "funding_rate": rates}).to_parquet(folder / "funding" / f"{name}.parquet")


@dataclass
class Heard:
    """Stands where the feature store stands and writes down what it is told, in order."""

    log: list[tuple[str, int, object]] = field(default_factory=list)

    def on_closed(self, told: ClosedBlock) -> None:
        self.log.append((told.tf.value, told.ts, tuple(told.idx.tolist())))

    def on_funding(self, index: int, ts: int, rate: float) -> None:
        self.log.append(("funding", ts, (index, rate)))

    def on_spot(self, index: int, ts: int, price: float) -> None:
        self.log.append(("spot", ts, (index, price)))

    def store(self) -> FeatureStore:
        return cast("FeatureStore", self)
