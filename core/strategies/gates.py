"""The gates a signal passes before it is scored against the threshold, in their fixed order.

Each gate is a reason for saying no with its code; the first that holds is the one on record.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from core.codes import RefusalCode
from core.exec.instrument import Instrument
from core.types import GovernorView, HealthReport, Meta, Refusal, Regime, ScoredSignal, Side, TradingState

STAGE = "strategy_selection"


@dataclass(frozen=True, slots=True)
class GateInputs:
    """What the gates know of one signal.

    ``news_clear`` is None where no review covers the time (X22); ``evidence`` gives what a health gate of its symbol was
    judged by.
    """

    health: HealthReport
    governor: GovernorView
    instrument: Instrument
    owner: str | None
    enabled: bool
    forbidden: bool
    resting_until: int | None
    news_clear: bool | None
    evidence: Callable[[RefusalCode], Meta]


Gate = Callable[[ScoredSignal, GateInputs], tuple[RefusalCode, Meta] | None]


def _health(scored: ScoredSignal, inputs: GateInputs) -> tuple[RefusalCode, Meta] | None:
    code = inputs.health.forbids(scored.signal.symbol)
    return None if code is None else (code, inputs.evidence(code))


def _state(scored: ScoredSignal, inputs: GateInputs) -> tuple[RefusalCode, Meta] | None:
    view = inputs.governor
    if view.state is TradingState.ACTIVE:
        return None
    if view.kill_switch:
        return RefusalCode.KILL_SWITCH, (("dd_72h_pct", view.dd_72h_pct), ("peak_72h", view.peak_72h))
    if view.day_lock:
        return RefusalCode.DAY_LOCK, (("day_pnl_pct", view.day_pnl_pct), ("day_start_equity", view.day_start_equity))
    code = RefusalCode.GOVERNANCE_CHANGED if view.governance_changed else RefusalCode.NOT_ACTIVE
    return code, (("state", view.state.value),)


def _market(scored: ScoredSignal, inputs: GateInputs) -> tuple[RefusalCode, Meta] | None:
    signal, instrument = scored.signal, inputs.instrument
    if signal.tf not in instrument.allowed_tfs:
        return RefusalCode.TF_NOT_ALLOWED, (("tf", signal.tf.value),)
    if not instrument.is_perp and signal.side is Side.SHORT:
        return RefusalCode.SPOT_NO_SHORT, ()
    if scored.regime is Regime.UNKNOWN:
        return RefusalCode.REGIME_UNKNOWN, ()
    if inputs.forbidden or not inputs.enabled:
        return RefusalCode.REGIME_DISABLED, (("regime", scored.regime.value),)
    return None


def _time(scored: ScoredSignal, inputs: GateInputs) -> tuple[RefusalCode, Meta] | None:
    if inputs.news_clear is False:
        return RefusalCode.BLACKOUT, ()
    if inputs.resting_until is not None:
        return RefusalCode.COOLDOWN, (("until", inputs.resting_until),)
    return None


def _owner(scored: ScoredSignal, inputs: GateInputs) -> tuple[RefusalCode, Meta] | None:
    if inputs.owner is not None:
        return RefusalCode.SYMBOL_OWNED, (("owner", inputs.owner),)
    return None


def _score(scored: ScoredSignal, inputs: GateInputs) -> tuple[RefusalCode, Meta] | None:
    if scored.score >= scored.threshold:
        return None
    parts = tuple((part.name, part.points) for part in scored.parts)
    return RefusalCode.SCORE_LOW, (("score", scored.score), ("threshold", scored.threshold), *parts)


GATES: tuple[Gate, ...] = (_health, _state, _market, _time, _owner, _score)


def refuse(scored: ScoredSignal, inputs: GateInputs) -> Refusal | None:
    """The refusal of the first gate that does not let the signal through, or None."""
    for gate in GATES:
        found = gate(scored, inputs)
        if found is not None:
            return make_refusal(found[0], scored, found[1])
    return None


def make_refusal(code: RefusalCode, scored: ScoredSignal, detail: Meta = ()) -> Refusal:
    """A refusal of this stage for ``scored``."""
    signal = scored.signal
    facts = ", ".join(f"{name} {value}" for name, value in detail)
    message = f"{signal.strategy} {signal.side.value} {signal.symbol}: {code.meaning}" + (f" ({facts})" if facts else "")
    return Refusal(code, signal.ts, STAGE, signal.symbol, signal.strategy, signal.id, message, detail)
