"""Conditions over the record: a grammar of their own, and nothing of Python is ever run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.codes import RefusalCode
from core.types import Event, EventKind, Refusal, Regime, ScoredSignal, Side, Signal, Timeframe
from graph.stepping.conditions import SHORT, parse_condition
from graph.stepping.errors import StepError
from tests.graph.stepping.making import STATE, SYMBOLS
from tools.state import Regimes, Selection

SIGNAL = Signal("1-b-BTC", "breakout_4h", "BTC/USDT:USDT", Side.LONG, 100.0, Timeframe.H4, 9, 10, "broke out", 2.0)
NO = Refusal(RefusalCode.SCORE_LOW, 9, "strategy_selection", "ETH/USDT:USDT", "vol_exp_15m", "r", "said")
FOUND = {
    **STATE,
    "selection": Selection(
        scored=(ScoredSignal(SIGNAL, 7.5, 7.0, Regime.PANIC, ()), ScoredSignal(SIGNAL, 3.0, 7.0, Regime.PANIC, ())),
        refusals=(NO,),
    ),
}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("score >= 7", True),
        ("score > 7.5", False),
        ("score >= 7 and regime == panic", True),
        ("score >= 7 and regime == 'panic'", True),
        ("score >= 8 or regime == panic", True),
        ("not score >= 8", True),
        ("not (score >= 7 or regime == panic)", False),
        ("score > 8 or score < 4 and regime == trend_up", False),
        ("(score > 8 or score < 4) and regime == panic", True),
        ("regimes.h1[ETH] == unknown", True),
        ("regimes.h1[BTC/USDT:USDT] == unknown", False),
        ("regimes.h1[7] == panic", False),
        ("refusal in [SCORE_LOW, COST_SHARE]", True),
        ("refusal in [GROSS_CAP]", False),
        ('strategy contains "4h"', True),
        ("execution.orders contains a", True),
        ("execution.orders contains b", False),
        ("status.governor.day_lock", False),
        ("status.health.ok == true", True),
        ("status.health.drift_ms == none", True),
        ("trading == active and equity < 300.5", True),
        ("len(selection.scored) == 2", True),
        ("len(risk.plans) > 0", False),
        ("risk.plans[*].id", False),
        ("event.seq == 4", True),
        ("score == panic", False),
        ("score < panic", False),
        ("1 < 2", True),
        ("-1 < -0.5", True),
    ],
)
def test_a_condition_holds_or_does_not(text: str, holds: bool) -> None:
    assert parse_condition(text, SYMBOLS).holds(FOUND) is holds


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "expected a value, found the end"),
        ("score >=", "expected a value"),
        ("score >= 7 and", "expected a value"),
        ("(score >= 7", "expected ')'"),
        ("score >= 7 7", "is too much"),
        ("score >= [7", "not closed"),
        ("selektion.scored[*].score > 1", "did you mean selection"),
        ("selection.scored[*].skore > 1", "did you mean score"),
        ("score; import os", "is not understood"),
        ("__import__('os').system('x')", "is not understood"),
        ("__import__('os')", "is too much"),
        ("selection.__class__ == 1", "has no '__class__'"),
        ("len(score) > 1", "positions"),
        ("event.closed contains x", "what closed is seen"),
        ("lambda: 1", "is not understood"),
        ("score > 1__0", "is not understood"),
        ("score > ٣", "is not understood"),
        (f"{'not ' * 900}score > 1", "nested more than 50 deep"),
        (f"{'(' * 900}score > 1", "nested more than 50 deep"),
        (f"score in {'[' * 900}", "nested more than 50 deep"),
        (f"where {'not ' * 3_000}score > 1", "at most 4000 characters"),
    ],
)
def test_what_is_not_of_the_grammar_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(StepError) as caught:
        parse_condition(text, SYMBOLS)
    assert why in caught.value.what


_signs = ["and", "or", "not", "(", ")", "[", "]", ",", "==", "<=", "in", "contains", "len", "7", "'x'", "@"]
_words = st.sampled_from([*SHORT, *_signs, "regimes.h1[0]", "status"])


@given(st.one_of(st.text(max_size=40), st.lists(_words, max_size=9).map(" ".join)))
def test_any_text_is_a_condition_or_refused_and_a_condition_answers(text: str) -> None:
    try:
        condition = parse_condition(text, SYMBOLS)
    except StepError:
        return
    assert condition.holds(FOUND) in {True, False}
    assert condition.holds({"event": Event(EventKind.BAR, 1, 1), "regimes": Regimes((), ())}) in {True, False}


def test_every_short_word_is_a_place() -> None:
    for word in SHORT:
        assert parse_condition(f"{word} == 1", SYMBOLS).roots
