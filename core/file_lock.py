"""A file that one process has at a time. The system lets go of it when the process ends, however it ends."""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

_FLOCK = struct.Struct("hhqqi4x")
"""struct flock of Linux: kind, whence, start, length, pid."""
_WHOLE_FILE = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)


def take(path: Path, mode: int = 0o600) -> int | None:
    """Have the lock file ``path``, which is made with ``mode``, until the handle is closed; None while somebody else has it.

    Raises:
        OSError: it cannot be made or opened.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode)
    try:
        fcntl.fcntl(handle, fcntl.F_OFD_SETLK, _WHOLE_FILE)
    except BlockingIOError:
        os.close(handle)
        return None
    except OSError:
        os.close(handle)
        raise
    return handle


def taken(path: Path) -> bool:
    """Whether somebody has the lock file. It is asked and not tried: who tries would stand in a starting process's way.

    Raises:
        OSError: it cannot be looked at.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        kind, *_ = _FLOCK.unpack(fcntl.fcntl(handle, fcntl.F_OFD_GETLK, _WHOLE_FILE))
    finally:
        os.close(handle)
    return bool(kind != fcntl.F_UNLCK)
