"""The local exchange as a run makes it for itself: a market of a source, played to an engine, behind the venue's own protocol."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from core.clock import Clock
from core.data.sources.base import Source
from core.exec.instrument import Instrument
from core.sim.local.exchange import LocalExchange
from core.sim.server.app import ExchangeServer
from core.sim.server.options import API_KEY, API_SECRET, ServerOptions
from core.sim.server.redirect import LoopbackResolver
from core.sim.server.tls import Certificate
from core.sim.tape.listings import liquidity_of, listing_of
from core.sim.tape.relay import RelayTape
from core.sim.tape.source import SourceTape, TapeOptions
from core.venues.client import Wiring
from core.venues.keys import Keys

LOCAL_KEYS = Keys(API_KEY, API_SECRET)
"""They open nothing but a local exchange."""


class LocalVenue(NamedTuple):
    """An engine and the server before it, not started."""

    exchange: LocalExchange
    server: ExchangeServer


def local_venue(
    source: Source,
    instruments: Sequence[Instrument],
    clock: Clock,
    equity: float,
    *,
    options: ServerOptions | None = None,
    tape: TapeOptions | None = None,
) -> LocalVenue:
    """An exchange that lists the perpetuals of ``source`` and plays its bars, with ``equity`` USDT in the account.

    Raises:
        SourceError: the source has no perpetual, or one for which there is no instrument.
        StateError: the state file of ``options`` cannot be read.
    """
    played = SourceTape(source, instruments, options=tape)
    exchange = _exchange(instruments, clock, equity, source.info.start)
    played.position_sign = exchange.position_sign
    return LocalVenue(exchange, ExchangeServer(exchange, played, clock, options))


def relayed_venue(
    tape: RelayTape, instruments: Sequence[Instrument], clock: Clock, equity: float, options: ServerOptions
) -> LocalVenue:
    """An exchange whose market somebody else makes: ``tape`` is fed from outside."""
    exchange = _exchange(instruments, clock, equity, 0)
    tape.clock = clock
    return LocalVenue(exchange, ExchangeServer(exchange, tape, clock, options))


def _exchange(instruments: Sequence[Instrument], clock: Clock, equity: float, onboard_ts: int) -> LocalExchange:
    perps = [instrument for instrument in instruments if instrument.is_perp]
    listings = [listing_of(one, onboard_ts) for one in perps]
    return LocalExchange(listings, clock, wallet=Decimal(repr(equity)), liquidity=liquidity_of(perps))


def local_wiring(port: int, certificate: Certificate | Path) -> Wiring:
    """How a client reaches the local exchange on this machine under the venue's own names."""
    cert = certificate.cert if isinstance(certificate, Certificate) else certificate
    return Wiring(resolver=LoopbackResolver(port), cafile=str(cert))
