"""Killed at any moment, with its journal: the same decisions, nothing lost, nothing twice (issue 3, section 1; X43, F6, G10).

The process is ended by an exception that nothing catches, at the n-th of all moments at which something is written or done;
what was only in memory is gone then, as after kill -9.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from configs.validators import Configuration
from core.errors import StateError
from core.journal.reader import JournalReader, verify
from core.journal.records import Opening, Record, Word
from core.journal.writer import JournalWriter
from core.monitor.reader import StoreReader
from core.monitor.store import Store
from graph import journaling, opening, runner
from graph.engines import EngineKind, build_engine
from graph.journaling import FRAMES, SessionJournal
from graph.rerun import rerun_from, standing_before
from graph.run import Run
from graph.runner import Daemon, RunOptions
from graph.session_dir import SessionDir, UnlockRequest
from graph.words import FolderWords, WordKind
from tests.agents.making import SIGNAL
from tests.graph.test_runner import AT_ONCE, lost, won
from tests.support.ladder import HandMade
from tests.support.run import assembled, short_configuration

pytestmark = pytest.mark.untraced

PACED, FULL_SPEED = RunOptions(speed=AT_ONCE), RunOptions()
BEGUN = 5
"""Bars of the session that each life goes on with."""


@pytest.fixture(scope="module", autouse=True)
def _many_borders() -> Iterator[None]:
    """Segments of five bars, a state every second, a commit every third: every kind of border is crossed again and again."""
    logger.remove()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journaling, "SEGMENT_BARS", 5)
        patch.setattr(journaling, "STATE_EVERY", 2)
        patch.setattr(runner, "COMMIT_EVERY", 3)
        patch.setattr("os.fsync", lambda _handle: None)
        patch.setattr("os.fdatasync", lambda _handle: None)
        yield


class Killed(BaseException):
    """The process ends here."""


class Moments:
    """Counts the moments of a life; at number ``fatal`` it ends."""

    def __init__(self, fatal: int | None = None) -> None:
        self.fatal, self.seen = fatal, 0

    def tick(self) -> None:
        self.seen += 1
        if self.seen == self.fatal:
            raise Killed

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Before and after each step by which something gets to the disk, and inside a bar."""
        with pytest.MonkeyPatch.context() as patch:
            for owner, name in (
                (JournalWriter, "flush"),
                (JournalWriter, "sync"),
                (JournalWriter, "finish"),
                (SessionJournal, "begin"),
                (Store, "commit"),
                (FolderWords, "done"),
            ):
                patch.setattr(owner, name, self._around(getattr(owner, name)))
            for name in ("arrive", "decide", "conclude"):
                patch.setattr(Run, name, self._around_async(getattr(Run, name)))
            yield

    def _around(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def do(*args: Any) -> Any:
            self.tick()
            result = real(*args)
            self.tick()
            return result

        return do

    def _around_async(self, real: Callable[..., Any]) -> Callable[..., Any]:
        async def do(*args: Any) -> Any:
            result = await real(*args)
            self.tick()
            return result

        return do


def live(
    folder: Path,
    source: HandMade,
    options: RunOptions,
    moments: Moments | None = None,
    config: Configuration | None = None,
    look: Callable[[Daemon], None] | None = None,
    governance_changed: Callable[[], bool] = lambda: False,
) -> Daemon | None:
    """One life of the session in ``folder``; None where it was killed."""
    parts = assembled(source, folder, config or short_configuration())
    daemon = Daemon(parts, build_engine(EngineKind.DIRECT), SessionDir(folder), options, governance_changed)
    with (moments or Moments()).counted():
        try:
            asyncio.run(daemon.run(None if look is None else lambda: look(daemon)))
        except Killed:
            return None
        finally:
            parts.store.close()
            parts.journal.close()
    return daemon


def decisions(folder: Path) -> list[tuple[Any, ...]]:
    with StoreReader(SessionDir(folder).database) as reader:
        return list(reader.decisions())


def alerts(folder: Path) -> list[str]:
    with StoreReader(SessionDir(folder).database) as reader:
        return [code for (code,) in reader.query("SELECT code FROM alerts ORDER BY rowid")]


def frames(folder: Path) -> int:
    with StoreReader(SessionDir(folder).database) as reader:
        return int(reader.get_meta(FRAMES) or 0)


def words(folder: Path) -> list[Word]:
    return [record for record in records_of(folder) if isinstance(record, Word)]


def records_of(folder: Path) -> list[Record]:
    return list(JournalReader(folder / "journal").all_records())


def assert_sound(folder: Path, bars: int, *, whole: bool = False) -> None:
    """The journal is sound and holds each bar once, and the session made again from it gives what it has."""
    verdict = verify(folder / "journal", frames(folder))
    assert (verdict.damage, verdict.bars) == (None, bars)
    reader = JournalReader(folder / "journal")
    assert [s.first_bar for s in reader.segments] == sorted(s.first_bar for s in reader.segments)

    async def again() -> int:
        engine = build_engine(EngineKind.DIRECT)
        with rerun_from(reader, engine) if whole else standing_before(reader, reader.segments[1].first_bar, engine) as rerun:
            while await rerun.next() is not None:
                pass
            return rerun.bar

    assert asyncio.run(again()) == bars


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Sessions of :data:`BEGUN` bars, and the whole ones."""
    found = {}
    for name, source in (("won", won), ("lost", lost)):
        found[name] = tmp_path_factory.mktemp(name)
        live(found[name], source(), RunOptions(until_bars=BEGUN))
        found[f"{name} whole"] = tmp_path_factory.mktemp(f"{name} whole")
        live(found[f"{name} whole"], source(), FULL_SPEED)
    return found


def copy(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to))


def moments_of(begun: Path, tmp_path: Path, source: HandMade, options: RunOptions) -> int:
    counter = Moments()
    live(copy(begun, tmp_path / "counted"), source, options, counter)
    return counter.seen


# --- any moment ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [PACED, FULL_SPEED], ids=["paced", "at full speed"])
def test_a_session_killed_at_any_moment_goes_on_as_if_nothing_had_happened(
    options: RunOptions, begun: dict[str, Path], tmp_path: Path
) -> None:
    """Before the first commit, between journal and records, between a commit and a new segment, while the end is packed."""
    expected = decisions(begun["won whole"])
    moments = moments_of(begun["won"], tmp_path, won(), options)
    assert moments > 90
    for fatal in range(1, moments + 1, 17 if options.speed else 11):
        folder = copy(begun["won"], tmp_path / f"{fatal}")
        assert live(folder, won(), options, Moments(fatal)) is None
        live(folder, won(), options)
        assert decisions(folder) == expected, fatal
        assert_sound(folder, 21)


def test_a_session_killed_again_and_again_ends_as_the_whole_one(begun: dict[str, Path], tmp_path: Path) -> None:
    """Each life is killed a little later than the one before; some do not get a bar further."""
    expected = decisions(begun["won whole"])
    for step in (1, 8):
        folder, fatal = copy(begun["won"], tmp_path / f"{step}"), 1
        while live(folder, won(), FULL_SPEED, Moments(fatal)) is None:
            fatal += step
        assert decisions(folder) == expected
        assert_sound(folder, 21)


def test_a_session_killed_before_its_first_commit_begins_with_what_its_journal_has(
    begun: dict[str, Path], tmp_path: Path
) -> None:
    """The past that it knew is on record; a session that had not begun begins."""
    for fatal in (2, 5, 12):
        folder = tmp_path / f"{fatal}"
        assert live(folder, won(), FULL_SPEED, Moments(fatal)) is None
        live(folder, won(), FULL_SPEED)
        assert decisions(folder) == decisions(begun["won whole"])
        assert_sound(folder, 21)


def test_records_that_a_loss_of_power_took_are_made_again_across_segments(begun: dict[str, Path], tmp_path: Path) -> None:
    """The journal is synced, the records may be behind it by any number of commits: also a journal that was finished."""
    folder, behind = copy(begun["won"], tmp_path / "ahead"), copy(begun["won"], tmp_path / "behind")
    live(folder, won(), FULL_SPEED)
    database = SessionDir(folder).database
    for path in database.parent.glob(f"{database.name}*"):
        path.unlink()
    shutil.copy(SessionDir(behind).database, database)
    before = records_of(folder)
    ended = live(folder, won(), FULL_SPEED)
    assert ended is not None
    assert ended.resumed_from == BEGUN
    assert decisions(folder) == decisions(begun["won whole"])
    assert records_of(folder) == before
    assert_sound(folder, 21, whole=True)


# --- a person's word ----------------------------------------------------------------------------------------------


class Person:
    """Asks once that the kill-switch be lifted, after bar :data:`UNLOCK`, and edits the limits once, three bars later."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._asked = self._edited = self._touched = False

    def sign(self) -> None:
        """What was edited is signed, or the session would not start."""
        self._touched = False

    def touched(self) -> bool:
        return self._touched

    def look(self, daemon: Daemon) -> None:
        if daemon.bars > UNLOCK and not self._asked:
            self._asked = True
            SessionDir(self._folder).request_unlock(UnlockRequest("looked at it", "owner"))
        if daemon.bars > UNLOCK + 3 and not self._edited:
            self._edited = self._touched = True


UNLOCK = SIGNAL + 5


def test_a_word_is_never_lost_or_doubled(begun: dict[str, Path], tmp_path: Path) -> None:
    """X12: an unlock and touched limits, in a life that is killed around them."""
    folder = copy(begun["lost"], tmp_path / "counted")
    counter = Moments()
    person = Person(folder)
    live(folder, lost(), PACED, counter, look=person.look, governance_changed=person.touched)
    said = [word.kind for word in words(folder)]
    assert said == [WordKind.RESUMED, WordKind.UNLOCK, WordKind.GOVERNANCE_CHANGED]
    heard = 0
    for fatal in range(counter.seen // 2, counter.seen, 9):
        folder = copy(begun["lost"], tmp_path / f"{fatal}")
        person = Person(folder)
        assert live(folder, lost(), PACED, Moments(fatal), look=person.look, governance_changed=person.touched) is None
        person.sign()
        live(folder, lost(), PACED, look=person.look, governance_changed=person.touched)
        assert alerts(folder).count("unlocked") == 1, fatal
        assert SessionDir(folder).waiting_unlock() is None
        said = [word.kind for word in words(folder)]
        assert said.count(WordKind.UNLOCK) == 1, fatal
        assert said.count(WordKind.GOVERNANCE_CHANGED) == alerts(folder).count("governance_changed") <= 1, fatal
        heard += said.count(WordKind.GOVERNANCE_CHANGED)
        assert_sound(folder, 28)
    assert heard > 5


def test_a_word_in_the_tail_is_heard_again_at_its_place(begun: dict[str, Path], tmp_path: Path) -> None:
    """Killed right after the unlock was written and before its note was taken away; a newer note stays for its own turn."""
    folder = copy(begun["lost"], tmp_path / "state")

    def die(self: FolderWords, word: Word) -> None:
        if word.kind == WordKind.UNLOCK:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FolderWords, "done", die)
        assert live(folder, lost(), PACED, look=Person(folder).look) is None
    assert [word.kind for word in words(folder)].count(WordKind.UNLOCK) == 1
    newer = UnlockRequest("once more", "owner")
    SessionDir(folder).request_unlock(newer)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FolderWords, "_in_folder", lambda self, ts: [])
        live(folder, lost(), PACED)
    assert [word.text for word in words(folder) if word.kind == WordKind.UNLOCK] == ["looked at it"]
    assert SessionDir(folder).waiting_unlock() == newer
    assert alerts(folder).count("unlocked") == 1
    assert_sound(folder, 28)


