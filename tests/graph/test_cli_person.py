"""What only a person may do: sign limits, at a terminal, with a typed word (H2)."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from configs.lock import LockState, read_lock, verify
from graph.commands.common import who_asks
from tests.support.commands import at_terminal, brain, configs_in, process, rewrite

REVIEWER, REASON, CONFIRM = "Reviewer [", "Reason for the change: ", "Type SIGN to go on: "
BY = ("--reviewer", "a colleague")


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """A folder whose limits were edited after they had been signed."""
    folder = configs_in(tmp_path / "configs")
    rewrite(folder / "governance.yaml", "max_daily_loss_pct: 1.8", "max_daily_loss_pct: 1.5")
    return folder


def test_signing_away_from_a_terminal_is_refused_with_exit_code_3(changed: Path) -> None:
    before = (changed / "governance.lock").read_bytes()
    for said in (
        brain("governance", "sign", "--configs", str(changed)),
        process("governance", "sign", "--configs", str(changed)),
    ):
        assert said.code == 3
        assert said.out == ""
        assert said.err.startswith("error[LOCK-003]: sign was not run from a terminal, ")
        assert "= effect: governance.lock was not written; a start refuses until it is" in said.err
    assert (changed / "governance.lock").read_bytes() == before


@pytest.mark.parametrize(
    ("command", "verb", "code"),
    [(("governance", "sign", *BY), "sign", "LOCK-003"), (("unlock", "--reason", "calm"), "unlock", "LOCK-002")],
)
def test_with_no_input_nobody_is_asked_at_a_terminal_neither(
    command: tuple[str, ...], verb: str, code: str, changed: Path, tmp_path: Path
) -> None:
    """What a person alone may do is refused with exit code 3, and the help says how."""
    before = (changed / "governance.lock").read_bytes()
    where = ("--configs", str(changed)) if command[0] == "governance" else ("--state", str(tmp_path))
    shown = at_terminal(*command, *where, "--no-input", "--color", "never")
    assert shown.code == 3
    assert f"error[{code}]: {verb} was run with --no-input" in shown.out
    assert "= help: look at what" in shown.out
    assert "Type " not in shown.out
    assert (changed / "governance.lock").read_bytes() == before


@pytest.mark.parametrize(
    ("flags", "answers", "reviewer"),
    [
        (BY, [], "a colleague"),
        ((), [(REVIEWER, "  a colleague \n")], "a colleague"),
        ((), [(REVIEWER, "\n")], who_asks()),
    ],
    ids=["by the flag", "typed", "the login by default"],
)
def test_the_lock_names_the_reviewer_whoever_is_logged_in(
    flags: tuple[str, ...], answers: list[tuple[str, str]], reviewer: str, changed: Path
) -> None:
    """H2: a change of limits needs a review, and the record says whose."""
    typed = [*answers, (REASON, "a calmer month\n"), (CONFIRM, "SIGN\n")]
    shown = at_terminal("governance", "sign", "--configs", str(changed), *flags, answers=typed)
    assert shown.code == 0
    lock, _ = read_lock(changed)
    assert lock is not None
    assert lock.reviewer == reviewer
    assert f"reviewed by {reviewer}" in shown.out
    assert (REVIEWER in shown.out) is not bool(flags)


def test_a_reviewer_without_a_name_is_refused(changed: Path) -> None:
    shown = at_terminal("governance", "sign", "--configs", str(changed), "--reviewer", " ")
    assert (shown.code, "--reviewer was empty" in shown.out) == (2, True)


def test_a_person_sees_the_difference_gives_a_reason_and_types_the_word(changed: Path) -> None:
    shown = at_terminal(
        "governance", "sign", "--configs", str(changed), *BY, answers=[(REASON, "a calmer month\n"), (CONFIRM, "SIGN\n")]
    )
    assert shown.code == 0
    assert "max_daily_loss_pct: 1.8 -> 1.5" in shown.out
    status = verify(changed)
    assert status.state is LockState.OK
    lock, problems = read_lock(changed)
    assert lock is not None
    assert not problems
    assert (lock.reason, lock.reviewer) == ("a calmer month", "a colleague")
    assert abs((lock.date - dt.datetime.now(dt.UTC).date()).days) <= 1
    assert f"Signed: {status.digest}" in shown.out
    again = at_terminal("governance", "sign", "--configs", str(changed))
    assert (again.code, "nothing to do" in again.out) == (0, True)


@pytest.mark.parametrize(
    ("answers", "code", "says"),
    [
        ([(REASON, "because\n"), (CONFIRM, "sign\n")], 1, "the former signature stays"),
        ([(REASON, "because\n"), (CONFIRM, "\n")], 1, "the former signature stays"),
        ([(REASON, "   \n")], 2, "the reason was empty"),
        ([(REASON, "\x04")], 2, "the reason was empty"),  # Ctrl-D
        ([(REASON, "\x03")], 130, "interrupted"),  # Ctrl-C
    ],
    ids=["another word", "no word", "no reason", "ctrl-d", "ctrl-c"],
)
def test_anything_but_reason_and_word_leaves_the_former_signature(
    answers: list[tuple[str, str]], code: int, says: str, changed: Path
) -> None:
    before = (changed / "governance.lock").read_bytes()
    shown = at_terminal("governance", "sign", "--configs", str(changed), *BY, answers=answers)
    assert shown.code == code
    assert says in shown.out
    assert "Traceback" not in shown.out
    assert (changed / "governance.lock").read_bytes() == before


def test_limits_that_cannot_be_used_cannot_be_signed(changed: Path) -> None:
    rewrite(changed / "governance.yaml", "leverage_cap: 3.0", "leverage_cap: 30.0")
    shown = at_terminal("governance", "sign", "--configs", str(changed))
    assert shown.code == 2
    assert "CFG-014" in shown.out
    assert brain("governance", "verify", "--configs", str(changed)).code == 2
