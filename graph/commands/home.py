"""``brain`` alone: what is installed, and what to do next."""

from __future__ import annotations

from configs.errors import ConfigError
from configs.loader import default_folder, load
from graph.console import Answer, Console, run_command
from graph.version import VERSION


def show() -> int:
    """Print it and give the exit code."""
    return run_command(Console(), "brain.home/1", _home)


def _home() -> Answer:
    folder = default_folder()
    try:
        signed = f"signed, digest {load(folder).governance_digest[:12]}"
    except ConfigError as error:
        signed = f"not usable: {error}"
    text = "\n".join(
        (
            f"brain {VERSION}",
            f"configuration  {folder}",
            f"governance     {signed}",
            "next           brain paper            trade a made market on paper",
            "               brain doctor           check what a start needs",
        )
    )
    return Answer({"version": VERSION, "configs": str(folder), "governance": signed}, text)
