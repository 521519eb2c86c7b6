"""Writing a journal: one writer, append only.

Records gather in memory until :meth:`JournalWriter.flush` puts them into the file as one frame, where they outlive the
process; :meth:`JournalWriter.sync` makes them outlive a loss of power too. A journal that cannot be written keeps what it was
given and says so in ``failure``; the next flush tries again from the last good byte.

That there is one writer is the caller's care: whoever holds the lock of the session's state file.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import reprlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from configs.durable import no_space, sync_folder
from core.errors import StateError
from core.journal.difference import first_difference
from core.journal.frames import HEADER_BYTES, Broken, Header, Place, frame, read_frames
from core.journal.reader import missing_end
from core.journal.records import Answer, Decided, Record, decode, encode
from core.journal.segments import Segment, create, damaged, keep_aside, pack, segments, tidy, write_at

_MOST_UNSYNCED_BYTES = 1 << 22
"""What a loss of power may cost where nobody asks for a sync, and what is held in memory until one."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A torn tail that was taken off the open segment: how many bytes, where they are kept, and how it was seen."""

    bytes: int
    kept_in: Path
    why: str


class JournalWriter:
    """Appends to the journal in ``folder``.

    Attributes:
        cut: what was torn at the end of the journal when it was opened.

    Args:
        folder: made when it is not there.
        least_frames: how many frames are known to have reached the disk (None: not known). A journal that is broken before
            them is damaged; what is broken after them was torn by a crash.

    Raises:
        StateError: the journal is damaged elsewhere than at its very end, of a newer version, or cannot be written; no
            segment was changed then.
    """

    def __init__(self, folder: Path, least_frames: int | None = None) -> None:
        self.folder = folder
        self.cut: Cut | None = None
        self._error: OSError | None = None
        self._expected: deque[bytes] = deque()
        self._pending: list[Record] = []
        self._next_bar: int | None = None  # where the next segment begins; it comes into being with its first frame
        self._segment: Segment | None = None
        self._handle = -1
        self._place = Place()
        self._offset = self._synced = 0
        self._unsynced = bytearray()  # of the file, between the two
        self._named = True  # whether the name of the present segment outlives a loss of power
        self._to_pack: list[Segment] = []
        try:
            _make_folder(folder)
            self._reopen(least_frames)
        except StateError:
            self.close()
            raise
        except OSError as error:
            self.close()
            raise StateError(
                f"journal folder {folder} can't be used: {error.strerror}", help=way_out(error), code="JRN-002"
            ) from error

    @property
    def failure(self) -> str | None:
        """Why the last flush or sync did not reach the disk; None while all is well."""
        return None if self._error is None else self._error.strerror or str(self._error)

    @property
    def begun(self) -> bool:
        """Whether there is a segment to append to."""
        return self._segment is not None or self._next_bar is not None

    @property
    def frames(self) -> int:
        """Frames written; they are on the disk once :meth:`sync` has left no ``failure``."""
        return self._place.number

    @property
    def expected(self) -> Record | None:
        """The record that stands in the journal at this place; None where nothing does."""
        return decode(self._expected[0])[0] if self._expected else None

    @property
    def catching_up(self) -> bool:
        """Whether records are still expected that stand in the journal already."""
        return bool(self._expected)

    # --- records --------------------------------------------------------------------------------------------

    def expect(self, records: Sequence[Record]) -> None:
        """What stands in the journal already and is about to be made again: it is compared, not written twice."""
        self._expected = deque(_as_read(record) for record in records)

    def append(self, record: Record) -> None:
        """Add a record to the next frame.

        Raises:
            StateError: the journal holds another record at this place.
        """
        if not self._expected:
            self._pending.append(record)
            return
        recorded, now = self._expected.popleft(), _as_read(record)
        if recorded != now:
            raise _another(decode(recorded)[0], decode(now)[0])

    def flush(self) -> None:
        """Write what was added, as one frame; where that fails, ``failure`` tells and nothing is lost.

        Before the first :meth:`begin`, and after :meth:`finish`, there is nowhere to write: records wait.
        """
        try:
            if self._error is not None:
                self._repair()
            if self._pending and (self._next_bar is not None or self._handle >= 0):
                self._write()
        except OSError as error:
            self._error = error
        else:
            self._error = None

    def sync(self) -> None:
        """Flush, and wait until the disk has it."""
        self.flush()
        if self._error is None:
            try:
                self._wait_for_disk()
            except OSError as error:
                self._error = error

    def begin(self, first_bar: int) -> None:
        """Go on in a new segment; the caller adds opening and state.

        The segment comes into being with the next flush, as a whole with its first frame; the one before is closed then.

        Raises:
            OSError: what was added before cannot be written; the journal stays in its segment.
        """
        self.sync()
        if self._error is not None:
            raise self._error
        self._next_bar = first_bar

    def finish(self) -> None:
        """Sync and pack what is written: a session that ends rests as small as it can. To go on takes :meth:`begin`.

        Where the disk fails, ``failure`` tells, or the segment stays as it is.
        """
        self.sync()
        if self._error is None and self._segment is not None and self._handle >= 0:
            with contextlib.suppress(OSError):  # room is all that is lost
                self._segment = pack(self._segment, followed=False)
                self.close()

    @property
    def finished(self) -> bool:
        """Whether the last segment is closed, so that nothing can be added before :meth:`begin`."""
        return self._segment is not None and self._segment.closed

    def close(self) -> None:
        """Let go of the file; what was not flushed is dropped, as in a crash."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    # --- files ----------------------------------------------------------------------------------------------

    def _write(self) -> None:
        data, behind = frame(self._place, encode(self._pending))
        if self._next_bar is not None:
            self._create(self._next_bar, data)
        else:
            write_at(self._handle, data, self._offset)
            self._offset += len(data)
            self._unsynced += data
        self._place = behind
        self._pending.clear()
        if not self._named or len(self._unsynced) > _MOST_UNSYNCED_BYTES:
            self._wait_for_disk()

    def _create(self, first_bar: int, data: bytes) -> None:
        former, former_handle = self._segment, self._handle
        number = 1 if former is None else former.number + 1
        self._segment, self._handle = create(self.folder, Header(number, first_bar, self._place), data)
        self._offset = self._synced = HEADER_BYTES + len(data)
        self._next_bar, self._named = None, False
        if former is not None and former_handle >= 0:
            self._to_pack.append(former)
            with contextlib.suppress(OSError):  # it was synced: nothing of it is left to go wrong
                os.close(former_handle)

    def _wait_for_disk(self) -> None:
        if not self._named:
            sync_folder(self.folder)
            self._named = True
            self._pack()
        if self._synced < self._offset:
            os.fdatasync(self._handle)
            self._synced = self._offset
            self._unsynced.clear()

    def _repair(self) -> None:
        """Take off what a write left that failed, and write again what a sync may have lost that failed."""
        if self._handle >= 0:
            os.ftruncate(self._handle, self._offset)
            write_at(self._handle, bytes(self._unsynced), self._synced)
        self._wait_for_disk()

    def _pack(self) -> None:
        # Room is all that is lost where this fails, and the next segment tries again.
        while self._to_pack:
            try:
                pack(self._to_pack[0])
            except OSError:
                return
            del self._to_pack[0]

    def _reopen(self, least_frames: int | None) -> None:
        """Go on behind the last good frame of the last segment."""
        found = segments(self.folder)
        if not found and least_frames:
            raise StateError(
                f"journal folder {self.folder} is empty, {least_frames} frames were on the disk",
                help="put the journal back; another --state DIR begins another session, which knows of no open position",
                code="JRN-001",
            )
        end = _end(found[-1], least_frames) if found else None
        tidy(self.folder)
        if end is not None:
            self._go_on(found[-1], end)
        self._to_pack = [segment for segment in found[:-1] if not segment.closed]
        self._pack()

    def _go_on(self, last: Segment, end: _End) -> None:
        self._segment, self._place = last, end.place
        if last.closed:
            return
        self._offset = self._synced = end.offset
        self._handle = os.open(last.path, os.O_WRONLY | os.O_CLOEXEC)
        if end.torn:
            digest = hashlib.sha256(end.torn).hexdigest()[:8]  # the next crash may tear the same place
            kept = last.path.with_suffix(f".torn-{end.offset}-{digest}")
            keep_aside(kept, end.torn)
            os.ftruncate(self._handle, end.offset)
            self.cut = Cut(len(end.torn), kept, end.why)
        os.fsync(self._handle)


@dataclass(frozen=True, slots=True)
class _End:
    """Where the last good frame ends, and what a crash left behind it."""

    place: Place
    offset: int
    torn: bytes
    why: str


def _end(last: Segment, least_frames: int | None) -> _End:
    """Where the last segment ends.

    Raises:
        StateError: what follows its last good frame was not left by a crash.
    """
    why = ""
    try:
        data = last.read()
        place, offset = last.place(data), HEADER_BYTES
        for good in read_frames(data, place):
            place, offset = good.place, good.end
    except Broken as broken:
        if last.closed or not broken.is_tail(least_frames):
            raise damaged(last, broken.why) from broken
        why = broken.why
    missing = missing_end(last, place.number, least_frames or 0)
    if missing is not None:
        raise damaged(last, missing)
    return _End(place, offset, data[offset:], why)


def _make_folder(folder: Path) -> None:
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in reversed(new):
        sync_folder(path.parent)


_LET_IN = "let this account write there, then start again with the same --state; nothing runs until then"


def way_out(error: OSError, otherwise: str = _LET_IN) -> str:
    """What to do about a folder that cannot be written: what a session has open is known there alone."""
    if no_space(error):
        return "free some space, then start again with the same --state; nothing runs until then"
    return otherwise


def _another(recorded: Record, now: Record) -> StateError:
    what = f"going on gives another {type(now).__name__} than the journal has at the same place"
    if type(recorded) is type(now):
        path, a, b = first_difference(_plain(recorded), _plain(now))
        where = f"{'.'.join(path) or 'all of it'} is {reprlib.repr(b)}, recorded {reprlib.repr(a)}"
    else:
        where = f"there stands {type(recorded).__name__}"
    return StateError(
        f"{what}: {where}",
        help="code or configuration has changed since; finish the session with what it was recorded with",
        code="JRN-005",
    )


def _plain(record: Record) -> dict[str, Any]:
    plain = {name: msgspec.to_builtins(getattr(record, name), builtin_types=(bytes,)) for name in record.__struct_fields__}
    if isinstance(record, Decided):
        plain["outputs"] = {agent: _opened(payload) for agent, payload in record.outputs}
    if isinstance(record, Answer):  # what was sent before what was answered to it
        plain = {"order": plain["order"], **plain}
    return plain


def _opened(payload: bytes | None) -> Any:
    try:
        return None if payload is None else msgspec.msgpack.decode(payload)
    except msgspec.DecodeError:
        return payload


def _as_read(record: Record) -> bytes:
    # Once through the file: a whole number where a float belongs comes back as one.
    return encode(decode(encode([record])))
