"""A session of other code, or of another configuration than today's: said before anything is made again, and on every answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from configs.validators import Configuration
from core.errors import BrainError
from core.journal.records import Opening
from graph.opening import code_in_use, configuration_of, known_configuration_of
from graph.other_code import OtherCode, check_code, code_words, recorded_by_other

_OTHER_CODE = "use the version that recorded it, or see what this one makes of it: brain why --other-code"
ANOTHER_CONFIGURATION = "today's configuration differs"


def labels_of(recorded: Sequence[Opening], today: str | None, *, other_code: bool) -> tuple[str, ...]:
    """What makes an explanation another thing than the session as it was: under other code; configuration changed since.

    Args:
        recorded: what the session says of itself where it is looked at.
        today: digest of the configuration that is in force; None where there is none that can be used, "" where nobody asks.
        other_code: whether it is known that other code may have recorded it.

    Raises:
        OtherCode: other code did, and nobody said that this is known.
    """
    other = check_code(recorded, other_code=other_code, help_=_OTHER_CODE)
    found = [] if other is None else [other]
    digest = reading(other_code=other_code)(recorded[-1]).digest
    if today not in ("", digest):
        is_now = "none that can be used" if today is None else today[:12]
        found.append(f"{ANOTHER_CONFIGURATION}: it is {is_now}, the session has its own, {digest[:12]}")
    return tuple(found)


def reading(*, other_code: bool) -> Callable[[Opening], Configuration]:
    """How the session's own configuration is read: of other code also where this one does not know all of its keys."""
    return known_configuration_of if other_code else configuration_of


@contextmanager
def made_again(recorded: Sequence[Opening]) -> Iterator[None]:
    """Where what other code left behind is taken over: what goes wrong then is no fault of this code.

    Raises:
        OtherCode: its state or its records are of another form.
    """
    try:
        yield
    except BrainError:
        raise
    except Exception as error:
        other = recorded_by_other(recorded)
        if other is None:
            raise
        raise OtherCode(
            f"the session was recorded by other code, version {code_words(other.code)}, and what that kept cannot be taken over "
            f"by this one, {code_words(code_in_use())} ({type(error).__name__}: {error})",
            help="use the version that recorded the session",
        ) from error
