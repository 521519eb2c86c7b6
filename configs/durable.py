"""Files that outlive a loss of power: what is replaced is there whole, as it was or as it is now.

It is in the lowest room because signatures are written by it as well as sessions and recordings.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path


def replace_file(path: Path, content: bytes) -> None:
    """Put a small file at ``path`` in one step. Two processes that do so at a time do not meet: each has its own draft.

    Raises:
        OSError: the disk is full or may not be written; what is at ``path`` is whole then too.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_bytes(content)
        put_in_place(draft, path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise


def put_in_place(draft: Path, path: Path) -> None:
    """Give a finished file its name, in the same folder, once its content is on the disk; then the name is too.

    Raises:
        OSError: the disk is full or may not be written.
    """
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make names in ``folder`` outlive a loss of power.

    Raises:
        OSError: the disk does not take it.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def no_space(error: OSError) -> bool:
    """Whether a disk, or this account's share of it, is full: free some, and the same goes well."""
    return error.errno in {errno.ENOSPC, errno.EDQUOT}
