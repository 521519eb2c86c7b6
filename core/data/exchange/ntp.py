"""What the host's kernel knows of its own clock (X27); only Linux tells."""

from __future__ import annotations

import ctypes
import sys

_UNSYNCHRONISED = 0x0040
_IN_NANOSECONDS = 0x2000


class _Timex(ctypes.Structure):
    """The beginning of the kernel's ``struct timex`` and room for the rest."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 512),
    )


def ntp_drift_ms() -> float | None:
    """How far the clock is off by the kernel's own account (ms): the worse of offset and estimated error.

    None where nobody keeps the clock by NTP, or the system does not tell.
    """
    if not sys.platform.startswith("linux"):
        return None
    try:
        told = _Timex()
        state = ctypes.CDLL(None).adjtimex(ctypes.byref(told))
    except (OSError, AttributeError):  # no such call in this C library
        return None
    return None if state < 0 else drift_of(told.offset, told.esterror, told.status)


def drift_of(offset: int, esterror_us: int, status: int) -> float | None:
    """The same, from what the call gave.

    Example:
        >>> drift_of(-1_500, 400, 0)
        1.5
        >>> drift_of(0, 16_000_000, 0x40) is None
        True
    """
    if status & _UNSYNCHRONISED:
        return None
    per_ms = 1e6 if status & _IN_NANOSECONDS else 1e3
    return max(abs(offset) / per_ms, esterror_us / 1e3)
