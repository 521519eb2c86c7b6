"""Which strategies may enter in which regime (capability load_enable_map)."""

from __future__ import annotations

from configs.validators import EnableMap
from tools.base import Capability, tool
from tools.context import BrainContext


@tool("enable_map_loader", Capability.LOAD_ENABLE_MAP)
def enable_map_loader(context: BrainContext) -> EnableMap:
    """Give the run's frozen enable map."""
    return context.config.enable_map
