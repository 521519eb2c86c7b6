"""Carries what the run knows to the metrics: a few list writes a bar, the board of tools and edges now and then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from core.data.blocks import Closed
from core.exec.live.halts import Halt, HaltKind
from core.monitor.kpi import Timings, assess
from core.monitor.metrics import Metrics
from core.monitor.telemetry import Telemetry
from core.regime_quality import RegimeScore
from tools.context import BrainContext
from tools.state import BrainState


class LiveMetrics:
    """Keeps ``metrics`` up to date with one run.

    Attributes:
        halts: what keeps entries from being sent to a real venue; whoever has one puts its own here.
        records_lost: how many records could not be written so far; whoever writes them puts its own count here.
    """

    def __init__(
        self, context: BrainContext, metrics: Metrics, telemetry: Telemetry, score: RegimeScore, *, has_books: bool
    ) -> None:
        self._context = context
        self._metrics = metrics
        self._telemetry = telemetry
        self._regime_score = score
        self.halts: Callable[[], tuple[Halt, ...]] = lambda: ()
        self.records_lost: Callable[[], int] = lambda: 0
        if not has_books:
            metrics.not_offered("book")

    def on_bar(self, closed: Closed, state: BrainState) -> None:
        """After each decision."""
        metrics = self._metrics
        for block in closed.blocks:
            metrics.on_closed(block.tf, block.idx, closed.ts)
        metrics.on_regimes(self._context.regimes.h1)
        metrics.on_heartbeat(closed.ts)
        status = state["status"]
        metrics.on_governor(status.governor)
        metrics.on_health(status.health)

    def sync(self, export_lag_s: float) -> None:
        """Board of tools and edges, counts and KPIs, after a commit whose oldest record was ``export_lag_s`` old."""
        board, metrics, series = self._context.board, self._metrics, self._metrics.series
        for (agent, tool), slot in board.tools.items():
            metrics.tool_state.values[metrics.tool_state.index(agent, tool)] = float(slot.state)
            if slot.calls:
                metrics.tool_latency.values[metrics.tool_latency.index(agent, tool)] = slot.latency_ns / 1e9
        for (src, dst), state in board.edge_state.items():
            metrics.edge_state.values[metrics.edge_state.index(src, dst)] = float(state)
        series["brain_open_positions"].set(float(len(self._context.ledger.positions)))
        series["brain_strategies_active"].set(float(self._strategies_active()))
        series["brain_refused_tool_calls_total"].set(float(sum(board.refused_calls.values())))
        series["brain_records_lost_total"].set(float(self.records_lost()))
        self.on_halts()
        series["brain_export_lag_seconds"].set(export_lag_s)
        issues = self._context.market.feed.counters.all()
        metrics.on_data_issues(issues)
        self._telemetry.set_data_issues(issues)
        metrics.on_kpis(assess(self._telemetry, self._timings()))

    def on_halts(self) -> None:
        """What is halted now; it comes and goes between bars."""
        halts = [halt.kind for halt in self.halts()]
        self._metrics.series["brain_halts"].values[:] = [float(halts.count(kind)) for kind in HaltKind]

    def _timings(self) -> Timings:
        score = self._regime_score
        return replace(
            self._metrics.timings(),
            regime_macro_f1=score.macro_f1,
            regime_cases=score.scored_hours,
            regime_false_switch_ratio=score.false_switch_ratio,
            regime_switches=score.switches,
        )

    def _strategies_active(self) -> int:
        """Strategies that the regime of at least one symbol enables now."""
        context = self._context
        return sum(
            any(
                name in context.config.enable_map.order(context.regimes.carrier(name, index).value)
                for index in range(len(context.market.symbols))
            )
            for name in context.strategies
        )
