from __future__ import annotations

import math
import socket
import urllib.request
from collections.abc import Iterator

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from core.codes import RefusalCode
from core.data.quality import Counted, Issue
from core.monitor.kpi import assess
from core.monitor.metrics import METRICS, ExporterError, Histogram, MetricLabels, Metrics, MetricsServer, render_metrics_table
from core.monitor.telemetry import Telemetry
from core.types import GovernorView, HealthReport, OrderStatus, Timeframe, TradingState
from tests.core.monitor import making
from tests.core.monitor.making import BTC, ETH, T0

TOOLS = (("market_regime", "regime_classifier"), ("risk_manager", "position_sizer"), ("monitor", "prometheus_exporter"))
EDGES = (("brain", "market_regime"), ("market_regime", "strategy_selection"))
STRATEGIES = ("breakout_4h", "funding_rev")
OWNERS_NAMES = {
    "agent_tool_state": {"agent", "tool"},
    "agent_tool_latency_seconds": {"agent", "tool"},
    "agent_edge_state": {"src", "dst"},
    "feed_health": {"feed"},
    "dd_state": set(),
    "daily_lock_state": set(),
    "regime_label": {"symbol"},
    "regime_active": {"symbol", "regime"},
    "pnl_cum_r": set(),
    "winrate": set(),
    "avg_win_r": set(),
    "avg_loss_r": set(),
    "max_dd_r": set(),
}
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture
def metrics() -> Metrics:
    labels = MetricLabels(TOOLS, EDGES, (BTC, ETH), STRATEGIES, (Timeframe.M5, Timeframe.H1), ("0.1.0", "cfg", "gov"))
    return Metrics(labels, Telemetry((BTC, ETH), STRATEGIES, 1.1), kill_switch_dd_pct=3.5)


@pytest.fixture
def server(metrics: Metrics) -> Iterator[MetricsServer]:
    running = metrics.serve(0, "brain paper")
    yield running
    running.stop()


def _fetch(server: MetricsServer) -> str:
    with urllib.request.urlopen(server.url, timeout=5) as answer:  # noqa: S310 - our own loopback address
        return str(answer.read().decode())


def _samples(text: str) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _scrape(metrics: Metrics) -> Samples:
    """What the endpoint would answer now, without the endpoint."""
    registry = CollectorRegistry()
    registry.register(metrics.collector())
    return _samples(generate_latest(registry).decode())


def _of(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, tuple(sorted(labels.items()))]


# --- what is exported -----------------------------------------------------------------------------------------------------


def test_every_name_of_the_owner_is_there_with_all_children_from_the_start(server: MetricsServer) -> None:
    """I3: exact names and labels, over real HTTP, before the first bar."""
    samples = _samples(_fetch(server))
    for name, labels in OWNERS_NAMES.items():
        found = [dict(key) for sample, key in samples if sample == name]
        assert found, name
        assert all(set(child) == labels for child in found), name
    for agent, tool in TOOLS:
        assert _of(samples, "agent_tool_state", agent=agent, tool=tool) == 0
        assert math.isnan(_of(samples, "agent_tool_latency_seconds", agent=agent, tool=tool))
    for src, dst in EDGES:
        assert _of(samples, "agent_edge_state", src=src, dst=dst) == 0
    for feed in ("candles", "funding", "book", "clock"):
        assert _of(samples, "feed_health", feed=feed) == 0
    for code in RefusalCode:
        assert _of(samples, "brain_refusals_total", code=code.value) == 0
    for symbol in (BTC, ETH):
        assert _of(samples, "regime_label", symbol=symbol) == 0
        assert _of(samples, "regime_active", symbol=symbol, regime="unknown") == 1
        assert _of(samples, "regime_active", symbol=symbol, regime="panic") == 0
        for kind in Issue:
            assert _of(samples, "brain_data_issues_total", symbol=symbol, kind=kind.value) == 0
    assert math.isnan(_of(samples, "winrate"))
    assert _of(samples, "brain_build_info", version="0.1.0", config="cfg", governance="gov") == 1


