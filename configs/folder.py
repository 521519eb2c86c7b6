"""Where the configuration is, and how a command that is about it must be typed."""

from __future__ import annotations

import shlex
from pathlib import Path


def default_folder() -> Path:
    """The configuration that comes with the program."""
    return Path(__file__).resolve().parent


def with_configs(command: str, folder: Path) -> str:
    """``command``, to be typed so that it is about ``folder``.

    Example:
        >>> with_configs("brain governance sign", Path("my limits"))
        "brain governance sign --configs 'my limits'"
    """
    return command if folder.resolve() == default_folder() else f"{command} --configs {shlex.quote(str(folder))}"
