"""A run's folder: database, logs, reports, and the place where a person leaves an unlock."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path

from core.errors import StateError
from core.journal.segments import sync_folder
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
        if not self._unlock.exists():
            return None
        try:
            return UnlockRequest(**{"ref": "", **json.loads(self._unlock.read_text(encoding="utf-8"))})
        except (ValueError, TypeError, OSError) as error:
            help_text = "delete it, then run `brain unlock` again"
            raise StateError(f"unlock request {self._unlock} is damaged", help=help_text) from error

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
        if not self._accept.exists():
            return None
        try:
            asked = json.loads(self._accept.read_text(encoding="utf-8"))
            return AcceptRequest(**{**asked, "items": tuple(Accepted(**item) for item in asked["items"])})
        except (ValueError, TypeError, KeyError, OSError) as error:
            help_text = "delete it, then run `brain accept` again"
            raise StateError(f"request {self._accept} is damaged", help=help_text) from error

    def drop_accept(self) -> None:
        """Take the waiting request away, after what it did is on the disk."""
        self._accept.unlink(missing_ok=True)


def _leave(note: Path, request: UnlockRequest | AcceptRequest) -> None:
    draft = note.with_suffix(".tmp")
    with draft.open("w", encoding="utf-8") as file:
        file.write(json.dumps(asdict(request)))
        file.flush()
        os.fsync(file.fileno())  # a power cut must not leave the name without the words
    draft.replace(note)
    sync_folder(note.parent)
