"""The signature under the limits (H2, E10)."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import ConfigCode, GovernanceLockError
from configs.loader import load
from configs.lock import (
    Difference,
    GovernanceWatch,
    LockState,
    canonical,
    difference,
    governance_digest,
    load_governance,
    read_lock,
    verify,
    write_lock,
)

LOCK = "governance.lock"
DAY = dt.date(2026, 12, 24)


def test_the_signed_limits_are_in_order(folder: Path) -> None:
    status = verify(folder)
    assert status.ok
    assert status.differences == status.problems == ()
    assert status.lock is not None
    assert (status.lock.reviewer, status.lock.date) == ("founders", dt.date(2026, 11, 22))


def test_a_limit_that_nobody_signed_stops_the_start_with_exit_code_3(edit, refusal) -> None:
    """H2: a restart refuses a change until it is signed."""
    edit("governance.yaml", "max_daily_loss_pct: 1.8", "max_daily_loss_pct: 1.5")
    error = refusal()
    assert isinstance(error, GovernanceLockError)
    assert error.exit_code == 3
    (problem,) = error.problems
    assert problem.code is ConfigCode.LOCK_MISMATCH
    assert "max_daily_loss_pct 1.8 -> 1.5" in problem.what
    assert problem.source == "max_daily_loss_pct: 1.5"
    assert "brain governance sign" in problem.help


@pytest.mark.parametrize(
    ("limit", "value"),
    [
        ("leverage_cap: 3.0", "leverage_cap: 2.9999999999999996"),
        ("no_martingale: true", "no_martingale: true   # still"),
        ("ntp_skew_ms: 1500", "ntp_skew_ms: 1499"),
        ("kill_switch_action: flatten ", "kill_switch_action: hold "),
        ('["candles", "funding"]', '["candles", "funding", "book"]'),
        ("Europe/Chisinau", "Europe/Bucharest"),
    ],
)
def test_every_change_of_a_value_is_seen_and_no_change_of_a_comment(limit: str, value: str, folder: Path, edit) -> None:
    edit("governance.yaml", limit, value)
    assert verify(folder).ok is ("# still" in value)


def test_a_missing_lock_stops_the_start_with_exit_code_3(folder: Path, refusal) -> None:
    (folder / LOCK).unlink()
    assert verify(folder).state is LockState.MISSING
    error = refusal()
    assert error.exit_code == 3
    assert [p.code for p in error.problems] == [ConfigCode.LOCK_MISSING]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('digest: "', 'digest: "0'),
        ('digest: "26', 'digest: "62'),
        ("  leverage_cap: 3.0", "  leverage_cap: 2.0"),
        ("  leverage_cap: 3.0\n", ""),
        ('reviewer: "founders"', 'reviewer: ""'),
        ('date: "2026-11-22"', 'date: "yesterday"'),
        ("brain.governance-lock/1", "brain.governance-lock/9"),
        ("values:", "values: ["),
        ("values:", "valves:"),
    ],
)
def test_a_lock_that_was_tampered_with_stops_the_start(old: str, new: str, folder: Path, edit, refusal) -> None:
    edit(LOCK, old, new)
    assert verify(folder).state is LockState.UNREADABLE
    error = refusal()
    assert error.exit_code == 3
    assert {p.code for p in error.problems} == {ConfigCode.LOCK_UNREADABLE}


def test_limits_and_lock_changed_together_with_a_matching_digest_are_a_signature(folder: Path, edit) -> None:
    """The lock guards against slips and unreviewed edits; who may write both files is for the owner to rule."""
    edit("governance.yaml", "max_daily_loss_pct: 1.8", "max_daily_loss_pct: 1.5")
    lock = write_lock(folder, " A. Reviewer ", " smaller days ", DAY)
    assert (lock.reviewer, lock.reason, lock.date) == ("A. Reviewer", "smaller days", DAY)
    assert load(folder).governance.max_daily_loss_pct == 1.5
    assert load(folder).governance_digest == lock.digest


def test_a_wrong_value_is_told_as_such_and_not_as_a_lock_problem(edit, refusal) -> None:
    edit("governance.yaml", "max_daily_loss_pct: 1.8", "max_daily_loss_pct: 18")
    error = refusal()
    assert error.exit_code == 2
    assert [p.code for p in error.problems] == [ConfigCode.OUT_OF_RANGE]


def test_a_slip_elsewhere_beside_an_unsigned_limit_tells_both(edit, refusal) -> None:
    edit("governance.yaml", "max_daily_loss_pct: 1.8", "max_daily_loss_pct: 1.5")
    edit("blackouts.yaml", "windows: []", "windows: 0")
    error = refusal()
    assert error.exit_code == 2
    assert {p.code for p in error.problems} == {ConfigCode.WRONG_TYPE, ConfigCode.LOCK_MISMATCH}


@pytest.mark.parametrize(("reviewer", "reason"), [("", "why"), ("who", "  ")])
def test_nobody_signs_without_a_name_and_a_reason(reviewer: str, reason: str, folder: Path) -> None:
    before = (folder / LOCK).read_bytes()
    with pytest.raises(ValueError, match="reviewer and a reason"):
        write_lock(folder, reviewer, reason, DAY)
    assert (folder / LOCK).read_bytes() == before


def test_signing_leaves_no_other_file_behind(folder: Path) -> None:
    before = sorted(p.name for p in folder.iterdir())
    write_lock(folder, "who", 'why "so": {odd} # text', DAY)
    assert sorted(p.name for p in folder.iterdir()) == before
    lock, problems = read_lock(folder)
    assert problems == ()
    assert lock is not None
    assert lock.reason == 'why "so": {odd} # text'


def test_the_difference_names_what_changed_came_and_went() -> None:
    found = difference({"a": 1, "b": 0.5, "gone": True}, {"a": 1, "b": 0.25, "came": "x"})
    assert found == (Difference("b", "0.5", "0.25"), Difference("came", "-", '"x"'), Difference("gone", "true", "-"))


def test_the_digest_is_that_of_the_canonical_text(folder: Path) -> None:
    governance = load_governance(folder)
    assert governance_digest(governance) == "26a3937c48bb3eeaaedf80f4c43dc09b50e022d9e0a880eddd35440557dd2f4c"


def test_the_canonical_text_is_the_same_in_any_order_and_refuses_nan() -> None:
    assert canonical({"b": 1.0, "a": [1, True, None, "é"]}) == '{"a":[1,true,null,"\\u00e9"],"b":1.0}'
    assert canonical({"a": 1, "b": 2}) == canonical({"b": 2, "a": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical({"a": float("nan")})


@pytest.mark.untraced
@given(base=st.floats(0.05, 0.8), cap=st.floats(0.01, 3.0), seconds=st.integers(1, 1500))
def test_any_valid_limits_can_be_signed_read_back_and_verified(
    base: float, cap: float, seconds: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Floats keep every bit on the way through both files."""
    folder = tmp_path_factory.mktemp("signed")
    text = (Path(__file__).resolve().parents[2] / "configs" / "governance.yaml").read_text(encoding="utf-8")
    text = text.replace("per_trade_r_pct_base: 0.8", f"per_trade_r_pct_base: {base!r}")
    text = text.replace("leverage_cap: 3.0", f"leverage_cap: {cap!r}").replace("ntp_skew_ms: 1500", f"ntp_skew_ms: {seconds}")
    (folder / "governance.yaml").write_text(text, encoding="utf-8")
    write_lock(folder, "who", "why", DAY)
    assert verify(folder).ok
    assert load_governance(folder).per_trade_r_pct_base == base


