"""``brain step`` as a script and as a person meet it (issue section 3; ux.md sections 3 and 5)."""

from __future__ import annotations

import asyncio
import codecs
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator
from fcntl import ioctl
from pathlib import Path

import pytest

from core.data.blocks import Batch
from graph.cli import main
from graph.run import Run
from graph.sessions import Session
from graph.stepping.desk import WORDS, words_page
from graph.stepping.held import Held
from graph.stepping.patience import Patience
from graph.stepping.terminal import KEYS, PROMPTS, Terminal
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
        ((), "prev alert", 1, "STEP-004", "no earlier alert"),
        ((), "where score > 1__0", 2, "STEP-001", "is not understood"),
        ((), f"where {'not ' * 3_000}score > 1", 2, "STEP-001", "at most 4000 characters"),
        ((), "watch regimes.h1[²]", 2, "STEP-002", "no position and no symbol"),
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


def test_what_a_script_did_before_it_failed_is_not_lost(step: Callable[..., Said]) -> None:
    lines = "bar 287\nlist trade\nset regimes.h1[0]=panic\nnext\n"
    said = step("--json", lines=lines)
    assert (said.code, said.answer["error"]["code"]) == (2, "STEP-003")
    data = said.answer["data"]
    assert data["start"]["header"]["bar"] == 0
    assert [one["command"] for one in data["steps"]] == ["bar 287", "list trade"]
    assert data["steps"][1]["table"]["total"] == 3
    said = step(lines=lines)
    assert said.out.startswith(
        "> bar 287\nbar 287, 2026-01-06T00:00:00.000Z, before brain\n> list trade\ntrade: 3 rows\n   1  bar 287"
    )
    assert said.out.endswith("> set regimes.h1[0]=panic\n")
    assert "brain does not read regimes" in said.err


def test_why_is_asked_of_the_same_session(session: Session, tmp_path: Path) -> None:
    script = tmp_path / "script.txt"
    script.write_text("why\n", encoding="utf-8")
    folder = Path(shutil.copytree(session.folder.root, tmp_path / "made"))
    said = brain("step", folder.name, "--state", str(folder.parent), "--bar", "287", "--script", str(script))
    assert f"plan: brain why {ENTRY} --session {folder.name} --state {folder.parent}\n" in said.out
    name = next(line.split()[3] for line in said.out.splitlines() if line.startswith("signal: "))
    asked = brain("why", name, "--session", folder.name, "--state", str(folder.parent))
    assert asked.code == 0, asked.err


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

    def __init__(
        self,
        folder: Path,
        width: int,
        height: int,
        environ: dict[str, str],
        program: Callable[..., list[str]] = command,
    ) -> None:
        self.ours, theirs = pty.openpty()
        ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        self.before = termios.tcgetattr(self.ours)
        self.child = subprocess.Popen(
            program("step", str(folder), "--bar", "287"),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=outside({"TERM": "xterm", "PYTHONUTF8": "1", **environ}),
            cwd=tempfile.gettempdir(),
            start_new_session=True,
            preexec_fn=lambda: ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - without it Ctrl-C is no signal there
        )
        os.close(theirs)
        self.raw = ""
        self._decode = codecs.getincrementaldecoder("utf-8")().decode  # a read may end within a letter

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

    def leave(self, keys: bytes = b"q") -> int:
        os.write(self.ours, keys)
        return self.end()

    def end(self) -> int:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while self._read():
            assert time.monotonic() < deadline, ("it goes on", self.text)
        return self.child.wait(DEADLINE_SECONDS)

    def _read(self) -> bool:
        if not select.select([self.ours], [], [], 0.2)[0]:
            return self.child.poll() is None
        try:
            self.raw += self._decode(os.read(self.ours, 65536))
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


def put_in_order(screen: Screen, folder: Path) -> None:
    """The terminal shows what it showed and takes keys as it took them; nothing is left in the folder for temporary files."""
    assert screen.raw.count("\x1b[?1049h") == screen.raw.count("\x1b[?1049l") == 1
    assert "\x1b[?25h" in screen.raw.split("\x1b[?1049h")[1]
    assert "Traceback" not in screen.raw
    assert termios.tcgetattr(screen.ours) == screen.before
    assert list(folder.glob("brain-rerun-*")) == []


