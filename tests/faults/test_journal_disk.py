"""The disk is full or forbidden while a session runs: entries stop, exits go on, and nothing is missing (issue 3, G10)."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.codes import RefusalCode
from core.errors import StateError
from core.monitor.reader import StoreReader
from core.monitor.schema import AlertLevel
from core.monitor.store import Store
from core.types import TradingState
from graph import runner
from graph.runner import Daemon
from graph.session_dir import SessionDir, UnlockRequest
from graph.status import verdict
from graph.words import WordKind
from tests.agents.making import SIGNAL
from tests.faults.test_journal_kill import (
    FULL_SPEED,
    PACED,
    _many_borders,  # noqa: F401 - small segments here too
    alerts,
    assert_sound,
    decisions,
    live,
    words,
)
from tests.graph.test_runner import lost, won
from tests.support.ladder import HandMade


class Disk:
    """Lets the journal's writes fail between two bars; ``error`` is what the system says."""

    def __init__(self, error: int, fails: Callable[[int], bool]) -> None:
        self._error, self._fails = error, fails
        self.broken = fails(0)
        self.seen: list[tuple[str | None, int]] = []
        self.shown: list[str] = []

    def look(self, daemon: Daemon) -> None:
        self.seen.append((daemon.parts.journal.failure, len(alerts(daemon._folder.root))))
        self.shown.append(str(verdict(daemon)))
        self.broken = self._fails(daemon.bars)

    def write(self, real: Callable[..., int]) -> Callable[..., int]:
        def pwrite(handle: int, data: Any, offset: int) -> int:
            if self.broken:
                raise OSError(self._error, os.strerror(self._error))
            return real(handle, data, offset)

        return pwrite


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[int], bool]], Disk]:
    def make(error: int, fails: Callable[[int], bool]) -> Disk:
        made = Disk(error, fails)
        monkeypatch.setattr(os, "pwrite", made.write(os.pwrite))
        return made

    return make


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("whole")
    live(folder, won(), PACED)
    return folder


def rows(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    with StoreReader(SessionDir(folder).database) as reader:
        return list(reader.query(sql))


MONEY = ("SELECT * FROM fills", "SELECT * FROM adjustments", "SELECT * FROM funding")


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EACCES], ids=["full", "forbidden"])
def test_no_entry_is_made_while_the_journal_cannot_be_written(
    error: int, disk: Callable[..., Disk], tmp_path: Path, whole: Path
) -> None:
    """The breakout comes while the disk is full: refused by code; a page; then everything is there, and no bar is missing."""
    broken = disk(error, lambda bars: SIGNAL - 1 <= bars <= SIGNAL + 3)
    live(tmp_path / "s", won(), PACED, look=broken.look)
    folder = tmp_path / "s"
    assert rows(whole, "SELECT COUNT(*) FROM orders WHERE purpose = 'entry'") == [(1,)]
    assert rows(folder, "SELECT COUNT(*) FROM orders") == [(0,)]
    refused = rows(folder, "SELECT code, seq FROM refusals WHERE code = 'JOURNAL_LOST'")
    assert refused[0] == (RefusalCode.JOURNAL_LOST, SIGNAL)
    told = rows(folder, "SELECT level, code, seq FROM alerts WHERE code LIKE 'journal%'")
    assert told == [(AlertLevel.PAGE, "journal_lost", SIGNAL - 1), (AlertLevel.WARNING, "journal_back", SIGNAL + 4)]
    assert [failure for failure, _ in broken.seen].count(os.strerror(error)) == 5
    assert [shown for shown in broken.shown if "JOURNAL_LOST" in shown and os.strerror(error) in shown]
    assert [word.kind for word in words(folder)] == [WordKind.JOURNAL_LOST, WordKind.JOURNAL_BACK]
    assert_sound(folder, 21, whole=True)


def test_exits_and_stop_moves_go_on_while_the_journal_cannot_be_written(
    disk: Callable[..., Disk], tmp_path: Path, whole: Path
) -> None:
    """The position that was open when the disk became full is managed just as if it had not."""
    broken = disk(errno.ENOSPC, lambda bars: SIGNAL + 2 <= bars <= SIGNAL + 6)
    live(tmp_path / "s", won(), PACED, look=broken.look)
    for sql in MONEY:
        assert rows(tmp_path / "s", sql) == rows(whole, sql)
    meanwhile = range(SIGNAL + 2, SIGNAL + 8)
    assert any(seq in meanwhile for (seq,) in rows(tmp_path / "s", "SELECT seq FROM adjustments"))
    assert any(seq in meanwhile for (seq,) in rows(tmp_path / "s", "SELECT seq FROM fills WHERE purpose <> 'entry'"))
    assert_sound(tmp_path / "s", 21, whole=True)


def test_records_never_go_ahead_of_the_journal(disk: Callable[..., Disk], tmp_path: Path, whole: Path) -> None:
    """Killed while the disk was full: the session goes on from the last bar that its journal has."""
    folder = tmp_path / "s"
    broken = disk(errno.ENOSPC, lambda bars: bars >= SIGNAL + 2)

    def look(daemon: Daemon) -> None:
        broken.look(daemon)
        if daemon.bars == SIGNAL + 7:
            shutil.copytree(folder, tmp_path / "killed")

    with pytest.raises(StateError, match="can't be written: No space left on device") as ended:
        live(folder, won(), PACED, look=look)
    assert ended.value.code == "JRN-002"
    broken.broken, broken._fails = False, lambda _bars: False
    for left in (tmp_path / "killed", folder):
        assert len(decisions(left)) == SIGNAL + 2
        live(left, won(), PACED)
        assert decisions(left) == decisions(whole)
        assert_sound(left, 21, whole=True)


