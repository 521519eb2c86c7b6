"""The JSON answer: always valid, nothing lost in silence."""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.types import Side
from graph.envelope import envelope, to_plain


@dataclass(frozen=True)
class Trade:
    side: Side
    qty: Decimal


def plain(value: Any) -> Any:
    lost: list[str] = []
    answer = to_plain(value, lost)
    assert lost == []
    return answer


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Decimal("0.10"), "0.10"),
        (Decimal("1E+3"), "1000"),
        (Decimal("1E-8"), "0.00000001"),
        (datetime(2026, 1, 5, 2, 5, tzinfo=timezone(timedelta(hours=2))), "2026-01-05T00:05:00.000Z"),
        (datetime(2026, 1, 5, 0, 0, 0, 250_000, tzinfo=UTC), "2026-01-05T00:00:00.250Z"),
        (date(2026, 1, 5), "2026-01-05"),
        (Side.LONG, "long"),
        (Trade(Side.SHORT, Decimal("1.5")), {"side": "short", "qty": "1.5"}),
        ({Side.LONG: 1, 5: 2}, {"long": 1, "5": 2}),
        ((1, [2.5, None], True), [1, [2.5, None], True]),
        ({"b", "a"}, ["a", "b"]),
        (Path("x/y"), "x/y"),
        (np.float64(1.5), 1.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.array([1, 2]), [1, 2]),
    ],
)
def test_each_type_has_one_form(value: Any, expected: Any) -> None:
    answer = plain(value)
    assert answer == expected
    assert type(answer) is type(expected)


def test_nan_and_infinity_become_null_and_are_named() -> None:
    text = envelope(
        "brain.x/1", {"a": {"b": [1.0, float("nan")]}, "c": float("-inf"), "d": Decimal("NaN"), "e": np.float64("nan")}
    )
    answer = json.loads(text)
    assert answer["data"] == {"a": {"b": [1.0, None]}, "c": None, "d": None, "e": None}
    assert [w.split(";")[0] for w in answer["warnings"]] == [
        "data.a.b[1] was nan",
        "data.c was -inf",
        "data.d was NaN",
        "data.e was nan",
    ]


@pytest.mark.parametrize("value", [b"x", datetime(2026, 1, 5), object(), {(1, 2): 3}])  # noqa: DTZ001 - a time without zone is refused
def test_what_has_no_form_is_refused_by_name(value: Any) -> None:
    with pytest.raises(TypeError, match=r"data\.k"):
        envelope("brain.x/1", {"k": value})


def test_mappings_keep_their_order() -> None:
    assert list(json.loads(envelope("s", OrderedDict([("z", 1), ("a", 2)])))["data"]) == ["z", "a"]


def test_ok_means_exit_code_zero() -> None:
    assert json.loads(envelope("s", None, code=0))["ok"] is True
    assert json.loads(envelope("s", None, code=1))["ok"] is False


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.decimals(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=12,
    )
)
def test_the_answer_is_always_strict_json_on_one_line(value: Any) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(name)

    text = envelope("brain.x/1", {"value": value})
    assert "\n" not in text
    assert text.isascii()
    json.loads(text, parse_constant=refuse)
