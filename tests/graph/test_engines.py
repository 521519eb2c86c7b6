"""Both engines, event by event: research and report events take their own way (requirements G1, G9)."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.codes import RefusalCode
from core.errors import ContractError
from core.types import DecisionRecord, Event, EventKind, ToolState
from graph.assembly import Assembly
from graph.engines import DirectEngine, EngineKind, GraphEngine, build_engine
from tests.support.ladder import HandMade, ladder
from tests.support.run import assembled


@pytest.fixture
def parts(tmp_path: Path) -> Assembly:
    parts = assembled(HandMade({"BTC/USDT:USDT": ladder().climb(1)}), tmp_path)
    parts.context.governor.on_bar(1_000, 300.0)
    return parts


def test_each_kind_has_its_engine() -> None:
    assert isinstance(build_engine(EngineKind.GRAPH), GraphEngine)
    assert isinstance(build_engine(EngineKind.DIRECT), DirectEngine)


def way(record: DecisionRecord) -> list[tuple[str, str, str]]:
    return list(record.edges)


@pytest.mark.parametrize("kind", EngineKind)
async def test_a_research_event_is_answered_by_research_and_recorded_by_the_monitor(kind: EngineKind, parts: Assembly) -> None:
    """G9: no agent of the bar's path runs, and nothing is decided."""
    event = Event(EventKind.RESEARCH, 7, 1_000, note="win rate below 50 %")
    state = await build_engine(kind).run(event, parts.context)
    assert set(state) == {"event", "status", "research", "record"}
    assert way(state["record"]) == [
        ("brain", "research", "set_edge:research"),
        ("research", "monitor", "generate_candidate"),
    ]
    assert state["research"].note == "win rate below 50 %"
    (refusal,) = state["research"].refusals
    assert refusal.code is RefusalCode.NOT_AVAILABLE_YET
    assert state["record"].refusals == (("NOT_AVAILABLE_YET", "generate_candidate"),)
    assert (state["record"].plans, state["record"].orders, state["record"].signals) == ((), (), ())
    assert parts.telemetry.refusals["NOT_AVAILABLE_YET"] == 1
    assert parts.context.board.edge_state[("research", "monitor")] is ToolState.WARN
    assert parts.context.board.tools[("research", "generate_candidate")].calls == 1
    parts.store.close()


@pytest.mark.parametrize("kind", EngineKind)
async def test_a_report_event_goes_from_the_brain_to_the_monitor_alone(kind: EngineKind, parts: Assembly) -> None:
    state = await build_engine(kind).run(Event(EventKind.REPORT, 8, 1_000), parts.context)
    assert set(state) == {"event", "status", "record"}
    assert way(state["record"]) == [("brain", "monitor", "set_edge:report")]
    assert [name for name, _ in state["record"].node_hashes] == ["brain"]
    assert parts.telemetry.decisions == 1
    parts.store.close()


async def test_both_engines_give_the_same_bytes_for_the_same_event(tmp_path: Path) -> None:
    heads = []
    for kind in EngineKind:
        parts = assembled(HandMade({"BTC/USDT:USDT": ladder().climb(1)}), tmp_path / kind)
        parts.context.governor.on_bar(1_000, 300.0)
        for number, what in enumerate((EventKind.RESEARCH, EventKind.REPORT)):
            await build_engine(kind).run(Event(what, number, 1_000), parts.context)
        heads.append(parts.recorder.decisions_hash)
        parts.store.close()
    assert heads[0] == heads[1]


@pytest.mark.parametrize("kind", EngineKind)
async def test_what_a_node_refuses_stops_the_event_in_both_engines(kind: EngineKind, parts: Assembly) -> None:
    """LangGraph alone would let a wrong type pass."""
    with pytest.raises(ContractError, match="'event' held str, expected Event"):
        await build_engine(kind).run("bar", parts.context)  # type: ignore[arg-type]
    parts.store.close()


@pytest.mark.parametrize("kind", EngineKind)
async def test_each_event_begins_a_new_trace(kind: EngineKind, parts: Assembly) -> None:
    engine = build_engine(kind)
    for number in range(3):
        await engine.run(Event(EventKind.REPORT, number, 1_000), parts.context)
    assert [name for name, _ in parts.context.trace.node_ns] == ["brain", "monitor"]
    assert [name for name, _ in parts.context.trace.node_hashes] == ["brain"]
    assert len(parts.context.trace.edges) == 1
    parts.store.close()
