"""No text sends a person to a command or a flag that does not exist; the Typer application itself says which do."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from graph.cli import app
from graph.commands import paper
from graph.console import Console, run_app
from graph.explanations import did_you_mean, explain, known_codes

pytestmark = pytest.mark.untraced

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("core", "graph", "agents", "tools", "configs", "dashboards", "research_lab", "sandbox")
MENTION = re.compile(r"(?<![\w./{-])brain((?: [a-z]+\b(?!\())+)([^`\n;]*)")
"""``brain paper --state DIR``: words after the program's name, and what follows them on the line."""
FILLED_IN = re.compile(r"(?<![\w./{-])brain \{([^}]*)\}")
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
PROSE = ("over a deterministic core", "trade a built-in synthetic market")
"""What follows the word where it is not the program."""
WORDS_FILLED_IN = {"VERSION", "command"}
"""The version, and a word that was typed and found to be a command."""


def _commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], set[str]]]:
    yield words, {"--help", *(option for p in command.params for option in (*p.opts, *p.secondary_opts))}
    for word, inner in getattr(command, "commands", {}).items():
        yield from _commands(inner, (*words, word))


COMMANDS = dict(_commands(get_command(app)))
FLAGS = {flag for flags in COMMANDS.values() for flag in flags}


def _texts(tree: ast.AST) -> Iterator[str]:
    """Every text in a module; what an f-string fills in stands in braces."""
    inside: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            inside |= {id(part) for part in ast.walk(node)} - {id(node)}
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else "{" + ast.unparse(part).strip("f'\"{}") + "}"
                for part in node.values
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.value


def _docstrings(tree: ast.AST) -> set[str]:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    first = [node.body[0] for node in ast.walk(tree) if isinstance(node, documented) and node.body]
    return {node.value.value for node in first if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)}


def _code_spans(text: str) -> str:
    return "\n".join(re.findall(r"`+([^`]+)`+", text))


def _told() -> Iterator[tuple[str, str]]:
    """(where, text) of all that a person may read: texts of the code, code spans of docstrings and pages, scripts."""
    for path in sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        apart = _docstrings(tree)
        for text in _texts(tree):
            yield str(path.relative_to(ROOT)), _code_spans(text) if text in apart else text
    for path in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "dashboards").rglob("*.md")]):
        yield str(path.relative_to(ROOT)), _code_spans(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "scripts").glob("*.sh")):
        yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")
    for words in COMMANDS:
        yield f"brain {' '.join(words)} --help", str(_command(words).help)
    for code in known_codes():
        yield f"brain explain {code}", explain(code)


def _command(words: tuple[str, ...]) -> Any:
    command: Any = get_command(app)
    for word in words:
        command = command.commands[word]
    return command


def _wrong(text: str) -> Iterator[str]:
    for found in MENTION.finditer(text):
        if f"{found[1]}{found[2]}".strip().startswith(PROSE):
            continue
        words = tuple(found[1].split())
        known = next((words[:n] for n in range(len(words), 0, -1) if words[:n] in COMMANDS), ())
        inner = getattr(_command(known), "commands", None)
        meant = words[len(known)] if inner and len(words) > len(known) else ""
        if not known or (inner and (not _command(known).invoke_without_command or did_you_mean(meant, inner))):
            yield found[0]
            continue
        typed = re.match(r"(?: (?:--[a-z-]+|[A-Z{<][^ ]*))*", found[2])
        own = FLAG.findall(typed[0] if typed else "")
        yield from (f"brain {' '.join(known)} {flag}" for flag in own if flag not in COMMANDS[known])
    yield from (found[0] for found in FILLED_IN.finditer(text) if found[1] not in WORDS_FILLED_IN)


def test_every_command_and_flag_that_is_named_exists() -> None:
    told = list(_told())
    assert sum(bool(MENTION.search(text)) for _, text in told) > 40
    assert [(where, wrong) for where, text in told for wrong in _wrong(text)] == []


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("run `brain trade`, or set MODE=paper", ["brain trade"]),
        ("run `brain {environment.mode}`", ["brain {environment.mode}"]),
        ("brain governance verfy", ["brain governance verfy"]),
        ("then `brain governance`", ["brain governance"]),
        ("brain sessions lists them", []),
        ("brain sessions verfy", ["brain sessions verfy"]),
        ("brain sessions --data DIR", ["brain sessions --data"]),
        ("brain paper --confirm NAME", ["brain paper --confirm"]),
        ("brain unlock --data DIR", ["brain unlock --data"]),
        ("look into it, then brain unlock --state {state}", []),
        ("choose another: PROMETHEUS_PORT=9109 brain paper (0 lets the system choose)", []),
        ("have it reviewed, `brain governance sign`, then restart", []),
    ],
)
def test_the_search_sees_what_does_not_exist(text: str, wrong: list[str]) -> None:
    assert list(dict.fromkeys(_wrong(text))) == wrong


@pytest.mark.parametrize("room", ["core", "configs", "graph", "agents", "tools"])
def test_every_flag_in_the_texts_of_the_code_is_one_of_ours(room: str) -> None:
    found = {
        (str(path.relative_to(ROOT)), flag)
        for path in (ROOT / room).rglob("*.py")
        for text in _texts(ast.parse(path.read_text(encoding="utf-8")))
        if "var(--" not in text  # a style sheet has names of that form too
        for flag in FLAG.findall(text)
    }
    assert sorted(pair for pair in found if pair[1] not in FLAGS) == []


# --- what is spelled out to the last flag ---------------------------------------------------------------

SPELLED_OUT = re.compile(r"(?<![\w./{-])brain paper((?: --[a-z-]+(?: (?!--)[^\s`;…]+)?)+)")
WORTH = {"DIR": "recordings", "NAME": "gap", "{request.unlock_after}": "24h"}
"""What a person would type where a name or a value is to be filled in."""


def _spelled_out() -> list[str]:
    found = {match[1].strip() for _, text in _told() for match in SPELLED_OUT.finditer(text)}
    return sorted(line for line in found if "--help" not in line)


def test_advice_that_is_spelled_out_passes_the_checks_of_the_flags_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person who does as told is not told off: the real command line, up to where a market would be opened."""
    seen: list[str] = []

    def checked(request: paper.PaperRequest, **_: object) -> int:
        paper._options(request)
        for moment in (request.start, request.end):
            assert moment is None or paper.parse_time(moment)
        seen.append(request.source)
        return 0

    monkeypatch.setattr(paper, "run_paper", checked)
    advice = _spelled_out()
    assert len(advice) > 6
    assert any("--from" in line for line in advice)
    for line in advice:
        typed = [WORTH.get(word, word) for word in re.sub(r"\{\(.*", "gap", line).split()]
        assert run_app(app, Console(), ["paper", *typed]) == 0, line
    assert len(seen) == len(advice)
