"""Hindsight: what the price did later. Nothing here took part in the decision."""

from __future__ import annotations

from core.clock import rfc3339
from core.types import Side
from graph.why.chart import Window
from graph.why.model import Candle, Line
from graph.why.records import Kind, Subject


def afterwards(subject: Subject, seen: Window) -> tuple[Line, ...]:
    """Worst and best excursion; what the exit saved or cost; for what was not done, what the price did."""
    trade, side = subject.trade, subject.side
    if trade is not None and subject.kind is not Kind.REFUSAL:
        r_price = abs(trade.entry_price - float(trade.initial_stop))
        after = [candle for candle in seen.candles if candle.at > trade.closed_ts]
        lines = [
            Line("worst excursion", trade.mae_r, "R", "while it was open"),
            Line("best excursion", trade.mfe_r, "R", "while it was open"),
        ]
        return (*lines, *_moves(after, trade.side, trade.exit_price, r_price, "R", "after the exit"))
    if side is None:
        return (Line("hindsight", "no side, so nothing to compare with"),)
    start = None if subject.signal is None else subject.signal.entry
    after = [candle for candle in seen.candles if candle.at > subject.ts]
    before = [candle for candle in seen.candles if candle.at <= subject.ts]
    start = before[-1].close if start is None and before else start
    if start is None:
        return (Line("hindsight", "the journal has no bars of the symbol there"),)
    return tuple(_moves(after, side, start, start / 100.0, "%", "had it been entered at the close; before all costs"))


def _moves(after: list[Candle], side: Side, start: float, unit: float, name: str, note: str) -> list[Line]:
    if not after or unit <= 0.0:
        return [Line("later", "no later bars are on record")]
    low, high = min(candle.low for candle in after), max(candle.high for candle in after)
    worst, best = (low, high) if side is Side.LONG else (high, low)
    until = f"{note}, until {rfc3339(after[-1].at)}"
    against, along = max(0.0, side.sign * (start - worst) / unit), max(0.0, side.sign * (best - start) / unit)
    return [
        Line("further against it", -against, name, f"{until}: what being out saved at most"),
        Line("further its way", along, name, f"{until}: what being out cost at most"),
    ]
