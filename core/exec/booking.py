"""How fills and bars change an open position, and the trade that it becomes: pure functions, money in float USD."""

from __future__ import annotations

from decimal import Decimal

from msgspec.structs import replace

from core.exec.position import Position
from core.types import ExitReason, Fill, OrderPurpose, Plan, ScorePart, Side, TradeRecord

STOP_REASONS = frozenset(
    {ExitReason.STOP, ExitReason.BREAK_EVEN, ExitReason.TRAIL, ExitReason.JOINT_STOP, ExitReason.LIQUIDATION}
)
"""Reasons for which an exit counts as a stop (G6)."""


def _slippage(fill: Fill) -> float:
    return fill.side.sign * (float(fill.price) - fill.expected_price) * float(fill.qty)


def _r_price(plan: Plan, first_entry: float) -> float:
    """Price distance of 1R (X5); a fill at or beyond the stop has none of its own and takes the planned one."""
    distance = plan.side.sign * (first_entry - float(plan.stop))
    return distance if distance > 0.0 else abs(float(plan.entry - plan.stop))


def opened(plan: Plan, fill: Fill) -> Position:
    """The position that the first fill of ``plan`` opens."""
    price = float(fill.price)
    return Position(
        plan=plan,
        qty=fill.qty,
        entry_qty=fill.qty,
        exit_qty=Decimal(0),
        exit_value=0.0,
        avg_entry=price,
        first_entry=price,
        r_price=_r_price(plan, price),
        stop=plan.stop,
        opened_ts=fill.ts,
        takes_filled=0,
        first_take_ts=None,
        best_close=price,
        realised=0.0,
        fees=fill.fee,
        funding=0.0,
        adds=0,
        slippage_usd=_slippage(fill),
        spread_bps_sum=fill.spread_bps,
        fills=1,
        mae=price,
        mfe=price,
    )


def enlarged(position: Position, plan: Plan, fill: Fill, *, begins: bool) -> Position:
    """More of the entry, or of the add of ``plan``: the average follows what is open; 1R follows the entry's own fills only.

    ``begins``: this is the plan's first fill.
    """
    price, qty = float(fill.price), float(fill.qty)
    first_entry, adds = position.first_entry, position.adds
    if plan.id != position.plan.id:
        adds += begins
    elif not adds:
        before = float(position.entry_qty)
        first_entry = (first_entry * before + price * qty) / (before + qty)
    held = float(position.qty)
    return replace(
        position,
        qty=position.qty + fill.qty,
        entry_qty=position.entry_qty + fill.qty,
        avg_entry=(position.avg_entry * held + price * qty) / float(position.qty + fill.qty),
        first_entry=first_entry,
        r_price=_r_price(position.plan, first_entry),
        adds=adds,
        fees=position.fees + fill.fee,
        slippage_usd=position.slippage_usd + _slippage(fill),
        spread_bps_sum=position.spread_bps_sum + fill.spread_bps,
        fills=position.fills + 1,
    )


def reduced(position: Position, fill: Fill) -> Position:
    """What is left after a closing fill; flat where ``qty`` is 0."""
    price, qty = float(fill.price), float(fill.qty)
    return replace(
        position,
        qty=position.qty - fill.qty,
        exit_qty=position.exit_qty + fill.qty,
        exit_value=position.exit_value + qty * price,
        realised=position.realised + position.side.sign * qty * (price - position.avg_entry),
        fees=position.fees + fill.fee,
        slippage_usd=position.slippage_usd + _slippage(fill),
        spread_bps_sum=position.spread_bps_sum + fill.spread_bps,
        fills=position.fills + 1,
        mae=_worse(position, position.mae, price),
        mfe=_better(position, position.mfe, price),
    )


def _worse(position: Position, first: float, second: float) -> float:
    return min(first, second) if position.side.sign > 0 else max(first, second)


def _better(position: Position, first: float, second: float) -> float:
    return max(first, second) if position.side.sign > 0 else min(first, second)


def seen(position: Position, ts: int, close: float, high: float, low: float) -> Position:
    """After a base bar that closed at ``ts``: best close, extremes, and the close that stands for a merged 1R take.

    The very same object where nothing changed.
    """
    if position.side is Side.LONG:
        best, mae, mfe = max(position.best_close, close), min(position.mae, low), max(position.mfe, high)
    else:
        best, mae, mfe = min(position.best_close, close), max(position.mae, high), min(position.mfe, low)
    if best != position.best_close or mae != position.mae or mfe != position.mfe:
        position = replace(position, best_close=best, mae=mae, mfe=mfe)
    if position.reached_1r_ts is None and position.close_reaches_1r(close):
        position = replace(position, reached_1r_ts=ts)
    return position


def closed_trade(position: Position, score_parts: tuple[ScorePart, ...], last: Fill, scratch_r: float) -> TradeRecord:
    """The trade that ``last`` closed. R counts against the planned risk of the entry plan, whatever was filled or added (X5).

    A result within +/- ``scratch_r`` R is a scratch (X6).
    """
    plan, sign = position.plan, position.side.sign
    net = position.realised - position.fees + position.funding
    r_multiple = net / plan.risk_usd
    entry_value = position.exit_value - sign * position.realised
    # an exit that tells no reason counts as a stop: the cautious reading for cooldowns
    reason = last.reason or (ExitReason.TAKE if last.purpose is OrderPurpose.TAKE else ExitReason.STOP)
    return TradeRecord(
        id=f"trade-{plan.id}",
        plan_id=plan.id,
        signal_id=plan.signal_id,
        strategy=plan.strategy,
        symbol=plan.symbol,
        side=plan.side,
        tf=plan.tf,
        regime=plan.regime,
        score=plan.score,
        opened_ts=position.opened_ts,
        closed_ts=last.ts,
        qty=position.entry_qty,
        entry_price=entry_value / float(position.entry_qty),
        exit_price=position.exit_value / float(position.exit_qty),
        initial_stop=plan.stop,
        final_stop=position.stop,
        planned_risk_usd=plan.risk_usd,
        planned_r_pct=plan.risk_r_pct,
        gross=position.realised,
        fees=position.fees,
        funding=position.funding,
        net=net,
        r_multiple=r_multiple,
        scratch=abs(r_multiple) <= scratch_r,
        stop_exit=reason in STOP_REASONS,
        exit_reason=reason,
        adds=position.adds,
        takes_filled=position.takes_filled,
        avg_slippage_bps=position.slippage_usd / (entry_value + position.exit_value) * 1e4,
        avg_spread_bps=position.spread_bps_sum / position.fills,
        mae_r=sign * (position.mae - position.first_entry) / position.r_price,
        mfe_r=sign * (position.mfe - position.first_entry) / position.r_price,
        governance=plan.governance,
        score_parts=score_parts,
        meta=plan.meta,
    )
