"""What a tool is: a named callable with exactly one capability."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Concatenate, Generic, ParamSpec, TypeVar

if TYPE_CHECKING:
    from tools.context import BrainContext

P = ParamSpec("P")
R = TypeVar("R")


class Capability(StrEnum):
    """The closed dictionary of capabilities (requirement G2)."""

    CALC_FEATURES = "calc_features"
    CALC_VOLATILITY = "calc_volatility"
    DETECT_TREND = "detect_trend"
    CLASSIFY_REGIME = "classify_regime"
    LOAD_ENABLE_MAP = "load_enable_map"
    SCORE_STRATEGY = "score_strategy"
    MANAGE_COOLDOWN = "manage_cooldown"
    PLAN_POSITION = "plan_position"
    PLAN_STOPS = "plan_stops"
    GUARD_DRAWDOWN = "guard_drawdown"
    CHECK_LIQUIDITY = "check_liquidity"
    ESTIMATE_SLIPPAGE = "estimate_slippage"
    PLACE_ORDER = "place_order"
    GENERATE_CANDIDATE = "generate_candidate"
    RUN_BACKTEST = "run_backtest"
    RUN_WALKFORWARD = "run_walkforward"
    RUN_MONTECARLO = "run_montecarlo"
    EXPORT_METRICS = "export_metrics"
    SET_EDGE = "set_edge"


@dataclass(frozen=True, slots=True)
class BaseTool(Generic[P, R]):
    """A callable that an agent may be granted.

    ``capability`` is None only for a tool that is registered but disabled. Agents never call ``run`` themselves:
    they go through their :class:`tools.toolkit.Toolkit`, which checks the grant and keeps the record.
    """

    name: str
    capability: Capability | None
    run: Callable[Concatenate[BrainContext, P], R]
    enabled: bool = True

    @property
    def summary(self) -> str:
        """First line of the tool's own documentation."""
        return (self.run.__doc__ or "").strip().splitlines()[0] if self.run.__doc__ else ""


def tool(
    name: str, capability: Capability | None, *, enabled: bool = True
) -> Callable[[Callable[Concatenate[BrainContext, P], R]], BaseTool[P, R]]:
    """Make a tool of a function whose first argument is the runtime context."""

    def decorate(run: Callable[Concatenate[BrainContext, P], R]) -> BaseTool[P, R]:
        return BaseTool(name, capability, run, enabled)

    return decorate