def test_what_was_wrong_with_the_candles_is_exported_by_symbol_and_kind(metrics: Metrics) -> None:
    """B5: detected and counted is of use where somebody can see it."""
    metrics.on_data_issues([Counted(ETH, Issue.GAP, 3)])
    samples = _scrape(metrics)
    assert _of(samples, "brain_data_issues_total", symbol=ETH, kind="gap") == 3
    assert _of(samples, "brain_data_issues_total", symbol=BTC, kind="gap") == 0


def test_what_is_exported_is_what_the_table_says(server: MetricsServer) -> None:
    """I3: no metric without a line in the table, no line without a metric; names, types, help and labels agree."""
    families = {family.name: family for family in text_string_to_metric_families(_fetch(server))}
    table = {spec.name.removesuffix("_total") if spec.kind == "counter" else spec.name: spec for spec in METRICS}
    assert set(families) == set(table)
    for name, spec in table.items():
        family = families[name]
        assert (family.type, family.documentation) == (spec.kind.value, spec.documentation), name
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(spec.labels), name


def test_the_table_for_the_docs_names_every_metric_and_every_code() -> None:
    text = render_metrics_table()
    assert text.count("\n") == len(METRICS) + 2
    for spec in METRICS:
        assert f"| `{spec.name}` | {spec.kind} |" in text
        assert all(meaning in text for _, meaning in spec.codes)
    assert len({spec.name for spec in METRICS}) == len(METRICS)


def test_our_own_names_follow_the_conventions() -> None:
    for spec in METRICS:
        assert spec.name in OWNERS_NAMES or spec.name.startswith("brain_"), spec.name
        assert spec.name.endswith("_total") == (spec.kind == "counter"), spec.name


# --- values ---------------------------------------------------------------------------------------------------------------


def test_tools_and_edges_show_what_was_written_by_index(metrics: Metrics) -> None:
    i = metrics.tool_state.index("risk_manager", "position_sizer")
    metrics.tool_state.values[i] = 3.0
    metrics.tool_latency.values[i] = 0.0005
    metrics.edge_state.values[metrics.edge_state.index("brain", "market_regime")] = 2.0
    samples = _scrape(metrics)
    assert _of(samples, "agent_tool_state", agent="risk_manager", tool="position_sizer") == 3
    assert _of(samples, "agent_tool_latency_seconds", agent="risk_manager", tool="position_sizer") == 0.0005
    assert _of(samples, "agent_edge_state", src="brain", dst="market_regime") == 2
    assert _of(samples, "agent_edge_state", src="market_regime", dst="strategy_selection") == 0


def test_a_child_that_was_not_made_at_the_start_is_refused(metrics: Metrics) -> None:
    with pytest.raises(ExporterError, match="no child"):
        metrics.tool_state.index("risk_manager", "roulette")
    with pytest.raises(ExporterError, match="no child"):
        metrics.series["brain_refusals_total"].add(1.0, "NO_SUCH_CODE")


def test_counts_of_the_run_are_read_at_scrape_time(metrics: Metrics) -> None:
    telemetry = metrics.telemetry
    telemetry.on_bars(2)
    telemetry.on_decision()
    telemetry.on_equity(312.5)
    telemetry.on_signal(making.scored())
    telemetry.on_refusal(making.refusal())
    telemetry.on_plan(making.plan())
    telemetry.on_order(making.order())
    telemetry.on_update(making.update(status=OrderStatus.REJECTED))
    telemetry.on_fill(making.fill(price="100.05", expected=100.0))
    telemetry.on_trade(making.trade(1, net=2.0, r=1.5))
    telemetry.on_trade(making.trade(2, net=-1.0, r=-0.75))
    samples = _scrape(metrics)
    assert _of(samples, "brain_symbol_bars_total") == 2
    assert _of(samples, "brain_equity_usd") == 312.5
    assert _of(samples, "brain_signals_total", strategy="breakout_4h") == 1
    assert _of(samples, "brain_refusals_total", code="COST_SHARE") == 1
    assert _of(samples, "brain_orders_total", symbol=BTC, result="rejected") == 1
    assert _of(samples, "brain_orders_total", symbol=ETH, result="sent") == 0
    assert _of(samples, "brain_slippage_bps", symbol=BTC) == pytest.approx(5.0)
    assert math.isnan(_of(samples, "brain_slippage_bps", symbol=ETH))
    assert _of(samples, "brain_reject_ratio", symbol=BTC) == 1.0
    assert _of(samples, "brain_trades_total", strategy="breakout_4h") == 2
    assert (_of(samples, "pnl_cum_r"), _of(samples, "winrate")) == (0.75, 0.5)
    assert (_of(samples, "avg_win_r"), _of(samples, "avg_loss_r"), _of(samples, "max_dd_r")) == (1.5, -0.75, 0.75)


