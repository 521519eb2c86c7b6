"""The exchange's state on disk, so that it survives its own restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from core.errors import StateError

FORMAT = 1


class StateFile:
    """One file, replaced in one step: after a kill it is the old one or the new one, never half of one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._draft = path.with_name(path.name + ".tmp")
        path.parent.mkdir(parents=True, exist_ok=True)

    def load(self) -> dict[str, Any] | None:
        """What was saved; None where nothing was.

        Raises:
            StateError: the file is damaged or of another format.
        """
        try:
            raw = self._path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            state = msgspec.json.decode(raw, type=dict[str, Any])
        except msgspec.DecodeError as wrong:
            raise self._unusable(str(wrong)) from wrong
        if state.get("format") != FORMAT:
            raise self._unusable(f"its format is {state.get('format')}, expected {FORMAT}")
        return state

    def save(self, state: dict[str, Any]) -> None:
        """Replace what was saved."""
        self._draft.write_bytes(msgspec.json.encode({"format": FORMAT, **state}))
        self._draft.replace(self._path)

    def _unusable(self, why: str) -> StateError:
        return StateError(
            f"the local exchange's state {self._path} cannot be read: {why}",
            help=f"move the file away to begin with a new account: mv {self._path} {self._path}.old",
        )