@pytest.fixture
def screen(session: Session, tmp_path: Path) -> Iterator[Callable[..., Screen]]:
    opened: list[Screen] = []

    def start(program: Callable[..., list[str]] = command) -> Screen:
        folder = Path(session.folder.root).resolve()
        opened.append(Screen(folder, 100, 30, {"TMPDIR": str(tmp_path), "NO_COLOR": "1"}, program))
        opened[0].until("? for help")
        assert len(list(tmp_path.glob("brain-*"))) == 1
        return opened[0]

    yield start
    for one in opened:
        one.close()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)], ids=str)
def test_whoever_is_told_to_go_leaves_everything_in_order(
    screen: Callable[..., Screen], tmp_path: Path, fingerprint: Fingerprint, number: signal.Signals, code: int
) -> None:
    before = fingerprint()
    shown = screen()
    shown.press("n", "before market_regime")
    shown.child.send_signal(number)
    assert shown.end() == code
    put_in_order(shown, tmp_path)
    assert fingerprint() == before


def test_ctrl_c_leaves_a_command_that_is_being_typed(screen: Callable[..., Screen], tmp_path: Path) -> None:
    shown = screen()
    shown.press(":goto", ":goto_")
    assert shown.leave(b"\x03") == 130
    put_in_order(shown, tmp_path)


@pytest.mark.parametrize("part", [b"\xe4", b"\x1b["], ids=["half a letter", "half a sequence"])
def test_a_key_that_comes_in_part_holds_nothing(screen: Callable[..., Screen], tmp_path: Path, part: bytes) -> None:
    shown = screen()
    os.write(shown.ours, part)
    time.sleep(0.2)
    shown.child.terminate()
    assert shown.end() == 143
    put_in_order(shown, tmp_path)


def test_a_terminal_that_goes_away_within_a_sequence_ends_it(screen: Callable[..., Screen], tmp_path: Path) -> None:
    shown = screen()
    os.write(shown.ours, b"\x1b")
    os.close(shown.ours)
    assert shown.child.wait(DEADLINE_SECONDS) in {0, 129}
    assert list(tmp_path.glob("brain-*")) == []
    shown.ours = os.open(os.devnull, os.O_RDONLY)


def test_keys_that_come_at_once_are_all_taken(screen: Callable[..., Screen]) -> None:
    shown = screen()
    shown.press("nnN\x1b[Cp", "breakpoint before strategy_selection set")


def test_a_table_is_left_by_its_keys_and_the_end_of_the_input_ends_it_all(screen: Callable[..., Screen], tmp_path: Path) -> None:
    shown = screen()
    shown.press("/score > 99\r", "nothing was found")
    text = shown.press("\r", "path")
    assert "notes: 0" in text, "Enter on an empty table only closes it"
    shown.press("/len(risk.plans) > 0\r", ">   1")
    assert shown.leave(b"\x04") == 0
    put_in_order(shown, tmp_path)


def test_a_fault_leaves_the_terminal_in_order_and_says_where_its_report_is(screen: Callable[..., Screen], tmp_path: Path) -> None:
    shown = screen(faulty)
    assert shown.leave(b"d") == 70
    put_in_order(shown, tmp_path)
    assert "report" in shown.raw.split("\x1b[?1049l")[1]


