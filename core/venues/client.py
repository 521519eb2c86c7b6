"""Making a venue's ccxt.pro client, with what the house needs to hear of it.

The client is ccxt's own; a few of its methods are wrapped: every message of a stream is handed on before ccxt looks at it,
every error carries the venue's numeric code, the budget stands before each request, and nothing is ever sent twice.
"""

from __future__ import annotations

import asyncio
import importlib
import ssl
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver

from core.errors import BrainError
from core.venues.budget import Budget
from core.venues.keys import Keys

Raw = Mapping[str, Any]
OnRaw = Callable[[Any, str], bool | None]
OnLink = Callable[[str, bool], None]
OnError = Callable[[Exception], None]

VENUES = ("binanceusdm", "bybit", "okx")
"""Venues that have a module here; only the first is traded on."""

FLIGHT: ContextVar[Flight | None] = ContextVar("flight", default=None)
"""The request that the running task is about to send, for whoever must know whether it left."""


@dataclass(slots=True)
class Flight:
    """What is known of one request: whether it was handed to the network at all, and the time (s, loop) when it was.

    ``on_leaving`` is called right before, when all waits are over; what it raises keeps the request from leaving.
    """

    left_at: float | None = None
    on_leaving: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class Wiring:
    """How a client reaches its venue, and whom it tells.

    Args:
        on_raw: called with every decoded message of every stream and that stream's address, before ccxt handles it; where it
            answers True, ccxt does not.
        on_link: called with a stream's address and whether it stands now.
        on_error: called with every error that the venue has answered a request with, its number noted on it.
        patient: requests wait while the venue wants to be left alone; else they are given up
            (:class:`core.venues.errors.LeftAlone`), except those that hold a stream, which nobody waits for.
        warm_every_s: a connection for orders is asked something that often. One on which nothing was asked for 15 s is let go of,
            and to make another takes longer than to send an order.
        resolver: where the venue's names lead (the local exchange); None: the system's.
        cafile: whom to trust beside it; None: the usual authorities.
        plain: ``http://host:port`` of a local exchange without TLS; addresses are rewritten then.
        timeout_ms: a request is given up after this.
        recv_window_ms: the venue refuses what reaches it later than this after it was signed.
        budget: shared weights; a client of its own gets one of its own.
    """

    on_raw: OnRaw | None = None
    on_link: OnLink | None = None
    resolver: AbstractResolver | None = None
    cafile: str | None = None
    plain: str | None = None
    timeout_ms: int = 5_000
    recv_window_ms: int = 3_000
    budget: Budget = field(default_factory=Budget)
    on_error: OnError | None = None
    patient: bool = True
    warm_every_s: float = 10.0


def make_client(venue: str, keys: Keys | None = None, wiring: Wiring | None = None) -> Any:
    """A ccxt.pro client of ``venue``. ``await client.close()`` belongs to whoever asked for it.

    Args:
        venue: one of :data:`VENUES`.
        keys: of the account; market data needs none.
        wiring: how it is connected.

    Raises:
        BrainError: the venue has no module here.
    """
    if venue not in VENUES:
        raise BrainError(
            f"exchange was {venue!r}, expected one of {', '.join(VENUES)}", help="EXCHANGE=binance", code="VENUE-001"
        )
    wired = Wiring() if wiring is None else wiring
    config: dict[str, Any] = {
        "timeout": wired.timeout_ms,
        # ccxt's limiter makes the second order of a burst wait; the budget stands in its place.
        "enableRateLimit": False,
        "options": {"recvWindow": wired.recv_window_ms, "maxRetriesOnFailure": 0, "ws": {"compress": 0}},
        "streaming": {"keepAlive": 10_000},
    }
    if keys is not None:
        config |= {"apiKey": keys.api_key, "secret": keys.secret}
    quirks = _quirks(venue)
    client = _client_class(venue, wired)(_merged(config, quirks.CLIENT_OPTIONS))
    if wired.plain is not None:
        quirks.redirect(client, wired.plain)
    return client


def _quirks(venue: str) -> Any:
    return importlib.import_module(f"core.venues.{venue}")


def _client_class(venue: str, wiring: Wiring) -> Any:
    # Importing it loads every exchange that ccxt knows: half a second that a replay need not wait.
    import ccxt.pro

    return type(venue, (_Wired, getattr(ccxt.pro, venue)), {"quirks": _quirks(venue), "wiring": wiring})


