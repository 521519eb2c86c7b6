"""Reserved and disabled (requirement A1): personal use, no Telegram."""

from __future__ import annotations

from core.errors import ToolRefused
from tools.base import tool
from tools.context import BrainContext


@tool("alert_telegram", None, enabled=False)
def alert_telegram(context: BrainContext, text: str) -> None:
    """Reserved; refuses every call."""
    raise ToolRefused("alert_telegram is reserved and disabled")
