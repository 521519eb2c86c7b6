"""Metrics for Prometheus: one table of what is exported, plain lists to write to, and a collector that reads them.

A client library's counter costs 0.2-1 microseconds an update; a write into a list costs a tenth of it, so the bar's path
writes lists and the library only sees the values when somebody scrapes. What :class:`~core.monitor.telemetry.Telemetry`
counts anyway is read from there at scrape time and costs the bar nothing.

Every child (each combination of labels) exists from the start, so that no rate and no panel misses the first event.
NaN means «not known yet»; it is never shown as 0.
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any
from wsgiref.simple_server import WSGIServer

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from core.codes import RefusalCode
from core.data.quality import Counted, Issue
from core.errors import BrainError
from core.exec.live.halts import HaltKind
from core.monitor.kpi import Kpi, Timings, kpi_keys
from core.monitor.metric_specs import (
    FEEDS,
    HEALTH_FEED,
    HEALTH_GATES,
    METRICS,
    ORDER_RESULTS,
    FeedState,
    MetricKind,
    MetricSpec,
    render_metrics_table,
)
from core.monitor.schema import AlertLevel
from core.monitor.telemetry import Telemetry
from core.types import REGIME_CODES, GovernorView, HealthReport, Timeframe, TradingState

_TRADING_CODES = {TradingState.ACTIVE: 0.0, TradingState.REDUCING: 1.0, TradingState.HALTED: 2.0}
Key = tuple[str, ...]

__all__ = [
    "METRICS",
    "ExporterError",
    "Histogram",
    "MetricLabels",
    "MetricSpec",
    "Metrics",
    "MetricsServer",
    "Series",
    "render_metrics_table",
]


class ExporterError(BrainError):
    """The metrics cannot be served."""

    default_code = "MON-001"
    exit_code = 4


@dataclass(frozen=True, slots=True)
class MetricLabels:
    """What runs, from which every child is made: (agent, tool) pairs, (src, dst) edges, and the run's own lists."""

    tools: tuple[tuple[str, str], ...]
    edges: tuple[tuple[str, str], ...]
    symbols: tuple[str, ...]
    strategies: tuple[str, ...]
    timeframes: tuple[Timeframe, ...]
    build: tuple[str, ...] = field(default=("0", "", ""))
    """Version, configuration digest, governance digest."""


class Series:
    """Children of one gauge or counter. The bar's path keeps an index and writes ``values[index]``."""

    __slots__ = ("_index", "keys", "spec", "values")

    def __init__(self, spec: MetricSpec, keys: Sequence[Key]) -> None:
        self.spec = spec
        self.keys = tuple(keys)
        self.values: list[float] = [spec.initial] * len(self.keys)
        self._index = {key: i for i, key in enumerate(self.keys)}

    def index(self, *labels: str) -> int:
        """Where the child of ``labels`` is.

        Raises:
            ExporterError: there is no such child; all are made at the start.
        """
        found = self._index.get(labels)
        if found is None:
            raise ExporterError(f"metric {self.spec.name} has no child {labels!r}", help="add it to MetricLabels")
        return found

    def set(self, value: float, *labels: str) -> None:
        """Set one child by its labels; for what happens seldom."""
        self.values[self.index(*labels)] = value

    def add(self, amount: float, *labels: str) -> None:
        """Add to one child by its labels; for what happens seldom."""
        self.values[self.index(*labels)] += amount


