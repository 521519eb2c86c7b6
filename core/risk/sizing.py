"""The checks that entries, canaries and adds share, and the way in which they say no."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal

from configs.validators import Governance
from core.codes import RefusalCode
from core.exec.instrument import Instrument
from core.risk.context import RiskContext, Room, exposure_room, known, lock_code, worst_case_room
from core.risk.costs import CostModel
from core.types import Meta, OrderSide, Scalar, Side, Signal, TradingState

TOLERANCE = 1e-9
"""Share of equity within which two sums of money are the same."""


class Refused(Exception):
    """Leaves the arithmetic early; the engine turns it into a :class:`core.types.Refusal`, so it never gets out."""

    def __init__(self, code: RefusalCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(slots=True)
class Steps:
    """The arithmetic so far, in order."""

    rows: list[tuple[str, Scalar]] = field(default_factory=list)

    def note(self, **values: Scalar) -> None:
        """Append named numbers."""
        self.rows.extend(values.items())

    def meta(self) -> Meta:
        """All of it as a frozen value."""
        return tuple(self.rows)


@dataclass(frozen=True, slots=True)
class Prices:
    """Where a plan enters at worst (``cap``) and leaves at worst (``stop``); ``distance``, from close to stop, is 1R in price."""

    close: float
    cap: Decimal
    stop: Decimal
    distance: float


@dataclass(frozen=True, slots=True)
class Size:
    """A legal quantity with its worst-case loss and the cost part of it (USD)."""

    qty: Decimal
    risk_usd: float
    costs_usd: float


class Limits:
    """The locked limits as checks; each raises :class:`Refused`."""

    def __init__(self, governance: Governance, digest: str) -> None:
        self.governance = governance
        self.digest = digest

    def check_state(self, equity: float, context: RiskContext) -> None:
        """Only an active system with known, positive equity and known exposure, under these very limits, opens risk."""
        if context.governance != self.digest:
            raise Refused(RefusalCode.GOVERNANCE_CHANGED, "The context was made under other limits than the engine's.")
        if context.governor.state is not TradingState.ACTIVE:
            code = lock_code(context.governor)
            raise Refused(code, code.meaning)
        if not known(equity) or equity <= 0.0:
            raise Refused(RefusalCode.NO_EQUITY, f"Equity is {equity}, a positive amount is needed.")
        money = (
            context.open_risk_usd,
            context.open_drop_usd,
            context.open_notional_usd,
            context.net_notional_usd,
            context.governor.room_usd,
        )
        if not all(known(value) for value in money):
            raise Refused(RefusalCode.MISSING_INPUT, "Open risk or exposure is unknown, so the room left is unknown too.")

    def entry_prices(self, signal: Signal, context: RiskContext, steps: Steps) -> Prices:
        """Cap of the IOC entry and initial stop (E4, X10), both legal, the stop nearer than liquidation."""
        close, atr, instrument, side = signal.entry, signal.atr, context.instrument, signal.side
        if not known(close) or not known(atr) or min(close, atr) <= 0.0:
            raise Refused(RefusalCode.STOP_INVALID, f"{signal.symbol}: close {close} and ATR {atr} must be positive numbers.")
        cap = self.cap(close, side, instrument)
        stop = instrument.stop_price(close - side.sign * context.profile.stop_atr * atr, side)
        distance = side.sign * (close - float(stop))
        steps.note(close=close, atr=atr, stop_atr=context.profile.stop_atr, cap=float(cap), stop=float(stop), r_price=distance)
        if stop <= 0 or min(distance, side.sign * float(cap - stop)) <= 0.0:
            raise Refused(RefusalCode.STOP_INVALID, f"{signal.symbol}: stop {stop} is not on the losing side of {close}.")
        furthest = 1.0 / self.governance.leverage_cap - instrument.maintenance_margin_rate
        if instrument.is_perp and abs(float(cap - stop)) >= furthest * float(cap):
            raise Refused(
                RefusalCode.STOP_INVALID,
                f"{signal.symbol}: stop {stop} lies beyond liquidation at leverage {self.governance.leverage_cap}, "
                f"which comes after a move of {furthest * 100.0:.1f} %.",
            )
        return Prices(close, cap, stop, distance)

    def cap(self, close: float, side: Side, instrument: Instrument) -> Decimal:
        """Worst price that an entry at ``close`` may pay (X10)."""
        order_side = OrderSide.BUY if side is Side.LONG else OrderSide.SELL
        return instrument.cap_price(close * (1.0 + side.sign * self.governance.entry_cap_pct / 100.0), order_side)

    def r_pct(self, context: RiskContext, steps: Steps) -> float:
        """Percent of equity to risk on a full-size entry: governor's, volatility cut, volatility target (E2, E3, X15).

        The two reasons to cut do not add up, and there is no bonus during either. An unknown ATR rank counts as high;
        with volatility targeting on, an unknown volatility is a missing input.
        """
        limits, rank = self.governance, context.atr_rank
        allowed = min(context.governor.r_pct, limits.per_trade_r_pct_max)
        volatile = not known(rank) or rank >= limits.r_cut_atr_rank
        r_pct = min(allowed, max(0.0, limits.per_trade_r_pct_base - limits.r_cut_pp)) if volatile else allowed
        scale = 1.0
        if limits.volatility_target_enabled:
            if not known(context.hv_annual_pct) or context.hv_annual_pct <= 0.0:
                raise Refused(RefusalCode.MISSING_INPUT, "Volatility targeting is on and the historical volatility is unknown.")
            scale = min(1.0, limits.volatility_target_annual_pct / context.hv_annual_pct)
        steps.note(r_pct_governor=allowed, atr_rank=rank, volatility_cut=volatile, volatility_scale=scale, r_pct=r_pct * scale)
        return r_pct * scale

    def risk_room(self, equity: float, context: RiskContext, steps: Steps) -> Room:
        """Money that may still be risked: portfolio cap (X9) or the day's and 72 h worst case (X10), the smaller."""
        portfolio = Room(
            self.governance.max_portfolio_r_pct / 100.0 * equity - context.open_risk_usd, RefusalCode.PORTFOLIO_R_CAP
        )
        worst_case = worst_case_room(self.governance, context.governor, context.open_drop_usd)
        steps.note(room_portfolio_usd=portfolio.usd, room_worst_case_usd=worst_case.usd)
        return worst_case if worst_case.usd < portfolio.usd else portfolio

    def exposure_room(self, equity: float, side: Side, context: RiskContext, steps: Steps) -> Room:
        """Notional that leverage, gross and net limits and the margin still allow on ``side`` (E6, F4)."""
        limits = exposure_room(self.governance, equity, side.sign, context.open_notional_usd, context.net_notional_usd)
        margin = self._margin_room(equity, context)
        steps.note(room_notional_usd=limits.usd, room_margin_usd=margin.usd)
        return margin if margin.usd < limits.usd else limits

    def _margin_room(self, equity: float, context: RiskContext) -> Room:
        """Notional that equity can pay for, the entry's fee included (X9, X14): spot in full, perps at the leverage cap.

        What is open counts against it at its whole notional, also that of perps against spot: rather too little.
        """
        instrument = context.instrument
        leverage = self.governance.leverage_cap if instrument.is_perp else 1.0
        code = RefusalCode.LEVERAGE_CAP if instrument.is_perp else RefusalCode.INSUFFICIENT_MARGIN
        return Room(equity * leverage / (1.0 + instrument.taker_fee_rate * leverage) - context.open_notional_usd, code)

    def check_costs(self, symbol: str, costs: CostModel, prices: Prices, qty: float, steps: Steps) -> None:
        """The cost gate (X13)."""
        share = costs.cost_in_r(prices.close, prices.distance, qty * max(float(prices.cap), prices.close))
        steps.note(cost_share_of_r=share)
        if share > self.governance.max_cost_share_of_r:
            raise Refused(
                RefusalCode.COST_SHARE,
                f"{symbol}: fees and slippage there and back are {share:.2f} of R over a stop of "
                f"{prices.distance / prices.close * 100.0:.2f} %, allowed is {self.governance.max_cost_share_of_r}.",
            )

    def check_slippage(self, symbol: str, costs: CostModel, notional_usd: float, steps: Steps) -> None:
        """An expected slippage above the limit is refused before anything is sent (X31)."""
        expected = costs.slippage_rate(notional_usd) * 100.0
        steps.note(slippage_pct=expected)
        if expected > self.governance.max_expected_slippage_pct:
            raise Refused(
                RefusalCode.SLIPPAGE_HIGH,
                f"{symbol}: {notional_usd:.0f} USD would slip by {expected:.3f} %, "
                f"allowed is {self.governance.max_expected_slippage_pct} %.",
            )

    def check_whole(self, symbol: str, room: Room, wanted_usd: float, equity: float) -> None:
        """Adds and canaries fit into ``room`` whole or not at all (X9)."""
        if wanted_usd > room.usd + TOLERANCE * equity:
            raise Refused(
                room.code, f"{symbol}: {room.code.meaning} Wanted whole: {wanted_usd:.2f} USD, room left: {room.usd:.2f} USD."
            )


