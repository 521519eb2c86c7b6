"""Named scenarios of the synthetic market: what happens in each, and when.

A scenario is data (:class:`Script`), so that a test, a log line and the market itself read the same plan. Bars are
counted from the start of the run (bar 0 is the first one handed out; negative ones lie in the warm-up). The main event
of a scenario begins at :data:`EVENT_BAR`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from core.types import Regime

EVENT_BAR = 300
"""Run bar at which the event of a scenario begins."""

DEAD_FEED_BARS = 36
DEAD_SYMBOL_BARS = 60
LOST_BOOK_BARS = 48
CLOCK_FAULT_BARS = 48
CLOCK_PEAK_MS = 2600.0
GAP_MISSING_BARS = 3
LOST_SETTLEMENTS_HOURS = 25


class Scenario(StrEnum):
    """Markets with a story; ``description`` says it in a sentence."""

    CALM = "calm"
    """Quiet ranges and gentle trends; no panic, no high volatility."""
    MIXED = "mixed"
    """Every regime in the first eleven days, then a random sequence of all of them."""
    TREND = "trend"
    """Long, strong trends, up first."""
    CRASH = "crash"
    """A rise, then a fall of about 20 % in six hours in all symbols; spreads widen, books thin out."""
    GAP = "gap"
    """Bars are missing for all symbols and the price opens 4 % lower; later a gap up without missing bars."""
    GIVEBACK = "giveback"
    """A trend of about 15 % in three days that is given back whole in a day and a half."""
    DEAD_FEED = "dead_feed"
    """Candles of all symbols stop, and come back; time goes on."""
    DEAD_SYMBOL = "dead_symbol"
    """Candles of the last symbol stop, and come back; the others go on."""
    CLOCK_DRIFT = "clock_drift"
    """The local clock drifts away from the exchange's above 1500 ms, and comes back."""
    LOST_FUNDING = "lost_funding"
    """No funding settlement arrives for more than a day, then they do again."""
    LOST_BOOK = "lost_book"
    """Order books stop, and come back."""
    LOSING_STREAK = "losing_streak"
    """A rising, whipsawing market: each breakout is sold off at once through the stop."""
    BAD_BARS = "bad_bars"
    """Duplicates, late bars, impossible prices, off-grid times and a zero-volume run among good bars."""

    @property
    def description(self) -> str:
        """One sentence for people."""
        return _DESCRIPTIONS[self]


_DESCRIPTIONS: dict[Scenario, str] = {
    Scenario.CALM: "quiet ranges and gentle trends; no panic, no high volatility",
    Scenario.MIXED: "every regime in the first eleven days, then a random sequence of all of them",
    Scenario.TREND: "long, strong trends, up first",
    Scenario.CRASH: "a rise, then a fall of about 20 % in six hours; spreads widen, books thin out",
    Scenario.GAP: "missing bars and an open 4 % lower; later a gap up without missing bars",
    Scenario.GIVEBACK: "a trend of about 15 % in three days, given back whole in a day and a half",
    Scenario.DEAD_FEED: "candles of all symbols stop, and come back",
    Scenario.DEAD_SYMBOL: "candles of the last symbol stop, and come back",
    Scenario.CLOCK_DRIFT: "the clock drifts above 1500 ms from the exchange's, and comes back",
    Scenario.LOST_FUNDING: "no funding settlement arrives for more than a day",
    Scenario.LOST_BOOK: "order books stop, and come back",
    Scenario.LOSING_STREAK: "a rising, whipsawing market: each breakout is sold off through its stop",
    Scenario.BAD_BARS: "duplicates, late bars, impossible prices, off-grid times, zero-volume runs",
}


class Stream(StrEnum):
    """What can be lost."""

    CANDLES = "candles"
    FUNDING = "funding"
    BOOK = "book"


