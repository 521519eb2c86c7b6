"""The coordinator: is the system fit to act, and which way does this event go (G8)."""

from __future__ import annotations

from agents.base import View
from core.types import Event
from tools.state import Status
from tools.toolkit import Toolkit
from tools.tools_brain_agent.edge_recorder import edge_recorder
from tools.tools_risk_manager_agent.dd_guard import dd_guard


class BrainAgent:
    """Reads health and drawdown guards first; everything after acts within what they allow."""

    name = "brain"

    async def run(self, view: View, kit: Toolkit) -> Status:
        event: Event = view["event"]
        kit.call(edge_recorder, event)
        governor = kit.call(dd_guard, event.ts)
        return Status(kit.context.market.health.report(event.ts), governor)
