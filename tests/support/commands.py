"""The command line as a person or a script meets it: in this process where speed counts, in one of its own, at a terminal.

said = brain("paper", "--speed", "max", "--until-bars", "300", "--json", "--state", str(folder))
said.code, said.answer["data"]["trades"], said.err
"""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import io
import json
import os
import pty
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import yaml

from configs.loader import FILES, default_folder
from configs.lock import LOCK_FILE
from core.data.sources.synthetic import SyntheticSource
from core.data.warmup import WARM_BARS
from core.monitor.schema import TABLES
from core.types import Timeframe
from graph.cli import app, main
from graph.console import Console, run_app
from tests.support.features import short_params

ROOT = Path(__file__).resolve().parents[2]
OURS = ("EXCHANGE", "API_KEY", "API_SECRET", "MODE", "PROMETHEUS_PORT", "OPENAI_API_KEY", "TZ", "LOG_LEVEL")
COLORS = ("NO_COLOR", "FORCE_COLOR", "TERM", "ACCESSIBLE", "COLUMNS", "LINES")
DEADLINE_SECONDS = 120.0
"""After which a test gives up waiting for something that must come; never a measure of speed."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def answer(self) -> dict[str, Any]:
        """The one JSON object that is all of stdout."""
        assert self.out.count("\n") == 1, self
        return json.loads(self.out)

    @property
    def data(self) -> dict[str, Any]:
        assert self.code == 0, self
        return self.answer["data"]


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's variables without those that steer Brain, any free port for the metrics, and ``extra``."""
    kept = {name: value for name, value in os.environ.items() if name not in OURS + COLORS}
    return {**kept, "PROMETHEUS_PORT": "0", **(extra or {})}


@contextlib.contextmanager
def somewhere(cwd: Path | None, extra: Mapping[str, str] | None) -> Iterator[None]:
    """Another working folder (an empty one by default) and other variables, for a while."""
    before = dict(os.environ)
    with tempfile.TemporaryDirectory() as empty, contextlib.chdir(cwd or empty):
        os.environ.clear()
        os.environ.update(environment(extra))
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def brain(*arguments: str, environ: Mapping[str, str] | None = None, cwd: Path | None = None) -> Said:
    """Run a command in this process, with pipes for streams."""
    out, err = io.StringIO(), io.StringIO()
    with somewhere(cwd, environ), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run_app(app, Console(), arguments)
    return Said(code, out.getvalue(), err.getvalue())


def paper(state: Path, *arguments: str, bars: int | None = None, environ: Mapping[str, str] | None = None) -> Said:
    """``brain paper`` at full speed with a JSON answer."""
    until = [] if bars is None else ["--until-bars", str(bars)]
    return brain("paper", "--speed", "max", "--json", "--state", str(state), *until, *arguments, environ=environ)


NEVER_WARM = dict.fromkeys(Timeframe, 60)
"""History so short that nothing is ready: for tests that need no trade."""
SOON_WARM = {**dict.fromkeys(Timeframe, 450), Timeframe.H4: 300, Timeframe.D1: 60}
"""History that warms everything under :func:`short_configs`."""


@contextlib.contextmanager
def short_past(bars: Mapping[Timeframe, int] = NEVER_WARM) -> Iterator[None]:
    """Runs start on less history, so that a start takes a moment; the made market is another one then."""
    days = SyntheticSource.__init__.__kwdefaults__
    wanted = (dict(WARM_BARS), days["warm_days"])
    WARM_BARS.update(bars)
    days["warm_days"] = 60
    try:
        yield
    finally:
        WARM_BARS.update(wanted[0])
        days["warm_days"] = wanted[1]


# --- a process of its own ------------------------------------------------------------------------------


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "graph.cli", *arguments]


def soon_warm(*arguments: str) -> list[str]:
    """The same on less history (:data:`SOON_WARM`)."""
    return [sys.executable, "-c", "from tests.support.commands import main_soon_warm as main; main()", *arguments]


def main_soon_warm() -> None:
    """The console command's entry point, on less history."""
    with short_past(SOON_WARM):
        main()


