"""A disk that is full, forbidden, or loses its power: told, nothing lost, and the next flush goes on."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from core.errors import StateError
from core.journal.reader import verify
from core.journal.records import Record
from core.journal.writer import JournalWriter
from tests.core.journal.disk import CALLS, Crash, Disk, after_power_loss
from tests.core.journal.making import OPENING, batch, content, files, put, put_files, raw, start, word, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal"


def live(writer: JournalWriter, rounds: int = 12) -> list[Record]:
    """A session of segments of four bars that goes on whatever the disk does; what it recorded."""
    written: list[Record] = []
    segment_bar = None
    for bar in range(rounds):
        if segment_bar is None or bar - segment_bar >= 4:
            try:
                writer.begin(bar)
            except OSError:
                assert writer.failure is not None
            else:
                segment_bar = bar
                writer.append(OPENING)
                written.append(OPENING)
        frame = (batch(bar), word("x" * (bar * 50)))
        put(writer, *frame)
        written += frame
        writer.sync()
    return written


def no_space(_number: int, _call: str) -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def failing(first: int, length: int) -> Callable[[int, str], OSError | None]:
    return lambda number, call: no_space(number, call) if first <= number < first + length else None


def calls_of_a_session(tmp_path: Path) -> int:
    disk = Disk(tmp_path / "counted" / "journal")
    with disk.under():
        writer = JournalWriter(disk.folder)
        live(writer)
        writer.finish()
    return disk.calls


@pytest.mark.parametrize("length", [1, 2, 9])
def test_no_call_that_fails_loses_a_record(tmp_path: Path, length: int) -> None:
    """Issue: a full disk is told and nothing is lost; when there is space again the next flush catches up.

    Each call of a session fails in turn, with the ``length`` calls from it on; writes get half of their bytes out.
    """
    told = 0
    for bad in range(2, calls_of_a_session(tmp_path)):  # the first ones make the folder
        folder = tmp_path / f"{bad}" / "journal"
        disk = Disk(folder)
        with disk.under():
            writer = JournalWriter(folder)
            disk.fails = failing(max(bad, disk.calls), length)
            written = live(writer)
            told += writer.failure is not None
            writer.finish()
            disk.fails = lambda _number, _call: None
            writer.finish()
            assert writer.failure is None, bad
            assert writer.finished
            assert writer.cut is None
            writer.close()
        assert content(folder) == raw(written), bad
        assert verify(folder).damage is None, bad


@pytest.mark.parametrize("call", ["pwrite", "fdatasync"])
def test_a_failure_is_told_until_it_is_over(folder: Path, call: str) -> None:
    disk = Disk(folder)
    with disk.under():
        writer = JournalWriter(folder)
        written = list(start(writer, 0))
        disk.fails = lambda number, name: no_space(number, name) if name == call else None
        for bar in range(3):
            put(writer, batch(bar))
            written.append(batch(bar))
            writer.sync()
            assert writer.failure == "No space left on device"
        with pytest.raises(OSError, match="No space left"):
            writer.begin(3)
        disk.fails = lambda _number, _call: None
        writer.sync()
        assert writer.failure is None
    assert content(folder) == raw(written)


def test_a_segment_that_cannot_be_made_waits(folder: Path) -> None:
    disk = Disk(folder)
    with disk.under():
        writer = JournalWriter(folder)
        written = list(start(writer, 0))
        disk.fails = lambda number, name: (
            PermissionError(errno.EACCES, "Permission denied") if name in {"open", "replace"} else None
        )
        written += start(writer, 4)
        put(writer, batch(4))
        written.append(batch(4))
        assert writer.failure == "Permission denied"
        assert len(files(folder)) == 1
        disk.fails = lambda _number, _call: None
        writer.flush()
        assert writer.failure is None
        assert list(files(folder)) == ["000001-000000000.journal.zst", "000002-000000004.journal"]
    assert content(folder) == raw(written)


def test_a_full_disk_is_not_filled_with_drafts(folder: Path) -> None:
    disk = Disk(folder)
    with disk.under():
        writer = JournalWriter(folder)
        start(writer, 0)
        disk.fails = lambda number, name: no_space(number, name) if name == "pwrite" else None
        start(writer, 4)
        assert writer.failure == "No space left on device"
    assert list(files(folder)) == ["000001-000000000.journal"]


def test_a_segment_that_cannot_be_packed_stays_open_until_it_can(folder: Path) -> None:
    disk = Disk(folder)
    packing = lambda number, name: no_space(number, name) if name == "unlink" else None  # noqa: E731
    with disk.under():
        writer = JournalWriter(folder)
        written = [*start(writer, 0)]
        disk.fails = packing
        written += [*start(writer, 4)]
        assert writer.failure is None
        assert content(folder) == raw(written)
        assert verify(folder).damage is None
        disk.fails = lambda _number, _call: None
        written += [*start(writer, 8)]
    assert [name[-4:] for name in files(folder)] == [".zst", ".zst", "rnal"]
    assert content(folder) == raw(written)


def test_a_folder_that_cannot_be_used_is_said_so(folder: Path) -> None:
    write(folder, segments=1)
    before = files(folder)
    for call in ("open", "fsync"):
        disk = Disk(folder, lambda _number, name, call=call: PermissionError(13, "Permission denied") if name == call else None)
        with disk.under(), pytest.raises(StateError, match=r"can't be used: Permission denied") as refused:
            JournalWriter(folder)
        assert refused.value.code == "JRN-002"
        assert files(folder) == before


def test_a_full_disk_is_answered_with_room_and_never_with_another_session(folder: Path) -> None:
    """What is open is known in this session alone: who begins another one leaves it to itself."""
    write(folder, segments=1)
    with min(folder.iterdir()).open("ab") as file:
        file.write(b"torn")
    disk = Disk(folder, lambda _number, name: OSError(28, "No space left on device") if name == "pwrite" else None)
    with disk.under(), pytest.raises(StateError, match="No space left on device") as refused:
        JournalWriter(folder)
    assert refused.value.help == "free some space, then start again with the same --state; nothing runs until then"


def test_short_writes_are_gone_on_with(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda handle, data, offset: real(handle, bytes(data[:7]), offset))
    written = write(folder)
    assert content(folder) == raw(written)


def test_what_a_failed_sync_may_have_lost_is_written_again(folder: Path) -> None:
    """After a sync that failed a later one may succeed without having written those bytes: they must be written again."""
    disk = Disk(folder)
    with disk.under():
        writer = JournalWriter(folder)
        start(writer, 0)
        put(writer, word("in doubt"))
        disk.fails = lambda number, name: OSError(errno.EIO, "I/O error") if name == "fdatasync" else None
        writer.sync()
        assert writer.failure == "I/O error"
        (path,) = folder.iterdir()
        sound = path.read_bytes()
        path.write_bytes(sound[:-10] + bytes(10))
        disk.fails = lambda _number, _call: None
        writer.sync()
        assert writer.failure is None
    assert path.read_bytes() == sound


@pytest.mark.parametrize("call", CALLS)
def test_a_crash_at_any_call_leaves_a_journal_that_goes_on(tmp_path: Path, call: str) -> None:
    """At each system call of a session, those of a new segment and of packing among them, the process ends."""
    for bad in range(calls_of_a_session(tmp_path)):
        folder = tmp_path / f"{bad}" / "journal"
        crashed = crash_at(folder, bad, lambda name: name == call)
        with Disk(folder).under():
            writer = JournalWriter(folder)
            found = content(folder) if writer.begun else []
            assert found in crashed, bad
            more = [*start(writer, 99)]
            writer.close()
        assert content(folder) == [*found, *raw(more)], bad
        assert verify(folder).damage is None, bad
        assert not list(folder.glob("*.tmp"))


def crash_at(folder: Path, bad: int, chosen: Callable[[str], bool]) -> list[list[bytes]]:
    """Run a session until the first chosen call from ``bad`` on; what may be in the journal then."""
    disk = Disk(folder, lambda number, name: Crash() if number >= bad and chosen(name) else None)
    flushed: list[Record] = []
    frame: list[Record] = []
    with disk.under():
        try:
            writer = JournalWriter(folder)
            for bar in range(8):
                frame = [batch(bar), word("x" * bar)]
                if bar % 4 == 0:
                    writer.begin(bar)
                    frame.insert(0, OPENING)
                put(writer, *frame)
                flushed, frame = [*flushed, *frame], []
                writer.sync()
        except Crash:
            pass
    return [raw(flushed), raw([*flushed, *frame])]


def synced_session(disk: Disk) -> tuple[list[Record], list[tuple[int, int, int]]]:
    """A session of three segments; what it recorded, and after which calls how many frames and records were synced."""
    written: list[Record] = []
    marks = [(0, 0, 0)]
    with disk.under():
        writer = JournalWriter(disk.folder)
        for bar in range(9):
            if bar % 3 == 0:
                written += start(writer, bar)
                marks.append((len(disk.ops), writer.frames, len(written)))
            put(writer, batch(bar), word("x" * (bar % 3 * 700)))
            put(writer, word("made"))
            written += [batch(bar), word("x" * (bar % 3 * 700)), word("made")]
            if bar % 3 != 1:
                writer.sync()
                marks.append((len(disk.ops), writer.frames, len(written)))
            if bar == 5:
                writer.finish()
        writer.finish()
    return written, marks


@pytest.mark.parametrize("seed", range(4))
def test_a_loss_of_power_loses_nothing_that_was_synced(tmp_path: Path, seed: int) -> None:
    """Issue: power loss and kill -9 are different tests. What was synced is there; of the rest, anything may be."""
    disk = Disk(tmp_path / "first" / "journal")
    written, marks = synced_session(disk)
    chance = Random(seed)
    life = tmp_path / "next" / "journal"
    for at in range(len(disk.ops) + 1):
        _, frames, records = max(mark for mark in marks if mark[0] <= at)
        for _ in range(5):
            put_files(life, after_power_loss(disk.ops[:at], chance))
            with Disk(life).under():
                writer = JournalWriter(life, least_frames=frames)
                found = content(life) if writer.begun else []
                assert len(found) >= records, at
                assert found == raw(written[: len(found)])
                put(writer, word("after")) if writer.begun and not writer.finished else start(writer, 0)
                writer.close()
            assert verify(life).damage is None
