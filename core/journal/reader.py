"""Reading a journal: whole, from a bar on, or only to see whether it is sound."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec
from zstandard import ZstdDecompressor, ZstdError

from core.errors import StateError
from core.journal.frames import HEADER_BYTES, Broken, Frame, Place, read_frames
from core.journal.records import BatchIn, Opening, Record, decode
from core.journal.segments import Segment, damaged, segments
from core.journal.trimmed import missing_front

_PART_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Damage:
    """Where a journal stops being what was written; ``torn``: at the very end, where a crash explains it.

    ``offset`` is of the unpacked bytes.
    """

    segment: Segment
    offset: int
    why: str
    torn: bool

    def __str__(self) -> str:
        return f"{self.segment.path.name}, byte {self.offset}: {self.why}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What :func:`verify` saw, up to ``damage``; that is None for a sound journal.

    ``trimmed`` is how many segments are gone from its beginning, and ``first_frame`` how many frames were in them.
    """

    segments: int
    frames: int
    records: int
    bars: int
    bytes_on_disk: int
    damage: Damage | None
    trimmed: int = 0
    first_frame: int = 0


class JournalReader:
    """The journal in ``folder``; it may be one that is being written to.

    Raises:
        StateError: there is no journal.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.segments = segments(folder)
        if not self.segments:
            raise StateError(f"there is no journal in {folder}", help="brain sessions lists those there are", code="JRN-003")

    def opening(self) -> Opening:
        """What holds at the end: the opening of the last segment."""
        last = self.segments[-1]
        first = next(self.records(last), None)
        if not isinstance(first, Opening):
            raise self.headless(last)
        return first

    def headless(self, segment: Segment) -> StateError:
        """The error for a segment that does not begin as one does."""
        return damaged(segment, "it does not begin with what the session is")

    def records(self, segment: Segment) -> Iterator[Record]:
        """Records of one segment. A torn tail of the open segment ends them without a word.

        Raises:
            StateError: the segment is damaged, or of a newer version.
        """
        return self._records((segment,))

    def first_records(self, segment: Segment) -> list[Record]:
        """Records of a segment's first frame: what the session is there, and the state. No more of it is read than that.

        Raises:
            StateError: the segment is damaged there, or of a newer version.
        """
        try:
            with segment.path.open("rb") as file:
                return _first(segment, ZstdDecompressor().stream_reader(file) if segment.closed else file)
        except FileNotFoundError:  # it was closed since the folder was listed
            return list(self.records(segment))
        except OSError as error:
            raise StateError(f"journal segment {segment.path} can't be read: {error.strerror}", code="JRN-002") from error
        except (Broken, ZstdError, msgspec.MsgspecError) as broken:
            raise damaged(segment, str(broken)) from broken

    def all_records(self, first: Segment | None = None) -> Iterator[Record]:
        """Records from ``first`` (default: the start) to the end; otherwise as :meth:`records`."""
        return self._records(self.segments[0 if first is None else self.segments.index(first) :])

    def segment_of(self, bar: int) -> Segment:
        """The segment in which announcement ``bar`` (counted from 0) stands.

        Raises:
            StateError: it was in a segment that is gone.
        """
        before = [segment for segment in self.segments if segment.first_bar <= bar]
        if not before:
            raise StateError(
                f"bar {bar} is no longer in the journal, which begins at bar {self.segments[0].first_bar}", code="JRN-006"
            )
        return before[-1]

    def _records(self, chosen: tuple[Segment, ...]) -> Iterator[Record]:
        place: Place | None = None
        for segment in chosen:
            try:
                for frame, records in _follow(segment, place):
                    place = frame.place
                    yield from records
            except Broken as broken:
                if segment is not self.segments[-1] or segment.closed or not broken.is_tail(None):
                    raise damaged(segment, broken.why) from broken


def verify(folder: Path, least_frames: int | None = None, on_bars: Callable[[int], None] = lambda _: None) -> Verdict:
    """Check every byte: chain, numbers, and that each record can be read.

    A journal cannot know of frames that are gone from its end: ``least_frames`` says how many are known to have reached the
    disk (None: not known). ``on_bars`` is told of every announcement that was read, for whoever watches.

    Raises:
        StateError: there is no journal, it cannot be read, or it is of a newer version.
    """
    found = JournalReader(folder).segments
    place: Place | None = None
    frames = records = bars = first = 0
    damage: Damage | None = None
    for segment in found:
        try:
            for frame, content in _follow(segment, place):
                place = frame.place
                frames += 1
                first = place.number - frames
                records += len(content)
                announced = sum(isinstance(record, BatchIn) for record in content)
                bars += announced
                on_bars(announced)
        except Broken as broken:
            torn = segment is found[-1] and not segment.closed and broken.is_tail(least_frames)
            damage = Damage(segment, broken.offset, broken.why, torn)
            break
    if damage is None or damage.torn:
        damage = _missing_end(found[-1], first + frames, least_frames or 0) or damage
    damage = _missing_front(folder, found[0]) or damage
    size = sum(segment.size for segment in found)
    return Verdict(len(found), frames, records, bars, size, damage, found[0].number - 1, first)


def missing_end(segment: Segment, frames: int, least_frames: int) -> str | None:
    """Why a journal with ``frames`` frames, the last of them in ``segment``, is not all that was written; None if it may be."""
    if segment.followed:
        return "the segment after it is missing"
    return f"it ends at frame {frames}, {least_frames} were on the disk" if frames < least_frames else None


def _missing_front(folder: Path, first: Segment) -> Damage | None:
    if first.number == 1:
        return None
    try:
        why = missing_front(folder, first, first.place(first.read()))
    except Broken:  # as it was found to be, reading it
        return None
    return None if why is None else Damage(first, 0, why, torn=False)


def _missing_end(last: Segment, frames: int, least_frames: int) -> Damage | None:
    why = missing_end(last, frames, least_frames)
    return None if why is None else Damage(last, last.size, why, torn=False)


def _first(segment: Segment, file: BinaryIO) -> list[Record]:
    data = file.read(HEADER_BYTES)
    place = segment.place(data)
    while part := file.read(_PART_BYTES):
        data += part
        try:
            return decode(next(read_frames(data, place)).payload)
        except Broken as broken:
            if not broken.torn:
                raise
    raise Broken(0, "it ends inside its first frame")


def _follow(segment: Segment, place: Place | None) -> Iterator[tuple[Frame, list[Record]]]:
    """Frames of one segment with the records in them; ``place`` is the end of the one before, where that was followed."""
    data = segment.read()
    start = segment.place(data)
    if place is not None and start != place:
        raise Broken(
            0, f"it goes on from frame {start.number} of a chain, the segment before ends at frame {place.number} of its own"
        )
    for frame in read_frames(data, start):
        try:
            records = decode(frame.payload)
        except msgspec.MsgspecError as error:
            raise Broken(frame.start, f"frame {frame.place.number - 1} holds no records: {error}") from error
        yield frame, records
