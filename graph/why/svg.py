"""The chart as inline SVG, drawn here: no library, no script, no network. Colours are the page's own tokens.

Up candles are hollow and down ones filled; every level has its own dash and a word at its end, so nothing rests on hue.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

from core.types import Regime
from graph.why.model import Chart

_WIDTH, _HEIGHT = 960, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 8, 78, 28, 26
_LETTER, _ROW = 6.8, 14.0
"""Rough width of a letter and height of a row of text, to keep words apart."""
_SHORT = {
    Regime.UNKNOWN: "?",
    Regime.TREND_UP: "up",
    Regime.TREND_DOWN: "down",
    Regime.RANGE_LOWVOL: "calm",
    Regime.RANGE_HIGHVOL: "lively",
    Regime.PANIC: "panic",
}
_OPENING = ("entry", "add")


@dataclass(frozen=True, slots=True)
class _Scale:
    """Time and price to points of the drawing."""

    since: int
    until: int
    low: float
    high: float

    def x(self, ts: int) -> float:
        share = (min(max(ts, self.since), self.until) - self.since) / max(1, self.until - self.since)
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def y(self, price: float) -> float:
        share = (price - self.low) / max(1e-12, self.high - self.low)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)


def draw(chart: Chart, title: str) -> str:
    """The drawing; a sentence where there is nothing to draw."""
    if not chart.candles:
        return f"<p>{escape(chart.note or 'There are no candles to draw.')}</p>"
    scale = _scale(chart)
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-labelledby="chart-title chart-text" class="chart">',
        f'<title id="chart-title">{escape(title)}</title>',
        f'<desc id="chart-text">{escape(_sentence(chart))}</desc>',
        *_bands(chart, scale),
        *_axes(scale),
        *_candles(chart, scale),
        *_levels(chart, scale),
        *_marks(chart, scale),
        *_words(chart, scale),
        "</svg>",
    ]
    return "\n".join(parts)


def _scale(chart: Chart) -> _Scale:
    prices = [price for candle in chart.candles for price in (candle.low, candle.high)]
    prices += [level.price for level in chart.levels if level.kind != "take"]
    reach = max(prices) - min(prices)
    # a take far away would press the candles flat
    prices += [level.price for level in chart.levels if min(prices) - reach / 2 <= level.price <= max(prices) + reach / 2]
    pad = max(reach * 0.04, max(prices) * 1e-6)
    return _Scale(chart.candles[0].at - chart.candle_ms, chart.candles[-1].at, min(prices) - pad, max(prices) + pad)


def _sentence(chart: Chart) -> str:
    first, last = chart.candles[0], chart.candles[-1]
    return (
        f"{len(chart.candles)} candles of {chart.symbol} from {_clock(first.at - chart.candle_ms)} to {_clock(last.at)} UTC, "
        f"{first.open:.8g} to {last.close:.8g}. The table beside has the same data."
    )


def _clock(ts: int) -> str:
    return datetime.fromtimestamp(ts / 1000, UTC).strftime("%m-%d %H:%M")


def _bands(chart: Chart, scale: _Scale) -> Iterator[str]:
    for place, band in enumerate(chart.bands):
        left, right = scale.x(band.since), scale.x(band.until)
        odd = place % 2
        yield (
            f'<rect class="band{odd}" x="{left:.1f}" y="{_TOP}" width="{max(0.5, right - left):.1f}" '
            f'height="{_HEIGHT - _TOP - _BOTTOM}"/><line class="edge" x1="{left:.1f}" x2="{left:.1f}" y1="{_TOP - 14}" '
            f'y2="{_HEIGHT - _BOTTOM}"/>'
        )
        word = band.regime.value if right - left > 90 else _SHORT[band.regime]
        if right - left > 8 * len(word):
            yield f'<text class="word" x="{left + 3:.1f}" y="{_TOP - 5}">{word}</text>'


def _axes(scale: _Scale) -> Iterator[str]:
    for step in range(5):
        price = scale.low + (scale.high - scale.low) * (step + 0.5) / 5
        y = scale.y(price)
        yield f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="axis" x="{_WIDTH - 4}" y="{y + 4:.1f}" text-anchor="end">{price:.6g}</text>'
    for step in range(6):
        ts = scale.since + (scale.until - scale.since) * step // 5
        anchor = "start" if step == 0 else "end" if step == 5 else "middle"
        yield f'<text class="axis" x="{scale.x(ts):.1f}" y="{_HEIGHT - 8}" text-anchor="{anchor}">{_clock(ts)}</text>'


def _candles(chart: Chart, scale: _Scale) -> Iterator[str]:
    width = max(1.2, (_WIDTH - _LEFT - _RIGHT) / len(chart.candles) * 0.62)
    for candle in chart.candles:
        x = scale.x(candle.at - chart.candle_ms // 2)
        top, bottom = scale.y(max(candle.open, candle.close)), scale.y(min(candle.open, candle.close))
        kind = "up" if candle.close >= candle.open else "down"
        wicks = f"M{x:.1f} {scale.y(candle.high):.1f}V{top:.1f}M{x:.1f} {bottom:.1f}V{scale.y(candle.low):.1f}"
        yield (
            f'<path class="{kind}" d="{wicks}'
            f'M{x - width / 2:.1f} {top:.1f}h{width:.1f}V{max(bottom, top + 0.5):.1f}h{-width:.1f}z"/>'
        )


def _levels(chart: Chart, scale: _Scale) -> Iterator[str]:
    before: float | None = None
    for level in chart.levels:
        if not scale.low <= level.price <= scale.high:
            continue
        kind, left, right, y = level.kind.replace(" ", "-"), scale.x(level.since), scale.x(level.until), scale.y(level.price)
        yield f'<line class="level {kind}" x1="{left:.1f}" x2="{max(right, left + 3):.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
        if level.kind == "stop" and before is not None:
            yield f'<line class="level stop" x1="{left:.1f}" x2="{left:.1f}" y1="{scale.y(before):.1f}" y2="{y:.1f}"/>'
        before = level.price if level.kind == "stop" else before


def _marks(chart: Chart, scale: _Scale) -> Iterator[str]:
    for mark in chart.marks:
        x, y = scale.x(mark.at), scale.y(min(max(mark.price, scale.low), scale.high))
        note = escape(f"{mark.kind} {mark.price:.8g} {mark.note}")
        if mark.kind == "signal":
            corners = f"M{x - 5:.1f} {y:.1f}L{x:.1f} {y - 5:.1f}L{x + 5:.1f} {y:.1f}L{x:.1f} {y + 5:.1f}z"
            yield f'<path class="mark signal" d="{corners}"><title>{note}</title></path>'
        else:
            glyph = "entry" if mark.kind in _OPENING else "exit"
            yield f'<circle class="mark {glyph}" cx="{x:.1f}" cy="{y:.1f}" r="5"><title>{note}</title></circle>'


def _words(chart: Chart, scale: _Scale) -> Iterator[str]:
    """Words beside fills, the first stop and takes that were not filled, moved until none lies on another."""
    wanted = [(mark.at, mark.price, f"{mark.kind} {mark.price:.7g}") for mark in chart.marks if mark.kind != "signal"]
    stops = [level for level in chart.levels if level.kind == "stop"]
    wanted += [(level.until, level.price, f"first stop {level.price:.7g}") for level in stops[:1]]
    open_takes = [level for level in chart.levels if level.kind == "take" and level.note.endswith("not filled")]
    wanted += [(level.until, level.price, f"take {level.price:.7g}") for level in open_takes]
    taken: list[tuple[float, float, float]] = []
    for ts, price, words in wanted:
        if not scale.low <= price <= scale.high:
            continue
        width, x, y = len(words) * _LETTER, scale.x(ts) + 8, scale.y(price) - 6
        left = x if x + width < _WIDTH - _RIGHT else x - width - 16
        away = _ROW if y < _HEIGHT / 2 else -_ROW  # one way only, or two words could push each other for ever
        while any(left < end and begin < left + width and abs(y - row) < _ROW for begin, end, row in taken):
            y += away
        taken.append((left, left + width, y))
        yield f'<text class="tag" x="{left:.1f}" y="{y:.1f}">{escape(words)}</text>'
