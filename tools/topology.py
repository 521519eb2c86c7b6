"""The one table of the brain: agents, tools, edges, routing.

From it the StateGraph is compiled, the direct runner made, the metrics' children created and the picture in
``docs/topology.md`` drawn. Adding an agent or a tool means adding a line here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from core.errors import TopologyError
from core.types import EventKind
from tools.base import Capability
from tools.state import STATE_TYPES, BrainState


class AgentKind(StrEnum):
    """Deterministic agents run on every bar; LLM agents only behind research, in the sandbox (G9)."""

    DETERMINISTIC = "deterministic"
    LLM = "llm"


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """A node: what it may read, the one key that it writes, the tools it is granted, its home class."""

    name: str
    kind: AgentKind
    reads: tuple[str, ...]
    writes: str
    tools: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EdgeSpec:
    """An arrow with its one tool and capability. Crossing it means that this tool produced what crosses.

    ``when`` tells apart edges of one source that bear the same capability.
    """

    src: str
    dst: str
    tool: str
    capability: Capability
    when: str = ""

    @property
    def label(self) -> str:
        """Key of the edge in the compiled graph's path map, and its text in every picture."""
        return f"{self.capability.value}:{self.when}" if self.when else self.capability.value


C = Capability

CAPABILITY_OF: dict[str, Capability] = {
    "feature_loader": C.CALC_FEATURES,
    "volatility_calc": C.CALC_VOLATILITY,
    "trend_detector": C.DETECT_TREND,
    "regime_classifier": C.CLASSIFY_REGIME,
    "enable_map_loader": C.LOAD_ENABLE_MAP,
    "strategy_scorer": C.SCORE_STRATEGY,
    "cooldown_manager": C.MANAGE_COOLDOWN,
    "position_sizer": C.PLAN_POSITION,
    "stop_planner": C.PLAN_STOPS,
    "dd_guard": C.GUARD_DRAWDOWN,
    "liquidity_check": C.CHECK_LIQUIDITY,
    "slippage_estimator": C.ESTIMATE_SLIPPAGE,
    "order_placer_ccxt": C.PLACE_ORDER,
    "generate_candidate": C.GENERATE_CANDIDATE,
    "backtest_runner": C.RUN_BACKTEST,
    "walkforward_runner": C.RUN_WALKFORWARD,
    "montecarlo_runner": C.RUN_MONTECARLO,
    "prometheus_exporter": C.EXPORT_METRICS,
    "edge_recorder": C.SET_EDGE,
}
"""Every enabled tool and its one capability; ``alert_telegram`` is registered, disabled and has none."""

AGENTS: tuple[AgentSpec, ...] = (
    AgentSpec("brain", AgentKind.DETERMINISTIC, ("event",), "status", ("edge_recorder", "dd_guard")),
    AgentSpec(
        "market_regime",
        AgentKind.DETERMINISTIC,
        ("event",),
        "regimes",
        ("feature_loader", "volatility_calc", "trend_detector", "regime_classifier"),
    ),
    AgentSpec(
        "strategy_selection",
        AgentKind.DETERMINISTIC,
        ("event", "status", "regimes"),
        "selection",
        ("enable_map_loader", "strategy_scorer", "cooldown_manager"),
    ),
    AgentSpec(
        "risk_manager",
        AgentKind.DETERMINISTIC,
        ("event", "status", "selection"),
        "risk",
        ("position_sizer", "stop_planner", "dd_guard"),
    ),
    AgentSpec(
        "execution",
        AgentKind.DETERMINISTIC,
        ("event", "selection", "risk"),
        "execution",
        ("liquidity_check", "slippage_estimator", "order_placer_ccxt"),
    ),
    AgentSpec(
        "research",
        AgentKind.LLM,
        ("event",),
        "research",
        ("generate_candidate", "backtest_runner", "walkforward_runner", "montecarlo_runner"),
    ),
    AgentSpec(
        "monitor",
        AgentKind.DETERMINISTIC,
        ("event", "status", "regimes", "selection", "risk", "execution", "research"),
        "record",
        ("prometheus_exporter",),
    ),
)

AGENT_EDGES: tuple[EdgeSpec, ...] = (
    EdgeSpec("brain", "market_regime", "edge_recorder", C.SET_EDGE, when="bar"),
    EdgeSpec("brain", "research", "edge_recorder", C.SET_EDGE, when="research"),
    EdgeSpec("brain", "monitor", "edge_recorder", C.SET_EDGE, when="report"),
    EdgeSpec("market_regime", "strategy_selection", "regime_classifier", C.CLASSIFY_REGIME),
    EdgeSpec("strategy_selection", "risk_manager", "strategy_scorer", C.SCORE_STRATEGY),
    EdgeSpec("strategy_selection", "monitor", "enable_map_loader", C.LOAD_ENABLE_MAP),
    EdgeSpec("risk_manager", "execution", "position_sizer", C.PLAN_POSITION),
    EdgeSpec("risk_manager", "monitor", "dd_guard", C.GUARD_DRAWDOWN),
    EdgeSpec("execution", "monitor", "order_placer_ccxt", C.PLACE_ORDER),
    EdgeSpec("research", "monitor", "generate_candidate", C.GENERATE_CANDIDATE),
)

