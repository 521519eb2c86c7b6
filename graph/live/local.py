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
    perps = [instrument for instrument in instruments if instrument.is_perp]
    played = SourceTape(source, instruments, options=tape)
    exchange = LocalExchange(
        [listing_of(one, source.info.start) for one in perps],
        clock,
        wallet=Decimal(repr(equity)),
        liquidity=liquidity_of(perps),
    )
    played.position_sign = exchange.position_sign
    return LocalVenue(exchange, ExchangeServer(exchange, played, clock, options))


def local_wiring(port: int, certificate: Certificate | Path) -> Wiring:
    """How a client reaches the local exchange on this machine under the venue's own names."""
    cert = certificate.cert if isinstance(certificate, Certificate) else certificate
    return Wiring(resolver=LoopbackResolver(port), cafile=str(cert))