class Defect(StrEnum):
    """One way in which a delivered bar can be wrong."""

    DUPLICATE = "duplicate"
    LATE = "late"
    HIGH_BELOW_LOW = "high_below_low"
    NEGATIVE_PRICE = "negative_price"
    NOT_A_NUMBER = "not_a_number"
    OFF_GRID = "off_grid"
    ZERO_VOLUME = "zero_volume"


@dataclass(frozen=True, slots=True)
class Span:
    """Bars [begin, end) held in ``regime`` for all symbols.

    ``drift`` (own hourly sigma per hour), ``vol`` (multiple of the asset's usual volatility) and ``pull`` (per hour,
    towards the path that the drift alone would draw) replace the regime's own where given.
    """

    begin: int
    end: int
    regime: Regime
    drift: float | None = None
    vol: float | None = None
    pull: float | None = None


@dataclass(frozen=True, slots=True)
class Push:
    """A move spread evenly over bars [begin, end): ``log_return`` plus ``sigmas`` daily sigmas of the asset."""

    begin: int
    end: int
    log_return: float = 0.0
    sigmas: float = 0.0


@dataclass(frozen=True, slots=True)
class Jump:
    """A move between the last close and the open of ``bar``; units as in :class:`Push`."""

    bar: int
    log_return: float = 0.0
    sigmas: float = 0.0


@dataclass(frozen=True, slots=True)
class Outage:
    """``stream`` delivers nothing in bars [begin, end): for the last symbol only, or for all."""

    stream: Stream
    begin: int
    end: int
    last_symbol_only: bool = False


@dataclass(frozen=True, slots=True)
class ClockFault:
    """Drift that rises over ``ramp_bars`` to ``peak_ms``, stays, and falls back, within bars [begin, end)."""

    begin: int
    end: int
    peak_ms: float
    ramp_bars: int

    def drift_ms(self, bar: int) -> float:
        """Drift added at run bar ``bar``."""
        if not self.begin <= bar < self.end:
            return 0.0
        return self.peak_ms * min(1.0, (bar - self.begin + 1) / self.ramp_bars, (self.end - bar) / self.ramp_bars)


@dataclass(frozen=True, slots=True)
class Act:
    """A part of the story in bars [begin, end), told in the batches' notes."""

    begin: int
    end: int
    what: str


@dataclass(frozen=True, slots=True)
class Script:
    """Everything that a scenario changes.

    ``weights`` are those of the regime chain, in the order of
    :data:`core.types.REGIME_CODES` (the first, unknown, is always 0); ``trend_drift`` in own hourly sigma per hour.
    """

    weights: tuple[float, ...]
    trend_drift: float = 0.25
    spans: tuple[Span, ...] = ()
    pushes: tuple[Push, ...] = ()
    jumps: tuple[Jump, ...] = ()
    outages: tuple[Outage, ...] = ()
    clock: ClockFault | None = None
    defects: tuple[tuple[int, Defect], ...] = ()
    acts: tuple[Act, ...] = ()


#                 unknown  up    down  low   high  panic
_MIXED_WEIGHTS = (0.0, 0.22, 0.20, 0.30, 0.22, 0.06)
_CALM_WEIGHTS = (0.0, 0.20, 0.20, 0.60, 0.00, 0.00)
_TREND_WEIGHTS = (0.0, 0.45, 0.35, 0.20, 0.00, 0.00)


def script_for(scenario: Scenario, bars_per_hour: int) -> Script:
    """The plan of ``scenario`` on a base timeframe with ``bars_per_hour`` bars an hour."""
    return _SCRIPTS[scenario](bars_per_hour)


def _mixed(bph: int) -> Script:
    days = (
        (1.0, Regime.RANGE_LOWVOL, None),
        (3.5, Regime.TREND_UP, 0.35),
        (0.25, Regime.PANIC, None),
        (2.25, Regime.RANGE_HIGHVOL, None),
        (4.0, Regime.TREND_DOWN, -0.35),
    )
    spans = []
    begin = 0
    for length, regime, drift in days:
        end = begin + int(length * 24 * bph)
        spans.append(Span(begin, end, regime, drift=drift))
        begin = end
    acts = (Act(0, begin, "every regime once: low, up, panic, high, down"),)
    return Script(_MIXED_WEIGHTS, spans=tuple(spans), acts=acts)


