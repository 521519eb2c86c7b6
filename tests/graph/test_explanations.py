"""Every code that a person can meet is explained."""

from __future__ import annotations

import pytest

import core.errors
from configs.errors import ConfigCode
from core.codes import RefusalCode
from graph.exit_codes import ExitCode, UsageError
from graph.explanations import ERROR_CODES, FAMILIES, did_you_mean, explain, known_codes


@pytest.mark.parametrize("code", list(RefusalCode))
def test_every_refusal_is_explained(code: RefusalCode) -> None:
    assert code.meaning in explain(code.value)


@pytest.mark.parametrize("code", list(ConfigCode))
def test_every_configuration_problem_is_explained(code: ConfigCode) -> None:
    assert code.meaning in explain(code.value)


def test_every_error_of_the_core_has_a_text_of_its_own() -> None:
    kinds = [k for k in vars(core.errors).values() if isinstance(k, type) and issubclass(k, core.errors.BrainError)]
    assert len(kinds) >= 8
    assert {k.default_code for k in kinds} <= set(ERROR_CODES)


def test_every_code_belongs_to_a_known_family() -> None:
    assert {c.partition("-")[0] for c in ERROR_CODES} <= set(FAMILIES)


def test_a_code_without_a_text_is_explained_by_its_family() -> None:
    assert "saved state" in explain("STATE-777")


def test_exit_codes_and_lower_case_are_understood() -> None:
    assert ExitCode.PERSON.meaning in explain("5")
    assert explain("cost_share") == explain("COST_SHARE")


@pytest.mark.parametrize(("wrong", "near"), [("COST_SHAR", "COST_SHARE"), ("DAY_LOK", "DAY_LOCK"), ("CFG014", "CFG-014")])
def test_a_code_that_does_not_exist_is_answered_with_the_nearest(wrong: str, near: str) -> None:
    with pytest.raises(UsageError, match=near) as error:
        explain(wrong)
    assert error.value.code == "CLI-005"
    assert error.value.help.startswith("brain explain ")


def test_nonsense_is_answered_without_a_guess() -> None:
    with pytest.raises(UsageError, match="'~~~~', which does not exist"):
        explain("~~~~")


def test_misspelt_words_find_their_nearest() -> None:
    assert did_you_mean("scenaro", ["source", "scenario", "symbols"]) == ("scenario",)
    assert did_you_mean("btc/usdt:usdt", ["BTC/USDT:USDT"]) == ("BTC/USDT:USDT",)
    assert did_you_mean("zzz", ["source"]) == ()


def test_known_codes_are_each_once() -> None:
    assert len(set(known_codes())) == len(known_codes())
