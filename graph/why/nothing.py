"""Why nothing was done in a symbol on a day: the funnel from bars to fills, the gates, and what came nearest.

A near miss is found by running the entry rule again with one feature changed; the signal that it would have given then goes
through all the nodes, so that the gate that would have stopped it next is known. Where more than one condition failed no
single feature makes the rule fire, and the bar is only counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from hashlib import sha256

from configs.validators import Configuration
from core.clock import rfc3339
from core.codes import RefusalCode
from core.data.sources.base import SourceInfo
from core.errors import StateError
from core.journal.reader import JournalReader
from core.journal.records import Opening
from core.types import Order, OrderUpdate
from graph.exit_codes import UsageError
from graph.explanations import did_you_mean
from graph.opening import info_of
from graph.replaying import Differs
from graph.rerun import Rerun, standing_before
from graph.sessions import openings
from graph.why.chart import Window, chart_of, windows
from graph.why.day import Day, Miss, Refused, Watcher
from graph.why.flips import NONE, moved
from graph.why.model import MOST_REASONS, Flip, Line, Missing, Proof, Reason, Step, Verdict, Why
from graph.why.other_code import labels_of, made_again, reading
from graph.why.records import Kind, Records, Subject
from graph.why.verdict import headline, mode_of

_MISSES_TOLD = 8
_NOT_OF_HEALTH = (RefusalCode.SYMBOL_OWNED, RefusalCode.BLACKOUT)
Sent = Sequence[tuple[Order, OrderUpdate | None]]


@dataclass(frozen=True, slots=True)
class _Asked:
    """The question: a symbol and a trading day, from ``since`` to ``until`` (ms), bars ``first`` to before ``last``."""

    symbol: str
    day: date
    zone: str
    since: int
    until: int
    first: int
    last: int

    @property
    def title(self) -> str:
        return f"{self.day.isoformat()} ({self.zone}, {rfc3339(self.since)} to {rfc3339(self.until)})"


async def why_nothing(
    reader: JournalReader, records: Records, symbol: str, day: date, *, other_code: bool = False, today: str | None = ""
) -> Why:
    """Why nothing, or so little, was done in ``symbol`` on ``day``: the trading day of the session's governance.

    ``other_code`` and ``today`` as in :class:`graph.why.explain.Explainer`.

    Raises:
        StateError: the session has no bar of that day, or the journal cannot be read there.
        UsageError: the session does not have the symbol, or there is no such day.
        OtherCode: it was recorded by other code, and that was not allowed, or what it left cannot be taken over.
    """
    opening = reader.opening()
    labels_of([opening], "", other_code=other_code)
    read = reading(other_code=other_code)
    info, config = info_of(opening), read(opening)
    asked = _asked(records, info, config, symbol, day)
    recorded = openings(reader, asked.first, asked.last)
    labels = labels_of(recorded, today, other_code=other_code)
    with made_again(recorded):
        seen, difference = await _watched(reader, asked, read)
    subject = Subject(f"none-{symbol}-{day.isoformat()}", Kind.SIGNAL, asked.since, symbol, "")
    shown = windows(reader, info, (symbol,), asked.first, asked.until)[symbol]
    sent = records.entries_of(symbol, asked.since, asked.until)
    filled = sum(1 for _, answer in sent if answer is not None and answer.filled)
    return Why(
        id=subject.id,
        kind="none",
        verdict=_verdict(seen, asked, mode_of(opening), labels, filled),
        reasons=_reasons(seen),
        flips=(*_told_misses(seen), *_told_refused(seen)),
        flips_note=_nearest(seen),
        missing=tuple(_missing(seen)),
        chain=_funnel(seen, sent, filled),
        chart=replace(chart_of(subject, shown), marks=tuple(seen.marks)),
        afterwards=_hindsight(shown),
        proof=_proof(seen, asked, difference, recorded[-1], config),
    )


def _asked(records: Records, info: SourceInfo, config: Configuration, symbol: str, day: date) -> _Asked:
    if symbol not in info.symbols:
        near = did_you_mean(symbol, info.symbols) or info.symbols
        raise UsageError(
            f"the session does not have {symbol}; it has {', '.join(info.symbols)}",
            help=f"brain why --none {near[0]} --on {day.isoformat()}",
        )
    zone = config.governance.zone
    try:
        after = day + timedelta(days=1)
        since, until = (round(datetime(one.year, one.month, one.day, tzinfo=zone).timestamp() * 1000) for one in (day, after))
    except OverflowError:
        raise UsageError(f"--on was {day.isoformat()}, which no session can have", help="brain sessions") from None
    first, last = records.bar_after(since + 1), records.bar_after(until + 1)
    if first == last:
        raise StateError(f"the session has no bars on {day.isoformat()} ({zone})", help="brain sessions", code="JRN-008")
    return _Asked(symbol, day, str(zone), since, until, first, last)


async def _watched(reader: JournalReader, asked: _Asked, read: Callable[[Opening], Configuration]) -> tuple[Day, str]:
    """The day made again, and where it differs from the record ("" : nowhere)."""
    watcher = Watcher(asked.symbol)
    with standing_before(reader, asked.first, watcher, read=read) as rerun:
        difference = await _watch(rerun, watcher, asked)
    return watcher.day, difference


async def _watch(rerun: Rerun, watcher: Watcher, asked: _Asked) -> str:
    try:
        while rerun.bar < asked.last:
            watcher.watching = rerun.bar >= asked.first
            if await rerun.next() is None:
                return f"bar {rerun.bar} is not whole in the journal"
            if watcher.watching:
                watcher.day.made += 1
                watcher.day.hashes += [sha256(payload).hexdigest() for payload in watcher.wrote.values()]
    except Differs as differs:
        return str(differs.difference)
    return ""


def _proof(seen: Day, asked: _Asked, difference: str, opening: Opening, config: Configuration) -> Proof:
    lines = (
        Line("bars made again", seen.made, "", f"{asked.first} to {asked.last - 1}"),
        Line("hash over what the nodes wrote", sha256("".join(seen.hashes).encode()).hexdigest()),
        Line("code version", opening.code["version"], "", f"source {opening.code['source'][:12]}"),
        Line("configuration", config.digest),
        Line("governance", config.governance_digest),
    )
    return Proof(not difference, difference, lines)


# --- in words -----------------------------------------------------------------------------------------------


def _verdict(seen: Day, asked: _Asked, mode: str, labels: tuple[str, ...], filled: int) -> Verdict:
    state = "nothing done" if not filled else f"{filled} entries filled"
    if seen.first:
        (code, times), *_ = seen.first.most_common(1)
        cause = f"{seen.signals} signals, most often stopped by {code} ({times})"
    elif seen.signals:
        cause = f"{seen.signals} signals, {seen.sent} sent"
    else:
        cause = "no rule fired"
    if seen.standing and not seen.first:
        (standing, bars), *_ = seen.standing.most_common(1)
        cause += f"; {standing.value} on {bars} of them"
    parts = (state.upper(), f"{asked.symbol}, {asked.title}", f"{seen.bars} bars, {cause}")
    text = headline(mode, labels, *parts)
    return Verdict(text, "what was not done", asked.symbol, asked.title, state, mode, labels=labels)


def _reasons(seen: Day) -> tuple[Reason, ...]:
    """The gates by how often they stopped first, then those that would have; or that no rule fired, and what stood ready."""
    ordered = [*seen.first.most_common(), *((code, n) for code, n in seen.also.most_common() if code not in seen.first)]
    found = []
    if not seen.signals:
        looks = ", ".join(f"{name} {n}" for name, n in seen.looks.items()) or "none"
        found.append(Reason("an entry rule fires", "none did", f"looked at bars: {looks}", "NO_SIGNAL"))
    for code, times in ordered:
        reason = seen.reasons[code]
        which = "stopped first" if code in seen.first else "would have stopped, too"
        found.append(Reason(reason.rule, f"{which} {times} times; last: {reason.observed}", reason.limit, code))
    told = {one.code for one in found}
    for standing, bars in seen.standing.most_common():
        if standing.value not in told and (not seen.signals or standing not in _NOT_OF_HEALTH):
            observed = f"on {bars} of {seen.bars} bars it would have been refused"
            found.append(Reason("a signal may be followed", observed, standing.meaning, standing.value))
    if not found:
        found.append(Reason("every signal was sent", f"{seen.sent} of {seen.signals}", "nothing stopped them", "SENT"))
    return tuple(found[:MOST_REASONS])


def _missing(seen: Day) -> Iterator[Missing]:
    for (name, cause), bars in seen.silent.items():
        yield Missing(name, f"could not speak on {bars} bars: {cause}", "no signal from it there")
    for code, bars in seen.standing.most_common():
        if code.value.startswith(("STREAM_", "CLOCK_", "CANDLE_", "JOURNAL_")):
            yield Missing(code.value, f"{code.meaning} On {bars} of {seen.bars} bars", "nothing is entered then")


# --- what came nearest --------------------------------------------------------------------------------------


def _in_order(seen: Day) -> list[Miss]:
    return sorted(seen.misses, key=lambda miss: (miss.far, miss.ts))


def _told_misses(seen: Day) -> Iterator[Flip]:
    for miss in _in_order(seen)[:_MISSES_TOLD]:
        yield replace(miss.flip, name=f"{miss.strategy} {miss.side.value} at {rfc3339(miss.ts)}: {miss.flip.name}")


def _told_refused(seen: Day) -> Iterator[Flip]:
    """The nearest flip of each signal that was looked at: nearest first, then those that no single input turns."""
    told = sorted((_of_refused(one) for one in seen.refused), key=lambda flip: (flip.distance is None, flip.distance or 0.0))
    yield from told


def _of_refused(one: Refused) -> Flip:
    name = f"{one.strategy} {one.side.value} at {rfc3339(one.near[2])}, refused {one.code}"
    first = next(iter(one.flips), None)
    if first is None or first.needed is None:
        return Flip(name, "", "", None, NONE, f"{len(one.flips)} inputs, each by itself", "", f"refused {one.code}", True)
    return replace(first, name=f"{name}: {first.name}")


def _nearest(seen: Day) -> str:
    parts = []
    if seen.misses:
        best = _in_order(seen)[0]
        change = f"{best.flip.name} {moved(best.flip)} {best.flip.gives}"
        parts.append(f"nearest to firing: {best.strategy} {best.side.value} at {rfc3339(best.ts)}, {change}")
    else:
        parts.append("no near miss: at every bar more than one condition of each rule failed, or a rule fired")
    refused = sum(seen.first.values())
    if refused:
        nearest = next((flip for flip in _told_refused(seen) if flip.needed is not None), None)
        none = f"no single input turns any of the {len(seen.refused)} nearest"
        parts.append(
            f"of the refused signals: {none if nearest is None else f'{nearest.name} {moved(nearest)} ({nearest.gives})'}"
        )
    if refused > len(seen.refused):
        parts.append(f"{refused - len(seen.refused)} more refused signals were further away and are not looked into")
    return "; ".join(parts)


# --- the funnel ---------------------------------------------------------------------------------------------


def _funnel(seen: Day, sent: Sent, filled: int) -> tuple[Step, ...]:
    stopped = [Line(code, times, "", "stopped first") for code, times in seen.first.most_common()]
    stopped += [Line(code, times, "", "would have stopped, too") for code, times in seen.also.most_common()]
    in_force = tuple(_in_force(seen))
    return (
        Step("bars", f"{seen.bars} base bars closed"),
        Step("in force", f"{len(in_force)} things would have stopped a signal at some bar", in_force),
        Step("rules", f"{sum(seen.looks.values())} looks by {len(seen.looks)} strategies", tuple(_rules(seen))),
        Step("signals", f"{seen.signals} signals", tuple(seen.lines)),
        Step("scored", f"{seen.scored} of {seen.signals} signals were scored"),
        Step("refused", f"{sum(seen.first.values())} stopped", tuple(stopped)),
        Step("planned", f"{seen.planned} plans admitted"),
        Step("sent", f"{seen.sent} entries sent", tuple(_orders(sent))),
        Step("filled", f"{filled} entries filled"),
    )


def _in_force(seen: Day) -> Iterator[Line]:
    """Locks, pauses, positions, rests and regimes, whether a rule fired or not."""
    for code, bars in seen.standing.most_common():
        yield Line(code.value, bars, "bars", code.meaning)
    for name, looks in seen.resting.items():
        if looks:
            yield Line(f"COOLDOWN of {name}", looks, "looks", RefusalCode.COOLDOWN.meaning)
    for (name, regime), looks in seen.disabled.items():
        yield Line(f"REGIME_DISABLED: {name} in {regime}", looks, "looks", RefusalCode.REGIME_DISABLED.meaning)


def _rules(seen: Day) -> Iterator[Line]:
    silent = {name: sum(bars for (one, _), bars in seen.silent.items() if one == name) for name, _ in seen.silent}
    for name in dict.fromkeys([*seen.looks, *silent]):
        near = sum(miss.strategy == name for miss in seen.misses)
        note = f"{near} with one condition short, {seen.several[name]} with more, could not speak on {silent.get(name, 0)}"
        yield Line(name, seen.looks[name], "looks", note)


def _orders(sent: Sent) -> Iterator[Line]:
    for order, answer in sent:
        status = "no answer" if answer is None else answer.status.value
        code = None if answer is None else answer.code
        note = "" if code is None else f"{code.value}: {code.meaning}"
        yield Line(order.client_id, f"{status}, {0 if answer is None else answer.filled} of {order.qty} filled", "", note)


def _hindsight(shown: Window) -> tuple[Line, ...]:
    if not shown.candles:
        return (Line("hindsight", "the journal has no bars of the symbol there"),)
    first, last = shown.candles[0], shown.candles[-1]
    low, high = min(c.low for c in shown.candles), max(c.high for c in shown.candles)
    return (
        Line("the day's move", (last.close / first.open - 1.0) * 100.0, "%", f"{first.open:.8g} to {last.close:.8g}"),
        Line("the day's range", (high / low - 1.0) * 100.0, "%", f"{low:.8g} to {high:.8g}"),
    )