def test_regimes_are_shown_as_code_and_one_hot(metrics: Metrics) -> None:
    metrics.on_regimes(np.array([1, 5], dtype=np.int8))
    samples = _scrape(metrics)
    assert _of(samples, "regime_label", symbol=BTC) == 1
    assert _of(samples, "regime_active", symbol=BTC, regime="trend_up") == 1
    assert _of(samples, "regime_active", symbol=ETH, regime="panic") == 1
    assert sum(value for (name, _), value in samples.items() if name == "regime_active") == 2


def _view(state: TradingState, dd: float, day_lock: bool, kill: bool) -> GovernorView:
    return GovernorView(
        ts=T0,
        state=state,
        equity=295.0,
        day_start_equity=300.0,
        day_pnl_pct=-1.67,
        day_realised_pct=-1.0,
        peak_72h=305.0,
        dd_72h_pct=dd,
        day_lock=day_lock,
        kill_switch=kill,
        governance_changed=False,
        bonus=False,
        cut=False,
        loss_streak=1,
        r_pct=0.6,
        room_usd=3.0,
    )


@pytest.mark.parametrize(
    ("view", "dd", "lock", "state"),
    [
        (_view(TradingState.ACTIVE, 1.7, False, False), 0, 0, 0),
        (_view(TradingState.REDUCING, 1.75, True, False), 1, 1, 1),
        (_view(TradingState.HALTED, 3.6, True, True), 2, 1, 2),
    ],
)
def test_locks_show_as_documented_codes(metrics: Metrics, view: GovernorView, dd: int, lock: int, state: int) -> None:
    """E8."""
    metrics.on_governor(view)
    samples = _scrape(metrics)
    assert (_of(samples, "dd_state"), _of(samples, "daily_lock_state"), _of(samples, "brain_trading_state")) == (dd, lock, state)
    assert _of(samples, "brain_allowed_r_pct") == 0.6


def test_feed_health_tells_lost_from_partly_lost_from_not_offered(metrics: Metrics) -> None:
    """E7: candles, funding, book and clock."""
    metrics.not_offered("book")
    metrics.on_health(HealthReport(T0, False, 1_750.0, (RefusalCode.CLOCK_DRIFT,), ((ETH, RefusalCode.STREAM_FUNDING),)))
    samples = _scrape(metrics)
    health = {feed: _of(samples, "feed_health", feed=feed) for feed in ("candles", "funding", "book", "clock")}
    assert health == {"candles": 1, "funding": 2, "book": 3, "clock": 0}
    assert _of(samples, "brain_clock_drift_seconds") == 1.75
    gates = {gate: _of(samples, "brain_gate_state", gate=gate) for gate in ("CLOCK_DRIFT", "STREAM_FUNDING", "JOURNAL_LOST")}
    assert gates == {"CLOCK_DRIFT": 2, "STREAM_FUNDING": 1, "JOURNAL_LOST": 0}
    metrics.on_health(HealthReport(T0, False, None, (RefusalCode.JOURNAL_LOST,), ()))
    assert _of(_scrape(metrics), "brain_gate_state", gate="JOURNAL_LOST") == 2
    report = HealthReport(T0 + 1, True, None, (), ())
    metrics.on_health(report)
    metrics.on_health(report)
    samples = _scrape(metrics)
    assert _of(samples, "feed_health", feed="clock") == 1
    assert math.isnan(_of(samples, "brain_clock_drift_seconds"))


