"""How big an entry is: whole, or a canary (X35, J2)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.codes import RefusalCode
from core.risk.canary import Sizing, SizingPolicy, plan_entry
from core.risk.engine import RiskEngine
from core.types import Plan, Refusal
from tests.core.risk.making import DIGEST, context, governance, instrument, scored, view

ENGINE = RiskEngine(governance(), DIGEST)
BTC = "BTC/USDT:USDT"
WHOLE, ALL = SizingPolicy(), SizingPolicy(all_canaries=True)


def test_without_a_word_every_entry_is_whole() -> None:
    assert WHOLE.sizing("breakout_4h") is Sizing.WHOLE
    assert plan_entry(ENGINE, WHOLE, scored(), 300.0, context()) == ENGINE.plan(scored(), 300.0, context())


def test_a_candidate_is_a_canary_and_the_others_are_not() -> None:
    policy = SizingPolicy(canaries=("funding_rev",))
    assert (policy.sizing("funding_rev"), policy.sizing("breakout_4h")) == (Sizing.CANARY, Sizing.WHOLE)
    assert (policy.may_add("funding_rev"), policy.may_add("breakout_4h")) == (False, True)


def test_a_canary_is_sized_as_the_engine_sizes_canaries() -> None:
    strategy = scored().signal.strategy
    for policy in (ALL, SizingPolicy(canaries=(strategy,))):
        plan = plan_entry(ENGINE, policy, scored(), 300.0, context())
        assert isinstance(plan, Plan)
        assert plan == ENGINE.plan_canary(scored(), 300.0, context())
        assert plan.id.startswith("C-")


def test_a_canary_that_cannot_be_sized_is_refused_and_never_made_whole() -> None:
    """X35: the candidate stays in paper."""
    dear, book = scored(BTC, entry=60_000.0, atr=1_100.0), context(instrument=instrument(BTC))
    answer = plan_entry(ENGINE, ALL, dear, 300.0, book)
    assert isinstance(answer, Refusal)
    assert answer.code is RefusalCode.UNSIZABLE


@given(st.floats(50.0, 100_000.0), st.floats(0.3, 5.0))
def test_a_canary_never_risks_more_than_a_canary_may(equity: float, atr: float) -> None:
    """X35: 0.25 % of equity, whatever the smallest legal order is."""
    answer: Plan | Refusal = plan_entry(ENGINE, ALL, scored(atr=atr), equity, context(governor=view(equity)))
    if isinstance(answer, Plan):
        assert answer.risk_usd <= governance().canary_max_real_r_pct / 100.0 * equity * (1 + 1e-9)
