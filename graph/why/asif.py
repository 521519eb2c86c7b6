"""The deciding nodes run again on a world that differs in one thing.

What is changed is changed in stand-ins (:mod:`graph.why.standins`); the services of the run are only read, orders are only
listened to, and nothing is recorded. So any number of what-ifs at one moment leave that moment as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, cast

import msgspec

from agents.risk_manager_agent import ADD
from configs.validators import Governance
from core.codes import RefusalCode
from core.data.blocks import BarFlag
from core.exec.instrument import Instrument
from core.risk.engine import RiskEngine
from core.risk.governor import Governor
from core.strategies.abstentions import AbstentionLog
from core.strategies.cooldown import Cooldowns
from core.types import (
    Adjustment,
    GovernorView,
    HealthReport,
    Plan,
    PlanKind,
    Refusal,
    Regime,
    Side,
    TradingState,
)
from graph.node import Node
from graph.why.standins import (
    CalendarAsIf,
    CorrelationsAsIf,
    FeaturesAsIf,
    GovernorAsIf,
    Judged,
    Jury,
    LedgerAsIf,
    Listener,
    MarketAsIf,
    Nobody,
    PortfolioAsIf,
    QualityAsIf,
)
from tools.context import BrainContext
from tools.state import BrainState, Execution, Regimes, RiskDecision, Selection, Status
from tools.topology import AGENT_EDGES, TOOL_EDGES
from tools.trace import Board, Trace

DECIDING = ("strategy_selection", "risk_manager", "execution")
"""Nodes that are run again, in their order."""


@dataclass(frozen=True, slots=True)
class World:
    """What the deciding nodes see: the state written so far, the services, and the row of the symbol in question.

    ``before`` is the governor before it marked this bar; ``without`` a symbol in which nothing is held or on its way; of the
    plans made on this bar those ``barred`` are left out, and in ``only``'s symbol those of other strategies. Every ``with_``
    method gives another world, which is ``changed``; none changes this one.
    """

    state: BrainState
    context: BrainContext
    index: int
    before: Mapping[str, Any]
    without: str | None = None
    barred: tuple[str, ...] = ()
    only: tuple[str, str] | None = None
    changed: bool = False

    @classmethod
    def at(cls, state: BrainState, context: BrainContext, index: int, before: Mapping[str, Any]) -> World:
        """The world as it is at this moment, apart from it: what is run in it leaves no trace."""
        board = Board(((edge.src, edge.dst) for edge in TOOL_EDGES), ((edge.src, edge.dst) for edge in AGENT_EDGES))
        apart = replace(context, recorder=Nobody(), board=board, trace=Trace())
        return cls(cast(BrainState, dict(state)), apart, index, before)

    def _ports(self, **ports: Any) -> World:
        return replace(self, context=replace(self.context, **ports), changed=True)

    def _state(self, **values: Any) -> World:
        return replace(self, state=cast(BrainState, {**self.state, **values}), changed=True)

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

    # --- the market -----------------------------------------------------------------------------------------

    def with_feature(self, key: str, value: float) -> World:
        """Another value of one feature of the symbol."""
        real = self.context.market.features
        row = real.view[key].copy()
        row[self.index] = value
        return self._ports(market=MarketAsIf(self.context.market, features=FeaturesAsIf(real, {key: row})))

    def with_close(self, value: float) -> World:
        """Another last close of the symbol, for what is managed at it."""
        closes = self.context.market.last_close.copy()
        closes[self.index] = value
        return self._ports(market=MarketAsIf(self.context.market, last_close=closes))

    def with_book(self, spread_bps: float, depth_usd: float) -> World:
        """Another book of the symbol."""
        market = MarketAsIf(self.context.market)
        market.books_as_if[self.index] = (spread_bps, depth_usd)
        return self._ports(market=market)

    def with_clean_bar(self) -> World:
        """The bar without its flags."""
        market = self.context.market
        closed = copy(market.closed)
        closed.blocks = tuple(replace(block, flags=block.flags * 0) for block in closed.blocks)
        return self._ports(market=MarketAsIf(market, flags=market.flags * 0, closed=closed))

    def with_instrument(self, **changes: Any) -> World:
        """Other filters of the symbol."""
        market = self.context.market
        instruments = tuple(replace(one, **changes) if i == self.index else one for i, one in enumerate(market.instruments))
        return self._ports(market=MarketAsIf(market, instruments=instruments))

    def with_rho(self, other: str, value: float) -> World:
        """Another correlation of the symbol to ``other``."""
        return self.with_pair(self.symbol, other, value)

    def with_pair(self, one: str, other: str, value: float) -> World:
        """Another correlation of two symbols."""
        i, j = sorted((self.context.market.index[one], self.context.market.index[other]))
        correlations = CorrelationsAsIf(self.context.correlations, {(i, j): value})
        return self._ports(
            correlations=correlations, portfolio=PortfolioAsIf.with_correlations(self.context.portfolio, correlations)
        )

    # --- the governor ---------------------------------------------------------------------------------------

    def _view(self, view: GovernorView) -> World:
        world = self._state(status=Status(self.state["status"].health, view))
        return world._ports(governor=GovernorAsIf(view))

    def with_governor(self, **changes: Any) -> World:
        """Another word of the governor."""
        return self._view(msgspec.structs.replace(self.state["status"].governor, **changes))

    def _governor(self) -> Governor:
        governor = Governor(self.context.config.governance)
        governor.restore(self.before)
        return governor

    def with_equity(self, value: float) -> World:
        """Another equity at this close: locks, drawdown and room follow from it as the governor has them follow."""
        return self._view(self._governor().on_bar(self.state["event"].ts, value))

    def with_drawdown(self, percent: float) -> World:
        """Another drawdown from the 72 h peak: that of another equity."""
        return self.with_equity(self.state["status"].governor.peak_72h * (1.0 - percent / 100.0))

    def with_no_lock(self) -> World:
        """Nothing locks: the kill-switch is lifted by a person (the 72 h peak begins anew), limits are signed, no day lock."""
        governor, now = self._governor(), self.state["status"].governor
        governor.on_bar(now.ts, now.equity)
        governor.unlock(now.ts, "what if", "brain why")
        governor.governance_signed(now.ts)
        return self._view(msgspec.structs.replace(governor.view, day_lock=False, state=TradingState.ACTIVE))

    # --- the rest of the system -----------------------------------------------------------------------------

    def with_health(self, *, paused: Iterable[RefusalCode] = (), blocked: Iterable[tuple[str, RefusalCode]] = ()) -> World:
        """Another verdict of the health gates."""
        status = self.state["status"]
        health: HealthReport = msgspec.structs.replace(status.health, ok=True, paused=tuple(paused), blocked=tuple(blocked))
        return self._state(status=Status(health, status.governor))

    def with_regime(self, regime: Regime) -> World:
        """Another label of the symbol, on both carriers."""
        held = self.state["regimes"]
        h1, h4 = list(held.h1), list(held.h4)
        h1[self.index] = h4[self.index] = regime
        return self._state(regimes=Regimes(tuple(h1), tuple(h4)))

    def with_news(self, clear: bool | None) -> World:
        """Another answer of the calendar."""
        return self._ports(calendar=CalendarAsIf(clear))

    def with_threshold(self, value: float) -> World:
        """Another score asked for."""
        return self._ports(quality=QualityAsIf(value))

    def without_rest(self) -> World:
        """No strategy rests."""
        return self._ports(cooldowns=Cooldowns(self.context.config.governance))

    def without_symbol(self, symbol: str) -> World:
        """Nothing held, and nothing on its way, in ``symbol``."""
        held = {name: position for name, position in self.context.ledger.positions.items() if name != symbol}
        return replace(self._ports(ledger=LedgerAsIf(self.context.ledger, held)), without=symbol)

    def without_plan(self, name: str) -> World:
        """That plan not made on this bar."""
        return replace(self, barred=(*self.barred, name), changed=True)

    def alone_in_symbol(self, strategy: str) -> World:
        """The symbol free of positions, of orders on their way, and of this bar's plans of other strategies."""
        return replace(self.without_symbol(self.symbol), only=(self.symbol, strategy))

    def with_time_stop(self, ts: int) -> World:
        """Another time stop of the open position."""
        held = dict(self.context.ledger.positions)
        position = held[self.symbol]
        plan = msgspec.structs.replace(position.plan, time_stop_ts=ts)
        held[self.symbol] = msgspec.structs.replace(position, plan=plan)
        return self._ports(ledger=LedgerAsIf(self.context.ledger, held))

    def with_governance(self, **changes: Any) -> World:
        """Other limits; the plan would still bear the digest of the real ones."""
        config = self.context.config
        governance: Governance = config.governance.model_copy(update=changes)
        return self._ports(
            config=config.model_copy(update={"governance": governance}),
            risk=RiskEngine(governance, config.governance_digest),
            portfolio=PortfolioAsIf(self.context.portfolio, _g=governance),
        )

    def with_no_correlation(self) -> World:
        """However many move together."""
        world = self.with_governance(max_correlated_open=len(self.context.market.symbols) + 1)
        return world._ports(portfolio=PortfolioAsIf(world.context.portfolio, forced=False))

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

    def bars_out(self, plan: Plan) -> bool:
        """Whether this world goes without ``plan``."""
        foreign = self.only is not None and plan.symbol == self.only[0] and plan.strategy != self.only[1]
        return foreign or plan.id in self.barred