# --- what changed in between ---------------------------------------------------------------------------------------


def signed_anew() -> Configuration:
    return short_configuration().model_copy(update={"governance_digest": "f" * 64})


def killed_in_bar(begun: Path, to: Path, step: str) -> Path:
    """A session that was killed right after ``step`` of its third bar from :data:`BEGUN` on."""
    folder, left = copy(begun, to), [3]
    real = getattr(Run, step)

    async def die(run: Run, *args: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            raise Killed
        return await real(run, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, step, die)
        assert live(folder, won(), PACED) is None
    return folder


def openings(folder: Path) -> list[Opening]:
    return [record for record in records_of(folder) if isinstance(record, Opening)]


def test_what_changed_between_two_starts_begins_a_segment(begun: dict[str, Path], tmp_path: Path) -> None:
    """H2: a person signed other limits while nothing ran; each segment says what held in it."""
    folder = copy(begun["won"], tmp_path / "state")
    before = len(openings(folder))
    live(folder, won(), RunOptions(until_bars=BEGUN), config=signed_anew())
    assert len(openings(folder)) == before, "no bar came"
    live(folder, won(), FULL_SPEED, config=signed_anew())
    held = [record.facts["governance_digest"] for record in openings(folder)]
    assert held[:before] == [short_configuration().governance_digest] * before
    assert held[before:] == ["f" * 64] * (len(held) - before) != []
    assert verify(folder / "journal", frames(folder)).damage is None


@pytest.mark.parametrize("step", ["arrive", "decide", "conclude"])
def test_bars_that_were_cut_off_are_finished_before_anything_changes(step: str, begun: dict[str, Path], tmp_path: Path) -> None:
    """JRN-007: said, with nothing overwritten; with the former configuration they are finished, then the other one holds."""
    folder = killed_in_bar(begun["won"], tmp_path / "state", step)
    before, had = decisions(folder), records_of(folder)
    with pytest.raises(StateError, match="1 bars were being decided under other limits") as refused:
        live(folder, won(), FULL_SPEED, config=signed_anew())
    assert refused.value.code == "JRN-007"
    assert (decisions(folder), records_of(folder)) == (before, had)
    live(folder, won(), RunOptions(until_bars=BEGUN + 3))
    live(folder, won(), FULL_SPEED, config=signed_anew())
    assert verify(folder / "journal", frames(folder)).damage is None


@pytest.mark.parametrize("step", ["decide", "conclude"])
def test_an_end_before_the_bars_that_were_cut_off_leaves_them_where_they_are(
    step: str, begun: dict[str, Path], tmp_path: Path
) -> None:
    """They are finished in their own segment, whenever somebody goes on."""
    folder = killed_in_bar(begun["won"], tmp_path / "state", step)
    had = records_of(folder)
    for _ in range(2):
        live(folder, won(), RunOptions(until_bars=BEGUN))
        assert records_of(folder) == had
    live(folder, won(), FULL_SPEED)
    assert decisions(folder) == decisions(begun["won whole"])
    assert_sound(folder, 21)


def test_a_session_without_a_commit_knows_itself_from_its_journal(tmp_path: Path) -> None:
    """STATE-010, JRN-007: who was killed that early is no other session's beginning."""
    folder = tmp_path / "state"
    assert live(folder, won(), FULL_SPEED, Moments(14)) is None
    assert decisions(folder) == []
    before = records_of(folder)
    with pytest.raises(StateError, match="symbols 'BTC/USDT:USDT'") as other:
        live(folder, lost(), FULL_SPEED)
    with pytest.raises(StateError, match="were being decided under other limits") as changed:
        live(folder, won(), FULL_SPEED, config=signed_anew())
    assert (other.value.code, changed.value.code) == ("STATE-010", "JRN-007")
    assert records_of(folder) == before


def test_another_program_goes_on_in_a_segment_of_its_own(begun: dict[str, Path], tmp_path: Path) -> None:
    """What it makes of the bars that were cut off is compared, and stays in their segment."""
    folder = killed_in_bar(begun["won"], tmp_path / "state", "conclude")
    cut_off = len(openings(folder))
    code = {**opening.code_in_use(), "source": "0" * 64}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "code_in_use", lambda: code)
        live(folder, won(), FULL_SPEED)
    assert [record.code["source"] == "0" * 64 for record in openings(folder)][cut_off - 1 : cut_off + 1] == [False, True]
    assert decisions(folder) == decisions(begun["won whole"])
    assert_sound(folder, 21)


def test_another_decision_than_the_one_on_record_is_refused(begun: dict[str, Path], tmp_path: Path) -> None:
    """JRN-005: a program that decides otherwise does not go on behind what it did not decide."""
    folder = copy(begun["won"], tmp_path / "state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "COMMIT_EVERY", 1000)
        assert live(folder, won(), FULL_SPEED, Moments(40)) is None
    before = records_of(folder)
    real = SessionJournal.decided

    def decided(journal: SessionJournal, event: Any, outputs: Any) -> None:
        agent, payload = outputs[0]
        real(journal, event, [(agent, payload + b"\xc0"), *outputs[1:]])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SessionJournal, "decided", decided)
        with pytest.raises(StateError, match="another Decided than the journal has") as refused:
            live(folder, won(), FULL_SPEED)
    assert refused.value.code == "JRN-005"
    assert records_of(folder) == before
    live(folder, won(), FULL_SPEED)
    assert decisions(folder) == decisions(begun["won whole"])
