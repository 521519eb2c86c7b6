"""Names the state of each market, with hysteresis (G6)."""

from __future__ import annotations

from agents.base import View
from core.types import Event
from tools.state import Regimes
from tools.toolkit import Toolkit
from tools.tools_market_regime_agent.feature_loader import feature_loader
from tools.tools_market_regime_agent.regime_classifier import regime_classifier
from tools.tools_market_regime_agent.trend_detector import trend_detector
from tools.tools_market_regime_agent.volatility_calc import volatility_calc


class MarketRegimeAgent:
    """Features, then volatility and trend, then the held label of every symbol."""

    name = "market_regime"

    async def run(self, view: View, kit: Toolkit) -> Regimes:
        event: Event = view["event"]
        closed = kit.call(feature_loader, event)
        volatility = kit.call(volatility_calc, closed)
        trend = kit.call(trend_detector, closed)
        return kit.call(regime_classifier, closed, volatility, trend)
