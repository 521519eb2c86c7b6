"""``brain doctor``: everything that a start needs, checked one by one, each with its remedy (K1)."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from configs.errors import ConfigError
from configs.folder import default_folder, with_configs
from configs.loader import load
from configs.lock import verify
from configs.validators import Environment
from core.errors import StateError
from core.exec.live.outbox_reader import standing
from core.types import TradingState
from graph.commands.common import last_alert, open_reader, read_environment, saved_state
from graph.console import Answer, Console, run_command
from graph.exit_codes import ExitCode
from graph.session_dir import SessionDir

SCHEMA = "brain.doctor/1"
_NEEDED = (
    "ccxt",
    "langgraph",
    "loguru",
    "msgspec",
    "numpy",
    "pandas",
    "prometheus_client",
    "pyarrow",
    "pydantic",
    "talib",
    "typer",
)
_FREE_BYTES = 1_000_000_000
"""Half a year of records and logs of a busy paper run stays well below this."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: ``ok``, what was seen, and what to do when it is not well."""

    name: str
    ok: bool
    seen: str
    remedy: str = ""


def run_doctor(*, configs: Path | None, state: Path | None, json: bool, color: str) -> int:
    """Run the checks: 0 when all are well, 2 for configuration, 4 for the surroundings."""
    console = Console(color=color, json=json)
    return run_command(console, SCHEMA, lambda: _doctor(configs or default_folder(), state))


def _doctor(configs: Path, state: Path | None) -> Answer:
    checks = [
        _python(),
        _packages(),
        _configuration(configs),
        _governance(configs),
        _environment(),
        _port(),
        _folder(state or Path("var")),
    ]
    if state is not None and SessionDir.holds_one(state):
        checks.append(_session(state))
    lines = [f"{'ok  ' if check.ok else 'FAIL'}  {check.name:14} {check.seen}" for check in checks]
    lines += [f"      help: {check.name}: {check.remedy}" for check in checks if not check.ok]
    failed = [check.name for check in checks if not check.ok]
    code = ExitCode.DONE
    if failed:
        code = ExitCode.USAGE if {"configuration", "environment"} & set(failed) else ExitCode.SURROUNDINGS
        code = {"governance": ExitCode.REFUSED, "session": ExitCode.PERSON}.get(failed[0], code) if len(failed) == 1 else code
    return Answer({"checks": checks, "failed": failed}, "\n".join(lines), code)


def _python() -> Check:
    seen = ".".join(str(part) for part in sys.version_info[:3])
    return Check("python", sys.version_info >= (3, 11), seen, "use Python 3.11 or later: `make setup` makes the environment")


def _packages() -> Check:
    missing = [name for name in _NEEDED if find_spec(name) is None]
    seen = f"{len(_NEEDED) - len(missing)} of {len(_NEEDED)} there" + (f", missing {', '.join(missing)}" if missing else "")
    return Check("packages", not missing, seen, "make setup")


def _configuration(folder: Path) -> Check:
    return _guarded("configuration", f"{folder} is valid", lambda: load(folder), "mend what is named above", locked_is_fine=True)


def _guarded(name: str, seen: str, look: Callable[[], object], remedy: str, *, locked_is_fine: bool = False) -> Check:
    try:
        look()
    except ConfigError as error:
        if locked_is_fine and error.exit_code == ExitCode.REFUSED:
            return Check(name, True, seen)
        return Check(name, False, error.what, error.help or remedy)
    return Check(name, True, seen)


def _governance(folder: Path) -> Check:
    try:
        status = verify(folder)
    except ConfigError as error:
        return Check("governance", False, error.what, error.help)
    return Check(
        "governance",
        status.ok,
        f"{status.state.value}, digest {status.digest[:12]}",
        f"have it reviewed, then {with_configs('brain governance sign', folder)}",
    )


def _environment() -> Check:
    return _guarded("environment", "variables are valid", read_environment, "compare with .env.example")


def _port() -> Check:
    try:
        port = read_environment().prometheus_port
    except ConfigError:
        port = Environment().prometheus_port
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            remedy = "choose another: PROMETHEUS_PORT=9109 brain paper (0 lets the system choose)"
            return Check("metrics port", False, f"{port}: {error.strerror}", remedy)
    return Check("metrics port", True, f"{port} is free")


def _session(state: Path) -> Check:
    with open_reader(state) as reader:
        halted, why = saved_state(reader) is TradingState.HALTED, last_alert(reader, "kill_switch")
    if halted:
        return Check("session", False, f"halted by the kill-switch: {why}", f"look into it, then brain unlock --state {state}")
    try:
        halts = standing(SessionDir(state, create=False).orders).halts
    except StateError as error:
        return Check("session", False, error.what, "look at the file, and at the exchange")
    if halts:
        seen = "; ".join(f"{halt.where}: {halt.text}" for halt in halts)
        return Check("session", False, f"nothing is opened on {seen}", f"look at the exchange, then brain accept --state {state}")
    return Check("session", True, "not halted")


def _folder(state: Path) -> Check:
    there = state
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    writable = there.is_dir() and os.access(there, os.W_OK | os.X_OK)
    seen = f"{state}: {'writable' if writable else 'not writable'}, {free / 1e9:.1f} GB free"
    return Check("state folder", writable and free >= _FREE_BYTES, seen, "choose another: brain paper --state DIR")
