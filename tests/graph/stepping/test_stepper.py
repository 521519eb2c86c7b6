"""Forward, back and forward again gives the record, bit by bit, from any node of any bar (issue section 3)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.canonical import encode
from graph.engines import EngineKind, build_engine
from graph.rerun import standing_before
from graph.sessions import Session
from graph.stepping.conditions import parse_condition
from graph.stepping.errors import NotThere, StepError
from graph.stepping.marks import Mark
from graph.stepping.place import Place
from graph.stepping.stepper import Stepper, stepping
from tests.support.run import Ran
from tools.topology import agent

Fingerprint = Callable[[], dict[str, str]]


def assert_as_recorded(stepper: Stepper) -> None:
    """Every node of this event that has run wrote the recorded bytes."""
    made = stepper.record.bar(stepper.bar).made[stepper.place.event]
    outputs = tuple(stepper.held.run.context.trace.outputs)
    assert outputs == made.outputs[: len(outputs)]
    assert len(outputs) == stepper.place.step
    for turn, (name, payload) in zip(stepper.walk.turns, made.outputs, strict=False):
        assert turn.node == name
        if name != "monitor":  # its bytes stand there without the hashes, which follow from the others
            assert encode(turn.value) == payload


async def services_after(session: Session, bar: int) -> bytes:
    """State of every service after ``bar``, by a plain replay."""
    with standing_before(session.reader(), bar + 1, build_engine(EngineKind.DIRECT)) as rerun:
        while rerun.bar <= bar:
            await rerun.next()
        return rerun.run.record(whole=True).services


def interesting(stepper: Stepper) -> list[int]:
    """Bars of every kind, in order."""
    marks = (Mark.TRADE, Mark.FILL, Mark.REGIME, Mark.REQUEST)
    bars = {hit.bar for mark in marks for hit in stepper.record.every(mark)}
    refused = {hit.bar for hit in stepper.record.every(Mark.REFUSAL)[::6]}
    return sorted(bars | refused | {0, 1, 648, 649})


async def test_back_and_forward_at_every_node_gives_the_recorded_bytes(session: Session) -> None:
    """From each border all the way back to the first node and forward again, on bars of every kind."""
    with stepping(session) as stepper:
        nodes = set()
        for bar in interesting(stepper):
            await stepper.stand(bar)
            for event in range(len(stepper.record.bar(bar).made)):
                await stepper.go(Place(bar, event, 0))
                while stepper.next is not None:
                    await stepper.forward()
                    assert_as_recorded(stepper)
                    step = stepper.place.step
                    for _ in range(step):
                        await stepper.back()
                        assert_as_recorded(stepper)
                    assert stepper.place == Place(bar, event, 0)
                    for _ in range(step):
                        await stepper.forward()
                    assert_as_recorded(stepper)
                nodes.update(turn.node for turn in stepper.walk.turns)
        await stepper.close()
        assert nodes == {"brain", "market_regime", "strategy_selection", "risk_manager", "execution", "research", "monitor"}


async def test_services_after_a_bar_that_was_walked_back_and_forth_are_those_of_a_plain_replay(session: Session) -> None:
    with stepping(session) as stepper:
        for bar in (287, 474, 496):
            await stepper.stand(bar)
            while True:
                for _ in range(2):
                    before = stepper.place
                    await stepper.forward()
                    if stepper.bar != bar:
                        break
                    if stepper.place.event == before.event:
                        await stepper.back()
                        await stepper.forward()
                if stepper.bar != bar:
                    break
            assert stepper._again._anchors[bar + 1].state.services == await services_after(session, bar)
        await stepper.close()


@settings(max_examples=10)
@given(st.lists(st.sampled_from(["n", "n", "n", "N", "b", "B", "t", "r", "T"]), max_size=12), st.integers(280, 500))
def test_any_walk_shows_what_is_on_record(session: Session, moves: list[str], start: int) -> None:
    async def walk() -> None:
        with stepping(session) as stepper:
            await stepper.stand(start)
            for move in moves:
                where = stepper.place
                try:
                    await {
                        "n": stepper.forward,
                        "N": stepper.back,
                        "b": lambda: stepper.by_bars(1),
                        "B": lambda: stepper.by_bars(-1),
                        "t": lambda: stepper.to_mark(Mark.TRADE),
                        "T": lambda: stepper.to_mark(Mark.TRADE, back=True),
                        "r": lambda: stepper.to_mark(Mark.REFUSAL),
                    }[move]()
                except NotThere:
                    assert stepper.place == where
                assert_as_recorded(stepper)
            await stepper.run()
            assert_as_recorded(stepper)
            assert stepper.next is None
            await stepper.close()

    asyncio.run(walk())


async def test_a_node_is_shown_with_its_declared_reads_its_tools_and_what_it_wrote(session: Session, recorded: Ran) -> None:
    with stepping(session) as stepper:
        await stepper.to_hit(stepper.record.plan("trade-P-1767657600000-funding_rev-SOLUSDT"))
        while stepper.next != "risk_manager":
            await stepper.forward()
        assert set(agent("risk_manager").reads) <= set(stepper.state)
        await stepper.forward()
        turn = stepper.last
        assert turn is not None
        assert (turn.node, turn.key) == ("risk_manager", "risk")
        assert turn.value == recorded.states[stepper.bar]["risk"]
        tools = {(used.tool, used.capability, used.ok) for used in turn.tools}
        assert tools == {("dd_guard", "guard_drawdown", "ok"), ("position_sizer", "plan_position", "ok")}
        assert all(used.latency_ms > 0 for used in turn.tools)
        sized = next(used for used in turn.tools if used.tool == "position_sizer")
        assert sized.result["id"] == "P-1767657600000-funding_rev-SOLUSDT"
        await stepper.close()


async def test_breakpoints_stop_before_and_after_a_node(session: Session) -> None:
    with stepping(session) as stepper:
        await stepper.stand(0)
        assert stepper.break_at("execution")
        stops = []
        for _ in range(3):
            await stepper.run()
            stops.append((stepper.bar, stepper.next))
        ran = [at for at, state in enumerate(_states(stepper)) if "execution" in state]
        assert stops == [(bar, "execution") for bar in ran[:3]]
        assert not stepper.break_at("execution")
        stepper.break_at("research", after=True)
        await stepper.run()
        assert stepper.place.event == 1
        assert stepper.last is not None
        assert stepper.last.node == "research"
        with pytest.raises(NotThere, match="no later event"):
            await stepper.run()
        with pytest.raises(StepError, match="did you mean execution"):
            stepper.break_at("executon")
        await stepper.close()


def _states(stepper: Stepper) -> list[set[str]]:
    return [{name for made in stepper.record.bar(bar).made for name, _ in made.outputs} for bar in range(stepper.record.bars)]


async def test_without_a_breakpoint_run_goes_to_the_end_of_the_bar(session: Session) -> None:
    with stepping(session) as stepper:
        await stepper.stand(496)
        await stepper.run()
        assert (stepper.bar, stepper.place.event, stepper.next) == (496, 1, None)
        await stepper.close()


async def test_the_ends_of_the_record_are_said_and_nothing_moves(session: Session) -> None:
    with stepping(session) as stepper:
        await stepper.stand(0)
        with pytest.raises(NotThere, match="begins here"):
            await stepper.back()
        await stepper.stand(649)
        await stepper.run()
        with pytest.raises(NotThere, match="ends here"):
            await stepper.forward()
        for bar in (-1, 650):
            with pytest.raises(NotThere, match="there are 0 to 649"):
                await stepper.stand(bar)
        assert (stepper.bar, stepper.next) == (649, None)
        await stepper.close()


async def test_conditions_lead_from_hit_to_hit(session: Session) -> None:
    with stepping(session) as stepper:
        condition = parse_condition("len(risk.plans) > 0")
        await stepper.stand(0)
        there = [(await stepper.to_condition(condition)).bar for _ in range(3)]
        back = [(await stepper.to_condition(condition, back=True)).bar for _ in range(2)]
        assert there == [287, 383, 474]
        assert back == [383, 287]
        with pytest.raises(NotThere, match="no earlier event"):
            await stepper.to_condition(condition, back=True)
        await stepper.close()


async def test_a_session_that_was_stepped_through_is_byte_for_byte_what_it_was(
    session: Session, fingerprint: Fingerprint
) -> None:
    before = fingerprint()
    with stepping(session) as stepper:
        await stepper.stand(280)
        for _ in range(100):
            await stepper.forward()
        await stepper.by_bars(-10)
        await stepper.to_mark(Mark.REQUEST)
        await stepper.close()
    assert fingerprint() == before
