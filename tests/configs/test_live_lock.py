"""The signature under going live, and what makes it void (J5)."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs.live_lock import (
    FORM,
    LIVE_LOCK_FILE,
    Approval,
    ApprovedSession,
    evidence_digest,
    read_approval,
    strategies_digest,
    why_void,
    write_approval,
)
from configs.loader import load
from configs.validators import Configuration

CODE = "c" * 64
SESSIONS = (ApprovedSession(name="one", seq=7, seal="1" * 64), ApprovedSession(name='two: "x"', seq=0, seal="2" * 64))
SEALS = {"one": "1" * 64, 'two: "x"': "2" * 64}


def approval(config: Configuration, **changes: object) -> Approval:
    values = {
        "form": FORM,
        "who": "a colleague",
        "at": "2026-01-31T00:00:00.000Z",
        "reason": 'looked at it: "all" of it',
        "governance": config.governance_digest,
        "strategies": strategies_digest(config),
        "code": CODE,
        "evidence": evidence_digest(SESSIONS),
        "sessions": SESSIONS,
    }
    return Approval.model_validate({**values, **changes})


def test_what_was_signed_is_read_back(folder: Path) -> None:
    signed = approval(load(folder))
    write_approval(folder, signed)
    assert read_approval(folder) == (signed, "")
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []
    assert load(folder).governance_digest == signed.governance, "the configuration is none the worse for it"


def test_nobody_has_approved_until_someone_has(folder: Path) -> None:
    assert read_approval(folder) == (None, "nobody has approved yet")


@pytest.mark.parametrize(
    ("old", "new"),
    [('seq": 7', 'seq": 9'), ("form:", "from:"), ('who: "a colleague"', 'who: ""'), ("sessions:", "sessions: [")],
    ids=["another bar", "an unknown field", "nobody", "no YAML"],
)
def test_a_file_that_was_edited_is_no_approval(old: str, new: str, folder: Path) -> None:
    path = write_approval(folder, approval(load(folder)))
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    found, why = read_approval(folder)
    assert found is None
    assert "cannot be used" in why


def test_an_approval_holds_while_all_is_as_it_was(folder: Path) -> None:
    """More paper voids nothing."""
    config = load(folder)
    assert why_void(approval(config), config, CODE, {**SEALS, "three": "3" * 64}) == ()


@pytest.mark.parametrize("part", ["strategies", "enable_map", "symbols"])
def test_other_strategies_void_it(part: str, folder: Path) -> None:
    config = load(folder)
    changes = {"enable_map": {"regimes": {}}, "strategies": {"breakout_4h": None}, "symbols": {"symbols": ()}}[part]
    other = config.model_copy(update={part: getattr(config, part).model_copy(update=changes)})
    assert why_void(approval(config), other, CODE, SEALS) == ("the strategies are others than those that were approved",)


def test_other_limits_other_code_and_other_evidence_void_it(folder: Path) -> None:
    config = load(folder)
    signed = approval(config)
    limits = config.model_copy(update={"governance_digest": "0" * 64})
    assert why_void(signed, limits, CODE, SEALS) == ("the limits are others than those that were approved",)
    assert why_void(signed, config, "d" * 64, SEALS) == ("the code is another than that which was approved",)
    assert why_void(signed, config, CODE, {"one": "1" * 64}) == ('session two: "x" does not count any more',)
    changed = why_void(signed, config, CODE, {**SEALS, "one": "9" * 64})
    assert changed == ("session one has another record than the one that was approved",)


def test_what_decides_nothing_voids_nothing(folder: Path) -> None:
    """The calendar is reviewed all the time, and the list of symbols is no rule."""
    config = load(folder)
    other = config.model_copy(update={"blackouts": config.blackouts.model_copy(update={"windows": ()}), "digest": "0" * 64})
    assert why_void(approval(config), other, CODE, SEALS) == ()


def test_an_approval_needs_something_to_rest_on(folder: Path) -> None:
    with pytest.raises(ValueError, match="at least 1 item"):
        approval(load(folder), sessions=(), evidence=evidence_digest(()))
    assert not (folder / LIVE_LOCK_FILE).exists()
