"""The gates before the score's threshold: each says no with its own code, and always in the same order (G6, G7, X17)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest

from core.codes import RefusalCode
from core.exec.instrument import Instrument
from core.strategies.gates import GATES, GateInputs, refuse
from core.types import GovernorView, HealthReport, Regime, ScoredSignal, ScorePart, Side, Timeframe, TradingState
from tests.core.strategies.making import NAMES, TS, signal
from tests.support.values import replace

HEALTHY = HealthReport(TS, ok=True, drift_ms=3.0, paused=(), blocked=())
ACTIVE = GovernorView(
    ts=TS,
    state=TradingState.ACTIVE,
    equity=300.0,
    day_start_equity=300.0,
    day_pnl_pct=0.0,
    day_realised_pct=0.0,
    peak_72h=300.0,
    dd_72h_pct=0.0,
    day_lock=False,
    kill_switch=False,
    governance_changed=False,
    bonus=False,
    cut=False,
    loss_streak=0,
    r_pct=0.8,
    room_usd=5.4,
)
PERP = Instrument(
    symbol=NAMES[0],
    is_perp=True,
    tick_size=Decimal("0.1"),
    qty_step=Decimal("0.001"),
    min_qty=Decimal("0.001"),
    min_notional=Decimal(5),
    min_depth_usd=1_000.0,
    max_spread_bps=5.0,
    allowed_tfs=frozenset(Timeframe),
    taker_fee_rate=0.0005,
    maker_fee_rate=0.0002,
    maintenance_margin_rate=0.02,
    modelled_spread_bps=1.0,
    modelled_depth_usd=100_000.0,
)


@dataclass
class Case:
    """A signal that every gate lets through; a test breaks one thing after the other."""

    scored: ScoredSignal = field(
        default_factory=lambda: ScoredSignal(
            signal("breakout_4h"), 8.5, 7.0, Regime.TREND_UP, (ScorePart("regime_fit", 2.5, 2.5, known=True),)
        )
    )
    inputs: GateInputs = field(
        default_factory=lambda: GateInputs(
            health=HEALTHY,
            governor=ACTIVE,
            instrument=PERP,
            owner=None,
            enabled=True,
            forbidden=False,
            resting_until=None,
            news_clear=True,
            evidence=lambda code: (("judged_by", code.value),),
        )
    )

    def given(self, **changes: Any) -> Case:
        return Case(self.scored, replace(self.inputs, **changes))

    def scored_as(self, **changes: Any) -> Case:
        return Case(replace(self.scored, **changes), self.inputs)

    def signalled(self, **changes: Any) -> Case:
        return self.scored_as(signal=replace(self.scored.signal, **changes))

    @property
    def code(self) -> RefusalCode | None:
        refusal = refuse(self.scored, self.inputs)
        return None if refusal is None else refusal.code


def reducing(**changes: Any) -> GovernorView:
    return replace(ACTIVE, state=TradingState.REDUCING, **changes)


Break = Callable[[Case], Case]
BREAKS: tuple[tuple[RefusalCode, Break], ...] = (
    (RefusalCode.CLOCK_DRIFT, lambda c: c.given(health=replace(c.inputs.health, ok=False, paused=(RefusalCode.CLOCK_DRIFT,)))),
    (
        RefusalCode.STREAM_FUNDING,
        lambda c: c.given(health=replace(c.inputs.health, blocked=((NAMES[0], RefusalCode.STREAM_FUNDING),))),
    ),
    (
        RefusalCode.KILL_SWITCH,
        lambda c: c.given(governor=replace(c.inputs.governor, state=TradingState.HALTED, kill_switch=True)),
    ),
    (
        RefusalCode.DAY_LOCK,
        lambda c: c.given(
            governor=replace(
                c.inputs.governor, state=max(c.inputs.governor.state, TradingState.REDUCING, key=_severity), day_lock=True
            )
        ),
    ),
    (RefusalCode.TF_NOT_ALLOWED, lambda c: c.given(instrument=replace(c.inputs.instrument, allowed_tfs=frozenset()))),
    (
        RefusalCode.SPOT_NO_SHORT,
        lambda c: c.signalled(side=Side.SHORT).given(instrument=replace(c.inputs.instrument, is_perp=False)),
    ),
    (RefusalCode.REGIME_UNKNOWN, lambda c: c.scored_as(regime=Regime.UNKNOWN)),
    (RefusalCode.REGIME_DISABLED, lambda c: c.given(enabled=False)),
    (RefusalCode.BLACKOUT, lambda c: c.given(news_clear=False)),
    (RefusalCode.COOLDOWN, lambda c: c.given(resting_until=TS + 1)),
    (RefusalCode.SYMBOL_OWNED, lambda c: c.given(owner="vol_exp_15m")),
    (RefusalCode.SCORE_LOW, lambda c: c.scored_as(score=6.999)),
)
"""One way to break each gate, in the order in which they stand."""


def _severity(state: TradingState) -> int:
    return list(TradingState).index(state)


def test_a_good_signal_passes_every_gate() -> None:
    assert Case().code is None
    assert all(gate(Case().scored, Case().inputs) is None for gate in GATES)


@pytest.mark.parametrize(("code", "broken"), BREAKS, ids=[code.value for code, _ in BREAKS])
def test_each_gate_alone_refuses_with_its_code(code: RefusalCode, broken: Break) -> None:
    assert broken(Case()).code is code


@pytest.mark.parametrize("first", range(len(BREAKS)))
def test_the_gate_on_record_is_the_first_of_those_that_hold(first: int) -> None:
    """With everything from a gate on broken, that gate is the reason, in the order of :data:`BREAKS`."""
    case = Case()
    for _, broken in reversed(BREAKS[first:]):
        case = broken(case)
    assert case.code is BREAKS[first][0]


@pytest.mark.parametrize(
    ("governor", "code"),
    [
        (reducing(governance_changed=True), RefusalCode.GOVERNANCE_CHANGED),
        (reducing(), RefusalCode.NOT_ACTIVE),
        (reducing(day_lock=True, governance_changed=True), RefusalCode.DAY_LOCK),
    ],
)
def test_whatever_makes_the_system_inactive_refuses(governor: GovernorView, code: RefusalCode) -> None:
    """H2, X12."""
    assert Case().given(governor=governor).code is code


def test_a_block_of_another_symbol_is_no_block_of_this_one() -> None:
    """X26: a missing stream blocks that symbol."""
    other = replace(HEALTHY, blocked=((NAMES[1], RefusalCode.STREAM_FUNDING),))
    assert Case().given(health=other).code is None


def test_a_regime_that_a_strategy_forbids_is_closed_even_when_the_map_opens_it() -> None:
    assert Case().given(forbidden=True).code is RefusalCode.REGIME_DISABLED


def test_unreviewed_news_is_no_blackout() -> None:
    """X22: unknown costs a point of the score, it does not lock."""
    assert Case().given(news_clear=None).code is None


def test_a_short_of_a_perpetual_and_a_long_of_spot_pass() -> None:
    assert Case().signalled(side=Side.SHORT).code is None
    assert Case().given(instrument=replace(PERP, is_perp=False)).code is None


def test_a_score_at_the_threshold_passes() -> None:
    """G7: executed at >= 7."""
    assert Case().scored_as(score=7.0).code is None
    assert Case().scored_as(score=7.5, threshold=8.0).code is RefusalCode.SCORE_LOW


def test_a_refusal_names_signal_stage_and_arithmetic() -> None:
    case = Case().scored_as(score=6.5)
    refusal = refuse(case.scored, case.inputs)
    assert refusal is not None
    assert (refusal.stage, refusal.symbol, refusal.strategy, refusal.ref) == ("strategy_selection", NAMES[0], "breakout_4h", "id")
    assert refusal.ts == TS
    assert refusal.detail == (("score", 6.5), ("threshold", 7.0), ("regime_fit", 2.5))
    assert refusal.message.endswith("(score 6.5, threshold 7.0, regime_fit 2.5)")


def test_the_arithmetic_of_a_lock_is_on_record() -> None:
    halted = replace(ACTIVE, state=TradingState.HALTED, kill_switch=True, dd_72h_pct=3.6, peak_72h=310.0)
    refusal = refuse(Case().scored, Case().given(governor=halted).inputs)
    assert refusal is not None
    assert refusal.detail == (("dd_72h_pct", 3.6), ("peak_72h", 310.0))


def test_a_health_gate_shows_what_it_was_judged_by() -> None:
    """E7"""
    case = Case().given(health=HealthReport(TS, ok=False, drift_ms=3.0, paused=(RefusalCode.STREAM_FUNDING,), blocked=()))
    refusal = refuse(case.scored, case.inputs)
    assert refusal is not None
    assert refusal.detail == (("judged_by", "STREAM_FUNDING"),)
