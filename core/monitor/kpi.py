"""How well each agent does its work (requirement G11): one figure, its target, and on how many cases it rests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.monitor.telemetry import ExecutionStats, Telemetry, TradeStats, total_execution

ALL = "all"
"""Scope of a figure over everything."""


@dataclass(frozen=True, slots=True)
class KpiSpec:
    """What a figure is. ``at_least``/``at_most`` is its target, in ``unit``; both None: shown, not judged.

    ``scoped`` figures are given for everything and for each strategy or symbol. On fewer than ``least_cases`` cases a figure
    says nothing.
    """

    agent: str
    name: str
    unit: str
    help: str
    at_least: float | None = None
    at_most: float | None = None
    scoped: str = ""
    least_cases: int = 0

    @property
    def target(self) -> str:
        """The target in words; empty when there is none."""
        if self.at_least is not None:
            return f">= {self.at_least:g}"
        return "" if self.at_most is None else f"<= {self.at_most:g}"


@dataclass(frozen=True, slots=True)
class Kpi:
    """A figure of one agent. ``value`` None: not assessable; ``reason`` says why where it is not that nothing happened."""

    spec: KpiSpec
    scope: str
    value: float | None
    n: int
    reason: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without a target or without a value."""
        if self.value is None:
            return None
        if self.spec.at_least is not None:
            return self.value >= self.spec.at_least
        return None if self.spec.at_most is None else self.value <= self.spec.at_most


@dataclass(frozen=True, slots=True)
class Timings:
    """What was measured with a stopwatch or outside the run; None: not measured. Times in seconds, ratios 0..1.

    ``regime_*`` come from the running score of the labels (X19; macro-F1 where the market knows its truth, over
    ``regime_cases`` symbol-hours; false switches over ``regime_switches``), ``research_*`` from the research lab.
    """

    decision_p99_s: float | None = None
    decisions: int = 0
    plan_p99_s: float | None = None
    plans: int = 0
    export_lag_s: float | None = None
    refused_tool_calls: int = 0
    records_lost: int = 0
    regime_macro_f1: float | None = None
    regime_false_switch_ratio: float | None = None
    regime_cases: int = 0
    research_trials: int | None = None
    research_gate_pass_ratio: float | None = None
    research_cost_usd: float | None = None
    regime_switches: int = 0


LEAST_TRADES = 30
"""Decided trades: below, a win rate of 0.5 has a standard error above 0.09 and cannot be told from 0.4."""
LEAST_HOURS = 100
"""Symbol-hours of known truth: a regime lasts for days, so fewer show hardly more than one of them."""
LEAST_SWITCHES = 20
"""Switches: with fewer, a single whipsaw alone is more than the 5 % that are allowed."""
MODELLED_BOOKS = "the source has no books: the figure would only repeat the model's assumption"

DECISION_LATENCY = KpiSpec(
    "brain", "decision_latency_p99", "seconds", "bar announced to decision taken, 99th percentile", at_most=0.2
)
REFUSED_EDGES = KpiSpec("brain", "refused_tool_calls", "calls", "tools that an agent asked for outside its grant", at_most=0.0)
MACRO_F1 = KpiSpec(
    "market_regime",
    "macro_f1",
    "ratio",
    "macro-averaged F1 of the 1h label where the truth is known",
    least_cases=LEAST_HOURS,
)
FALSE_SWITCHES = KpiSpec(
    "market_regime",
    "false_switch_ratio",
    "ratio",
    "A-B-A within 12 carrier bars, panic apart",
    at_most=0.05,
    least_cases=LEAST_SWITCHES,
)
WINRATE = KpiSpec(
    "strategy_selection",
    "winrate",
    "ratio",
    "won / decided trades, scratches left out",
    at_least=0.5,
    scoped="strategy",
    least_cases=LEAST_TRADES,
)
PROFIT_FACTOR = KpiSpec(
    "strategy_selection",
    "profit_factor",
    "ratio",
    "won money / lost money, all trades; its cases are the decided ones",
    at_least=1.3,
    scoped="strategy",
    least_cases=LEAST_TRADES,
)
WITHIN_LIMITS = KpiSpec("risk_manager", "within_limits", "ratio", "admitted plans that risk no more than the cap", at_least=1.0)
PLAN_TIME = KpiSpec("risk_manager", "plan_time_p99", "seconds", "one plan by the risk engine, 99th percentile", at_most=0.05)
SLIPPAGE = KpiSpec("execution", "slippage", "percent", "average of taker fills, percent of price", at_most=0.05, scoped="symbol")
REJECT_RATE = KpiSpec("execution", "reject_ratio", "ratio", "rejected / sent orders", scoped="symbol")
EXPORT_LAG = KpiSpec("monitor", "export_lag", "seconds", "age of the oldest record when the last commit wrote it")
LOST_RECORDS = KpiSpec("monitor", "records_lost", "records", "records that could not be written", at_most=0.0)
TRIALS = KpiSpec("research", "trials", "candidates", "candidates tried")
GATE_PASSES = KpiSpec("research", "gate_pass_ratio", "ratio", "candidates that passed the entry gates")
RESEARCH_COST = KpiSpec("research", "cost", "usd", "spent on language models")

