"""What-ifs as a person meets them: they keep what was changed by hand, and what they show is their own or says that it is not."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core.monitor.reader import StoreReader
from graph.sessions import Session
from graph.stepping import forks
from graph.stepping.desk import Desk
from graph.stepping.errors import NotThere, StepError
from graph.stepping.marks import Mark
from graph.stepping.moment import moment
from graph.stepping.panes import Panes
from graph.stepping.place import Place
from graph.stepping.stepper import Stepper, stepping
from graph.why.records import Kind, Records

CHANGED = ("bar 287", "next 2", "set regimes.h1[SOL]=panic")


@pytest.fixture
async def desk(session: Session) -> AsyncIterator[Desk]:
    with stepping(session) as stepper:
        await stepper.stand(0)
        yield Desk(stepper, ("--session", "made"))
        await stepper.close()


async def do(desk: Desk, *lines: str) -> str:
    said = ""
    for line in lines:
        said = await desk.do(line)
    return said


# --- going back ----------------------------------------------------------------------------------------------------


async def test_a_what_if_does_not_go_back_behind_its_change_wherever_the_session_stands(desk: Desk) -> None:
    await do(desk, *CHANGED, "original", "bar +3", "fork 1", "next")
    assert desk.stepper.place == Place(287, 0, 3)
    await do(desk, "back")
    with pytest.raises(StepError, match="behind its change"):
        await do(desk, "back")
    assert "1 of 1 events decided otherwise" in await do(desk, "run", "compare")


async def test_a_second_change_on_a_later_bar_is_not_gone_back_behind_either(desk: Desk) -> None:
    await do(desk, *CHANGED, "bar +1", "next 2", "set regimes.h1[SOL]=trend_up")
    with pytest.raises(StepError, match="behind its change"):
        await do(desk, "back")
    await do(desk, "next", "back")
    assert desk.stepper.state["regimes"].h1[1].value == "trend_up"
    with pytest.raises(StepError, match="behind its change"):
        await do(desk, "back")


async def test_on_bars_after_its_change_a_what_if_goes_back_to_the_first_node(desk: Desk) -> None:
    await do(desk, *CHANGED, "bar +1", "next 2", "back 2")
    assert desk.stepper.place == Place(288, 0, 0)
    with pytest.raises(StepError, match="inside an event only"):
        await do(desk, "back")


async def test_a_bar_that_is_over_in_a_what_if_is_not_gone_back_into(desk: Desk) -> None:
    await do(desk, *CHANGED, "run")
    with pytest.raises(StepError, match="is over in the what-if"):
        await do(desk, "back")


# --- going on ------------------------------------------------------------------------------------------------------


async def test_a_what_if_runs_over_bars_to_its_breakpoint(desk: Desk) -> None:
    said = await do(desk, *CHANGED, "break execution", "run")
    fork = desk.stepper.shown
    assert fork is not None
    assert (desk.stepper.next, fork.bar > 287, "no breakpoint" in said) == ("execution", True, False)
    assert [row.bar for row in fork.compared] == list(range(287, fork.bar))


async def test_a_what_if_that_comes_to_no_breakpoint_says_so(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "RUN_BARS", 5)
    said = await do(desk, *CHANGED, "break research", "run")
    assert (desk.stepper.bar, desk.stepper.next) == (292, None)
    assert "no breakpoint was come to" in said
    assert "no breakpoint was come to" in await do(desk, "original", "bar 645", "set event.note=x", "run")
    assert desk.stepper.bar == 649


async def test_a_what_if_that_has_not_so_many_bars_left_stands_where_it_stood(desk: Desk) -> None:
    await do(desk, "bar 640", "set event.note=x")
    with pytest.raises(NotThere, match="ends here"):
        await do(desk, "bar +10")
    assert desk.stepper.place == Place(640, 0, 0)
    fork = desk.stepper.shown
    assert fork is not None
    assert fork.compared == []
    await do(desk, "bar +9")
    assert desk.stepper.bar == 649


async def test_a_run_that_comes_to_no_breakpoint_leaves_the_session_where_it_stood(session: Session) -> None:
    with stepping(session) as stepper:
        stepper.break_at("research")
        await stepper.stand(496)
        await stepper.run()
        assert (stepper.place.event, stepper.next) == (1, "research")
        with pytest.raises(NotThere):
            await stepper.run()
        assert (stepper.place, stepper.next) == (Place(496, 1, stepper.place.step), "research")
        await stepper.close()


# --- what is shown ---------------------------------------------------------------------------------------------------


def diff(stepper: Stepper) -> dict[str, tuple[object, object]]:
    return {row["path"]: (row["old"], row["new"]) for row in moment(stepper)["state"]["diff"]}


async def test_the_origin_of_a_value_in_a_what_if_is_its_own(desk: Desk) -> None:
    said = await do(desk, *CHANGED, "origin regimes.h1[SOL]")
    assert said == "regimes.h1[1] was put there by hand in this what-if: regimes.h1[1]=panic (was range_lowvol)"
    assert "by hand" in await do(desk, "origin regimes.h1[*]")
    said = await do(desk, "origin regimes.h1[BTC]")
    assert "written by market_regime" in said
    assert "(on record)" in said
    said = await do(desk, "next", "origin selection.refusals[0].code")
    assert said.endswith("since bar 287, 2026-01-06T00:00:00.000Z, written by strategy_selection, in what-if 1")
    assert said.startswith("selection.refusals[0].code is REGIME_DISABLED")
    said = await do(desk, "origin selection.candidates")
    assert said.endswith("written by strategy_selection (on record)"), "there were none before either"
    said = await do(desk, "bar +1", "next 2", "origin regimes.h1[SOL]")
    assert said.startswith("regimes.h1[1] is range_lowvol since bar "), "the next bar's node wrote it anew"
    assert said.endswith("(on record)")
    recorded = await do(desk, "original", "origin regimes.h1[SOL]")
    assert "on record" not in recorded


async def test_an_origin_beyond_what_a_what_if_remembers_is_the_oldest_it_knows(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graph.stepping.what_if._PAST", 2)
    await do(desk, *CHANGED, "bar +6", "next 2")
    assert "since bar 291," in await do(desk, "origin regimes.h4[BTC]")
    with pytest.raises(NotThere, match="nothing has been written to research"):
        await do(desk, "origin research.note")


async def test_the_difference_in_a_what_if_is_to_its_own_event_before(desk: Desk) -> None:
    """At bar 287 the record plans an entry; the what-if does not, so at 288 it has no position to lose."""
    await do(desk, *CHANGED, "bar +1", "next")
    fork = desk.stepper.shown
    assert fork is not None
    own = fork.own()[-2].made[-1]
    assert b"panic" not in dict(own.outputs)["market_regime"]
    await do(desk, "next 2")
    assert "selection.candidates[0]" not in diff(desk.stepper), "there was none in the what-if's bar before"
    await do(desk, "original", "bar 288", "next 3")
    assert any(path.startswith("selection.candidates[0]") for path in diff(desk.stepper))


async def test_what_comes_from_the_record_says_so_while_a_what_if_is_looked_at(desk: Desk) -> None:
    assert "(on record)" not in await do(desk, "list trade")
    said = await do(desk, *CHANGED, "where len(risk.plans) > 0")
    assert said == "len(risk.plans) > 0 (on record): 3 rows"
    assert (await do(desk, "why")).startswith("of what is on record")
    drawn = Panes(160, 50, color=False, unicode=False).plain(desk)
    assert "[WHAT-IF] what-if 1: regimes.h1[1]=panic (was range_lowvol)" in drawn
    assert "as recorded" in drawn


async def test_the_head_of_the_screen_names_a_what_if_and_what_it_changed(desk: Desk) -> None:
    await do(desk, *CHANGED)
    for width, height in ((80, 24), (160, 50)):
        screen = Panes(width, height, color=False, unicode=False).draw(desk)
        assert "what-if 1: regimes.h1[1]=panic (was range_lowvol)" in screen.split("path")[0]
        assert screen.count("[WHAT-IF]") == 4


async def test_every_pane_is_labelled_under_other_code(in_pieces: Session) -> None:
    with stepping(in_pieces, other_code=True) as stepper:
        await stepper.stand(287)
        desk = Desk(stepper)
        panes = Panes(160, 50, color=False, unicode=False)
        assert panes.draw(desk).count("[OTHER CODE]") == 4
        assert panes.plain(desk).count("[OTHER CODE]") == 4
        await do(desk, "next 2", "set regimes.h1[SOL]=panic", "run")
        assert panes.draw(desk).count("[OTHER CODE] [WHAT-IF]") == 4
        assert "OTHER CODE: then is what the other code decided" in await do(desk, "compare")
        await stepper.close()


# --- why -----------------------------------------------------------------------------------------------------------


async def test_why_is_asked_with_names_that_it_knows(session: Session, tmp_path: Path) -> None:
    """Every plan, signal and refusal of every event with one."""
    copy = shutil.copy(session.folder.database, tmp_path)
    with stepping(session) as stepper, StoreReader(Path(copy)) as store:
        desk, records = Desk(stepper, ("--session", "made", "--state", "some folder")), Records(store)
        kinds = set()
        for hit in (*stepper.record.every(Mark.TRADE), *stepper.record.every(Mark.REFUSAL)):
            await stepper.to_hit(hit)
            for line in (await desk.do("why")).splitlines():
                what, _, command = line.partition(": brain why ")
                name, _, flags = command.partition(" ")
                assert flags == "--session made --state 'some folder'"
                found = records.find(name)
                kinds.add(found.kind)
                assert found.ts == stepper.walk.event.ts
                if found.refusal is not None and name.startswith("R-"):
                    assert what == f"{found.refusal.code.value} {found.refusal.ref}"
        assert kinds == {Kind.PLAN, Kind.SIGNAL, Kind.REFUSAL}
        await stepper.stand(0)
        assert "brain why --none SYMBOL --on DAY --session made" in await desk.do("why")
        await stepper.close()


# --- tables --------------------------------------------------------------------------------------------------------


async def test_every_row_of_a_long_table_can_be_come_to(desk: Desk) -> None:
    said = await do(desk, "where trading == active")
    rows = len(desk.rows)
    assert rows > 600
    assert said == f"trading == active: {rows} rows, 1 to 200 are shown"
    said = await do(desk, "rows 601")
    assert said.endswith(f"601 to {rows} are shown")
    shown = desk.shown()["table"]
    assert (shown["total"], shown["first"], len(shown["rows"])) == (rows, 601, rows - 600)
    last = desk.rows[-1]
    await do(desk, f"hit {rows}")
    assert desk.stepper.bar == last.place.bar
    with pytest.raises(NotThere, match=f"rows 1 to {rows}"):
        await do(desk, f"rows {rows + 1}")
    with pytest.raises(NotThere, match="no table"):
        await do(Desk(desk.stepper), "rows 1")
