"""What the risk engine is told of the world for one decision, and the worst-case arithmetic it shares with admission."""

from __future__ import annotations

import math
from typing import Protocol, TypeGuard

from msgspec import Struct

from configs.validators import Governance
from core.codes import RefusalCode
from core.exec.instrument import Instrument
from core.exec.position import Position
from core.types import GovernorView, TradingState, Trail


class ExitRules(Protocol):
    """The part of a strategy's exit profile that sizing needs (``core.strategies.base.ExitProfile`` has it)."""

    @property
    def stop_atr(self) -> float:
        """Distance of the initial stop in ATRs."""
        ...

    @property
    def takes_r(self) -> tuple[float, ...]:
        """Takes in multiples of r, rising."""
        ...

    @property
    def take_fractions(self) -> tuple[float, ...]:
        """Share of the position that each take closes."""
        ...

    @property
    def trail(self) -> Trail:
        """How the rest is trailed."""
        ...

    @property
    def time_stop_ms(self) -> int:
        """Longest life of the position."""
        ...


class RiskContext(Struct, frozen=True, gc=False):
    """Everything besides the signal and equity that a plan depends on. Money in USD.

    ``spread_bps``/``depth_usd`` are None without a fresh book. ``atr_rank`` is the ATR's rank on the signal's timeframe
    (None: unknown, which counts as high, E3). Two different open risks, both with exit costs and pending plans:

    - ``open_risk_usd``: measured from the entries (X9, :meth:`Position.risk_at_stop`), for the portfolio cap;
    - ``open_drop_usd``: measured from the present marks (X10, :func:`loss_to_stop`), what marked-to-market equity would
      lose if all were stopped out. An open profit that a stop would give back is in this one only.

    ``net_notional_usd`` is signed, ``governance`` the digest under which the other numbers were made.
    """

    ts: int
    instrument: Instrument
    profile: ExitRules
    spread_bps: float | None
    depth_usd: float | None
    governor: GovernorView
    atr_rank: float | None
    open_risk_usd: float
    open_drop_usd: float
    open_notional_usd: float
    net_notional_usd: float
    hv_annual_pct: float | None
    governance: str


class Room(Struct, frozen=True, gc=False):
    """Money that a limit still allows (it may be negative), and the code of that limit."""

    usd: float
    code: RefusalCode


def known(value: float | None) -> TypeGuard[float]:
    """Whether there is a number at all (not None, NaN or infinite)."""
    return value is not None and math.isfinite(value)


def lock_code(view: GovernorView) -> RefusalCode:
    """Why an inactive governor lets nothing be opened."""
    if view.state is TradingState.HALTED:
        return RefusalCode.KILL_SWITCH
    if view.day_lock:
        return RefusalCode.DAY_LOCK
    return RefusalCode.GOVERNANCE_CHANGED if view.governance_changed else RefusalCode.NOT_ACTIVE


def loss_to_stop(position: Position, mark: float, exit_cost_rate: float) -> float:
    """Money (USD, >= 0) that equity marked at ``mark`` loses when ``position`` leaves at its stop, exit costs included (X10).

    NaN when the mark is unknown: an unknown price is not a price at which nothing is lost.
    """
    stop = float(position.stop)
    way = position.side.sign * float(position.qty) * (mark - stop)
    if math.isnan(way):
        return math.nan
    return max(0.0, way) + float(position.qty) * stop * exit_cost_rate


def worst_case_room(governance: Governance, governor: GovernorView, open_drop_usd: float) -> Room:
    """Money that a new plan may lose before the day's or the 72 h limit would be passed with everything stopped (X10).

    The limit whose floor of equity lies higher binds and gives the code; the day wins a tie.
    """
    day_floor = (1.0 - governance.max_daily_loss_pct / 100.0) * governor.day_start_equity
    peak_floor = (1.0 - governance.kill_switch_drawdown_72h / 100.0) * governor.peak_72h
    code = RefusalCode.DAY_WORST_CASE if day_floor >= peak_floor else RefusalCode.DRAWDOWN_WORST_CASE
    return Room(governor.room_usd - open_drop_usd, code)


def exposure_room(governance: Governance, equity: float, sign: int, gross_usd: float, net_usd: float) -> Room:
    """Notional that leverage, gross and net limits still allow in direction ``sign`` (E6, F4); ``net_usd`` is signed."""
    rooms = (
        Room(governance.leverage_cap * equity - gross_usd, RefusalCode.LEVERAGE_CAP),
        Room(governance.max_gross_exposure * equity - gross_usd, RefusalCode.EXPOSURE_CAP),
        Room(governance.max_net_exposure * equity - sign * net_usd, RefusalCode.EXPOSURE_CAP),
    )
    return min(rooms, key=lambda room: room.usd)
