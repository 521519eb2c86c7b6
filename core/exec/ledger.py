"""The books of the house: positions, closed trades and equity, built from fills and funding alone.

The ledger never asks the broker for money; that both agree is a property test. Opening fills need their plan, announced
by :meth:`Ledger.expect` before the order is sent. Money is float USD, added in the order of events.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import msgspec

from core.data.blocks import Floats, Ints
from core.errors import ContractError
from core.exec.instrument import Instrument
from core.exec.position import Position
from core.risk.context import loss_to_stop
from core.types import (
    BrokerEvent,
    ExitReason,
    Fill,
    FundingPayment,
    OrderPurpose,
    OrderSide,
    OrderStatus,
    OrderUpdate,
    Plan,
    ScorePart,
    TradeRecord,
)

SEEN_KEPT = 256
"""How many event ids are remembered against duplicates; repeats come within moments, or after a restart."""

STOP_REASONS = frozenset(
    {ExitReason.STOP, ExitReason.BREAK_EVEN, ExitReason.TRAIL, ExitReason.JOINT_STOP, ExitReason.LIQUIDATION}
)
"""Reasons for which an exit counts as a stop (G6)."""

_OPENING = (OrderPurpose.ENTRY, OrderPurpose.ADD)


@dataclass(slots=True)
class _Expected:
    """A plan whose orders are (or were) at the broker, and how much of it was filled."""

    plan: Plan
    score_parts: tuple[ScorePart, ...]
    filled: Decimal = Decimal(0)


@dataclass(slots=True)
class _State:
    """All that a snapshot keeps, in a form that encodes by itself."""

    realised: float = 0.0
    fees: float = 0.0
    funding: float = 0.0
    duplicates: int = 0
    expected: dict[str, _Expected] = field(default_factory=dict)
    positions: dict[str, Position] = field(default_factory=dict)
    open_takes: dict[str, list[str]] = field(default_factory=dict)
    trades: list[TradeRecord] = field(default_factory=list)
    booked: list[tuple[int, float]] = field(default_factory=list)
    seen: dict[str, None] = field(default_factory=dict)


class Ledger:
    """Positions by symbol, trades, and the money of both.

    Args:
        instruments: the run's instruments; arrays of shape (S,) are in this order.
        starting_equity: USD at the start.
        scratch_r: a trade within +/- this many R is a scratch (governance, X6).
    """

    def __init__(self, instruments: Sequence[Instrument], *, starting_equity: float, scratch_r: float) -> None:
        self._index = {instrument.symbol: i for i, instrument in enumerate(instruments)}
        self._starting = float(starting_equity)
        self._scratch_r = float(scratch_r)
        self._state = _State()

    @property
    def positions(self) -> dict[str, Position]:
        """Open positions by symbol, in the order in which they were opened; not to be written to."""
        return self._state.positions

    @property
    def duplicates(self) -> int:
        """Events that came more than once and were ignored."""
        return self._state.duplicates

    @property
    def wallet(self) -> float:
        """Closed money: start + realised - fees + funding (USD)."""
        return self._starting + self._state.realised - self._state.fees + self._state.funding

    # --- plans ------------------------------------------------------------------------------------

    def expect(self, plan: Plan, score_parts: tuple[ScorePart, ...] = ()) -> None:
        """Announce a plan whose entry order is about to be sent.

        Raises:
            ContractError: the plan's id is known already, or it risks nothing (R could not be told).
        """
        if plan.id in self._state.expected:
            raise ContractError(f"plan {plan.id} was announced twice")
        if not plan.risk_usd > 0.0:
            raise ContractError(f"risk_usd of plan {plan.id} was {plan.risk_usd}, expected more than 0")
        self._state.expected[plan.id] = _Expected(plan, score_parts)

    def forget(self, plan_id: str) -> None:
        """Drop a plan whose order ended without a fill; a plan that was filled stays until its position is flat."""
        expected = self._state.expected.get(plan_id)
        if expected is not None and not expected.filled:
            del self._state.expected[plan_id]

    def plan(self, plan_id: str) -> Plan | None:
        """A plan announced and not yet over."""
        expected = self._state.expected.get(plan_id)
        return None if expected is None else expected.plan

    def seen(self, fill_id: str) -> bool:
        """Whether a fill of this id was applied lately."""
        return fill_id in self._state.seen

    def set_stop(self, symbol: str, stop: Decimal) -> None:
        """Note that the stop of ``symbol`` now rests at ``stop``."""
        self._state.positions[symbol] = replace(self._state.positions[symbol], stop=stop)

    # --- events -----------------------------------------------------------------------------------

    def apply(self, event: BrokerEvent) -> bool:
        """Take one event into the books; False when it was a duplicate.

        Raises:
            ContractError: an opening fill without its plan or against the open side, or a closing one of more than is
                open: the books and the broker disagree.
        """
        if isinstance(event, OrderUpdate):
            self._apply_update(event)
            return True
        event_id = event.id if isinstance(event, Fill) else f"funding:{event.symbol}@{event.ts}"
        if event_id in self._state.seen:
            self._state.duplicates += 1
            return False
        if isinstance(event, FundingPayment):
            self._apply_funding(event)
        elif event.purpose in _OPENING:
            self._apply_opening(event)
        else:
            self._apply_closing(event)
        self._state.seen[event_id] = None
        if len(self._state.seen) > SEEN_KEPT:
            del self._state.seen[next(iter(self._state.seen))]
        return True

    def _apply_update(self, update: OrderUpdate) -> None:
        takes = self._state.open_takes.get(update.symbol, [])
        if update.status is OrderStatus.FILLED and update.client_id in takes:
            takes.remove(update.client_id)
            position = self._state.positions[update.symbol]
            first = update.ts if position.first_take_ts is None else position.first_take_ts
            changed = replace(position, takes_filled=position.takes_filled + 1, first_take_ts=first)
            if position.reached_1r_ts is None and position.take_reaches_1r():
                changed = replace(changed, reached_1r_ts=update.ts)
            self._state.positions[update.symbol] = changed

    def _apply_funding(self, payment: FundingPayment) -> None:
        self._state.funding += payment.amount
        self._state.booked.append((payment.ts, payment.amount))
        position = self._state.positions.get(payment.symbol)
        if position is not None:
            changed = replace(position, funding=position.funding + payment.amount)
            self._state.positions[payment.symbol] = changed

    def _apply_opening(self, fill: Fill) -> None:
        expected = self._state.expected.get(fill.plan_id)
        if expected is None:
            raise ContractError(f"fill {fill.id} opens {fill.symbol} without a plan, expected one to be announced before")
        opening_side = OrderSide.BUY if expected.plan.side.sign > 0 else OrderSide.SELL
        position = self._state.positions.get(fill.symbol)
        if fill.side is not opening_side or (position is not None and position.side is not expected.plan.side):
            raise ContractError(f"fill {fill.id} ({fill.side}) would turn the position of {fill.symbol} around")
        opened = _opened(expected.plan, fill) if position is None else _enlarged(position, expected, fill)
        expected.filled += fill.qty
        self._state.positions[fill.symbol] = opened
        self._state.fees += fill.fee
        self._state.booked.append((fill.ts, -fill.fee))

    def _apply_closing(self, fill: Fill) -> None:
        position = self._state.positions.get(fill.symbol)
        if position is None or fill.qty > position.qty or fill.side.sign == position.side.sign:
            held = Decimal(0) if position is None else position.signed_qty
            raise ContractError(f"fill {fill.id} ({fill.side} {fill.qty}) closes more of {fill.symbol} than is open ({held})")
        changed = _reduced(position, fill)
        gross = changed.realised - position.realised
        self._state.realised += gross
        self._state.fees += fill.fee
        self._state.booked.append((fill.ts, gross - fill.fee))
        takes = self._state.open_takes.setdefault(fill.symbol, [])
        if fill.purpose is OrderPurpose.TAKE and fill.client_id not in takes:
            takes.append(fill.client_id)
        if changed.qty:
            self._state.positions[fill.symbol] = changed
        else:
            self._close(changed, fill)

    def _close(self, position: Position, last: Fill) -> None:
        symbol = position.symbol
        takes_filled = position.takes_filled + (last.purpose is OrderPurpose.TAKE)
        expected = self._state.expected[position.plan.id]
        del self._state.positions[symbol]
        del self._state.open_takes[symbol]
        done = [key for key, item in self._state.expected.items() if item.plan.symbol == symbol and item.filled]
        for key in done:
            del self._state.expected[key]
        self._state.trades.append(_trade(replace(position, takes_filled=takes_filled), expected, last, self._scratch_r))

    def drain_trades(self) -> tuple[TradeRecord, ...]:
        """Trades closed since the last call, in order."""
        trades = tuple(self._state.trades)
        self._state.trades.clear()
        return trades

    def drain_realised(self) -> tuple[tuple[int, float], ...]:
        """Closed money since the last call, in order: (ms, USD) of each fill (gross - fee) and funding payment (X8)."""
        booked = tuple(self._state.booked)
        self._state.booked.clear()
        return booked

    # --- bars -------------------------------------------------------------------------------------

    def on_close(self, ts: int, closes: Floats, highs: Floats, lows: Floats, idx: Ints) -> None:
        """Note the best close and the extremes seen by open positions, and the close that stands for a merged 1R take.

        Args:
            ts: close time of the bars (ms); positions opened at or after it are left alone.
            closes: close of each row.
            highs: high of each row.
            lows: low of each row.
            idx: the rows' positions in the instrument tuple.
        """
        if not self._state.positions:
            return
        rows = {index: row for row, index in enumerate(idx.tolist())}
        for symbol, position in tuple(self._state.positions.items()):
            row = rows.get(self._index[symbol])
            if row is not None and position.opened_ts < ts:
                seen = _seen(position, float(closes[row]), float(highs[row]), float(lows[row]))
                if seen.reached_1r_ts is None and seen.close_reaches_1r(float(closes[row])):
                    seen = replace(seen, reached_1r_ts=ts)
                self._state.positions[symbol] = seen

    # --- money ------------------------------------------------------------------------------------

    def _held(self) -> list[tuple[int, Position]]:
        return sorted(((self._index[s], p) for s, p in self._state.positions.items()), key=lambda item: item[0])

    def unrealised(self, prices: Floats) -> float:
        """Open profit (USD) at ``prices``, shape (S,); NaN where a held symbol has no price."""
        total = 0.0
        for index, position in self._held():
            total += position.unrealised(float(prices[index]))
        return total

    def equity(self, prices: Floats) -> float:
        """Wallet plus open profit (USD) at ``prices``, shape (S,) (X11)."""
        return self.wallet + self.unrealised(prices)

    def open_risk_usd(self, exit_cost_rates: Sequence[float] | Floats) -> float:
        """Loss (USD) if every position left at its stop, exit costs (fractions, one an instrument) included (X9)."""
        total = 0.0
        for index, position in self._held():
            total += position.risk_at_stop(float(exit_cost_rates[index]))
        return total

    def open_drop_usd(self, prices: Floats, exit_cost_rates: Sequence[float] | Floats) -> float:
        """Equity (USD) marked at ``prices`` that would be lost if every position left at its stop now (X10)."""
        total = 0.0
        for index, position in self._held():
            total += loss_to_stop(position, float(prices[index]), float(exit_cost_rates[index]))
        return total

    def gross_notional_usd(self, prices: Floats) -> float:
        """Value of all positions (USD), sides added."""
        total = 0.0
        for index, position in self._held():
            total += float(position.qty) * float(prices[index])
        return total

    def net_notional_usd(self, prices: Floats) -> float:
        """Value of longs less value of shorts (USD)."""
        total = 0.0
        for index, position in self._held():
            total += float(position.signed_qty) * float(prices[index])
        return total

    # --- state ------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """State as JSON-like values."""
        state: dict[str, Any] = msgspec.to_builtins(self._state)
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a :meth:`snapshot`."""
        self._state = msgspec.convert(state, _State)


