"""Stand-ins for services of the run: each answers as the real one does but in one thing, or only listens.

They share the real one's values and never change them, so that any number of what-ifs leaves the run as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from core.codes import RefusalCode
from core.data.blocks import Book, Floats
from core.data.features import FeatureStore
from core.data.market import Market
from core.exec.correlation import Correlations
from core.exec.ledger import Ledger
from core.exec.orders import OrderManager, client_id
from core.exec.portfolio import STAGE, Admission, ExposureView, Portfolio
from core.exec.position import Position
from core.risk.governor import Governor
from core.strategies.blackouts import NewsCalendar
from core.strategies.quality import SelectionQuality
from core.types import (
    Adjustment,
    DecisionRecord,
    ExitReason,
    GovernorView,
    OrderPurpose,
    OrderStatus,
    OrderUpdate,
    Plan,
    PlanKind,
    Refusal,
    ScoredSignal,
    ScorePart,
)

# --- other answers ------------------------------------------------------------------------------------------


class FeaturesAsIf(FeatureStore):
    """Some features of other values."""

    def __init__(self, real: FeatureStore, changed: Mapping[str, Floats]) -> None:
        self.__dict__.update(vars(real))
        self.view = View(real.view, changed)


class View(Mapping[str, Floats]):
    """Features by name, some of them changed."""

    def __init__(self, real: Mapping[str, Floats], changed: Mapping[str, Floats]) -> None:
        self._real, self._changed = real, changed

    def __getitem__(self, key: str) -> Floats:
        return self._changed[key] if key in self._changed else self._real[key]

    def __contains__(self, key: object) -> bool:
        return key in self._real

    def __iter__(self) -> Any:
        return iter(self._real)

    def __len__(self) -> int:
        return len(self._real)


class MarketAsIf(Market):
    """Other parts, or other books (spread in bps, depth in USD) by row."""

    def __init__(self, real: Market, **changes: Any) -> None:
        self.__dict__.update(vars(real))
        self.books_as_if: dict[int, tuple[float, float]] = dict(getattr(real, "books_as_if", {}))
        self.__dict__.update(changes)

    def book(self, index: int, ts: int) -> Book | None:
        if index not in self.books_as_if:
            return super().book(index, ts)
        spread_bps, depth_usd = self.books_as_if[index]
        middle = float(self.last_close[index])
        half = middle * spread_bps / 2e4 * (1.0 - 1e-12)  # so that what is asked for is not exceeded by rounding
        return Book(self.symbols[index], ts, middle - half, middle + half, depth_usd, True)


class GovernorAsIf(Governor):
    """A governor with one thing to say."""

    def __init__(self, view: GovernorView) -> None:
        self._view = view


class CalendarAsIf(NewsCalendar):
    """A calendar with one answer."""

    __slots__ = ("_clear",)

    def __init__(self, clear: bool | None) -> None:
        self._clear = clear

    def status(self, ts: int, symbol: str) -> bool | None:  # noqa: ARG002
        return self._clear


class QualityAsIf(SelectionQuality):
    """Another score asked for."""

    def __init__(self, threshold: float) -> None:
        self._asked = threshold

    @property
    def threshold(self) -> float:
        return self._asked


class LedgerAsIf(Ledger):
    """Other positions."""

    def __init__(self, real: Ledger, positions: dict[str, Position]) -> None:
        self.__dict__.update(vars(real))
        self._held = positions

    @property
    def positions(self) -> dict[str, Position]:
        return self._held


class CorrelationsAsIf(Correlations):
    """Other correlations of some pairs of rows, the smaller row first."""

    def __init__(self, real: Correlations, pairs: Mapping[tuple[int, int], float]) -> None:
        self.__dict__.update(vars(real))
        self.pairs_as_if: dict[tuple[int, int], float] = {**getattr(real, "pairs_as_if", {}), **pairs}

    def rho(self, i: int, j: int) -> float | None:
        pair = (i, j) if i <= j else (j, i)
        return self.pairs_as_if[pair] if pair in self.pairs_as_if else super().rho(i, j)


class PortfolioAsIf(Portfolio):
    """Other limits or correlations, or (``forced``) a verdict of its own on whether everything moves together."""

    forced: bool | None = None

    def __init__(self, real: Portfolio, **changes: Any) -> None:
        self.__dict__.update(vars(real))
        self.__dict__.update(changes)

    @classmethod
    def with_correlations(cls, real: Portfolio, correlations: Correlations) -> PortfolioAsIf:
        """The day judged anew by other correlations, from the verdict of the day before."""
        return cls(real, _correlations=correlations, _judged_revision=None)

    def on_day(self, universe: Any) -> bool:
        return super().on_day(universe) if self.forced is None else self.forced


# --- listeners ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Judged:
    """A plan that was sized, what it was judged against, and the verdict."""

    plan: Plan
    view: ExposureView
    verdict: Admission


class Jury(PortfolioAsIf):
    """Admits as the portfolio does, notes every plan that it was asked about, and turns down those that ``barred`` names."""

    def __init__(self, real: Portfolio, barred: Callable[[Plan], bool]) -> None:
        super().__init__(real)
        self._barred = barred
        self.judged: list[Judged] = []

    def admit(self, plan: Plan, view: ExposureView) -> Admission:
        if self._barred(plan):
            code = RefusalCode.NOT_ACTIVE
            said = "left out of the what-if"
            return Admission(False, Refusal(code, plan.ts, STAGE, plan.symbol, plan.strategy, plan.id, said))
        verdict = super().admit(plan, view)
        self.judged.append(Judged(plan, view, verdict))
        return verdict


class Listener(OrderManager):
    """Answers as the order manager does up to the point at which it would send, and notes what it would have sent."""

    def __init__(self, real: OrderManager, ledger: Ledger, without: str | None) -> None:
        self.__dict__.update(vars(real))
        self._ledger = ledger
        self._pending = {key: plan for key, plan in self._pending.items() if plan.symbol != without}
        self.submitted: list[Plan] = []

    async def submit(self, plan: Plan, score_parts: tuple[ScorePart, ...] = ()) -> OrderUpdate:  # noqa: ARG002
        order_id = client_id(plan, OrderPurpose.ENTRY if plan.kind is PlanKind.ENTRY else OrderPurpose.ADD, 0)
        taken = any(other.symbol == plan.symbol for other in self.submitted)
        code = self._not_possible(plan) or (RefusalCode.SYMBOL_OWNED if taken else None)
        if code is not None:
            return OrderUpdate(order_id, plan.symbol, OrderStatus.REJECTED, plan.ts, code=code, message=code.meaning)
        self.submitted.append(plan)
        return OrderUpdate(order_id, plan.symbol, OrderStatus.NEW, plan.ts)

    async def move_stop(self, symbol: str, new_stop: Decimal, ts: int, reason: ExitReason) -> OrderUpdate | None:  # noqa: ARG002
        return None

    async def close(self, symbol: str, ts: int, reason: ExitReason) -> OrderUpdate | None:  # noqa: ARG002
        return None


class Nobody:
    """A recorder that records nothing."""

    def decision(self, record: DecisionRecord) -> None: ...

    def signal(self, scored: ScoredSignal) -> None: ...

    def plan(self, plan: Plan) -> None: ...

    def refusal(self, refusal: Refusal) -> None: ...

    def adjustment(self, adjustment: Adjustment) -> None: ...

    def plan_time(self, seconds: float) -> None: ...
