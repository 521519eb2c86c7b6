"""The house: what is installed, what a wheel carries, how a newcomer starts (issue section 1)."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

pytestmark = pytest.mark.untraced

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("core", "graph", "agents", "tools", "configs", "dashboards", "research_lab", "sandbox")
LOCKS = ("requirements.lock", "requirements-daemon.lock")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def _pinned(name: str) -> dict[str, str]:
    text = (ROOT / name).read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9._-]+)==([^\s;\\]+)", text, re.MULTILINE))


def test_a_wheel_carries_every_room_and_no_tests() -> None:
    """X40."""
    assert set(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) == set(ROOMS)
    assert PROJECT["project"]["scripts"] == {"brain": "graph.cli:main"}
    assert [room for room in ROOMS if not (ROOT / room / "__init__.py").is_file()] == []


def test_every_folder_of_code_is_a_package() -> None:
    folders = {path.parent for room in ROOMS for path in (ROOT / room).rglob("*.py")}
    assert sorted(str(f.relative_to(ROOT)) for f in folders if not (f / "__init__.py").is_file()) == []


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_file_holds_exact_versions_with_hashes_and_no_addresses(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    entries = re.split(r"\n(?=\S)", text.strip())
    assert [e.split()[0] for e in entries if "==" not in e.split()[0] or "--hash=sha256:" not in e] == []
    assert "//" not in text
    assert " @ " not in text
    assert not re.search(r"^-", text, re.MULTILINE)


def test_a_trading_machine_holds_no_language_model_client() -> None:
    daemon = _pinned("requirements-daemon.lock")
    assert {"openai", "langchain-openai", "vectorbt", "optuna"}.isdisjoint(daemon)
    assert {"ccxt", "langgraph", "pydantic", "numpy"} <= daemon.keys()


def test_both_lock_files_agree_on_every_version() -> None:
    everything, daemon = _pinned("requirements.lock"), _pinned("requirements-daemon.lock")
    assert {name: version for name, version in daemon.items() if everything.get(name) != version} == {}
    assert everything["ccxt"] == "4.5.90"
    assert int(everything["openai"].split(".")[0]) < 3


def test_the_event_loop_package_that_ccxt_pins_is_never_asked_for() -> None:
    asked = [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["research"]]
    asked += [line for group in PROJECT["dependency-groups"].values() for line in group if isinstance(line, str)]
    assert [line for line in asked if line.startswith("uvloop")] == []
    assert [line for line in asked if line.startswith("pandas-ta==")] == []


@pytest.mark.parametrize("name", [".ci/run", "scripts/run_paper.sh", "scripts/run_live.sh"])
def test_a_script_can_be_run(name: str) -> None:
    assert os.access(ROOT / name, os.X_OK)
    subprocess.run(["bash", "-n", str(ROOT / name)], check=True)


def test_make_alone_lists_every_target() -> None:
    done = subprocess.run(["make", "--no-print-directory", "-C", str(ROOT)], capture_output=True, text=True, check=True)
    listed = {line.split()[1] for line in done.stdout.splitlines()}
    assert {
        "setup",
        "paper",
        "test",
        "lint",
        "types",
        "imports",
        "bench",
        "docs",
        "acceptance",
        "lock",
        "clean",
        "help",
    } <= listed
