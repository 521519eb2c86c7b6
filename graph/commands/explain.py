"""``brain explain CODE``: what a code from a refusal or an error means."""

from __future__ import annotations

from graph.console import Answer, Console, run_command
from graph.explanations import explain

SCHEMA = "brain.explain/1"


def run_explain(code: str, *, json: bool, color: str) -> int:
    """Run the command and give its exit code."""
    console = Console(color=color, json=json)
    return run_command(console, SCHEMA, lambda: _explain(code))


def _explain(code: str) -> Answer:
    text = explain(code)
    return Answer({"code": code, "text": text}, text)
