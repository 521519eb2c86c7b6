"""The chart of a trade or of a decision, out of the journal: candles, levels, moments, regime bands."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from core.data.sources.base import SourceInfo
from core.journal.bars import RecordedBar, recorded_bars
from core.journal.reader import JournalReader
from core.regimes import CARRIED_BY_H4
from core.types import OrderPurpose, OrderStatus, Regime, Timeframe
from graph.why.life import stops_of
from graph.why.model import Band, Candle, Chart, Level, Mark
from graph.why.records import Subject

MOST_CANDLES = 240
"""More would be less than two pixels each; several bars are drawn as one candle then."""

_BEFORE, _AFTER = 40, 24
"""Base bars shown before the decision and after the last thing that happened, at least."""


@dataclass(slots=True)
class Window:
    """Base bars of one symbol with their held labels (1h, 4h), oldest first. ``step`` is the base bar's length (ms)."""

    step: int
    candles: list[Candle] = field(default_factory=list)
    labels: list[tuple[Regime, Regime]] = field(default_factory=list)

    def cut(self, since: int, until: int) -> Window:
        """The bars that close in ``[since, until]``."""
        first = bisect_left(self.candles, since, key=_at)
        after = bisect_right(self.candles, until, key=_at)
        return Window(self.step, self.candles[first:after], self.labels[first:after])


def _at(candle: Candle) -> int:
    return candle.at


def span_of(subject: Subject, base: Timeframe) -> tuple[int, int]:
    """From when to when the chart goes: some bars before, to the time stop or the end of what happened."""
    plan = subject.plans[0] if subject.plans else subject.plan
    begin = subject.ts if plan is None else min(plan.ts, subject.ts)
    end = max(subject.last_ts, 0 if plan is None else plan.time_stop_ts)
    margin = max(_BEFORE * base.ms, (end - begin) // 4)
    if subject.tf is not None:
        margin = max(margin, 10 * subject.tf.ms)
    return begin - margin, end + _AFTER * base.ms


def windows(reader: JournalReader, info: SourceInfo, symbols: Sequence[str], first_bar: int, until: int) -> dict[str, Window]:
    """Bars of ``symbols`` from ``first_bar`` to the close ``until``, in one reading of the journal.

    Raises:
        StateError: the journal is damaged on the way.
    """
    found = {symbol: Window(info.base_tf[symbol].ms) for symbol in symbols}
    rows = [(info.symbols.index(symbol), info.base_tf[symbol], found[symbol]) for symbol in symbols]
    labels: dict[str, list[str]] = {}
    for bar in recorded_bars(reader, reader.segment_of(max(first_bar, reader.segments[0].first_bar))):
        if bar.batch.ts > until:
            break
        if bar.number < first_bar:
            continue
        labels = _labels(bar) or labels
        for index, base, seen in rows:
            for candle in _candles(bar, base, index):
                seen.candles.append(candle)
                here = (labels["h1"][index], labels["h4"][index]) if labels else (Regime.UNKNOWN, Regime.UNKNOWN)
                seen.labels.append((Regime(here[0]), Regime(here[1])))
    return found


def _candles(bar: RecordedBar, base: Timeframe, index: int) -> Iterator[Candle]:
    for block in bar.batch.bars:
        if block.tf is base:
            for row in (block.idx == index).nonzero()[0].tolist():
                at = int(block.open_ts[row]) + base.ms
                numbers = (float(values[row]) for values in (block.open, block.high, block.low, block.close))
                yield Candle(at, *numbers)


def _labels(bar: RecordedBar) -> dict[str, list[str]]:
    """What the regime node wrote; nothing for a bar that was cut off."""
    written = [payload for made in bar.made[:1] for agent, payload in made.outputs if agent == "market_regime"]
    found: dict[str, list[str]] = msgspec.msgpack.decode(written[0]) if written else {}
    return found


def chart_of(subject: Subject, seen: Window) -> Chart:
    """Everything that is drawn."""
    together = max(1, -(-len(seen.candles) // MOST_CANDLES))
    candles = tuple(_joined(seen.candles[i : i + together]) for i in range(0, len(seen.candles), together))
    note = "" if candles else "the journal has no bars of the symbol there"
    if not candles:
        return Chart(subject.symbol, seen.step, 1, note=note)
    end = candles[-1].at
    return Chart(
        subject.symbol,
        seen.step * together,
        together,
        candles,
        tuple(_levels(subject, end)),
        tuple(_marks(subject)),
        tuple(_bands(seen, carried=1 if subject.strategy in CARRIED_BY_H4 else 0)),
        note,
    )


def _joined(some: list[Candle]) -> Candle:
    return Candle(some[-1].at, some[0].open, max(c.high for c in some), min(c.low for c in some), some[-1].close)


def _bands(seen: Window, carried: int) -> Iterator[Band]:
    since = seen.candles[0].at - seen.step
    labels = [both[carried] for both in seen.labels]
    for here, after, candle in zip(labels, [*labels[1:], None], seen.candles, strict=True):
        if here is not after:
            yield Band(here, since, candle.at)
            since = candle.at


def _levels(subject: Subject, end: int) -> Iterator[Level]:
    if not subject.plans:
        return
    first = subject.plans[0]
    closed = end if subject.trade is None else subject.trade.closed_ts
    opened = subject.fills[0].ts if subject.fills else first.ts
    yield Level("entry limit", float(first.entry), first.ts, max(opened, first.ts), f"worst price of {first.qty}")
    yield from _stops(subject, closed)
    done = {update.client_id: update for update in subject.updates if update.status is OrderStatus.FILLED}
    ended = {update.client_id: update.ts for update in subject.updates if update.status is OrderStatus.CANCELED}
    for order in subject.orders:
        if order.purpose is OrderPurpose.TAKE and order.price is not None:
            filled = done.get(order.client_id)
            until = filled.ts if filled is not None else ended.get(order.client_id, closed)
            yield Level("take", float(order.price), order.ts, until, f"{order.qty}, {'filled' if filled else 'not filled'}")


def _stops(subject: Subject, closed: int) -> Iterator[Level]:
    """The stop as steps over time."""
    rested = stops_of(subject)
    for here, after in zip(rested, (*rested[1:], None), strict=True):
        yield Level("stop", float(here.price), here.ts, max(here.ts, closed if after is None else after.ts), here.reason)


def _marks(subject: Subject) -> Iterator[Mark]:
    if subject.signal is not None:
        yield Mark("signal", subject.signal.ts, subject.signal.entry, f"{subject.signal.side.value} {subject.signal.strategy}")
    for fill in subject.fills:
        why = "" if fill.reason is None else f", {fill.reason.value}"
        yield Mark(fill.purpose.value, fill.ts, float(fill.price), f"{fill.side.value} {fill.qty}{why}")
