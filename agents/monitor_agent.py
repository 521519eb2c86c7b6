"""Writes down what was decided and why: the record, the metrics, the edges."""

from __future__ import annotations

from agents.base import View
from core.types import DecisionRecord, Event, Refusal
from tools.state import Execution, ResearchResult, RiskDecision, Selection, Status
from tools.toolkit import Toolkit
from tools.tools_monitor_agent.prometheus_exporter import prometheus_exporter

_NO_SELECTION, _NO_RISK, _NO_EXECUTION = Selection(), RiskDecision(), Execution()


class MonitorAgent:
    """The last node of every event; its value is the link of the decision chain."""

    name = "monitor"

    async def run(self, view: View, kit: Toolkit) -> DecisionRecord:
        event: Event = view["event"]
        status: Status = view["status"]
        selection: Selection = view.optional("selection") or _NO_SELECTION
        risk: RiskDecision = view.optional("risk") or _NO_RISK
        execution: Execution = view.optional("execution") or _NO_EXECUTION
        research: ResearchResult | None = view.optional("research")
        refusals: tuple[Refusal, ...] = selection.refusals + risk.refusals + execution.refusals
        if research is not None:
            refusals += research.refusals
        trace = kit.context.trace
        record = DecisionRecord(
            seq=event.seq,
            ts=event.ts,
            kind=event.kind,
            state=status.governor.state,
            edges=tuple(trace.edges),
            node_hashes=tuple(trace.node_hashes),
            signals=tuple([scored.signal.id for scored in selection.scored]),
            plans=tuple([plan.id for plan in risk.plans]),
            orders=execution.orders,
            adjustments=tuple([f"{item.symbol} {item.kind} {item.reason} {item.new_stop}" for item in risk.adjustments]),
            refusals=tuple([(refusal.code.value, refusal.ref) for refusal in refusals]),
            governance=kit.context.config.governance_digest,
        )
        kit.call(prometheus_exporter, record, selection, risk, refusals)
        return record
