"""What can be wrong with a wish of the person who steps."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from core.errors import BrainError
from graph.explanations import did_you_mean

_FEW = 64
"""Choices that are all looked at closely; more are sifted first."""


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
    near = did_you_mean(word, known if len(known) <= _FEW else _alike(word, known))
    if near:
        return f"; did you mean {' or '.join(near)}?"
    return f"; there is {', '.join(known)}" if 0 < len(known) <= _FEW else ""


def _alike(word: str, known: tuple[str, ...]) -> list[str]:
    """Those of many that have most runs of three characters in common with ``word``: what is compared in earnest."""
    wanted = _runs(word)
    return heapq.nlargest(_FEW, known, key=lambda name: len(wanted & _runs(name)))


def _runs(word: str) -> set[str]:
    folded = word.casefold()
    return {folded[at : at + 3] for at in range(len(folded) - 2)}
