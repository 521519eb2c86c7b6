"""Pages that are made from the code are never stale, and what the README says can be run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.main import get_command

from graph.cli import app
from scripts import docs

pytestmark = pytest.mark.untraced

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", docs.GENERATORS)
def test_a_generated_page_says_what_the_code_says(name: str) -> None:
    path = ROOT / name
    assert path.is_file(), f"{name} is not there: run `make docs`"
    assert path.read_text(encoding="utf-8") == docs.GENERATORS[name](), f"{name} is stale: run `make docs`"


def test_a_stale_page_is_found_and_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(docs, "ROOT", tmp_path)
    monkeypatch.setattr(docs, "stale", lambda: ["docs/refusals.md"])
    assert docs.main(["--check"]) == 1
    assert not (tmp_path / "docs").exists()
    assert docs.main([]) == 0
    assert (tmp_path / "docs/refusals.md").read_text(encoding="utf-8") == docs.refusals()
    assert capsys.readouterr().out.splitlines() == ["stale: docs/refusals.md", "written: docs/refusals.md"]


def test_every_refusal_code_stands_in_its_page() -> None:
    from core.codes import RefusalCode

    assert all(f"| `{code}` |" in docs.refusals() for code in RefusalCode)


def test_bars_in_a_cell_do_not_break_a_table() -> None:
    assert docs.table(("a",), [("x|y",)]) == "| a |\n| --- |\n| x\\|y |"


def test_every_make_target_of_the_readme_exists_and_is_listed() -> None:
    """K4: the README's commands are the Makefile's."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    listed = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))
    phony = set(re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)[1].split())
    named = set(re.findall(r"\bmake ([a-z-]+)", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert phony == listed
    assert {"paper", "test"} <= named <= listed
    assert {"setup", "lint", "types", "imports", "bench", "docs", "acceptance", "lock", "clean"} <= listed


def _readme_commands() -> list[list[str]]:
    """What follows ``brain`` in the README's code: words and flags."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    code = [*re.findall(r"^\.venv/bin/(brain .+)$", text, re.MULTILINE), *re.findall(r"`(brain [^`]+)`", text)]
    return [line.split()[1:] for line in code]


def test_every_command_and_flag_of_the_readme_exists() -> None:
    """K4: README commands are commands of the program."""
    root = get_command(app)
    assert _readme_commands()
    for words in _readme_commands():
        command, rest = root, words
        while rest and hasattr(command, "commands"):
            assert rest[0] in command.commands, f"brain {' '.join(words)}"
            command, rest = command.commands[rest[0]], rest[1:]
        known = {flag for parameter in command.params for flag in parameter.opts}
        assert {word for word in rest if word.startswith("--")} <= known, f"brain {' '.join(words)}"


def test_every_flag_that_the_readme_passes_through_make_exists() -> None:
    known = {flag for p in get_command(app).commands["paper"].params for flag in p.opts}
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    passed = {word for arguments in re.findall(r'ARGS="([^"]+)"', text) for word in arguments.split() if word.startswith("--")}
    assert passed
    assert passed <= known


def test_every_page_that_a_page_links_to_exists() -> None:
    for page in [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