def cost_model(context: RiskContext) -> CostModel:
    """Costs in the present book; without a fresh book there is no plan."""
    spread, depth = context.spread_bps, context.depth_usd
    if not known(spread) or not known(depth) or spread < 0.0:
        code = RefusalCode.STREAM_BOOK
        raise Refused(code, f"{context.instrument.symbol}: {code.meaning}")
    if depth <= 0.0:
        raise Refused(RefusalCode.BOOK_THIN, f"{context.instrument.symbol}: the book is empty.")
    return CostModel.of(context.instrument, spread, depth)


def smallest_legal(instrument: Instrument, prices: Prices) -> Decimal:
    """Smallest order that the exchange takes; on spot the stop that sells it must be legal too (X14)."""
    price = prices.stop if not instrument.is_perp else min(prices.cap, Decimal(repr(prices.close)))
    wanted = max(instrument.min_qty, instrument.min_notional / price)
    return (wanted / instrument.qty_step).to_integral_value(rounding=ROUND_CEILING) * instrument.qty_step


def minimum_code(instrument: Instrument, qty: Decimal) -> RefusalCode:
    """Which minimum a too small ``qty`` is below."""
    return RefusalCode.BELOW_MIN_QTY if qty < instrument.min_qty else RefusalCode.BELOW_MIN_NOTIONAL


def sized(costs: CostModel, qty: Decimal, prices: Prices, steps: Steps) -> Size:
    """Worst case of the legal quantity."""
    cap, stop = float(prices.cap), float(prices.stop)
    risk = costs.worst_loss(float(qty), cap, stop)
    costs_usd = risk - float(qty) * abs(cap - stop)
    steps.note(qty=float(qty), notional_usd=float(qty) * cap, risk_usd=risk, costs_usd=costs_usd)
    return Size(qty, risk, costs_usd)
