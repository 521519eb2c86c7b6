"""The oldest segments go once they are older than what must be kept; what stays is a journal by itself."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from core.errors import StateError
from core.journal.reader import JournalReader, verify
from core.journal.records import Opening, State
from core.journal.retention import trim
from core.journal.segments import keep_aside
from core.journal.trimmed import NAME
from core.journal.writer import JournalWriter
from tests.core.journal.disk import Disk, Name, Sync, SyncFolder
from tests.core.journal.making import HOUR_MS, files, put, raw, word, write

NOW = 1_000 * HOUR_MS

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
    gone = trim(folder, keep_from_hour * HOUR_MS, NOW)
    assert [segment.number for segment in JournalReader(folder).segments] == left
    assert [segment.number for segment in gone] == [number for number in range(1, 5) if number not in left]


def test_a_trimmed_journal_is_sound_and_said_to_be_trimmed(folder: Path) -> None:
    whole = list(JournalReader(folder).all_records())
    trim(folder, 9 * HOUR_MS, NOW)
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
    trim(folder, 99 * HOUR_MS, NOW)
    writer = JournalWriter(folder, least_frames=20)
    assert writer.frames == 20
    put(writer, word("more"))
    writer.close()
    assert verify(folder).damage is None


def test_a_missing_segment_behind_the_trimmed_ones_is_found(folder: Path) -> None:
    trim(folder, 5 * HOUR_MS, NOW)
    sorted(path for path in folder.iterdir() if path.name != NAME)[1].unlink()
    damage = verify(folder).damage
    assert damage is not None
    assert "goes on from frame 15 of a chain, the segment before ends at frame 10" in damage.why


def test_segments_go_one_by_one_from_the_oldest_on_each_noted_before(folder: Path) -> None:
    """A loss of power between two leaves a journal without its beginning, not one with a hole; what is gone was noted."""
    disk = Disk(folder)
    with disk.under():
        trim(folder, 9 * HOUR_MS, NOW)
    renamed_or_gone = [(op.old, op.new) for op in disk.ops if isinstance(op, Name) and op.old is not None]
    noted = ("trimmed.journal.tmp", "trimmed.jsonl")
    assert renamed_or_gone == [
        noted,
        ("000001-000000000.journal.zst", None),
        noted,
        ("000002-000000004.journal.zst", None),
    ]
    at = [place for place, op in enumerate(disk.ops) if isinstance(op, Name) and op.old is not None]
    assert all(isinstance(disk.ops[place - 1], Sync | SyncFolder) for place in at)
    assert disk.ops[-1] == SyncFolder("journal")


def test_what_was_trimmed_is_noted_with_its_frames_link_and_time(folder: Path) -> None:
    """Issue 3: any missing record is found; that these are missing on purpose is on record."""
    headers = [segment.place(segment.read()) for segment in JournalReader(folder).segments]
    trim(folder, 9 * HOUR_MS, NOW)
    lines = [json.loads(line) for line in (folder / NAME).read_text().splitlines()]
    assert [(line["segment"], line["first_bar"], line["frames"], line["removed_ts"]) for line in lines] == [
        (1, 0, 5, NOW),
        (2, 4, 5, NOW),
    ]
    assert [line["link"] for line in lines] == [headers[1].link.hex(), headers[2].link.hex()]


def test_a_first_segment_deleted_by_hand_is_missed(folder: Path) -> None:
    min(folder.iterdir()).unlink()
    verdict = verify(folder)
    assert verdict.damage is not None
    assert not verdict.damage.torn
    assert verdict.damage.why.startswith("1 segments before it are missing")
    assert (verdict.segments, verdict.bars) == (3, 12)


def test_a_segment_deleted_by_hand_behind_the_trimmed_ones_is_missed(folder: Path) -> None:
    trim(folder, 5 * HOUR_MS, NOW)
    min(path for path in folder.iterdir() if path.name != NAME).unlink()
    damage = verify(folder).damage
    assert damage is not None
    assert "2 segments before it are missing; that they were trimmed trimmed.jsonl says so of 1" in damage.why


def test_trimming_does_not_cover_up_what_was_deleted_by_hand(folder: Path) -> None:
    min(folder.iterdir()).unlink()
    trim(folder, 9 * HOUR_MS, NOW)
    damage = verify(folder).damage
    assert damage is not None
    assert "2 segments before it are missing" in damage.why


def test_any_changed_byte_of_what_was_noted_is_found(folder: Path) -> None:
    trim(folder, 9 * HOUR_MS, NOW)
    sound = (folder / NAME).read_bytes()
    for at in range(len(sound)):
        changed = bytearray(sound)
        changed[at] ^= 0x01
        (folder / NAME).write_bytes(changed)
        damage = verify(folder).damage
        assert damage is not None, at
        assert NAME in damage.why
    (folder / NAME).write_bytes(sound)
    assert verify(folder).damage is None


def test_the_note_of_another_journal_does_not_fit(folder: Path, tmp_path: Path) -> None:
    trim(folder, 5 * HOUR_MS, NOW)
    other = tmp_path / "other"
    write(other, segments=4, bars=3)
    trim(other, 4 * HOUR_MS, NOW)
    (folder / NAME).write_bytes((other / NAME).read_bytes())
    damage = verify(folder).damage
    assert damage is not None
    assert "does not go on from the last segment" in damage.why


def test_a_crash_between_note_and_removal_leaves_a_sound_journal_that_is_trimmed_again(folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "unlink", lambda _path: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
        with pytest.raises(StateError):
            trim(folder, 9 * HOUR_MS, NOW)
    assert verify(folder).damage is None
    trim(folder, 9 * HOUR_MS, NOW + 1)
    assert verify(folder).damage is None
    assert len((folder / NAME).read_text().splitlines()) == 2


def test_how_far_it_went_is_told_where_it_fails_on_the_way(folder: Path) -> None:
    gone: list[int] = []
    real = os.unlink

    def refuse(path: Path) -> None:
        if "000002" in str(path):
            raise PermissionError(13, "Permission denied")
        real(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "unlink", refuse)
        with pytest.raises(StateError, match=r"000002-000000004\.journal\.zst can't be deleted"):
            trim(folder, 99 * HOUR_MS, NOW, on_gone=lambda segment: gone.append(segment.number))
    assert gone == [1]
    assert verify(folder).damage is None


def test_what_was_written_lately_stays_whatever_its_markets_time(folder: Path) -> None:
    """I1: a market's past that was decided today is not old."""
    written = min(folder.iterdir()).stat().st_mtime * 1000
    assert trim(folder, 99 * HOUR_MS, NOW, written_before_ts=int(written) - 1) == ()
    os.utime(min(folder.iterdir()), (1, 1))
    assert [segment.number for segment in trim(folder, 99 * HOUR_MS, NOW, written_before_ts=int(written) - 1)] == [1]


def test_bytes_cut_off_a_segment_go_with_it(folder: Path) -> None:
    for name in ("000001-000000000.torn-90-abcdef01", "000002-000000004.torn-90-abcdef01"):
        keep_aside(folder / name, b"torn")
    trim(folder, 5 * HOUR_MS, NOW)
    assert [name for name in files(folder) if "torn" in name] == ["000002-000000004.torn-90-abcdef01"]


def test_nothing_goes_where_the_segment_that_would_be_first_is_damaged(folder: Path) -> None:
    second = sorted(folder.iterdir())[1]
    second.write_bytes(second.read_bytes()[:-1])
    before = files(folder)
    with pytest.raises(StateError) as refused:
        trim(folder, 99 * HOUR_MS, NOW)
    assert refused.value.code == "JRN-001"
    assert files(folder) == before


def test_a_segment_that_cannot_be_deleted_is_said_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "unlink", refuse)
    before = files(folder)
    with pytest.raises(StateError, match=r"can't be deleted: Permission denied") as refused:
        trim(folder, 99 * HOUR_MS, NOW)
    assert refused.value.code == "JRN-002"
    assert {name: data for name, data in files(folder).items() if name != NAME} == before
