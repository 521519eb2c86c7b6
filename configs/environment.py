"""Variables of the process and of an ``.env`` file (H5). No value of a secret, nor of an unknown name, is ever shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr, ValidationError

from configs.check import close_match, code_of, said
from configs.describe import allowed, choices, type_at
from configs.errors import ConfigCode, ConfigError, Place, Problem, raise_all
from configs.lock import shown
from configs.validators import Environment, Mode
from configs.yaml_source import printable, read_text

_LINE = re.compile(r"^\s*(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*=\s*(?P<value>.*?)\s*$")
_QUOTED = re.compile(r"""^(?P<quote>['"])(?P<inner>.*?)(?P=quote)\s*(?:\#.*)?$""")
_NAMES = {field.upper(): field for field in Environment.model_fields}
_SECRETS = {name for name, field in _NAMES.items() if Environment.model_fields[field].annotation is SecretStr}
HIDDEN = "(hidden)"


@dataclass(frozen=True, slots=True)
class _Given:
    """A value, and where it was given: a file's line, or a variable of the process (``line`` 0)."""

    name: str
    value: str
    file: str
    line: int = 0
    column: int = 1
    source: str = ""


def load_environment(env_file: Path | None, environ: Mapping[str, str]) -> Environment:
    """Read the environment; a variable of the process wins over the file, an empty value counts as not given.

    Args:
        env_file: an ``.env`` file of ``NAME=value`` lines, or None.
        environ: variables of the process, usually ``os.environ``; unknown names there are none of ours.

    Raises:
        ConfigError: a value is wrong, or the file has an unknown or repeated name.
    """
    given, problems = _from_file(env_file) if env_file is not None else ({}, [])
    for name, value in environ.items():
        if name in _NAMES and value.strip() and not (name == "TZ" and value.startswith(":")):
            given[name] = _Given(name, value.strip(), f"environment variable {name}")
    environment = None
    try:
        environment = Environment.model_validate({_NAMES[g.name]: g.value for g in given.values()})
    except ValidationError as error:
        problems += [_wrong(given[str(d["loc"][0]).upper()], code_of(d)) for d in error.errors(include_input=False)]
    raise_all(problems)
    assert environment is not None  # noqa: S101 - no problems means that there is a model
    return environment


def require_mode(environment: Environment, command: Mode) -> None:
    """Refuse a command that contradicts MODE (X37).

    Raises:
        ConfigError: MODE is given and asks for another way of trading.
    """
    if environment.mode is None or environment.mode is command:
        return
    what = f"MODE is {environment.mode}, but the command trades {command}"
    help_text = f"set MODE={command}, or leave it empty"
    raise ConfigError(
        [Problem(ConfigCode.MODE_CONFLICT, what, "environment variable MODE", "MODE", environment.mode, command, help_text)]
    )


def _from_file(path: Path) -> tuple[dict[str, _Given], list[Problem]]:
    name = shown(path)
    text, problem = read_text(path, name)
    if problem is not None:
        return {}, [problem]
    given: dict[str, _Given] = {}
    problems: list[Problem] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.match(line)
        if match is None:
            problems.append(_not_a_line(name, number))
            continue
        found = _given(match, name, number)
        problem = _refused(found, seen.setdefault(found.name, number))
        if problem is not None:
            problems.append(problem)
        elif found.value:
            given[found.name] = found
    return given, problems


def _given(match: re.Match[str], file: str, number: int) -> _Given:
    name, raw = match["name"], match["value"]
    quoted = _QUOTED.match(raw)
    value = quoted["inner"] if quoted else re.split(r"(?:^|\s)#", raw, maxsplit=1)[0].strip()
    open_to_see = name in _NAMES and name not in _SECRETS
    source = printable(match.string) if open_to_see else f"{name}={HIDDEN}"
    return _Given(name, value, file, number, match.start("value") + 1 if open_to_see else 1, source)


def _refused(found: _Given, first_line: int) -> Problem | None:
    place = Place(found.line, 1, len(found.name))
    if first_line != found.line:
        what = f"{found.name} stands twice; the first is in line {first_line}"
        return Problem(
            ConfigCode.DUPLICATE_KEY, what, found.file, found.name, HIDDEN, "each name once", "remove one of the two", place
        )
    if found.name in _NAMES:
        return None
    what = f"{found.name} is not a known variable"
    help_text = close_match(found.name, tuple(_NAMES)) or "remove it; .env.example lists the variables"
    known = ", ".join(_NAMES)
    return Problem(ConfigCode.UNKNOWN, what, found.file, found.name, HIDDEN, known, help_text, place, found.source)


def _not_a_line(file: str, number: int) -> Problem:
    what = f"line {number} is not NAME=value"
    return Problem(
        ConfigCode.ENV_LINE, what, file, "", HIDDEN, "NAME=value", "write NAME=value, or begin with #", Place(number, 1)
    )


def _wrong(given: _Given, code: ConfigCode) -> Problem:
    found = type_at(Environment, [_NAMES[given.name]])
    phrase = allowed(found).removesuffix(", or null")
    if given.name == "TZ":
        phrase = "a time zone of the IANA database, e.g. Europe/Chisinau"
    secret = given.name in _SECRETS
    value = HIDDEN if secret else printable(given.value)
    words = choices(found.bare) if found else ()
    help_text = close_match(given.value, words) or f"set {given.name} to {phrase}"
    sentence = said(code) if code is not ConfigCode.INCONSISTENT else "is not known"
    place = Place(given.line, given.column, 1 if secret else len(value)) if given.line else None
    return Problem(code, f"{given.name} {sentence}", given.file, given.name, value, phrase, help_text, place, given.source)
