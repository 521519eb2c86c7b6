"""Every code can be given as a reason, and every reading says what was observed and what the limit was."""

from __future__ import annotations

import pytest

from core.codes import RefusalCode
from core.types import Refusal
from graph.why.gates import LIFTS
from graph.why.reasons import READINGS, generic, number, reason_of
from tests.support.run import configuration


def refusal(code: RefusalCode, **detail: float | str) -> Refusal:
    return Refusal(code, 0, "risk_manager", "BTC/USDT:USDT", "breakout_4h", "ref", "the message", tuple(detail.items()))


@pytest.mark.parametrize("code", list(RefusalCode))
def test_every_code_gives_a_whole_reason_with_and_without_arithmetic(code: RefusalCode):
    for one in (refusal(code), refusal(code, observed_usd=1.5, limit_usd=1.0)):
        reason = reason_of(one, configuration())
        assert reason.code == code.value
        assert reason.rule
        assert reason.observed
        assert reason.limit


def test_a_code_without_a_reading_is_read_from_its_arithmetic():
    code = RefusalCode.DUPLICATE_CLIENT_ID
    assert code not in READINGS
    reason = generic(refusal(code, broker="taken"))
    assert (reason.observed, reason.limit) == ("broker taken", code.meaning)
    assert generic(refusal(code)).observed == "the message"


def test_numbers_of_the_refusal_and_limits_of_governance_stand_in_the_reason():
    reason = reason_of(refusal(RefusalCode.COST_SHARE, cost_share_of_r=0.31), configuration())
    assert reason.observed == "cost_share_of_r 0.31 R"
    assert reason.limit == "at most 0.2 R (max_cost_share_of_r)"


def test_a_worst_case_that_shrank_the_plan_names_the_least_that_is_worth_a_trade():
    """X9: 0.3 % of 300 USD."""
    facts = {"equity": 300.0, "room_worst_case_usd": 0.5, "risk_raw_usd": 0.5}
    reason = reason_of(refusal(RefusalCode.DAY_WORST_CASE, **facts), configuration())
    assert reason.observed == "risk_raw_usd 0.5 USD"
    assert "at least 0.9 USD" in reason.limit


def test_a_code_that_cannot_be_lifted_is_one_that_no_input_explains():
    """Whatever is not lifted ends the search for further gates; these are known."""
    unlifted = set(RefusalCode) - set(LIFTS)
    decided_before_orders = {
        RefusalCode.WARMING_UP,
        RefusalCode.MISSING_INPUT,
        RefusalCode.REGIME_UNKNOWN,
        RefusalCode.SIGNAL_EXPIRED,
    }
    assert decided_before_orders < unlifted
    assert RefusalCode.SCORE_LOW not in unlifted
    assert RefusalCode.COST_SHARE not in unlifted


def test_facts_are_written_for_people():
    assert [number(one) for one in (None, True, False, 0.1234567, 3, "x")] == ["not known", "yes", "no", "0.123457", "3", "x"]
