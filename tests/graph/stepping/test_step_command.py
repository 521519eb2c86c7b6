"""``brain step`` as a script and as a person meet it (issue section 3; ux.md sections 3 and 5)."""

from __future__ import annotations

import os
import pty
import re
import select
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable
from fcntl import ioctl
from pathlib import Path

import pytest

from graph.sessions import Session
from graph.stepping.desk import WORDS, words_page
from graph.stepping.terminal import KEYS, PROMPTS
from tests.support.commands import DEADLINE_SECONDS, Said, brain, command, outside
from tools.topology import AGENTS

ENTRY = "P-1767657600000-funding_rev-SOLUSDT"
Fingerprint = Callable[[], dict[str, str]]


@pytest.fixture
def step(session: Session, tmp_path: Path) -> Callable[..., Said]:
    """Run ``brain step`` over the session with a script of these lines."""

    def run(*arguments: str, lines: str = "") -> Said:
        script = tmp_path / "script.txt"
        script.write_text(lines, encoding="utf-8")
        return brain("step", str(session.folder.root), "--script", str(script), *arguments)

    return run


def test_a_script_steps_to_a_trade_and_sees_another_decision_under_another_regime(
    step: Callable[..., Said], fingerprint: Fingerprint
) -> None:
    before = fingerprint()
    lines = "# to the trade\nnext 2\n\nset regimes.h1[SOL]=panic\nrun\ncompare\noriginal\nrun\n"
    data = step("--trade", f"trade-{ENTRY}", "--json", lines=lines).data
    assert [(one["line"], one["command"]) for one in data["steps"]] == [
        (2, "next 2"),
        (4, "set regimes.h1[SOL]=panic"),
        (5, "run"),
        (6, "compare"),
        (7, "original"),
        (8, "run"),
    ]
    start, _, changed, ran, compared, left, whole = data["start"], *data["steps"]
    assert (start["header"]["bar"], start["header"]["next"], start["header"]["what_if"]) == (287, "brain", None)
    assert changed["header"]["what_if"] == "what-if 1: regimes.h1[1]=panic (was range_lowvol)"
    assert changed["node"]["next"]["reads"]["regimes"]["h1"][1] == "panic"
    first = ran["what_ifs"][0]["first_difference"]
    assert (first["node"], first["then"]["plans"], first["now"]["plans"]) == ("strategy_selection", [ENTRY], [])
    assert "first node that differs: strategy_selection" in compared["says"]
    assert (left["header"]["what_if"], left["header"]["step"]) == (None, 2)
    assert whole["state"]["full"]["risk"]["plans"][0]["id"] == ENTRY
    assert [row["node"] for row in whole["path"]] == [spec.name for spec in AGENTS if spec.name != "research"]
    assert {tool["capability"] for tool in whole["node"]["last"]["tools"]} == {"export_metrics"}
    assert fingerprint() == before


def test_every_pane_stands_in_the_answer(step: Callable[..., Said]) -> None:
    data = step("--bar", "287", "--json", lines="next 4\nwatch regimes.h1[0]\nnote look here\n").data
    assert set(data["start"]) == {"header", "timeline", "path", "node", "state", "what_ifs", "breakpoints", "table", "notes"}
    risk, watched, noted = data["steps"]
    assert risk["node"]["last"]["name"] == "risk_manager"
    assert set(risk["node"]["last"]["wrote"]) == {"risk"}
    assert {row["sign"] for row in risk["state"]["diff"]} == {"+"}
    assert risk["timeline"]["cells"][risk["timeline"]["here"]] == "T"
    assert watched["table"]["title"] == "regimes.h1[0]"
    assert watched["table"]["total"] == len(watched["table"]["rows"]) > 0
    assert noted["notes"] == [{"bar": 287, "step": 4, "text": "look here"}]


def test_without_json_a_person_reads_what_was_done(step: Callable[..., Said]) -> None:
    said = step("--bar", "0", "--break", "execution", lines="run\nshow\nlist trade\nwhere len(risk.plans) > 0\nhelp\n")
    assert said.code == 0
    assert "> run\nbar 287, 2026-01-06T00:00:00.000Z, before execution\n" in said.out
    assert "ran risk_manager" in said.out
    assert "tool position_sizer (plan_position)" in said.out
    assert said.out.count("   1  bar 287") == 2
    assert words_page() in said.out
    assert "\x1b" not in said.out
    assert said.err == ""


def test_a_time_stands_at_the_bar_that_closed_then(step: Callable[..., Said]) -> None:
    start = step("--at", "2026-01-06T00:00", "--json").data["start"]
    assert (start["header"]["bar"], start["header"]["time"]) == (287, "2026-01-06T00:00:00.000Z")


@pytest.mark.parametrize(
    ("arguments", "lines", "code", "name", "words"),
    [
        (("--bar", "650"), "", 1, "STEP-004", "there are 0 to 649"),
        (("--trade", "P-1767657600000-funding_rev-SOLUSD"), "", 1, "STEP-004", ENTRY),
        (("--at", "2030-01-01"), "", 1, "STEP-004", "ends before that time"),
        (("--at", "noon"), "", 2, "CLI-001", "expected a date"),
        (("--bar", "1", "--at", "2026-01-06"), "", 2, "CLI-001", "expected one of them"),
        (("--break", "executon"), "", 2, "STEP-001", "did you mean execution"),
        ((), "nxt", 2, "STEP-001", "did you mean next"),
        ((), "next\ngoto nowhere", 2, "STEP-001", "nothing called 'nowhere'"),
        ((), "set regimes.h1[0]=panic", 2, "STEP-003", "brain does not read regimes"),
        ((), "next 2\nset regimes.h1[0]=chaos", 2, "STEP-003", "unknown, trend_up"),
        ((), "watch regime", 2, "STEP-002", "did you mean regimes"),
        ((), "where score >", 2, "STEP-001", "expected a value"),
        ((), "goto alert", 1, "STEP-004", "no later alert"),
        ((), "hit 3", 1, "STEP-004", "there is no table"),
    ],
)
def test_what_cannot_be_followed_is_said_with_its_code_and_line(
    step: Callable[..., Said], arguments: tuple[str, ...], lines: str, code: int, name: str, words: str
) -> None:
    said = step(*arguments, "--json", lines=lines)
    error = said.answer["error"]
    assert (said.code, said.answer["ok"], said.answer["code"], error["code"]) == (code, False, code, name)
    assert words in error["what"]
    assert error["effect"].startswith("nothing was changed")
    if lines:
        assert error["place"].endswith(f":{lines.count(chr(10)) + 1}")


