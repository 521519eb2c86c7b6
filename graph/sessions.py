"""Sessions on disk: where they are, which one is meant, and what there is to know of each at a glance."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from core.clock import rfc3339_seconds
from core.errors import StateError
from core.journal.frames import Broken, read_frames
from core.journal.reader import JournalReader
from core.journal.records import BatchIn, Decided, Opening, State
from core.journal.segments import Segment
from graph.session_dir import SessionDir

RUNS = Path("var") / "runs"
"""Where a run without ``--state`` makes its folder."""


@dataclass(frozen=True, slots=True)
class Session:
    """A recorded session: its folder, and the journal in it. Its name is the folder's."""

    folder: SessionDir

    @property
    def name(self) -> str:
        return self.folder.root.resolve().name

    def reader(self) -> JournalReader:
        """Its journal.

        Raises:
            StateError: there is none.
        """
        return JournalReader(self.folder.journal)


@dataclass(frozen=True, slots=True)
class Card:
    """A session at a glance.

    Times are ms, ``first_ts`` and ``last_ts`` the closes of the first and the last bar on record. ``bars`` and ``decisions``
    count from the session's start, ``first_bar`` of them are no longer there. ``torn`` says how the journal ends, where a
    crash cut it short.
    """

    name: str
    folder: Path
    opening: Opening
    first_ts: int
    last_ts: int
    bars: int
    segments: int
    first_bar: int
    decisions: int
    torn: str | None


def find_all(state: Path | None = None) -> tuple[Session, ...]:
    """Sessions in ``state`` (default: ``var/runs``): the folder itself, or those in it, by name."""
    root = RUNS if state is None else state
    if SessionDir.holds_journal(root):
        return (Session(SessionDir.at(root)),)
    return tuple(Session(SessionDir.at(path)) for path in _folders(root) if SessionDir.holds_journal(path))


def find(name: str | None, state: Path | None = None) -> Session:
    """The session that is meant: by name, the beginning of a name, or a path; without one, the only one there is.

    Raises:
        StateError: none, or more than one, is meant; names those that come nearest.
    """
    if name is not None and SessionDir.holds_journal(Path(name)):
        return Session(SessionDir.at(Path(name)))
    if name is not None and SessionDir.holds_one(Path(name)):
        raise _no_session(f"the session in {name} was recorded without a journal", "brain sessions lists those that have one")
    if name is not None and len(Path(name).parts) > 1:
        beside = _nearest(Path(name).name, [session.name for session in find_all(Path(name).parent)])
        raise _no_session(f"there is no session in {name}{beside}", "brain sessions lists those there are")
    known = find_all(state)
    where = RUNS if state is None else state
    if not known:
        raise _no_session(f"there is no session in {where}", "brain paper records one; brain sessions lists them")
    meant = [session for session in known if name is None or session.name == name]
    meant = meant or [session for session in known if name is not None and session.name.startswith(name)]
    if len(meant) == 1:
        return meant[0]
    names = [session.name for session in (meant or known)]
    if name is None or meant:
        what = f"{len(names)} sessions are in {where}" if name is None else f"{len(names)} sessions begin with {name!r}"
        raise _no_session(f"{what}: {', '.join(sorted(names)[-5:])}", "name one of them")
    raise _no_session(f"there is no session {name!r} in {where}{_nearest(name, names)}", "brain sessions")


def _nearest(name: str, names: list[str]) -> str:
    return f"; nearest: {', '.join(difflib.get_close_matches(name, names, n=3, cutoff=0.0))}" if names else ""


def _no_session(what: str, help_: str) -> StateError:
    return StateError(what, help=help_, code="JRN-003")


def card(session: Session) -> Card:
    """What there is to know of ``session``, without reading all of it.

    Raises:
        StateError: its journal is damaged at its first or last segment.
    """
    reader = session.reader()
    first, last = reader.segments[0], reader.segments[-1]
    opening = reader.opening()
    bars, last_ts, decisions = last.first_bar, 0, 0
    for record in reader.records(last):
        if isinstance(record, BatchIn):
            bars, last_ts = bars + 1, record.ts
        elif isinstance(record, Decided):
            decisions = record.seq + 1
        elif isinstance(record, State) and last_ts == 0:
            decisions, last_ts = record.seq, record.ts
    return Card(
        name=session.name,
        folder=session.folder.root,
        opening=opening,
        first_ts=next((record.ts for record in reader.records(first) if isinstance(record, BatchIn)), 0),
        last_ts=last_ts,
        bars=bars,
        segments=len(reader.segments),
        first_bar=first.first_bar,
        decisions=decisions,
        torn=_torn(last),
    )


def openings(reader: JournalReader, from_bar: int = 0, to_bar: int | None = None) -> tuple[Opening, ...]:
    """What the session said of itself for bars from ``from_bar`` to before ``to_bar``: one for each segment they are in.

    Raises:
        StateError: a segment is damaged at its beginning.
    """
    found: list[Opening] = []
    for segment in reader.segments[reader.segments.index(reader.segment_of(from_bar)) :]:
        if to_bar is not None and found and segment.first_bar >= to_bar:
            break
        first = next(reader.records(segment), None)
        if not isinstance(first, Opening):
            raise reader.headless(segment)
        found.append(first)
    return tuple(found)


def bar_at(reader: JournalReader, ts: int) -> int:
    """Number of the bar in which ``ts`` (ms) lies: the first that closes after it; behind the last one, the number of bars.

    Raises:
        StateError: the journal is damaged, or begins only after ``ts``.
    """
    chosen, before = reader.segments[0], _stands_at(reader, reader.segments[0])
    for segment in reader.segments[1:]:
        at = _stands_at(reader, segment)
        if at > ts:
            break
        chosen, before = segment, at
    if chosen.first_bar > 0 and before > ts:
        raise StateError(
            f"the journal no longer goes back to {rfc3339_seconds(ts)}: it begins at {rfc3339_seconds(before)}",
            help="brain sessions",
            code="JRN-006",
        )
    number = chosen.first_bar
    for record in reader.all_records(chosen):
        if isinstance(record, BatchIn):
            if record.ts > ts:
                break
            number += 1
    return number


def _stands_at(reader: JournalReader, segment: Segment) -> int:
    return next((record.ts for record in reader.records(segment) if isinstance(record, State | BatchIn)), 0)


def _torn(last: Segment) -> str | None:
    try:
        data = last.read()
        for _ in read_frames(data, last.place(data)):
            pass
    except Broken as broken:
        return broken.why
    return None


def sizes(session: Session) -> dict[str, int]:
    """Bytes on disk, by part; of what can be looked at, for a run may pack or remove a file meanwhile."""
    return dict(_sizes(session.folder))


def _sizes(folder: SessionDir) -> Iterator[tuple[str, int]]:
    parts = {"journal": [folder.journal], "records": [folder.database], "logs": [folder.logs], "reports": [folder.reports]}
    for part, paths in parts.items():
        yield part, sum(_bytes(path) for path in paths)


def _bytes(path: Path) -> int:
    size = 0
    with contextlib.suppress(PermissionError):
        size = sum(map(_size, path.parent.glob(path.name + "*") if path.is_file() else path.rglob("*")))
    return size


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0


def _folders(root: Path) -> list[Path]:
    try:
        return sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    except PermissionError as error:
        raise StateError(f"folder {root} can't be read: {error.strerror}", code="JRN-002") from error
