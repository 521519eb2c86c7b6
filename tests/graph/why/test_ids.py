"""What can be asked about, and what is said of an id that nothing has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from graph.exit_codes import UsageError
from graph.why.explain import Explainer
from tests.graph.why.conftest import Explained


def test_an_unknown_id_names_the_nearest(explained: Explained):
    known = next(why.id for why in explained.of_kind("trade"))
    with pytest.raises(UsageError, match=f"nearest: {known}") as caught:
        explained.records.find(known + "x")
    assert (caught.value.code, caught.value.exit_code) == ("WHY-001", 2)


def test_a_refusal_is_found_by_its_number_and_by_code_and_time(explained: Explained):
    name, refusal = next(iter(explained.records.refusals()))
    assert explained.records.find(name).refusal == refusal
    assert explained.records.find(f"{refusal.code.value}@{refusal.ts}").refusal == refusal
    names = [name for name, _ in explained.records.refusals()]
    assert len(set(names)) == len(names) == explained.records.reader.count("refusals")


def test_everything_that_a_refusal_refers_to_is_an_id(explained: Explained, special: Callable[[str], Explained]):
    """The stepper suggests them: plans that were not admitted, signals that were not given, what research was asked."""
    for found in (explained, special("all together"), special("no funding"), special("owned on the bar")):
        refs = {refusal.ref: refusal.symbol for _, refusal in found.records.refusals()}
        for ref, symbol in refs.items():
            assert found.records.find(ref).symbol == symbol


def test_a_plan_that_was_not_admitted_is_explained_by_its_own_id(special: Callable[[str], Explained]):
    found = special("all together")
    why = found.refused("ALL_CORRELATED", "risk_manager")[0]
    refusal = found.subjects[why.id].refusal
    assert refusal is not None
    assert refusal.ref.startswith("P-")
    again = asyncio.run(Explainer(found.session.reader(), found.records).one(refusal.ref))
    assert (again.id, again.reasons, again.flips) == (why.id, why.reasons, why.flips)


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("R-99999999999999999999-1", "R-"),
        ("R-1-99999999999999999999", "R-"),
        ("R-¹-1", ""),
        ("SCORE_LOW@99999999999999999999", "SCORE_LOW@"),
        ("SCORE_LOW@²", "SCORE_LOW@"),
        ("SCORE_LOW@yesterday", "SCORE_LOW@"),
        ("SCORE_LO@0", "SCORE_LOW@"),
        ("NOT_A_CODE@2026-01-05", ""),
        ("\udcff", ""),
        ("x" * 100_000, ""),
        ("", ""),
        ("'; DROP TABLE refusals; --", ""),
    ],
)
def test_whatever_is_typed_is_answered_with_the_nearest_ids(explained: Explained, text: str, nearest: str):
    """Issue 3, bad input; every id that is named can be asked about."""
    with pytest.raises(UsageError, match="nearest: ") as caught:
        explained.records.find(text)
    assert caught.value.code == "WHY-001"
    assert len(str(caught.value)) < 1_000
    named = str(caught.value).rpartition("nearest: ")[2].split(", ")
    assert len(named) == 3
    assert all(name.startswith(nearest) for name in named)
    for name in named:
        explained.records.find(name)


def test_the_nearest_refusals_of_a_code_are_those_nearest_in_time(explained: Explained):
    times = sorted({refusal.ts for _, refusal in explained.records.refusals() if refusal.code.value == "SCORE_LOW"})
    with pytest.raises(UsageError) as caught:
        explained.records.find(f"SCORE_LOW@{times[3] + 1}")
    assert f"nearest: SCORE_LOW@{times[3]}" in str(caught.value)
