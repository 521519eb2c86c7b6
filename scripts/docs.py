"""Writes the pages of ``docs/`` that are made from the code; a test fails when one is stale.

``python -m scripts.docs`` writes, ``python -m scripts.docs --check`` only tells. To add a page, write a function that
returns its text and name it in :data:`GENERATORS`; import what it needs inside, so that one page does not load another's.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOTE = "<!-- Made from the code by `make docs`; do not edit. -->"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; bars inside cells are escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def page(*parts: str) -> str:
    """Parts of a page with an empty line between them."""
    return "\n\n".join([*parts, ""]).rstrip("\n") + "\n"


def refusals() -> str:
    """Every reason for which the system says no, from ``core.codes``."""
    from core.codes import RefusalCode

    parts = [
        NOTE,
        "# Refusals",
        "Every reason for which the system says no. A refusal is recorded with its code and its arithmetic.",
    ]
    group = ""
    rows: dict[str, list[tuple[str, str]]] = {}
    for line in inspect.getsource(RefusalCode).splitlines():
        if comment := re.match(r"\s+# (.+)", line):
            group = comment[1]
        elif member := re.match(r"\s+([A-Z_]+) = ", line):
            code = RefusalCode[member[1]]
            rows.setdefault(group, []).append((f"`{code}`", code.meaning))
    for name, found in rows.items():
        parts += [f"## {name[:1].upper()}{name[1:]}", table(("code", "meaning"), found)]
    return page(*parts)


def configuration() -> str:
    """Every field of every configuration file and of the environment, from the schemas."""
    from configs.describe import field_docs
    from configs.errors import ConfigCode
    from configs.loader import FILES
    from configs.validators import Environment

    parts = [NOTE, "# Configuration", _CONFIGURATION]
    for name, schema in FILES.items():
        rows = [(f"`{d.path}`", d.allowed, d.default or "required", d.meaning) for d in field_docs(schema)]
        parts += [f"## {name}", inspect.cleandoc(schema.__doc__ or ""), table(("field", "allowed", "default", "meaning"), rows)]
    rows = [(f"`{d.path.upper()}`", d.allowed.removesuffix(", or null"), d.default, d.meaning) for d in field_docs(Environment)]
    parts += ["## Environment", _ENVIRONMENT, table(("variable", "allowed", "default", "meaning"), rows)]
    codes = [(f"`{code}`", code.meaning) for code in ConfigCode]
    parts += ["## Errors", _ERRORS, table(("code", "meaning"), codes)]
    return page(*parts).replace("``", "`")


_CONFIGURATION = """\
The files stand in `configs/`, or in the folder that `--configs` names. All of them are read and checked before anything
starts; nothing is converted silently: text is no number, `no` is text, a key that stands twice or is not known is refused.
Anchors, aliases and `<<` may be used, tags may not.

`governance.yaml` is locked: `governance.lock` keeps its digest with reviewer, date and reason. `brain governance verify`
compares the two; `brain governance sign` signs a reviewed change, from a terminal only. A start with limits that nobody
signed is refused; a change under a running daemon leaves it only exits until it is signed and restarted."""

_ENVIRONMENT = """\
Variables of the process win over the `.env` file; an empty value counts as not given. Secrets are never shown."""

_ERRORS = """\
Exit code 2 and nothing is started; 3 when only the signature of the limits is at fault (CFG-020 to CFG-022)."""


def topology() -> str:
    """Agents, tools and edges, from the one table."""
    from graph.drawing import render_topology

    return render_topology()


def commands() -> str:
    """Every command with its flags, from the Typer application."""
    from graph.command_docs import render_commands

    return render_commands()


def metrics() -> str:
    """Every metric and every figure of an agent, from the tables that they are made from."""
    from core.monitor.kpi import KPIS
    from core.monitor.metric_specs import render_metrics_table

    rows = [
        (
            spec.agent,
            f"`{spec.name}`",
            spec.unit,
            spec.target or "shown, not judged",
            str(spec.least_cases) if spec.least_cases else "",
            f"{spec.help}; also by {spec.scoped}" if spec.scoped else spec.help,
        )
        for spec in KPIS
    ]
    head = ("agent", "figure", "unit", "target", "least cases", "meaning")
    return page(
        NOTE, "# Metrics", _METRICS, render_metrics_table().rstrip("\n"), "## Figures of the agents", _KPIS, table(head, rows)
    )


_METRICS = """\
Served on `http://127.0.0.1:9108/metrics` while a run is on (`PROMETHEUS_PORT`). Every child, that is each combination of
labels, exists from the start. NaN means «not known yet» and is never shown as 0. Timestamps are of the run's own clock: those
of a replay are those of its recording."""

_KPIS = """\
Exported as `brain_kpi`, with the cases on which a figure rests as `brain_kpi_cases`. On fewer than its least cases a figure
is NaN, and so is slippage where books are modelled: it would only repeat the assumption of `symbols.yaml`."""


GENERATORS: Mapping[str, Callable[[], str]] = {
    "docs/commands.md": commands,
    "docs/configuration.md": configuration,
    "docs/metrics.md": metrics,
    "docs/refusals.md": refusals,
    "docs/topology.md": topology,
}


def stale(root: Path = ROOT) -> list[str]:
    """Pages that are absent or differ from what the code says now."""
    found = []
    for name, generate in GENERATORS.items():
        path = root / name
        if not path.is_file() or path.read_text(encoding="utf-8") != generate():
            found.append(name)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the pages, or with ``--check`` name the stale ones and return 1 if there are any."""
    parser = argparse.ArgumentParser(description="Write the pages of docs/ that are made from the code.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 when a page is stale")
    check = parser.parse_args(arguments).check
    old = stale()
    for name in old:
        if not check:
            path = ROOT / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(GENERATORS[name](), encoding="utf-8")
        print(f"{'stale' if check else 'written'}: {name}")
    return 1 if check and old else 0


if __name__ == "__main__":
    sys.exit(main())
