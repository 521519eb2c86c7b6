"""A node each: the seven agents."""

from __future__ import annotations

from agents.base import Agent
from agents.brain_agent import BrainAgent
from agents.execution_agent import ExecutionAgent
from agents.market_regime_agent import MarketRegimeAgent
from agents.monitor_agent import MonitorAgent
from agents.research_agent import ResearchAgent
from agents.risk_manager_agent import RiskManagerAgent
from agents.strategy_selection_agent import StrategySelectionAgent


def build_agents() -> dict[str, Agent]:
    """A fresh instance of every agent, by name."""
    agents: tuple[Agent, ...] = (
        BrainAgent(),
        MarketRegimeAgent(),
        StrategySelectionAgent(),
        RiskManagerAgent(),
        ExecutionAgent(),
        ResearchAgent(),
        MonitorAgent(),
    )
    return {agent.name: agent for agent in agents}
