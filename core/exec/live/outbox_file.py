"""The outbox's file: one process alone has it, and no write of it that was waited for is lost, nor any before it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from core.errors import StateError
from core.exec.live.outbox_schema import CREATE, SCHEMA_VERSION
from core.file_lock import take


def lock(path: Path) -> int:
    """Hold ``<file>.lock``.

    Raises:
        StateError: another process holds it.
    """
    handle = take(path.with_name(path.name + ".lock"))
    if handle is None:
        raise StateError(
            f"outbox {path} is in use by another run",
            help="stop that run; two runs must never trade on one account",
            code="LIVE-001",
        )
    return handle


def connect(path: Path) -> sqlite3.Connection:
    """Open the file, or make it.

    Raises:
        StateError: it is of another version.
    """
    db = sqlite3.connect(path, isolation_level=None, timeout=0)
    try:
        empty = db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0] == 0
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if not empty and version != SCHEMA_VERSION:
            raise StateError(
                f"outbox {path} is of version {version}, expected {SCHEMA_VERSION}",
                help="go on with the release that wrote it until all is flat, then give another --state DIR",
                code="LIVE-004",
            )
        # EXTRA for the switch alone: else the unlink of the old journal may be undone by a loss of power
        for pragma in ("synchronous=EXTRA", "journal_mode=WAL", "synchronous=FULL"):
            db.execute(f"PRAGMA {pragma}")
        if empty:
            db.execute("BEGIN IMMEDIATE")
            for statement in CREATE:
                db.execute(statement)
            db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
            db.execute("COMMIT")
    except BaseException:
        db.close()
        raise
    return db


def wait_for_disk(db: sqlite3.Connection, *, wait: bool) -> None:
    """Whether the next commit returns only when it is on the disk, with all before it, or as soon as the system has it."""
    db.execute("PRAGMA synchronous=FULL" if wait else "PRAGMA synchronous=NORMAL")
