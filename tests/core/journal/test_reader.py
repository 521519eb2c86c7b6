"""Reading only as much of a journal as is asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import StateError
from core.journal import reader as reading
from core.journal.bars import bars_of, recorded_bars
from core.journal.frames import HEADER_BYTES
from core.journal.reader import JournalReader
from core.journal.records import Decided
from core.journal.segments import pack
from core.journal.writer import JournalWriter
from tests.core.journal.making import batch, put, raw, start, word, write


@pytest.fixture(params=[1 << 20, 7])
def part_bytes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(reading, "_PART_BYTES", request.param)
    return request.param


@pytest.mark.usefixtures("part_bytes")
def test_what_a_segment_begins_with_is_its_first_frame(tmp_path: Path) -> None:
    """Of closed segments and of the open one, read in one part or in many."""
    write(tmp_path)
    reader = JournalReader(tmp_path)
    assert [segment.closed for segment in reader.segments] == [True, True, False]
    for segment in reader.segments:
        assert raw(reader.first_records(segment)) == raw(list(reader.records(segment))[:2])


def test_a_segment_that_was_closed_since_is_read_all_the_same(tmp_path: Path) -> None:
    write(tmp_path, segments=1)
    reader = JournalReader(tmp_path)
    written = raw(list(reader.records(reader.segments[0])))
    pack(reader.segments[0])
    assert raw(reader.first_records(reader.segments[0]))[:2] == written[:2]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: HEADER_BYTES + 20],
        lambda data: data[:20],
        lambda data: b"",
        lambda data: data[:60] + bytes([data[60] ^ 1]) + data[61:],
        lambda data: b"x" + data[1:],
    ],
    ids=["cut", "header cut", "empty", "bit", "magic"],
)
@pytest.mark.parametrize("closed", [True, False])
def test_a_damaged_beginning_is_told(tmp_path: Path, damage: Callable[[bytes], bytes], closed: bool) -> None:
    write(tmp_path, segments=2)
    segment = JournalReader(tmp_path).segments[0 if closed else 1]
    segment.path.write_bytes(damage(segment.path.read_bytes()))
    with pytest.raises(StateError) as told:
        JournalReader(tmp_path).first_records(segment)
    assert told.value.code == "JRN-001"


def test_bars_of_a_segment_are_those_of_the_whole_walk(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path)
    for bar in range(9):
        if bar % 3 == 0:
            start(writer, bar)
        put(writer, batch(bar), word(str(bar)))
        if bar != 5:
            put(writer, Decided(bar, batch(bar).ts, (("brain", b"%d" % bar),)))
        if bar == 5:  # cut off, and decided at the next start
            start(writer, bar + 1)
            put(writer, Decided(bar, batch(bar).ts, (("brain", b"5"),)))
    writer.sync()
    writer.close()
    reader = JournalReader(tmp_path)
    apart = [bar for segment in reader.segments for bar in bars_of(reader, segment)]
    together = list(recorded_bars(reader, reader.segments[0]))
    assert [(bar.number, bar.ts, bar.made, bar.complete) for bar in apart] == [
        (bar.number, bar.ts, bar.made, bar.complete) for bar in together
    ]
    assert [bar.number for bar in apart] == list(range(9))
    assert all(bar.complete for bar in apart)
