"""Appending: frames, segments, going on after a kill, and what was recorded once is not recorded twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from core.data.blocks import PriceAt
from core.errors import StateError
from core.journal.frames import HEADER_BYTES
from core.journal.reader import JournalReader, verify
from core.journal.records import Decided, Record, SpotBefore, decode, encode
from core.journal.segments import keep_aside
from core.journal.writer import JournalWriter
from tests.core.journal.disk import Disk, Name, Sync, SyncFolder, Write, after_kill
from tests.core.journal.making import batch, content, files, put, put_files, raw, start, word, write

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal"


def test_what_was_appended_is_read_in_its_order(folder: Path) -> None:
    written = write(folder)
    assert content(folder) == raw(written)


def test_one_flush_is_one_frame(folder: Path) -> None:
    writer = JournalWriter(folder)
    assert not writer.begun
    start(writer, 0)
    assert (writer.begun, writer.frames) == (True, 1)
    put(writer, word("a"), word("b"))
    writer.flush()
    writer.sync()
    assert writer.frames == 2


def test_a_segment_appears_with_its_first_frame(folder: Path) -> None:
    writer = JournalWriter(folder)
    writer.append(word("early"))
    writer.flush()
    writer.begin(0)
    assert writer.begun
    writer.sync()
    (path,) = folder.iterdir()
    assert path.stat().st_size > HEADER_BYTES
    writer.begin(5)
    writer.sync()
    assert list(folder.iterdir()) == [path], "nothing was added since"
    assert content(folder) == raw([word("early")])


def test_frames_of_many_bytes_come_back_and_are_not_held_back_for_long(folder: Path) -> None:
    """A state with the whole market in it is megabytes; what nobody syncs is synced every four of them."""
    disk = Disk(folder)
    with disk.under():
        writer = JournalWriter(folder)
        written = list(start(writer, 0))
        made = len(disk.ops)
        for _ in range(5):
            put(writer, word("x" * 1_500_000))
            written.append(word("x" * 1_500_000))
    assert [type(op) for op in disk.ops[made:]] == [Write, Write, Write, Sync, Write, Write]
    assert content(folder) == raw(written)


def test_a_new_folder_outlives_a_loss_of_power(folder: Path, tmp_path: Path) -> None:
    disk = Disk(folder)
    with disk.under():
        JournalWriter(folder)
    assert disk.ops == [SyncFolder(tmp_path.name), SyncFolder("state")]


def test_a_kill_while_a_failed_write_is_made_good_leaves_a_torn_tail(folder: Path, tmp_path: Path) -> None:
    """The frame that is tried again begins otherwise than the one that was cut short in its place."""
    disk = Disk(folder)
    with disk.under():
        writer = JournalWriter(folder)
        written = list(start(writer, 0))
        disk.fails = lambda _number, name: OSError(28, "No space left on device") if name == "pwrite" else None
        put(writer, word("x" * 50))
        disk.fails = lambda _number, _call: None
        again = len(disk.ops)
        put(writer, word("y" * 500))
    life = tmp_path / "next" / "journal"
    for at, op in enumerate(disk.ops[again:], again):
        for size in range(len(op.data)) if isinstance(op, Write) else (0,):
            part = [Write(op.file, op.offset, op.data[:size])] if isinstance(op, Write) else []
            put_files(life, after_kill([*disk.ops[:at], *part]))
            with Disk(life).under():
                JournalWriter(life).close()
            assert content(life) == raw(written)


def test_going_on_appends_behind_what_is_there(folder: Path) -> None:
    written: list[Record] = write(folder, segments=2)
    writer = JournalWriter(folder)
    assert writer.cut is None
    assert writer.frames == 10
    put(writer, word("more"))
    written += [word("more"), *start(writer, 8)]
    writer.close()
    assert content(folder) == raw(written)
    assert verify(folder).damage is None


def two_segments(folder: Path) -> tuple[Disk, list[Record], list[tuple[int, int]]]:
    """A journal of two segments under a recorder: what is in it, and after which calls how much of it must be there."""
    disk = Disk(folder)
    written: list[Record] = []
    marks = [(0, 0)]
    with disk.under():
        writer = JournalWriter(folder)
        for segment in range(2):
            written += start(writer, segment * 4)
            marks.append((len(disk.ops), len(written)))
            for bar, size in enumerate((0, 3, 40, 300)):
                put(writer, batch(segment * 4 + bar), word("x" * size))
                written += [batch(segment * 4 + bar), word("x" * size)]
                marks.append((len(disk.ops), len(written)))
            if segment:
                writer.finish()
        marks.append((len(disk.ops) + 1, len(written)))
        writer.close()
    return disk, written, marks


@pytest.mark.untraced
def test_a_kill_at_any_byte_loses_only_the_frame_that_was_being_written(folder: Path, tmp_path: Path) -> None:
    """Issue: survives kill -9 at any byte; a torn tail is recognised, cut and reported."""
    disk, written, marks = two_segments(folder)
    life = tmp_path / "next" / "journal"
    cuts = 0
    for at, op in enumerate(disk.ops):
        for size in range(len(op.data)) if isinstance(op, Write) else (0,):
            part = [Write(op.file, op.offset, op.data[:size])] if isinstance(op, Write) else []
            put_files(life, after_kill([*disk.ops[:at], *part]))
            cuts += goes_on(life, written, marks, at, size)
    assert cuts == sum(len(op.data) - 1 for op in disk.ops if isinstance(op, Write) and op.offset), "each torn frame was told"


def goes_on(life: Path, written: list[Record], marks: list[tuple[int, int]], at: int, size: int) -> bool:
    """Check what the next life finds when the one before was killed ``size`` bytes into call ``at``."""
    there = files(life)
    must = max(count for calls, count in marks if calls <= at)
    may = min(count for calls, count in marks if calls > at)
    with Disk(life).under():
        writer = JournalWriter(life)
        found = content(life) if writer.begun else []
        assert found in (raw(written[:must]), raw(written[:may]))
        if writer.cut is not None:
            assert size > 0
            assert len(found) == must
            assert writer.cut.bytes == size
            open_before = max(name for name in there if name.endswith(".journal"))
            assert not writer.finished
            assert writer.cut.kept_in.read_bytes() == there[open_before][-size:]
            assert "was cut short" in writer.cut.why
        if not writer.begun or writer.finished:
            writer.begin(8 if writer.begun else 0)
        put(writer, word("after"))
        writer.close()
    assert content(life) == [*found, *raw([word("after")])]
    assert verify(life).damage is None
    assert not [name for name in files(life) if name.endswith(".tmp")]
    return writer.cut is not None


def test_torn_bytes_at_one_place_are_kept_apart(folder: Path) -> None:
    write(folder, segments=1)
    path = min(folder.iterdir())
    sound = path.read_bytes()
    for tail in (b"one", b"two", b"two"):
        path.write_bytes(sound + tail)
        writer = JournalWriter(folder)
        assert writer.cut is not None
        assert writer.cut.kept_in.read_bytes() == tail
        writer.close()
        assert path.read_bytes() == sound
    assert len(list(folder.glob("*.torn-*"))) == 2


def test_what_is_broken_behind_what_was_on_the_disk_is_cut_and_told(folder: Path) -> None:
    """A loss of power may leave anything of what was not synced; who knows how much was can tell that from damage."""
    write(folder, segments=1, bars=4)
    path = min(folder.iterdir())
    sound = path.read_bytes()
    changed = sound[:-40] + bytes(40)
    path.write_bytes(changed)
    for least in (None, 5):
        with pytest.raises(StateError, match="frame 4 does not fit the chain") as refused:
            JournalWriter(folder, least)
        assert refused.value.code == "JRN-001"
        damage = verify(folder, least).damage
        assert damage is not None
        assert not damage.torn
    assert path.read_bytes() == changed
    damage = verify(folder, 4).damage
    assert damage is not None
    assert damage.torn
    writer = JournalWriter(folder, 4)
    assert writer.frames == 4
    assert writer.cut is not None
    assert changed.endswith(writer.cut.kept_in.read_bytes())


def test_a_twin_that_a_crash_left_goes_only_if_it_is_the_same(folder: Path) -> None:
    written = write(folder, segments=1)
    (path,) = folder.iterdir()
    open_bytes = path.read_bytes()
    writer = JournalWriter(folder)
    written += start(writer, 4)
    writer.close()
    path.write_bytes(open_bytes)
    assert content(folder) == raw(written)
    JournalWriter(folder).close()
    assert not path.exists()
    path.write_bytes(open_bytes + b"more")
    with pytest.raises(StateError, match=r"000001-000000000\.journal holds something else"):
        JournalWriter(folder)
    assert path.exists()
    path.with_name(f"{path.name}.zst").write_bytes(b"x" * 50)
    with pytest.raises(StateError, match="do not fit the seal"):
        JournalWriter(folder)


def test_files_of_others_are_left_alone(folder: Path) -> None:
    written = write(folder, segments=1)
    keep_aside(folder / "notes.txt", b"mine")
    (folder / "backup.tmp").write_bytes(b"mine")
    JournalWriter(folder).close()
    assert files(folder)["notes.txt"] == files(folder)["backup.tmp"] == b"mine"
    assert content(folder) == raw(written)


def test_a_finished_journal_is_packed_whole_and_goes_on_in_a_new_segment(folder: Path) -> None:
    written: list[Record] = write(folder, segments=2)
    writer = JournalWriter(folder)
    writer.finish()
    writer.finish()
    assert writer.finished
    writer.close()
    rested = files(folder)
    assert list(rested) == ["000001-000000000.journal.zst", "000002-000000004.journal.zst"]
    assert content(folder) == raw(written)
    verdict = verify(folder, least_frames=10)
    assert (verdict.damage, verdict.frames) == (None, 10)

    again = JournalWriter(folder, least_frames=10)
    assert (again.begun, again.finished, again.frames, again.cut) == (True, True, 10, None)
    again.finish()
    put(again, word("waits"))
    again.sync()
    assert (files(folder), again.failure) == (rested, None)
    written += [word("waits"), *start(again, 8)]
    put(again, word("more"))
    written.append(word("more"))
    again.finish()
    assert list(files(folder)) == [*rested, "000003-000000008.journal.zst"]
    assert files(folder)["000002-000000004.journal.zst"] == rested["000002-000000004.journal.zst"]
    assert content(folder) == raw(written)
    assert verify(folder, least_frames=again.frames).damage is None


def test_a_segment_that_was_begun_and_never_filled_leaves_nothing(folder: Path) -> None:
    written = write(folder, segments=1)
    writer = JournalWriter(folder)
    writer.begin(4)
    writer.finish()
    assert [name[-4:] for name in files(folder)] == [".zst"]
    put(writer, word("more"))
    writer.close()
    assert content(folder) == raw([*written, word("more")])
    assert verify(folder).damage is None


# --- the same again -----------------------------------------------------------------------------------------------


def test_what_stands_in_the_journal_is_not_written_twice(folder: Path) -> None:
    written = write(folder, segments=1)
    again = list(JournalReader(folder).all_records())[-4:]
    writer = JournalWriter(folder)
    writer.expect(again)
    for record in written[-4:]:
        assert writer.catching_up
        writer.append(record)
        writer.flush()
    assert not writer.catching_up
    put(writer, word("new"))
    writer.close()
    assert content(folder) == raw([*written, word("new")])


def test_another_record_than_the_one_that_stands_there_is_refused(folder: Path) -> None:
    write(folder, segments=1)
    writer = JournalWriter(folder)
    writer.expect([batch(1), batch(2)])
    writer.append(batch(1))
    with pytest.raises(StateError, match="another BatchIn than the journal has") as refused:
        writer.append(batch(3))
    assert refused.value.code == "JRN-005"


@pytest.mark.parametrize(
    ("there", "now", "words"),
    [
        (batch(2), batch(3), "ts is 14400000, recorded 10800000"),
        (word("a"), batch(3), "there stands Word"),
        (
            Decided(1, 2, (("monitor", msgspec.msgpack.encode({"a": 1, "b": 2})),)),
            Decided(1, 2, (("monitor", msgspec.msgpack.encode({"a": 1, "b": 3})),)),
            "outputs.monitor.b is 3, recorded 2",
        ),
    ],
)
def test_what_differs_from_the_record_that_stands_there_is_named(folder: Path, there: Record, now: Record, words: str) -> None:
    writer = JournalWriter(folder)
    writer.expect([there])
    with pytest.raises(StateError, match=words):
        writer.append(now)


def test_the_same_record_is_the_same_after_it_was_read(folder: Path) -> None:
    """A whole number where a float belongs is read as a float; NaN is not equal to itself."""
    made = [SpotBefore("A", (PriceAt("A", 1, 3), PriceAt("A", 2, float("nan")))), Decided(1, 2, (("monitor", None),))]
    writer = JournalWriter(folder)
    writer.expect(decode(encode(made)))
    for record in made:
        writer.append(record)
    assert not writer.catching_up


# --- a real process -----------------------------------------------------------------------------------------------

CHILD = """
import sys
from pathlib import Path
from core.journal.writer import JournalWriter
from tests.core.journal.making import batch, put, start, word
writer = JournalWriter(Path(sys.argv[1]))
bar = 0
while True:
    if bar % 200 == 0:
        start(writer, bar)
    put(writer, batch(bar), word("x" * (bar % 997)))
    bar += 1
    print(bar, flush=True)
"""


def test_a_killed_process_loses_nothing_that_was_flushed(folder: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", CHILD, str(folder)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) >= 700:
            break
    os.kill(process.pid, signal.SIGKILL)
    told = max([700, *[int(line) for line in process.stdout if line.endswith("\n")]])
    process.wait()
    process.stdout.close()
    writer = JournalWriter(folder)
    writer.close()
    verdict = verify(folder)
    assert verdict.damage is None
    assert verdict.segments >= 4
    assert told <= verdict.bars <= told + 1


def test_a_kill_leaves_names_in_the_record() -> None:
    """The recorder itself: a rename takes the old name away, and bytes go where they were written."""
    ops = [Name(new="a", file=0), Write(0, 2, b"xy"), Name("a", "b", 0)]
    assert after_kill(ops) == {"b": b"\0\0xy"}
