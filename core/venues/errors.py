"""The venue's number in an error, whatever class ccxt has put around it."""

from __future__ import annotations

import re

_NUMBER = re.compile(r'"code"\s*:\s*"?(-?\d+)')

NOT_KNOWN = frozenset({-2011, -2013})
"""The venue does not know the order: never there, gone, or not there yet."""
UNCHANGED = frozenset({-4046, -4059})
"""The setting is so already."""


def code_of(error: BaseException) -> int | None:
    """The venue's numeric code, or None where it gave none; a success code is none.

    Our own client notes it on the error; in the text of any other it stands as the venue wrote it.
    """
    code = getattr(error, "venue_code", None)
    if code is None:
        found = _NUMBER.search(str(error))
        code = int(found[1]) if found else None
    return code if code is not None and code < 0 else None


def status_of(error: BaseException) -> int | None:
    """The HTTP status of the answer, where there was one."""
    status = getattr(error, "http_status", None)
    return status if isinstance(status, int) else None


def retry_after_s(error: BaseException) -> float:
    """Seconds for which the venue wants to be left alone."""
    return float(getattr(error, "retry_after_s", 0.0))
