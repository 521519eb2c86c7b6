"""Letting go of the oldest segments: a journal can be read from any of them on, since each begins with the whole state."""

from __future__ import annotations

from pathlib import Path

from core.errors import StateError
from core.journal.reader import JournalReader
from core.journal.records import BatchIn, State
from core.journal.segments import Segment, sync_folder


def trim(folder: Path, keep_from_ts: int) -> tuple[Segment, ...]:
    """Delete closed segments that hold nothing from ``keep_from_ts`` (ms, the journal's own time) on; those that went.

    Raises:
        StateError: there is no journal, the first segment that would stay is damaged, or one can't be deleted; those from it
            on are still there then.
    """
    gone = old(folder, keep_from_ts)
    for segment in gone:
        try:
            _delete(segment)
        except OSError as error:
            raise StateError(f"journal segment {segment.path} can't be deleted: {error.strerror}", code="JRN-002") from error
    return gone


def old(folder: Path, keep_from_ts: int) -> tuple[Segment, ...]:
    """What :func:`trim` would delete.

    Raises:
        StateError: there is no journal, or the first segment that would stay is damaged.
    """
    reader = JournalReader(folder)
    found: list[Segment] = []
    for segment, following in zip(reader.segments, reader.segments[1:], strict=False):
        begins = _first_ts(reader, following)
        if not segment.closed or begins is None or begins >= keep_from_ts:
            break
        found.append(segment)
    return tuple(found)


def _first_ts(reader: JournalReader, segment: Segment) -> int | None:
    return next((record.ts for record in reader.records(segment) if isinstance(record, State | BatchIn)), None)


def _delete(segment: Segment) -> None:
    stem = segment.path.name.partition(".")[0]
    for path in (*sorted(segment.path.parent.glob(f"{stem}.torn-*")), segment.path):
        path.unlink()
    sync_folder(segment.path.parent)