def _watch(folder: Path) -> GovernanceWatch:
    return GovernanceWatch(folder, load(folder).governance_digest)


def test_an_untouched_file_is_not_a_change(folder: Path) -> None:
    watch = _watch(folder)
    assert [watch.changed() for _ in range(3)] == [False, False, False]


def test_a_file_that_was_written_again_with_the_same_limits_is_not_a_change(folder: Path) -> None:
    watch = _watch(folder)
    assert not watch.changed()
    path = folder / "governance.yaml"
    path.write_text(path.read_text(encoding="utf-8") + "# reviewed again\n", encoding="utf-8")
    assert not watch.changed()


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_a_changed_limit_stays_a_change_even_when_signed_or_put_back(signed: bool, folder: Path, edit) -> None:
    """H2: a running system never takes a change; only a restart does."""
    watch = _watch(folder)
    assert not watch.changed()
    edit("governance.yaml", "max_daily_loss_pct: 1.8", "max_daily_loss_pct: 1.5")
    if signed:
        write_lock(folder, "who", "why", DAY)
    assert watch.changed()
    edit("governance.yaml", "max_daily_loss_pct: 1.5", "max_daily_loss_pct: 1.8")
    assert watch.changed()


def test_a_change_between_load_and_watch_is_seen(folder: Path, edit) -> None:
    digest = load(folder).governance_digest
    edit("governance.yaml", "max_daily_loss_pct: 1.8", "max_daily_loss_pct: 1.5")
    assert GovernanceWatch(folder, digest).changed()


@pytest.mark.parametrize("name", ["governance.yaml", LOCK])
@pytest.mark.parametrize("content", [None, b"", b"\xff", b"version: [", b"version: 1\n"])
def test_a_file_that_is_gone_or_broken_is_a_change(name: str, content: bytes | None, folder: Path) -> None:
    watch = _watch(folder)
    assert not watch.changed()
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    assert watch.changed()


def test_a_change_with_the_same_size_and_a_forged_time_is_seen(folder: Path, edit) -> None:
    watch = _watch(folder)
    assert not watch.changed()
    path = folder / "governance.yaml"
    before = path.stat()
    edit("governance.yaml", "max_daily_loss_pct: 1.8", "max_daily_loss_pct: 1.5")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert watch.changed()
