"""Hand the decision to the recorder, which writes it down and counts it (capability export_metrics)."""

from __future__ import annotations

from core.types import DecisionRecord, Refusal
from tools.base import Capability, tool
from tools.context import BrainContext
from tools.state import RiskDecision, Selection


@tool("prometheus_exporter", Capability.EXPORT_METRICS)
def prometheus_exporter(
    context: BrainContext, record: DecisionRecord, selection: Selection, risk: RiskDecision, refusals: tuple[Refusal, ...]
) -> None:
    """Record everything that this event decided."""
    recorder = context.recorder
    for scored in selection.scored:
        recorder.signal(scored)
    for plan in risk.plans:
        recorder.plan(plan)
    for adjustment in risk.adjustments:
        recorder.adjustment(adjustment)
    for refusal in refusals:
        recorder.refusal(refusal)
    recorder.decision(record)
