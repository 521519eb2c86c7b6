"""The exchange's state on disk, so that it survives its own restart, a kill and a loss of power.

What is over is kept row by row and written once; the rest is small and replaced. Both in one transaction of SQLite, which costs
one sync to the disk however much was traded.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from core.errors import StateError
from core.sim.local.history import Kept

FORMAT = 2
_MAKE = (
    "CREATE TABLE IF NOT EXISTS present (id INTEGER PRIMARY KEY CHECK (id = 0), state BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS past (kind TEXT, number INTEGER, row BLOB NOT NULL, PRIMARY KEY (kind, number)) WITHOUT ROWID",
    f"PRAGMA user_version = {FORMAT}",
)


class StateFile:
    """One file (and SQLite's log beside it): after a kill it holds the last :meth:`save` that was finished, never half of one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open: sqlite3.Connection | None = None
        self._written: dict[str, int] = {}
        path.parent.mkdir(parents=True, exist_ok=True)

    def load(self) -> dict[str, Any] | None:
        """What was saved, its ``past`` as ``{kind: {"added": int, "rows": [...]}}``; None where nothing was.

        Raises:
            StateError: the file is damaged or of another format.
        """
        if not self._path.exists():
            return None
        with self._readable(), closing(sqlite3.connect(self._path)) as file:
            if file.execute("SELECT name FROM sqlite_master").fetchone() is None:
                return None  # killed before its first save
            (found,) = file.execute("PRAGMA user_version").fetchone()
            if found != FORMAT:
                raise self._unusable(f"its format is {found}, expected {FORMAT}")
            saved = file.execute("SELECT state FROM present").fetchone()
            if saved is None:
                raise self._unusable("nothing is in it")
            state: dict[str, Any] = msgspec.json.decode(saved[0])
            state["past"] = past = {kind: {"added": added, "rows": []} for kind, added in state["added"].items()}
            for kind, row in file.execute("SELECT kind, row FROM past ORDER BY kind, number"):
                past[kind]["rows"].append(msgspec.json.decode(row))
        self._written = state.pop("added")
        return state

    def save(self, state: Mapping[str, Any], past: Mapping[str, Kept[Any]]) -> None:
        """Replace ``state``, and add what is new of ``past``; rows that are remembered no more go.

        Raises:
            StateError: it is not on the disk; nothing is lost of it where a later call succeeds.
        """
        with self._writable():
            self._put(state, past)

    def _put(self, state: Mapping[str, Any], past: Mapping[str, Kept[Any]]) -> None:
        file = self._opened()
        with file:
            file.execute("BEGIN IMMEDIATE")
            for statement in () if self._written else _MAKE:
                file.execute(statement)
            added = {kind: kept.added for kind, kept in past.items()}
            for kind, kept in past.items():
                rows = [msgspec.json.encode(row) for row in kept.since(self._written.get(kind, 0))]
                numbered = enumerate(rows, kept.added - len(rows))
                file.executemany("INSERT INTO past VALUES (?, ?, ?)", [(kind, number, row) for number, row in numbered])
                file.execute("DELETE FROM past WHERE kind = ? AND number < ?", (kind, kept.added - kept.most))
            file.execute("REPLACE INTO present VALUES (0, ?)", (msgspec.json.encode({**state, "added": added}),))
        self._written = added

    def close(self) -> None:
        """Let go of the file."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _opened(self) -> sqlite3.Connection:
        if self._open is None:
            made = sqlite3.connect(self._path, isolation_level=None)
            made.execute("PRAGMA journal_mode = WAL")
            made.execute("PRAGMA synchronous = FULL")
            self._open = made
        return self._open

    @contextmanager
    def _writable(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as wrong:
            raise StateError(
                f"the local exchange's state {self._path} cannot be written: {wrong}",
                help="free some space there",
                code="STATE-014",
            ) from wrong

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.DatabaseError, msgspec.DecodeError) as wrong:
            raise self._unusable(str(wrong)) from wrong

    def _unusable(self, why: str) -> StateError:
        return StateError(
            f"the local exchange's state {self._path} cannot be read: {why}",
            help=(
                "restore the file from a copy; without one begin anew: `brain paper` with another --state DIR,"
                f" `brain exchange` after mv {self._path} {self._path}.old"
            ),
        )
