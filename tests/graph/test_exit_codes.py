"""The table of exit codes says what the code does."""

from __future__ import annotations

import pytest

from core.errors import AccountRefused, BrainError, Unanswered
from graph.commands.drive import ended_early
from graph.exit_codes import ExitCode, exit_code_of


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (AccountRefused("the exchange does not take API_KEY"), "a key"),
        (Unanswered("the clock is 10 s off", code="LIVE-013"), "clock"),
        (ended_early(15), "any signal before a run at an exchange had begun (LIVE-018)"),
        (KeyboardInterrupt(), "Ctrl-C"),
    ],
)
def test_an_error_is_named_where_its_exit_code_is_explained(error: BrainError, words: str) -> None:
    code = exit_code_of(error)
    assert words in code.meaning
    assert [other for other in ExitCode if other is not code and words in other.meaning] == []
