"""The table of all metrics. The collector is built from it, and ``docs/metrics.md`` is generated from it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from core.codes import RefusalCode
from core.types import REGIME_CODES, ToolState

_NAN = float("nan")


class MetricKind(StrEnum):
    """Prometheus types in use."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


class FeedState(IntEnum):
    """Codes of ``feed_health``."""

    LOST = 0
    OK = 1
    PARTLY = 2
    NOT_OFFERED = 3


FEEDS: tuple[str, ...] = ("candles", "funding", "book", "clock")
HEALTH_FEED: dict[RefusalCode, str] = {
    RefusalCode.STREAM_CANDLES: "candles",
    RefusalCode.CANDLE_INTEGRITY: "candles",
    RefusalCode.STREAM_FUNDING: "funding",
    RefusalCode.STREAM_BOOK: "book",
    RefusalCode.CLOCK_DRIFT: "clock",
}
"""Which feed a health gate's code speaks of."""

HEALTH_GATES: tuple[RefusalCode, ...] = (*HEALTH_FEED, RefusalCode.JOURNAL_LOST)
"""Gates that can stop entries (E7)."""

ORDER_RESULTS: tuple[str, ...] = ("sent", "filled", "canceled", "expired", "rejected")


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """One metric: exported ``name``, ``kind``, ``labels``, ``unit``, what it says, and what its codes mean.

    ``initial`` is the value before anything happened; NaN where 0 would claim something.
    """

    name: str
    kind: MetricKind
    labels: tuple[str, ...]
    unit: str
    help: str
    codes: tuple[tuple[int, str], ...] = ()
    initial: float = 0.0
    buckets: tuple[float, ...] = ()

    @property
    def documentation(self) -> str:
        """HELP text: what it says, then the codes."""
        if not self.codes:
            return self.help
        return f"{self.help}: {', '.join(f'{code} {meaning}' for code, meaning in self.codes)}"


_LATENCY = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
_PLAN = (0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1)
_TOOL_CODES = ((ToolState.IDLE, "not used yet"), (ToolState.OK, "ok"), (ToolState.WARN, "warning"), (ToolState.ERROR, "error"))
_STATES = tuple((int(code), text) for code, text in _TOOL_CODES)
_EDGES = ((0, "not crossed yet"), *_STATES[1:])
_FEED = (
    (int(FeedState.LOST), "lost or never seen, entries pause"),
    (int(FeedState.OK), "ok"),
    (int(FeedState.PARTLY), "lost for some symbols, which alone are blocked"),
    (int(FeedState.NOT_OFFERED), "not offered by this source"),
)
_GATE = ((0, "well"), (1, "fails for some symbols, which alone are blocked"), (2, "fails, all entries pause"))
_DD = ((0, "inside limits"), (1, "72 h drawdown past half of the kill-switch limit"), (2, "kill-switch on, a person must unlock"))
_REGIMES = tuple((code, regime.value) for code, regime in enumerate(REGIME_CODES))
_TRADING = ((0, "active"), (1, "reducing"), (2, "halted"))
_MODELLED = "modelled, not measured, where the source has no books (feed_health of book is 3)"
_G, _C, _H = MetricKind.GAUGE, MetricKind.COUNTER, MetricKind.HISTOGRAM

