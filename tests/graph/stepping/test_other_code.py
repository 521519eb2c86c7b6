"""A session of other code: refused unless it is asked for, labelled, and usable also where the two part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from core.journal.bars import RecordedBar
from core.journal.records import State
from core.strategies.score import SetupScorer
from core.types import ScoredSignal
from graph import other_code as guard
from graph.opening import code_in_use
from graph.other_code import OtherCode
from graph.replaying import Differs
from graph.rerun import Rerun
from graph.sessions import Session
from graph.stepping.desk import Desk
from graph.stepping.marks import Mark
from graph.stepping.place import Place
from graph.stepping.stepper import stepping
from tests.graph.stepping.test_stepper import assert_as_recorded
from tests.support.commands import Said, brain

PLANNED = 287
"""The bar of the first plan."""


@pytest.fixture
def step(session: Session, tmp_path: Path) -> Callable[..., Said]:
    def run(*arguments: str, lines: str = "") -> Said:
        script = tmp_path / "script.txt"
        script.write_text(lines, encoding="utf-8")
        return brain("step", str(session.folder.root), "--script", str(script), *arguments)

    return run


@pytest.fixture
def other_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "code_in_use", lambda: {**code_in_use(), "version": "9.9", "source": "f" * 64})


@pytest.fixture
def stricter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Code that scores three points less."""
    keep = SetupScorer.score

    def score(scorer: SetupScorer, *about: Any) -> ScoredSignal:
        scored = keep(scorer, *about)
        return ScoredSignal(scored.signal, scored.score - 3.0, scored.threshold, scored.regime, scored.parts)

    monkeypatch.setattr(SetupScorer, "score", score)


@pytest.mark.usefixtures("other_code")
def test_a_session_of_other_code_is_refused_plainly(step: Callable[..., Said]) -> None:
    said = step("--json")
    error = said.answer["error"]
    assert (said.code, error["code"]) == (3, "REPLAY-002")
    assert "this is 9.9 (ffffffffffff)" in error["what"]
    assert "--other-code" in error["help"]
    assert error["effect"].startswith("nothing was changed")


@pytest.mark.usefixtures("other_code")
def test_what_other_code_makes_of_a_session_is_labelled(step: Callable[..., Said]) -> None:
    said = step("--other-code", "--json", "--bar", str(PLANNED), lines="run\nshow\n")
    assert "under other code: recorded by" in said.answer["warnings"][0]
    head = said.data["start"]["header"]
    assert (head["other_code"], head["parted"]) == (True, None)
    shown = step("--other-code", "--bar", str(PLANNED), lines="run\n")
    assert "warning: under other code" in shown.err


@pytest.mark.usefixtures("stricter")
def test_where_the_two_part_is_said_and_the_stepper_stays_of_use(step: Callable[..., Said]) -> None:
    lines = "run\nbar +1\ngoto trade\nprev refusal\nwhere len(risk.plans) > 0\nnext 2\nset regimes.h1[0]=panic\nrun\ncompare\n"
    data = step("--other-code", "--json", "--bar", str(PLANNED), lines="run\nbar +1\ngoto trade\nprev refusal\nback\n").data
    parted = data["start"]["header"]["parted"]
    assert parted is not None, "a signal was scored before"
    assert parted["node"] == "strategy_selection"
    assert parted["recorded"] != parted["now"]
    assert [one["header"]["bar"] for one in data["steps"][:3]] == [PLANNED, PLANNED + 1, 383]
    assert {one["header"]["parted"]["bar"] for one in data["steps"]} == {parted["bar"]}
    said = step("--other-code", "--bar", str(PLANNED), lines=lines)
    assert said.code == 0, said.err
    assert f"the record and this code part at bar {parted['bar']}, node strategy_selection" in said.err


@pytest.mark.usefixtures("stricter")
async def test_without_being_asked_for_a_difference_ends_it(session: Session) -> None:
    with stepping(session) as stepper:
        with pytest.raises(Differs):
            await stepper.stand(500)
        await stepper.close()


@pytest.mark.usefixtures("stricter")
async def test_a_difference_that_is_walked_into_is_said_at_its_node(in_pieces: Session) -> None:
    with stepping(in_pieces, other_code=True) as stepper:
        desk = Desk(stepper)
        await stepper.to_hit(stepper.record.next(Mark.TRADE, 0))
        bar = stepper.bar
        said = [await desk.do("next") for _ in range(3)]
        assert ["OTHER CODE" in text for text in said] == [False, False, True]
        assert f"part at bar {bar}, node strategy_selection" in said[2]
        await stepper.back()
        assert stepper.parted is None
        await stepper.close()


@pytest.mark.usefixtures("stricter")
@pytest.mark.parametrize("by", ["walk", "jump", "mixed"])
async def test_the_record_is_taken_up_at_its_next_state(in_pieces: Session, by: str) -> None:
    """With a state every 16 bars; from there on all is as recorded, until the next difference."""
    with stepping(in_pieces, other_code=True) as stepper:
        trade = stepper.record.next(Mark.TRADE, 0).bar
        kept = next(bar for bar in range(trade, 400) if stepper.record.bar(bar).state is not None)
        await stepper.stand(trade)
        while stepper.bar < kept + 1:
            if by == "walk":
                await stepper.forward()
            else:
                await stepper.by_bars(1)
            if trade < stepper.bar <= kept:
                assert stepper.parted is not None
                assert stepper.parted.bar == trade
        assert stepper.parted is None
        if by == "mixed":
            await stepper.go(Place(trade + 1, 0, 0))
            assert stepper.parted is not None, "what is kept of a bar that was stood at knows that it had parted"
            await stepper.stand(kept + 1)
        await stepper.forward()
        assert_as_recorded(stepper)
        await stepper.close()


@pytest.mark.usefixtures("stricter")
async def test_bars_after_a_difference_can_be_walked_through(in_pieces: Session) -> None:
    with stepping(in_pieces, other_code=True) as stepper:
        await stepper.stand(280)
        parted = set()
        while stepper.bar < 402:
            await stepper.forward()
            parted.add(None if stepper.parted is None else stepper.parted.bar)
        assert parted == {None, 287, 359, 380}
        await stepper.close()


async def test_the_same_code_parts_nowhere(in_pieces: Session) -> None:
    with stepping(in_pieces, other_code=True) as stepper:
        for bar in (290, 399, 400, 475, 497, 649):
            await stepper.stand(bar)
            assert stepper.parted is None
            await stepper.run()
            assert_as_recorded(stepper)
        await stepper.close()


async def test_a_state_in_another_form_is_refused_and_the_stepper_stands_where_it_stood(
    in_pieces: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stepping(in_pieces, other_code=True) as stepper:
        keep = Rerun.take_over

        def take_over(rerun: Rerun, state: State, since: Sequence[RecordedBar]) -> None:
            if state.bars >= 400:
                raise KeyError("governor")
            keep(rerun, state, since)

        monkeypatch.setattr(Rerun, "take_over", take_over)
        await stepper.stand(287)
        with pytest.raises(OtherCode, match=r"cannot be taken over by this one \(KeyError: 'governor'\)") as refused:
            await stepper.stand(420)
        assert (refused.value.code, refused.value.exit_code) == ("REPLAY-002", 3)
        assert stepper.place == Place(287, 0, 0)
        await stepper.run()
        assert_as_recorded(stepper)
        await stepper.close()
