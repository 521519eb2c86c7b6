"""The page of all commands, made from the Typer application itself, so that it can't say anything else than ``--help``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from typer.main import get_command

from core.data.sources.scenarios import Scenario
from graph.cli import app
from graph.exit_codes import ExitCode

_NOTE = "<!-- Made from the code by `make docs`; do not edit. -->"
_INTRO = """\
The answer of a command goes to stdout, everything else to stderr. With `--json` stdout gets exactly one object,
`{schema, ok, code, data, warnings, error}`, also on failure, and the exit code stays what it is. Colours and redrawn progress
appear on a terminal only; `--color`, `NO_COLOR`, `FORCE_COLOR`, `TERM=dumb` and `ACCESSIBLE=1` are respected.
`brain explain CODE` tells what the code of an error or of a refusal means."""
_SCENARIOS = "Stories of the synthetic market for `brain paper --scenario NAME`. The same seed gives the same bytes."


def render_commands() -> str:
    """The Markdown of ``docs/commands.md``: every command with its arguments and flags, the scenarios, the exit codes."""
    parts = [_NOTE, "# Commands", _INTRO]
    for name, command in _commands(get_command(app), "brain"):
        parts += [
            f"## {name}",
            str(command.help).strip(),
            f"    {_usage(name, command)}",
            _table(("flag", "what it does"), _flags(command)),
        ]
    scenarios = ((f"`{scenario.value}`", scenario.description) for scenario in Scenario)
    parts += ["## Scenarios", _SCENARIOS, _table(("name", "story"), scenarios)]
    codes = ((f"`{int(code)}`", code.meaning) for code in ExitCode)
    parts += ["## Exit codes", _table(("code", "meaning"), codes)]
    return "\n\n".join(parts) + "\n"


def _commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Every command below ``command`` with its full name, in the order of the application; groups that only hold others apart."""
    own = getattr(command, "commands", None)
    if own is None or getattr(command, "invoke_without_command", False):
        yield name, command
    for word, inner in (own or {}).items():
        yield from _commands(inner, f"{name} {word}")


def _usage(name: str, command: Any) -> str:
    names = [(p.metavar or p.name.upper(), p.required) for p in command.params if _is_argument(p)]
    arguments = [argument if needed or argument.startswith("[") else f"[{argument}]" for argument, needed in names]
    required = [f"{p.opts[0]} {p.metavar or p.name.upper()}" for p in command.params if p.required and not _is_argument(p)]
    optional = ["[flags]"] if any(not p.required for p in command.params) else []
    return " ".join([name, *arguments, *required, *optional])


def _is_argument(parameter: Any) -> bool:
    return str(parameter.param_type_name) == "argument"


def _flags(command: Any) -> Iterator[tuple[str, str]]:
    context = command.context_class(command, info_name=command.name)
    for parameter in command.params:
        record = parameter.get_help_record(context)
        if record is not None:
            yield f"`{record[0]}`", record[1]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
