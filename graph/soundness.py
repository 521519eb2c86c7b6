"""Whether a session on disk is what was recorded: every byte of its journal, and its records against it."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from core.canonical import EMPTY_HASH, chain, encode
from core.errors import StateError
from core.journal.bars import Made, bars_of, beginning, first_words, recorded_bars
from core.journal.reader import JournalReader, Verdict, verify
from core.monitor.reader import StoreReader, reading
from core.monitor.store import in_use
from core.types import DecisionRecord
from graph.bookkeeping import Told, differing
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
    """Check every byte of the journal of ``session``, and its records against the journal.

    Args:
        session: it may be one that is being recorded; nothing in its folder is touched.
        on_bars: told of every bar that was looked at; each is looked at twice.

    Raises:
        StateError: the journal cannot be read, or is of a newer version.
    """
    saved = _saved(session)  # before the records are opened: a run goes on with both meanwhile
    with ExitStack() as stack:
        try:
            records = stack.enter_context(records_of(session.folder))
            frames = records.get_meta(FRAMES)
            verdict = verify(session.folder.journal, None if frames is None else int(frames), on_bars)
            if verdict.damage is not None and not verdict.damage.torn:
                return Soundness(verdict, None, 0)
            return Soundness(verdict, *_compared(session.reader(), records, saved, on_bars))
        except StateError as error:
            if not error.code.startswith("STATE-"):
                raise
            return Soundness(verify(session.folder.journal, None, on_bars), error.what, 0)


def _saved(session: Session) -> int:
    """How many decisions the records must have: a segment begins, and a session rests, only behind what was committed."""
    try:
        reader = session.reader()
        last = reader.segments[-1]
        state = beginning(reader, last).state
        saved = 0 if state is None else state.seq
        return max((made.seq + 1 for bar in bars_of(reader, last) for made in bar.made), default=saved) if last.rested else saved
    except StateError:  # what is wrong with it is found on the way
        return 0


@contextmanager
def records_of(folder: SessionDir) -> Iterator[StoreReader]:
    """The records of a session at one moment, leaving no trace: SQLite makes files beside what it reads, so it reads a copy.

    Those of a session that is being recorded are read where they are; the files beside it are there already.

    Raises:
        StateError: they are damaged, or not there.
    """
    database = folder.database
    with ExitStack() as stack:
        path = database
        with reading(database):
            if not in_use(database):
                path = _copied(database, Path(stack.enter_context(TemporaryDirectory(prefix="brain-records-"))))
        try:
            records = stack.enter_context(StoreReader(path))
            records.query("BEGIN")
            yield records
        except StateError as error:
            raise StateError(error.what.replace(str(path), str(database)), help=error.help, code=error.code) from error


def _copied(database: Path, folder: Path) -> Path:
    for path in (database, database.with_name(f"{database.name}-wal")):
        if path.exists():
            shutil.copy(path, folder)
    return folder / database.name


def _compared(reader: JournalReader, records: StoreReader, saved: int, on_bars: OnBars) -> tuple[str | None, int]:
    """Why the records are not those of the journal (None: they are), and how many decisions were found to be."""
    snapshot = records.load_snapshot()
    last, bars, heard = (-1, 0, 0)
    if snapshot is not None:
        last, bars, heard = snapshot[0], int(snapshot[1]["bars"]), int(snapshot[1].get("heard", 0))
    whole, told = reader.segments[0].number == 1, Told()
    made = _made(reader, told, bars, heard, on_bars)
    why, same = _decisions(records, made, last, whole=whole)
    if why is None and last + 1 < saved:
        why = f"the records end at decision {last}, the journal was saved up to decision {saved - 1}"
    if why is None:
        for _ in made:  # to the end
            pass
        why = differing(told, records, whole=whole)
    return why, same


def _decisions(records: StoreReader, made: Iterator[Made], last: int, *, whole: bool) -> tuple[str | None, int]:
    now = next(made, None)
    begins = 0 if whole or now is None else now.seq  # those before are in segments that are gone
    head, same, seq = EMPTY_HASH, 0, -1
    for seq, _, link, payload in records.decisions():
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
    return None if seq == last else f"the records end at decision {seq}, they were saved at decision {last}", same


def _made(reader: JournalReader, told: Told, bars: int, heard: int, on_bars: OnBars) -> Iterator[Made]:
    """Decisions in the journal.

    What came with the first ``bars`` of them and between these, and the first ``heard`` words after them, which is what the
    records have too, goes into ``told``.
    """
    for bar in recorded_bars(reader, reader.segments[0]):
        if bar.number < bars:
            told.hear(bar.inputs)
            told.hear(bar.after if bar.number + 1 < bars else first_words(bar.after, heard))
        yield from bar.made
        on_bars(1)


def _as_recorded(made: Made) -> bytes:
    """The record of a decision, with the digests that the journal leaves out since they follow from the outputs."""
    *outputs, (_, written) = made.outputs
    digests = tuple((agent, hashlib.sha256(payload).hexdigest()) for agent, payload in outputs)
    return encode(msgspec.structs.replace(msgspec.msgpack.decode(written, type=DecisionRecord), node_hashes=digests))
