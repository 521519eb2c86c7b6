"""``brain export``: a session's records as CSV."""

from __future__ import annotations

from pathlib import Path

from core.monitor.reader import StoreReader
from graph.commands.common import open_reader
from graph.console import Answer, Console, run_command
from graph.exit_codes import UsageError

SCHEMA = "brain.export/1"


def run_export(*, state: Path, out: Path, json: bool, color: str) -> int:
    """Run the command and give its exit code."""
    console = Console(color=color, json=json)
    return run_command(console, SCHEMA, lambda: _export(state, out))


def _export(state: Path, out: Path) -> Answer:
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out was {out}, which is not a folder", help=f"brain export --state {state} --out DIR")
    reader: StoreReader = open_reader(state)
    try:
        files = reader.export_csv(out)
    finally:
        reader.close()
    return Answer({"files": [str(path) for path in files]}, "\n".join(str(path) for path in files))
