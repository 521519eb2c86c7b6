"""Signals while the daemon is still being made; what they do to one that stands is shown at the local exchange.

And what a person is told of a journal that a crash had torn, where orders stay in this process.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from core.monitor.telemetry import RunResult
from core.types import Timeframe
from graph import journaling
from graph.commands.drive import Driven, EndedEarly, drive
from graph.console import Console
from graph.exit_codes import ExitCode
from graph.live.daemon import LiveDaemon
from tests.support.commands import paper, short_past

PATIENCE_S = 20.0


@asynccontextmanager
async def making(number: int, taken_down: list[str], *, deaf: bool) -> AsyncIterator[LiveDaemon]:
    """As slow as a long history; a ``deaf`` one does not hear that it is cancelled."""
    asyncio.get_running_loop().call_later(0.01, os.kill, os.getpid(), number)
    try:
        await asyncio.sleep(PATIENCE_S)
    except asyncio.CancelledError:
        if not deaf:
            raise
    finally:
        taken_down.append("made parts")
    yield cast(LiveDaemon, None)


@pytest.mark.parametrize("deaf", [False, True])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_before_the_daemon_stands_takes_down_what_was_made_and_is_told(number: signal.Signals, deaf: bool) -> None:
    """X34: the account was asked, history is loaded; the answer is one that a script can read, not a death by a signal."""
    taken_down: list[str] = []
    console = Console(stdout=StringIO(), stderr=StringIO())
    with pytest.raises(EndedEarly, match=f"ended by {number.name} before the run had begun") as ended:
        asyncio.run(drive(making(number, taken_down, deaf=deaf), console, lambda _: "stands", handover=False))
    assert (ended.value.code, ended.value.exit_code, taken_down) == ("LIVE-018", 130, ["made parts"])


@asynccontextmanager
async def standing(warming: bool, ends: asyncio.Event, taken_down: list[str]) -> AsyncIterator[LiveDaemon]:
    """One whose run waits: for its last bar to come again (``warming``), or for what the exchange has."""

    async def run(_: Any) -> str:
        loop = asyncio.get_running_loop()
        loop.call_later(0.01, os.kill, os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(ends.wait(), PATIENCE_S)
        return "a result"

    yield cast(
        LiveDaemon,
        SimpleNamespace(
            parts=SimpleNamespace(
                recorder=SimpleNamespace(),
                source=SimpleNamespace(info=SimpleNamespace(missing=())),
                journal=SimpleNamespace(torn=None, begun=True),
                context=SimpleNamespace(ledger=SimpleNamespace(positions={}), market=SimpleNamespace(base_tf=(Timeframe.M5,))),
            ),
            broker=SimpleNamespace(account=lambda: SimpleNamespace(ts=0)),
            expected_bars=None,
            recovery=None,
            stays=(),
            outside=tuple,
            look_at_halts=tuple,
            warming=warming,
            warm=lambda: (),
            run=run,
            stop=ends.set,
        ),
    )
    taken_down.append("the daemon")


@pytest.mark.parametrize("warming", [True, False])
def test_a_signal_is_answered_while_a_session_is_brought_to_where_it_stopped_and_while_the_exchange_is_asked(
    warming: bool,
) -> None:
    """X34: nothing that a start waits for is waited for in silence, or for longer than a person wants."""
    taken_down: list[str] = []
    console = Console(stdout=StringIO(), stderr=StringIO())
    making = standing(warming, asyncio.Event(), taken_down)
    if warming:
        with pytest.raises(EndedEarly, match="ended by SIGTERM before the run had begun"):
            asyncio.run(drive(making, console, lambda _: "stands", handover=False))
        return
    driven = asyncio.run(drive(making, console, lambda _: "stands", handover=False))
    assert (driven.signal_seen, taken_down) == (signal.SIGTERM, ["the daemon"])
    assert cast(StringIO, console.err).getvalue() == (
        "stands\nwaiting at most 30 s until it is known what the exchange has; once more ends it at once\n"
    )


@pytest.mark.parametrize(
    ("seen", "unasked", "code"),
    [
        (None, False, ExitCode.DONE),
        (signal.SIGTERM, False, ExitCode.DONE),
        (signal.SIGINT, False, ExitCode.INTERRUPTED),
        (None, True, ExitCode.PERSON),
        (signal.SIGTERM, True, ExitCode.PERSON),
        (signal.SIGINT, True, ExitCode.PERSON),
    ],
)
def test_what_stays_unasked_for_needs_a_person_however_the_run_was_ended(seen: int | None, unasked: bool, code: ExitCode) -> None:
    daemon = cast(LiveDaemon, SimpleNamespace(unasked=unasked))
    assert Driven(cast(RunResult, None), daemon, seen).code is code


def test_under_nohup_the_end_of_the_terminal_ends_nothing() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with pytest.raises(EndedEarly, match="SIGTERM"):
            asyncio.run(drive(hung_up(), Console(stdout=StringIO(), stderr=StringIO()), lambda _: "", handover=False))
    finally:
        signal.signal(signal.SIGHUP, before)


@asynccontextmanager
async def hung_up() -> AsyncIterator[LiveDaemon]:
    os.kill(os.getpid(), signal.SIGHUP)
    await asyncio.sleep(0.05)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(PATIENCE_S)
    yield cast(LiveDaemon, None)


def test_what_is_cancelled_by_another_is_no_signal() -> None:
    async def cancelled() -> None:
        task = asyncio.create_task(drive(slow(), Console(stdout=StringIO(), stderr=StringIO()), lambda _: "", handover=False))
        await asyncio.sleep(0.01)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())


@asynccontextmanager
async def slow() -> AsyncIterator[LiveDaemon]:
    await asyncio.sleep(PATIENCE_S)
    yield cast(LiveDaemon, None)


def test_a_journal_that_a_crash_had_torn_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """F6, X43: nothing that was decided is lost; what was torn off is kept, and the next start finds a whole journal."""
    with short_past():
        with monkeypatch.context() as killed:
            killed.setattr(journaling.SessionJournal, "finish", lambda _: None)
            paper(tmp_path, bars=3)
            (last,) = (tmp_path / "journal").glob("*.journal")
            last.write_bytes(last.read_bytes() + b"\x07" * 5)
            said = paper(tmp_path, bars=5)
        assert (said.data["bars"], said.err.count("were torn by a crash")) == (5, 1)
        (kept,) = (tmp_path / "journal").glob("*.torn-*")
        assert f"last 5 bytes were torn by a crash; they are kept in {kept}" in said.err
        assert kept.read_bytes() == b"\x07" * 5
        assert "torn" not in paper(tmp_path, bars=7).err
