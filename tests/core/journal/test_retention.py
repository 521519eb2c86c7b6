"""The oldest segments go once they are older than what must be kept; what stays is a journal by itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core.errors import StateError
from core.journal.reader import JournalReader, verify
from core.journal.records import Opening, State
from core.journal.retention import trim
from core.journal.segments import keep_aside
from core.journal.writer import JournalWriter
from tests.core.journal.disk import Disk, Name, SyncFolder
from tests.core.journal.making import HOUR_MS, files, put, raw, word, write

# Four segments of four hourly bars; their states stand at hours 0, 4, 8 and 12.


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "state" / "journal"
    write(folder, segments=4, bars=4)
    return folder


@pytest.mark.parametrize(
    ("keep_from_hour", "left"), [(0, [1, 2, 3, 4]), (4, [1, 2, 3, 4]), (5, [2, 3, 4]), (8, [2, 3, 4]), (9, [3, 4]), (99, [4])]
)
def test_a_segment_goes_when_its_last_bar_is_older_than_the_limit(folder: Path, keep_from_hour: int, left: list[int]) -> None:
    gone = trim(folder, keep_from_hour * HOUR_MS)
    assert [segment.number for segment in JournalReader(folder).segments] == left
    assert [segment.number for segment in gone] == [number for number in range(1, 5) if number not in left]


def test_a_trimmed_journal_is_sound_and_said_to_be_trimmed(folder: Path) -> None:
    whole = list(JournalReader(folder).all_records())
    trim(folder, 9 * HOUR_MS)
    verdict = verify(folder, least_frames=20)
    assert verdict.damage is None
    assert (verdict.segments, verdict.trimmed, verdict.first_frame, verdict.frames) == (2, 2, 10, 10)
    reader = JournalReader(folder)
    left = list(reader.all_records())
    assert raw(left) == raw(whole[-len(left) :])
    assert isinstance(left[0], Opening)
    assert isinstance(left[1], State)
    with pytest.raises(StateError, match="bar 7 is no longer in the journal, which begins at bar 8") as refused:
        reader.segment_of(7)
    assert refused.value.code == "JRN-006"


def test_a_trimmed_journal_is_gone_on_with(folder: Path) -> None:
    trim(folder, 99 * HOUR_MS)
    writer = JournalWriter(folder, least_frames=20)
    assert writer.frames == 20
    put(writer, word("more"))
    writer.close()
    assert verify(folder).damage is None


def test_a_missing_segment_behind_the_trimmed_ones_is_found(folder: Path) -> None:
    trim(folder, 5 * HOUR_MS)
    sorted(folder.iterdir())[1].unlink()
    damage = verify(folder).damage
    assert damage is not None
    assert "goes on from frame 15 of a chain, the segment before ends at frame 10" in damage.why


def test_segments_go_one_by_one_from_the_oldest_on(folder: Path) -> None:
    """A loss of power between two leaves a journal without its beginning, not one with a hole."""
    disk = Disk(folder)
    with disk.under():
        trim(folder, 9 * HOUR_MS)
    first, second, synced = Name("000001-000000000.journal.zst"), Name("000002-000000004.journal.zst"), SyncFolder("journal")
    assert disk.ops == [first, synced, second, synced]


def test_bytes_cut_off_a_segment_go_with_it(folder: Path) -> None:
    for name in ("000001-000000000.torn-90-abcdef01", "000002-000000004.torn-90-abcdef01"):
        keep_aside(folder / name, b"torn")
    trim(folder, 5 * HOUR_MS)
    assert [name for name in files(folder) if "torn" in name] == ["000002-000000004.torn-90-abcdef01"]


def test_nothing_goes_where_the_segment_that_would_be_first_is_damaged(folder: Path) -> None:
    second = sorted(folder.iterdir())[1]
    second.write_bytes(second.read_bytes()[:-1])
    before = files(folder)
    with pytest.raises(StateError) as refused:
        trim(folder, 99 * HOUR_MS)
    assert refused.value.code == "JRN-001"
    assert files(folder) == before


def test_a_segment_that_cannot_be_deleted_is_said_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "unlink", refuse)
    before = files(folder)
    with pytest.raises(StateError, match=r"can't be deleted: Permission denied") as refused:
        trim(folder, 99 * HOUR_MS)
    assert refused.value.code == "JRN-002"
    assert files(folder) == before
