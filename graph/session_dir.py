"""A run's folder: database, logs, reports, and the place where a person leaves an unlock."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from configs.durable import replace_file
from core.errors import StateError
from core.journal.writer import way_out

_DATABASE = "brain.sqlite"
_JOURNAL = "journal"
_ORDERS = "orders.sqlite"


@dataclass(frozen=True, slots=True)
class UnlockRequest:
    """A person's decision to lift the kill-switch, left for the daemon to find.

    ``ref`` is its own: the same words said twice are two decisions.
    """

    reason: str
    who: str
    ref: str = field(default_factory=lambda: secrets.token_hex(8))


@dataclass(frozen=True, slots=True)
class Accepted:
    """One thing that a person settles: a reason by its symbol, kind and ref; ``venue``: the position that was shown."""

    symbol: str
    kind: str
    ref: str
    venue: str


@dataclass(frozen=True, slots=True)
class AcceptRequest:
    """A person's word on what halts a session at an exchange, left for the daemon to find; ``ref`` is its own."""

    reason: str
    who: str
    items: tuple[Accepted, ...]
    ref: str = field(default_factory=lambda: secrets.token_hex(8))


Request = TypeVar("Request", UnlockRequest, AcceptRequest)


def writable(root: Path) -> bool:
    """Whether a session may be kept in ``root``, or go on there; it need not be there yet."""
    there = root
    try:
        while not there.exists():
            there = there.parent
        files = [one for one in (root / _DATABASE, root / _ORDERS) if one.exists()]
    except PermissionError:
        return False
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK) and all(os.access(one, os.W_OK) for one in files)


class SessionDir:
    """Layout of a run's folder.

    Args:
        root: the folder.
        create: make it when it is not there; else it must be.

    Raises:
        StateError: the folder can't be made, or is not there.
    """

    def __init__(self, root: Path, *, create: bool = True) -> None:
        self.root = root
        if not create:
            if not (self.holds_journal(root) or self.holds_one(root)):
                raise StateError(
                    f"there is no session in {root}", help="name the folder that `brain paper --state DIR` used", code="STATE-005"
                )
            return
        try:
            for folder in (root, self.logs, self.reports):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StateError(
                f"state folder {root} can't be made: {error.strerror}",
                help=way_out(error, "give another one with --state DIR"),
                code="STATE-002",
            ) from error

    @classmethod
    def at(cls, root: Path) -> SessionDir:
        """The session in ``root``, to read its journal."""
        return cls(root, create=False)

    @classmethod
    def holds_one(cls, root: Path) -> bool:
        """Whether ``root`` holds a session's records."""
        return (root / _DATABASE).is_file()

    @classmethod
    def at_exchange(cls, root: Path) -> bool:
        """Whether ``root`` holds a session that has an outbox of orders."""
        return os.path.isfile(root / _ORDERS)  # noqa: PTH113 - of a folder that may not be looked into nothing is known

    @classmethod
    def holds_journal(cls, root: Path) -> bool:
        """Whether ``root`` holds a session's journal, also where its records are lost; or may, where nobody can look."""
        try:
            return (root / _JOURNAL).is_dir()
        except PermissionError:
            return True

    @property
    def database(self) -> Path:
        """The SQLite file of decisions, orders and trades; the store holds its lock."""
        return self.root / _DATABASE

    @property
    def journal(self) -> Path:
        """Folder of the session journal."""
        return self.root / _JOURNAL

    @property
    def orders(self) -> Path:
        """The outbox of a session at an exchange; another has none."""
        return self.root / _ORDERS

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def reports(self) -> Path:
        return self.root / "reports"

    @property
    def _unlock(self) -> Path:
        return self.root / "unlock.json"

    def request_unlock(self, request: UnlockRequest) -> None:
        """Leave an unlock for the running daemon, or for the next start; replaced atomically."""
        _leave(self._unlock, request)

    def waiting_unlock(self) -> UnlockRequest | None:
        """The unlock that a person left; None when there is none.

        Raises:
            StateError: the request can't be read; it stays where it is.
        """
        return _waiting(self._unlock, _unlock_of, "brain unlock")

    def drop_unlock(self) -> None:
        """Take the waiting unlock away, after what it did is on the disk."""
        self._unlock.unlink(missing_ok=True)

    @property
    def _accept(self) -> Path:
        return self.root / "accept.json"

    def request_accept(self, request: AcceptRequest) -> None:
        """Leave what a person accepted for the running daemon, or for the next start; replaced atomically."""
        _leave(self._accept, request)

    def waiting_accept(self) -> AcceptRequest | None:
        """What a person accepted; None when nothing waits.

        Raises:
            StateError: the request can't be read; it stays where it is.
        """
        return _waiting(self._accept, _accept_of, "brain accept")

    def drop_accept(self) -> None:
        """Take the waiting request away, after what it did is on the disk."""
        self._accept.unlink(missing_ok=True)


def _unlock_of(asked: Any) -> UnlockRequest:
    return UnlockRequest(**{"ref": "", **asked})  # one that was written by hand has none


def _accept_of(asked: Any) -> AcceptRequest:
    return AcceptRequest(**{**asked, "items": tuple(Accepted(**item) for item in asked["items"])})


def _leave(note: Path, request: UnlockRequest | AcceptRequest) -> None:
    replace_file(note, json.dumps(asdict(request)).encode())


def _waiting(note: Path, decode: Callable[[Any], Request], command: str) -> Request | None:
    """What a person left with ``command``; None when there is nothing.

    Raises:
        StateError: it can't be read; it stays where it is.
    """
    if not note.exists():
        return None
    try:
        return decode(json.loads(note.read_text(encoding="utf-8")))
    except (ValueError, TypeError, KeyError, OSError) as error:
        help_text = f"delete it, then run `{command}` again"
        raise StateError(f"request {note} is damaged", help=help_text) from error
