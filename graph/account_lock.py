"""One daemon for one API key and user of a machine, whatever folders it uses: a lock file that is named after the key.

The key itself stands nowhere: the file is named by a digest of it. The system lets go of the lock when the process ends, however
it ends. Another key of the same account, another user or machine is not noticed here but by the broker: orders of our form that
are not on its record halt the account (:attr:`core.exec.live.halts.HaltKind.OTHER_DAEMON`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from configs.durable import replace_file
from core.errors import StateError
from core.file_lock import take, taken
from core.venues.keys import Keys


def account_file(keys: Keys, environ: Mapping[str, str] | None = None) -> Path:
    """The lock file of an account's key: below ``XDG_STATE_HOME``, else ``~/.local/state``, so that every checkout shares it."""
    home = (os.environ if environ is None else environ).get("XDG_STATE_HOME") or "~/.local/state"
    name = hashlib.sha256(b"brain account\0" + keys.api_key.encode()).hexdigest()[:16]
    return Path(home).expanduser() / "brain" / "accounts" / f"{name}.lock"


def held(path: Path) -> bool:
    """Whether a daemon holds the lock.

    Raises:
        StateError: it cannot be looked at.
    """
    try:
        return taken(path)
    except OSError as error:
        raise _unusable(path, error) from error


@contextmanager
def holding(path: Path) -> Iterator[None]:
    """Hold the account's key while the block runs.

    Raises:
        StateError: another daemon trades with it, or the file cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = take(path)
    except OSError as error:
        raise _unusable(path, error) from error
    if handle is None:
        raise StateError(
            "another daemon on this machine trades with the same API key",
            help=f"stop it first; it holds {path}",
            code="STATE-013",
        )
    try:
        yield
    finally:
        os.close(handle)


def last_folder(path: Path) -> Path | None:
    """The state folder that was last traded with the key whose lock file is ``path``; None where none is on record."""
    try:
        return Path(_folder_note(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise _unusable(_folder_note(path), error) from error


def remember(path: Path, folder: Path) -> None:
    """Note, while the lock ``path`` is held, that ``folder`` is what the key trades with.

    Raises:
        StateError: it cannot be written.
    """
    note = _folder_note(path)
    try:
        replace_file(note, str(folder.resolve()).encode())
    except OSError as error:
        raise _unusable(note, error) from error


def _folder_note(path: Path) -> Path:
    return path.with_suffix(".folder")


def _unusable(path: Path, error: OSError | UnicodeDecodeError) -> StateError:
    return StateError(
        f"the account's lock file {path} cannot be used: {getattr(error, 'strerror', None) or error}",
        help="see that this account may read and write there, or name another place with XDG_STATE_HOME",
        code="STATE-002",
    )
