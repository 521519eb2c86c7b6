"""A long session is read where one stands or looks for something, and shows just what a walk over all of it shows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.journal import bars as journal_bars
from core.journal.bars import recorded_bars
from core.journal.reader import JournalReader
from core.journal.segments import Segment
from graph.engines import EngineKind, build_engine
from graph.names import Names
from graph.rerun import rerun_from
from graph.run import Run
from graph.runner import RunOptions
from graph.sessions import Session, find
from graph.stepping.conditions import parse_condition
from graph.stepping.errors import NotThere
from graph.stepping.marks import Mark
from graph.stepping.paths import parse_path
from graph.stepping.patience import Patience
from graph.stepping.record import Record
from graph.stepping.stepper import stepping
from tests.graph.stepping.test_stepper import assert_as_recorded
from tests.graph.test_rerun import recorded as run_and_record
from tests.graph.test_rerun import won
from tests.support.run import short_configuration

pytestmark = pytest.mark.untraced

ENTRY = "P-1767657600000-funding_rev-SOLUSDT"
NODES = ("brain", "market_regime", "strategy_selection", "risk_manager", "execution", "research", "monitor")


@pytest.fixture(scope="module")
def whole(session: Session) -> Record:
    """The record in one piece."""
    record = Record(session.reader())
    assert len(record.reader.segments) == 1
    return record


@pytest.fixture
def pieces(in_pieces: Session) -> Record:
    record = Record(in_pieces.reader())
    assert len(record.reader.segments) == 7
    return record


def or_not(ask: Callable[..., Any], *about: Any, **how: Any) -> Any:
    try:
        return ask(*about, **how)
    except NotThere as there_is_none:
        return str(there_is_none)


def test_all_that_stands_out_is_the_same_in_pieces(whole: Record, pieces: Record) -> None:
    for mark in Mark:
        assert pieces.every(mark) == whole.every(mark)
    assert (pieces.first_bar, pieces.bars, pieces.symbols) == (whole.first_bar, whole.bars, whole.symbols)


@settings(max_examples=25)
@given(st.sampled_from(Mark), st.integers(0, 649), st.booleans())
def test_the_nearest_mark_is_the_same_in_pieces(session: Session, in_pieces: Session, mark: Mark, bar: int, back: bool) -> None:
    """Each asked of a record that knows nothing yet, so that borders of segments are come to from either side."""
    one, other = (or_not(Record(each.reader()).next, mark, bar, back=back) for each in (session, in_pieces))
    assert other == one


@settings(max_examples=15)
@given(st.integers(0, 640), st.integers(1, 120))
def test_the_timeline_is_the_same_in_pieces(session: Session, in_pieces: Session, first: int, width: int) -> None:
    one, other = (Record(each.reader()) for each in (session, in_pieces))
    last = min(first + width, 650)
    for mark in Mark:
        assert other.between(mark, first, last) == one.between(mark, first, last)


@pytest.mark.parametrize("text", ["score >= 6", "len(risk.plans) > 0", "regimes.h1[SOL] == panic", "trading != active"])
def test_conditions_hold_of_the_same_events_in_pieces(whole: Record, pieces: Record, text: str) -> None:
    condition = parse_condition(text, whole.symbols)
    assert pieces.where(condition) == whole.where(condition)
    for bar in range(0, 650, 53):
        for back in (False, True):
            ask = [or_not(record.find, condition, bar, 0, back=back) for record in (whole, pieces)]
            assert ask[0] == ask[1]


@pytest.mark.parametrize("text", ["regimes.h1[SOL]", "status.governor.equity", "status.governor.day_lock", "research.note"])
def test_a_place_changes_at_the_same_events_in_pieces(whole: Record, pieces: Record, text: str) -> None:
    path = parse_path(text, whole.symbols)
    changes = whole.watch(path)
    assert pieces.watch(path) == changes
    for bar in range(3, 650, 37):
        before = [change for change in changes if change.bar < bar]
        origin = pieces.origin(path, bar, 0, {"source"})
        assert (origin and (origin.bar, origin.node, origin.new)) == (
            (before[-1].bar, before[-1].node, before[-1].new) if before else None
        )


def test_where_a_node_ran_next_and_what_closed_when_are_the_same_in_pieces(whole: Record, pieces: Record) -> None:
    for bar in range(0, 650, 41):
        for node in NODES:
            assert pieces.next_run({node}, bar, 0) == whole.next_run({node}, bar, 0)
        for ts in (whole.time_of(bar) - 1, whole.time_of(bar), whole.time_of(bar) + 1):
            assert or_not(pieces.at_time, ts) == or_not(whole.at_time, ts)


def test_bars_go_on_over_the_borders_of_pieces(pieces: Record, in_pieces: Session) -> None:
    reader = in_pieces.reader()
    written = [(bar.number, bar.ts, bar.made) for bar in recorded_bars(reader, reader.segments[0])]
    assert [(bar.number, bar.ts, bar.made) for bar in pieces.bars_from(0)] == written
    assert [pieces.bar(number).number for number in (649, 0, 199, 200, 399, 100)] == [649, 0, 199, 200, 399, 100]


# --- what is read ---------------------------------------------------------------------------------------------


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of segments in the order in which they are read to their ends."""
    seen: list[int] = []
    keep = JournalReader.records

    def records(reader: JournalReader, segment: Segment) -> Iterator[Any]:
        yield from keep(reader, segment)
        seen.append(segment.number)

    monkeypatch.setattr(JournalReader, "records", records)
    return seen


