"""``brain doctor``: everything that a start needs, checked one by one, each with its remedy (K1)."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from importlib.util import find_spec
from pathlib import Path
from zoneinfo import ZoneInfo

from configs.errors import ConfigError
from configs.folder import default_folder, with_configs
from configs.loader import load
from configs.lock import verify
from configs.validators import Environment
from core.clock import SystemClock
from core.errors import StateError
from core.exec.live.outbox_reader import Standing, standing
from core.journal.reader import JournalReader
from core.monitor.provenance import Orders
from core.monitor.reader import StoreReader
from core.monitor.store import in_use
from core.types import Timeframe, TradingState
from core.venues.words import ZERO
from graph.commands.common import last_alert, open_reader, read_environment, remedy_of, saved_state, say_time
from graph.console import Answer, Console, run_command
from graph.exit_codes import ExitCode
from graph.opening import info_of
from graph.session_dir import SessionDir, writable

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
_SILENT_BARS = 3
"""At an exchange a bar is written as it closes: after so many without a word something hangs."""
_NEEDS_A_PERSON = {"session", "daemon"}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: ``ok``, what was seen, and what to do when it is not well."""

    name: str
    ok: bool
    seen: str
    remedy: str = ""


def run_doctor(*, configs: Path | None, state: Path | None, json: bool, color: str) -> int:
    """Run the checks: 0 when all are well, 5 where a person is needed, 2 for configuration, 4 for the surroundings."""
    console = Console(color=color, json=json)
    return run_command(console, SCHEMA, lambda: _doctor(configs or default_folder(), state))


def _doctor(configs: Path, state: Path | None) -> Answer:
    folder = _folder(state or Path("var"))
    runs = _runs(state)
    session = [] if state is None else _of_session(state, runs=runs, readable=folder.ok)
    checks = [
        _python(),
        _packages(),
        _configuration(configs),
        _governance(configs),
        _environment(),
        _port(taken_is_fine=runs),
        folder,
        *session,
    ]
    lines = [f"{'ok  ' if check.ok else 'FAIL'}  {check.name:14} {check.seen}" for check in checks]
    lines += [f"      help: {check.name}: {check.remedy}" for check in checks if not check.ok]
    failed = [check.name for check in checks if not check.ok]
    return Answer({"checks": checks, "failed": failed}, "\n".join(lines), _code(failed))


def _code(failed: Sequence[str]) -> ExitCode:
    """A halt outweighs all else: whoever watches by this code must not take it for a port that is taken."""
    if not failed:
        return ExitCode.DONE
    if _NEEDS_A_PERSON & set(failed):
        return ExitCode.PERSON
    if {"configuration", "environment"} & set(failed):
        return ExitCode.USAGE
    return ExitCode.REFUSED if failed == ["governance"] else ExitCode.SURROUNDINGS


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


def _port(*, taken_is_fine: bool) -> Check:
    try:
        port = read_environment().prometheus_port
    except ConfigError:
        port = Environment().prometheus_port
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if taken_is_fine:
                return Check("metrics port", True, f"{port} is taken, as a daemon that runs has it")
            remedy = "choose another: PROMETHEUS_PORT=9109 brain paper (0 lets the system choose)"
            return Check("metrics port", False, f"{port}: {error.strerror}", remedy)
    return Check("metrics port", True, f"{port} is free")


def _runs(state: Path | None) -> bool:
    """Whether a daemon has the folder: the lock of its records is let go of however it ends."""
    try:
        return state is not None and SessionDir.holds_one(state) and in_use(SessionDir(state, create=False).database)
    except (StateError, PermissionError):
        return False


def _of_session(state: Path, *, runs: bool, readable: bool) -> list[Check]:
    """What the folder's session is like; where it cannot be looked at and the folder is to blame, that was told."""
    try:
        if not SessionDir.holds_one(state):
            return []
        folder = SessionDir(state, create=False)
        with open_reader(state) as reader:
            stands = _standing(folder)
            return [_daemon(folder, reader, stands, runs=runs), _halted(folder, reader), *_outside(stands)]
    except (StateError, PermissionError) as error:
        what, way_out = str(getattr(error, "what", error)), str(getattr(error, "help", ""))
        return [Check("session", False, what, way_out or "let this account read there")] if readable else []


