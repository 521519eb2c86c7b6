"""An explanation as text and as JSON: the same eight parts in the same order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from core.clock import rfc3339
from graph.why.model import Chart, Flip, Line, Value, Why

Strong = Callable[[str], str]
PARTS = (
    "Verdict",
    "Principal reasons",
    "Nearest flip",
    "Missing or stale inputs",
    "Chain",
    "Chart",
    "Afterwards (hindsight)",
    "Proof",
)
"""Headings, in the order of every form."""


def shown(value: Value) -> str:
    """A value for people: floats to eight figures, a loss never as zero."""
    if value is None:
        return "not known"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Decimal):
        return format(value, "f")
    return f"{value:.8g}" if isinstance(value, float) else str(value)


def as_text(why: Why, strong: Strong = str, *, folded: bool = False) -> str:
    """For a terminal. ``strong`` makes headings stand out; ``folded`` leaves the lines of the chain out."""
    parts = (
        [why.verdict.text, *(f"! {label}" for label in why.verdict.labels)],
        [f"{n}  {one.rule}: {one.observed}; {one.limit}  [{one.code}]" for n, one in enumerate(why.reasons, start=1)],
        [why.flips_note, *_flips(why.flips)],
        [f"{one.name}: {one.what}; {one.effect}" for one in why.missing] or ["none"],
        list(_chain(why, folded=folded)),
        list(_chart(why.chart)),
        [_line(line) for line in why.afterwards],
        [_proof(why), *(_line(line) for line in why.proof.lines)],
    )
    lines: list[str] = []
    for heading, body in zip(PARTS, parts, strict=True):
        lines += [strong(heading), *(f"  {line}" for line in body), ""]
    return "\n".join(lines).rstrip("\n")


def _flips(flips: tuple[Flip, ...]) -> Iterator[str]:
    for flip in flips:
        if flip.needed is None:
            yield f"- {flip.name} {shown(flip.was)} {flip.unit}".rstrip() + f": {flip.change} ({flip.within}): {flip.gives}"
        else:
            seen = "run again" if flip.verified else "NOT confirmed by running again"
            moved = f"{flip.name} {shown(flip.was)} -> {shown(flip.needed)} {flip.unit}".rstrip()
            yield f"- {moved} ({flip.change}): {flip.gives}, {seen}"


def _chain(why: Why, *, folded: bool) -> Iterator[str]:
    for number, step in enumerate(why.chain, start=1):
        yield f"{number}. {step.name}: {step.summary}"
        if not folded:
            yield from (f"     {_line(line)}" for line in step.lines)


def _line(line: Line) -> str:
    value = f"{shown(line.value)} {line.unit}".rstrip()
    return f"{line.name}: {value}" + (f"  ({line.note})" if line.note else "")


def _chart(chart: Chart) -> Iterator[str]:
    if not chart.candles:
        yield chart.note or "no candles"
        return
    first, last = chart.candles[0], chart.candles[-1]
    low, high = min(c.low for c in chart.candles), max(c.high for c in chart.candles)
    yield (
        f"{len(chart.candles)} candles of {chart.candle_ms // 60_000} min, {rfc3339(first.at - chart.candle_ms)} to "
        f"{rfc3339(last.at)}, {low:.8g} to {high:.8g}; --html draws them"
    )
    yield from (f"{rfc3339(mark.at)} {mark.kind} {mark.price:.8g}  {mark.note}".rstrip() for mark in chart.marks)
    for level in chart.levels:
        yield f"{rfc3339(level.since)} to {rfc3339(level.until)} {level.kind} {level.price:.8g}  {level.note}".rstrip()
    yield from (f"{rfc3339(band.since)} to {rfc3339(band.until)} {band.regime.value}" for band in chart.bands)


def _proof(why: Why) -> str:
    if why.proof.equal:
        return "the bar, made again from the journal, gives the same in every node"
    return f"the bar made again differs: {why.proof.difference}"


def as_data(why: Why) -> dict[str, Any]:
    """For ``--json``: times in RFC 3339 UTC."""
    chart = asdict(why.chart)
    for rows, keys in (("candles", ("at",)), ("marks", ("at",)), ("levels", ("since", "until")), ("bands", ("since", "until"))):
        chart[rows] = [{**row, **{key: rfc3339(row[key]) for key in keys}} for row in chart[rows]]
    return {
        "id": why.id,
        "kind": why.kind,
        "verdict": asdict(why.verdict),
        "reasons": [asdict(one) for one in why.reasons],
        "flips": {"note": why.flips_note, "inputs": [asdict(one) for one in why.flips]},
        "missing": [asdict(one) for one in why.missing],
        "chain": [asdict(one) for one in why.chain],
        "chart": chart,
        "afterwards": [asdict(one) for one in why.afterwards],
        "proof": asdict(why.proof),
    }