TOOL_EDGES: tuple[EdgeSpec, ...] = tuple(
    EdgeSpec(agent.name, name, name, CAPABILITY_OF[name]) for agent in AGENTS for name in agent.tools
)

EDGES: tuple[EdgeSpec, ...] = AGENT_EDGES + TOOL_EDGES

ENTRY = "brain"
EXIT = "monitor"


# --- routing: pure functions of the state, one for each agent with a choice --------------------------


def _after_brain(state: BrainState) -> str:
    kind = state["event"].kind
    if kind is EventKind.BAR:
        return "market_regime"
    return "research" if kind is EventKind.RESEARCH else "monitor"


def _after_selection(state: BrainState) -> str:
    # Open positions are managed on every bar, whatever selection found: exits are never blocked.
    if state["selection"].candidates or state["selection"].manage:
        return "risk_manager"
    return "monitor"


def _after_risk(state: BrainState) -> str:
    risk = state["risk"]
    return "execution" if risk.plans or risk.adjustments else "monitor"


ROUTES: dict[str, Callable[[BrainState], str]] = {
    "brain": _after_brain,
    "market_regime": lambda _: "strategy_selection",
    "strategy_selection": _after_selection,
    "risk_manager": _after_risk,
    "execution": lambda _: "monitor",
    "research": lambda _: "monitor",
}
"""Agent -> name of the agent that follows; the monitor ends the event."""

_GUARDED = frozenset({C.PLAN_POSITION, C.PLAN_STOPS, C.GUARD_DRAWDOWN, C.PLACE_ORDER, C.LOAD_ENABLE_MAP})
"""Capabilities over orders, risk and configuration: out of reach of any LLM."""


def agent(name: str) -> AgentSpec:
    """Specification of the agent called ``name``."""
    return next(spec for spec in AGENTS if spec.name == name)


def out_edges(name: str, edges: tuple[EdgeSpec, ...] = AGENT_EDGES) -> tuple[EdgeSpec, ...]:
    """Agent edges that leave ``name``, in table order."""
    return tuple(edge for edge in edges if edge.src == name)


def validate(
    agents: tuple[AgentSpec, ...] = AGENTS,
    agent_edges: tuple[EdgeSpec, ...] = AGENT_EDGES,
    capability_of: dict[str, Capability] | None = None,
) -> None:
    """Check every rule of the table; the graph is built only from a table that passes.

    Raises:
        TopologyError: an edge without a tag or with a tool that is not its own, a tool with no or another
            capability, two tools with one capability, two writers of one key, an unknown agent or key, two edges of
            one label or target, or an LLM agent from which order, risk or configuration can be reached.
    """
    capabilities = CAPABILITY_OF if capability_of is None else capability_of
    grants = {spec.name: spec.tools for spec in agents}
    _refuse_repeats("agent", [spec.name for spec in agents])
    _refuse_repeats("state key with two writers:", [spec.writes for spec in agents])
    _refuse_repeats("capability", [capability.value for capability in capabilities.values()])
    for spec in agents:
        _check_agent(spec, capabilities)
    for edge in agent_edges:
        _check_edge(edge, grants, capabilities)
    for name in grants:
        leaving = out_edges(name, agent_edges)
        _refuse_repeats(f"edge label of {name}", [edge.label for edge in leaving])
        _refuse_repeats(f"edge target of {name}", [edge.dst for edge in leaving])
    for spec in agents:
        if spec.kind is AgentKind.LLM:
            _refuse_reach(spec, agents, agent_edges, capabilities)


def _refuse_repeats(what: str, names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TopologyError(f"{what} stands twice: {', '.join(twice)}")


def _check_agent(spec: AgentSpec, capabilities: dict[str, Capability]) -> None:
    for name in spec.tools:
        if name not in capabilities:
            raise TopologyError(f"agent {spec.name} is granted {name!r}, which has no capability")
    for key in (*spec.reads, spec.writes):
        if key not in STATE_TYPES:
            raise TopologyError(f"agent {spec.name} names {key!r}, which is no key of the state")


def _check_edge(edge: EdgeSpec, grants: dict[str, tuple[str, ...]], capabilities: dict[str, Capability]) -> None:
    where = f"edge {edge.src} -> {edge.dst}"
    for end in (edge.src, edge.dst):
        if end not in grants:
            raise TopologyError(f"{where} names {end!r}, which is no agent")
    if not edge.tool or not edge.capability:
        raise TopologyError(f"{where} has no tool or no capability")
    if capabilities.get(edge.tool) is not edge.capability:
        raise TopologyError(f"{where}: {edge.tool!r} does not have the capability {edge.capability.value}")
    if edge.tool not in grants[edge.src]:
        raise TopologyError(f"{where}: {edge.src} is not granted {edge.tool!r}, so it cannot have made what crosses")


def _refuse_reach(
    start: AgentSpec, agents: tuple[AgentSpec, ...], edges: tuple[EdgeSpec, ...], capabilities: dict[str, Capability]
) -> None:
    seen: list[str] = []
    queue = [start.name]
    while queue:
        name = queue.pop(0)
        if name in seen:
            continue
        seen.append(name)
        queue.extend(edge.dst for edge in edges if edge.src == name)
        for tool in next(spec for spec in agents if spec.name == name).tools:
            if capabilities[tool] in _GUARDED:
                raise TopologyError(f"LLM agent {start.name} reaches {tool} through {' -> '.join(seen)}")