def _standing(folder: SessionDir) -> Standing:
    """As the outbox has it; that one cannot be read is told with the halts."""
    try:
        return standing(folder.orders)
    except StateError:
        return Standing((), {}, {})


def _daemon(folder: SessionDir, reader: StoreReader, stands: Standing, *, runs: bool) -> Check:
    """Whether one is alive, and does something. A made market has a time of its own, hence also when was written."""
    last = reader.query("SELECT ts FROM decisions ORDER BY seq DESC LIMIT 1")
    silent_s = SystemClock().now_ms() / 1000.0 - _written_s(folder)
    bar = f"last bar {say_time(last[0][0], _zone())}" if last else "no bar yet"
    seen = f"{'running' if runs else 'not running'}, {bar}, written {_ago(silent_s)} ago"
    if runs:
        hangs = folder.orders.is_file() and silent_s > _SILENT_BARS * _bar_s(folder)
        return Check("daemon", not hangs, seen, f"read {folder.logs}; where it has just been started, look again in a minute")
    held = [f"{qty} {symbol}" for symbol, qty in sorted(stands.held.items()) if qty]
    held += [f"{order} (in flight)" for order in stands.in_flight]
    if held and reader.get_meta("orders_go_to") == Orders.VENUE:
        seen = f"{seen}; nobody watches {', '.join(held)} but stops at the exchange"
        return Check("daemon", False, seen, f"brain live --state {folder.root}")
    return Check("daemon", True, seen)


def _bar_s(folder: SessionDir) -> float:
    """How long the session's shortest bar is (s); where its journal does not say, as long as those of a run by default."""
    try:
        base_tf = info_of(JournalReader(folder.journal).opening()).base_tf
    except StateError:
        return Timeframe.M5.ms / 1000.0
    return min(tf.ms for tf in base_tf.values()) / 1000.0


def _written_s(folder: SessionDir) -> float:
    """When the records were last written (s): commits go to the log beside them first. Whoever reads makes an empty one."""
    log = folder.database.with_name(f"{folder.database.name}-wal")
    files = [folder.database, *([log] if log.exists() and log.stat().st_size else [])]
    return max(file.stat().st_mtime for file in files)


def _zone() -> tzinfo:
    try:
        return ZoneInfo(read_environment().tz)
    except ConfigError:
        return UTC


def _ago(seconds: float) -> str:
    for unit, length in (("d", 86_400.0), ("h", 3_600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def _halted(folder: SessionDir, reader: StoreReader) -> Check:
    state = folder.root
    if saved_state(reader) is TradingState.HALTED:
        why = last_alert(reader, "kill_switch")
        return Check("session", False, f"halted by the kill-switch: {why}", f"look into it, then brain unlock --state {state}")
    try:
        halts = standing(folder.orders).halts
    except StateError as error:
        return Check("session", False, error.what, "look at the file, and at the exchange")
    if halts:
        seen = "; ".join(f"{halt.where}: {halt.text}" for halt in halts)
        return Check("session", False, f"nothing is opened on {seen}", remedy_of(halts, str(state)).replace("`", ""))
    return Check("session", True, "not halted")


def _outside(stands: Standing) -> list[Check]:
    """What the exchange holds, by the record, that belongs to no plan: a person took it over, and it blocks its symbol."""
    beyond = {symbol: qty - stands.booked.get(symbol, ZERO) for symbol, qty in stands.held.items()}
    held = [f"{qty} {symbol}" for symbol, qty in sorted(beyond.items()) if qty * stands.held[symbol] > ZERO]
    seen = f"{', '.join(held)} at the exchange; nothing is opened there until it is sold"
    return [Check("outside plans", True, seen)] if held else []


def _folder(state: Path) -> Check:
    there = state
    while not os.path.exists(there):  # noqa: PTH110 - a folder that may not be looked into is no error here
        there = there.parent
    free, fit = shutil.disk_usage(there).free, writable(state)
    seen = f"{state}: {'writable' if fit else 'not writable'}, {free / 1e9:.1f} GB free"
    remedy = "choose another: brain paper --state DIR"
    if SessionDir.at_exchange(state):
        remedy = "let this account write there, and make room; another folder knows neither positions nor locks"
    return Check("state folder", fit and free >= _FREE_BYTES, seen, remedy)