# --- deciding -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Idea:
    """What was, or might have been, done: an entry of a strategy, an add, or (``move``) a change to an open position."""

    symbol: str
    strategy: str
    side: Side | None
    kind: PlanKind = PlanKind.ENTRY
    move: Adjustment | None = None


@dataclass(frozen=True, slots=True)
class Decided:
    """What the nodes wrote, the plans that admission was asked about in their order, and those that would have been sent."""

    selection: Selection
    risk: RiskDecision
    execution: Execution
    judged: tuple[Judged, ...]
    submitted: tuple[Plan, ...]

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        return (*self.selection.refusals, *self.risk.refusals, *self.execution.refusals)

    def judged_of(self, idea: Idea) -> Judged | None:
        """The plan that the idea came to, and how it was judged."""
        wanted = (idea.symbol, idea.strategy, idea.kind)
        return next((one for one in self.judged if (one.plan.symbol, one.plan.strategy, one.plan.kind) == wanted), None)


async def decide(world: World, nodes: Mapping[str, Node]) -> Decided:
    """Run the deciding nodes in ``world``; nothing of the run is touched."""
    context = world.context
    orders, jury = Listener(context.orders, context.ledger, world.without), Jury(context.portfolio, world.bars_out)
    abstentions = AbstentionLog()
    abstentions.restore(context.abstentions.snapshot())
    if world.changed:  # what was said on a bar before must be said again here
        abstentions.forget(ADD, world.symbol)
    context.trace.begin()
    apart = replace(context, orders=orders, abstentions=abstentions, portfolio=jury)
    state: dict[str, Any] = dict(world.state)
    for name in DECIDING:
        state.update(await nodes[name](cast(BrainState, state), apart))
    wrote: tuple[Selection, RiskDecision, Execution] = (state["selection"], state["risk"], state["execution"])
    return Decided(*wrote, tuple(jury.judged), tuple(orders.submitted))


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of an idea: done or not, in words, and the refusal or plan that says so."""

    done: bool
    words: str
    refusal: Refusal | None = None
    plan: Plan | None = None


def fate_of(idea: Idea, decided: Decided) -> Fate:
    """What became of ``idea``."""
    if idea.move is not None:
        return _fate_of_move(idea.move, decided)
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


def _fate_of_move(move: Adjustment, decided: Decided) -> Fate:
    """A stop that moves elsewhere still moves, a position that is closed for another reason is still closed."""
    found = next((one for one in decided.risk.adjustments if one.symbol == move.symbol), None)
    if found is None:
        return Fate(False, "nothing is changed")
    where = "closed at market" if found.new_stop is None else f"stop moved to {found.new_stop}"
    return Fate(found.kind is move.kind, f"{where} ({found.reason.value})")


def _is_add(refusal: Refusal) -> bool:
    """An add is refused under the id of its own plan or of the plan it would join, an entry under those of this bar."""
    if refusal.ref.startswith("A-"):
        return True
    return refusal.ref[:2] in {"P-", "C-"} and not refusal.ref[2:].startswith(f"{refusal.ts}-")


def flags_of(world: World) -> str:
    """Flags of the symbol's last base bar, in words."""
    flags = int(world.context.market.flags[world.index])
    return ", ".join(flag.name.lower() for flag in BarFlag if flag in BarFlag(flags) and flag.name) or "clean"
