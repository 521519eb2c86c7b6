from __future__ import annotations

import math
from decimal import Decimal

import pytest

from core.codes import RefusalCode
from core.risk.context import exposure_room, known, lock_code, loss_to_stop, worst_case_room
from core.types import Side, TradingState
from tests.core.risk.making import governance, position, view


def test_none_nan_and_infinity_are_not_numbers():
    assert [known(value) for value in (None, math.nan, math.inf, 0.0)] == [False, False, False, True]


def test_open_profit_that_a_stop_gives_back_is_lost_from_the_mark():
    """X10: 1 SOL marked at 106 with its stop at 101 loses 5 and 0.1 % of 101, though it would be closed in profit."""
    held = position(stop=Decimal(101))
    assert loss_to_stop(held, 106.0, 0.001) == pytest.approx(5.101)
    assert held.risk_at_stop(0.001) == 0.0


def test_a_short_loses_upwards():
    assert loss_to_stop(position(Side.SHORT), 100.0, 0.001) == pytest.approx(4.0 + 0.104)


def test_a_mark_beyond_the_stop_leaves_only_the_cost_of_leaving():
    assert loss_to_stop(position(), 95.0, 0.001) == pytest.approx(0.096)


def test_an_unknown_mark_is_not_a_price_at_which_nothing_is_lost():
    assert math.isnan(loss_to_stop(position(), math.nan, 0.001))


def test_the_days_floor_binds_on_a_flat_day():
    """X10: 300 USD may fall to 294.6 today, and to 289.5 from the peak."""
    room = worst_case_room(governance(), view(room_usd=5.4), 1.4)
    assert (room.code, room.usd) == (RefusalCode.DAY_WORST_CASE, pytest.approx(4.0))


def test_the_peaks_floor_binds_after_a_bad_yesterday():
    """X10: peak 310 x 0.965 = 299.15 lies above 300 x 0.982 = 294.6."""
    room = worst_case_room(governance(), view(peak_72h=310.0, room_usd=0.85), 0.0)
    assert (room.code, room.usd) == (RefusalCode.DRAWDOWN_WORST_CASE, 0.85)


@pytest.mark.parametrize(
    ("gross", "net", "sign", "changes", "code", "usd"),
    [
        (600.0, 600.0, 1, {}, RefusalCode.LEVERAGE_CAP, 300.0),
        (600.0, 600.0, 1, {"max_gross_exposure": 2.5}, RefusalCode.EXPOSURE_CAP, 150.0),
        (200.0, 200.0, 1, {"max_net_exposure": 1.0}, RefusalCode.EXPOSURE_CAP, 100.0),
        (200.0, 200.0, -1, {"max_net_exposure": 1.0}, RefusalCode.EXPOSURE_CAP, 500.0),
    ],
)
def test_the_tightest_exposure_limit_gives_the_room(gross, net, sign, changes, code, usd):
    """E6, F4: equity 300, leverage 3."""
    room = exposure_room(governance(**changes), 300.0, sign, gross, net)
    assert (room.code, room.usd) == (code, pytest.approx(usd))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"state": TradingState.HALTED, "kill_switch": True, "day_lock": True}, RefusalCode.KILL_SWITCH),
        ({"state": TradingState.REDUCING, "day_lock": True, "governance_changed": True}, RefusalCode.DAY_LOCK),
        ({"state": TradingState.REDUCING, "governance_changed": True}, RefusalCode.GOVERNANCE_CHANGED),
        ({"state": TradingState.REDUCING}, RefusalCode.NOT_ACTIVE),
    ],
)
def test_a_lock_is_named_by_its_cause(changes, code):
    assert lock_code(view(**changes)) is code
