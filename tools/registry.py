"""Every tool there is, by name; checked against the topology when imported by the graph."""

from __future__ import annotations

from typing import Any

from core.errors import TopologyError
from tools.base import BaseTool
from tools.tools_brain_agent.edge_recorder import edge_recorder
from tools.tools_execution_agent.liquidity_check import liquidity_check
from tools.tools_execution_agent.order_placer_ccxt import order_placer_ccxt
from tools.tools_execution_agent.slippage_estimator import slippage_estimator
from tools.tools_market_regime_agent.feature_loader import feature_loader
from tools.tools_market_regime_agent.regime_classifier import regime_classifier
from tools.tools_market_regime_agent.trend_detector import trend_detector
from tools.tools_market_regime_agent.volatility_calc import volatility_calc
from tools.tools_monitor_agent.alert_telegram import alert_telegram
from tools.tools_monitor_agent.prometheus_exporter import prometheus_exporter
from tools.tools_research_agent.backtest_runner import backtest_runner
from tools.tools_research_agent.generate_candidate import generate_candidate
from tools.tools_research_agent.montecarlo_runner import montecarlo_runner
from tools.tools_research_agent.walkforward_runner import walkforward_runner
from tools.tools_risk_manager_agent.dd_guard import dd_guard
from tools.tools_risk_manager_agent.position_sizer import position_sizer
from tools.tools_risk_manager_agent.stop_planner import stop_planner
from tools.tools_strategy_selection_agent.cooldown_manager import cooldown_manager
from tools.tools_strategy_selection_agent.enable_map_loader import enable_map_loader
from tools.tools_strategy_selection_agent.strategy_scorer import strategy_scorer
from tools.topology import CAPABILITY_OF

TOOLS: dict[str, BaseTool[..., Any]] = {
    tool.name: tool
    for tool in (
        edge_recorder,
        dd_guard,
        feature_loader,
        volatility_calc,
        trend_detector,
        regime_classifier,
        enable_map_loader,
        strategy_scorer,
        cooldown_manager,
        position_sizer,
        stop_planner,
        liquidity_check,
        slippage_estimator,
        order_placer_ccxt,
        generate_candidate,
        backtest_runner,
        walkforward_runner,
        montecarlo_runner,
        prometheus_exporter,
        alert_telegram,
    )
}


def check_registry() -> None:
    """Refuse to run when the code's tools and the table's tools differ.

    Raises:
        TopologyError: a tool is missing on one side, or bears another capability than the table says.
    """
    enabled = {name: tool.capability for name, tool in TOOLS.items() if tool.enabled}
    if enabled != CAPABILITY_OF:
        differing = sorted(name for name in {*enabled, *CAPABILITY_OF} if enabled.get(name) is not CAPABILITY_OF.get(name))
        raise TopologyError(f"tools and table disagree on {', '.join(differing)}")