def test_a_session_that_is_not_there_and_a_script_that_cannot_be_read_are_named(session: Session, tmp_path: Path) -> None:
    said = brain("step", "mode", "--state", str(session.folder.root.parent), "--json")
    assert (said.code, said.answer["error"]["code"]) == (4, "JRN-003")
    assert "made" in said.answer["error"]["what"]
    said = brain("step", str(session.folder.root), "--script", str(tmp_path / "none"))
    assert said.code == 2
    assert "cannot be read" in said.err


def test_without_a_terminal_or_a_script_nothing_is_started(session: Session) -> None:
    said = brain("step", str(session.folder.root))
    assert said.code == 2
    assert "not run from a terminal" in said.err


def test_every_key_is_a_command_that_exists_and_none_is_two() -> None:
    names = {word.name for word in WORDS}
    assert {line.split()[0] for line in KEYS.values()} <= names
    assert {line.split()[0] for line in PROMPTS.values() if line} <= names
    assert not set(KEYS) & set(PROMPTS)
    page = (Path(__file__).resolve().parents[3] / "docs" / "stepping.md").read_text(encoding="utf-8")
    assert [word.usage for word in WORDS if f"`{word.usage}`" not in page.replace("\\|", "|")] == []


# --- at a terminal -----------------------------------------------------------------------------------------

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Screen:
    """A child at a terminal of a given size; what its last picture shows, as lines of text."""

    def __init__(self, folder: Path, width: int, height: int, environ: dict[str, str]) -> None:
        self.ours, theirs = pty.openpty()
        ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        self.child = subprocess.Popen(
            command("step", str(folder), "--bar", "287"),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=outside({"TERM": "xterm", "PYTHONUTF8": "1", **environ}),
            cwd=tempfile.gettempdir(),
            start_new_session=True,
        )
        os.close(theirs)
        self.raw = ""

    @property
    def text(self) -> str:
        return ESCAPES.sub("", self.raw.split("\x1b[H")[-1]).replace("\r", "")

    def until(self, words: str) -> str:
        """Wait until the whole of the last picture is there and shows ``words``."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while words not in self.text or not self.raw.endswith("\x1b[J"):
            assert time.monotonic() < deadline, (words, self.text)
            assert self._read(), (words, self.text)
        return self.text

    def press(self, keys: str, words: str) -> str:
        os.write(self.ours, keys.encode())
        return self.until(words)

    def leave(self) -> int:
        os.write(self.ours, b"q")
        while self._read():
            pass
        return self.child.wait(DEADLINE_SECONDS)

    def _read(self) -> bool:
        if not select.select([self.ours], [], [], 0.2)[0]:
            return self.child.poll() is None
        try:
            self.raw += os.read(self.ours, 65536).decode("utf-8", "replace")
        except OSError:  # the other side is closed: Linux says so with an error
            return False
        return True

    def close(self) -> None:
        self.child.kill()
        self.child.wait()
        os.close(self.ours)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such terminals")
@pytest.mark.parametrize(
    ("width", "height", "environ"), [(80, 24, {"NO_COLOR": "1", "ACCESSIBLE": "1"}), (160, 50, {})], ids=["plain", "large"]
)
def test_a_person_steps_changes_compares_and_leaves_without_a_trace(
    session: Session, fingerprint: Fingerprint, width: int, height: int, environ: dict[str, str]
) -> None:
    before = fingerprint()
    screen = Screen(Path(session.folder.root).resolve(), width, height, environ)
    try:
        shown = screen.until("? for help")
        assert "bar 287 of 649" in shown
        assert all(len(line) <= width for line in shown.split("\n"))
        assert shown.count("\n") == height - 1
        if environ:
            assert shown.isascii()
            assert "\x1b[3" not in screen.raw
        screen.press("n", "before market_regime")
        screen.press("n", "before strategy_selection")
        screen.press("N", "before market_regime")
        screen.press("\x1b[C", "before strategy_selection")
        shown = screen.press("eregimes.h1[SOL]=panic\r", "WHAT-IF what-if 1")
        assert shown.count("[WHAT-IF]") == 4, "in every pane, in words"
        screen.press(">", "1 of 1 events decided otherwise")
        screen.press("=", "first node that differs: strategy_selection")
        shown = screen.press("x", "before strategy_selection")
        assert "WHAT-IF" not in shown
        screen.press("d", "state: full")
        screen.press("?", "any key goes back")
        screen.press(" ", "state: full")
        screen.press("/len(risk.plans) > 0\r", "Enter = jump")
        screen.press("j", ">   2")
        screen.press("\r", "bar 383, ")
        screen.press("u", "bar 287, ")
        screen.press("p", "breakpoint before strategy_selection set")
        screen.press("z", "does nothing")
        assert screen.leave() == 0
        assert screen.raw.rstrip().endswith("\x1b[?1049l")
    finally:
        screen.close()
    assert fingerprint() == before
