"""Client of the sandboxed research worker; no LLM runs in this process (G9, J4)."""

from __future__ import annotations

from agents.base import View
from core.types import Event
from tools.state import ResearchResult
from tools.toolkit import Toolkit
from tools.tools_research_agent.generate_candidate import generate_candidate


class ResearchAgent:
    """Asks for a candidate; until the research lab is built every request is answered with its code."""

    name = "research"

    async def run(self, view: View, kit: Toolkit) -> ResearchResult:
        event: Event = view["event"]
        return ResearchResult(event.note, (kit.call(generate_candidate, event.ts),))
