"""What was let go of at a journal's beginning: one line for each segment, so that no other that is missing passes for one.

The lines are in ``trimmed.jsonl`` beside the segments, each with a check over itself and the line before it. A line is on the
disk before its segment goes; the last line's link is the one from which the first segment that is left goes on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from core.errors import StateError
from core.journal.frames import Place
from core.journal.segments import Segment, keep_aside

NAME = "trimmed.jsonl"


class Trimmed(msgspec.Struct, frozen=True):
    """A segment that is gone: number, announcements before it, how many frames, the link of the last one, when it went (ms)."""

    segment: int
    first_bar: int
    frames: int
    link: str
    removed_ts: int
    check: str = ""


def note(folder: Path, segment: Segment, behind: Place, removed_ts: int) -> None:
    """Say on the disk that ``segment`` goes; ``behind`` is the place behind its last frame.

    Raises:
        OSError: it cannot be written.
        StateError: what is noted there already cannot be read.
    """
    try:
        lines = [line for line in _read(folder) if line.segment < segment.number]  # a crash may have kept one that was noted
    except ValueError as error:
        raise StateError(f"{folder / NAME} is damaged: {error}", help="brain sessions verify", code="JRN-001") from error
    frames = behind.number - sum(line.frames for line in lines)
    line = Trimmed(segment.number, segment.first_bar, frames, behind.link.hex(), removed_ts)
    lines.append(msgspec.structs.replace(line, check=_check(line, lines)))
    keep_aside(folder / NAME, b"".join(msgspec.json.encode(line) + b"\n" for line in lines))


def missing_front(folder: Path, first: Segment, place: Place) -> str | None:
    """Why what was before ``first``, which goes on from ``place``, was not let go of by trimming; None where it was."""
    try:
        lines = [line for line in _read(folder) if line.segment < first.number]
    except ValueError as error:
        return f"{NAME}, which says what was before it, is damaged: {error}"
    if [line.segment for line in lines] != list(range(1, first.number)):
        noted = f"says so of {len(lines)}" if lines else "says so of none"
        return f"{first.number - 1} segments before it are missing; that they were trimmed {NAME} {noted}"
    if lines and (sum(line.frames for line in lines), lines[-1].link) != (place.number, place.link.hex()):
        return f"it does not go on from the last segment that {NAME} says was trimmed"
    return None


def _read(folder: Path) -> list[Trimmed]:
    """Lines in their order.

    Raises:
        ValueError: one of them is not what was written.
        OSError: they cannot be read.
    """
    path = folder / NAME
    lines: list[Trimmed] = []
    for number, raw in enumerate(path.read_bytes().splitlines(keepends=True) if path.exists() else (), 1):
        try:
            line = msgspec.json.decode(raw, type=Trimmed)
        except msgspec.MsgspecError as error:
            raise ValueError(f"line {number} cannot be read") from error
        if raw != msgspec.json.encode(line) + b"\n" or line.check != _check(line, lines):
            raise ValueError(f"line {number} does not fit its check")
        lines.append(line)
    return lines


def _check(line: Trimmed, before: Sequence[Trimmed]) -> str:
    former = before[-1].check if before else ""
    return hashlib.sha256(former.encode() + msgspec.json.encode(msgspec.structs.replace(line, check=""))).hexdigest()[:32]
