"""The deciding nodes run again on a world that differs in one thing.

What is changed is changed in stand-ins; the services of the run are only read, orders are only listened to, and nothing is
recorded. So any number of what-ifs at one moment leave that moment as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, cast

import msgspec

from configs.validators import Governance
from core.codes import RefusalCode
from core.data.blocks import BarFlag, Book, Floats
from core.data.features import FeatureStore
from core.data.market import Market
from core.exec.correlation import Correlations
from core.exec.instrument import Instrument
from core.exec.ledger import Ledger
from core.exec.orders import OrderManager, client_id
from core.exec.portfolio import Portfolio
from core.exec.position import Position
from core.risk.engine import RiskEngine
from core.risk.governor import Governor
from core.strategies.abstentions import AbstentionLog
from core.strategies.blackouts import NewsCalendar
from core.strategies.cooldown import Cooldowns
from core.strategies.quality import SelectionQuality
from core.types import (
    Adjustment,
    DecisionRecord,
    ExitReason,
    GovernorView,
    HealthReport,
    OrderPurpose,
    OrderStatus,
    OrderUpdate,
    Plan,
    PlanKind,
    Refusal,
    Regime,
    ScoredSignal,
    ScorePart,
    Side,
)
from graph.node import Node
from tools.context import BrainContext
from tools.state import BrainState, Execution, Regimes, RiskDecision, Selection, Status
from tools.topology import AGENT_EDGES, TOOL_EDGES
from tools.trace import Board, Trace

DECIDING = ("strategy_selection", "risk_manager", "execution")
"""Nodes that are run again, in their order."""


# --- stand-ins ----------------------------------------------------------------------------------------------


class _FeaturesAsIf(FeatureStore):
    def __init__(self, real: FeatureStore, view: Mapping[str, Floats]) -> None:
        self.__dict__.update(vars(real))
        self.view = view


class _View(Mapping[str, Floats]):
    """The features of the moment with some of them changed."""

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


class _MarketAsIf(Market):
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


class _GovernorAsIf(Governor):
    def __init__(self, view: GovernorView) -> None:
        self._view = view


class _CalendarAsIf(NewsCalendar):
    __slots__ = ("_clear",)

    def __init__(self, clear: bool | None) -> None:
        self._clear = clear

    def status(self, ts: int, symbol: str) -> bool | None:  # noqa: ARG002
        return self._clear


class _QualityAsIf(SelectionQuality):
    def __init__(self, threshold: float) -> None:
        self._asked = threshold

    @property
    def threshold(self) -> float:
        return self._asked


class _LedgerAsIf(Ledger):
    def __init__(self, real: Ledger, positions: dict[str, Position]) -> None:
        self.__dict__.update(vars(real))
        self._held = positions

    @property
    def positions(self) -> dict[str, Position]:
        return self._held


class _CorrelationsAsIf(Correlations):
    def __init__(self, real: Correlations, index: int, value: float) -> None:
        self.__dict__.update(vars(real))
        self._of, self._value = index, value

    def rho(self, i: int, j: int) -> float | None:
        return self._value if self._of in (i, j) and i != j else super().rho(i, j)


class _PortfolioAsIf(Portfolio):
    def __init__(self, real: Portfolio, **changes: Any) -> None:
        self.__dict__.update(vars(real))
        self.__dict__.update(changes)


class _Listener(OrderManager):
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


class _Nobody:
    """A recorder that records nothing."""

    def decision(self, record: DecisionRecord) -> None: ...

    def signal(self, scored: ScoredSignal) -> None: ...

    def plan(self, plan: Plan) -> None: ...

    def refusal(self, refusal: Refusal) -> None: ...

    def adjustment(self, adjustment: Adjustment) -> None: ...

    def plan_time(self, seconds: float) -> None: ...


# --- the world ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class World:
    """What the deciding nodes see: the state written so far, the services, and the row of the symbol in question.

    Every ``with_`` method gives another world; none changes this one.
    """

    state: BrainState
    context: BrainContext
    index: int
    without: str | None = None

    @classmethod
    def at(cls, state: BrainState, context: BrainContext, index: int) -> World:
        """The world as it is at this moment, apart from it: what is run in it leaves no trace."""
        board = Board(((edge.src, edge.dst) for edge in TOOL_EDGES), ((edge.src, edge.dst) for edge in AGENT_EDGES))
        return cls(cast(BrainState, dict(state)), replace(context, recorder=_Nobody(), board=board, trace=Trace()), index)

    def _ports(self, **ports: Any) -> World:
        return replace(self, context=replace(self.context, **ports))

    @property
    def symbol(self) -> str:
        return self.context.market.symbols[self.index]

    @property
    def instrument(self) -> Instrument:
        return self.context.market.instruments[self.index]

    def feature(self, key: str) -> float:
        """A feature of the symbol; NaN where it is not known."""
        view = self.context.market.features.view
        return float(view[key][self.index]) if key in view else float("nan")

    def with_feature(self, key: str, value: float) -> World:
        """Another value of one feature of the symbol."""
        real = self.context.market.features
        row = real.view[key].copy()
        row[self.index] = value
        features = _FeaturesAsIf(real, _View(real.view, {key: row}))
        return self._ports(market=_MarketAsIf(self.context.market, features=features))

    def with_close(self, value: float) -> World:
        """Another last close of the symbol, for what is managed at it."""
        closes = self.context.market.last_close.copy()
        closes[self.index] = value
        return self._ports(market=_MarketAsIf(self.context.market, last_close=closes))

    def with_book(self, spread_bps: float, depth_usd: float) -> World:
        """Another book of the symbol."""
        market = _MarketAsIf(self.context.market)
        market.books_as_if[self.index] = (spread_bps, depth_usd)
        return self._ports(market=market)

    def with_clean_bar(self) -> World:
        """The bar without its flags."""
        market = self.context.market
        closed = copy(market.closed)
        closed.blocks = tuple(replace(block, flags=block.flags * 0) for block in closed.blocks)
        return self._ports(market=_MarketAsIf(market, flags=market.flags * 0, closed=closed))

    def with_instrument(self, **changes: Any) -> World:
        """Other filters of the symbol."""
        market = self.context.market
        instruments = tuple(replace(one, **changes) if i == self.index else one for i, one in enumerate(market.instruments))
        return self._ports(market=_MarketAsIf(market, instruments=instruments))

    def with_governor(self, **changes: Any) -> World:
        """Another word of the governor."""
        status = self.state["status"]
        view = msgspec.structs.replace(status.governor, **changes)
        state = cast(BrainState, {**self.state, "status": Status(status.health, view)})
        return replace(self._ports(governor=_GovernorAsIf(view)), state=state)

    def with_health(self, *, paused: Iterable[RefusalCode] = (), blocked: Iterable[tuple[str, RefusalCode]] = ()) -> World:
        """Another verdict of the health gates."""
        status = self.state["status"]
        health: HealthReport = msgspec.structs.replace(status.health, ok=True, paused=tuple(paused), blocked=tuple(blocked))
        return replace(self, state=cast(BrainState, {**self.state, "status": Status(health, status.governor)}))

    def with_regime(self, regime: Regime) -> World:
        """Another label of the symbol, on both carriers."""
        held = self.state["regimes"]
        h1, h4 = list(held.h1), list(held.h4)
        h1[self.index] = h4[self.index] = regime
        return replace(self, state=cast(BrainState, {**self.state, "regimes": Regimes(tuple(h1), tuple(h4))}))

    def with_news(self, clear: bool | None) -> World:
        """Another answer of the calendar."""
        return self._ports(calendar=_CalendarAsIf(clear))

    def with_rho(self, value: float) -> World:
        """Another correlation of the symbol to every other."""
        correlations = _CorrelationsAsIf(self.context.correlations, self.index, value)
        portfolio = _PortfolioAsIf(self.context.portfolio, _correlations=correlations)
        return self._ports(correlations=correlations, portfolio=portfolio)

    def with_threshold(self, value: float) -> World:
        """Another score asked for."""
        return self._ports(quality=_QualityAsIf(value))

    def without_rest(self) -> World:
        """No strategy rests."""
        return self._ports(cooldowns=Cooldowns(self.context.config.governance))

    def without_symbol(self, symbol: str) -> World:
        """Nothing held, and nothing on its way, in ``symbol``."""
        held = {name: position for name, position in self.context.ledger.positions.items() if name != symbol}
        return replace(self._ports(ledger=_LedgerAsIf(self.context.ledger, held)), without=symbol)

    def with_governance(self, **changes: Any) -> World:
        """Other limits; the plan would still bear the digest of the real ones."""
        config = self.context.config
        governance: Governance = config.governance.model_copy(update=changes)
        return self._ports(
            config=config.model_copy(update={"governance": governance}),
            risk=RiskEngine(governance, config.governance_digest),
            portfolio=_PortfolioAsIf(self.context.portfolio, _g=governance),
        )

    def with_no_correlation(self) -> World:
        """However many move together."""
        world = self.with_governance(max_correlated_open=len(self.context.market.symbols) + 1)
        return world._ports(portfolio=_PortfolioAsIf(world.context.portfolio, _all_correlated=False))

    def with_enabled(self, strategy: str) -> World:
        """The strategy enabled, and forbidden nowhere, in every regime."""
        config = self.context.config
        table = {name: tuple(dict.fromkeys([*enabled, strategy])) for name, enabled in config.enable_map.regimes.items()}
        free = copy(self.context.strategies[strategy])
        free.forbidden_regimes = ()  # type: ignore[misc]
        enable_map = config.enable_map.model_copy(update={"regimes": table})
        return self._ports(
            config=config.model_copy(update={"enable_map": enable_map}),
            strategies={**self.context.strategies, strategy: free},
        )


# --- deciding -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Decided:
    """What the nodes wrote, and the plans that would have been sent."""

    selection: Selection
    risk: RiskDecision
    execution: Execution
    submitted: tuple[Plan, ...]

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        return (*self.selection.refusals, *self.risk.refusals, *self.execution.refusals)


async def decide(world: World, nodes: Mapping[str, Node]) -> Decided:
    """Run the deciding nodes in ``world``; nothing of the run is touched."""
    context = world.context
    orders = _Listener(context.orders, context.ledger, world.without)
    abstentions = AbstentionLog()
    abstentions.restore(context.abstentions.snapshot())
    context.trace.begin()
    apart = replace(context, orders=orders, abstentions=abstentions)
    state: dict[str, Any] = dict(world.state)
    for name in DECIDING:
        state.update(await nodes[name](cast(BrainState, state), apart))
    return Decided(state["selection"], state["risk"], state["execution"], tuple(orders.submitted))


@dataclass(frozen=True, slots=True)
class Idea:
    """What was, or might have been, done: an entry of a strategy, an add, or (``manage``) a change to an open position."""

    symbol: str
    strategy: str
    side: Side | None
    kind: PlanKind = PlanKind.ENTRY
    manage: bool = False


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of an idea: done or not, in words, and the refusal or plan that says so."""

    done: bool
    words: str
    refusal: Refusal | None = None
    plan: Plan | None = None