def test_only_the_segments_that_are_stood_in_or_searched_are_read(in_pieces: Session, read: list[int]) -> None:
    record = Record(in_pieces.reader(), Names(in_pieces.folder.database))
    assert read == [7], "to see where the session ends"
    record.bar(287)
    assert read == [7, 3]
    assert record.next(Mark.TRADE, 287).bar == 383
    assert record.plan(f"trade-{ENTRY}").bar == 287
    assert read == [7, 3, 4]
    assert record.at_time(record.time_of(383)) == 383
    assert read == [7, 3, 4]
    record.bar(0)
    record.bar(649)
    assert read == [7, 3, 4, 1, 7], "three segments are kept"


def test_without_the_sessions_records_a_trade_is_found_in_the_journal(in_pieces: Session, tmp_path: Path) -> None:
    names = (Names(None), Names(tmp_path / "none"), Names(in_pieces.folder.database))
    (tmp_path / "none").write_text("no database", encoding="utf-8")
    hits = [Record(in_pieces.reader(), each).plan(ENTRY) for each in names]
    assert hits[0] == hits[1] == hits[2]
    with pytest.raises(NotThere, match=f"did you mean .*{ENTRY}"):
        Record(in_pieces.reader(), names[0]).plan(f"{ENTRY}S")


def test_an_order_that_was_sent_later_leads_to_the_plan_that_it_belongs_to(in_pieces: Session) -> None:
    record = Record(in_pieces.reader(), Names(in_pieces.folder.database))
    state = next(bar for bar in record.bars_from(287)).made[0]
    assert b"-e0" in dict(state.outputs)["execution"]
    stop = record.plan(ENTRY)
    assert record.plan("trade-" + ENTRY) == stop
    sent = [name for name in _orders(in_pieces) if name.endswith("-s1")]
    assert sent
    assert all(record.plan(name).text.startswith("entry ") for name in sent)


def _orders(session: Session) -> list[str]:
    from tests.support.commands import rows

    return [str(name) for (name,) in rows(session.folder.root, "SELECT client_id FROM orders ORDER BY ts")]


def test_a_long_search_is_told_of_once_a_second_from_the_third_on(pieces: Record) -> None:
    clock = iter(range(100))
    said: list[str] = []
    pieces.on_search = Patience(said.append, lambda: next(clock) * 400_000_000)

    async def search() -> None:
        pieces.every(Mark.TRADE)

    asyncio.run(search())
    assert said == ["searching: 5 of 7 segments"]


# --- standing -------------------------------------------------------------------------------------------------


@settings(max_examples=8)
@given(st.lists(st.integers(0, 649), min_size=2, max_size=5))
def test_any_jump_in_pieces_stands_where_the_session_stood(in_pieces: Session, bars: list[int]) -> None:
    async def jump() -> None:
        with stepping(in_pieces) as stepper:
            for bar in bars:
                await stepper.stand(bar)
                await stepper.run()
                assert_as_recorded(stepper)
                if bar < 649:
                    await stepper.forward()
                    assert stepper.bar == bar + 1
            await stepper.close()

    asyncio.run(jump())