def _calm(_bph: int) -> Script:
    return Script(_CALM_WEIGHTS, trend_drift=0.15)


def _trend(bph: int) -> Script:
    end = 7 * 24 * bph
    span = Span(-24 * bph, end, Regime.TREND_UP)
    return Script(_TREND_WEIGHTS, trend_drift=0.35, spans=(span,), acts=(Act(0, end, "a long trend up"),))


def _crash(bph: int) -> Script:
    fall_end = EVENT_BAR + 6 * bph
    calm_down = fall_end + 36 * bph
    return Script(
        _MIXED_WEIGHTS,
        spans=(
            Span(-4 * 24 * bph, EVENT_BAR, Regime.TREND_UP, drift=0.3),
            Span(EVENT_BAR, fall_end, Regime.PANIC, drift=0.0, vol=2.5, pull=2.0),
            Span(fall_end, calm_down, Regime.RANGE_HIGHVOL),
        ),
        pushes=(Push(EVENT_BAR, fall_end, log_return=-0.20),),
        jumps=(Jump(EVENT_BAR + 2 * bph, log_return=-0.022),),
        acts=(Act(EVENT_BAR, fall_end, "a fall of about 20 % in six hours; spreads widen, books thin out"),),
    )


def _gap(bph: int) -> Script:
    missing = EVENT_BAR + GAP_MISSING_BARS
    up = missing + 8 * bph
    return Script(
        _MIXED_WEIGHTS,
        spans=(Span(-3 * 24 * bph, EVENT_BAR, Regime.TREND_UP, drift=0.3),),
        jumps=(Jump(missing, log_return=-0.04), Jump(up, log_return=0.03)),
        outages=(Outage(Stream.CANDLES, EVENT_BAR, missing),),
        acts=(
            Act(EVENT_BAR, missing, f"{GAP_MISSING_BARS} bars are missing, then the price opens 4 % lower"),
            Act(up, up + 1, "the price opens 3 % higher"),
        ),
    )


def _giveback(bph: int) -> Script:
    top = EVENT_BAR + 3 * 24 * bph
    end = top + 36 * bph
    return Script(
        _MIXED_WEIGHTS,
        spans=(
            Span(-24 * bph, EVENT_BAR, Regime.RANGE_LOWVOL),
            Span(EVENT_BAR, top, Regime.TREND_UP, drift=0.0, pull=0.3),
            Span(top, end, Regime.TREND_DOWN, drift=0.0, pull=0.3),
        ),
        pushes=(Push(EVENT_BAR, top, log_return=0.14), Push(top, end, log_return=-0.14)),
        acts=(Act(EVENT_BAR, top, "a rise of about 15 %"), Act(top, end, "all of it is given back")),
    )