KPIS: tuple[KpiSpec, ...] = (
    DECISION_LATENCY,
    REFUSED_EDGES,
    MACRO_F1,
    FALSE_SWITCHES,
    WINRATE,
    PROFIT_FACTOR,
    WITHIN_LIMITS,
    PLAN_TIME,
    SLIPPAGE,
    REJECT_RATE,
    EXPORT_LAG,
    LOST_RECORDS,
    TRIALS,
    GATE_PASSES,
    RESEARCH_COST,
)


def kpi_keys(strategies: Sequence[str], symbols: Sequence[str]) -> tuple[tuple[str, str, str], ...]:
    """(agent, kpi, scope) of every figure that :func:`assess` gives, in its order."""
    scopes = {"": (ALL,), "strategy": (ALL, *strategies), "symbol": (ALL, *symbols)}
    return tuple((spec.agent, spec.name, scope) for spec in KPIS for scope in scopes[spec.scoped])


def assess(telemetry: Telemetry, timings: Timings) -> tuple[Kpi, ...]:
    """All figures now, in the order of :data:`KPIS`."""
    t = timings
    within = telemetry.plans_within / telemetry.plans if telemetry.plans else None
    trials = t.research_trials or 0
    return (
        Kpi(DECISION_LATENCY, ALL, t.decision_p99_s, t.decisions),
        Kpi(REFUSED_EDGES, ALL, float(t.refused_tool_calls) if telemetry.decisions else None, telemetry.decisions),
        _resting_on(MACRO_F1, ALL, t.regime_macro_f1, t.regime_cases),
        _resting_on(FALSE_SWITCHES, ALL, t.regime_false_switch_ratio, t.regime_switches),
        *_selection(telemetry),
        Kpi(WITHIN_LIMITS, ALL, within, telemetry.plans),
        Kpi(PLAN_TIME, ALL, t.plan_p99_s, t.plans),
        *_execution(telemetry),
        Kpi(EXPORT_LAG, ALL, t.export_lag_s, telemetry.decisions),
        Kpi(LOST_RECORDS, ALL, float(t.records_lost) if telemetry.decisions else None, telemetry.decisions),
        Kpi(TRIALS, ALL, None if t.research_trials is None else float(t.research_trials), trials),
        Kpi(GATE_PASSES, ALL, t.research_gate_pass_ratio, trials),
        Kpi(RESEARCH_COST, ALL, t.research_cost_usd, trials),
    )


def _resting_on(spec: KpiSpec, scope: str, value: float | None, n: int) -> Kpi:
    """The figure if it rests on enough cases."""
    if value is not None and n < spec.least_cases:
        return Kpi(spec, scope, None, n, f"{n} of at least {spec.least_cases} cases")
    return Kpi(spec, scope, value, n)


def _selection(telemetry: Telemetry) -> tuple[Kpi, ...]:
    scopes: list[tuple[str, TradeStats]] = [(ALL, telemetry.stats), *telemetry.by_strategy.items()]
    winrates = tuple(_resting_on(WINRATE, scope, stats.winrate, stats.decided) for scope, stats in scopes)
    factors = tuple(_resting_on(PROFIT_FACTOR, scope, stats.profit_factor, stats.decided) for scope, stats in scopes)
    return winrates + factors


def _execution(telemetry: Telemetry) -> tuple[Kpi, ...]:
    scopes = [(ALL, total_execution(telemetry.by_symbol.values())), *telemetry.by_symbol.items()]
    slippage = tuple(_slippage(scope, stats, telemetry.has_books) for scope, stats in scopes)
    rejects = tuple(Kpi(REJECT_RATE, scope, stats.reject_ratio, stats.sent) for scope, stats in scopes)
    return slippage + rejects


def _slippage(scope: str, stats: ExecutionStats, has_books: bool) -> Kpi:
    if not has_books:
        return Kpi(SLIPPAGE, scope, None, stats.taker_fills, MODELLED_BOOKS)
    return Kpi(SLIPPAGE, scope, None if stats.slippage_bps is None else stats.slippage_bps / 100.0, stats.taker_fills)
