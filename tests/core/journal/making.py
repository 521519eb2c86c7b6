"""Small records and journals to test with, and what is in a journal, byte for byte."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from core.data.blocks import FundingRate
from core.journal.reader import JournalReader
from core.journal.records import BatchIn, Opening, Record, State, Word, encode
from core.journal.writer import JournalWriter

OPENING = Opening("s-1", {"source": "synthetic"}, {"strategies.yaml": b"a: 1\n"}, {"version": "0.1.0"}, {"name": "synthetic"})
HOUR_MS = 3_600_000


def batch(bar: int) -> BatchIn:
    return BatchIn((bar + 1) * HOUR_MS, (), (FundingRate("BTC/USDT:USDT", (bar + 1) * HOUR_MS, 1e-4, 8 * HOUR_MS),))


def word(text: str) -> Word:
    return Word(0, "note", "me", text)


def start(writer: JournalWriter, bar: int) -> tuple[Record, ...]:
    """Begin a segment as a session does; the records in its first frame."""
    records: tuple[Record, ...] = (OPENING, State(bar, bar, bar * HOUR_MS, b"services", b"market"))
    writer.begin(bar)
    for record in records:
        writer.append(record)
    writer.sync()
    return records


def put(writer: JournalWriter, *records: Record) -> None:
    """Append as one frame, and flush."""
    for record in records:
        writer.append(record)
    writer.flush()


def write(folder: Path, segments: int = 3, bars: int = 4) -> list[Record]:
    """A sound journal; what is in it."""
    writer = JournalWriter(folder)
    written: list[Record] = []
    for segment in range(segments):
        written += start(writer, segment * bars)
        for bar in range(segment * bars, segment * bars + bars):
            frame = (batch(bar), word("x" * (bar * 7)))
            put(writer, *frame)
            written += frame
        writer.sync()
    assert writer.failure is None
    writer.close()
    return written


def raw(records: Sequence[Record]) -> list[bytes]:
    return [encode([record]) for record in records]


def content(folder: Path) -> list[bytes]:
    return raw(list(JournalReader(folder).all_records()))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def put_files(folder: Path, image: dict[str, bytes]) -> None:
    """Make ``folder`` hold just ``image``."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    for name, data in image.items():
        (folder / name).write_bytes(data)
