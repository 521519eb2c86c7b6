"""Whether a session on disk is what was recorded: every byte of its journal, and its records against it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from core.canonical import EMPTY_HASH, chain, encode
from core.errors import StateError
from core.journal.bars import Made, recorded_bars
from core.journal.reader import JournalReader, Verdict, verify
from core.monitor.reader import StoreReader
from core.types import DecisionRecord
from graph.journaling import FRAMES
from graph.session_dir import SessionDir
from graph.sessions import Session

OnBars = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Soundness:
    """What :func:`inspect` found.

    ``records`` says where the records are not those of the journal, None where they are; ``decisions`` of them were compared.
    """

    verdict: Verdict
    records: str | None
    decisions: int

    @property
    def torn(self) -> bool:
        """Whether a crash cut the journal short; nothing is lost by it that was decided."""
        return self.verdict.damage is not None and self.verdict.damage.torn

    @property
    def sound(self) -> bool:
        return (self.verdict.damage is None or self.torn) and self.records is None


def inspect(session: Session, on_bars: OnBars = lambda _: None) -> Soundness:
    """Check every byte of the journal of ``session``, and every decision of its records against the journal.

    Args:
        session: it may be one that is being recorded; nothing in its folder is touched.
        on_bars: told of every bar that was looked at; each is looked at twice.

    Raises:
        StateError: the journal cannot be read, or is of a newer version.
    """
    try:
        with records_of(session.folder) as records:
            last, frames = records.last_seq(), int(records.get_meta(FRAMES) or 0)
            verdict = verify(session.folder.journal, frames, on_bars)
            if verdict.damage is not None and not verdict.damage.torn:
                return Soundness(verdict, None, 0)
            return Soundness(verdict, *_compared(session.reader(), records, last, on_bars))
    except StateError as error:
        if error.code != "STATE-004":
            raise
        return Soundness(verify(session.folder.journal, None, on_bars), error.what, 0)


@contextmanager
def records_of(folder: SessionDir) -> Iterator[StoreReader]:
    """The records of a session, leaving no trace: SQLite makes files beside the one that it reads, so it reads a copy.

    Those of a session that is being recorded are read where they are; the files beside it are there already.

    Raises:
        StateError: they are damaged, or not there.
    """
    if _in_use(folder.database):
        with StoreReader(folder.database) as reader:
            yield reader
        return
    with TemporaryDirectory(prefix="brain-records-") as copies:
        for path in (folder.database, folder.database.with_name(f"{folder.database.name}-wal")):
            if path.exists():
                shutil.copy(path, copies)
        with StoreReader(Path(copies) / folder.database.name) as reader:
            yield reader


def _in_use(database: Path) -> bool:
    try:
        handle = os.open(database.with_name(f"{database.name}.lock"), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _compared(reader: JournalReader, records: StoreReader, last: int, on_bars: OnBars) -> tuple[str | None, int]:
    """Why the decisions up to ``last`` are not those of the journal (None: they are), and how many were found to be."""
    made = _made(reader, on_bars)
    now = next(made, None)
    begins = 0 if reader.segments[0].number == 1 or now is None else now.seq  # those before are in segments that are gone
    head, same = EMPTY_HASH, 0
    for seq, _, link, payload in records.decisions():
        if seq > last:
            break
        head = chain(head, payload)
        if head.hex() != link:
            return f"decision {seq} of the records does not fit the chain", same
        if seq < begins:
            continue
        if now is None or now.seq != seq:
            return f"decision {seq} is in the records, and not in the journal", same
        if _as_recorded(now) != payload:
            return f"decision {seq} of the records is not that of the journal", same
        same += 1
        now = next(made, None)
    return None, same


def _made(reader: JournalReader, on_bars: OnBars) -> Iterator[Made]:
    for bar in recorded_bars(reader, reader.segments[0]):
        yield from bar.made
        on_bars(1)


def _as_recorded(made: Made) -> bytes:
    """The record of a decision, with the digests that the journal leaves out since they follow from the outputs."""
    *outputs, (_, written) = made.outputs
    digests = tuple((agent, hashlib.sha256(payload).hexdigest()) for agent, payload in outputs)
    return encode(msgspec.structs.replace(msgspec.msgpack.decode(written, type=DecisionRecord), node_hashes=digests))
