"""What a run's own parts say of where its market and its time come from, for the facts of its session (X32).

Whoever puts a run at an exchange together asks here, and hands the facts on as a part of its identity::

    identity={**own, **provenance_of(reach.data, reach.orders, reach.clock, options).facts()}
"""

from __future__ import annotations

from collections.abc import Mapping

from core.clock import Clock, SystemClock
from core.monitor.provenance import Orders, Pace, Provenance, Reached, Timekeeper
from core.venues.client import Wiring
from graph.runner import RunOptions


def provenance_of(data: Mapping[str, Wiring], orders: Wiring | None, clock: Clock, options: RunOptions) -> Provenance:
    """Looked at, never claimed: each part is asked what it is.

    Args:
        data: wiring of every venue that market data may come from; empty: the source speaks to none.
        orders: wiring of the account's client; None: orders stay in this process.
        clock: the host's, for data and orders.
        options: the run's pace.
    """
    return Provenance(
        _reached(data),
        # the very class: what only behaves like it may be moved by hand
        Timekeeper.SYSTEM if type(clock) is SystemClock else Timekeeper.VIRTUAL,
        Pace.MARKET if options.market_time and options.speed is None else Pace.OWN,
        Orders.DIRECT if orders is None else Orders.LOCAL if _redirected(orders) else Orders.VENUE,
    )


def _reached(data: Mapping[str, Wiring]) -> Reached:
    if not data:
        return Reached.NONE
    return Reached.REDIRECTED if any(map(_redirected, data.values())) else Reached.VENUE


def _redirected(wiring: Wiring) -> bool:
    """Whether a client is led elsewhere than the venue's names, the system's resolver and the usual authorities lead it."""
    return any(part is not None for part in (wiring.resolver, wiring.cafile, wiring.plain))
