"""An order's life is a table: what is not in it cannot happen."""

from types import SimpleNamespace

import pytest

from core.errors import ContractError
from core.exec.live.crash import CrashPoint
from core.exec.live.states import NEXT, Row, State, check
from tests.core.exec.live.kit import Bench

S = State
ALLOWED = {
    S.SENT: {S.ACK, S.REJECTED, S.THROTTLED, S.UNKNOWN, S.PARTIAL, S.DONE},
    S.UNKNOWN: {S.FOUND, S.ABSENT, S.PARTIAL, S.DONE},
    S.ACK: {S.PARTIAL, S.DONE},
    S.FOUND: {S.PARTIAL, S.DONE},
    S.PARTIAL: {S.PARTIAL, S.DONE},
}


@pytest.mark.parametrize("now", State)
@pytest.mark.parametrize("to", State)
def test_only_what_the_table_allows_may_follow(now, to):
    if to in ALLOWED.get(now, set()):
        check("id", now, to)
    else:
        with pytest.raises(ContractError, match=f"from {now} to {to}"):
            check("id", now, to)


def test_what_is_over_is_final():
    assert {state for state in State if state.over} == {S.REJECTED, S.THROTTLED, S.ABSENT, S.DONE}
    assert {state for state in State if state.doubtful} == {S.SENT, S.UNKNOWN}
    assert {state for state in State if state.open} == {S.ACK, S.FOUND, S.PARTIAL}
    assert set(NEXT) == set(State)


def test_every_state_has_a_place_to_crash_before_and_after_it():
    """A partly filled order is written with its fill, in one commit."""
    names = {point.value for point in CrashPoint}
    assert {f"{state.value}_{side}" for state in State if state is not S.PARTIAL for side in ("before", "after")} <= names
    assert {"fill_before", "fill_after"} <= names


def test_a_row_is_asked_for_as_its_order_was_meant():
    b = Bench.__new__(Bench)
    b.world = SimpleNamespace(clocks=SimpleNamespace(now_ms=lambda: 5))
    entry, stop, take = Row.of(b.order()), Row.of(b.stop()), Row.of(b.take())
    assert (entry.ask.immediate, entry.ask.algo, entry.ask.reduce_only) == (True, False, False)
    assert (stop.ask.immediate, stop.ask.algo, stop.ask.reduce_only) == (False, True, True)
    assert (take.ask.immediate, take.ask.post_only) == (False, False)
    entry.post_only = True
    assert (entry.ask.immediate, entry.ask.post_only) == (False, True)
    assert entry.opens
    assert not stop.opens
    assert stop.order == b.stop()