def faulty(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from tests.graph.stepping.test_step_command import main_faulty as main; main()", *arguments]


def main_faulty() -> None:
    """The console command's entry point, with a key that does not work."""

    async def react(terminal: Terminal, key: str) -> None:
        raise RuntimeError(f"the key {key} is broken")

    Terminal._react = react  # type: ignore[method-assign, assignment]
    main()


def test_a_terminal_that_goes_away_ends_it(screen: Callable[..., Screen], tmp_path: Path) -> None:
    shown = screen()
    shown.press("?", "any key goes back")
    os.close(shown.ours)
    assert shown.child.wait(DEADLINE_SECONDS) in {0, 129}
    assert list(tmp_path.glob("brain-*")) == []
    shown.ours = os.open(os.devnull, os.O_RDONLY)


def test_a_script_is_printed_as_it_happens_and_sigterm_ends_it_too(session: Session, tmp_path: Path) -> None:
    child = subprocess.Popen(
        command("step", str(session.folder.root.resolve()), "--script", "-"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=outside({"TMPDIR": str(tmp_path)}),
        cwd=tempfile.gettempdir(),
    )
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(b"bar 3\n" + b"bar 640\nbar 1\n" * 2000)
    child.stdin.close()
    assert child.stdout.readline() == b"> bar 3\n"
    assert child.stdout.readline().startswith(b"bar 3, ")
    child.terminate()
    child.stdin = None
    out, err = child.communicate(timeout=DEADLINE_SECONDS)
    assert (child.returncode, err) == (143, b"")
    assert out.count(b"> bar") < 4000
    assert list(tmp_path.glob("brain-*")) == []


def test_a_script_that_is_still_being_written_does_not_hold_it(session: Session, tmp_path: Path) -> None:
    child = subprocess.Popen(
        command("step", str(session.folder.root.resolve()), "--script", "-"),
        stdin=subprocess.PIPE,
        env=outside({"TMPDIR": str(tmp_path)}),
        cwd=tempfile.gettempdir(),
    )
    assert child.stdin is not None
    child.stdin.write(b"bar 3\n")
    child.stdin.flush()
    time.sleep(1.5)  # whether it has come to the read or not: it ends
    child.terminate()
    assert child.wait(DEADLINE_SECONDS) == -signal.SIGTERM
    child.stdin.close()
    assert list(tmp_path.glob("brain-*")) == []


def test_a_second_signal_ends_it_where_nobody_reads_what_it_writes(session: Session, tmp_path: Path) -> None:
    theirs, ours = os.pipe()
    child = subprocess.Popen(
        command("step", str(session.folder.root.resolve()), "--script", "-"),
        stdin=subprocess.PIPE,
        stdout=ours,
        env=outside({"TMPDIR": str(tmp_path)}),
        cwd=tempfile.gettempdir(),
    )
    os.close(ours)
    assert child.stdin is not None
    child.stdin.write(b"bar 3\n" + b"show\n" * 200)
    child.stdin.close()
    deadline = time.monotonic() + DEADLINE_SECONDS
    held = -1
    while (there := _readable(theirs)) != held or not held:
        assert time.monotonic() < deadline
        held = there
        time.sleep(0.5)
    child.terminate()
    time.sleep(0.2)
    child.terminate()
    os.close(theirs)  # what it had not written yet is written on the way out, to nobody
    assert child.wait(DEADLINE_SECONDS) == 128 + signal.SIGTERM
    assert list(tmp_path.glob("brain-*")) == []


def _readable(pipe: int) -> int:
    """How many bytes wait in it."""
    count = bytearray(4)
    ioctl(pipe, termios.FIONREAD, count)
    return int.from_bytes(count, sys.byteorder)


def test_a_signal_that_comes_while_a_bar_is_made_again_ends_it_too(session: Session, tmp_path: Path) -> None:
    told = [sys.executable, "-c", "from tests.graph.stepping.test_step_command import main_told_in_a_bar as main; main()"]
    ran = subprocess.run(
        [*told, "step", str(session.folder.root.resolve()), "--bar", "3", "--script", "-"],
        input=b"bar 640\n" * 200,
        env=outside({"TMPDIR": str(tmp_path)}),
        cwd=tempfile.gettempdir(),
        capture_output=True,
        check=False,
        timeout=DEADLINE_SECONDS,
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (143, b"", b"")
    assert list(tmp_path.glob("brain-*")) == []


def main_told_in_a_bar() -> None:
    """The console command's entry point; it is told to go inside the task of the first bar that it holds."""
    bar = Run.bar

    async def told(run: Run, batch: Batch) -> object:
        if asyncio.current_task() in {held._bar for held in begun}:
            os.kill(os.getpid(), signal.SIGTERM)
        return await bar(run, batch)

    begun: list[Held] = []
    begin = Held.begin

    async def known(held: Held, batch: Batch) -> None:
        begun.append(held)
        await begin(held, batch)

    Run.bar, Held.begin = told, known  # type: ignore[method-assign, assignment]
    main()


def test_a_search_that_is_under_way_ends_when_told() -> None:
    said: list[str] = []

    async def search() -> None:
        patience, task = Patience(said.append), asyncio.current_task()
        assert task is not None
        patience(0, 2)
        task.cancel()
        patience(1, 2)
        said.append("it went on")

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(search())
    assert said == []


def test_ctrl_c_before_anything_has_begun_is_quiet(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt\n", encoding="utf-8")
    environ = outside()
    ran = subprocess.run(
        command("--version"),
        env={**environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{environ['PYTHONPATH']}"},
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, b"", b"")