def _merged(config: dict[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(config)
    for key, value in more.items():
        merged[key] = {**merged[key], **value} if isinstance(value, Mapping) and key in merged else value
    return merged


_COUNTED = "/fapi/"
"""Binance counts its spot host apart, with a larger limit."""


class _Wired:
    """What is put before a ccxt.pro class; ``super()`` is always ccxt's."""

    wiring: Wiring
    quirks: Any
    # of ccxt's class, for the type checker
    session: Any
    own_session: bool
    asyncio_loop: Any
    tcp_connector: Any
    options: dict[str, Any]
    calculate_rate_limiter_cost: Any

    def open(self, lazy: bool = False) -> None:
        """Where the venue's names lead elsewhere, the session is made here; ccxt closes it as its own."""
        wiring = self.wiring
        redirected = wiring.resolver is not None or wiring.cafile is not None
        if redirected and self.session is None and not (lazy and self.closed_by_user):  # type: ignore[attr-defined]
            context = ssl.create_default_context(cafile=wiring.cafile)
            self.tcp_connector = aiohttp.TCPConnector(ssl=context, resolver=wiring.resolver)
            self.session = aiohttp.ClientSession(connector=self.tcp_connector)
        super().open(lazy)  # type: ignore[misc]

    async def spend(self, cost: float, path: str) -> None:
        """Wait until the budget has room for a request.

        Raises:
            LeftAlone: the venue wants to be left alone, and the request is not to wait for that.
        """
        patient = self.wiring.patient or path in self.quirks.OF_STREAM
        await self.wiring.budget.take(cost, urgent=path in self.quirks.URGENT, patient=patient)

    async def fetch2(self, path: str, api: Any = "public", method: str = "GET", params: Any = None, config: Any = None) -> Any:
        given = {} if params is None else params
        cost = self.calculate_rate_limiter_cost(api, method, path, given, config or {})
        await self.spend(float(cost), path)
        return await super().fetch2(path, api, method, given, config or {})  # type: ignore[misc]

    async def fetch(self, url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
        flight = FLIGHT.get()
        if flight is not None:
            flight.on_leaving()
            flight.left_at = asyncio.get_running_loop().time()
        return await super().fetch(url, method, headers, body)  # type: ignore[misc]

    def on_rest_response(
        self, code: int, reason: str, url: str, method: str, headers: Any, body: str, sent_headers: Any, sent: Any
    ) -> Any:
        lower = {str(key).lower(): value for key, value in headers.items()}
        budget = self.wiring.budget
        used = lower.get("x-mbx-used-weight-1m")
        if used is not None and used.isdigit() and _COUNTED in url:
            budget.venue_counted(int(used))
        if code in (418, 429):
            budget.close_for(_seconds(lower.get("retry-after")))
        return super().on_rest_response(code, reason, url, method, headers, body, sent_headers, sent)  # type: ignore[misc]

    def handle_errors(
        self, code: int, reason: str, url: str, method: str, headers: Any, body: str, answer: Any, sent_headers: Any, sent: Any
    ) -> Any:
        try:
            return super().handle_errors(code, reason, url, method, headers, body, answer, sent_headers, sent)  # type: ignore[misc]
        except Exception as error:
            # ccxt drops the number wherever it knows the words; outcomes are told by the number alone.
            error.venue_code = _code(answer)  # type: ignore[attr-defined]
            error.http_status = code  # type: ignore[attr-defined]
            error.retry_after_s = self.wiring.budget.closed_s if code in (418, 429) else 0.0  # type: ignore[attr-defined]
            if self.wiring.on_error is not None:
                self.wiring.on_error(error)
            raise

    def handle_message(self, client: Any, message: Any) -> Any:
        if self.quirks.ends_stream(self, client, message):
            return None
        if self.wiring.on_raw is not None and self.wiring.on_raw(message, str(client.url)) is True:
            return None
        return super().handle_message(client, message)  # type: ignore[misc]

    def on_connected(self, client: Any, message: Any = None) -> None:
        super().on_connected(client, message)  # type: ignore[misc]
        self._tell(client, stands=True)

    def on_error(self, client: Any, error: Any) -> None:
        super().on_error(client, error)  # type: ignore[misc]
        self._tell(client, stands=False)

    def on_close(self, client: Any, error: Any) -> None:
        super().on_close(client, error)  # type: ignore[misc]
        self._tell(client, stands=False)

    def _tell(self, client: Any, *, stands: bool) -> None:
        if self.wiring.on_link is not None:
            self.wiring.on_link(str(client.url), stands)


def _code(answer: Any) -> int | None:
    number = answer.get("code") if isinstance(answer, Mapping) else None
    try:
        return None if number is None else int(number)
    except (TypeError, ValueError):
        return None


def _seconds(text: Any, otherwise: float = 30.0) -> float:
    try:
        return max(0.0, float(text))
    except (TypeError, ValueError):
        return otherwise