def test_at_full_speed_the_run_ends_with_the_reason(disk: Callable[..., Disk], tmp_path: Path, whole: Path) -> None:
    folder = tmp_path / "s"
    broken = disk(errno.ENOSPC, lambda bars: bars >= SIGNAL + 1)
    with pytest.raises(StateError, match="can't be written: No space left on device") as ended:
        live(folder, won(), FULL_SPEED, look=broken.look)
    assert ended.value.code == "JRN-002"
    assert "start again" in ended.value.help
    assert alerts(folder) == ["fault"]
    broken.broken, broken._fails = False, lambda _bars: False
    live(folder, won(), FULL_SPEED)
    assert decisions(folder) == decisions(whole)
    assert_sound(folder, 21)


def test_an_unlock_holds_at_once_and_its_note_stays_until_it_is_on_the_disk(disk: Callable[..., Disk], tmp_path: Path) -> None:
    """X12: heard once; a process that died meanwhile would find the note again."""
    folder, waiting = tmp_path / "s", []
    broken = disk(errno.ENOSPC, lambda bars: SIGNAL + 4 <= bars <= SIGNAL + 9)
    states = []

    def look(daemon: Daemon) -> None:
        broken.look(daemon)
        waiting.append(SessionDir(folder).waiting_unlock() is not None)
        states.append(daemon.last_state["record"].state)
        if daemon.bars == SIGNAL + 6:
            SessionDir(folder).request_unlock(UnlockRequest("looked at it", "owner"))

    live(folder, lost(), PACED, look=look)
    assert TradingState.HALTED in states[: SIGNAL + 6]
    assert TradingState.HALTED not in states[SIGNAL + 6 :]
    assert waiting[SIGNAL + 5 : SIGNAL + 10] == [False, True, True, True, True]
    assert not any(waiting[SIGNAL + 10 :])
    assert [word.kind for word in words(folder)] == [WordKind.JOURNAL_LOST, WordKind.UNLOCK, WordKind.JOURNAL_BACK]
    assert alerts(folder).count("unlocked") == 1
    assert_sound(folder, 28, whole=True)


# --- the records ------------------------------------------------------------------------------------------------


def limited(pages: int) -> Callable[[Daemon], None]:
    """The database may have no more than ``pages`` pages; 0: as many as it likes."""
    return lambda daemon: daemon.parts.store._db.execute(f"PRAGMA max_page_count = {pages or 1 << 30}").fetchall() and None


def full_between(first: int, last: int, source: HandMade, folder: Path) -> list[int]:
    """A paced run whose database cannot grow between two bars; how many decisions it had after each bar."""
    grown = []

    def look(daemon: Daemon) -> None:
        grown.append(len(decisions(folder)))
        limited(1 if first <= daemon.bars <= last else 0)(daemon)

    live(folder, source, PACED, look=look)
    return grown


def test_records_that_cannot_be_written_stop_entries_and_are_made_good(tmp_path: Path, whole: Path) -> None:
    """The journal goes on; what the database lacks is committed as soon as it can grow again."""
    folder = tmp_path / "s"
    grown = full_between(2, SIGNAL + 3, won(), folder)
    assert grown[SIGNAL] < SIGNAL
    assert grown[-1] == 21
    assert rows(folder, "SELECT COUNT(*) FROM orders") == [(0,)]
    assert {code for (code,) in rows(folder, "SELECT code FROM refusals")} >= {"JOURNAL_LOST"}
    assert [code for code in alerts(folder) if code.startswith("journal")] == ["journal_lost", "journal_back"]
    assert_sound(folder, 21, whole=True)


def test_exits_go_on_without_records(tmp_path: Path, whole: Path) -> None:
    full_between(SIGNAL + 2, SIGNAL + 7, won(), tmp_path / "s")
    for sql in MONEY:
        assert rows(tmp_path / "s", sql) == rows(whole, sql)
    assert_sound(tmp_path / "s", 21, whole=True)


def test_a_run_at_full_speed_ends_where_its_records_cannot_be_written(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "COMMIT_EVERY", 3)
    folder = tmp_path / "s"
    with pytest.raises(StateError, match="full") as ended:
        live(folder, won(), FULL_SPEED, look=lambda daemon: limited(1)(daemon) if daemon.bars > 4 else None)
    assert ended.value.exit_code == 4
    live(folder, won(), FULL_SPEED)
    assert decisions(folder) == decisions(whole)
    assert_sound(folder, 21)


def test_a_report_that_cannot_be_written_holds_nothing_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """I2: told once, and delivered when it can be; the day ends at 22:00 UTC, in the middle of the run."""
    tried: list[int] = []
    real = runner.deliver

    def deliver(store: Store, report: Any, folder: Path, now_ms: int) -> object:
        tried.append(now_ms)
        if len(tried) < 4:
            raise StateError("the daily report cannot be written", code="REPORT-001")
        return real(store, report, folder, now_ms)

    monkeypatch.setattr(runner, "deliver", deliver)
    ended = live(tmp_path / "s", lost(), PACED)
    assert ended is not None
    assert (ended.bars, len(tried)) == (28, 4)
    assert alerts(tmp_path / "s").count("report_lost") == 1
    assert rows(tmp_path / "s", "SELECT day FROM reports") == [("2024-01-01",)]
