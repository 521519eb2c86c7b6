"""How problems are told."""

from __future__ import annotations

import json

import pytest

from configs.errors import ConfigCode, ConfigError, GovernanceLockError, Place, Problem, raise_all

RANGE = Problem(ConfigCode.OUT_OF_RANGE, "a is out of range", "x.yaml", "a", "9", "1 to 2", "set it", Place(120, 4, 1), "a: 9")
LOCK = Problem(ConfigCode.LOCK_MISSING, "no lock", "governance.lock")


def test_every_code_has_a_meaning_and_a_number_of_its_own() -> None:
    assert all(code.meaning for code in ConfigCode)
    assert len({str(code) for code in ConfigCode}) == len(ConfigCode)


def test_the_marker_stands_under_the_value_also_in_long_files() -> None:
    lines = RANGE.render(effect="").splitlines()
    assert lines[3] == "120 | a: 9"
    assert lines[4] == "    |    ^ allowed: 1 to 2"


def test_a_problem_without_a_line_tells_value_and_allowed_all_the_same() -> None:
    text = Problem(
        ConfigCode.NOT_A_CHOICE, "MODE is odd", "environment variable MODE", "MODE", "odd", "one of paper, live"
    ).render()
    assert "value: odd" in text
    assert "allowed: one of paper, live" in text


def test_the_summary_counts_the_rest() -> None:
    assert str(ConfigError([RANGE])) == "x.yaml:120:4: a is out of range"
    assert str(ConfigError([RANGE, LOCK])).endswith("(and 1 more problem)")
    assert str(ConfigError([RANGE, LOCK, LOCK])).endswith("(and 2 more problems)")


def test_the_machine_readable_form_holds_every_problem() -> None:
    told = json.loads(json.dumps(ConfigError([RANGE, LOCK]).as_dict()))
    assert told["code"] == "CFG-014"
    assert [p["line"] for p in told["problems"]] == [120, None]


def test_only_locks_make_a_safety_refusal() -> None:
    raise_all([])
    with pytest.raises(GovernanceLockError):
        raise_all([LOCK])
    with pytest.raises(ConfigError) as caught:
        raise_all([LOCK, RANGE])
    assert caught.value.exit_code == 2


def test_an_error_without_a_problem_is_a_bug() -> None:
    with pytest.raises(ValueError, match="at least one"):
        ConfigError([])
