"""What every command does when all is well: one answer on stdout, words on stderr, honest exit codes (ux.md section 5)."""

from __future__ import annotations

import csv
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

from core.codes import RefusalCode
from core.types import REGIME_CODES
from graph.cli import app
from graph.command_docs import render_commands
from graph.commands import doctor as doctor_command
from tests.support.commands import (
    SOON_WARM,
    Said,
    alerts,
    at_terminal,
    brain,
    configs_in,
    outside,
    paper,
    rewrite,
    rows,
    short_past,
    snapshot,
    soon_warm,
)

ESC = "\x1b"
ISSUE_KEYS = """
    bars symbol_bars decisions signals plans refusals orders trades regimes equity_start equity_end max_dd_pct profit_factor
    winrate fees funding daily_locks kill_switches errors warnings governance_digest decisions_hash""".split()  # noqa: SIM905
RAW_KEYS = "scratches profit_factor_without_scratches winrate_with_scratches pnl_r avg_win_r avg_loss_r max_dd_r".split()  # noqa: SIM905
"""Beside the issue's: raw figures (X6) and those in R (I3)."""
STRATEGIES = ["breakout_4h", "vol_exp_15m", "range_rev_5m", "funding_rev"]


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Said]:
    """A short run on the made market, with its answer in JSON."""
    state = tmp_path_factory.mktemp("session")
    return state, paper(state, bars=300)


@pytest.fixture
def quick() -> Iterator[None]:
    with short_past():
        yield


# --- brain paper ------------------------------------------------------------------------------------------


def test_the_data_of_a_run_are_those_that_the_issue_names(session: tuple[Path, Said]) -> None:
    """Issue 2, section 6."""
    state, said = session
    assert set(said.answer) == {"schema", "ok", "code", "data", "warnings", "error"}
    assert (said.answer["schema"], said.answer["ok"], said.answer["error"]) == ("brain.paper/1", True, None)
    data = said.data
    assert {*ISSUE_KEYS, *RAW_KEYS, "session"} <= set(data)
    assert (data["bars"], data["symbol_bars"], data["decisions"], data["session"]) == (300, 900, 300, str(state))
    assert list(data["signals"]) == STRATEGIES
    assert set(data["refusals"]) <= set(RefusalCode.__members__)
    assert list(data["regimes"]) == [regime.value for regime in REGIME_CODES]
    assert sum(data["regimes"].values()) == 900
    assert data["equity_start"] == 300.0
    assert re.fullmatch(r"[0-9a-f]{64}", data["decisions_hash"])
    assert re.fullmatch(r"[0-9a-f]{64}", data["governance_digest"])


def test_the_figures_of_a_run_are_those_on_record(session: tuple[Path, Said]) -> None:
    """The same number for the same name in the answer and in the database."""
    state, said = session
    data = said.data
    for table, figure in (("decisions", "decisions"), ("plans", "plans"), ("orders", "orders"), ("trades", "trades")):
        assert rows(state, f"SELECT COUNT(*) FROM {table}") == [(data[figure],)]  # noqa: S608
    by_strategy = dict(rows(state, "SELECT strategy, COUNT(*) FROM signals GROUP BY strategy"))
    assert {name: n for name, n in data["signals"].items() if n} == by_strategy
    assert rows(state, "SELECT hash FROM decisions ORDER BY seq DESC LIMIT 1") == [(data["decisions_hash"],)]
    loud = [row for row in rows(state, "SELECT level FROM alerts") if row[0] != "info"]
    assert data["warnings"] == len(loud)


@pytest.mark.usefixtures("quick")
def test_progress_and_warnings_stay_out_of_stdout(session: tuple[Path, Said], tmp_path: Path) -> None:
    said = session[1]
    assert "\nsession " in said.err
    assert said.err.startswith("synthetic market, seed 7, scenario mixed: ")  # a note, no warning
    assert said.answer["warnings"] == []
    people = brain("paper", "--speed", "max", "--until-bars", "40", "--state", str(tmp_path))
    lines = people.out.splitlines()
    assert lines[0].startswith("40 bars (120 symbol-bars), 40 decisions up to 2026-01-05 05:20+02:00")
    words = [line.split()[0] for line in lines[1:]]
    assert words == "state signals plans refused equity costs quality data locks decisions session".split()  # noqa: SIM905
    assert ESC not in people.out + people.err


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("zone", "shown"),
    [
        ("America/New_York", "2026-01-04 22:20-05:00"),
        ("UTC", "2026-01-05 03:20+00:00"),
        ("Asia/Kathmandu", "2026-01-05 09:05+05:45"),
    ],
)
def test_a_person_reads_times_of_their_own_zone_and_records_stay_utc(zone: str, shown: str, tmp_path: Path) -> None:
    """H5, X1: TZ is for display only; the decisions and their times are the same in any zone."""
    people = brain("paper", "--speed", "max", "--until-bars", "40", "--state", str(tmp_path), environ={"TZ": zone})
    assert people.out.splitlines()[0] == f"40 bars (120 symbol-bars), 40 decisions up to {shown}"
    assert rows(tmp_path, "SELECT MAX(ts) FROM decisions") == [(1_767_583_200_000,)]
    same = paper(tmp_path, bars=40).data
    assert f"decisions {same['decisions_hash']}" in people.out


