"""What comes in between two bars that is not market: a person's unlock, a touched governance file, a journal that fails."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Generic, Protocol, TypeVar

from core.errors import StateError
from core.journal.records import Word
from graph.session_dir import SessionDir, UnlockRequest


class WordKind(StrEnum):
    """What a :class:`core.journal.records.Word` is about."""

    UNLOCK = "unlock"
    """A person lifts the kill-switch: ``who``, and why in ``text``."""
    GOVERNANCE_CHANGED = "governance_changed"
    """The locked limits are not those that were signed."""
    JOURNAL_LOST = "journal_lost"
    """The journal cannot be written: ``text`` says why. Entries stop."""
    JOURNAL_BACK = "journal_back"
    """It can be again, and nothing is missing."""
    RESUMED = "resumed"
    """The run was started again and goes on from here; the limits in force are signed."""
    SHUTDOWN = "shutdown"
    """The run ends and closes what is open; said between two bars."""
    TRANSFER = "transfer"
    """The owner paid in or took out ``text`` USD (negative), at the time (ms) in ``ref``."""
    ACCEPTED = "accepted"
    """A person settled what halted: ``who``, and what and why in ``text``. What the books hear of it are the venue's events."""
    UNEXPLAINED = "unexplained"
    """The account holds ``text`` USD more than the books, and nobody knows why; transfers up to ``ref`` (ms) are in it."""
    LATE_TRANSFER = "late_transfer"
    """The owner had paid in ``text`` USD, or taken out, at the time (ms) in ``ref``: what was unexplained by it is no result."""


Note = TypeVar("Note")


class NoteReader(Generic[Note]):
    """Reads a person's note; a damaged one is told once and passed over, since it must end no run.

    Args:
        read: gives the note, None where there is none; raises StateError where it is damaged.
        tell: told what is damaged, and what to do.
    """

    def __init__(self, read: Callable[[], Note | None], tell: Callable[[str], None]) -> None:
        self._read, self._tell = read, tell
        self._told = False

    def __call__(self) -> Note | None:
        try:
            note = self._read()
        except StateError as error:
            if not self._told:
                self._tell(f"{error.what}, and is passed over: {error.help}")
            self._told = True
            return None
        self._told = False
        return note


class Words(Protocol):
    """Where a run hears them."""

    def heard(self, ts: int) -> Iterable[Word]:
        """What came in since the last look; ``ts`` is the time of the last bar."""
        ...

    def done(self, word: Word) -> None:
        """What ``word`` asked for is on the disk."""
        ...


class FolderWords:
    """Hears a person in the session's folder, and the file system.

    Args:
        folder: where an unlock may wait.
        governance_changed: whether the locked file was touched.
        journal_failure: why the journal cannot be written; None while it can.
        every: how many calls there are to one look at the folder; the first call looks.
        on_damaged: told of a note that cannot be read.
    """

    def __init__(
        self,
        folder: SessionDir,
        governance_changed: Callable[[], bool] = lambda: False,
        journal_failure: Callable[[], str | None] = lambda: None,
        every: int = 1,
        on_damaged: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._waiting_unlock = NoteReader(folder.waiting_unlock, on_damaged)
        self._waiting_accept = NoteReader(folder.waiting_accept, on_damaged)
        self._folder, self._governance_changed, self._journal_failure = folder, governance_changed, journal_failure
        self._every, self._calls = every, 0
        self._unlock_told: UnlockRequest | None = None
        self._governance_told = False
        self._journal_lost = False

    def heard(self, ts: int) -> list[Word]:
        words: list[Word] = []
        failure = self._journal_failure()
        if (failure is not None) is not self._journal_lost:
            self._journal_lost = failure is not None
            kind = WordKind.JOURNAL_LOST if self._journal_lost else WordKind.JOURNAL_BACK
            words.append(Word(ts, kind.value, text=failure or ""))
        if self._calls % self._every == 0:
            words += self._in_folder(ts)
        self._calls += 1
        return words

    def _in_folder(self, ts: int) -> list[Word]:
        words: list[Word] = []
        request = self._waiting_unlock()
        if request is not None and request != self._unlock_told:
            words.append(Word(ts, WordKind.UNLOCK.value, request.who, request.reason, request.ref))
        self._unlock_told = request
        changed = self._governance_changed()
        if changed and not self._governance_told:
            words.append(Word(ts, WordKind.GOVERNANCE_CHANGED.value))
        self._governance_told = changed
        return words

    def done(self, word: Word) -> None:
        """The word is on the disk: its note is taken away, unless another one lies there by now."""
        if word.kind == WordKind.UNLOCK and self._waiting_unlock() == UnlockRequest(word.text, word.who, word.ref):
            self._folder.drop_unlock()
            self._unlock_told = None
        if word.kind == WordKind.ACCEPTED:
            waiting = self._waiting_accept()
            if waiting is not None and waiting.ref == word.ref:
                self._folder.drop_accept()
