"""What a position needs now to be covered, decided from what is known of it. Pure (§2.6)."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from core.exec.instrument import Instrument
from core.exec.live.settings import LiveOptions
from core.types import Side
from core.venues.words import Standing


class Act(StrEnum):
    """What is to be done for a position."""

    NOTHING = "nothing"
    PLACE = "place"
    """Its catastrophe stop, under a new id."""
    PLACE_SECOND = "place_second"
    """A stop beside one whose fate nobody knows: for the position's size, since two that close everything cannot be."""
    CLOSE = "close"
    """Reduce-only at market: a stop cannot be had, or is not believed in."""


@dataclass(frozen=True, slots=True)
class StopView:
    """A stop that is known to be at the venue.

    ``for_s``: how long it was seen to stand so, by a clock that nobody sets. ``closes_all``: whatever the position's size is
    when it triggers.
    """

    standing: Standing
    for_s: float
    closes_all: bool
    qty: Decimal

    def covers(self, held: Decimal) -> bool:
        """Whether it will close all of a position of ``held``."""
        return self.standing is Standing.LIVE and (self.closes_all or self.qty >= abs(held))


@dataclass(frozen=True, slots=True)
class Exposure:
    """One symbol, as much as is known of it.

    ``naked_s`` is for how long no known stop has covered it while orders could be sent, by a clock that nobody sets (None: one
    does), ``underway`` how many stops were sent of which nobody knows yet, ``tries`` how many were refused in a row, ``beyond``
    whether one would have acted at once.
    """

    held: Decimal
    stops: tuple[StopView, ...]
    naked_s: float | None
    underway: int
    tries: int
    beyond: bool = False

    @property
    def covered(self) -> bool:
        """Whether a known stop will close all of it."""
        return any(stop.covers(self.held) for stop in self.stops)

    @property
    def catastrophe(self) -> bool:
        """Whether its stop that closes everything stands."""
        return any(stop.closes_all and stop.standing is Standing.LIVE for stop in self.stops)


def decide(exposure: Exposure, options: LiveOptions) -> Act:
    """What to do for a position now.

    - a stop that was reached and did not act for ``triggering_s`` is not waited for: close;
    - a covered one gets its catastrophe stop too, however often that was refused;
    - a naked one gets a stop, a second one when nobody knows of the first in half the time that it may be naked, and is
      closed after three quarters of it, so that the close has the rest for its way; at once when it is beyond its stop.

    Exits that are on their way change nothing: none of them is known to arrive, and all can only reduce.
    """
    if not exposure.held:
        return Act.NOTHING
    working = [stop for stop in exposure.stops if stop.standing is not Standing.LIVE]
    if any(stop.for_s > options.triggering_s for stop in working):
        return Act.CLOSE
    if working or exposure.catastrophe:
        return Act.NOTHING
    if exposure.covered:
        return Act.NOTHING if exposure.underway else Act.PLACE
    return Act.CLOSE if exposure.beyond else _for_naked(exposure, options.naked_s)


def _for_naked(exposure: Exposure, most_s: float) -> Act:
    naked_s = exposure.naked_s or 0.0
    tried = exposure.underway or exposure.tries
    if tried and naked_s > 0.75 * most_s:
        return Act.CLOSE
    if not exposure.underway:
        return Act.PLACE
    return Act.PLACE_SECOND if exposure.underway == 1 and naked_s > 0.5 * most_s else Act.NOTHING


def catastrophe_price(
    side: Side,
    entry: Decimal,
    plan_stop: Decimal | None,
    liquidation: Decimal | None,
    instrument: Instrument,
    options: LiveOptions,
) -> Decimal:
    """Where the stop lies that never moves: beyond the plan's, and before liquidation, which wins.

    ``distance = min(max(percent, k x plan's), share x liquidation's)``, in price; without a known liquidation price it is
    taken to be ``1 / leverage - maintenance margin`` away.
    """
    distance = entry * Decimal(repr(options.catastrophe_pct)) / 100
    if plan_stop is not None:
        distance = max(distance, abs(entry - plan_stop) * Decimal(repr(options.catastrophe_beyond_stop)))
    if liquidation is None:
        to_liquidation = entry * (1 / Decimal(options.leverage) - Decimal(repr(instrument.maintenance_margin_rate)))
    else:
        to_liquidation = abs(entry - liquidation)
    distance = min(distance, to_liquidation * Decimal(repr(options.catastrophe_before_liquidation)))
    return instrument.stop_price(entry - side.sign * distance, side)