def _losing_streak(bph: int) -> Script:
    """Every six hours a burst of one daily sigma in a quarter of an hour, then an open far below it.

    The burst exceeds the high of the last five hours; a breakout bought at its close is stopped through the gap.
    """
    begin, cycle, cycles = 8 * bph, 6 * bph, 20
    quarter, end = max(1, bph // 4), 8 * bph + 20 * 6 * bph
    pushes: list[Push] = []
    jumps: list[Jump] = []
    for number in range(cycles):
        burst = begin + number * cycle + 5 * bph
        drop = burst + quarter + max(1, bph // 6)
        pushes.append(Push(burst - 4 * bph, burst, sigmas=0.25))
        pushes.append(Push(burst, burst + quarter, sigmas=1.0))
        jumps.append(Jump(drop, sigmas=-0.35))
        pushes.append(Push(drop, drop + max(1, bph // 2), sigmas=-0.75))
    return Script(
        _MIXED_WEIGHTS,
        spans=(
            Span(-14 * 24 * bph, begin, Regime.TREND_UP, drift=0.3, vol=0.8),
            Span(begin, end, Regime.RANGE_HIGHVOL, drift=0.05, vol=0.7, pull=0.2),
        ),
        pushes=tuple(pushes),
        jumps=tuple(jumps),
        acts=(Act(begin, end, "every six hours a breakout that is sold off through its stop"),),
    )


def _outage(outage: Outage, what: str) -> Script:
    return Script(_MIXED_WEIGHTS, outages=(outage,), acts=(Act(outage.begin, outage.end, what),))


def _dead_feed(_bph: int) -> Script:
    outage = Outage(Stream.CANDLES, EVENT_BAR, EVENT_BAR + DEAD_FEED_BARS)
    return _outage(outage, f"candles of all symbols stop for {DEAD_FEED_BARS} bars")


def _dead_symbol(_bph: int) -> Script:
    outage = Outage(Stream.CANDLES, EVENT_BAR, EVENT_BAR + DEAD_SYMBOL_BARS, last_symbol_only=True)
    return _outage(outage, f"candles of the last symbol stop for {DEAD_SYMBOL_BARS} bars")


def _lost_funding(bph: int) -> Script:
    outage = Outage(Stream.FUNDING, EVENT_BAR, EVENT_BAR + LOST_SETTLEMENTS_HOURS * bph)
    return _outage(outage, f"no funding settlement arrives for {LOST_SETTLEMENTS_HOURS} hours")


def _lost_book(_bph: int) -> Script:
    outage = Outage(Stream.BOOK, EVENT_BAR, EVENT_BAR + LOST_BOOK_BARS)
    return _outage(outage, f"order books stop for {LOST_BOOK_BARS} bars")


def _clock_drift(_bph: int) -> Script:
    fault = ClockFault(EVENT_BAR, EVENT_BAR + CLOCK_FAULT_BARS, CLOCK_PEAK_MS, ramp_bars=12)
    act = Act(fault.begin, fault.end, f"the clock drifts up to {CLOCK_PEAK_MS:.0f} ms from the exchange's")
    return Script(_MIXED_WEIGHTS, clock=fault, acts=(act,))


def _bad_bars(_bph: int) -> Script:
    single = (
        Defect.DUPLICATE,
        Defect.LATE,
        Defect.HIGH_BELOW_LOW,
        Defect.NEGATIVE_PRICE,
        Defect.NOT_A_NUMBER,
        Defect.OFF_GRID,
    )
    defects = [(EVENT_BAR + 8 * number, single[number % len(single)]) for number in range(2 * len(single))]
    quiet = EVENT_BAR + 8 * len(defects)
    defects += [(bar, Defect.ZERO_VOLUME) for bar in range(quiet, quiet + 5)]
    act = Act(EVENT_BAR, quiet + 5, "duplicates, late bars, impossible prices, off-grid times, a zero-volume run")
    return Script(_MIXED_WEIGHTS, defects=tuple(defects), acts=(act,))


_SCRIPTS: dict[Scenario, Callable[[int], Script]] = {
    Scenario.CALM: _calm,
    Scenario.MIXED: _mixed,
    Scenario.TREND: _trend,
    Scenario.CRASH: _crash,
    Scenario.GAP: _gap,
    Scenario.GIVEBACK: _giveback,
    Scenario.LOSING_STREAK: _losing_streak,
    Scenario.DEAD_FEED: _dead_feed,
    Scenario.DEAD_SYMBOL: _dead_symbol,
    Scenario.CLOCK_DRIFT: _clock_drift,
    Scenario.LOST_FUNDING: _lost_funding,
    Scenario.LOST_BOOK: _lost_book,
    Scenario.BAD_BARS: _bad_bars,
}
