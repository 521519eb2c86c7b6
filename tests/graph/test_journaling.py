"""What a run keeps in its journal: every input before it is handled, states and segments where they are due (G4, G10)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.data.blocks import Batch
from core.errors import StateError
from core.exec.orders import OrderManager
from core.journal.bars import past
from core.journal.reader import JournalReader
from core.journal.records import Answer, BatchIn, Decided, EventsIn, Opening, Record, State, Word
from core.risk.governor import Governor
from core.types import BrokerEvent
from graph import journaling
from graph.engines import EngineKind, build_engine
from graph.journaling import JournaledVenue
from graph.junction import check_junction
from graph.runner import Daemon, RunOptions
from graph.session_dir import SessionDir, UnlockRequest
from graph.words import FolderWords, WordKind
from tests.agents.making import BTC, ETH, SIGNAL
from tests.graph.test_runner import AT_ONCE, lost, start, won
from tests.support.ladder import HandMade, ladder
from tests.support.run import Watched, assembled, short_configuration


def records_of(folder: Path) -> list[Record]:
    return list(JournalReader(folder / "journal").all_records())


# --- before it is handled -------------------------------------------------------------------------------------------


def test_every_input_is_in_the_file_before_it_is_handled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Issue 3, 1: at full speed too, at the moment at which the first service hears of it."""
    seen: dict[str, int] = {}
    asked = UnlockRequest("looked at it", "owner")

    def stands(record: Record) -> None:
        seen[type(record).__name__] = seen.get(type(record).__name__, 0) + 1
        assert records_of(tmp_path)[-1] == record

    def look(daemon: Daemon) -> Any:
        advance = daemon.parts.venue.advance

        async def advanced(batch: Batch, on_events: Any) -> None:
            batches = [record for record in records_of(tmp_path) if isinstance(record, BatchIn)]
            assert batches[-1] == BatchIn.of(batch)
            await advance(batch, on_events)

        monkeypatch.setattr(daemon.parts.venue, "advance", advanced)

        def ask(event: Any, state: Any, context: Any) -> None:
            if event.seq == SIGNAL + 5:
                SessionDir(tmp_path).request_unlock(asked)

        return ask

    handle, unlock, place = OrderManager.handle, Governor.unlock, JournaledVenue.place

    async def handled(orders: OrderManager, events: tuple[BrokerEvent, ...]) -> None:
        stands(EventsIn.of(events))
        await handle(orders, events)

    async def placed(venue: JournaledVenue, order: Any) -> Any:
        update = await place(venue, order)
        stands(Answer(("place", order.client_id), update, order))
        return update

    def unlocked(governor: Governor, ts: int, reason: str, who: str) -> bool:
        stands(Word(ts, WordKind.UNLOCK.value, who, reason, asked.ref))
        return unlock(governor, ts, reason, who)

    monkeypatch.setattr(OrderManager, "handle", handled)
    monkeypatch.setattr(JournaledVenue, "place", placed)
    monkeypatch.setattr(Governor, "unlock", unlocked)
    start(lost(), tmp_path, RunOptions(speed=AT_ONCE), look=look)
    assert seen.keys() == {"EventsIn", "Answer", "Word"}


def test_a_decision_stands_with_what_each_node_wrote(tmp_path: Path) -> None:
    ran = start(won(), tmp_path)
    made = [record for record in records_of(tmp_path) if isinstance(record, Decided)]
    assert [record.seq for record in made] == list(range(21))
    assert [agent for agent, _ in made[-1].outputs] == [agent for agent, _ in ran.context.trace.outputs]
    assert made[0].outputs[0][1] is not None


# --- states and segments ----------------------------------------------------------------------------------------------


def test_a_word_that_is_saved_at_once_does_not_bring_a_state_into_the_middle_of_a_bar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A state stands behind the decision of its bar, a segment begins behind one: who reads on from there counts on it."""
    monkeypatch.setattr(journaling, "STATE_EVERY", 1)
    monkeypatch.setattr(journaling, "SEGMENT_BARS", SIGNAL + 5)

    def ask(daemon: Daemon) -> Any:
        def look(event: Any, state: Any, context: Any) -> None:
            if event.seq == SIGNAL + 4:
                SessionDir(tmp_path).request_unlock(UnlockRequest("looked at it", "owner"))

        return look

    start(lost(), tmp_path, RunOptions(speed=AT_ONCE), look=ask)
    bars = decided = 0
    for record in records_of(tmp_path):
        bars += isinstance(record, BatchIn)
        decided += isinstance(record, Decided)
        if isinstance(record, State):
            assert record.bars == bars == decided


def test_a_session_at_rest_is_packed_and_goes_on_in_a_segment_of_its_own(tmp_path: Path) -> None:
    start(won(), tmp_path, RunOptions(until_bars=5))
    assert [path.name for path in (tmp_path / "journal").iterdir()] == ["000001-000000000.journal.zst"]
    start(won(), tmp_path, RunOptions(until_bars=5))
    assert [path.name for path in (tmp_path / "journal").iterdir()] == ["000001-000000000.journal.zst"], "no bar came"
    start(won(), tmp_path)
    assert sorted(path.name for path in (tmp_path / "journal").iterdir()) == [
        "000001-000000000.journal.zst",
        "000002-000000005.journal.zst",
    ]
    (first, second) = JournalReader(tmp_path / "journal").segments
    assert not first.followed
    assert not second.followed


def test_where_a_session_stands_is_found_at_any_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the last batch, also where a segment has none yet."""
    monkeypatch.setattr(journaling, "SEGMENT_BARS", 256)
    start(won(), tmp_path, RunOptions(until_bars=5))
    parts = assembled(won(), tmp_path, short_configuration())
    daemon = Daemon(parts, build_engine(EngineKind.DIRECT), SessionDir(tmp_path), RunOptions(until_bars=6))
    asyncio.run(daemon.run())
    parts.store.close()
    reader = JournalReader(tmp_path / "journal")
    batches = [record.ts for record in reader.all_records() if isinstance(record, BatchIn)]
    for bars in range(7):
        then = past(reader, bars)
        assert [batch.ts for batch in then.decided + then.undecided] == batches[then.state.bars :]
        assert len(then.undecided) == 6 - bars
        assert then.last is not None
        assert then.last.ts == batches[-1]
        assert isinstance(then.opening, Opening)