def test_the_last_bar_is_known_by_symbol_and_timeframe(metrics: Metrics) -> None:
    metrics.on_closed(Timeframe.H1, np.array([1]), T0)
    metrics.on_heartbeat(T0 + 500)
    samples = _scrape(metrics)
    assert _of(samples, "brain_last_bar_timestamp_seconds", symbol=ETH, timeframe="1h") == T0 / 1000
    assert math.isnan(_of(samples, "brain_last_bar_timestamp_seconds", symbol=BTC, timeframe="1h"))
    assert _of(samples, "brain_heartbeat_timestamp_seconds") == T0 / 1000 + 0.5


def test_kpis_are_exported_and_what_is_not_assessable_is_nan(metrics: Metrics) -> None:
    """G11."""
    metrics.telemetry.on_plan(making.plan())
    metrics.plan_latency.observe(0.00004)
    metrics.on_kpis(assess(metrics.telemetry, metrics.timings()))
    samples = _scrape(metrics)
    assert _of(samples, "brain_kpi", agent="risk_manager", kpi="within_limits", scope="all") == 1.0
    assert _of(samples, "brain_kpi", agent="risk_manager", kpi="plan_time_p99", scope="all") == 0.00005
    assert _of(samples, "brain_kpi_cases", agent="risk_manager", kpi="within_limits", scope="all") == 1.0
    assert _of(samples, "brain_kpi_cases", agent="strategy_selection", kpi="winrate", scope="funding_rev") == 0.0
    assert math.isnan(_of(samples, "brain_kpi", agent="strategy_selection", kpi="winrate", scope="funding_rev"))


def test_the_histogram_counts_as_prometheus_does(metrics: Metrics) -> None:
    for seconds in (0.0001, 0.00011, 0.003, 9.0):
        metrics.decision_latency.observe(seconds)
    samples = _scrape(metrics)
    name = "brain_decision_latency_seconds"
    assert _of(samples, f"{name}_bucket", le="0.0001") == 1
    assert _of(samples, f"{name}_bucket", le="0.00025") == 2
    assert _of(samples, f"{name}_bucket", le="5.0") == 3
    assert _of(samples, f"{name}_bucket", le="+Inf") == 4
    assert _of(samples, f"{name}_count") == 4
    assert _of(samples, f"{name}_sum") == pytest.approx(9.00321)


def test_a_quantile_is_never_too_good() -> None:
    (spec,) = [spec for spec in METRICS if spec.name == "brain_decision_latency_seconds"]
    histogram = Histogram(spec)
    assert histogram.quantile(0.99) is None
    for _ in range(99):
        histogram.observe(0.0004)
    assert histogram.quantile(0.99) == 0.0005
    histogram.observe(60.0)
    assert histogram.quantile(0.99) == 0.0005
    assert histogram.quantile(0.999) == math.inf


# --- the endpoint ---------------------------------------------------------------------------------------------------------


def test_a_busy_port_is_said_with_a_way_out(metrics: Metrics) -> None:
    """X38: the exporter's port binds and answers, or the start says so."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ExporterError, match=str(port)) as caught:
            metrics.serve(port, "brain live")
    assert caught.value.exit_code == 4
    assert "PROMETHEUS_PORT=9109 brain live (0 lets the system choose)" in caught.value.help


def test_an_impossible_port_is_refused_in_the_same_way(metrics: Metrics) -> None:
    with pytest.raises(ExporterError):
        metrics.serve(70_000, "brain paper")


def test_a_stopped_server_lets_go_of_its_port(metrics: Metrics) -> None:
    first = metrics.serve(0, "brain paper")
    first.stop()
    first.stop()
    second = metrics.serve(first.port, "brain paper")
    assert _samples(_fetch(second))
    second.stop()


def test_values_go_over_the_wire_as_they_are(metrics: Metrics, server: MetricsServer) -> None:
    metrics.telemetry.on_equity(300.1)
    assert _of(_samples(_fetch(server)), "brain_equity_usd") == 300.1
    assert server.url == f"http://127.0.0.1:{server.port}/metrics"
