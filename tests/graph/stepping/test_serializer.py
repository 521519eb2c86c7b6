"""Checkpoints hold the state exactly: what comes back is equal to what went in, type by type and bit by bit."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.canonical import encode
from core.codes import RefusalCode
from core.types import AdjustKind, Adjustment, ExitReason, GovernorView, HealthReport, Refusal, TradingState
from graph.stepping.serializer import StateSerializer
from tests.support.run import Ran
from tools.state import STATE_TYPES, Execution, RiskDecision, Status

SERIALIZER = StateSerializer()


def _same(one: object, other: object) -> bool:
    """Equal, of one type all the way down, and of the same bytes (so -0.0 is not 0.0, and NaN is NaN)."""
    return type(one) is type(other) and repr(one) == repr(other) and encode(one) == encode(other)


def test_every_value_of_a_session_comes_back_as_it_was(recorded: Ran) -> None:
    seen = set()
    for state in recorded.states:
        for key, value in state.items():
            kind, payload = SERIALIZER.dumps_typed(value)
            assert kind == key
            assert _same(SERIALIZER.loads_typed((kind, payload)), value)
            seen.add(key)
        whole = SERIALIZER.loads_typed(SERIALIZER.dumps_typed(state))
        assert list(whole) == list(state)
        assert all(_same(whole[key], state[key]) for key in state)
    assert seen == set(STATE_TYPES)


_numbers = st.floats(allow_nan=True, allow_infinity=True)
_scalars = st.one_of(st.text(), st.integers(-(2**63), 2**63 - 1), _numbers, st.booleans(), st.none())


@given(st.lists(st.tuples(st.text(), _scalars)), st.sampled_from(RefusalCode))
def test_any_small_named_facts_come_back_with_their_types(facts: list[tuple[str, object]], code: RefusalCode) -> None:
    """1 is not 1.0 and True is not 1."""
    value = Execution(("a",), (Refusal(code, 1, "risk_manager", "BTC/USDT:USDT", "x", "ref", "said", tuple(facts)),))
    assert _same(SERIALIZER.loads_typed(SERIALIZER.dumps_typed(value)), value)


@given(_numbers, st.decimals(allow_nan=False, allow_infinity=False))
def test_any_number_comes_back_bit_by_bit(number: float, price: Decimal) -> None:
    view = GovernorView(1, TradingState.ACTIVE, *[number] * 6, *[False] * 5, 0, number, -0.0)
    status = Status(HealthReport(1, True, number, (RefusalCode.CLOCK_DRIFT,), ()), view)
    moved = RiskDecision(adjustments=(Adjustment(AdjustKind.MOVE_STOP, "BTC/USDT:USDT", 1, ExitReason.TRAIL, price),))
    for value in (status, moved):
        assert _same(SERIALIZER.loads_typed(SERIALIZER.dumps_typed(value)), value)
    back = SERIALIZER.loads_typed(SERIALIZER.dumps_typed(status))
    assert math.copysign(1.0, back.governor.room_usd) == -1.0


@pytest.mark.parametrize("value", [None, {}, {"source": "loop", "step": 1, "parents": {}}, {"event": 3}, [1, "a"]])
def test_what_langgraph_keeps_for_itself_goes_through_its_own_serializer(value: object) -> None:
    assert SERIALIZER.loads_typed(SERIALIZER.dumps_typed(value)) == value
