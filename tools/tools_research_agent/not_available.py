"""The honest answer of a tool whose room is still empty."""

from __future__ import annotations

from core.codes import RefusalCode
from core.types import Refusal


def not_available(tool: str, ts: int) -> Refusal:
    """Refusal of a research tool before the research lab exists."""
    code = RefusalCode.NOT_AVAILABLE_YET
    return Refusal(code, ts, "research", "", "", tool, f"{tool}: {code.meaning}")
