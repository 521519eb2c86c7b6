"""Letting go of the oldest segments: a journal can be read from any of them on, since each begins with the whole state."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from configs.durable import sync_folder
from core.errors import StateError
from core.journal.frames import Broken, Place
from core.journal.reader import JournalReader
from core.journal.records import BatchIn, State
from core.journal.segments import Segment, damaged
from core.journal.trimmed import note

KEEP_DAYS = 186
"""Six calendar months are 184 days at most (I1)."""


def trim(
    folder: Path,
    keep_from_ts: int,
    now_ts: int,
    written_before_ts: int | None = None,
    on_gone: Callable[[Segment], None] = lambda _: None,
) -> tuple[Segment, ...]:
    """Delete closed segments that hold nothing from ``keep_from_ts`` (ms, the journal's own time) on; those that went.

    Each is noted as trimmed at ``now_ts`` before it goes, and told to ``on_gone`` when it is gone.

    Args:
        folder: the journal.
        keep_from_ts: where what is kept begins.
        now_ts: the time of day, ms.
        written_before_ts: nothing goes that was written since (None: whenever).
        on_gone: for whoever must say how far it went.

    Raises:
        StateError: there is no journal, the first segment that would stay is damaged, or one can't be deleted; those from it
            on are still there then.
    """
    gone = old(folder, keep_from_ts, written_before_ts)
    kept = JournalReader(folder).segments
    for segment, following in zip(gone, kept[1:], strict=False):
        try:
            note(folder, segment, _place(following), now_ts)
            _delete(segment)
        except OSError as error:
            raise StateError(f"journal segment {segment.path} can't be deleted: {error.strerror}", code="JRN-002") from error
        on_gone(segment)
    return gone


def old(folder: Path, keep_from_ts: int, written_before_ts: int | None = None) -> tuple[Segment, ...]:
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
        if written_before_ts is not None and segment.path.stat().st_mtime * 1000 >= written_before_ts:
            break
        found.append(segment)
    return tuple(found)


def _first_ts(reader: JournalReader, segment: Segment) -> int | None:
    return next((record.ts for record in reader.records(segment) if isinstance(record, State | BatchIn)), None)


def _place(segment: Segment) -> Place:
    try:
        return segment.place(segment.read())
    except Broken as broken:
        raise damaged(segment, broken.why) from broken


def _delete(segment: Segment) -> None:
    stem = segment.path.name.partition(".")[0]
    for path in (*sorted(segment.path.parent.glob(f"{stem}.torn-*")), segment.path):
        path.unlink()
    sync_folder(segment.path.parent)