@pytest.mark.usefixtures("quick")
def test_quiet_says_the_answer_alone(tmp_path: Path) -> None:
    said = paper(tmp_path, "--quiet", bars=2)
    assert said.err == ""
    assert said.data["bars"] == 2


@pytest.mark.usefixtures("quick")
def test_symbols_are_taken_in_both_spellings_and_once(tmp_path: Path) -> None:
    """B2: BINANCE:BTCUSDT.P is BTC/USDT:USDT."""
    ours = paper(tmp_path / "a", "--symbols", "ETH/USDT:USDT,BTC/USDT:USDT", bars=60).data
    theirs = paper(tmp_path / "b", "--symbols", "BINANCE:ETHUSDT.P, BINANCE:BTCUSDT.P,BTC/USDT:USDT", bars=60).data
    assert ours["symbol_bars"] == 120
    assert ours | {"session": ""} == theirs | {"session": ""}


@pytest.mark.usefixtures("quick")
def test_a_seed_and_a_scenario_make_another_market_and_the_same_ones_the_same(tmp_path: Path) -> None:
    def decided(name: str, *arguments: str) -> str:
        return paper(tmp_path / name, *arguments, bars=60).data["decisions_hash"]

    default = decided("default")
    assert decided("same", "--seed", "7", "--scenario", "mixed", "--source", "synthetic") == default
    assert len({default, decided("seed", "--seed", "8"), decided("calm", "--scenario", "calm")}) == 3


@pytest.mark.usefixtures("quick")
def test_until_bars_counts_the_bars_of_the_session_and_not_of_the_process(tmp_path: Path) -> None:
    assert paper(tmp_path, bars=30).data["bars"] == 30
    assert paper(tmp_path, bars=50).data["bars"] == 50
    again = paper(tmp_path, bars=40)  # already past: nothing more is done, and that is no failure
    assert (again.code, again.data["bars"]) == (0, 50)


@pytest.mark.usefixtures("quick")
def test_both_engines_give_the_same_decisions(tmp_path: Path) -> None:
    by_graph = paper(tmp_path / "graph", "--engine", "graph", bars=60)
    assert "engine graph" in by_graph.err
    by_loop = paper(tmp_path / "loop", bars=60)
    assert "engine direct" in by_loop.err
    assert by_graph.data | {"session": ""} == by_loop.data | {"session": ""}


