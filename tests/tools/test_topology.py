"""The one table: each of its rules is broken once, and the real table keeps them all (requirements G1-G3, X39)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import TopologyError
from core.types import Event, EventKind
from tools.base import Capability
from tools.state import STATE_TYPES, Execution, RiskDecision, Selection
from tools.topology import (
    AGENT_EDGES,
    AGENTS,
    CAPABILITY_OF,
    EDGES,
    ENTRY,
    EXIT,
    ROUTES,
    TOOL_EDGES,
    AgentKind,
    AgentSpec,
    EdgeSpec,
    agent,
    out_edges,
    validate,
)

ROOT = Path(__file__).resolve().parents[2]

DICTIONARY = [
    "calc_features",
    "calc_volatility",
    "detect_trend",
    "classify_regime",
    "load_enable_map",
    "score_strategy",
    "manage_cooldown",
    "plan_position",
    "plan_stops",
    "guard_drawdown",
    "check_liquidity",
    "estimate_slippage",
    "place_order",
    "generate_candidate",
    "run_backtest",
    "run_walkforward",
    "run_montecarlo",
    "export_metrics",
    "set_edge",
]
"""The closed dictionary, copied from requirement G2."""

TOOLS_OF = {
    "market_regime": "feature_loader volatility_calc trend_detector regime_classifier",
    "strategy_selection": "enable_map_loader strategy_scorer cooldown_manager",
    "risk_manager": "position_sizer stop_planner dd_guard",
    "execution": "liquidity_check slippage_estimator order_placer_ccxt",
    "research": "generate_candidate backtest_runner walkforward_runner montecarlo_runner",
    "monitor": "prometheus_exporter alert_telegram",
    "brain": "edge_recorder",
}
"""Where each tool lives, copied from requirement G3; edge_recorder by decision X39."""


def change(name: str, **changes: object) -> tuple[AgentSpec, ...]:
    return tuple(replace(spec, **changes) if spec.name == name else spec for spec in AGENTS)


def edge_with(place: int, **changes: object) -> tuple[EdgeSpec, ...]:
    return (*AGENT_EDGES[:place], replace(AGENT_EDGES[place], **changes), *AGENT_EDGES[place + 1 :])


# --- the real table -------------------------------------------------------------------------------


def test_the_table_keeps_all_its_rules() -> None:
    validate()


def test_there_are_the_seven_agents_of_the_requirement() -> None:
    """G1."""
    names = {spec.name for spec in AGENTS}
    assert names == {"brain", "market_regime", "strategy_selection", "risk_manager", "execution", "monitor", "research"}
    assert [spec.name for spec in AGENTS if spec.kind is AgentKind.LLM] == ["research"]


def test_the_dictionary_is_closed_and_every_capability_has_exactly_one_tool() -> None:
    """G2: nineteen capabilities."""
    assert len(DICTIONARY) == 19
    assert [capability.value for capability in Capability] == DICTIONARY
    assert sorted(CAPABILITY_OF.values()) == sorted(Capability)


@pytest.mark.parametrize(("home", "name"), [(home, name) for home, names in TOOLS_OF.items() for name in names.split()])
def test_every_tool_stands_at_its_path(home: str, name: str) -> None:
    """G3."""
    assert (ROOT / "tools" / f"tools_{home}_agent" / f"{name}.py").is_file()


@pytest.mark.parametrize("name", [spec.name for spec in AGENTS])
def test_every_agent_stands_at_its_path(name: str) -> None:
    """G1."""
    assert (ROOT / "agents" / f"{name}_agent.py").is_file()


def test_every_agent_is_granted_the_tools_of_its_own_room() -> None:
    """G3; the brain also looks at the drawdown guard, whose verdict it hands on."""
    for spec in AGENTS:
        own = set(TOOLS_OF[spec.name].split()) - {"alert_telegram"}
        assert own <= set(spec.tools)
        assert set(spec.tools) - own <= {"dd_guard"}


def test_every_edge_bears_one_tool_and_its_capability() -> None:
    """G2: agent to agent and agent to tool alike."""
    assert all(CAPABILITY_OF[edge.tool] is edge.capability for edge in EDGES)
    assert {(edge.src, edge.dst) for edge in TOOL_EDGES} == {(spec.name, name) for spec in AGENTS for name in spec.tools}


def test_every_state_key_has_one_writer_and_is_only_read_after_it() -> None:
    written = {"event"}
    for spec in (agent(name) for name in ("brain", "market_regime", "strategy_selection", "risk_manager", "execution")):
        assert set(spec.reads) <= written
        written.add(spec.writes)
    assert {spec.writes for spec in AGENTS} | {"event"} == set(STATE_TYPES)


def test_an_edge_is_labelled_by_its_capability_and_by_when() -> None:
    assert EdgeSpec("a", "b", "dd_guard", Capability.GUARD_DRAWDOWN).label == "guard_drawdown"
    assert EdgeSpec("a", "b", "edge_recorder", Capability.SET_EDGE, when="bar").label == "set_edge:bar"


# --- the rules, broken ----------------------------------------------------------------------------


def test_an_edge_without_a_tag_is_refused() -> None:
    for changes in ({"tool": ""}, {"capability": None}):
        with pytest.raises(TopologyError, match="no tool or no capability"):
            validate(agent_edges=edge_with(3, **changes))


def test_an_edge_with_a_tool_of_another_capability_is_refused() -> None:
    with pytest.raises(TopologyError, match="'regime_classifier' does not have the capability place_order"):
        validate(agent_edges=edge_with(3, capability=Capability.PLACE_ORDER))


def test_an_edge_with_a_tool_that_its_source_is_not_granted_is_refused() -> None:
    """Crossing an edge means that its source's tool produced what crosses."""
    with pytest.raises(TopologyError, match="market_regime is not granted 'dd_guard'"):
        validate(agent_edges=edge_with(3, tool="dd_guard", capability=Capability.GUARD_DRAWDOWN))


