"""The frozen runtime context: every port of a run, handed to nodes by LangGraph's ``Runtime``, never in the state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from configs.validators import Configuration
from core.clock import Clock
from core.data.market import Market
from core.exec.broker import Broker
from core.exec.correlation import Correlations
from core.exec.ledger import Ledger
from core.exec.orders import OrderManager
from core.exec.portfolio import Portfolio
from core.regimes import RegimeTracker
from core.risk.canary import SizingPolicy
from core.risk.engine import RiskEngine
from core.risk.exits import ExitNumbers
from core.risk.governor import Governor
from core.strategies.abstentions import AbstentionLog
from core.strategies.base import Strategy
from core.strategies.blackouts import NewsCalendar
from core.strategies.cooldown import Cooldowns
from core.strategies.quality import SelectionQuality
from core.strategies.score import SetupScorer
from core.types import Adjustment, DecisionRecord, Plan, Refusal, ScoredSignal
from tools.trace import Board, Trace


class Recorder(Protocol):
    """Where decisions are written down; one implementation writes SQLite and counts for the run's summary."""

    def decision(self, record: DecisionRecord) -> None: ...

    def signal(self, scored: ScoredSignal) -> None: ...

    def plan(self, plan: Plan) -> None: ...

    def refusal(self, refusal: Refusal) -> None: ...

    def adjustment(self, adjustment: Adjustment) -> None: ...

    def plan_time(self, seconds: float) -> None: ...


@dataclass(frozen=True, slots=True)
class BrainContext:
    """Ports and services of one run. The dataclass is frozen; what lives behind a port may change.

    ``funding_exits`` names the strategies that leave when funding is normal again (X4).
    """

    clock: Clock
    config: Configuration
    market: Market
    regimes: RegimeTracker
    strategies: Mapping[str, Strategy]
    abstentions: AbstentionLog
    scorer: SetupScorer
    calendar: NewsCalendar
    cooldowns: Cooldowns
    quality: SelectionQuality
    governor: Governor
    risk: RiskEngine
    exits: ExitNumbers
    funding_exits: frozenset[str]
    portfolio: Portfolio
    correlations: Correlations
    ledger: Ledger
    orders: OrderManager
    broker: Broker
    recorder: Recorder
    board: Board
    trace: Trace
    sizing: SizingPolicy = field(default_factory=SizingPolicy)
