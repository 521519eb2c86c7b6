"""What the server can be told."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

MINUTE = 60_000
HOUR = 60 * MINUTE

API_KEY = "local-exchange-key"
API_SECRET = "local-exchange-secret"  # noqa: S105 - it opens nothing but a simulation on this machine


@dataclass(frozen=True, slots=True)
class Span:
    """A time that is drawn anew each time, evenly between two ends (ms)."""

    low_ms: float = 0.0
    high_ms: float = 0.0

    def draw(self, random: np.random.Generator) -> float:
        """One time; an empty span draws nothing, so that it does not disturb the sequence."""
        if self.high_ms <= self.low_ms:
            return self.low_ms
        return float(random.uniform(self.low_ms, self.high_ms))


@dataclass(frozen=True, slots=True)
class Latencies:
    """How long each kind of message is under way: a request, its reply, market data, events of the account."""

    request: Span = Span()
    reply: Span = Span()
    market: Span = Span()
    user: Span = Span()


@dataclass(frozen=True, slots=True)
class Limits:
    """The venue's limits; its spot host counts for itself.

    After ``ban_after`` requests over the weight an address is banned for ``ban_ms``, twice as long each time.
    """

    weight_per_minute: int = 2_400
    orders_per_10s: int = 300
    orders_per_minute: int = 1_200
    ban_after: int = 20
    ban_ms: int = 2 * MINUTE
    streams_per_socket: int = 1_024
    messages_per_second: int = 10
    queued_messages: int = 20_000
    """A client that reads so slowly that this many wait for it is disconnected."""
    spot_weight_per_minute: int = 6_000


@dataclass(frozen=True, slots=True)
class KeyScope:
    """What the key may do, as ``apiRestrictions`` tells it."""

    reading: bool = True
    futures: bool = True
    withdrawals: bool = False
    ip_restricted: bool = True


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Everything about one server.

    ``speed`` says how many ms of the clock pass in one ms of the event loop. ``reaction_ms`` (of the clock) is left to
    clients after a sweep of the price was interrupted by a fill. ``check_time`` is off only where the clients cannot
    share the server's clock (another speed than 1). ``state_file`` keeps the exchange over restarts. ``control`` opens
    ``/_control`` to this machine. ``multi_assets`` is what the account says of its mode; margin knows USDT only.
    """

    api_key: str = API_KEY
    secret: str = field(default=API_SECRET, repr=False)
    scope: KeyScope = KeyScope()
    multi_assets: bool = False
    seed: int = 0
    speed: float = 1.0
    reaction_ms: int = 50
    check_time: bool = True
    latencies: Latencies = Latencies()
    limits: Limits = Limits()
    state_file: Path | None = None
    control: bool = False
    ping_ms: int = 3 * MINUTE
    pong_ms: int = 10 * MINUTE
    connection_ms: int = 24 * HOUR
    listen_key_ms: int = HOUR
