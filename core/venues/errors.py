"""The venue's number in an error, whatever class ccxt has put around it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from core.errors import AccountRefused, BrainError, Unanswered

_NUMBER = re.compile(r'"code"\s*:\s*"?(-?\d+)')

NOT_KNOWN = frozenset({-2011, -2013})
"""The venue does not know the order: never there, gone, or not there yet."""
UNCHANGED = frozenset({-4046, -4059})
"""The setting is so already."""
OF_TIME = frozenset({-1021, -5028})
"""The request's time is not the venue's: sent too late, or signed by a wrong clock."""


class LeftAlone(Exception):
    """Nothing was sent: the venue wants to be left alone for ``retry_after_s`` seconds more."""

    http_status = 429

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"the exchange wants to be left alone for {retry_after_s:.0f} s")
        self.retry_after_s = retry_after_s


def not_listed(symbols: Sequence[str]) -> BrainError:
    """The refusal of symbols that the venue does not trade."""
    return AccountRefused(
        f"{', '.join(symbols)} not listed at the exchange",
        help="take it out of configs/symbols.yaml, or give --symbols",
        code="VENUE-002",
    )


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


NO_ANSWER = "LIVE-015"
"""Code of an account that cannot be asked now, and perhaps later."""
_KEY_UNKNOWN = frozenset({-2008, -2014, -2015})
_SIGNATURE_WRONG, _TIME_WRONG = -1022, -1021


def unusable(error: Exception) -> BrainError:
    """Why an account cannot be traded whose venue answered ``error`` to a question, with what to do about it."""
    code = code_of(error)
    if code in _KEY_UNKNOWN:
        return AccountRefused(
            f"the exchange does not take API_KEY ({code}): it is another, has no right to this, or not from this address",
            help="compare API_KEY with the key at the exchange, its rights and its list of addresses, then start again",
            code="LIVE-014",
        )
    if code == _SIGNATURE_WRONG:
        return AccountRefused(
            f"the exchange does not take API_SECRET ({code}): it does not belong to API_KEY",
            help="set API_KEY and API_SECRET of one and the same key, then start again",
            code="LIVE-014",
        )
    if code == _TIME_WRONG:
        return Unanswered(
            f"the exchange does not take this host's time ({code})",
            help="set the host's clock (timedatectl set-ntp true), then start again",
            code="LIVE-013",
        )
    if wait_s := retry_after_s(error):
        return Unanswered(
            f"the exchange wants to be left alone for {wait_s:.0f} s: it counted too many requests from this address",
            help="end what else asks it from here (another daemon, a download), and start again after that",
            code=NO_ANSWER,
        )
    return Unanswered(
        f"the account cannot be asked: {type(error).__name__}{'' if code is None else f' {code}'}",
        help="check the network and the exchange's status page, then start again",
        code=NO_ANSWER,
    )