@pytest.mark.usefixtures("quick")
def test_a_taken_port_stops_a_live_like_run_and_not_a_replay(tmp_path: Path, recordings: Path) -> None:
    """X38; nobody scrapes the past."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = {"PROMETHEUS_PORT": str(taken.getsockname()[1])}
        said = paper(tmp_path / "synthetic", bars=1, environ=port)
        assert (said.code, said.answer["error"]["code"]) == (4, "MON-001")
        assert port["PROMETHEUS_PORT"] in said.err
        assert "nothing was started" in said.err
        replay = paper(tmp_path / "replay", "--source", "replay", "--data", str(recordings), bars=3, environ=port)
    assert replay.data["bars"] == 3
    assert [w for w in replay.answer["warnings"] if w.endswith("the replay goes on without metrics")]
    assert "metrics not served" in replay.err


@pytest.mark.usefixtures("quick")
def test_replay_takes_a_range_and_says_what_is_missing(tmp_path: Path, recordings: Path) -> None:
    arguments = ("--source", "replay", "--data", str(recordings), "--symbols", "BINANCE:BTCUSDT.P")
    said = paper(tmp_path, *arguments, "--from", "2026-01-05T06:00", "--to", "2026-01-05T10:00:00Z")
    assert said.data["bars"] == 48
    assert rows(tmp_path, "SELECT MIN(ts), MAX(ts) FROM decisions") == [(1_767_593_100_000, 1_767_607_200_000)]
    assert any("BTC/USDT:USDT" in warning and "spot" in warning for warning in said.answer["warnings"])
    outside_of_it = paper(tmp_path / "x", *arguments, "--from", "2027-01-05")
    assert (outside_of_it.code, outside_of_it.answer["error"]["code"]) == (4, "DATA-015")
    assert "2026-01-06" in outside_of_it.err


def test_colour_and_redrawing_are_for_terminals_that_want_them(tmp_path: Path) -> None:
    """A terminal gets colours and a bar where the end is known; NO_COLOR takes the colours, unless it is empty."""
    colored = at_terminal("explain", "NOPE")
    assert colored.code == 2
    assert f"{ESC}[1;31merror[CLI-005]{ESC}[0m:" in colored.out
    assert ESC in at_terminal("explain", "NOPE", environ={"NO_COLOR": ""}).out
    for environ in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert ESC not in at_terminal("explain", "NOPE", environ=environ).out
    run = ("paper", "--speed", "max", "--until-bars", "2", "--symbols", "BTC/USDT:USDT", "--state", str(tmp_path))
    bar = at_terminal(*run, environ={"NO_COLOR": "1"}, program=soon_warm)
    assert bar.code == 0
    assert "trading on paper" in bar.out
    assert bar.out.startswith("loading")
    assert "warming up features and regimes from the past" in bar.out
    assert f"{ESC}[?25l" in bar.out  # redrawn in place, with the cursor hidden
    assert not re.search(rf"{ESC}\[[0-9;]+m", bar.out)


def test_a_run_without_an_end_is_a_live_panel_until_ctrl_c_which_saves_it(tmp_path: Path) -> None:
    """F5: exit code 130, and the next start goes on from there; every state stands there as a word, not only as a colour."""
    run = ("paper", "--speed", "3000", "--symbols", "BTC/USDT:USDT", "--state", str(tmp_path))
    shown = at_terminal(*run, answers=[(", bar 3", "\x03")], program=soon_warm)
    assert shown.code == 130
    for words in ("PAPER", "● active", "equity", "USD", "day +0.00 of -1.8 %", "72 h ", "regime 1h", "BTC"):
        assert words in shown.out
    assert "Traceback" not in shown.out
    bars = int(re.search(r"(\d+) bars \(", shown.out)[1])
    assert snapshot(tmp_path)["bars"] == bars >= 3
    with short_past(SOON_WARM):
        assert paper(tmp_path, "--symbols", "BTC/USDT:USDT", bars=bars + 5).data["bars"] == bars + 5


# --- the other commands -----------------------------------------------------------------------------------


def test_help_comes_without_the_heavy_packages() -> None:
    """`brain --help` in under half a second: nothing that takes long to load is loaded."""
    heavy = ["numpy", "pandas", "langgraph", "langchain_core", "pyarrow", "talib", "ccxt", "loguru", "rich", "prometheus_client"]
    for arguments in (["--help"], ["paper", "--help"], ["--version"]):
        code = (
            f"import sys; sys.argv = ['brain', *{arguments}]\n"
            "from graph.cli import main\n"
            "try: main()\n"
            "except SystemExit as end: assert not end.code, end.code\n"
            f"loaded = [name for name in {heavy} if name in sys.modules]\n"
            "print('LOADED', loaded, file=sys.stderr)"
        )
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=outside(), check=True)
        assert ran.stderr == "LOADED []\n"
        assert ESC not in ran.stdout


def test_every_command_and_flag_has_a_help_text() -> None:
    def walk(group):
        for inner in group.commands.values():
            yield from walk(inner) if hasattr(inner, "commands") else [inner]

    found = list(walk(get_command(app)))
    assert {found_command.name for found_command in found} >= {"paper", "doctor", "unlock", "export", "explain", "verify", "sign"}
    for found_command in found:
        assert found_command.help
        assert all(parameter.help for parameter in found_command.params), found_command.name


def test_the_page_of_commands_names_every_command_flag_and_exit_code() -> None:
    text = render_commands()
    assert "    brain accept [SYMBOL] [flags]" in text
    assert "    brain explain CODE [flags]" in text
    for words in ("## brain paper", "## brain governance sign", "`--until-bars N`", "`--unlock-after DURATION`", "| `130` |"):
        assert words in text
    assert text.count("| `--color WHEN` |") == text.count("## brain ")
    assert "`losing_streak`" in text
    assert "brain export --state DIR --out DIR [flags]" in text


def test_brain_alone_says_what_is_installed_and_what_to_do_next() -> None:
    said = brain()
    assert said.code == 0
    assert re.match(r"brain \S+\n", said.out)
    assert "signed, digest 26a3937c48bb" in said.out
    assert "brain paper" in said.out
    assert "brain doctor" in said.out
    assert said.err == ""
    assert brain("--version").out == said.out.splitlines()[0] + "\n"


def test_explain_tells_refusals_errors_and_exit_codes() -> None:
    for code in ("COST_SHARE", "cost_share", "CFG-014", "STATE-010", "STATE-012", "LOCK-002", "LOCK-003", "130"):
        said = brain("explain", code)
        assert said.code == 0
        assert said.err == ""
        assert said.out.startswith(code.upper())
        assert "no text of its own" not in said.out
    assert brain("explain", "COST_SHARE", "--json").data["text"] == brain("explain", "COST_SHARE").out.strip()


def test_export_writes_csv_files_and_names_them(session: tuple[Path, Said], tmp_path: Path) -> None:
    """I2."""
    state, ran = session
    said = brain("export", "--state", str(state), "--out", str(tmp_path / "csv"))
    assert said.code == 0
    names = [Path(line).name for line in said.out.splitlines()]
    assert names == ["trades.csv", "plans.csv", "orders.csv", "fills.csv", "refusals.csv"]
    with (tmp_path / "csv" / "orders.csv").open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == ran.data["orders"]
    as_json = brain("export", "--state", str(state), "--out", str(tmp_path / "csv"), "--json")
    assert as_json.data["files"] == said.out.splitlines()
    (tmp_path / "file").write_text("", encoding="utf-8")
    blocked = brain("export", "--state", str(state), "--out", str(tmp_path / "file"), "--json")
    assert (blocked.code, blocked.answer["error"]["code"]) == (2, "CLI-001")
    below = brain("export", "--state", str(state), "--out", str(tmp_path / "file" / "below"))
    assert below.code == 4


# --- doctor and the signature -------------------------------------------------------------------------


def failed(said: Said) -> list[str]:
    return said.answer["data"]["failed"]


def test_doctor_finds_nothing_where_all_is_well(tmp_path: Path) -> None:
    """K1."""
    said = brain("doctor", "--state", str(tmp_path))
    assert said.code == 0
    names = [line.split(maxsplit=1)[1][:14].strip() for line in said.out.splitlines()]
    assert names == ["python", "packages", "configuration", "governance", "environment", "metrics port", "state folder"]
    assert said.err == ""


def test_doctor_names_each_thing_that_is_not_well_with_its_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        said = brain(
            "doctor", "--state", str(tmp_path / "file"), "--json", environ={"PROMETHEUS_PORT": str(taken.getsockname()[1])}
        )
    assert (said.code, failed(said)) == (4, ["metrics port", "state folder"])
    assert all(check["remedy"] for check in said.answer["data"]["checks"] if not check["ok"])
    assert not said.answer["ok"]


def test_doctor_tells_a_wrong_configuration_from_one_that_nobody_signed(tmp_path: Path) -> None:
    folder = configs_in(tmp_path / "configs")
    rewrite(folder / "governance.yaml", "leverage_cap: 3.0", "leverage_cap: 2.5")
    unsigned = brain("doctor", "--configs", str(folder), "--state", str(tmp_path), "--json")
    assert (unsigned.code, failed(unsigned)) == (3, ["governance"])
    rewrite(folder / "symbols.yaml", "symbols:", "symbolz:")
    wrong = brain("doctor", "--configs", str(folder), "--state", str(tmp_path))
    assert wrong.code == 2
    assert "help: configuration: " in wrong.out
    for mode in ("live", "paper"):
        assert brain("doctor", "--state", str(tmp_path), environ={"MODE": mode, "PROMETHEUS_PORT": "0"}).code == 0
    assert brain("doctor", "--state", str(tmp_path), environ={"MODE": "lve"}).code == 2
    assert brain("doctor", "--state", str(tmp_path), environ={"PROMETHEUS_PORT": "x"}).code == 2


def test_doctor_misses_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_command, "_NEEDED", ("numpy", "no_such_package"))
    said = brain("doctor", "--state", str(tmp_path))
    assert said.code == 4
    assert "missing no_such_package" in said.out
    assert "help: packages: make setup" in said.out


def test_verify_answers_yes_or_no(tmp_path: Path) -> None:
    """H2; exit code 1 is an answer, not a failure."""
    folder = configs_in(tmp_path / "configs")
    assert brain("governance", "verify", "--configs", str(folder)).code == 0
    rewrite(folder / "governance.yaml", "leverage_cap: 3.0", "leverage_cap: 2.5")
    said = brain("governance", "verify", "--configs", str(folder), "--json")
    assert (said.code, said.answer["error"]) == (1, None)
    assert said.answer["data"]["state"] == "mismatch"
    assert said.answer["data"]["differences"] == ["leverage_cap"]
    assert "leverage_cap: signed 3.0, now 2.5" in brain("governance", "verify", "--configs", str(folder)).out
    (folder / "governance.lock").unlink()
    assert brain("governance", "verify", "--configs", str(folder), "--json").answer["data"]["state"] == "missing"
    shutil.rmtree(folder)
    assert brain("governance", "verify", "--configs", str(folder)).code == 2


def test_the_alerts_of_a_quiet_run_are_none(session: tuple[Path, Said]) -> None:
    assert [text for _, code, text in alerts(session[0]) if code in {"paused", "blocked"}] == []