class Histogram:
    """A classic histogram without labels: counts by upper bound, the last one without bound."""

    __slots__ = ("bounds", "counts", "spec", "total")

    def __init__(self, spec: MetricSpec) -> None:
        self.spec = spec
        self.bounds = spec.buckets
        self.counts = [0] * (len(spec.buckets) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value; a value equal to a bound lies under it."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def n(self) -> int:
        """How many values were counted."""
        return sum(self.counts)

    def quantile(self, share: float) -> float | None:
        """Upper bound of the bucket in which the ``share`` quantile lies: never too good. None without values."""
        rank, seen = share * self.n, 0
        if rank <= 0.0:
            return None
        for bound, count in zip((*self.bounds, math.inf), self.counts, strict=True):
            seen += count
            if seen >= rank:
                return bound
        return math.inf


class Metrics:
    """Everything that is exported.

    The bar's path uses ``tool_state``, ``tool_latency`` and ``edge_state`` by index (``values[i] = x``), the histograms'
    ``observe`` and the ``on_*`` methods; the rest is read from ``telemetry`` when somebody scrapes.

    Args:
        labels: what runs.
        telemetry: counts of the run.
        kill_switch_dd_pct: the governance's 72 h limit; ``dd_state`` warns from half of it.
    """

    def __init__(self, labels: MetricLabels, telemetry: Telemetry, kill_switch_dd_pct: float) -> None:
        self.labels = labels
        self.telemetry = telemetry
        self._dd_warn_pct = kill_switch_dd_pct / 2.0
        keys = _children(labels)
        self.series = {s.name: Series(s, keys[s.labels]) for s in METRICS if s.kind is not MetricKind.HISTOGRAM}
        self.histograms = {spec.name: Histogram(spec) for spec in METRICS if spec.kind is MetricKind.HISTOGRAM}
        self.tool_state = self.series["agent_tool_state"]
        self.tool_latency = self.series["agent_tool_latency_seconds"]
        self.edge_state = self.series["agent_edge_state"]
        self.decision_latency = self.histograms["brain_decision_latency_seconds"]
        self.plan_latency = self.histograms["brain_plan_latency_seconds"]
        self._feed_health = self.series["feed_health"]
        self._symbol_count = len(labels.symbols)
        self._last_bar = {tf: np.full(self._symbol_count, np.nan) for tf in labels.timeframes}
        self._held = b""
        self._health: HealthReport | None = None
        self._view: GovernorView | None = None
        self.series["brain_build_info"].values[0] = 1.0

    # --- each bar -----------------------------------------------------------------------------------------------------

    def on_closed(self, tf: Timeframe, idx: NDArray[np.int64], ts: int) -> None:
        """Bars of the symbols ``idx`` on ``tf`` closed at ``ts`` (ms)."""
        self._last_bar[tf][idx] = ts / 1000.0

    def on_regimes(self, codes: NDArray[np.int8]) -> None:
        """Held regime codes of all symbols, in the run's order."""
        held = codes.tobytes()
        if held != self._held:
            self._held = held
            self.series["regime_label"].values[:] = [float(code) for code in held]

    def on_heartbeat(self, ts: int) -> None:
        """The run lives at ``ts`` (ms of the run's own clock)."""
        self.series["brain_heartbeat_timestamp_seconds"].values[0] = ts / 1000.0

    def on_governor(self, view: GovernorView) -> None:
        """What the governor allows now (requirement E8)."""
        self._view = view

    def on_health(self, report: HealthReport) -> None:
        """Verdict of the health gates (requirement E7); cheap while the same report comes again."""
        if report is self._health:
            return
        self._health = report
        states = self._feed_health.values
        offered = [state != FeedState.NOT_OFFERED for state in states]
        blocked = {HEALTH_FEED[code] for _, code in report.blocked if code in HEALTH_FEED}
        paused = {HEALTH_FEED[code] for code in report.paused if code in HEALTH_FEED}
        for i, feed in enumerate(FEEDS):
            if offered[i]:
                states[i] = float(FeedState.LOST if feed in paused else FeedState.PARTLY if feed in blocked else FeedState.OK)
        failing = {code for _, code in report.blocked}
        self.series["brain_gate_state"].values[:] = [
            2.0 if gate in report.paused else float(gate in failing) for gate in HEALTH_GATES
        ]
        drift = report.drift_ms
        self.series["brain_clock_drift_seconds"].values[0] = math.nan if drift is None else drift / 1000.0

    # --- seldom -------------------------------------------------------------------------------------------------------

    def not_offered(self, feed: str) -> None:
        """This run's source has no such feed (replay without books): it is neither well nor ill."""
        self._feed_health.set(float(FeedState.NOT_OFFERED), feed)

    def on_kpis(self, kpis: Iterable[Kpi]) -> None:
        """Figures of the agents and the cases behind them (requirement G11); «not assessable» is NaN."""
        figures, cases = self.series["brain_kpi"], self.series["brain_kpi_cases"]
        for kpi in kpis:
            labels = (kpi.spec.agent, kpi.spec.name, kpi.scope)
            figures.set(math.nan if kpi.value is None else kpi.value, *labels)
            cases.set(float(kpi.n), *labels)

    def on_data_issues(self, counted: Iterable[Counted]) -> None:
        """What the feed has counted so far (requirement B5)."""
        series = self.series["brain_data_issues_total"]
        for symbol, kind, times in counted:
            series.set(float(times), symbol, kind.value)

    def timings(self) -> Timings:
        """What was measured with a stopwatch, for :func:`core.monitor.kpi.assess`."""
        lag = self.series["brain_export_lag_seconds"].values[0]
        return Timings(
            decision_p99_s=self.decision_latency.quantile(0.99),
            decisions=self.decision_latency.n,
            plan_p99_s=self.plan_latency.quantile(0.99),
            plans=self.plan_latency.n,
            export_lag_s=None if math.isnan(lag) else lag,
            refused_tool_calls=int(self.series["brain_refused_tool_calls_total"].values[0]),
            records_lost=int(self.series["brain_records_lost_total"].values[0]),
        )

    # --- scrape -------------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Bring the series that are read from elsewhere up to date; done by each scrape."""
        for name, read in _FROM_TELEMETRY.items():
            series = self.series[name]
            for i, key in enumerate(series.keys):
                value = read(self.telemetry, key)
                series.values[i] = math.nan if value is None else float(value)
        self._refresh_governor()
        codes = self.series["regime_label"].values
        self.series["regime_active"].values[:] = [float(code == held) for held in codes for code in range(len(REGIME_CODES))]
        last = self.series["brain_last_bar_timestamp_seconds"]
        last.values[:] = [float(self._last_bar[tf][i]) for i in range(self._symbol_count) for tf in self.labels.timeframes]

    def _refresh_governor(self) -> None:
        view = self._view
        if view is None:
            return
        warned = 1.0 if view.dd_72h_pct >= self._dd_warn_pct else 0.0
        self.series["dd_state"].values[0] = 2.0 if view.kill_switch else warned
        self.series["daily_lock_state"].values[0] = float(view.day_lock)
        self.series["brain_trading_state"].values[0] = _TRADING_CODES[view.state]
        self.series["brain_day_pnl_pct"].values[0] = view.day_pnl_pct
        self.series["brain_drawdown_72h_pct"].values[0] = view.dd_72h_pct
        self.series["brain_allowed_r_pct"].values[0] = view.r_pct

    def families(self) -> list[Metric]:
        """All metrics in the client library's form, in the order of the table."""
        self.refresh()
        return [self._family(spec) for spec in METRICS]

    def _family(self, spec: MetricSpec) -> Metric:
        if spec.kind is MetricKind.HISTOGRAM:
            histogram = self.histograms[spec.name]
            return _histogram_family(histogram)
        kind = CounterMetricFamily if spec.kind is MetricKind.COUNTER else GaugeMetricFamily
        family = kind(spec.name, spec.documentation, labels=spec.labels)
        series = self.series[spec.name]
        for key, value in zip(series.keys, list(series.values), strict=True):
            family.add_metric(key, value)
        return family

    def collector(self) -> Collector:
        """What the client library collects from."""
        return _Collector(self)

    def serve(self, port: int, command: str, address: str = "127.0.0.1") -> MetricsServer:
        """Serve ``/metrics`` on this machine; port 0 lets the system choose one. ``command``: what runs, for the advice.

        Raises:
            ExporterError: the port is in use or not allowed.
        """
        registry = CollectorRegistry()
        registry.register(self.collector())
        try:
            server, thread = start_http_server(port, addr=address, registry=registry)
        except (OSError, OverflowError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise ExporterError(
                f"metrics cannot be served on {address}:{port}: {reason}",
                help=f"choose another port: PROMETHEUS_PORT=9109 {command} (0 lets the system choose)",
            ) from error
        return MetricsServer(server, thread, address)


class MetricsServer:
    """A running ``/metrics`` endpoint in a thread of its own."""

    def __init__(self, server: WSGIServer, thread: threading.Thread, address: str) -> None:
        self._server = server
        self._thread = thread
        self.port = int(server.server_port)
        self.url = f"http://{address}:{self.port}/metrics"

    def stop(self) -> None:
        """Stop answering and let go of the port. Stopping twice does no harm."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()


class _Collector(Collector):
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics.families()


def _histogram_family(histogram: Histogram) -> Metric:
    family = HistogramMetricFamily(histogram.spec.name, histogram.spec.documentation)
    counts, seen, buckets = list(histogram.counts), 0, []
    for bound, count in zip((*histogram.bounds, math.inf), counts, strict=True):
        seen += count
        buckets.append(("+Inf" if math.isinf(bound) else repr(bound), float(seen)))
    family.add_metric((), buckets, histogram.total)
    return family


def _children(labels: MetricLabels) -> dict[Key, tuple[Key, ...]]:
    symbols = tuple((symbol,) for symbol in labels.symbols)
    return {
        (): ((),),
        ("agent", "tool"): labels.tools,
        ("src", "dst"): labels.edges,
        ("feed",): tuple((feed,) for feed in FEEDS),
        ("reason",): tuple((kind.value,) for kind in HaltKind),
        ("gate",): tuple((gate.value,) for gate in HEALTH_GATES),
        ("symbol",): symbols,
        ("symbol", "regime"): tuple(product(labels.symbols, (regime.value for regime in REGIME_CODES))),
        ("symbol", "timeframe"): tuple(product(labels.symbols, (tf.value for tf in labels.timeframes))),
        ("symbol", "result"): tuple(product(labels.symbols, ORDER_RESULTS)),
        ("symbol", "kind"): tuple(product(labels.symbols, (kind.value for kind in Issue))),
        ("strategy",): tuple((name,) for name in labels.strategies),
        ("code",): tuple((code.value,) for code in RefusalCode),
        ("level",): tuple((level.value,) for level in AlertLevel),
        ("agent", "kpi", "scope"): kpi_keys(labels.strategies, labels.symbols),
        ("version", "config", "governance"): (labels.build,),
    }


_Read = Callable[[Telemetry, Key], float | None]
_FROM_TELEMETRY: dict[str, _Read] = {
    "pnl_cum_r": lambda t, _: t.stats.sum_r,
    "winrate": lambda t, _: t.stats.winrate,
    "avg_win_r": lambda t, _: t.stats.avg_win_r,
    "avg_loss_r": lambda t, _: t.stats.avg_loss_r,
    "max_dd_r": lambda t, _: t.stats.max_dd_r,
    "brain_bars_processed_total": lambda t, _: t.bars,
    "brain_symbol_bars_total": lambda t, _: t.symbol_bars,
    "brain_decisions_total": lambda t, _: t.decisions,
    "brain_signals_total": lambda t, key: t.signals.get(key[0], 0),
    "brain_plans_total": lambda t, _: t.plans,
    "brain_refusals_total": lambda t, key: t.refusals.get(key[0], 0),
    "brain_trades_total": lambda t, key: t.by_strategy[key[0]].n if key[0] in t.by_strategy else 0,
    "brain_orders_total": lambda t, key: _of_symbol(t, key[0], key[1]) or 0,
    "brain_slippage_bps": lambda t, key: _of_symbol(t, key[0], "slippage_bps"),
    "brain_spread_bps": lambda t, key: _of_symbol(t, key[0], "spread_bps"),
    "brain_reject_ratio": lambda t, key: _of_symbol(t, key[0], "reject_ratio"),
    "brain_equity_usd": lambda t, _: t.equity,
    "brain_max_drawdown_pct": lambda t, _: t.max_dd_pct,
    "brain_fees_usd_total": lambda t, _: t.fees,
    "brain_funding_usd": lambda t, _: t.funding,
    "brain_daily_locks_total": lambda t, _: t.daily_locks,
    "brain_kill_switches_total": lambda t, _: t.kill_switches,
    "brain_errors_total": lambda t, _: t.errors,
    "brain_warnings_total": lambda t, _: t.warnings,
    "brain_alerts_total": lambda t, key: t.alerts[key[0]],
}


def _of_symbol(telemetry: Telemetry, symbol: str, what: str) -> float | None:
    stats: Any = telemetry.by_symbol.get(symbol)
    value: float | None = None if stats is None else getattr(stats, what)
    return value
