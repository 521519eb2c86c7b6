"""What can be wrong with a wish of the person who steps."""

from __future__ import annotations

from collections.abc import Iterable

from core.errors import BrainError
from graph.explanations import did_you_mean


class StepError(BrainError):
    """A command of the stepper cannot be followed; nothing has moved."""

    default_code = "STEP-001"
    exit_code = 2


class NotThere(BrainError):
    """What was looked for is not in the record: the answer is no."""

    default_code = "STEP-004"
    exit_code = 1


def nearest(word: str, choices: Iterable[str]) -> str:
    """``; did you mean X or Y?`` where something comes near, else what there is."""
    known = tuple(choices)
    near = did_you_mean(word, known)
    return f"; did you mean {' or '.join(near)}?" if near else f"; there is {', '.join(known)}" if known else ""
