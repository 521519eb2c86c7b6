"""The session made again is the recorded one, or nothing of it is shown; any bar of a long one can be stood at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.journal.records import State
from core.strategies.score import SetupScorer
from core.types import Event, ScoredSignal
from graph.engines import DirectEngine
from graph.other_code import OtherCode
from graph.replaying import Differs
from graph.run import Run
from graph.sessions import Session
from graph.stepping.again import Again
from graph.stepping.marks import Mark
from graph.stepping.parting import as_made
from graph.stepping.place import Place
from graph.stepping.stepper import stepping
from tests.graph.stepping.test_stepper import assert_as_recorded
from tests.support.commands import brain


@pytest.fixture
def looser(monkeypatch: pytest.MonkeyPatch) -> None:
    """Code whose gate lets every score through."""
    keep = SetupScorer.score

    def score(scorer: SetupScorer, *about: Any) -> ScoredSignal:
        scored = keep(scorer, *about)
        return ScoredSignal(scored.signal, scored.score, 0.0, scored.regime, scored.parts)

    monkeypatch.setattr(SetupScorer, "score", score)


def first_low_score(session: Session) -> int:
    with stepping(session) as stepper:
        return next(hit.bar for hit in stepper.record.every(Mark.REFUSAL) if "SCORE_LOW" in hit.text)


@pytest.mark.usefixtures("looser")
async def test_a_decision_that_was_never_made_is_not_shown(in_pieces: Session) -> None:
    bar = first_low_score(in_pieces)
    with stepping(in_pieces) as stepper:
        await stepper.stand(bar)
        await stepper.forward()
        await stepper.forward()
        assert_as_recorded(stepper)
        with pytest.raises(Differs) as differs:
            await stepper.forward()
        assert (differs.value.difference.bar, differs.value.difference.node) == (bar, "strategy_selection")
        assert stepper.last is not None
        assert stepper.last.node == "market_regime", "what selection wrote is not there to be shown"
        await stepper.close()


@pytest.mark.usefixtures("looser")
def test_a_script_ends_where_a_node_writes_something_else(in_pieces: Session, tmp_path: Path) -> None:
    bar = first_low_score(in_pieces)
    script = tmp_path / "script.txt"
    script.write_text("next 3\nshow\n", encoding="utf-8")
    said = brain("step", str(in_pieces.folder.root), "--bar", str(bar), "--script", str(script))
    assert said.code == 1
    assert f"differs from the record: bar {bar}, node strategy_selection" in said.err
    assert "> show" not in said.out


async def test_a_node_that_comes_next_where_another_did_is_a_difference(in_pieces: Session) -> None:
    with stepping(in_pieces) as stepper:
        await stepper.stand(287)
        for _ in range(3):
            await stepper.forward()
        rerun = stepper._again._rerun
        assert rerun is not None
        as_made(rerun, "risk_manager")
        with pytest.raises(Differs, match="recorded 'risk_manager came next', now 'monitor came next'"):
            as_made(rerun, "monitor")
        rerun.script.bar.made.clear()
        with pytest.raises(Differs, match="recorded 'no decision'"):
            as_made(rerun, "risk_manager")
        await stepper.close()


# --- where this code cannot make what the other recorded ---------------------------------------------------------


async def test_code_that_fails_on_a_bar_is_said_and_the_stepper_stands_where_it_stood(
    in_pieces: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = SetupScorer.score

    def score(scorer: SetupScorer, *about: Any) -> ScoredSignal:
        if about[0].ts == record_ts:
            raise KeyError("volume")
        return keep(scorer, *about)

    monkeypatch.setattr(SetupScorer, "score", score)
    with stepping(in_pieces, other_code=True) as stepper:
        record_ts = stepper.record.time_of(287)
        await stepper.stand(287)
        await stepper.forward()
        await stepper.forward()
        for _ in range(2):
            with pytest.raises(OtherCode, match=r"cannot be made again by this one \(.*volume") as failed:
                await stepper.forward()
            assert (failed.value.code, failed.value.exit_code) == ("REPLAY-002", 3)
            assert stepper.place == Place(287, 0, 2)
            assert_as_recorded(stepper)
        await stepper.close()


async def test_a_state_that_cannot_be_taken_up_again_is_said(in_pieces: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Services of the other code have another form ('written' is not among their keys)."""
    keep = Run.restore_record

    with stepping(in_pieces, other_code=True) as stepper:
        trade = stepper.record.next(Mark.TRADE, 0).bar
        kept = next(bar for bar in range(trade, 400) if stepper.record.bar(bar).state is not None)

        def restore_record(run: Run, state: State) -> None:
            if state is stepper.record.bar(kept).state:
                raise KeyError("written")
            keep(run, state)

        monkeypatch.setattr(Run, "restore_record", restore_record)
        scored = SetupScorer.score
        monkeypatch.setattr(
            SetupScorer,
            "score",
            lambda scorer, *about: (
                one := scored(scorer, *about),
                ScoredSignal(one.signal, one.score - 3.0, one.threshold, one.regime, one.parts),
            )[1],
        )
        await stepper.stand(trade)
        await stepper.stand(kept)
        await stepper.run()
        stood = stepper.place
        with pytest.raises(OtherCode, match="written"):
            await stepper.forward()
        assert stepper.place == stood
        await stepper.close()


async def test_a_fault_of_this_code_stays_one_where_no_other_code_is_expected(
    in_pieces: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run(engine: DirectEngine, event: Event, context: Any) -> Any:
        raise ZeroDivisionError

    with stepping(in_pieces) as stepper:
        await stepper.stand(287)
        monkeypatch.setattr(DirectEngine, "run", run)
        with pytest.raises(ZeroDivisionError):
            await stepper.stand(230)
        assert stepper.place == Place(287, 0, 0)
        await stepper.close()


# --- a long session -----------------------------------------------------------------------------------------------


async def test_bars_of_a_long_session_are_stood_at_back_and_forth(long: Session) -> None:
    """More bars than were once kept at a time."""
    with stepping(long) as stepper:
        assert stepper.record.bars == 4_300
        for bar in (4_299, 0, 4_150, 3, 4_097, 4_096, 0, 4_299):
            await stepper.stand(bar)
            await stepper.run()
            assert_as_recorded(stepper)
        assert [stepper.record.bar(bar).number for bar in (0, 4_299, 1, 4_298)] == [0, 4_299, 1, 4_298]
        assert sum(1 for _ in stepper.record.bars_from(0)) == 4_300
        await stepper.close()


async def test_states_of_bars_that_were_stood_at_are_kept_by_when_they_were_needed(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graph.stepping.again._ANCHORS", 3)
    with stepping(session) as stepper:
        again: Again = stepper._again
        for bar in (300, 310, 320, 310, 330, 331):
            await stepper.stand(bar)
            assert bar in again._anchors
        fork = await stepper.change(stepper.path_of("event.note"), "")
        assert fork.place == Place(331, 0, 0)
        await stepper.close()
