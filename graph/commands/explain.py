"""``brain explain CODE``: what a code from a refusal or an error means."""

from __future__ import annotations

from graph.console import Answer, Console, run_command
from graph.explanations import explain

SCHEMA = "brain.explain/1"


def run_explain(code: str, *, color: str) -> int:
    """Run the command and give its exit code."""
    console = Console(color=color)
    return run_command(console, SCHEMA, lambda: Answer({"code": code}, explain(code)))
