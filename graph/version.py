"""The version of this installation: its number, and a digest of the very code that runs."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

try:
    VERSION = version("brain-trader")
except PackageNotFoundError:  # run from a checkout that was never installed
    VERSION = "0+checkout"

_ROOMS = ("agents", "configs", "core", "graph", "tools")
"""Whatever a decision may depend on."""


@cache
def source_digest() -> str:
    """SHA-256 over the Python source of every room that a decision may depend on, hex."""
    root = Path(__file__).resolve().parents[1]
    found = hashlib.sha256()
    for room in _ROOMS:
        for path in sorted((root / room).rglob("*.py")):
            found.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return found.hexdigest()
