"""Size what is wanted and ask for admission (capability plan_position; X39)."""

from __future__ import annotations

import math
from collections.abc import Iterable

from msgspec import Struct

from core.clock import elapsed_ns
from core.codes import RefusalCode
from core.exec.portfolio import Exposure, ExposureView
from core.exec.position import Position
from core.risk.canary import plan_entry
from core.risk.context import RiskContext
from core.risk.costs import CostModel
from core.risk.engine import STAGE
from core.types import Event, GovernorView, HealthReport, Meta, Plan, Refusal, ScoredSignal, Timeframe
from tools.base import Capability, tool
from tools.context import BrainContext


class Entry(Struct, frozen=True, gc=False):
    """A candidate that wants a position."""

    scored: ScoredSignal
    governor: GovernorView


class Add(Struct, frozen=True, gc=False):
    """An open position that may have earned its one add (X16)."""

    symbol: str
    event: Event
    governor: GovernorView
    health: HealthReport


class BarExposure:
    """What the ideas of one bar are judged against: open positions, priced once, and the plans ``admitted`` so far.

    Those plans count as if they were already open.
    """

    __slots__ = ("_positions", "admitted")

    def __init__(self, admitted: Iterable[Plan] = ()) -> None:
        self.admitted = list(admitted)
        self._positions: tuple[Exposure, ...] | None = None

    def view(self, context: BrainContext, governor: GovernorView) -> ExposureView:
        """Everything open, on its way, or admitted on this bar."""
        if self._positions is None:
            self._positions = tuple([_exposure_of(context, position) for position in context.ledger.positions.values()])
        pending = tuple([Exposure.of_plan(plan) for plan in (*context.orders.pending(), *self.admitted)])
        return ExposureView(governor.equity, governor, self._positions, pending, context.market.symbols)


@tool("position_sizer", Capability.PLAN_POSITION)
def position_sizer(context: BrainContext, idea: Entry | Add, bar: BarExposure) -> Plan | Refusal | None:
    """Give an admitted plan, a refusal with its arithmetic, or None when no add is due."""
    if isinstance(idea, Add) and not _add_is_due(context, idea):
        return None
    start = elapsed_ns()
    view = bar.view(context, idea.governor)
    if isinstance(idea, Entry):
        signal = idea.scored.signal
        risk = _risk_context(context, view, signal.symbol, signal.strategy, signal.tf, signal.ts)
        answer: Plan | Refusal | None = plan_entry(context.risk, context.sizing, idea.scored, idea.governor.equity, risk)
    else:
        answer = _add(context, idea, view)
    context.recorder.plan_time((elapsed_ns() - start) / 1e9)
    if not isinstance(answer, Plan):
        return answer
    return context.portfolio.admit(answer, view).refusal or answer


def _exposure_of(context: BrainContext, position: Position) -> Exposure:
    index = context.market.index[position.symbol]
    mark = context.market.mark(index)
    return Exposure.of_position(position, mark, exit_cost_rate(context, position, mark))


def exit_cost_rate(context: BrainContext, position: Position, mark: float) -> float:
    """Fee and slippage of leaving ``position`` at once, as a fraction of price.

    Where there is no book it is modelled; where nobody stands near the middle of one, its depth is.
    """
    index = context.market.index[position.symbol]
    instrument = context.market.instruments[index]
    book = context.market.book(index, int(context.market.last_ts[index]))
    model = CostModel.modelled(instrument)
    if book is not None:
        model = CostModel.of(instrument, book.spread_bps, book.depth_usd or model.depth_usd)
    return model.exit_cost_rate(float(position.qty) * mark)


def _add_is_due(context: BrainContext, idea: Add) -> bool:
    position = context.ledger.positions.get(idea.symbol)
    index = context.market.index[idea.symbol]
    if position is None or not _closed_now(context, index, idea.event.ts) or context.orders.closing(idea.symbol):
        return False
    return context.risk.add_wanted(position, float(context.market.last_close[index]), idea.event.ts)


def _add(context: BrainContext, idea: Add, view: ExposureView) -> Plan | Refusal | None:
    position = context.ledger.positions[idea.symbol]
    plan, index = position.plan, context.market.index[idea.symbol]
    code = idea.health.forbids(idea.symbol)
    if code is not None:
        return _no_add(plan, idea.event.ts, code, context.market.health.evidence(index, code))
    if not context.sizing.may_add(plan.strategy):
        return _no_add(plan, idea.event.ts, RefusalCode.CANARY_ADD, (("sizing", context.sizing.sizing(plan.strategy).value),))
    risk = _risk_context(context, view, plan.symbol, plan.strategy, plan.tf, idea.event.ts)
    return context.risk.plan_add(position, float(context.market.last_close[index]), risk)


def _no_add(plan: Plan, ts: int, code: RefusalCode, detail: Meta) -> Refusal:
    return Refusal(code, ts, STAGE, plan.symbol, plan.strategy, plan.id, f"{plan.symbol}: no add: {code.meaning}", detail)


def _closed_now(context: BrainContext, index: int, ts: int) -> bool:
    return int(context.market.last_ts[index]) == ts and not context.market.flags[index]


def _risk_context(context: BrainContext, view: ExposureView, symbol: str, strategy: str, tf: Timeframe, ts: int) -> RiskContext:
    market = context.market
    index = market.index[symbol]
    book = market.book(index, ts)
    return RiskContext(
        ts=ts,
        instrument=market.instruments[index],
        profile=context.strategies[strategy].profile(tf),
        spread_bps=None if book is None else book.spread_bps,
        depth_usd=None if book is None else book.depth_usd,
        governor=view.governor,
        atr_rank=_atr_rank(context, index, tf),
        open_risk_usd=view.open_risk_usd,
        open_drop_usd=view.open_drop_usd,
        open_notional_usd=view.gross_usd,
        net_notional_usd=view.net_usd,
        hv_annual_pct=_feature(context, "hv@1h", index, 100.0),
        governance=context.config.governance_digest,
    )


def _atr_rank(context: BrainContext, index: int, tf: Timeframe) -> float | None:
    for name in ("atr_rank", "atr_rank480"):
        rank = _feature(context, f"{name}@{tf.value}", index)
        if rank is not None:
            return rank
    return None


def _feature(context: BrainContext, key: str, index: int, scale: float = 1.0) -> float | None:
    view = context.market.features.view
    value = float(view[key][index]) if key in view else math.nan
    return None if math.isnan(value) else value * scale
