"""Which requests and messages a fault hits."""

from __future__ import annotations

import numpy as np
import pytest

from core.sim.server.faults import ON_MESSAGE, ON_REQUEST, Fault, FaultKind, FaultPlan

PATH = "/fapi/v1/order"


def hits(fault: Fault, count: int = 6, method: str = "POST", path: str = PATH, seed: int = 1) -> list[bool]:
    """Which of so many equal requests are hit."""
    plan = FaultPlan(np.random.default_rng(seed))
    plan.add(fault)
    return [plan.for_request(method, path) is not None for _ in range(count)]


def test_the_nth_and_those_after_it_are_hit() -> None:
    assert hits(Fault(FaultKind.HANG)) == [True] + [False] * 5
    assert hits(Fault(FaultKind.HANG, nth=3, times=2)) == [False, False, True, True, False, False]
    assert hits(Fault(FaultKind.HANG, nth=2, times=0)) == [False] + [True] * 5


def test_chance_is_fixed_by_the_seed() -> None:
    fault = Fault(FaultKind.HANG, probability=0.5, times=0)
    assert hits(fault, 50) == hits(fault, 50)
    assert 10 < sum(hits(fault, 50)) < 40
    assert sum(hits(Fault(FaultKind.HANG, probability=0.5, times=3), 50)) == 3


@pytest.mark.parametrize(
    ("fault", "hit"),
    [
        (Fault(FaultKind.HANG, path=PATH), True),
        (Fault(FaultKind.HANG, path="/fapi/*"), True),
        (Fault(FaultKind.HANG, path="/sapi/*"), False),
        (Fault(FaultKind.HANG, path="/fapi/v1/orders"), False),
        (Fault(FaultKind.HANG, method="POST"), True),
        (Fault(FaultKind.HANG, method="GET"), False),
        (Fault(FaultKind.DEPTH_GAP), False),
    ],
)
def test_a_fault_hits_what_it_names(fault: Fault, hit: bool) -> None:
    assert hits(fault, 1) == [hit]


def test_faults_come_in_the_order_in_which_they_were_given() -> None:
    plan = FaultPlan(np.random.default_rng(1))
    for kind in (FaultKind.HTML, FaultKind.HANG):
        plan.add(Fault(kind))
    assert [found.kind for _ in range(2) if (found := plan.for_request("GET", PATH))] == [FaultKind.HTML, FaultKind.HANG]
    assert plan.waiting == ()


def test_messages_are_hit_by_kind_and_stream() -> None:
    plan = FaultPlan(np.random.default_rng(1))
    plan.add(Fault(FaultKind.DEPTH_GAP, stream="a@depth"))
    assert plan.for_message(FaultKind.DEPTH_GAP, "b@depth") is None
    assert plan.for_message(FaultKind.MISSING_EVENT, "a@depth") is None
    assert plan.for_message(FaultKind.DEPTH_GAP, "a@depth") is not None


def test_every_kind_belongs_to_one_group() -> None:
    venue = {FaultKind.SILENT_SOCKET, FaultKind.DISCONNECT, FaultKind.KEY_EXPIRY, FaultKind.CLOCK_JUMP, FaultKind.STUCK_TRIGGER}
    assert ON_REQUEST | ON_MESSAGE | venue == set(FaultKind)
    assert not ON_REQUEST & ON_MESSAGE
