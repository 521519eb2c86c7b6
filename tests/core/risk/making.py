"""Hand-made signals, contexts, positions and trades for tests of risk and admission."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from configs.validators import Governance, SymbolsFile
from core.exec.instrument import Instrument
from core.exec.position import Position
from core.risk.context import RiskContext
from core.strategies.base import ExitProfile
from core.types import (
    ExitReason,
    GovernorView,
    Plan,
    PlanKind,
    Regime,
    ScoredSignal,
    Side,
    Signal,
    Take,
    Timeframe,
    TradeRecord,
    TradingState,
    Trail,
    TrailStart,
)

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
TS = 1_719_835_200_000  # 2024-07-01 12:00 UTC
DIGEST = "d" * 64
HOUR = 3_600_000

_GOVERNANCE = Governance.model_validate(yaml.safe_load((CONFIGS / "governance.yaml").read_text()))
_SYMBOLS = SymbolsFile.model_validate(yaml.safe_load((CONFIGS / "symbols.yaml").read_text())).by_name()

BREAKOUT = ExitProfile(
    Timeframe.H4, 2.0, (1.0, 2.0), (0.25, 0.25), Trail(TrailStart.FIRST_TAKE, 2.0, Timeframe.H4), 120 * HOUR, False
)


def governance(**changes: Any) -> Governance:
    return Governance.model_validate({**_GOVERNANCE.model_dump(), **changes})


def instrument(symbol: str = "SOL/USDT:USDT", **changes: Any) -> Instrument:
    return replace(Instrument.from_config(_SYMBOLS[symbol]), **changes)


def spot(**changes: Any) -> Instrument:
    return replace(instrument(), symbol="SOL/USDT", is_perp=False, **changes)


def scored(symbol: str = "SOL/USDT:USDT", side: Side = Side.LONG, **changes: Any) -> ScoredSignal:
    values: dict[str, Any] = {
        "id": "S-1",
        "strategy": "breakout_4h",
        "symbol": symbol,
        "side": side,
        "entry": 100.0,
        "tf": Timeframe.H4,
        "ts": TS,
        "validity_ts": TS + HOUR,
        "reason": "test",
        "atr": 2.0,
    }
    return ScoredSignal(Signal(**{**values, **changes}), 8.0, 7.0, Regime.TREND_UP, ())


def view(equity: float = 300.0, **changes: Any) -> GovernorView:
    """An active governor on a flat day: room is the day's 1.8 %."""
    values: dict[str, Any] = {
        "ts": TS,
        "state": TradingState.ACTIVE,
        "equity": equity,
        "day_start_equity": equity,
        "day_pnl_pct": 0.0,
        "day_realised_pct": 0.0,
        "peak_72h": equity,
        "dd_72h_pct": 0.0,
        "day_lock": False,
        "kill_switch": False,
        "governance_changed": False,
        "bonus": False,
        "cut": False,
        "loss_streak": 0,
        "r_pct": 0.8,
        "room_usd": equity * 0.018,
    }
    return GovernorView(**{**values, **changes})


def context(**changes: Any) -> RiskContext:
    values: dict[str, Any] = {
        "ts": TS,
        "instrument": instrument(),
        "profile": BREAKOUT,
        "spread_bps": 2.0,
        "depth_usd": 150_000.0,
        "governor": view(),
        "atr_rank": 0.5,
        "open_risk_usd": 0.0,
        "open_drop_usd": 0.0,
        "open_notional_usd": 0.0,
        "net_notional_usd": 0.0,
        "hv_annual_pct": None,
        "governance": DIGEST,
    }
    return RiskContext(**{**values, **changes})


