"""Where a name was made, by the session's own records: they know the times of plans, and are quicker asked than a year is read.

Only a convenience: what they say is looked up in the journal, and without them the journal is searched.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FIND = """\
SELECT id, ts FROM plans WHERE id = :name OR id = rtrim((SELECT plan_id FROM orders WHERE client_id = :name), '+')
UNION ALL SELECT id, ts FROM signals WHERE id = :name LIMIT 1"""
_EVERY = "SELECT id FROM plans UNION ALL SELECT id FROM signals UNION ALL SELECT client_id FROM orders"


@dataclass(frozen=True, slots=True)
class Named:
    """A plan or a signal by its id, and the close of the bar in which it was made (ms)."""

    id: str
    ts: int


class Names:
    """Names in the database at ``path``; None stands for none."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def find(self, name: str) -> Named | None:
        """The plan or signal called ``name``, or the plan of the order called so; None where the records do not know it."""
        rows = self._ask(_FIND, {"name": name})
        return Named(str(rows[0][0]), int(rows[0][1])) if rows else None

    def every(self) -> list[str]:
        """All plans, signals and orders by id."""
        return [str(row[0]) for row in self._ask(_EVERY, {})]

    def _ask(self, sql: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
        if self._path is None or not self._path.is_file():
            return []
        # A database at rest is opened as one that nobody changes: SQLite would leave files of its own beside it.
        how = "mode=ro" if self._path.with_name(f"{self._path.name}-wal").exists() else "immutable=1"
        try:
            with closing(sqlite3.connect(f"{self._path.resolve().as_uri()}?{how}", uri=True)) as db:
                return db.execute(sql, values).fetchall()
        except sqlite3.Error:
            return []
