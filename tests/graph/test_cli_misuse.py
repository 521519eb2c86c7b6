"""What every command says when it is used or configured wrongly (ux.md section 5; issue 2, section 6)."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.commands import Said, at_terminal, brain, command, configs_in, outside, paper, rewrite

NOTHING = "nothing was started; no order was sent"

MISUSES: list[tuple[tuple[str, ...], str, str]] = [
    # arguments, code of the error, what is said
    (("papr",), "CLI-002", "'paper'"),
    (("--nope",), "CLI-002", "--nope"),
    (("paper", "--sed", "3"), "CLI-002", "--seed"),
    (("paper", "extra"), "CLI-002", "extra"),
    (("paper", "--source", "synthetc"), "CLI-002", "synthetc"),
    (("paper", "--engine", "fast"), "CLI-002", "fast"),
    (("paper", "--seed", "-1"), "CLI-002", "--seed"),
    (("paper", "--seed", "x"), "CLI-002", "--seed"),
    (("paper", "--until-bars", "0"), "CLI-002", "--until-bars"),
    (("paper", "--until-bars"), "CLI-002", "--until-bars"),
    (("paper", "--equity", "0"), "CLI-002", "--equity"),
    (("paper", "--equity", "nan"), "CLI-002", "--equity"),
    (("paper", "--color", "blue"), "CLI-001", "'blue'"),
    (("paper", "--speed", "fast"), "CLI-001", "'fast'"),
    (("paper", "--speed", "0"), "CLI-001", "'0'"),
    (("paper", "--speed", "-5"), "CLI-001", "'-5'"),
    (("paper", "--speed", "inf"), "CLI-001", "'inf'"),
    (("paper", "--speed", "nan"), "CLI-001", "'nan'"),
    (("paper", "--scenario", "chrash"), "CLI-001", "crash"),
    (("paper", "--symbols", "bogus"), "CLI-004", "'bogus'"),
    (("paper", "--symbols", ","), "CLI-001", "','"),
    (("paper", "--data", "/tmp"), "CLI-001", "--data belongs to --source replay"),
    (("paper", "--from", "2024-01-01"), "CLI-001", "--from belongs to --source replay"),
    (("paper", "--to", "2024-01-01"), "CLI-001", "--to belongs to --source replay"),
    (("paper", "--unlock-after", "24h"), "CLI-001", "--until-bars"),
    (("paper", "--unlock-after", "3x", "--until-bars", "9"), "CLI-001", "'3x'"),
    (("paper", "--source", "exchange", "--unlock-after", "24h", "--until-bars", "9"), "CLI-001", "beside a real one"),
    (("paper", "--unlock-after", "banana"), "CLI-001", "'banana'"),
    (("paper", "--unlock-after", "-1h", "--until-bars", "9"), "CLI-001", "'-1h'"),
    (("paper", "--backup", "bybit"), "CLI-001", "--backup belongs to --source exchange"),
    (("paper", "--source", "exchange", "--backup", "binance"), "CLI-001", "'binance'"),
    (("live", "--backup", "mtgox"), "CLI-001", "'mtgox'"),
    (("paper", "--source", "replay"), "CLI-001", "--data DIR"),
    (("paper", "--source", "replay", "--data", ".", "--seed", "3"), "CLI-001", "--seed belongs to --source synthetic"),
    (("paper", "--source", "replay", "--data", ".", "--scenario", "calm"), "CLI-001", "--scenario belongs to --source synthetic"),
    (("paper", "--source", "replay", "--data", ".", "--from", "yesterday"), "CLI-001", "'yesterday'"),
    (("paper", "--source", "replay", "--data", ".", "--to", "2024-13-01"), "CLI-001", "'2024-13-01'"),
    (("paper", "--source", "replay", "--data", ".", "--from", "2024-02-01", "--to", "2024-01-01"), "CLI-001", "before --to"),
    (("doctor", "--nope"), "CLI-002", "--nope"),
    (("doctor", "extra"), "CLI-002", "extra"),
    (("unlock",), "CLI-002", "--state"),
    (("unlock", "--nope"), "CLI-002", "--nope"),
    (("paper", "--entry", "maker"), "CLI-001", "--entry belongs to --broker local: the direct one fills entries whole"),
    (("paper", "--slices", "1", "--broker", "direct"), "CLI-001", "--slices belongs to --broker local"),
    (("paper", "--slices", "2", "--entry", "maker", "--broker", "local"), "CLI-001", "an entry that rests first is not cut"),
    (("paper", "--slices", "11", "--broker", "local"), "CLI-002", "--slices"),
    (("live", "--entry", "sideways"), "CLI-002", "sideways"),
    (("live", "--slices", "0"), "CLI-002", "--slices"),
    (("live", "--slices", "3", "approve"), "CLI-002", "--slices belongs behind approve"),
    (("export",), "CLI-002", "--state"),
    (("export", "--state", "x"), "CLI-002", "--out"),
    (("explain",), "CLI-002", "CODE"),
    (("explain", "COST_SHAR"), "CLI-005", "COST_SHARE"),
    (("replay", "--engine", "auto"), "CLI-002", "auto"),
    (("replay", "a", "b"), "CLI-002", "b"),
    (("sessions", "verfy"), "CLI-002", "verify"),
    (("sessions", "--state", "x", "verify"), "CLI-002", "--state belongs behind verify"),
    (("sessions", "trim", "--keep", "long"), "CLI-001", "brain sessions trim --keep"),
    (("sessions", "trim", "--keep", "10d"), "JRN-009", "186d"),
    (("governance",), "CLI-002", "command"),
    (("governance", "sgn"), "CLI-002", "'sign'"),
    (("governance", "verify", "extra"), "CLI-002", "extra"),
    (("governance", "sign", "--nope"), "CLI-002", "--nope"),
]


def told(said: Said) -> str:
    """The error as people see it; nothing may look like a fault of ours."""
    assert "Traceback" not in said.err
    assert "\x1b" not in said.err + said.out
    return said.err


@pytest.mark.parametrize(
    ("arguments", "code", "says"), MISUSES, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_a_misuse_is_exit_code_2_with_code_effect_help_and_more(arguments: tuple[str, ...], code: str, says: str) -> None:
    said = brain(*arguments)
    text = told(said)
    assert said.code == 2
    assert said.out == ""
    assert text.startswith(f"error[{code}]: ")
    assert says in text
    assert f"   = more: brain explain {code}\n" in text
    assert text.count("   = more: ") == text.count("   = help: brain ") + text.count("   = help: --") == 1
    if arguments[0] == "paper":
        assert f"   = effect: {NOTHING}\n" in text


@pytest.mark.parametrize(
    ("arguments", "code", "says"), MISUSES, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_a_misuse_with_json_is_one_object_with_the_same_code(arguments: tuple[str, ...], code: str, says: str) -> None:
    """The answer of a failure is one JSON object too, and the exit code stays honest."""
    said = brain(*arguments, "--json") if arguments[-1] != "--until-bars" else brain("paper", "--json", "--until-bars")
    answer = said.answer
    assert set(answer) == {"schema", "ok", "code", "data", "warnings", "error"}
    assert (said.code, answer["code"], answer["ok"], answer["data"]) == (2, 2, False, {})
    if arguments[0] not in {"unlock", "governance"}:  # which take no --json, and say that first
        assert answer["error"]["code"] == code
        assert says in answer["error"]["what"] + answer["error"]["help"]
    assert answer["error"]["more"] == f"brain explain {answer['error']['code']}"


@pytest.mark.parametrize("code", sorted({code for _, code, _ in MISUSES}))
def test_every_code_of_a_misuse_is_explained(code: str) -> None:
    said = brain("explain", code)
    assert said.code == 0
    assert said.out.startswith(f"{code}: ")
    assert "no text of its own" not in said.out


# --- data ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "code", "says"),
    [
        (lambda folder: None, "DATA-010", "does not exist"),
        (lambda folder: folder.mkdir(), "DATA-011", "holds no candles"),
        (lambda folder: folder.write_text("x"), "DATA-010", "folder"),
    ],
    ids=["absent", "empty", "a file"],
)
def test_a_bad_data_folder_is_exit_code_4(make, code: str, says: str, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    make(folder)
    said = brain("paper", "--source", "replay", "--data", str(folder), "--state", str(tmp_path / "state"))
    assert said.code == 4
    assert told(said).startswith(f"error[{code}]: ")
    assert says in said.err
    assert f"   = effect: {NOTHING}\n" in said.err
    assert not (tmp_path / "state").exists()


def test_a_symbol_without_an_instrument_is_named_with_those_that_have_one(tmp_path: Path) -> None:
    said = brain("paper", "--symbols", "NOPE/USDT:USDT", "--state", str(tmp_path / "state"), "--until-bars", "1")
    assert said.code == 4
    assert "error[DATA-016]: symbols.yaml has no entry for NOPE/USDT:USDT; it has BTC/USDT:USDT" in told(said)


# --- configuration ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "old", "new", "code", "says"),
    [
        ("governance.yaml", "leverage_cap: 3.0", "leverage_cap: 30.0", "CFG-014", ("governance.yaml:", "30.0", "allowed")),
        ("governance.yaml", "leverage_cap: 3.0", "leverage_cap: lots", "CFG-012", ("governance.yaml:", "lots", "allowed")),
        ("governance.yaml", "leverage_cap: 3.0", "leverage_cap: .nan", "CFG-013", ("governance.yaml:", ".nan")),
        ("governance.yaml", "leverage_cap: 3.0", "leverage_kap: 3.0", "CFG-010", ("leverage_cap",)),
        ("strategies.yaml", "regimes:", "regimez:", "CFG-010", ("strategies.yaml", "regimes")),
        ("enable_map.yaml", "min_bars_hold: 6", "min_bars_hold: 7", "CFG-017", ("enable_map.yaml", "7", "governance.yaml")),
    ],
)
def test_a_wrong_configuration_stops_everything_before_the_start(
    file: str, old: str, new: str, code: str, says: tuple[str, ...], tmp_path: Path
) -> None:
    """H1: file, field, value and what is allowed; exit code 2; nothing is made."""
    folder = configs_in(tmp_path / "configs")
    rewrite(folder / file, old, new)
    state = tmp_path / "state"
    said = brain("paper", "--configs", str(folder), "--state", str(state), "--json")
    assert (said.code, said.answer["code"]) == (2, 2)
    assert f"error[{code}]: " in told(said)
    for word in (*says, old.partition(":")[0]):
        assert word in said.err
    problems = said.answer["error"]["problems"]
    assert [p["file"] for p in problems if p["code"] == code] == [str(folder / file)]
    assert not state.exists()
    # each problem says once where there is more to read
    assert said.err.count("= more: brain explain") == len(problems)


def test_a_folder_of_configuration_that_is_not_there_or_lacks_a_file_is_exit_code_2(tmp_path: Path) -> None:
    assert brain("paper", "--configs", str(tmp_path / "none")).code == 2
    folder = configs_in(tmp_path / "configs")
    (folder / "symbols.yaml").unlink()
    said = brain("paper", "--configs", str(folder))
    assert said.code == 2
    assert "symbols.yaml" in said.err


def test_limits_that_nobody_signed_refuse_the_start_with_exit_code_3(tmp_path: Path) -> None:
    """H2: changed, without a lock, with a lock that contradicts itself."""
    for change in (
        lambda folder: rewrite(folder / "governance.yaml", "max_daily_loss_pct: 1.8", "max_daily_loss_pct: 1.7"),
        lambda folder: (folder / "governance.lock").unlink(),
        lambda folder: (folder / "governance.lock").write_text("digest: 12\n"),
    ):
        shutil.rmtree(tmp_path / "configs", ignore_errors=True)
        folder = configs_in(tmp_path / "configs")
        change(folder)
        said = brain("paper", "--configs", str(folder), "--state", str(tmp_path / "state"), "--json")
        assert (said.code, said.answer["code"], said.answer["ok"]) == (3, 3, False)
        assert f"brain governance sign --configs {folder}" in told(said)
        assert not (tmp_path / "state").exists()
        checked = brain("doctor", "--configs", str(folder), "--state", str(tmp_path), environ={"PROMETHEUS_PORT": "0"})
        assert f"brain governance sign --configs {folder}" in checked.out
        signing = brain("governance", "sign", "--configs", str(folder))
        assert f"brain governance verify --configs {folder}" in signing.err
        assert f"brain governance sign --configs {folder}" in signing.err


def test_mode_live_contradicts_the_command(tmp_path: Path) -> None:
    """X37."""
    said = brain("paper", "--state", str(tmp_path / "s"), environ={"MODE": "live"})
    assert said.code == 2
    assert "error[CFG-030]: MODE is live, but the command trades paper" in told(said)


def test_a_wrong_variable_is_named_and_a_secret_is_not_shown(tmp_path: Path) -> None:
    said = brain("paper", environ={"PROMETHEUS_PORT": "high", "LOG_LEVEL": "LOUD"})
    assert said.code == 2
    assert "PROMETHEUS_PORT" in told(said)
    assert "LOG_LEVEL" in said.err
    (tmp_path / ".env").write_text("API_SECRET=hunter22hunter22\nAPI_SEKRET=hunter33hunter33\n", encoding="utf-8")
    said = brain("paper", "--json", cwd=tmp_path)
    assert said.code == 2
    assert "API_SECRET" in told(said)
    assert "hunter" not in said.err + said.out


def test_what_is_wrong_in_the_limits_is_signed_where_it_is_wrong(tmp_path: Path) -> None:
    """As typed from the folder above it, and with a name that a shell would take apart."""
    folder = configs_in(tmp_path / "my limits")
    rewrite(folder / "governance.yaml", "per_trade_r_pct_base: 0.8", "per_trade_r_pct_base: 1.2")
    said = brain("paper", "--configs", str(folder), cwd=tmp_path)
    assert "then `brain governance sign --configs 'my limits'`" in said.err


def test_a_full_disk_behind_stdout_is_exit_code_4() -> None:
    """A process of its own, since the interpreter writes once more when it ends."""
    for arguments in (("explain", "JRN-001"), ("explain", "JRN-001", "--json"), ("--version",), ("--help",)):
        with Path("/dev/full").open("w", encoding="utf-8") as full:
            ran = subprocess.run(command(*arguments), stdout=full, stderr=subprocess.PIPE, text=True, env=outside(), check=False)
        assert ran.returncode == 4, ran
        assert ran.stderr.startswith(
            "error[OUT-001]: the answer cannot be written to where stdout goes: No space left on device\n"
        )
        assert "Exception" not in ran.stderr


# --- state folder ---------------------------------------------------------------------------------------


def test_a_state_folder_that_cannot_be_made_is_exit_code_4(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    for place in (tmp_path / "file", tmp_path / "file" / "below", Path("/dev/null/state")):
        said = paper(place, bars=1)
        assert said.code == 4
        assert told(said).splitlines()[-4].startswith("error[STATE-002]: state folder ")
        assert f"= effect: {NOTHING}" in said.err


def test_a_session_that_is_not_there_is_named_as_such(tmp_path: Path) -> None:
    said = brain("export", "--state", str(tmp_path), "--out", str(tmp_path / "out"), "--json")
    assert (said.code, said.answer["error"]["code"]) == (4, "STATE-005")
    assert not (tmp_path / "out").exists()
    shown = at_terminal("unlock", "--state", str(tmp_path))
    assert shown.code == 4
    assert "STATE-005" in shown.out


def test_an_answer_of_a_failure_is_json_that_any_reader_takes(tmp_path: Path) -> None:
    said = brain("paper", "--symbols", 'bo"gus\x1b[31m', "--json")
    assert json.loads(said.out)["error"]["code"] == "CLI-004"
    assert "\x1b" not in said.out + said.err