@pytest.mark.parametrize("end", ["src", "dst"])
def test_an_edge_to_or_from_an_unknown_agent_is_refused(end: str) -> None:
    with pytest.raises(TopologyError, match="'oracle', which is no agent"):
        validate(agent_edges=edge_with(3, **{end: "oracle"}))


def test_two_agents_that_write_one_key_are_refused() -> None:
    with pytest.raises(TopologyError, match="two writers: stands twice: risk"):
        validate(change("execution", writes="risk"))


def test_a_key_that_the_state_does_not_have_is_refused() -> None:
    with pytest.raises(TopologyError, match="'wishes', which is no key of the state"):
        validate(change("execution", writes="wishes"))
    with pytest.raises(TopologyError, match="'wishes', which is no key of the state"):
        validate(change("execution", reads=("event", "wishes")))


def test_two_agents_of_one_name_are_refused() -> None:
    with pytest.raises(TopologyError, match="agent stands twice: brain"):
        validate((*AGENTS, replace(agent("brain"), writes="research")))


def test_two_edges_of_one_source_with_one_label_are_refused() -> None:
    """The label is the key of the compiled graph's path map: the second would silently replace the first."""
    with pytest.raises(TopologyError, match="edge label of brain stands twice: set_edge:bar"):
        validate(agent_edges=edge_with(1, when="bar"))


def test_two_edges_between_the_same_agents_are_refused() -> None:
    """A router knows where it goes, not which of two labels is meant."""
    with pytest.raises(TopologyError, match="edge target of brain stands twice: market_regime"):
        validate(agent_edges=edge_with(1, dst="market_regime"))


def test_a_granted_tool_without_a_capability_is_refused() -> None:
    with pytest.raises(TopologyError, match="monitor is granted 'alert_telegram', which has no capability"):
        validate(change("monitor", tools=("prometheus_exporter", "alert_telegram")))


def test_a_capability_that_two_tools_share_is_refused() -> None:
    with pytest.raises(TopologyError, match="capability stands twice: set_edge"):
        validate(capability_of={**CAPABILITY_OF, "second_recorder": Capability.SET_EDGE})


@pytest.mark.parametrize("name", ["position_sizer", "stop_planner", "dd_guard", "order_placer_ccxt", "enable_map_loader"])
def test_an_llm_that_holds_order_risk_or_config_itself_is_refused(name: str) -> None:
    """A2, G9."""
    with pytest.raises(TopologyError, match=f"LLM agent research reaches {name} through research"):
        validate(change("research", tools=("generate_candidate", name)))


def test_an_llm_that_reaches_order_risk_or_config_through_another_agent_is_refused() -> None:
    """A2, G9: research -> monitor is allowed; research -> execution and research -> brain -> ... are not."""
    through = {"execution": "order_placer_ccxt", "brain": "dd_guard", "strategy_selection": "enable_map_loader"}
    for target, tool in through.items():
        more = EdgeSpec("research", target, "backtest_runner", Capability.RUN_BACKTEST)
        with pytest.raises(TopologyError, match=f"reaches {tool} through research -> "):
            validate(agent_edges=(*AGENT_EDGES, more))


def test_a_circle_behind_an_llm_does_not_hang_the_check() -> None:
    back = EdgeSpec("monitor", "research", "prometheus_exporter", Capability.EXPORT_METRICS)
    validate(agent_edges=(*AGENT_EDGES, back))


def test_a_deterministic_agent_may_reach_what_an_llm_may_not() -> None:
    with pytest.raises(TopologyError, match="LLM agent brain"):
        validate(change("brain", kind=AgentKind.LLM))


# --- routing --------------------------------------------------------------------------------------


def event(kind: EventKind) -> Event:
    return Event(kind, 0, 0)


@pytest.mark.parametrize(("kind", "target"), [("bar", "market_regime"), ("research", "research"), ("report", "monitor")])
def test_the_brain_routes_each_kind_of_event(kind: str, target: str) -> None:
    """G1."""
    assert ROUTES["brain"]({"event": event(EventKind(kind))}) == target


def test_selection_goes_on_to_risk_for_a_candidate_and_for_every_open_position() -> None:
    """Exits are never blocked: what is open is looked at on every bar."""
    route = ROUTES["strategy_selection"]
    assert route({"selection": Selection()}) == "monitor"
    assert route({"selection": Selection(manage=("BTC/USDT:USDT",))}) == "risk_manager"
    assert route({"selection": Selection(candidates=(None,))}) == "risk_manager"  # type: ignore[arg-type]


def test_risk_goes_on_to_execution_for_a_plan_and_for_an_adjustment() -> None:
    route = ROUTES["risk_manager"]
    assert route({"risk": RiskDecision()}) == "monitor"
    assert route({"risk": RiskDecision(plans=(None,))}) == "execution"  # type: ignore[arg-type]
    assert route({"risk": RiskDecision(adjustments=(None,))}) == "execution"  # type: ignore[arg-type]


def test_every_route_leads_along_an_edge_of_the_table_and_ends_at_the_monitor() -> None:
    states = [
        {"event": event(kind), "selection": selection, "risk": risk, "execution": Execution()}
        for kind in EventKind
        for selection in (Selection(), Selection(manage=("x",)))
        for risk in (RiskDecision(), RiskDecision(plans=(None,)))  # type: ignore[arg-type]
    ]
    for state in states:
        name = ENTRY
        while name != EXIT:
            target = ROUTES[name](state)  # type: ignore[arg-type]
            assert target in [edge.dst for edge in out_edges(name)]
            name = target
    assert EXIT not in ROUTES