async def test_a_jump_takes_the_nearest_states_and_makes_only_the_last_bars_again(
    in_pieces: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    fed: list[int] = []
    made: list[int] = []
    feed, arrive = Run.feed, Run.arrive

    def counted_feed(run: Run, batch: Any) -> None:
        fed.append(run.bars)
        feed(run, batch)

    async def counted_arrive(run: Run, batch: Any) -> Any:
        made.append(run.bars)
        return await arrive(run, batch)

    monkeypatch.setattr(Run, "feed", counted_feed)
    monkeypatch.setattr(Run, "arrive", counted_arrive)
    with stepping(in_pieces) as stepper:
        await stepper.stand(277)
        kept = [at for at in range(200, 277) if in_record(in_pieces, at).state is not None]
        whole = [at for at in kept if in_record(in_pieces, at).state.market is not None]
        assert fed == list(range(whole[-1] + 1, kept[-1] + 1))
        assert made == list(range(kept[-1] + 1, 278))
        fed.clear()
        made.clear()
        await stepper.by_bars(-1)
        assert (fed, made) == ([], list(range(kept[-1] + 1, 277))), "from the state that was stood at on the way"
        await stepper.close()


def in_record(session: Session, number: int) -> Any:
    reader = session.reader()
    segment = reader.segment_of(number)
    return journal_bars.bars_of(reader, segment)[number - segment.first_bar]


# --- a session that goes on under something else ------------------------------------------------------------------


@pytest.fixture(scope="module")
def signed_anew(tmp_path_factory: pytest.TempPathFactory) -> tuple[Session, int]:
    """A session that was stopped, and went on under other limits; the bar at which they begin to hold."""
    folder, stop = tmp_path_factory.mktemp("signed") / "anew", 8
    run_and_record(won(), folder, RunOptions(until_bars=stop))
    tighter = short_configuration().governance.model_copy(update={"per_trade_r_pct_base": 0.4})
    run_and_record(
        won(), folder, config=short_configuration().model_copy(update={"governance_digest": "f" * 64, "governance": tighter})
    )
    return find(str(folder)), stop


async def test_the_stepper_steps_over_a_change_of_the_limits_both_ways(signed_anew: tuple[Session, int]) -> None:
    """H2: node by node over the border, by jumps to both sides of it, and back."""
    session, border = signed_anew
    with stepping(session) as stepper:
        assert len(stepper.record.openings) == 2
        await stepper.stand(border - 2)
        while stepper.bar < border + 2:
            assert_as_recorded(stepper)
            assert limits(stepper) == ("f" * 64 if stepper.bar >= border else short_configuration().governance_digest)
            await stepper.forward()
        for bar in (border - 1, border, stepper.record.bars - 1, 0, border):
            await stepper.stand(bar)
            await stepper.run()
            assert_as_recorded(stepper)
            assert stepper.state["record"].governance == limits(stepper)
        await stepper.by_bars(-1)
        assert limits(stepper) == short_configuration().governance_digest
        await stepper.close()


def limits(stepper: Any) -> str:
    return str(stepper.held.run.context.config.governance_digest)


async def test_a_what_if_stands_under_the_limits_of_its_bar(signed_anew: tuple[Session, int]) -> None:
    session, border = signed_anew
    with stepping(session) as stepper:
        for bar in (border - 1, border):
            await stepper.stand(bar)
            await stepper.forward()
            await stepper.forward()
            fork = await stepper.change(stepper.path_of("regimes.h1[0]"), "panic")
            await stepper.run()
            assert fork.compared[-1].bar == bar
            assert fork.held.run.context.config.governance_digest == (
                "f" * 64 if bar == border else short_configuration().governance_digest
            )
        await stepper.close()


async def test_an_opening_inside_a_segment_holds_from_its_bar_on(
    signed_anew: tuple[Session, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a bar was cut off, and decided only at the next start, which said anew what holds."""
    session, border = signed_anew
    keep = Record.bar
    before = Record(session.reader()).openings[0]

    def said_anew(record: Record, number: int) -> Any:
        bar = keep(record, number)
        return replace(bar, opening=before) if number == border - 3 else bar

    monkeypatch.setattr(Record, "bar", said_anew)
    with stepping(session) as stepper:
        for start in (border - 5, border - 3):
            await stepper.stand(start)
            while stepper.bar < border + 1:
                await stepper.forward()
                assert_as_recorded(stepper)
        await stepper.close()


def test_the_session_of_both_is_made_again_as_one(signed_anew: tuple[Session, int]) -> None:
    async def to_end() -> int:
        with rerun_from(signed_anew[0].reader(), build_engine(EngineKind.DIRECT)) as rerun:
            while await rerun.next() is not None:
                pass
            return rerun.bar

    assert asyncio.run(to_end()) == Record(signed_anew[0].reader()).bars