def outside(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Variables of a process that runs from another folder than the repository."""
    return {**environment(extra), "PYTHONPATH": str(ROOT)}


def process(
    *arguments: str, environ: Mapping[str, str] | None = None, cwd: Path | None = None, deadline: float = DEADLINE_SECONDS
) -> Said:
    """Run a command to its end in a process of its own."""
    ran = subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        env=outside(environ),
        cwd=cwd or tempfile.gettempdir(),
        timeout=deadline,
        check=False,
    )
    return Said(ran.returncode, ran.stdout, ran.stderr)


def stopped(
    state: Path, at_seq: int, number: signal.Signals, *arguments: str, program: Callable[..., list[str]] = command
) -> Said:
    """Start a run (at full speed by default), and send it a signal as soon as decision ``at_seq`` is on the disk."""
    pace = () if "--speed" in arguments else ("--speed", "max")
    child = subprocess.Popen(
        program("paper", *pace, "--json", "--quiet", "--state", str(state), *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=outside(),
        cwd=tempfile.gettempdir(),
    )
    try:
        wait_until(lambda: last_seq(state) >= at_seq or child.poll() is not None)
        child.send_signal(number)
        out, err = child.communicate(timeout=DEADLINE_SECONDS)
    finally:
        child.kill()
        child.wait()
    return Said(child.returncode, out, err)


def wait_until(true: Any) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not true():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.005)


def at_terminal(
    *arguments: str,
    answers: Sequence[tuple[str, str]] = (),
    environ: Mapping[str, str] | None = None,
    program: Callable[..., list[str]] = command,
) -> Said:
    """Run a command whose streams are one terminal; each answer is typed once its question stands there.

    ``out`` and ``err`` of what comes back are the same text: all that the terminal showed.
    """
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        program(*arguments),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=outside({"TERM": "xterm", **(environ or {})}),
        cwd=tempfile.gettempdir(),
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - an ioctl; without it Ctrl-C is no signal there
    )
    os.close(theirs)
    shown, waiting = "", list(answers)
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode  # a read may end within a letter
    deadline = time.monotonic() + DEADLINE_SECONDS
    try:
        while True:
            assert time.monotonic() < deadline, shown
            if select.select([ours], [], [], 0.2)[0]:
                try:
                    shown += decode(os.read(ours, 65536))
                except OSError:  # the other side is closed: Linux says so with an error
                    break
            if waiting and waiting[0][0] in shown:
                os.write(ours, waiting.pop(0)[1].encode())
        code = child.wait(DEADLINE_SECONDS)
    finally:
        child.kill()
        child.wait()
        os.close(ours)
    assert not waiting, f"{waiting[0][0]!r} was never asked: {shown}"
    return Said(code, shown, shown)


# --- what a session holds ----------------------------------------------------------------------------------


def rows(state: Path, sql: str, *values: object) -> list[tuple[Any, ...]]:
    """What a SELECT finds in the session's database; nothing where there is none yet."""
    path = state / "brain.sqlite"
    if not path.is_file():
        return []
    with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as db:
        return db.execute(sql, values).fetchall()


def last_seq(state: Path) -> int:
    """Number of the last decision on the disk, -1 before the first."""
    try:
        return rows(state, "SELECT COALESCE(MAX(seq), -1) FROM decisions")[0][0]
    except (IndexError, sqlite3.OperationalError):  # not made yet
        return -1


def snapshot(state: Path) -> dict[str, Any]:
    """The state that the next start would go on from."""
    return msgspec.msgpack.decode(rows(state, "SELECT blob FROM snapshots ORDER BY seq DESC LIMIT 1")[0][0])


def records(state: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table that a run records in the course of its decisions, in order, and the state it ends in."""
    apart = {
        "meta": "SELECT key, value FROM meta WHERE key <> 'commits' ORDER BY key",
        # delivered at whatever time a run ended, with paths of its own folder
        "reports": "SELECT day, trades, csv_sha256, json_sha256 FROM reports ORDER BY day",
        "snapshots": "SELECT seq, sha256 FROM snapshots ORDER BY seq DESC LIMIT 1",
    }
    names = [table.name for table in TABLES]
    return {name: rows(state, apart.get(name, f"SELECT * FROM {name} ORDER BY rowid")) for name in names}  # noqa: S608 - names from our own list


def alerts(state: Path) -> list[tuple[int, str, str]]:
    """(bar, what, text) of every alert."""
    return [(seq, code, text) for seq, code, text in rows(state, "SELECT seq, code, message FROM alerts ORDER BY rowid")]


def refused(state: Path, code: str) -> list[int]:
    """Bars at which something was refused with ``code``."""
    return [seq for (seq,) in rows(state, "SELECT seq FROM refusals WHERE code = ? ORDER BY rowid", code)]


# --- configuration -----------------------------------------------------------------------------------------


def configs_in(folder: Path) -> Path:
    """A copy of the configuration that comes with the program, signed like it."""
    folder.mkdir(parents=True)
    for name in (*FILES, LOCK_FILE):
        shutil.copy(default_folder() / name, folder / name)
    return folder


def short_configs(folder: Path) -> Path:
    """A copy with windows so short that :data:`SOON_WARM` history warms everything."""
    configs_in(folder)
    text = yaml.safe_dump(short_params().model_dump(mode="json"), sort_keys=False)
    (folder / "strategies.yaml").write_text(text, encoding="utf-8")
    return folder


def rewrite(path: Path, old: str, new: str) -> None:
    """Replace the one place in a file where ``old`` stands."""
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, (path, old)
    path.write_text(text.replace(old, new), encoding="utf-8")
