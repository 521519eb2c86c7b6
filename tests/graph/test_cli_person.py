"""What only a person may do: sign limits, at a terminal, with a typed word (H2)."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from configs.lock import LockState, read_lock, verify
from tests.support.commands import at_terminal, brain, configs_in, process, rewrite

REASON, CONFIRM = "Reason for the change: ", "Type SIGN to go on: "


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
        assert said.err.startswith("error[LOCK-003]: ")
        assert "= effect: governance.lock was not written; a start refuses until it is" in said.err
    assert (changed / "governance.lock").read_bytes() == before


def test_a_person_sees_the_difference_gives_a_reason_and_types_the_word(changed: Path) -> None:
    shown = at_terminal(
        "governance", "sign", "--configs", str(changed), answers=[(REASON, "a calmer month\n"), (CONFIRM, "SIGN\n")]
    )
    assert shown.code == 0
    assert "max_daily_loss_pct: 1.8 -> 1.5" in shown.out
    status = verify(changed)
    assert status.state is LockState.OK
    lock, problems = read_lock(changed)
    assert lock is not None
    assert not problems
    assert (lock.reason, bool(lock.reviewer)) == ("a calmer month", True)
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
    shown = at_terminal("governance", "sign", "--configs", str(changed), answers=answers)
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