# --- the junction -----------------------------------------------------------------------------------------------------


def batch(source: HandMade, hour: int = 3) -> Batch:
    return source.batch(hour)


def test_the_same_bar_again_is_no_matter() -> None:
    source = HandMade({BTC: ladder().climb(9), ETH: ladder().climb(9)})
    check_junction(batch(source), batch(source), source.info.symbols)


def test_nothing_where_there_was_nothing_is_the_same() -> None:
    source = HandMade({BTC: ladder().climb(9)})
    then, now = batch(source), batch(source)
    for one in (then, now):
        one.bars[0].volume[0] = float("nan")
    check_junction(then, now, source.info.symbols)
    now.bars[0].volume[0] = 0.0
    with pytest.raises(StateError, match=r"BTC/USDT:USDT 1h volume is 0\.0, recorded was nan"):
        check_junction(then, now, source.info.symbols)


@pytest.mark.parametrize(("recorded", "now", "what"), [(2, 1, "ETH/USDT:USDT 1h is missing"), (1, 2, "ETH/USDT:USDT 1h came")])
def test_a_symbol_more_or_less_is_another_bar(recorded: int, now: int, what: str) -> None:
    paths = {BTC: ladder().climb(9), ETH: ladder().climb(9)}
    sources = {n: HandMade(dict(list(paths.items())[:n])) for n in (1, 2)}
    with pytest.raises(StateError, match=what) as refused:
        check_junction(batch(sources[recorded]), batch(sources[now]), (BTC, ETH))
    assert refused.value.code == "STATE-010"


def test_another_bar_of_the_source_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    start(won(), tmp_path, RunOptions(until_bars=6))
    before = records_of(tmp_path)
    other = HandMade({BTC: ladder().climb(5).candle(0.5).climb(9)})
    with pytest.raises(StateError, match="the source gives another bar at 2024-01-01 06:00 than the session recorded: BTC"):
        start(other, tmp_path)
    assert records_of(tmp_path) == before


# --- words ------------------------------------------------------------------------------------------------------------


def test_a_note_is_told_once_and_goes_when_it_is_done(tmp_path: Path) -> None:
    folder = SessionDir(tmp_path)
    words = FolderWords(folder)
    folder.request_unlock(UnlockRequest("why", "who"))
    (told,) = words.heard(1)
    assert words.heard(2) == []
    words.done(told)
    assert folder.waiting_unlock() is None
    folder.request_unlock(UnlockRequest("why", "who"))
    assert [word.kind for word in words.heard(3)] == [WordKind.UNLOCK]


def test_the_same_words_said_twice_are_two_words(tmp_path: Path) -> None:
    """X12: the daemon was killed right after the first was on record, and the person said it again while it was down."""
    folder = SessionDir(tmp_path)
    folder.request_unlock(UnlockRequest("why", "who"))
    (first,) = FolderWords(folder).heard(1)
    folder.request_unlock(UnlockRequest("why", "who"))
    words = FolderWords(folder)
    words.done(first)
    (second,) = words.heard(2)
    assert (second.text, second.ref == first.ref) == ("why", False)


def test_a_newer_note_outlives_the_word_before_it(tmp_path: Path) -> None:
    folder = SessionDir(tmp_path)
    words = FolderWords(folder)
    folder.request_unlock(UnlockRequest("why", "who"))
    (told,) = words.heard(1)
    folder.request_unlock(UnlockRequest("again", "who"))
    words.done(told)
    assert [word.text for word in words.heard(2)] == ["again"]


@pytest.mark.parametrize("failing", [True, False])
def test_a_restart_forgets_that_the_journal_was_lost(failing: bool, tmp_path: Path) -> None:
    """What the last life could not write the next one writes, or says so itself."""
    parts = assembled(won(), tmp_path, short_configuration())
    watched = Watched(build_engine(EngineKind.DIRECT))
    run = Daemon(parts, watched, SessionDir(tmp_path), RunOptions())._run
    run.hear(Word(0, WordKind.JOURNAL_LOST.value))
    saved = run.snapshot()
    run.hear(Word(0, WordKind.RESUMED.value))
    heard: Callable[[], bool] = lambda: parts.context.market.health.snapshot()["journal_lost"]  # noqa: E731
    assert heard() is False
    if failing:
        run.restore(saved)
        assert heard() is True
    parts.store.close()
