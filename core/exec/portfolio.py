"""Admission (F4, X9, X10, X17, X25): may this plan join what is already open and pending?

The last word before an order. It sizes nothing: a plan fits as it is, or is refused with its arithmetic. It repeats the
limits that the risk engine planned by, against the exposure of this very moment, because plans made on one bar compete.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from msgspec import Struct

from configs.validators import Governance
from core.codes import RefusalCode
from core.errors import StateError
from core.exec.correlation import Correlations
from core.exec.position import Position
from core.risk.context import exposure_room, known, lock_code, loss_to_stop, worst_case_room
from core.types import GovernorView, Meta, Plan, PlanKind, Refusal, Scalar, Side, TradingState

STAGE = "risk_manager"
_TOLERANCE = 1e-9
"""Share of equity within which two sums of money are the same."""


class Exposure(Struct, frozen=True, gc=False):
    """One open position or pending plan, in USD.

    ``risk_usd`` is what leaving at its stop loses against its entry (X9), ``drop_usd`` against the present mark (X10), both
    with exit costs. ``r_now`` is the open profit in R (None: unknown), ``adds`` how many adds were made.
    """

    symbol: str
    side: Side
    strategy: str
    notional_usd: float
    risk_usd: float
    drop_usd: float
    adds: int = 0
    r_now: float | None = None

    @classmethod
    def of_position(cls, position: Position, mark: float, exit_cost_rate: float) -> Exposure:
        """Exposure of an open position at ``mark`` (NaN makes its notional and drop NaN, which admits nothing)."""
        return cls(
            symbol=position.symbol,
            side=position.side,
            strategy=position.plan.strategy,
            notional_usd=float(position.qty) * mark,
            risk_usd=position.risk_at_stop(exit_cost_rate),
            drop_usd=loss_to_stop(position, mark, exit_cost_rate),
            adds=position.adds,
            r_now=position.r_now(mark) if known(mark) and position.r_price > 0.0 else None,
        )

    @classmethod
    def of_plan(cls, plan: Plan) -> Exposure:
        """Exposure of a plan that is admitted and not yet filled or expired."""
        return cls(plan.symbol, plan.side, plan.strategy, float(plan.qty * plan.entry), plan.risk_usd, plan.risk_usd)


class ExposureView(Struct, frozen=True, gc=False):
    """All that is open and pending at one moment, with equity (USD), the governor's word and the run's symbols."""

    equity: float
    governor: GovernorView
    positions: tuple[Exposure, ...]
    pending: tuple[Exposure, ...]
    universe: tuple[str, ...]

    @property
    def open_risk_usd(self) -> float:
        """Risk at current stops against entries, pending included (X9)."""
        return self._total([e.risk_usd for e in (*self.positions, *self.pending)])

    @property
    def open_drop_usd(self) -> float:
        """What marked-to-market equity would lose with everything stopped out, pending included (X10)."""
        return self._total([e.drop_usd for e in (*self.positions, *self.pending)])

    @property
    def gross_usd(self) -> float:
        """Sum of notionals."""
        return self._total([e.notional_usd for e in (*self.positions, *self.pending)])

    @property
    def net_usd(self) -> float:
        """Sum of notionals, shorts negative."""
        return self._total([e.side.sign * e.notional_usd for e in (*self.positions, *self.pending)])

    @staticmethod
    def _total(values: Sequence[float]) -> float:
        total = 0.0
        for value in values:
            total += value
        return total


class Admission(Struct, frozen=True, gc=False):
    """The verdict; ``refusal`` is None exactly when ``ok``."""

    ok: bool
    refusal: Refusal | None = None


class Portfolio:
    """Admits plans. Its only state is whether "everything moves together" holds, which has hysteresis (X25)."""

    def __init__(self, governance: Governance, correlations: Correlations) -> None:
        self._g = governance
        self._correlations = correlations
        self._all_correlated = False
        self._before_day = False
        self._judged_day: int | None = None
        self._judged_revision: int | None = None

    @property
    def all_correlated(self) -> bool:
        """Whether every pair of instruments moves together, as last judged."""
        return self._all_correlated

    def on_day(self, universe: Sequence[str]) -> bool:
        """Judge the day, after the correlations were updated, whether all of ``universe`` moves together.

        It does from the day on which the weakest absolute correlation of all pairs exceeds ``correlation_block_enter``,
        until it is below ``correlation_block_leave``. An unknown pair does not count as correlated here; one symbol is no
        pair. The closes of a day may come in several parts: after each the day is judged anew, always from the verdict of
        the day before, so that half a day leaves no trace.
        """
        seen = self._correlations
        if self._judged_revision == seen.revision:
            return self._all_correlated
        if self._judged_day != seen.last_day:
            self._before_day = self._all_correlated
        self._judged_day, self._judged_revision = seen.last_day, seen.revision
        limit = self._g.correlation_block_leave if self._before_day else self._g.correlation_block_enter
        self._all_correlated = self._all_beyond(universe, limit, reached_counts=self._before_day)
        return self._all_correlated

    def admit(self, plan: Plan, view: ExposureView) -> Admission:
        """Whether ``plan`` may be sent now; the first limit that it breaks is the reason."""
        numbers = (view.equity, view.open_risk_usd, view.open_drop_usd, view.gross_usd, view.net_usd, view.governor.room_usd)
        if view.governor.state is not TradingState.ACTIVE:
            return _refuse(plan, lock_code(view.governor), (("state", view.governor.state.value),))
        if not known(view.equity) or view.equity <= 0.0:
            return _refuse(plan, RefusalCode.NO_EQUITY, (("equity", view.equity),))
        if not all(known(n) for n in (*numbers, plan.risk_usd)):
            return _refuse(
                plan, RefusalCode.MISSING_INPUT, (("open_risk_usd", view.open_risk_usd), ("gross_usd", view.gross_usd))
            )
        refusal = self._check_owner(plan, view) or self._check_money(plan, view) or self._check_correlation(plan, view)
        return refusal or Admission(ok=True)

    # --- rules ------------------------------------------------------------------------------------

    def _check_owner(self, plan: Plan, view: ExposureView) -> Admission | None:
        """One position and one owner a symbol (X17); an add joins its own winner, once (E5, X16)."""
        pending = [e for e in view.pending if e.symbol == plan.symbol]
        held = [e for e in view.positions if e.symbol == plan.symbol]
        if plan.kind is PlanKind.ENTRY:
            owners = [*held, *pending]
            return _refuse(plan, RefusalCode.SYMBOL_OWNED, (("owner", owners[0].strategy),)) if owners else None
        if not held:
            return _refuse(plan, RefusalCode.ADD_TO_LOSER, (("position", "none"),))
        own = held[0]
        if own.strategy != plan.strategy or own.side is not plan.side:
            return _refuse(plan, RefusalCode.SYMBOL_OWNED, (("owner", own.strategy), ("side", own.side.value)))
        if own.adds > 0 or pending:
            return _refuse(plan, RefusalCode.ADD_ALREADY_DONE, (("adds", own.adds), ("pending", len(pending))))
        if not known(own.r_now) or own.r_now < self._g.pyramid_trigger_r:
            return _refuse(plan, RefusalCode.ADD_TO_LOSER, (("r_now", own.r_now), ("trigger_r", self._g.pyramid_trigger_r)))
        return None

    def _check_money(self, plan: Plan, view: ExposureView) -> Admission | None:
        """Portfolio R (X9), the day's and 72 h worst case (X10), leverage, gross and net exposure (E6, F4)."""
        equity, slack = view.equity, _TOLERANCE * view.equity
        cap_usd = self._g.max_portfolio_r_pct / 100.0 * equity
        if view.open_risk_usd + plan.risk_usd > cap_usd + slack:
            detail: Meta = (("open_risk_usd", view.open_risk_usd), ("plan_risk_usd", plan.risk_usd), ("cap_usd", cap_usd))
            return _refuse(plan, RefusalCode.PORTFOLIO_R_CAP, detail)
        worst = worst_case_room(self._g, view.governor, view.open_drop_usd)
        if plan.risk_usd > worst.usd + slack:
            detail = (("open_drop_usd", view.open_drop_usd), ("plan_risk_usd", plan.risk_usd), ("room_usd", worst.usd))
            return _refuse(plan, worst.code, detail)
        room = exposure_room(self._g, equity, plan.side.sign, view.gross_usd, view.net_usd)
        notional = float(plan.qty * plan.entry)
        if notional > room.usd + slack:
            detail = (
                ("gross_usd", view.gross_usd),
                ("net_usd", view.net_usd),
                ("notional_usd", notional),
                ("room_usd", room.usd),
            )
            return _refuse(plan, room.code, detail)
        return None

    def _check_correlation(self, plan: Plan, view: ExposureView) -> Admission | None:
        """At most so many that move together, the candidate included; nothing new while all do and something is open (X25)."""
        others = sorted({e.symbol for e in (*view.positions, *view.pending)} - {plan.symbol})
        blocked = self.on_day(view.universe)
        if plan.kind is PlanKind.ADD or not others:
            return None
        if blocked:
            return _refuse(plan, RefusalCode.ALL_CORRELATED, (("open", ",".join(others)),))
        together: list[tuple[str, Scalar]] = []
        for symbol in others:
            rho = self._correlations.between(plan.symbol, symbol)
            if rho is None or abs(rho) > self._g.correlation_limit:
                together.append((symbol, rho))
        if len(together) + 1 > self._g.max_correlated_open:
            return _refuse(plan, RefusalCode.CORRELATED, (("max_correlated_open", self._g.max_correlated_open), *together))
        return None

    def _all_beyond(self, universe: Sequence[str], limit: float, *, reached_counts: bool) -> bool:
        """Whether every pair's absolute correlation exceeds ``limit`` (or reaches it); an unknown pair does not."""
        pairs = list(combinations(universe, 2))
        for one, other in pairs:
            rho = abs(self._correlations.between(one, other) or 0.0)
            if rho < limit or (rho == limit and not reached_counts):
                return False
        return bool(pairs)

    # --- persistence ------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """The held verdict, the one before it, and what it was judged by; the correlations are saved by themselves."""
        return {
            "version": 1,
            "all_correlated": self._all_correlated,
            "before_day": self._before_day,
            "judged_day": self._judged_day,
            "judged_revision": self._judged_revision,
        }

    def restore(self, obj: Mapping[str, Any]) -> None:
        """Become what :meth:`snapshot` described.

        Raises:
            StateError: the snapshot is of another version.
        """
        if obj.get("version") != 1:
            raise StateError(f"portfolio snapshot was of version {obj.get('version')}, expected 1", code="STATE-012")
        self._all_correlated = bool(obj["all_correlated"])
        self._before_day = bool(obj["before_day"])
        self._judged_day = obj["judged_day"]
        self._judged_revision = obj["judged_revision"]


def _refuse(plan: Plan, code: RefusalCode, detail: Meta) -> Admission:
    message = f"{plan.symbol}: {code.meaning}"
    return Admission(False, Refusal(code, plan.ts, STAGE, plan.symbol, plan.strategy, plan.id, message, detail))