def _slippage(fill: Fill) -> float:
    return fill.side.sign * (float(fill.price) - fill.expected_price) * float(fill.qty)


def _r_price(plan: Plan, first_entry: float) -> float:
    """Price distance of 1R (X5); a fill at or beyond the stop has none of its own and takes the planned one."""
    distance = plan.side.sign * (first_entry - float(plan.stop))
    return distance if distance > 0.0 else abs(float(plan.entry - plan.stop))


def _opened(plan: Plan, fill: Fill) -> Position:
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


def _enlarged(position: Position, expected: _Expected, fill: Fill) -> Position:
    """More of the entry, or of an add: the average follows what is open; 1R follows the entry's own fills only."""
    price, qty = float(fill.price), float(fill.qty)
    first_entry, adds = position.first_entry, position.adds
    if expected.plan.id != position.plan.id:
        adds += not expected.filled
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


def _reduced(position: Position, fill: Fill) -> Position:
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


def _seen(position: Position, close: float, high: float, low: float) -> Position:
    best = _better(position, position.best_close, close)
    mae = _worse(position, position.mae, low if position.side.sign > 0 else high)
    mfe = _better(position, position.mfe, high if position.side.sign > 0 else low)
    if (best, mae, mfe) == (position.best_close, position.mae, position.mfe):
        return position
    return replace(position, best_close=best, mae=mae, mfe=mfe)


def _trade(position: Position, expected: _Expected, last: Fill, scratch_r: float) -> TradeRecord:
    """The closed trade. R counts against the planned risk of the entry plan, whatever was filled or added (X5)."""
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
        score_parts=expected.score_parts,
        meta=plan.meta,
    )