METRICS: tuple[MetricSpec, ...] = (
    # the owner's own names (I3)
    MetricSpec("agent_tool_state", _G, ("agent", "tool"), "code", "State of a tool at its last use", _STATES),
    MetricSpec(
        "agent_tool_latency_seconds", _G, ("agent", "tool"), "seconds", "How long the last use of a tool took", initial=_NAN
    ),
    MetricSpec("agent_edge_state", _G, ("src", "dst"), "code", "State of an edge when it was last crossed", _EDGES),
    MetricSpec("feed_health", _G, ("feed",), "code", "Health of a data feed", _FEED),
    MetricSpec("dd_state", _G, (), "code", "State of the drawdown", _DD),
    MetricSpec("daily_lock_state", _G, (), "code", "Daily loss lock", ((0, "open"), (1, "locked until the next trading day"))),
    MetricSpec("regime_label", _G, ("symbol",), "code", "Held regime of a symbol", _REGIMES),
    MetricSpec("regime_active", _G, ("symbol", "regime"), "0 or 1", "1 for the regime that is held, else 0"),
    MetricSpec("pnl_cum_r", _G, (), "R", "Sum of the results of all closed trades, net of costs"),
    MetricSpec("winrate", _G, (), "ratio 0..1", "Won / decided trades, scratches left out; NaN without a trade", initial=_NAN),
    MetricSpec("avg_win_r", _G, (), "R", "Average result of won trades, above 0; NaN without one", initial=_NAN),
    MetricSpec("avg_loss_r", _G, (), "R", "Average result of lost trades, below 0; NaN without one", initial=_NAN),
    MetricSpec("max_dd_r", _G, (), "R", "Largest fall of pnl_cum_r from its peak, 0 or above"),
    # more, by the usual conventions
    MetricSpec("brain_build_info", _G, ("version", "config", "governance"), "1", "What runs: version and digests"),
    MetricSpec("brain_bars_processed_total", _C, (), "bars", "Announcements of closed bars"),
    MetricSpec("brain_symbol_bars_total", _C, (), "bars", "Closed base bars of single symbols"),
    MetricSpec("brain_decisions_total", _C, (), "decisions", "Decisions recorded"),
    MetricSpec(
        "brain_decision_latency_seconds", _H, (), "seconds", "From the announcement of a bar to its decision", buckets=_LATENCY
    ),
    MetricSpec("brain_plan_latency_seconds", _H, (), "seconds", "One plan by the risk engine", buckets=_PLAN),
    MetricSpec("brain_signals_total", _C, ("strategy",), "signals", "Signals by strategy"),
    MetricSpec("brain_plans_total", _C, (), "plans", "Plans admitted"),
    MetricSpec("brain_refusals_total", _C, ("code",), "refusals", "Refusals by code"),
    MetricSpec("brain_orders_total", _C, ("symbol", "result"), "orders", "Orders sent, and how they ended"),
    MetricSpec("brain_trades_total", _C, ("strategy",), "trades", "Closed trades"),
    MetricSpec("brain_equity_usd", _G, (), "USD", "Equity, marked to market", initial=_NAN),
    MetricSpec("brain_max_drawdown_pct", _G, (), "percent", "Largest drawdown of marked equity, 0 or above"),
    MetricSpec("brain_day_pnl_pct", _G, (), "percent", "Result of the trading day, marked to market", initial=_NAN),
    MetricSpec("brain_drawdown_72h_pct", _G, (), "percent", "Drawdown from the 72 h peak, 0 or above", initial=_NAN),
    MetricSpec("brain_allowed_r_pct", _G, (), "percent", "Risk allowed for the next full-size entry", initial=_NAN),
    MetricSpec("brain_fees_usd_total", _C, (), "USD", "Fees paid"),
    MetricSpec("brain_funding_usd", _G, (), "USD", "Funding received, negative when paid"),
    MetricSpec("brain_trading_state", _G, (), "code", "What the system may do", _TRADING),
    MetricSpec("brain_gate_state", _G, ("gate",), "code", "State of a health gate", _GATE),
    MetricSpec("brain_halts", _G, ("reason",), "halts", "What is not settled at the exchange, so that entries are not sent"),
    MetricSpec("brain_daily_locks_total", _C, (), "locks", "Times the daily loss limit was reached"),
    MetricSpec("brain_kill_switches_total", _C, (), "switches", "Times the 72 h drawdown limit was reached"),
    MetricSpec(
        "brain_last_bar_timestamp_seconds", _G, ("symbol", "timeframe"), "unix seconds", "Close of the last bar", initial=_NAN
    ),
    MetricSpec(
        "brain_heartbeat_timestamp_seconds", _G, (), "unix seconds", "The run's own clock at the last decision", initial=_NAN
    ),
    MetricSpec("brain_clock_drift_seconds", _G, (), "seconds", "Worse of the two clock drifts; NaN: not measured", initial=_NAN),
    MetricSpec(
        "brain_slippage_bps", _G, ("symbol",), "basis points", f"Average slippage of taker fills; {_MODELLED}", initial=_NAN
    ),
    MetricSpec("brain_spread_bps", _G, ("symbol",), "basis points", f"Average spread at the fills; {_MODELLED}", initial=_NAN),
    MetricSpec("brain_reject_ratio", _G, ("symbol",), "ratio 0..1", "Rejected / sent orders", initial=_NAN),
    MetricSpec("brain_open_positions", _G, (), "positions", "Positions open now"),
    MetricSpec("brain_strategies_active", _G, (), "strategies", "Strategies that the present regimes enable"),
    MetricSpec("brain_refused_tool_calls_total", _C, (), "calls", "Tools that an agent asked for outside its grant"),
    MetricSpec("brain_records_lost_total", _C, (), "records", "Records that could not be written"),
    MetricSpec(
        "brain_export_lag_seconds", _G, (), "seconds", "Age of the oldest record when the last commit wrote it", initial=_NAN
    ),
    MetricSpec("brain_errors_total", _C, (), "errors", "Things that failed and should not have"),
    MetricSpec("brain_warnings_total", _C, (), "warnings", "Things that need a look"),
    MetricSpec("brain_alerts_total", _C, ("level",), "alerts", "What a person was told, by how much it asks; page: look at once"),
    MetricSpec("brain_data_issues_total", _C, ("symbol", "kind"), "issues", "What was wrong with the candles, by kind"),
    MetricSpec(
        "brain_kpi",
        _G,
        ("agent", "kpi", "scope"),
        "see KPIs",
        "Figure of an agent; NaN: not assessable, or too few cases",
        initial=_NAN,
    ),
    MetricSpec("brain_kpi_cases", _G, ("agent", "kpi", "scope"), "cases", "On how many cases a figure of an agent rests"),
)


def render_metrics_table() -> str:
    """The table as Markdown, for ``docs/metrics.md``."""
    lines = ["| metric | type | labels | unit | meaning |", "|---|---|---|---|---|"]
    for spec in METRICS:
        labels = ", ".join(f"`{label}`" for label in spec.labels)
        lines.append(f"| `{spec.name}` | {spec.kind} | {labels} | {spec.unit} | {spec.documentation} |")
    return "\n".join(lines) + "\n"
