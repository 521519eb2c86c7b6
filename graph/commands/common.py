"""What several commands need: configuration, environment, time in words."""

from __future__ import annotations

import getpass
import os
from collections.abc import Sequence
from datetime import datetime, tzinfo
from pathlib import Path

import msgspec

from configs.environment import load_environment
from configs.loader import default_folder, load
from configs.validators import Configuration, Environment
from core.exec.live.halts import Halt, HaltKind
from core.monitor.reader import StoreReader
from core.types import TradingState
from graph.session_dir import SessionDir

ENV_FILE = Path(".env")
_SETTLES = {
    HaltKind.FOREIGN_ORDER: "cancel that order at the exchange, and it goes on by itself",
    HaltKind.UNCOVERED: "look at the exchange at once; it goes on by itself when the position is covered, or closed",
    HaltKind.MARGIN: "close what is open there, or set it at the exchange, then start again",
    HaltKind.UNPROVEN: "meet what is not met, then start again",
}
"""What settles a halt that no person's word does; the others are looked at again and again."""


def read_environment() -> Environment:
    """The process's variables over those of ``.env`` in the working folder. Raises ConfigError."""
    return load_environment(ENV_FILE if ENV_FILE.is_file() else None, os.environ)


def read_configuration(folder: Path | None) -> tuple[Configuration, Path]:
    """Checked configuration and the folder it came from. Raises ConfigError."""
    where = folder or default_folder()
    return load(where), where


def say_time(ts_ms: int, zone: tzinfo) -> str:
    """A time for people, in ``zone`` (the owner's ``TZ``): ``2024-01-31 14:00+02:00``."""
    return datetime.fromtimestamp(ts_ms / 1000, zone).isoformat(" ", "minutes")


def secrets_of(environment: Environment) -> tuple[str, ...]:
    """Values that must never be written anywhere."""
    values = (environment.api_key, environment.api_secret, environment.openai_api_key)
    return tuple(value.get_secret_value() for value in values if value.get_secret_value())


def remedy_of(halts: Sequence[Halt], state: str = "DIR") -> str:
    """What a person can do about ``halts`` of the session in ``state``, each thing once: only what settles them."""
    return "; ".join(dict.fromkeys(_remedy(halt.kind, state) for halt in halts))


def _remedy(kind: HaltKind, state: str) -> str:
    if kind.by_person or kind.of_position:
        return f"look at the exchange, then `brain accept --state {state}`"
    return _SETTLES.get(kind, "it goes on by itself when that is settled")


def who_asks() -> str:
    """Name of the person at the terminal, for the record; the number of the account where it has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return f"uid {os.getuid()}"


def open_reader(state: Path) -> StoreReader:
    """The records of a session, for reading only; a running daemon is not disturbed.

    Raises:
        StateError: the folder holds no session.
    """
    return StoreReader(SessionDir(state, create=False).database)


def saved_state(reader: StoreReader) -> TradingState | None:
    """What the system might do at the last decision on record; None before the first."""
    rows = reader.query("SELECT record FROM decisions ORDER BY seq DESC LIMIT 1")
    return TradingState(msgspec.msgpack.decode(rows[0][0])["state"]) if rows else None


def last_alert(reader: StoreReader, code: str) -> str:
    """Text of the latest alert of ``code``; empty when there was none."""
    rows = reader.query("SELECT message FROM alerts WHERE code = ? ORDER BY ts DESC LIMIT 1", (code,))
    return str(rows[0][0]) if rows else ""