def plan(side: Side = Side.LONG, symbol: str = "SOL/USDT:USDT", **changes: Any) -> Plan:
    """1 SOL from 100 with 4 of risk distance: about 4.2 USD of risk."""
    sign = side.sign
    values: dict[str, Any] = {
        "id": "P-1",
        "kind": PlanKind.ENTRY,
        "signal_id": "S-1",
        "strategy": "breakout_4h",
        "symbol": symbol,
        "side": side,
        "tf": Timeframe.H4,
        "ts": TS,
        "qty": Decimal("1.00"),
        "entry": Decimal("100.00"),
        "stop": Decimal(100 - 4 * sign),
        "tps": (
            Take(1.0, Decimal(100 + 4 * sign), Decimal("0.25")),
            Take(2.0, Decimal(100 + 8 * sign), Decimal("0.25")),
        ),
        "trail": BREAKOUT.trail,
        "time_stop_ts": TS + 120 * HOUR,
        "risk_usd": 4.2,
        "risk_r_pct": 1.4,
        "costs_usd": 0.2,
        "equity": 300.0,
        "score": 8.0,
        "regime": Regime.TREND_UP,
        "governance": DIGEST,
    }
    return Plan(**{**values, **changes})


def position(side: Side = Side.LONG, of: Plan | None = None, **changes: Any) -> Position:
    """The plan of :func:`plan` filled at 100, nothing happened yet."""
    values: dict[str, Any] = {
        "plan": of or plan(side),
        "qty": Decimal("1.00"),
        "entry_qty": Decimal("1.00"),
        "exit_qty": Decimal(0),
        "exit_value": 0.0,
        "avg_entry": 100.0,
        "first_entry": 100.0,
        "r_price": 4.0,
        "stop": Decimal(100 - 4 * side.sign),
        "opened_ts": TS,
        "takes_filled": 0,
        "first_take_ts": None,
        "best_close": 100.0,
        "realised": 0.0,
        "fees": 0.05,
        "funding": 0.0,
        "adds": 0,
        "slippage_usd": 0.0,
        "spread_bps_sum": 2.0,
        "fills": 1,
        "mae": 100.0,
        "mfe": 100.0,
    }
    return Position(**{**values, **changes})


def winner(side: Side = Side.LONG, of: Plan | None = None, **changes: Any) -> Position:
    """The same after its first take at 1R, the stop at break-even with costs."""
    even = Decimal("100.13") if side is Side.LONG else Decimal("99.87")
    values: dict[str, Any] = {
        "qty": Decimal("0.75"),
        "exit_qty": Decimal("0.25"),
        "stop": even,
        "takes_filled": 1,
        "first_take_ts": TS + HOUR,
        "reached_1r_ts": TS + HOUR,
        "best_close": 100.0 + 4.0 * side.sign,
    }
    return position(side, of, **{**values, **changes})


def trade(net: float, r: float, closed_ts: int = TS, **changes: Any) -> TradeRecord:
    values: dict[str, Any] = {
        "id": "T-1",
        "plan_id": "P-1",
        "signal_id": "S-1",
        "strategy": "breakout_4h",
        "symbol": "SOL/USDT:USDT",
        "side": Side.LONG,
        "tf": Timeframe.H4,
        "regime": Regime.TREND_UP,
        "score": 8.0,
        "opened_ts": closed_ts - HOUR,
        "closed_ts": closed_ts,
        "qty": Decimal(1),
        "entry_price": 100.0,
        "exit_price": 100.0,
        "initial_stop": Decimal(96),
        "final_stop": Decimal(96),
        "planned_risk_usd": 2.4,
        "planned_r_pct": 0.8,
        "gross": net,
        "fees": 0.0,
        "funding": 0.0,
        "net": net,
        "r_multiple": r,
        "scratch": abs(r) <= 0.15,
        "stop_exit": net < 0,
        "exit_reason": ExitReason.STOP,
        "adds": 0,
        "takes_filled": 0,
        "avg_slippage_bps": 1.0,
        "avg_spread_bps": 2.0,
        "mae_r": 0.0,
        "mfe_r": 0.0,
        "governance": DIGEST,
    }
    return TradeRecord(**{**values, **changes})
