"""Segments: the files of a journal, in order; all but the last are closed and packed, and that one too once a session rests."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path

import zstandard

from configs.durable import sync_folder
from core.errors import StateError
from core.journal.frames import FORMAT, Broken, Header, NewerFormat, Place, read_header

_NAME = re.compile(r"^(\d{6,})-(\d{9,})\.journal(\.zst)?$")
_DRAFT = re.compile(r"^(\d{6,}-\d{9,}|trimmed)\.journal\.tmp$")
_PACKING = zstandard.ZstdCompressionParameters.from_level(9, window_log=24, search_log=6, write_checksum=True)
"""A window wide enough for the warm-up's history and the state that repeats it. A year of one symbol packs in a few seconds;
higher levels gain a few percent for several times that."""
_SEAL = struct.Struct("<II32s")
_FOLLOWED, _RESTED = 0x184D2A50, 0x184D2A51
"""Zstandard leaves a part with such a number unread, so that other unpackers take a sealed file as it is. They tell whether a
segment was closed because another follows, or because the session ended there."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One file: its number, how many announcements went before it, and whether it is closed."""

    number: int
    first_bar: int
    path: Path

    @property
    def closed(self) -> bool:
        return self.path.suffix == ".zst"

    @property
    def followed(self) -> bool:
        """Whether it was closed because another follows it."""
        return self.closed and not self.rested

    @property
    def rested(self) -> bool:
        """Whether it was closed because the session ended there."""
        if not self.closed:
            return False
        with self.path.open("rb") as file:
            file.seek(-_SEAL.size, os.SEEK_END)
            return file.read(4) == _RESTED.to_bytes(4, "little")

    @property
    def size(self) -> int:
        """Bytes on disk."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return self._packed.stat().st_size

    @property
    def _packed(self) -> Path:
        # A segment that was open when its folder was listed may have been closed since, by the run that writes it: the
        # packed file is there before the open one goes.
        return self.path if self.closed else self.path.with_name(f"{self.path.name}.zst")

    def read(self) -> bytes:
        """All its bytes, unpacked.

        Raises:
            Broken: it is not what was packed.
            StateError: the file cannot be read.
        """
        try:
            try:
                return _unpack(self.path.read_bytes()) if self.closed else self.path.read_bytes()
            except FileNotFoundError:
                return _unpack(self._packed.read_bytes())
        except OSError as error:
            raise StateError(f"journal segment {self.path} can't be read: {error.strerror}", code="JRN-002") from error

    def place(self, data: bytes) -> Place:
        """Where the chain stands at the start of ``data``, its bytes.

        Raises:
            Broken: these are not the bytes of this segment.
            StateError: they are of a later version.
        """
        try:
            header = read_header(data)
        except NewerFormat as newer:
            raise StateError(
                f"journal segment {self.path} has format {newer.found}, this version of Brain reads up to {FORMAT}",
                help="use the version of Brain that recorded it, or a later one",
                code="JRN-004",
            ) from newer
        if (header.segment, header.first_bar) != (self.number, self.first_bar):
            raise Broken(
                0, f"it is segment {header.segment} from announcement {header.first_bar} on, which its name does not say"
            )
        return header.place


def damaged(segment: Segment, why: str) -> StateError:
    """The error for a segment that does not hold what was written."""
    return StateError(
        f"journal segment {segment.path} is damaged: {why}",
        help=f"see how far it is good: brain sessions verify --state {segment.path.parents[1]}",
        code="JRN-001",
    )


def segments(folder: Path) -> tuple[Segment, ...]:
    """Segments in ``folder``, in order; of a segment that is there both open and closed, the closed one.

    Raises:
        StateError: two files have one number, or the folder cannot be read.
    """
    found: dict[int, Segment] = {}
    for path in _files(folder):
        match = _NAME.match(path.name)
        if match is None:
            continue
        segment = Segment(int(match[1]), int(match[2]), path)
        twin = found.setdefault(segment.number, segment)
        if twin is not segment and path.stem != twin.path.name:
            raise damaged(segment, f"{twin.path.name} has the same number")
        found[segment.number] = segment
    return tuple(found[number] for number in sorted(found))


def create(folder: Path, header: Header, frame: bytes) -> tuple[Segment, int]:
    """Begin a segment with its first frame, whole or not at all: the segment, and the handle to go on writing with.

    The caller makes the name outlive a loss of power (:func:`configs.durable.sync_folder`).

    Raises:
        OSError: the disk is full or may not be written; there is no new segment then.
    """
    path = folder / f"{header.segment:06d}-{header.first_bar:09d}.journal"
    handle = _replace(path, header.packed() + frame)
    return Segment(header.segment, header.first_bar, path), handle


def pack(segment: Segment, *, followed: bool = True) -> Segment:
    """Close a segment: pack it; the packed file is on the disk, whole, before the open one goes. The closed segment.

    Args:
        segment: an open one.
        followed: whether another segment follows it already.

    Raises:
        OSError: the disk is full or may not be written; the open segment is still there then.
    """
    body = zstandard.ZstdCompressor(compression_params=_PACKING).compress(segment.path.read_bytes())
    closed = Segment(segment.number, segment.first_bar, segment.path.with_suffix(".journal.zst"))
    os.close(_replace(closed.path, body + _seal(body, _FOLLOWED if followed else _RESTED)))
    sync_folder(segment.path.parent)
    segment.path.unlink()
    return closed


def tidy(folder: Path) -> None:
    """Remove what a crash while creating or packing leaves behind: drafts, and the open twin of a closed segment.

    Raises:
        StateError: the twin holds something else.
    """
    kept = {segment.path.name: segment for segment in segments(folder)}
    for path in sorted(folder.glob("*")):
        closed = kept.get(f"{path.name}.zst")
        if _DRAFT.match(path.name) or (closed is not None and _same(closed, path)):
            path.unlink()


def write_at(handle: int, data: bytes, offset: int) -> None:
    """Write all of ``data`` at ``offset``."""
    view = memoryview(data)
    while view:
        written = os.pwrite(handle, view, offset)
        view, offset = view[written:], offset + written


def keep_aside(path: Path, data: bytes) -> None:
    """Write ``data`` into a new file that outlives a loss of power."""
    os.close(_replace(path, data))
    sync_folder(path.parent)


def _replace(path: Path, data: bytes) -> int:
    """Put a file with ``data`` at ``path`` in one step, its content on the disk; the handle to it, for writing."""
    draft = path.with_name(f"{path.name.partition('.')[0]}.journal.tmp")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        write_at(handle, data, 0)
        os.fsync(handle)
        draft.replace(path)
    except OSError:
        os.close(handle)
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
    return handle


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:  # Path.glob would find nothing, without a word
        raise StateError(f"journal folder {folder} can't be read: {error.strerror}", code="JRN-002") from error


def _seal(body: bytes, number: int = _FOLLOWED) -> bytes:
    # Zstandard's own checksum is of what was packed: some bits of the packed bytes mean nothing to it.
    sha = hashlib.sha256(body)
    if number == _RESTED:
        sha.update(number.to_bytes(4, "little"))
    return _SEAL.pack(number, sha.digest_size, sha.digest())


def _unpack(raw: bytes) -> bytes:
    body = raw[: -_SEAL.size]
    if raw[-_SEAL.size :] not in (_seal(body), _seal(body, _RESTED)):
        raise Broken(0, "its bytes do not fit the seal at its end")
    try:
        return zstandard.ZstdDecompressor().decompress(body)
    except zstandard.ZstdError as error:
        raise Broken(0, f"it can't be unpacked: {error}") from error


def _same(closed: Segment, path: Path) -> bool:
    try:
        same = closed.read() == path.read_bytes()
    except Broken as broken:
        raise damaged(closed, broken.why) from broken
    if not same:
        raise damaged(closed, f"{path.name} holds something else")
    return True
