"""What every pane shows at one moment, as plain data: the terminal draws it, ``--json`` prints it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from core.clock import rfc3339
from graph.replaying import Difference
from graph.stepping.carrier import Turn
from graph.stepping.marks import Mark
from graph.stepping.stepper import Stepper
from graph.stepping.values import changes, plain
from graph.stepping.what_if import Compared, WhatIf
from tools.topology import agent

ROWS = 200
"""Most rows of any list that are shown."""
TIMELINE = 60
_CELLS = {Mark.TRADE: "T", Mark.REFUSAL: "R", Mark.ALERT: "A", Mark.REGIME: "G"}
"""Which mark of a bar shows on the timeline, most important first."""


def moment(stepper: Stepper) -> dict[str, Any]:
    """All panes, where ``stepper`` stands."""
    return {
        "header": header(stepper),
        "timeline": timeline(stepper),
        "path": path(stepper),
        "node": node(stepper),
        "state": state(stepper),
        "what_ifs": [describe(fork) for fork in stepper.what_ifs.values()],
        "breakpoints": {"before": sorted(stepper.breaks.before), "after": sorted(stepper.breaks.after)},
    }


def header(stepper: Stepper) -> dict[str, Any]:
    """Where it stands."""
    event, place = stepper.walk.event, stepper.place
    return {
        "session": stepper.session.name,
        "bar": place.bar,
        "bars": [stepper.record.first_bar, stepper.record.bars - 1],
        "time": rfc3339(event.ts),
        "event": {"kind": event.kind.value, "seq": event.seq, "number": place.event, "note": event.note},
        "closed": {tf.value: list(symbols) for tf, symbols in event.closed},
        "step": place.step,
        "next": stepper.next,
        "what_if": None if stepper.shown is None else str(stepper.shown),
        "other_code": stepper.other_code,
        "parted": None if stepper.parted is None else parted(stepper.parted),
    }


def parted(found: Difference) -> dict[str, Any]:
    """Where the record and the run made again parted."""
    return {
        "bar": found.bar,
        "time": rfc3339(found.ts),
        "node": found.node,
        "field": ".".join(found.path),
        "recorded": found.recorded,
        "now": found.now,
    }


def timeline(stepper: Stepper, width: int = TIMELINE) -> dict[str, Any]:
    """Bars around this one as recorded, a cell each: T trade, R refusal, A alert, G regime, ``.`` nothing of these."""
    record, bar = stepper.record, stepper.bar
    first = max(record.first_bar, min(bar - width // 2, record.bars - width))
    last = min(first + width, record.bars)
    cells = ["."] * (last - first)
    for mark in reversed(_CELLS):
        for number in record.between(mark, first, last):
            cells[number - first] = _CELLS[mark]
    return {"first": first, "last": last - 1, "cells": "".join(cells), "here": bar - first}


def path(stepper: Stepper) -> list[dict[str, Any]]:
    """Nodes of this event: those that ran, the one that comes next, and those that ran after it in the record."""
    rows = [{"node": turn.node, "state": "done", "ms": round(turn.latency_ms, 3)} for turn in stepper.walk.turns]
    if stepper.next is not None:
        rows.append({"node": stepper.next, "state": "next", "ms": None})
    if stepper.shown is None and stepper.parted is None:
        recorded = stepper.record.bar(stepper.bar).made
        at = stepper.place.event
        names = [name for name, _ in recorded[at].outputs] if at < len(recorded) else []
        rows += [{"node": name, "state": "ahead", "ms": None} for name in names[len(rows) :]]
    return rows


def node(stepper: Stepper) -> dict[str, Any]:
    """What the node that comes next reads, and what the one before it did."""
    coming, before = stepper.next, stepper.last
    reads = {} if coming is None else {key: plain(stepper.state[key]) for key in agent(coming).reads if key in stepper.state}  # type: ignore[literal-required]
    return {
        "next": None if coming is None else {"name": coming, "reads": reads, "writes": agent(coming).writes},
        "last": None if before is None else _done(before),
    }


def _done(turn: Turn) -> dict[str, Any]:
    tools = [
        {
            "tool": used.tool,
            "capability": used.capability,
            "state": used.ok,
            "ms": round(used.latency_ms, 3),
            "arguments": used.arguments,
            "result": used.result,
        }
        for used in turn.tools[:ROWS]
    ]
    return {"name": turn.node, "ms": round(turn.latency_ms, 3), "tools": tools, "wrote": {turn.key: plain(turn.value)}}


def state(stepper: Stepper) -> dict[str, Any]:
    """The whole state, and what the last node wrote as a difference to what it wrote on the event before."""
    found: list[dict[str, Any]] = []
    if stepper.last is not None:
        former = _former(stepper, stepper.last.node)
        new = plain(stepper.last.value)
        found = [_change(item) for item in changes(former, new, stepper.last.key)][:ROWS]
    return {"diff": found, "full": {key: plain(value) for key, value in stepper.state.items()}}


def _former(stepper: Stepper, name: str) -> Any:
    """What the node called ``name`` wrote on the event before, in a what-if its own; an empty value where it did not run."""
    at = stepper.place
    own = [] if stepper.shown is None else stepper.shown.own()
    here = own[-1].made[: at.event] if own else stepper.record.bar(at.bar).made[: at.event]
    before = here or (own[-2].made if len(own) > 1 else [])
    if not before and at.bar > stepper.record.first_bar:
        before = stepper.record.bar(at.bar - 1).made
    payload = dict(before[-1].outputs).get(name) if before else None
    return {} if payload is None else msgspec.msgpack.decode(payload)


def _change(item: Any) -> dict[str, Any]:
    return {"sign": item.sign, "path": item.path, "old": item.old, "new": item.new}


def describe(fork: WhatIf) -> dict[str, Any]:
    """A what-if: its edits, where it stands, how it compares."""
    edits = [
        {"path": str(edit.path), "old": list(edit.old), "new": edit.new, "bar": at.bar, "event": at.event, "step": at.step}
        for at, edit in fork.changed
    ]
    return {
        "name": fork.name,
        "edits": edits,
        "place": {"bar": fork.place.bar, "event": fork.place.event, "step": fork.place.step},
        "bar": fork.bar,
        "moved": list(fork.venue.moved),
        "compared": [compared(row) for row in fork.compared[-ROWS:]],
        "first_difference": next((compared(row) for row in fork.compared if row.node is not None), None),
    }


def compared(row: Compared) -> dict[str, Any]:
    """One event, then and now."""
    return {
        "bar": row.bar,
        "time": rfc3339(row.ts),
        "same": row.node is None,
        "node": row.node,
        "changes": [_change(item) for item in row.changes[:ROWS]],
        "then": row.then,
        "now": row.now,
    }


def differing(rows: Sequence[Compared]) -> int:
    """How many events were decided otherwise."""
    return sum(row.node is not None for row in rows)
