"""Which strategies rest after two stops in a row (capability manage_cooldown)."""

from __future__ import annotations

from tools.base import Capability, tool
from tools.context import BrainContext


@tool("cooldown_manager", Capability.MANAGE_COOLDOWN)
def cooldown_manager(context: BrainContext, strategy: str, ts: int) -> int | None:
    """Give the time until which ``strategy`` rests, or None when it may act at ``ts``."""
    return context.cooldowns.until(strategy) if context.cooldowns.blocked(strategy, ts) else None
