"""Frames: how the bytes of a segment are framed, numbered and chained.

A segment begins with a header (:data:`HEADER_BYTES`) and goes on with frames: head, payload, link. The head is the payload's
length with a checksum of its own, so that a frame whose end is missing is told from one whose length was damaged. The link is
the first :data:`LINK_BYTES` of SHA-256 over the link before it, the frame's number and the payload, so a frame that was
changed, left out, doubled or moved breaks the chain at its own place. Numbers and chain run on from segment to segment.
Little-endian throughout; ``docs/journal.md`` describes the format for readers in other languages.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

FORMAT = 1
"""Version of frames and records; a reader refuses a newer one."""
MAGIC = b"brain-j\n"
LINK_BYTES = 16
NO_LINK = bytes(LINK_BYTES)

_HEADER = struct.Struct(f"<8sHIQQ{LINK_BYTES}s")
_CHECK = struct.Struct("<I")
_NUMBER = struct.Struct("<Q")
_HEAD = struct.Struct("<II")
HEADER_BYTES = _HEADER.size + _CHECK.size


@dataclass(frozen=True, slots=True)
class Place:
    """Where a chain stands: the number of the next frame, and the link of the last one."""

    number: int = 0
    link: bytes = NO_LINK

    def head(self, length: int) -> bytes:
        """Head of the frame here, if its payload has ``length`` bytes."""
        return _HEAD.pack(length, zlib.crc32(self.link + _NUMBER.pack(self.number) + _CHECK.pack(length)))

    def after(self, payload: bytes) -> Place:
        """The place behind one more frame."""
        return Place(self.number + 1, hashlib.sha256(self.link + _NUMBER.pack(self.number) + payload).digest()[:LINK_BYTES])


@dataclass(frozen=True, slots=True)
class Header:
    """What a segment says of itself: its number, how many announcements went before it, and where the chain stands."""

    segment: int
    first_bar: int
    place: Place

    def packed(self) -> bytes:
        """First bytes of the segment."""
        packed = _HEADER.pack(MAGIC, FORMAT, self.segment, self.first_bar, self.place.number, self.place.link)
        return packed + _CHECK.pack(zlib.crc32(packed))


@dataclass(frozen=True, slots=True)
class Frame:
    """One payload and the place behind it; ``start`` and ``end`` are its offsets in the segment's bytes."""

    payload: bytes
    place: Place
    start: int
    end: int


class Broken(Exception):
    """The bytes from ``offset`` on are no frame of this chain.

    ``torn``: they end before the frame does, as a write that was cut short leaves them. ``number`` is the frame's.
    """

    def __init__(self, offset: int, why: str, *, torn: bool = False, number: int = 0) -> None:
        super().__init__(why)
        self.offset = offset
        self.why = why
        self.torn = torn
        self.number = number

    def is_tail(self, least_frames: int | None) -> bool:
        """Whether a crash explains it, where ``least_frames`` are known to have reached the disk (None: not known).

        A kill leaves a frame cut short; a loss of power may leave anything of what had not reached the disk. Neither touches
        the first frame of a segment, which comes into being as a whole.
        """
        in_doubt = least_frames is not None and self.number >= least_frames
        return self.offset > HEADER_BYTES and (self.torn or in_doubt)


class NewerFormat(Exception):
    """The segment was written by a later version: its number is ``found``."""

    def __init__(self, found: int) -> None:
        super().__init__(f"format {found}")
        self.found = found


def frame(place: Place, payload: bytes) -> tuple[bytes, Place]:
    """Bytes of one frame at ``place``, and the place behind it."""
    behind = place.after(payload)
    return b"".join((place.head(len(payload)), payload, behind.link)), behind


def read_header(data: bytes) -> Header:
    """What a segment says of itself.

    Raises:
        Broken: these are not the first bytes of a segment.
        NewerFormat: they are, of a later version.
    """
    if len(data) < HEADER_BYTES:
        raise Broken(0, f"it has {len(data)} bytes, its header alone has {HEADER_BYTES}")
    magic, version, segment, first_bar, number, link = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise Broken(0, "it does not begin as a journal does")
    if _CHECK.unpack_from(data, _HEADER.size) != (zlib.crc32(data[: _HEADER.size]),):
        raise Broken(0, "its header does not fit the checksum in it")
    if version > FORMAT:
        raise NewerFormat(version)
    return Header(segment, first_bar, Place(number, link))


def read_frames(data: bytes, place: Place) -> Iterator[Frame]:
    """Frames of a segment whose chain stands at ``place``, each checked against the chain.

    Raises:
        Broken: what follows the last good frame is none.
    """
    start = HEADER_BYTES
    if start == len(data):
        raise Broken(start, "it has no frame")
    while start < len(data):
        number, left = place.number, len(data) - start
        if left < _HEAD.size:
            raise Broken(start, f"frame {number} was cut short: {left} bytes are there", torn=True, number=number)
        (length,) = _CHECK.unpack_from(data, start)
        body = start + _HEAD.size
        if data[start:body] != place.head(length):
            raise Broken(start, f"the head of frame {number} does not fit the chain", number=number)
        end = body + length + LINK_BYTES
        if end > len(data):
            raise Broken(
                start, f"frame {number} was cut short: {left} of {end - start} bytes are there", torn=True, number=number
            )
        payload = data[body : body + length]
        place = place.after(payload)
        if data[end - LINK_BYTES : end] != place.link:
            raise Broken(start, f"frame {number} does not fit the chain", number=number)
        yield Frame(payload, place, start, end)
        start = end
