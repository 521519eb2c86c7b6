"""Any changed, missing or swapped record is found; what cannot be read is said plainly, and nothing is overwritten."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import pytest
import zstandard

from core.errors import StateError
from core.journal import frames
from core.journal.frames import HEADER_BYTES
from core.journal.reader import JournalReader, verify
from core.journal.segments import _seal, pack, segments
from core.journal.writer import JournalWriter
from tests.core.journal.making import batch, content, files, put, put_files, raw, start, word, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal"


def unpacked(path: Path) -> bytes:
    return zstandard.ZstdDecompressor().decompress(path.read_bytes()[:-40])


def repack(path: Path, data: bytes) -> None:
    """Put other content into a closed segment, as one who knows the format would."""
    body = zstandard.ZstdCompressor().compress(data)
    path.write_bytes(body + _seal(body))


def parts(data: bytes) -> list[bytes]:
    """Header and frames of a segment, each by itself."""
    place = frames.read_header(data).place
    return [data[:HEADER_BYTES], *[data[good.start : good.end] for good in frames.read_frames(data, place)]]


def is_found(folder: Path) -> bool:
    """Whether verify says that something is wrong."""
    try:
        return verify(folder).damage is not None
    except StateError as error:
        return error.code in {"JRN-001", "JRN-003"}


def test_a_sound_journal_is_said_to_be_sound(folder: Path) -> None:
    written = write(folder, segments=3, bars=4)
    verdict = verify(folder)
    assert verdict.damage is None
    assert (verdict.segments, verdict.records, verdict.bars, verdict.frames) == (3, len(written), 12, 15)
    assert (verdict.trimmed, verdict.first_frame) == (0, 0)
    assert verdict.bytes_on_disk == sum(map(len, files(folder).values()))
    assert content(folder) == raw(written)


def test_all_but_the_last_segment_are_packed(folder: Path) -> None:
    write(folder, segments=3)
    assert list(files(folder)) == [
        "000001-000000000.journal.zst",
        "000002-000000004.journal.zst",
        "000003-000000008.journal",
    ]


def test_a_flip_of_one_bit_in_each_of_200_random_places_is_found(folder: Path) -> None:
    """Issue: flip one byte in each of 200 random places, every one is found."""
    write(folder, segments=3, bars=6)
    sound = files(folder)
    places = [(name, at) for name, data in sound.items() for at in range(len(data))]
    chance = Random(20)
    for name, at in chance.sample(places, 200):
        changed = bytearray(sound[name])
        changed[at] ^= 1 << chance.randrange(8)
        (folder / name).write_bytes(changed)
        assert is_found(folder), (name, at)
        (folder / name).write_bytes(sound[name])
    assert not is_found(folder)


def test_a_flip_of_any_byte_is_found_and_never_written_over(folder: Path) -> None:
    """Bits of a packed file that mean nothing to the unpacker are found as well."""
    write(folder, segments=2, bars=2)
    sound = files(folder)
    assert [name[-4:] for name in sound] == [".zst", "rnal"]
    for name, data in sound.items():
        for at in range(len(data)):
            changed = bytearray(data)
            changed[at] ^= 0xFF if at % 2 else 0x10
            (folder / name).write_bytes(changed)
            assert is_found(folder), (name, at)
            if not name.endswith(".zst"):
                with pytest.raises(StateError) as refused:
                    JournalWriter(folder)
                assert refused.value.code == "JRN-001"
            assert (folder / name).read_bytes() == changed
        (folder / name).write_bytes(data)


@pytest.mark.untraced
def test_a_flip_of_any_bit_of_a_journal_at_rest_is_found(folder: Path) -> None:
    """Also of those that tell a segment that another followed from one at which the session ended."""
    write(folder, segments=2, bars=1)
    writer = JournalWriter(folder)
    writer.finish()
    for name, data in files(folder).items():
        for at in range(len(data) * 8):
            changed = bytearray(data)
            changed[at // 8] ^= 1 << at % 8
            (folder / name).write_bytes(changed)
            assert is_found(folder), (name, at)
        (folder / name).write_bytes(data)
    assert not is_found(folder)


def test_a_rested_segment_that_is_gone_is_found_by_who_knows_how_much_was_written(folder: Path) -> None:
    write(folder, segments=1)
    writer = JournalWriter(folder)
    writer.finish()
    start(writer, 4)
    writer.finish()
    assert verify(folder, least_frames=writer.frames).damage is None
    max(folder.iterdir()).unlink()
    damage = verify(folder, least_frames=writer.frames).damage
    assert damage is not None
    assert damage.why == "it ends at frame 5, 6 were on the disk"
    with pytest.raises(StateError, match="ends at frame 5, 6 were on the disk"):
        JournalWriter(folder, least_frames=writer.frames)


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("how", ["removed", "doubled", "swapped"])
def test_a_frame_removed_doubled_or_swapped_is_found(folder: Path, how: str, closed: bool) -> None:
    write(folder, segments=2, bars=4)
    path = sorted(folder.iterdir())[0 if closed else 1]
    head, a, b, c, *rest = parts(unpacked(path) if closed else path.read_bytes())
    frames_now = {"removed": [a, c], "doubled": [a, b, b, c], "swapped": [a, c, b]}[how]
    data = b"".join((head, *frames_now, *rest))
    if closed:
        repack(path, data)
    else:
        path.write_bytes(data)
    damage = verify(folder).damage
    assert damage is not None
    assert damage.segment.path == path
    assert not damage.torn
    assert damage.offset == len(head) + len(a) + (len(b) if how == "doubled" else 0)
    with pytest.raises(StateError, match="does not fit the chain") as refused:
        list(JournalReader(folder).all_records())
    assert refused.value.code == "JRN-001"


def test_frames_cut_off_a_closed_segment_are_found(folder: Path) -> None:
    write(folder, segments=2, bars=4)
    path = min(folder.iterdir())
    repack(path, b"".join(parts(unpacked(path))[:-1]))
    damage = verify(folder).damage
    assert damage is not None
    assert "goes on from frame 5 of a chain, the segment before ends at frame 4" in damage.why
    with pytest.raises(StateError, match="goes on from frame 5"):
        list(JournalReader(folder).all_records())


def test_frames_cut_off_the_end_are_found_by_who_knows_how_many_were_on_the_disk(folder: Path) -> None:
    write(folder, segments=1, bars=4)
    path = min(folder.iterdir())
    path.write_bytes(b"".join(parts(path.read_bytes())[:-1]))
    assert verify(folder).damage is None
    damage = verify(folder, least_frames=5).damage
    assert damage is not None
    assert damage.why == "it ends at frame 4, 5 were on the disk"
    before = files(folder)
    with pytest.raises(StateError, match="ends at frame 4, 5 were on the disk"):
        JournalWriter(folder, least_frames=5)
    assert files(folder) == before


def test_a_missing_segment_is_found(folder: Path) -> None:
    write(folder, segments=4)
    sound = files(folder)
    for name in sound:
        (folder / name).unlink()
        assert is_found(folder), name
        put_files(folder, sound)
    for name in sound:
        (folder / name).unlink()
    with pytest.raises(StateError, match="no journal") as refused:
        verify(folder)
    assert refused.value.code == "JRN-003"


def test_a_missing_last_segment_is_refused_by_the_writer_too(folder: Path) -> None:
    write(folder, segments=2)
    max(folder.iterdir()).unlink()
    with pytest.raises(StateError, match="the segment after it is missing"):
        JournalWriter(folder)


def test_a_journal_that_is_gone_is_not_begun_anew(folder: Path) -> None:
    folder.mkdir(parents=True)
    with pytest.raises(StateError, match="is empty, 3 frames were on the disk") as refused:
        JournalWriter(folder, least_frames=3)
    assert refused.value.code == "JRN-001"


def test_segments_swapped_are_found(folder: Path) -> None:
    write(folder, segments=4)
    first, second, third, _ = sorted(folder.iterdir())
    for a, b in [(first, second), (second, third)]:
        data_a, data_b = a.read_bytes(), b.read_bytes()
        a.write_bytes(data_b)
        b.write_bytes(data_a)
        assert is_found(folder)
        a.write_bytes(data_a)
        b.write_bytes(data_b)
    assert not is_found(folder)


def test_a_segment_of_another_session_is_found(folder: Path, tmp_path: Path) -> None:
    write(folder, segments=3)
    other = tmp_path / "other" / "journal"
    writer = JournalWriter(other)
    for segment in range(3):
        start(writer, segment * 4)
        for bar in range(4):
            put(writer, batch(segment * 4 + bar), word("another"))
    writer.close()
    sound = files(folder)
    for name, data in files(other).items():
        (folder / name).write_bytes(data)
        assert is_found(folder), name
        put_files(folder, sound)


def test_an_older_copy_of_a_segment_is_found(folder: Path) -> None:
    writer = JournalWriter(folder)
    start(writer, 0)
    put(writer, batch(0))
    older = files(folder)
    put(writer, batch(1))
    start(writer, 2)
    writer.close()
    put_files(folder, {**older, **{name: data for name, data in files(folder).items() if name.startswith("000002")}})
    damage = verify(folder).damage
    assert damage is not None
    assert "the segment before ends at frame 2" in damage.why


def test_two_files_with_one_number_are_refused(folder: Path) -> None:
    write(folder, segments=2)
    (folder / "000001-000000007.journal").write_bytes(b"")
    with pytest.raises(StateError, match="has the same number"):
        verify(folder)


def test_a_renamed_segment_is_found(folder: Path) -> None:
    write(folder, segments=1)
    min(folder.iterdir()).rename(folder / "000001-000000005.journal")
    damage = verify(folder).damage
    assert damage is not None
    assert "its name does not say" in damage.why


@pytest.mark.parametrize("closed", [True, False])
def test_a_newer_format_is_refused_and_left_alone(folder: Path, monkeypatch: pytest.MonkeyPatch, closed: bool) -> None:
    monkeypatch.setattr(frames, "FORMAT", 2)
    write(folder, segments=1)
    if closed:
        pack(segments(folder)[0])
    monkeypatch.undo()
    before = files(folder)
    for act in (verify, JournalWriter, lambda path: list(JournalReader(path).all_records())):
        with pytest.raises(StateError, match="has format 2, this version of Brain reads up to 1") as refused:
            act(folder)
        assert refused.value.code == "JRN-004"
    assert files(folder) == before


@pytest.mark.parametrize("size", [0, 1, HEADER_BYTES - 1, HEADER_BYTES, HEADER_BYTES + 5])
def test_a_segment_without_a_whole_frame_is_damaged(folder: Path, size: int) -> None:
    """No crash leaves one: a segment appears in one step with its first frame."""
    write(folder, segments=1)
    path = min(folder.iterdir())
    path.write_bytes(path.read_bytes()[:size])
    damage = verify(folder).damage
    assert damage is not None
    assert not damage.torn
    before = files(folder)
    with pytest.raises(StateError) as refused:
        JournalWriter(folder)
    assert refused.value.code == "JRN-001"
    assert files(folder) == before


def test_a_torn_tail_is_told_as_one_and_a_reader_stops_before_it(folder: Path) -> None:
    written = write(folder, segments=1)
    path = min(folder.iterdir())
    path.write_bytes(path.read_bytes()[:-1])
    damage = verify(folder).damage
    assert damage is not None
    assert damage.torn
    assert str(damage).startswith("000001-000000000.journal, byte ")
    assert "frame 4 was cut short" in str(damage)
    assert content(folder) == raw(written[:-2])


def test_a_frame_without_records_is_found(folder: Path) -> None:
    write(folder, segments=1)
    path = min(folder.iterdir())
    data = path.read_bytes()
    place = list(frames.read_frames(data, frames.read_header(data).place))[-1].place
    path.write_bytes(data + frames.frame(place, b"\xc1")[0])
    damage = verify(folder).damage
    assert damage is not None
    assert damage.offset == len(data)
    assert "frame 5 holds no records" in damage.why


def test_a_closed_segment_is_read_where_it_was_open_when_listed(folder: Path) -> None:
    written = write(folder, segments=1)
    reader = JournalReader(folder)
    pack(reader.segments[0])
    assert raw(list(reader.all_records())) == raw(written)
    assert reader.segments[0].size > 0


def test_a_segment_that_is_closed_while_it_is_read_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the run that writes it, at the last moment: the open file is gone when it is opened."""
    written = write(folder, segments=1)
    reader = JournalReader(folder)
    real = Path.read_bytes

    def packed_just_now(path: Path) -> bytes:
        if path.suffix == ".journal" and path.exists():
            monkeypatch.undo()
            pack(reader.segments[0])
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", packed_just_now)
    assert raw(list(reader.all_records())) == raw(written)


