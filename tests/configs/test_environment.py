"""Variables of the process and of ``.env`` (H5, X37)."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs.environment import load_environment, require_mode
from configs.errors import ConfigCode, ConfigError
from configs.validators import Environment, Mode

SECRET = "s3cr3t-of-mine"
ROOT = Path(__file__).resolve().parents[2]


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / ".env"
    path.write_text(text, encoding="utf-8")
    return path


def _refused(env_file: Path | None, environ: dict[str, str]) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_environment(env_file, environ)
    assert caught.value.exit_code == 2
    return caught.value


def test_nothing_given_is_paper_ready() -> None:
    found = load_environment(None, {})
    assert found == Environment()
    assert (found.exchange, found.mode, found.prometheus_port, found.tz, found.log_level) == (
        "binance",
        None,
        9108,
        "Europe/Chisinau",
        "INFO",
    )


def test_the_file_is_read_as_people_write_it(tmp_path: Path) -> None:
    text = f"""# mine
    export MODE=paper
    PROMETHEUS_PORT = 9200   # free here
    API_KEY="{SECRET} # not a comment"
    API_SECRET='{SECRET}'
    LOG_LEVEL=
    """
    found = load_environment(_file(tmp_path, text), {})
    assert (found.mode, found.prometheus_port, found.log_level) == (Mode.PAPER, 9200, "INFO")
    assert found.api_key.get_secret_value() == f"{SECRET} # not a comment"
    assert found.api_secret.get_secret_value() == SECRET


def test_a_variable_of_the_process_wins_and_an_empty_one_does_not(tmp_path: Path) -> None:
    file = _file(tmp_path, "PROMETHEUS_PORT=1\nLOG_LEVEL=DEBUG\n")
    found = load_environment(file, {"PROMETHEUS_PORT": "2", "LOG_LEVEL": "", "HOME": "/x", "TZ": ":/etc/localtime"})
    assert (found.prometheus_port, found.log_level, found.tz) == (2, "DEBUG", "Europe/Chisinau")


@pytest.mark.parametrize(
    ("line", "code", "field", "allowed", "help_text"),
    [
        ("PROMETHEUS_PORT=many", ConfigCode.FORMAT, "PROMETHEUS_PORT", "a whole number from 0 to 65535", "set PROMETHEUS_PORT"),
        ("PROMETHEUS_PORT=70000", ConfigCode.OUT_OF_RANGE, "PROMETHEUS_PORT", "from 0 to 65535", "set PROMETHEUS_PORT"),
        ("MODE=papr", ConfigCode.NOT_A_CHOICE, "MODE", "one of paper, live", "did you mean paper?"),
        ("MODE=LIVE", ConfigCode.NOT_A_CHOICE, "MODE", "one of paper, live", "did you mean live?"),
        ("EXCHANGE=kraken", ConfigCode.NOT_A_CHOICE, "EXCHANGE", "one of binance, binanceusdm", "set EXCHANGE to one of"),
        ("LOG_LEVEL=debug", ConfigCode.NOT_A_CHOICE, "LOG_LEVEL", "DEBUG", "did you mean DEBUG?"),
        ("TZ=Mars/Olympus", ConfigCode.INCONSISTENT, "TZ", "IANA", "set TZ"),
    ],
)
@pytest.mark.parametrize("by_file", [True, False], ids=["file", "process"])
def test_a_bad_value_is_named(
    line: str, code: ConfigCode, field: str, allowed: str, help_text: str, by_file: bool, tmp_path: Path
) -> None:
    name, _, value = line.partition("=")
    error = _refused(_file(tmp_path, f"\n{line}\n"), {}) if by_file else _refused(None, {name: value})
    (problem,) = error.problems
    assert (problem.code, problem.field, problem.value) == (code, field, value)
    assert allowed in problem.allowed
    assert help_text in problem.help
    assert problem.where.endswith(f".env:2:{len(name) + 2}" if by_file else f"environment variable {name}")


@pytest.mark.parametrize(
    ("text", "code", "help_text"),
    [
        (f"API_SECRT={SECRET}", ConfigCode.UNKNOWN, "did you mean API_SECRET?"),
        (f"ZZ={SECRET}", ConfigCode.UNKNOWN, "remove it"),
        (f"API_KEY={SECRET}\nAPI_KEY={SECRET}", ConfigCode.DUPLICATE_KEY, "remove one"),
        (f"{SECRET}", ConfigCode.ENV_LINE, "NAME=value"),
        (f"API_KEY: {SECRET}", ConfigCode.ENV_LINE, "NAME=value"),
        (f"API_KEY={SECRET}\nMODE=papr", ConfigCode.NOT_A_CHOICE, "paper"),
    ],
)
def test_no_error_shows_a_secret(text: str, code: ConfigCode, help_text: str, tmp_path: Path) -> None:
    """H5: not even under a misspelt name."""
    error = _refused(_file(tmp_path, text), {})
    assert [p.code for p in error.problems] == [code]
    assert help_text in error.problems[0].help
    for told in (error.render(), str(error), repr(error.as_dict()), repr(error.problems), repr(error.__context__)):
        assert SECRET not in told


def test_no_print_of_the_environment_shows_a_secret() -> None:
    found = load_environment(None, {"API_KEY": SECRET, "API_SECRET": SECRET, "OPENAI_API_KEY": SECRET})
    for told in (repr(found), str(found), str(found.model_dump()), found.model_dump_json()):
        assert SECRET not in told


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    error = _refused(_file(tmp_path, "MODE=papr\nnonsense\nPORT=1\n"), {"PROMETHEUS_PORT": "x"})
    assert {p.code for p in error.problems} == {
        ConfigCode.NOT_A_CHOICE,
        ConfigCode.ENV_LINE,
        ConfigCode.UNKNOWN,
        ConfigCode.FORMAT,
    }


def test_a_named_file_that_is_absent_or_not_text_is_refused(tmp_path: Path) -> None:
    assert _refused(tmp_path / "none.env", {}).problems[0].code is ConfigCode.FILE_MISSING
    (tmp_path / "bad.env").write_bytes(b"MODE=\xff")
    assert _refused(tmp_path / "bad.env", {}).problems[0].code is ConfigCode.ENCODING


@pytest.mark.parametrize(
    ("given", "command", "agrees"),
    [
        (None, Mode.PAPER, True),
        (None, Mode.LIVE, True),
        ("paper", Mode.PAPER, True),
        ("live", Mode.PAPER, False),
        ("paper", Mode.LIVE, False),
    ],
)
def test_the_command_agrees_with_mode_or_is_refused(given: str | None, command: Mode, agrees: bool) -> None:
    """X37."""
    environment = load_environment(None, {"MODE": given} if given else {})
    if agrees:
        require_mode(environment, command)
        return
    with pytest.raises(ConfigError) as caught:
        require_mode(environment, command)
    assert caught.value.exit_code == 2
    assert caught.value.problems[0].code is ConfigCode.MODE_CONFLICT
    assert caught.value.help == f"set MODE={command}, or leave it empty"


@pytest.mark.parametrize(
    ("given", "market", "expected"),
    [
        ("binance", "perp", "binanceusdm"),
        ("binanceusdm", "perp", "binanceusdm"),
        ("binance", "spot", "binance"),
    ],
)
def test_binance_means_binanceusdm_for_perps(given: str, market: str, expected: str) -> None:
    """X37."""
    assert load_environment(None, {"EXCHANGE": given}).exchange_id(market) == expected


def test_the_example_file_is_valid_and_names_every_variable() -> None:
    """H5."""
    example = ROOT / ".env.example"
    assert load_environment(example, {}).mode is None  # paper goes on beside live, with the same file
    lines = example.read_text(encoding="utf-8").splitlines()
    named = {line.partition("=")[0] for line in lines if line and not line.startswith("#")}
    assert named == {field.upper() for field in Environment.model_fields}
