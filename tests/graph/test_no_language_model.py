"""No LLM client, and no back-test library, on the path of a bar; no graph engine in core (requirements A2, G9)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PATH_OF_A_BAR = "graph.runner graph.assembly graph.brain graph.engines agents tools.registry"
NEVER_THERE = "langchain_openai openai vectorbt"
NEVER_IN_CORE = f"langgraph langchain_core {NEVER_THERE}"

PROGRAM = """
import importlib, pkgutil, sys
for name in sys.argv[1].split():
    module = importlib.import_module(name)
    for found in pkgutil.walk_packages(getattr(module, "__path__", ()), name + "."):
        importlib.import_module(found.name)
if "graph.brain" in sys.modules:
    sys.modules["graph.brain"].compile_graph()
print(*sorted(set(sys.argv[2].split()) & {name.split(".")[0] for name in sys.modules}))
"""


def found_after_importing(modules: str, forbidden: str) -> str:
    """Which of ``forbidden`` a fresh process holds after importing ``modules`` with everything below them."""
    command = [sys.executable, "-c", PROGRAM, modules, forbidden]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def test_nothing_on_the_path_of_a_bar_imports_a_language_model_client_or_a_back_test_library() -> None:
    """G9: also after the graph was compiled, and for every tool; that langgraph is found shows that the check can find."""
    assert found_after_importing(f"{PATH_OF_A_BAR} tools", f"{NEVER_THERE} langgraph") == "langgraph"


def test_core_imports_no_graph_engine() -> None:
    assert found_after_importing("core", NEVER_IN_CORE) == ""
