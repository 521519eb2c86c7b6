"""Hand-made snapshots, signals, trades and configuration for tests of regimes and strategies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path

import numpy as np
import yaml

from configs.validators import Governance, StrategiesFile
from core.data.blocks import Closed, ClosedBlock, Floats
from core.strategies.base import MarketSnapshot
from core.types import ExitReason, Regime, Side, Signal, Timeframe, TradeRecord

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
NAMES = ("BTC/USDT:USDT", "ETH/USDT:USDT", "SOL/USDT:USDT")
TS = 1_700_006_400_000  # a 4h boundary


def strategies_file() -> StrategiesFile:
    return StrategiesFile.model_validate(yaml.safe_load((CONFIGS / "strategies.yaml").read_text()))


def governance() -> Governance:
    return Governance.model_validate(yaml.safe_load((CONFIGS / "governance.yaml").read_text()))


def columns(rows: Sequence[Mapping[str, float]]) -> dict[str, Floats]:
    """Feature arrays from one mapping a symbol (or a bar)."""
    return {key: np.array([row[key] for row in rows], dtype=np.float64) for key in rows[0]}


def snapshot(
    rows: Sequence[Mapping[str, float]],
    closed: Iterable[Timeframe],
    *,
    ts: int = TS,
    idx: Sequence[int] | None = None,
    flags: Sequence[int] | None = None,
    base_tf: Sequence[Timeframe] | None = None,
) -> MarketSnapshot:
    size = len(rows)
    features = columns(rows)
    every = np.arange(size, dtype=np.int64) if idx is None else np.array(idx, dtype=np.int64)
    return MarketSnapshot(
        ts=ts,
        symbols=tuple(NAMES[:size]),
        closed=dict.fromkeys(closed, every),
        features=features,
        ready={key: ~np.isnan(values) for key, values in features.items()},
        flags=np.array(flags or [0] * size, dtype=np.uint8),
        base_tf=tuple(base_tf or [Timeframe.M5] * size),
    )


def closed(ts: int, *blocks: tuple[Timeframe, Sequence[int]]) -> Closed:
    """An announcement; only timeframe and rows matter to who reads features."""
    made = []
    for tf, rows in blocks:
        idx = np.array(rows, dtype=np.int64)
        zeros = np.zeros(idx.size)
        flags = np.zeros(idx.size, dtype=np.uint8)
        made.append(ClosedBlock(tf, ts, idx, zeros, zeros, zeros, zeros, zeros, flags))
    return Closed(ts, tuple(made))


def signal(strategy: str, side: Side = Side.LONG, entry: float = 100.0, tf: Timeframe = Timeframe.H4) -> Signal:
    return Signal("id", strategy, NAMES[0], side, entry, tf, TS, TS + 300_000, "made by hand", 1.0)


def trade(
    r: float,
    *,
    stop: bool = True,
    strategy: str = "vol_exp_15m",
    closed_ts: int = TS,
    tf: Timeframe = Timeframe.M15,
    scratch: bool | None = None,
) -> TradeRecord:
    return TradeRecord(
        id="t",
        plan_id="p",
        signal_id="s",
        strategy=strategy,
        symbol=NAMES[0],
        side=Side.LONG,
        tf=tf,
        regime=Regime.RANGE_HIGHVOL,
        score=7.5,
        opened_ts=closed_ts - 600_000,
        closed_ts=closed_ts,
        qty=Decimal("0.01"),
        entry_price=100.0,
        exit_price=100.0 + r,
        initial_stop=Decimal(99),
        final_stop=Decimal(99),
        planned_risk_usd=1.0,
        planned_r_pct=0.8,
        gross=r,
        fees=0.0,
        funding=0.0,
        net=r,
        r_multiple=r,
        scratch=abs(r) <= 0.15 if scratch is None else scratch,
        stop_exit=stop,
        exit_reason=ExitReason.STOP if stop else ExitReason.TIME_STOP,
        adds=0,
        takes_filled=0,
        avg_slippage_bps=0.0,
        avg_spread_bps=0.0,
        mae_r=0.0,
        mfe_r=0.0,
        governance="g",
    )