def fate_of(idea: Idea, decided: Decided) -> Fate:
    """What became of ``idea``."""
    if idea.manage:
        moved = [one for one in decided.risk.adjustments if one.symbol == idea.symbol]
        if not moved:
            return Fate(False, "stop stays")
        where = "closed at market" if moved[0].new_stop is None else f"stop moved to {moved[0].new_stop}"
        return Fate(True, f"{where} ({moved[0].reason.value})")
    for plan in decided.submitted:
        if plan.symbol == idea.symbol and plan.strategy == idea.strategy and plan.kind is idea.kind:
            sent = Fate(True, f"sent {plan.side.value} {plan.qty}", plan=plan)
            return sent if idea.side in (None, plan.side) else Fate(False, f"sent {plan.side.value} instead", plan=plan)
    for refusal in decided.refusals:
        if (
            refusal.symbol == idea.symbol
            and refusal.strategy == idea.strategy
            and _is_add(refusal) == (idea.kind is PlanKind.ADD)
        ):
            return Fate(False, f"refused {refusal.code.value}", refusal)
    return Fate(False, "no signal" if idea.kind is PlanKind.ENTRY else "no add is due")


def _is_add(refusal: Refusal) -> bool:
    """An add is refused under the id of its own plan or of the plan it would join, an entry under those of this bar."""
    if refusal.ref.startswith("A-"):
        return True
    return refusal.ref[:2] in {"P-", "C-"} and not refusal.ref[2:].startswith(f"{refusal.ts}-")


def flags_of(world: World) -> str:
    """Flags of the symbol's last base bar, in words."""
    flags = int(world.context.market.flags[world.index])
    return ", ".join(flag.name.lower() for flag in BarFlag if flag in BarFlag(flags) and flag.name) or "clean"
