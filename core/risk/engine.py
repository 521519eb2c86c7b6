"""From a scored signal to a sized, protected plan, or to a refusal with its arithmetic (E1-E5, X9, X10, X13-X16, X35).

Every number on the way is appended, in order, to ``meta`` of the plan or ``detail`` of the refusal.
"""

from __future__ import annotations

from configs.validators import Governance
from core.codes import RefusalCode
from core.errors import ContractError
from core.exec.instrument import market_id
from core.exec.position import Position
from core.risk.adds import Holding, JointStop, solve_add
from core.risk.context import RiskContext, known
from core.risk.costs import CostModel
from core.risk.sizing import (
    TOLERANCE,
    Limits,
    Prices,
    Refused,
    Size,
    Steps,
    cost_model,
    minimum_code,
    sized,
    smallest_legal,
)
from core.risk.takes import legal_takes, takes_for, wanted_takes
from core.types import Plan, PlanKind, Refusal, ScoredSignal, Side, Signal, TrailStart

__all__ = ["STAGE", "RiskEngine", "takes_for"]

STAGE = "risk_manager"
_NEVER_SHRUNK_TO = (RefusalCode.DAY_WORST_CASE, RefusalCode.DRAWDOWN_WORST_CASE)


class RiskEngine:
    """Sizes plans within ``governance``, whose ``digest`` every plan carries. Holds no state."""

    def __init__(self, governance: Governance, digest: str) -> None:
        self._limits = Limits(governance, digest)
        self._governance = governance
        self._digest = digest

    # --- entries ----------------------------------------------------------------------------------

    def plan(self, scored: ScoredSignal, equity: float, context: RiskContext) -> Plan | Refusal:
        """Plan a full-size entry, shrunk to the room left; a refusal where it can't be.

        ``qty = R / (|cap - stop| + both legs' costs)`` down to the lot, where cap is the worst price of the IOC entry
        (X10) and the stop lies ``stop_atr`` ATRs from the close, so that size falls with ATR (E1). The takes are priced
        from the close; after the fill the order manager prices them again with :func:`takes_for` (X5).
        """
        return self._planned(scored, float(equity), context, canary=False)

    def plan_canary(self, scored: ScoredSignal, equity: float, context: RiskContext) -> Plan | Refusal:
        """Plan a canary (X35): ``canary_r_pct`` of equity, or the smallest legal order if its real R is small enough.

        ``meta`` flags it with ``canary`` and ``real_r_pct``. Unlike an entry it is never shrunk (X9).
        """
        return self._planned(scored, float(equity), context, canary=True)

    def _planned(self, scored: ScoredSignal, equity: float, context: RiskContext, *, canary: bool) -> Plan | Refusal:
        signal, steps = scored.signal, Steps()
        if signal.symbol != context.instrument.symbol:
            raise ContractError(f"risk context is of {context.instrument.symbol}, expected {signal.symbol} of {signal.id}")
        steps.note(equity=equity)
        try:
            self._limits.check_state(equity, context)
            if context.ts > signal.validity_ts:
                raise Refused(RefusalCode.SIGNAL_EXPIRED, f"{signal.symbol}: the signal was valid until {signal.validity_ts}.")
            if signal.side is Side.SHORT and not context.instrument.is_perp:
                raise Refused(RefusalCode.SPOT_NO_SHORT, f"{signal.symbol}: {RefusalCode.SPOT_NO_SHORT.meaning}")
            costs = cost_model(context)
            prices = self._limits.entry_prices(signal, context, steps)
            size = (self._canary_size if canary else self._entry_size)(signal, equity, context, costs, prices, steps)
            self._limits.check_slippage(signal.symbol, costs, float(size.qty) * max(float(prices.cap), prices.close), steps)
        except Refused as no:
            return Refusal(no.code, context.ts, STAGE, signal.symbol, signal.strategy, signal.id, no.message, steps.meta())
        return self._entry_plan(scored, equity, context, prices, size, steps, "C" if canary else "P")

    def _entry_size(
        self, signal: Signal, equity: float, context: RiskContext, costs: CostModel, prices: Prices, steps: Steps
    ) -> Size:
        cap, stop, symbol = float(prices.cap), float(prices.stop), signal.symbol
        r_usd = equity * self._limits.r_pct(context, steps) / 100.0
        risk_room = self._limits.risk_room(equity, context, steps)
        exposure = self._limits.exposure_room(equity, signal.side, context, steps)
        for room in (risk_room, exposure):
            if room.usd <= 0.0:
                raise Refused(room.code, f"{symbol}: {room.code.meaning} Room left: {room.usd:.2f} USD.")
        by_risk = costs.quantity_for(min(r_usd, risk_room.usd), cap, stop)
        by_notional = exposure.usd / max(cap, prices.close)
        binding = risk_room.code if risk_room.usd < r_usd else None
        if by_notional < by_risk:
            binding = exposure.code
        raw_qty = min(by_risk, by_notional)
        raw_risk = costs.worst_loss(raw_qty, cap, stop)
        steps.note(r_usd=r_usd, binding=binding.value if binding else "r_pct", qty_raw=raw_qty, risk_raw_usd=raw_risk)
        self._limits.check_costs(symbol, costs, prices, raw_qty, steps)
        least_usd = equity * self._governance.min_plan_r_pct / 100.0
        if raw_risk < least_usd - TOLERANCE * equity:
            code = binding if binding in _NEVER_SHRUNK_TO else RefusalCode.BELOW_MIN_R
            why = f"limited by {binding.value}" if binding else "after cuts"
            raise Refused(code, f"{symbol}: the plan could risk {raw_risk:.2f} USD ({why}), the least is {least_usd:.2f} USD.")
        qty, smallest = context.instrument.qty_down(raw_qty), smallest_legal(context.instrument, prices)
        if qty < smallest:
            needed = equity * costs.worst_loss(float(smallest), cap, stop) / raw_risk
            steps.note(qty_smallest=float(smallest), notional_smallest_usd=float(smallest) * cap, equity_needed_usd=needed)
            raise Refused(
                minimum_code(context.instrument, qty),
                f"{symbol}: {raw_risk:.2f} USD over a stop of {prices.distance / prices.close * 100.0:.2f} % allow "
                f"{raw_qty:.6g}, the smallest legal order is {smallest} ({float(smallest) * cap:.2f} USD): "
                f"it would need {needed:.0f} USD of equity.",
            )
        return sized(costs, qty, prices, steps)

    def _canary_size(
        self, signal: Signal, equity: float, context: RiskContext, costs: CostModel, prices: Prices, steps: Steps
    ) -> Size:
        target_usd = equity * self._governance.canary_r_pct / 100.0
        wanted = context.instrument.qty_down(costs.quantity_for(target_usd, float(prices.cap), float(prices.stop)))
        size = sized(costs, max(wanted, smallest_legal(context.instrument, prices)), prices, steps)
        real_r_pct = size.risk_usd / equity * 100.0
        steps.note(canary=True, real_r_pct=real_r_pct)
        if real_r_pct > self._governance.canary_max_real_r_pct:
            raise Refused(
                RefusalCode.UNSIZABLE,
                f"{signal.symbol}: the smallest legal order {size.qty} risks {real_r_pct:.2f} % of equity, "
                f"a canary may risk {self._governance.canary_max_real_r_pct} %.",
            )
        self._limits.check_costs(signal.symbol, costs, prices, float(size.qty), steps)
        self._check_fits(signal.symbol, signal.side, equity, size, prices, context, steps)
        return size

    def _check_fits(
        self, symbol: str, side: Side, equity: float, size: Size, prices: Prices, context: RiskContext, steps: Steps
    ) -> None:
        self._limits.check_whole(symbol, self._limits.risk_room(equity, context, steps), size.risk_usd, equity)
        notional = float(size.qty) * max(float(prices.cap), prices.close)
        self._limits.check_whole(symbol, self._limits.exposure_room(equity, side, context, steps), notional, equity)

    def _entry_plan(
        self, scored: ScoredSignal, equity: float, context: RiskContext, prices: Prices, size: Size, steps: Steps, letter: str
    ) -> Plan:
        signal, profile = scored.signal, context.profile
        levels = wanted_takes(profile.takes_r, profile.take_fractions, size.qty)
        return Plan(
            id=f"{letter}-{context.ts}-{signal.strategy}-{market_id(signal.symbol)}",
            kind=PlanKind.ENTRY,
            signal_id=signal.id,
            strategy=signal.strategy,
            symbol=signal.symbol,
            side=signal.side,
            tf=signal.tf,
            ts=context.ts,
            qty=size.qty,
            entry=prices.cap,
            stop=prices.stop,
            tps=legal_takes(signal.side, levels, prices.close, prices.stop, size.qty, context.instrument),
            trail=profile.trail,
            time_stop_ts=context.ts + profile.time_stop_ms,
            risk_usd=size.risk_usd,
            risk_r_pct=size.risk_usd / equity * 100.0,
            costs_usd=size.costs_usd,
            equity=equity,
            score=scored.score,
            regime=scored.regime,
            governance=self._digest,
            meta=steps.meta(),
        )

    # --- adds -------------------------------------------------------------------------------------

    def plan_add(self, position: Position, price: float, context: RiskContext) -> Plan | Refusal | None:
        """Plan the one add to a winner (E5, X16) at the close ``price``; None while its conditions are not met.

        Wanted once, at ``pyramid_trigger_r`` or better, at a base-bar close later than the bar of the take at 1R; where that
        take was merged away (X14), later than the first close at +1r. A plan trailed from its entry has no 1R take to be
        later than and is never added to. The add comes whole or not at all; size and joint stop are solved in
        :mod:`core.risk.adds`. The plan's ``stop`` is the joint stop.
        """
        if not self.add_wanted(position, price, context.ts):
            return None
        plan, steps = position.plan, Steps()
        try:
            costs, joint, prices = self._joint(position, price, context, steps)
            size = self._add_size(position, context, costs, joint, prices, steps)
        except Refused as no:
            return Refusal(no.code, context.ts, STAGE, plan.symbol, plan.strategy, plan.id, no.message, steps.meta())
        return self._add_plan(plan, context, prices, size, steps)

    def add_wanted(self, position: Position, price: float, ts: int) -> bool:
        """Whether the conditions of the one add are met at the close ``price`` at ``ts``; its size may still refuse it."""
        if self._governance.pyramiding != "anti" or position.adds > 0 or ts >= position.plan.time_stop_ts:
            return False
        if position.plan.trail.start is TrailStart.ENTRY or position.reached_1r_ts is None or ts <= position.reached_1r_ts:
            return False
        if position.first_take_ts is not None and ts <= position.first_take_ts:
            return False
        return known(price) and position.r_price > 0.0 and position.r_now(price) >= self._governance.pyramid_trigger_r

    def _joint(self, position: Position, price: float, context: RiskContext, steps: Steps) -> tuple[CostModel, JointStop, Prices]:
        plan, sign, equity = position.plan, position.side.sign, context.governor.equity
        self._limits.check_state(equity, context)
        costs = cost_model(context)
        cap = self._limits.cap(price, plan.side, context.instrument)
        budget = self._governance.pyramid_add_r * plan.risk_usd
        steps.note(equity=equity, price=price, r_now=position.r_now(price), cap=float(cap), budget_usd=budget)
        if min(sign * (price - float(position.stop)), sign * float(cap - position.stop)) <= 0.0:
            raise Refused(RefusalCode.STOP_INVALID, f"{plan.symbol}: the price {price} is at or beyond the stop {position.stop}.")
        joint = solve_add(Holding.of(position), float(cap), budget, costs)
        if joint is None:
            raise Refused(
                RefusalCode.ADD_TO_LOSER,
                f"{plan.symbol}: the open profit of what is held does not exceed the {budget:.2f} USD that an add would risk.",
            )
        exposure = self._limits.exposure_room(equity, plan.side, context, steps)
        self._limits.check_whole(plan.symbol, exposure, joint.qty_upper * max(float(cap), price), equity)
        qty = context.instrument.qty_down(joint.qty)
        stop = context.instrument.stop_price(joint.stop_for(float(qty)), plan.side)
        steps.note(qty_upper=joint.qty_upper, qty_raw=joint.qty, qty=float(qty), stop=float(stop))
        if min(sign * (price - float(stop)), sign * float(cap - stop)) <= 0.0:
            raise Refused(RefusalCode.STOP_INVALID, f"{plan.symbol}: the joint stop {stop} would lie at or beyond {price}.")
        return costs, joint, Prices(price, cap, stop, abs(price - float(stop)))

    def _add_size(
        self, position: Position, context: RiskContext, costs: CostModel, joint: JointStop, prices: Prices, steps: Steps
    ) -> Size:
        symbol, cap, stop = position.symbol, float(prices.cap), float(prices.stop)
        qty, smallest = context.instrument.qty_down(joint.qty), smallest_legal(context.instrument, prices)
        if qty < smallest:
            code = minimum_code(context.instrument, qty)
            steps.note(qty_smallest=float(smallest), notional_smallest_usd=float(smallest) * cap)
            raise Refused(code, f"{symbol}: an add of {joint.qty:.6g} is below the smallest legal order {smallest}.")
        self._limits.check_costs(symbol, costs, prices, float(qty), steps)
        self._limits.check_slippage(symbol, costs, float(qty) * max(cap, prices.close), steps)
        risk = joint.loss(float(qty), stop)
        size = Size(qty, risk, risk - float(qty) * abs(cap - stop))
        self._check_fits(symbol, position.side, context.governor.equity, size, prices, context, steps)
        steps.note(risk_usd=risk, costs_usd=size.costs_usd)
        return size

    def _add_plan(self, plan: Plan, context: RiskContext, prices: Prices, size: Size, steps: Steps) -> Plan:
        return Plan(
            id=f"A-{context.ts}-{plan.strategy}-{market_id(plan.symbol)}",
            kind=PlanKind.ADD,
            signal_id=plan.signal_id,
            strategy=plan.strategy,
            symbol=plan.symbol,
            side=plan.side,
            tf=plan.tf,
            ts=context.ts,
            qty=size.qty,
            entry=prices.cap,
            stop=prices.stop,
            tps=(),
            trail=plan.trail,
            time_stop_ts=plan.time_stop_ts,
            risk_usd=size.risk_usd,
            risk_r_pct=size.risk_usd / context.governor.equity * 100.0,
            costs_usd=size.costs_usd,
            equity=context.governor.equity,
            score=plan.score,
            regime=plan.regime,
            governance=self._digest,
            meta=steps.meta(),
        )
