"""Which code recorded a session."""

from __future__ import annotations

from collections.abc import Sequence

from core.journal.records import Opening
from graph.opening import code_in_use
from graph.stepping.errors import OtherCode


def check_code(recorded: Sequence[Opening], *, other_code: bool, help_: str) -> str | None:
    """What to say of the code that recorded a session where it is not this one; None where it is.

    Raises:
        OtherCode: it is not, and ``other_code`` does not say that this is known; ``help_`` is what to do then.
    """
    now = code_in_use()
    same = {name: now[name] for name in ("version", "source")}
    other = next((opening for opening in recorded if not same.items() <= opening.code.items()), None)
    if other is None:
        return None
    then, present = (f"{code['version']} ({code['source'][:12]})" for code in (other.code, now))
    if not other_code:
        raise OtherCode(f"the session was recorded by version {then}, this is {present}", help=help_)
    return f"under other code: recorded by {then}, made again by {present}"
