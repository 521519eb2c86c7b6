"""Whether a session was recorded by this code: what is made again by another is said so, and only where that is known."""

from __future__ import annotations

from collections.abc import Sequence

from core.errors import BrainError
from core.journal.records import Opening
from graph.opening import code_in_use

UNDER_OTHER_CODE = "under other code"
_SAME = ("version", "source")


class OtherCode(BrainError):
    """A session is made again by the code that recorded it, unless somebody wants to see what other code does."""

    default_code = "REPLAY-002"
    exit_code = 3


def check_code(recorded: Sequence[Opening], *, other_code: bool, help_: str) -> str | None:
    """What to say of the code that recorded a session where it is not this one; None where it is.

    Raises:
        OtherCode: it is not, and ``other_code`` does not say that this is known; ``help_`` is what to do then.
    """
    other = recorded_by_other(recorded)
    if other is None:
        return None
    then, now = code_words(other.code), code_words(code_in_use())
    if not other_code:
        raise OtherCode(f"the session was recorded by version {then}, this is {now}", help=help_)
    return f"{UNDER_OTHER_CODE}: recorded by {then}, made again by {now}"


def recorded_by_other(recorded: Sequence[Opening]) -> Opening | None:
    """The first of these that other code wrote."""
    now = code_in_use()
    same = {name: now[name] for name in _SAME}.items()
    return next((opening for opening in recorded if not same <= opening.code.items()), None)


def code_words(code: dict[str, str]) -> str:
    """A version and the digest of its source, for people."""
    return f"{code['version']} ({code['source'][:12]})"
