"""What all commands share: colour, streams, error text, the JSON answer, exit codes (ux.md section 5)."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from configs.errors import ConfigCode, ConfigError, GovernanceLockError, Place, Problem
from core.errors import BrainError, ContractError, LockedError, SourceError, StateError
from graph.console import (
    NOTHING_STARTED,
    Answer,
    ColorMode,
    Console,
    Style,
    run_app,
    run_command,
    wants_color,
)
from graph.error_text import error_object, render_error
from graph.exit_codes import ExitCode, UsageError, exit_code_of
from graph.fault_report import redact
from graph.progress import BarProgress, LineProgress, SilentProgress

ROOT = Path(__file__).resolve().parents[2]
ESC = "\x1b"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def make(*, terminal: bool = False, **options: Any) -> Console:
    stream = Terminal if terminal else io.StringIO
    defaults: dict[str, Any] = {"environ": {}, "stdout": stream(), "stderr": stream(), "stdin": stream()}
    return Console(**(defaults | options))


def said(console: Console) -> tuple[str, str]:
    """(stdout, stderr)."""
    assert isinstance(console.out, io.StringIO)
    assert isinstance(console.err, io.StringIO)
    return console.out.getvalue(), console.err.getvalue()


def fail(error: BaseException) -> Callable[[], Answer | None]:
    def body() -> Answer | None:
        raise error

    return body


# --- colour ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "environ", "terminal", "expected"),
    [
        ("auto", {}, True, True),
        ("auto", {}, False, False),
        ("auto", {"NO_COLOR": "1"}, True, False),
        ("auto", {"NO_COLOR": ""}, True, True),  # set but empty does not count
        ("auto", {"FORCE_COLOR": "1"}, False, True),
        ("auto", {"FORCE_COLOR": ""}, False, False),
        ("auto", {"FORCE_COLOR": "0"}, False, False),
        ("auto", {"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, False),
        ("auto", {"NO_COLOR": "", "FORCE_COLOR": "1"}, False, True),
        ("auto", {"TERM": "dumb"}, True, False),
        ("auto", {"TERM": "dumb", "FORCE_COLOR": "1"}, True, True),
        ("auto", {"TERM": "xterm"}, True, True),
        ("always", {"NO_COLOR": "1", "TERM": "dumb"}, False, True),
        ("never", {"FORCE_COLOR": "1"}, True, False),
    ],
)
def test_colour_is_decided_by_flag_then_no_color_then_force_color_then_terminal(
    mode: str, environ: dict[str, str], terminal: bool, expected: bool
) -> None:
    assert wants_color(ColorMode(mode), environ, terminal) is expected


def test_a_colour_mode_that_does_not_exist_is_a_misuse() -> None:
    console = make(color="blue")
    assert run_command(console, "brain.x/1", lambda: Answer(text="never")) == ExitCode.USAGE
    assert said(console)[0] == ""
    assert "--color was 'blue', expected one of auto, always, never" in said(console)[1]


def test_a_pipe_sees_no_escape_code_and_a_terminal_does() -> None:
    for terminal in (False, True):
        console = make(terminal=terminal)
        run_command(console, "brain.x/1", lambda console=console: Answer(text=console.style("yes", Style.STRONG)))
        console.warn("thin")
        console.error(SourceError("no data", help="brain doctor"))
        out, err = said(console)
        assert (ESC in out) is terminal
        assert (ESC in err) is terminal


def test_stdout_may_be_piped_while_stderr_is_a_terminal() -> None:
    console = make(stderr=Terminal())
    assert console.style("x", Style.STRONG) == "x"
    console.warn("w")
    assert ESC in said(console)[1]


def test_colours_change_nothing_but_colours() -> None:
    error = SourceError("no data", help="brain doctor")
    colored = render_error(error, effect="e", color=True)
    assert colored != render_error(error, effect="e")
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == render_error(error, effect="e")


def test_escape_codes_in_what_a_person_typed_are_made_harmless() -> None:
    text = render_error(UsageError(f"symbol was {ESC}[31mBTC\x07"))
    assert ESC not in text
    assert "\\x1b[31mBTC\\x07" in text


# --- streams --------------------------------------------------------------------------------------


def test_only_the_answer_goes_to_stdout() -> None:
    console = make()

    def body() -> Answer:
        console.info("a hint")
        console.warn("a warning")
        return Answer({"n": 1}, text="the answer")

    assert run_command(console, "brain.x/1", body) == 0
    assert said(console) == ("the answer\n", "a hint\nwarning: a warning\n")


def test_a_page_is_said_even_with_quiet_and_a_stderr_that_is_gone_ends_nothing() -> None:
    """Whoever calls a person may be in the midst of protecting a position."""
    console = Console(stdout=io.StringIO(), stderr=io.StringIO(), quiet=True, color="never")
    console.page("symbol_halted: BTC")
    assert said(console) == ("", "page: symbol_halted: BTC\n")
    assert console.warnings == ["symbol_halted: BTC"]

    class Gone(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    Console(stdout=io.StringIO(), stderr=Gone()).page("x")


def test_quiet_keeps_errors_and_warnings_about_money() -> None:
    console = make(quiet=True)
    console.info("hint")
    console.warn("slow")
    console.warn("a position is open", money=True)
    console.error(SourceError("no data"))
    out, err = said(console)
    assert out == ""
    assert err.startswith("warning: a position is open\nerror[DATA-002]: no data\n")
    assert "slow" not in err
    assert "hint" not in err


def test_a_terminal_that_knows_only_ascii_does_not_stop_the_command() -> None:
    raw = io.BytesIO()
    console = make(stdout=io.TextIOWrapper(raw, encoding="ascii"))
    assert run_command(console, "brain.x/1", lambda: Answer(text="3 × 2")) == 0
    assert raw.getvalue() == b"3 \\xd7 2\n"


def test_the_reader_of_a_pipe_may_go_away() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    console = make(stdout=Gone())
    assert run_command(console, "brain.x/1", lambda: Answer(text="x")) == ExitCode.SURROUNDINGS
    assert said(console)[1] == ""


# --- errors ---------------------------------------------------------------------------------------


class Placed(BrainError):
    default_code = "DATA-099"
    exit_code = 4
    place = "perp_5m/BTCUSDT.parquet:17"
    evidence = ("ts 17 after 18",)


def test_an_error_has_code_place_evidence_effect_help_and_more() -> None:
    text = render_error(Placed("bars are out of order", help="brain doctor"), effect="nothing was started")
    assert text.splitlines() == [
        "error[DATA-099]: bars are out of order",
        "  --> perp_5m/BTCUSDT.parquet:17",
        "   | ts 17 after 18",
        "   = effect: nothing was started",
        "   = help: brain doctor",
        "   = more: brain explain DATA-099",
    ]


def config_error() -> ConfigError:
    return ConfigError(
        (
            Problem(
                ConfigCode.OUT_OF_RANGE,
                "per_trade_r_pct_base is above what is allowed",
                "governance.yaml",
                field="per_trade_r_pct_base",
                value="1.2",
                allowed="0.05 to 0.8",
                help="set it to 0.8 or less",
                place=Place(7, 23, 3),
                source="per_trade_r_pct_base: 1.2",
            ),
        )
    )


def test_a_configuration_error_shows_its_own_picture() -> None:
    """H1: file, field, value, and what is allowed."""
    lines = render_error(config_error()).splitlines()
    assert lines[0] == "error[CFG-014]: per_trade_r_pct_base is above what is allowed"
    assert lines[1] == "  --> governance.yaml:7:23"
    assert "^^^ allowed: 0.05 to 0.8" in lines[4]
    assert lines[-1] == "   = more: brain explain CFG-014"
    assert "3 positions keep their stops" in render_error(config_error(), effect="3 positions keep their stops")


def test_an_error_that_can_render_in_colour_is_asked_for_plain_text() -> None:
    class Rendering(Exception):
        code = "DATA-001"

        def render(self, color: bool) -> str:
            return f"error[DATA-001]: colour {color}"

    assert render_error(Rendering()).startswith("error[DATA-001]: colour False\n")


def test_a_plain_exception_is_named() -> None:
    assert render_error(ValueError()) == "error: ValueError"
    assert error_object(ValueError("bad"))["what"] == "bad"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SourceError("x"), 4),
        (StateError("x"), 4),
        (LockedError("x"), 5),
        (UsageError("x"), 2),
        (BrainError("x", code="CLI-004"), 2),
        (BrainError("x"), 70),
        (config_error(), 2),
        (GovernanceLockError(config_error().problems), 3),
        (KeyboardInterrupt(), 130),
        (ContractError("x"), 70),
        (RuntimeError("x"), 70),
    ],
)
def test_every_error_has_its_exit_code(error: BaseException, code: int, tmp_path: Path) -> None:
    assert exit_code_of(error) == code
    for as_json in (False, True):
        assert run_command(make(report_dir=tmp_path, json=as_json), "brain.x/1", fail(error)) == code


def test_exit_codes_have_their_numbers_and_a_meaning() -> None:
    assert [int(c) for c in ExitCode] == [0, 1, 2, 3, 4, 5, 70, 130]
    assert all(c.meaning.endswith(".") for c in ExitCode)


def test_an_answer_may_be_no() -> None:
    console = make(json=True)
    assert run_command(console, "brain.verify/1", lambda: Answer({"same": False}, code=ExitCode.NO)) == 1
    answer = json.loads(said(console)[0])
    assert (answer["ok"], answer["code"], answer["error"]) == (False, 1, None)


def test_a_command_without_an_answer_is_done() -> None:
    console = make()
    assert run_command(console, "brain.x/1", lambda: None) == 0
    assert said(console) == ("", "")


# --- the JSON answer ------------------------------------------------------------------------------


def test_json_prints_one_object_and_nothing_else_on_stdout() -> None:
    console = make(json=True)

    def body() -> Answer:
        console.answer("not this")
        console.warn("thin book")
        return Answer({"bars": 3}, text="nor this")

    assert run_command(console, "brain.paper/1", body) == 0
    out, _ = said(console)
    assert out.count("\n") == 1
    assert json.loads(out) == {
        "schema": "brain.paper/1",
        "ok": True,
        "code": 0,
        "data": {"bars": 3},
        "warnings": ["thin book"],
        "error": None,
    }


def test_json_prints_one_object_on_failure_too() -> None:
    console = make(json=True)
    code = run_command(console, "brain.paper/1", fail(StateError("folder is in use", help="stop it")), effect="no order was sent")
    out, err = said(console)
    answer = json.loads(out)
    assert (code, answer["ok"], answer["code"], answer["data"]) == (4, False, 4, {})
    assert answer["error"] == {
        "code": "STATE-001",
        "what": "folder is in use",
        "place": None,
        "effect": "no order was sent",
        "help": "stop it",
        "more": "brain explain STATE-001",
    }
    assert err.startswith("error[STATE-001]: folder is in use")


def test_json_of_a_configuration_error_lists_every_problem() -> None:
    console = make(json=True)
    run_command(console, "brain.paper/1", fail(config_error()))
    error = json.loads(said(console)[0])["error"]
    assert error["code"] == "CFG-014"
    assert error["problems"][0]["field"] == "per_trade_r_pct_base"
    assert error["more"] == "brain explain CFG-014"


def test_an_answer_that_json_cannot_hold_is_a_fault_and_still_one_object(tmp_path: Path) -> None:
    console = make(json=True, report_dir=tmp_path)
    assert run_command(console, "brain.x/1", lambda: Answer({"raw": b"x"})) == 70
    answer = json.loads(said(console)[0])
    assert answer["error"]["code"] == "BUG-001"


# --- faults and interruptions -----------------------------------------------------------------------


def test_a_fault_writes_a_report_and_shows_no_traceback(tmp_path: Path) -> None:
    console = make(report_dir=tmp_path / "reports", environ={"API_SECRET": "hunter22hunter22"})
    code = run_command(console, "brain.x/1", fail(KeyError("api_secret=hunter22hunter22")), effect="3 positions keep their stops")
    _, err = said(console)
    (report,) = (tmp_path / "reports").iterdir()
    assert code == 70
    assert "Traceback" not in err
    assert "error[BUG-001]: an unexpected KeyError stopped the command" in err
    assert "effect: 3 positions keep their stops" in err
    assert f"report: {report}" in err
    text = report.read_text(encoding="utf-8")
    assert "Traceback" in text
    assert "python: 3." in text
    assert "hunter22" not in text + err
    assert report.stat().st_mode & 0o077 == 0


def test_a_broken_contract_keeps_its_code_and_gets_a_report(tmp_path: Path) -> None:
    console = make(report_dir=tmp_path)
    run_command(console, "brain.x/1", fail(ContractError("node regime wrote plans")))
    assert "error[NODE-001]: node regime wrote plans" in said(console)[1]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_fault_without_a_place_for_its_report_says_so(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("x", encoding="utf-8")
    console = make(report_dir=blocked, json=True)
    assert run_command(console, "brain.x/1", fail(ZeroDivisionError())) == 70
    out, err = said(console)
    assert "no report could be written" in err
    assert json.loads(out)["error"]["report"] is None


def test_secrets_are_taken_out_of_reports() -> None:
    """H5."""
    environ = {"BINANCE_API_KEY": "abcdef123456", "HOME": "/home/me", "SHORT_KEY": "ab"}
    text = redact("abcdef123456 token=xyz.123 sk-abcdefghijkl Authorization: Bearer q1w2 password: 'p4ss' /home/me ab", environ)
    assert text == "*** token=*** *** Authorization: Bearer *** password: '***' /home/me ab"


def test_ctrl_c_is_130_without_a_fault() -> None:
    console = make(json=True)
    assert run_command(console, "brain.x/1", fail(KeyboardInterrupt())) == 130
    out, err = said(console)
    assert err == "error: interrupted\n"
    assert json.loads(out)["code"] == 130


def test_an_error_out_of_a_task_group_is_told_as_itself() -> None:
    console = make()
    group = ExceptionGroup("tasks", [ExceptionGroup("inner", [SourceError("no data")])])
    assert run_command(console, "brain.x/1", fail(group)) == 4
    assert "error[DATA-002]: no data" in said(console)[1]


def test_typers_own_exit_and_chosen_exceptions_pass() -> None:
    with pytest.raises(typer.Exit):
        run_command(make(), "brain.x/1", fail(typer.Exit(3)))
    with pytest.raises(EOFError):
        run_command(make(), "brain.x/1", fail(EOFError()), passes=(EOFError,))


# --- Typer ----------------------------------------------------------------------------------------


def small_app(console: Console) -> typer.Typer:
    app = typer.Typer(add_completion=False, rich_markup_mode=None)

    @app.command()
    def good(json: bool = False, n: int = 0) -> None:
        raise typer.Exit(run_command(console, "brain.good/1", lambda: Answer({"n": n}, text=str(n))))

    @app.command()
    def bad(json: bool = False) -> None:
        raise typer.Exit(run_command(console, "brain.bad/1", fail(LockedError("halted", help="brain unlock"))))

    @app.command()
    def broken() -> None:
        raise ZeroDivisionError

    return app


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["good", "--n", "4"], 0, ""),
        (["bad"], 5, "error[LOCK-001]: halted"),
        (["good", "--nn", "4"], 2, "error[CLI-002]: No such option: --nn"),
        (["good", "--n", "four"], 2, "error[CLI-002]:"),
        (["goood"], 2, "error[CLI-002]: No such command 'goood'"),
        (["broken"], 70, "error[BUG-001]"),
    ],
)
def test_typer_keeps_honest_exit_codes(arguments: list[str], code: int, words: str, tmp_path: Path) -> None:
    console = make(report_dir=tmp_path)
    assert run_app(small_app(console), console, arguments) == code
    out, err = said(console)
    assert words in err
    assert (out == "4\n") is (code == 0)


@pytest.mark.parametrize(("arguments", "code"), [(["good", "--json"], 0), (["bad", "--json"], 5), (["good", "--json", "--x"], 2)])
def test_typer_prints_one_object_with_json_whatever_happens(arguments: list[str], code: int) -> None:
    console = make()
    assert run_app(small_app(console), console, arguments) == code
    answer = json.loads(said(console)[0])
    assert (answer["code"], answer["ok"]) == (code, code == 0)
    if code == 2:
        assert answer["error"]["effect"] == NOTHING_STARTED
        assert answer["error"]["help"] == "brain good --help"


@pytest.mark.parametrize("json_too", [False, True])
def test_ctrl_c_while_a_command_is_being_loaded_is_told(json_too: bool) -> None:
    """Typer would answer 130 by itself, without a word."""
    app = small_app(console := make())

    @app.command()
    def slow(json: bool = False) -> None:
        raise KeyboardInterrupt

    assert run_app(app, console, ["slow", *(["--json"] if json_too else [])]) == 130
    out, err = said(console)
    assert err == f"error: interrupted\n   = effect: {NOTHING_STARTED}\n"
    assert (json.loads(out)["code"] if json_too else out) == (130 if json_too else "")


class Full(io.StringIO):
    """A stream on a disk without room."""

    def flush(self) -> None:
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("json_too", [False, True])
def test_an_answer_that_finds_no_room_is_no_fault_of_ours(json_too: bool, tmp_path: Path) -> None:
    console = Console(environ={}, stdout=Full(), stderr=io.StringIO(), json=json_too, report_dir=tmp_path)
    assert run_command(console, "brain.x/1", lambda: Answer({"a": 1}, text="a")) == 4
    assert console.err.getvalue().startswith(  # type: ignore[attr-defined]
        "error[OUT-001]: the answer cannot be written to where stdout goes: No space left on device\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_run_goes_on_when_nobody_can_be_told_how_it_goes() -> None:
    """Exits must not depend on room for a line of progress."""
    console = Console(environ={}, stdout=io.StringIO(), stderr=Full())

    def body() -> Answer:
        console.info("a")
        console.warn("b")
        with console.progress(1, "c") as progress:
            progress.advance()
        return Answer(text="done")

    assert run_command(console, "brain.x/1", body) == 0
    assert console.out.getvalue() == "done\n"  # type: ignore[attr-defined]


# --- progress and questions -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"terminal": True}, BarProgress),
        ({"terminal": True, "environ": {"ACCESSIBLE": "1"}}, LineProgress),
        ({"terminal": True, "environ": {"TERM": "dumb"}}, LineProgress),
        ({"terminal": True, "quiet": True}, SilentProgress),
        ({"terminal": False, "environ": {"FORCE_COLOR": "1"}}, LineProgress),
        ({"terminal": False, "quiet": True}, SilentProgress),
    ],
)
def test_a_bar_is_drawn_only_where_a_person_watches(options: dict[str, Any], kind: type) -> None:
    assert isinstance(make(**options).progress(10, "replay"), kind)


def test_progress_never_touches_stdout() -> None:
    for terminal in (True, False):
        console = make(terminal=terminal)
        with console.progress(200, "replay [5m]") as progress:
            for _ in range(200):
                progress.advance()
            progress.note("2 trades")
        out, err = said(console)
        assert out == ""
        assert "replay [5m]" in err
        assert (ESC in err) is terminal


def test_plain_progress_is_a_line_each_five_percent() -> None:
    lines: list[str] = []
    with LineProgress(lines.append, 1000, "replay", now=lambda: 0.0) as progress:
        for _ in range(1000):
            progress.advance()
    assert len(lines) == 20
    assert lines[0].startswith("replay: 5 % (50 of 1,000)")
    assert lines[-1].startswith("replay: 100 % (1,000 of 1,000)")


def test_plain_progress_without_an_end_is_a_line_each_ten_seconds() -> None:
    lines: list[str] = []
    clock = iter(range(1000))
    with LineProgress(lines.append, None, "paper", now=lambda: float(next(clock))) as progress:
        progress.note("1 open")
        for _ in range(60):
            progress.advance()
    assert 4 <= len(lines) <= 6
    assert lines[0].endswith(", 1/s, 1 open")


def test_what_was_done_before_counts_as_done_and_not_as_speed() -> None:
    lines: list[str] = []
    clock = iter(range(1000))
    with LineProgress(lines.append, 100, "paper", now=lambda: float(next(clock))) as progress:
        progress.go_on_from(90)
        for _ in range(5):
            progress.advance()
    assert lines[-1] == "paper: 95 % (95 of 100), 1/s"


def test_a_bar_that_goes_on_begins_where_it_stood() -> None:
    stream = io.StringIO()
    with BarProgress(stream, 100, "paper", color=False) as progress:
        progress.go_on_from(90)
        progress.advance(5)
    assert "95/100" in stream.getvalue()


def test_what_a_start_is_busy_with_is_for_whoever_waits_at_a_terminal() -> None:
    """A log, a script and --quiet need not know."""
    consoles = {
        "warming up\n": [make(terminal=True), make(terminal=True, environ={"ACCESSIBLE": "1"})],
        "": [make(), make(terminal=True, quiet=True), make(terminal=True, json=True)],
    }
    for expected, ones in consoles.items():
        for console in ones:
            console.stage("warming up")
            assert said(console) == ("", expected)


def test_a_question_is_never_asked_where_nobody_can_answer() -> None:
    for console in (make(), make(terminal=True, no_input=True)):
        with pytest.raises(UsageError, match="confirmation") as error:
            console.confirm("lift the kill-switch?", "unlock")
        assert (error.value.code, error.value.help) == ("CLI-003", "run it at a terminal, without --no-input")


def test_a_confirmation_is_typed() -> None:
    typed = make(terminal=True, stdin=Terminal("unlock\n"))
    assert typed.interactive
    assert typed.confirm("lift?", "unlock")
    assert "Type unlock to go on" in said(typed)[1]
    assert not make(terminal=True, stdin=Terminal("\n")).confirm("lift?", "unlock")


# --- a real process -----------------------------------------------------------------------------------


def python(code: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def test_importing_the_console_loads_nothing_heavy() -> None:
    heavy = ("numpy", "pandas", "langgraph", "rich", "typer", "pydantic", "msgspec", "asyncio", "ccxt")
    ran = python(f"import sys, graph.console, graph.explanations\nprint([m for m in {heavy!r} if m in sys.modules])")
    assert (ran.stdout, ran.returncode) == ("[]\n", 0)


def test_a_real_pipe_gets_no_escape_code_and_no_traceback(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom graph.console import Console, run_command\n"
        "sys.exit(run_command(Console(), 'brain.x/1', lambda: {}['gone']))"
    )
    ran = python(code, TMPDIR=str(tmp_path))
    assert ran.returncode == 70
    assert ran.stdout == ""
    assert ESC not in ran.stderr
    assert "Traceback" not in ran.stderr
    assert len(list(tmp_path.glob("brain-report-*.txt"))) == 1


def test_a_closed_pipe_ends_quietly() -> None:
    code = (
        "import sys\nfrom graph.console import Answer, Console, run_command\n"
        "sys.exit(run_command(Console(), 'brain.x/1', lambda: Answer(text='x' * 10_000_000)))"
    )
    ran = subprocess.run(
        ["/bin/sh", "-c", '"$0" -c "$1" | head -c 1', sys.executable, code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (ran.stdout, ran.stderr) == ("x", "")