def test_a_folder_that_may_not_be_read_is_not_an_empty_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, segments=1)

    def refuse(_path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "listdir", refuse)
    for act in (verify, JournalReader):
        with pytest.raises(StateError, match=rf"{folder} can't be read: Permission denied") as refused:
            act(folder)
        assert refused.value.code == "JRN-002"


def test_other_unpackers_read_a_closed_segment(folder: Path) -> None:
    """The seal is a part that Zstandard passes over."""
    write(folder, segments=2)
    closed = min(folder.iterdir())
    whole = zstandard.ZstdDecompressor().stream_reader(closed.read_bytes(), read_across_frames=True).read()
    assert whole == unpacked(closed)


def test_a_segment_that_may_not_be_read_is_said_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, segments=1)

    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    for act in (verify, JournalWriter):
        with pytest.raises(StateError, match=r"can't be read: Permission denied") as refused:
            act(folder)
        assert refused.value.code == "JRN-002"


def test_a_bar_is_looked_for_in_its_segment(folder: Path) -> None:
    write(folder, segments=3, bars=4)
    reader = JournalReader(folder)
    assert [reader.segment_of(bar).number for bar in (0, 3, 4, 11, 99)] == [1, 1, 2, 3, 3]
    assert reader.opening().session == "s-1"
