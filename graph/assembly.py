"""Composition root: makes every service of a run and ties them into the frozen context."""

from __future__ import annotations

from dataclasses import dataclass

from configs.validators import Configuration
from core.clock import VirtualClock
from core.data.market import Market
from core.data.sources.base import Source
from core.data.sources.synthetic import SyntheticSource
from core.errors import SourceError
from core.exec.correlation import Correlations
from core.exec.instrument import Instrument
from core.exec.ledger import Ledger
from core.exec.orders import OrderManager
from core.exec.portfolio import Portfolio
from core.monitor.metrics import MetricLabels, Metrics
from core.monitor.store import Store
from core.monitor.telemetry import Telemetry
from core.regime_quality import RegimeScore, TruthTape
from core.regimes import RegimeTracker
from core.risk.canary import Sizing, SizingPolicy
from core.risk.engine import RiskEngine
from core.risk.exits import ExitNumbers
from core.risk.governor import Governor
from core.sim.exchange import SimExchange
from core.strategies.abstentions import AbstentionLog
from core.strategies.base import Strategy
from core.strategies.blackouts import NewsCalendar
from core.strategies.cooldown import Cooldowns
from core.strategies.quality import SelectionQuality
from core.strategies.registry import build_strategies
from core.strategies.score import SetupScorer
from graph.journaling import JournaledVenue, NoJournal, SessionJournal, Venue
from graph.recorder import RunRecorder
from graph.version import VERSION
from tools.context import BrainContext
from tools.topology import AGENT_EDGES, TOOL_EDGES
from tools.trace import Board, Trace


@dataclass(frozen=True, slots=True)
class Assembly:
    """The parts of a run that the runner drives, and the context in which the brain sees them."""

    context: BrainContext
    source: Source
    clock: VirtualClock
    venue: Venue
    recorder: RunRecorder
    store: Store
    telemetry: Telemetry
    metrics: Metrics
    regime_score: RegimeScore
    journal: SessionJournal | NoJournal


def instruments_for(config: Configuration, symbols: tuple[str, ...]) -> tuple[Instrument, ...]:
    """Instruments of ``symbols``, in order.

    Raises:
        SourceError: ``symbols.yaml`` has no entry for one of them.
    """
    known = config.symbols.by_name()
    missing = [symbol for symbol in symbols if symbol not in known]
    if missing:
        raise SourceError(
            f"symbols.yaml has no entry for {', '.join(missing)}; it has {', '.join(known)}",
            help="add the instrument with its filters to symbols.yaml, or choose others with --symbols",
            code="DATA-016",
        )
    return tuple(Instrument.from_config(known[symbol]) for symbol in symbols)


def assemble(
    config: Configuration,
    source: Source,
    store: Store,
    equity: float,
    journal: SessionJournal | None = None,
    venue: Venue | None = None,
    sizing: Sizing = Sizing.WHOLE,
    gap_fill: bool = True,
) -> Assembly:
    """Make a run over ``source`` with ``equity`` USD to start with, on paper unless another ``venue`` is given.

    Without a ``journal`` nothing is kept to explain the run by, or to go on from.
    """
    info, governance = source.info, config.governance
    instruments = instruments_for(config, info.symbols)
    market = Market(instruments, info, config.strategies, governance, gap_fill=gap_fill)
    strategies = build_strategies(config.strategies, market.symbols, market.base_tf, governance)
    telemetry = Telemetry(market.symbols, tuple(strategies), governance.per_trade_r_pct_max, info.has_books)
    recorder = RunRecorder(store, telemetry)
    if venue is None:
        venue = SimExchange(instruments, equity, leverage_cap=governance.leverage_cap)
        venue = venue if journal is None else JournaledVenue(venue, journal)
    bar_ms = [tf.ms for tf in market.base_tf]
    ledger = Ledger(instruments, starting_equity=equity, scratch_r=governance.scratch_r, bar_ms=bar_ms)
    correlations = Correlations(market.symbols, governance.correlation_window_days, governance.correlation_min_days)
    board = Board(
        ((edge.src, edge.dst) for edge in TOOL_EDGES),
        ((edge.src, edge.dst) for edge in AGENT_EDGES),
    )
    clock = VirtualClock()
    context = BrainContext(
        clock=clock,
        config=config,
        market=market,
        regimes=RegimeTracker(
            market.symbols, market.features, config.strategies.regimes, governance.min_bars_hold, market.base_tf
        ),
        strategies=strategies,
        abstentions=AbstentionLog(),
        scorer=SetupScorer(config.strategies.score, governance.correlation_limit),
        calendar=NewsCalendar(config.blackouts),
        cooldowns=Cooldowns(governance),
        quality=SelectionQuality(governance),
        governor=Governor(governance),
        risk=RiskEngine(governance, config.governance_digest),
        exits=ExitNumbers.of(governance),
        funding_exits=frozenset(name for name, strategy in strategies.items() if _leaves_on_funding(strategy)),
        portfolio=Portfolio(governance, correlations),
        correlations=correlations,
        ledger=ledger,
        orders=OrderManager(venue, ledger, instruments, recorder),
        broker=venue,
        recorder=recorder,
        board=board,
        trace=Trace(),
        sizing=SizingPolicy.of(sizing),
    )
    metrics = _metrics(context, telemetry)
    recorder.on_plan_time = metrics.plan_latency.observe
    score = RegimeScore(len(market.symbols), _truth(source), info.start)
    return Assembly(context, source, clock, venue, recorder, store, telemetry, metrics, score, journal or NoJournal())


def _truth(source: Source) -> TruthTape | None:
    """What the market knows of its own regimes, for scores only; None for a real one."""
    if not isinstance(source, SyntheticSource):
        return None
    info = source.info
    return TruthTape(source, info.symbols, info.start, info.base_tf[info.symbols[0]])


def _leaves_on_funding(strategy: Strategy) -> bool:
    return any(strategy.profile(tf).funding_exit for tf in strategy.tfs)


def _metrics(context: BrainContext, telemetry: Telemetry) -> Metrics:
    labels = MetricLabels(
        tools=tuple(context.board.tools),
        edges=tuple(context.board.edge_state),
        symbols=context.market.symbols,
        strategies=tuple(context.strategies),
        timeframes=context.market.feed.timeframes,
        build=(VERSION, context.config.digest[:12], context.config.governance_digest[:12]),
    )
    return Metrics(labels, telemetry, context.config.governance.kill_switch_drawdown_72h)
