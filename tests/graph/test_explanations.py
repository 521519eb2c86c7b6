"""Every code that a person can meet is explained."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import core.errors
import graph
from configs.errors import ConfigCode
from core.codes import RefusalCode
from core.exec.live.halts import HaltKind
from core.monitor.paper_sessions import HALTED, RECOVERED, RECOVERY
from core.risk.governor import GovernorEventKind
from graph.alert_words import ALERTS, HALTS
from graph.exit_codes import ExitCode, UsageError
from graph.explanations import ERROR_CODES, FAMILIES, did_you_mean, explain, known_codes
from graph.live.watching import KEPT, NOT_KEPT


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


@pytest.mark.parametrize("kind", list(HaltKind))
def test_every_reason_of_a_halt_is_explained_with_what_settles_it(kind: HaltKind) -> None:
    """`docs/orders.md` names them in lower case, and so do metric and log."""
    assert HALTS[kind.value] in explain(kind.value)
    assert f"{kind.value}: a halt" in explain(kind.value.upper())


def test_there_is_no_word_for_a_halt_that_does_not_exist() -> None:
    assert set(HALTS) == {kind.value for kind in HaltKind}


def test_every_alert_that_the_code_raises_or_the_docs_name_is_explained() -> None:
    root = Path(graph.__file__).parents[1]
    code = "".join(one.read_text(encoding="utf-8") for folder in ("core", "graph") for one in (root / folder).rglob("*.py"))
    raised = set(re.findall(r'alert\(\s*(?:[\w.()]+, )?(?:AlertLevel\.\w+|"page"|"warning"|"info"),\s*"(\w+)"', code))
    docs = "".join(one.read_text(encoding="utf-8") for one in (root / "docs").glob("*.md"))
    named = set(re.findall(r"\(?alert\s+`(\w+)`", docs))
    words = {RECOVERED, RECOVERY, HALTED, NOT_KEPT, KEPT} | {kind.value for kind in GovernorEventKind}
    assert len(raised) >= 15
    assert len(named) >= 4
    assert raised | named | words <= set(ALERTS)
    for word in sorted(raised | named | words):
        assert ALERTS[word] in explain(word)


def test_a_word_that_is_a_refusal_and_an_alert_is_explained_as_both() -> None:
    assert "a refusal; " in explain("symbol_halted")
    assert "an alert; " in explain("symbol_halted")


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
