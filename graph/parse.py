"""Reading what people type: times, durations, speeds, lists of symbols."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from core.exec.entering import Entering, Entry
from core.exec.instrument import parse_symbol
from graph.exit_codes import UsageError

_DURATION = re.compile(r"^(\d{1,9}(?:\.\d{1,9})?)\s*(s|m|h|d)$")
_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


_PAPER_REPLAY = "brain paper --source replay --data DIR"


def parse_time(text: str, example: str = f"{_PAPER_REPLAY} --from 2024-01-01 --to 2024-02-01") -> int:
    """Milliseconds of ``2024-01-31``, ``2024-01-31T12:00`` or any RFC 3339 time; UTC unless an offset is given.

    Raises:
        UsageError: the text is none of these; ``example`` is a command with one.

    Example:
        >>> parse_time("1970-01-02")
        86400000
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"time was {text!r}, expected a date such as 2024-01-31 or a time such as 2024-01-31T12:00:00Z",
            help=example,
        ) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1000)


def parse_duration(text: str, example: str = f"{_PAPER_REPLAY} --unlock-after 24h") -> int:
    """Milliseconds of ``90s``, ``15m``, ``24h`` or ``2d``.

    Raises:
        UsageError: the text has another form; ``example`` is a command with one.

    Example:
        >>> parse_duration("24h")
        86400000
    """
    match = _DURATION.match(text.strip())
    if match is None:
        raise UsageError(
            f"duration was {text!r}, expected a number and a unit such as 90s, 15m, 24h or 2d",
            help=example,
        )
    return round(float(match[1]) * _UNIT_MS[match[2]])


def parse_speed(text: str, example: str = "brain paper --speed max") -> float | None:
    """Times real time; None for ``max``. ``example`` is what helps who typed something else.

    Raises:
        UsageError: neither ``max`` nor a number above zero.
    """
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise UsageError(f"speed was {text!r}, expected max or a number above zero (1 is real time)", help=example)
    return speed


def parse_backup(text: str | None) -> tuple[str, ...]:
    """Venues whose candles may stand in, in the order in which they are tried; none where nothing was given.

    Raises:
        UsageError: one is not known, or is the first venue itself.
    """
    known = ("bybit", "okx")
    names = tuple(dict.fromkeys(part.strip() for part in (text or "").split(",") if part.strip()))
    if any(name not in known for name in names) or not (names or text is None):
        raise UsageError(
            f"--backup was {text!r}, expected some of {', '.join(known)}, with commas between them", help="--backup bybit"
        )
    return names


def parse_entering(entry: str | None, slices: int | None) -> Entering:
    """What ``--entry`` and ``--slices`` ask for; None where one was not given.

    Raises:
        UsageError: they do not go together.

    Example:
        >>> print(parse_entering(None, 3))
        across in up to 3 slices
    """
    how = Entering(Entry(entry or Entry.ACROSS), slices or 1)
    if how.entry is Entry.MAKER and how.slices > 1:
        raise UsageError(
            f"--slices was {how.slices} with --entry maker: an entry that rests first is not cut",
            help="--entry maker, or --slices N",
        )
    return how


def parse_symbols(text: str | None) -> tuple[str, ...] | None:
    """Canonical symbols of a comma-separated list, each once; None when nothing was given.

    Raises:
        BrainError: a symbol has neither of the two accepted forms.
        UsageError: the list is empty.
    """
    if text is None:
        return None
    if not text.replace(",", "").strip():
        raise UsageError(f"--symbols was {text!r}, expected at least one", help="--symbols BTC/USDT:USDT,ETH/USDT:USDT")
    return tuple(dict.fromkeys(parse_symbol(part) for part in text.split(",") if part.strip()))
