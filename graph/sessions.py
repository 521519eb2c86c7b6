"""Sessions on disk: where they are, which one is meant, and what there is to know of each at a glance."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from core.errors import StateError
from core.journal.bars import beginning
from core.journal.reader import JournalReader
from core.journal.records import BatchIn, Opening, State
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
    """A session at a glance. Times are ms; ``last_ts`` is the close of the last bar on record, ``sizes`` are bytes by part."""

    name: str
    folder: Path
    opening: Opening
    first_ts: int
    last_ts: int
    bars: int
    segments: int
    sizes: dict[str, int]


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
    known = find_all(state)
    where = RUNS if state is None else state
    if not known:
        raise StateError(
            f"there is no session in {where}", help="brain paper records one; brain sessions lists them", code="JRN-003"
        )
    meant = [session for session in known if name is None or session.name == name]
    meant = meant or [session for session in known if name is not None and session.name.startswith(name)]
    if len(meant) == 1:
        return meant[0]
    names = [session.name for session in (meant or known)]
    if name is None or meant:
        what = f"{len(names)} sessions are in {where}" if name is None else f"{len(names)} sessions begin with {name!r}"
        raise StateError(f"{what}: {', '.join(sorted(names)[-5:])}", help="name one of them", code="JRN-003")
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.0)
    raise StateError(
        f"there is no session {name!r} in {where}; nearest: {', '.join(near)}", help="brain sessions", code="JRN-003"
    )


def card(session: Session) -> Card:
    """What there is to know of ``session``, without reading all of it.

    Raises:
        StateError: its journal is damaged at its first or last segment.
    """
    reader = session.reader()
    first, last = reader.segments[0], reader.segments[-1]
    bars, last_ts, first_ts = last.first_bar, 0, 0
    for record in reader.records(last):
        if isinstance(record, BatchIn):
            bars, last_ts = bars + 1, record.ts
        elif isinstance(record, State) and last_ts == 0:
            last_ts = record.ts
    for record in reader.records(first):
        if isinstance(record, BatchIn):
            first_ts = record.ts
            break
    opening = beginning(reader, last).opening
    sizes = dict(_sizes(session.folder))
    return Card(session.name, session.folder.root, opening, first_ts, last_ts, bars, len(reader.segments), sizes)


def _sizes(folder: SessionDir) -> Iterator[tuple[str, int]]:
    parts = {"journal": [folder.journal], "records": [folder.database], "logs": [folder.logs], "reports": [folder.reports]}
    for part, paths in parts.items():
        yield part, sum(_bytes(path) for path in paths)


def _bytes(path: Path) -> int:
    if path.is_file():
        return sum(twin.stat().st_size for twin in path.parent.glob(path.name + "*"))
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
