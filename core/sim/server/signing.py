"""Who asks, and whether it is they, and now."""

from __future__ import annotations

import hashlib
import hmac
import re

from core.sim.local.values import VenueError
from core.sim.server.options import ServerOptions
from core.sim.server.params import Params, missing

_KEY = re.compile(r"^[A-Za-z0-9_-]{8,128}$")
_SIGNATURE = re.compile(r"&?signature=([^&]*)")
AHEAD_MS = 1_000
"""A request may be this much ahead of the venue's clock."""
RECV_WINDOW_MS, RECV_WINDOW_MOST_MS = 5_000, 60_000


def check_key(key: str | None, options: ServerOptions, *, trades: bool) -> None:
    """Whether the key is one, is known, and may do this.

    Raises:
        VenueError: -2014 it cannot be a key; -2015 it is not ours, or lacks the permission.
    """
    if not key or not _KEY.match(key):
        raise VenueError(-2014, "API-key format invalid.", status=401)
    allowed = options.scope.reading and (options.scope.futures or not trades)
    if not hmac.compare_digest(key, options.api_key) or not allowed:
        raise VenueError(-2015, "Invalid API-key, IP, or permissions for action", status=401)


def sign(secret: str, payload: str) -> str:
    """HMAC-SHA256 in hex, the venue's signature."""
    return hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()


def check_signature(query: str, body: str, secret: str) -> None:
    """Whether the very text that was sent, without the signature, was signed with the secret.

    Raises:
        VenueError: -1102 there is no signature; -1022 it is another one.
    """
    payload = query + body
    found = _SIGNATURE.search(payload)
    if found is None:
        raise missing("signature")
    if not hmac.compare_digest(sign(secret, payload.replace(found[0], "", 1)).encode(), found[1].encode()):
        raise VenueError(-1022, "Signature for this request is not valid.")


def window(params: Params) -> tuple[int, int]:
    """Time and receive window (ms) that the request states."""
    if "timestamp" not in params:
        raise missing("timestamp")
    recv_window = params.integer("recvWindow", RECV_WINDOW_MS)
    if recv_window > RECV_WINDOW_MOST_MS:
        raise VenueError(-1131, "recvWindow must be less than 60000")
    return params.integer("timestamp", 0), recv_window


def check_time(params: Params, now: int) -> None:
    """Whether the request is of now, by the venue's clock.

    Raises:
        VenueError: -1021 it is ahead of the clock or older than its window.
    """
    stated, recv_window = window(params)
    if stated > now + AHEAD_MS:
        raise VenueError(-1021, f"Timestamp for this request was {AHEAD_MS}ms ahead of the server's time.")
    if now - stated > recv_window:
        raise VenueError(-1021, "Timestamp for this request is outside of the recvWindow.")


def check_engine_time(params: Params, now: int) -> None:
    """The same, asked again where the order meets the engine: what came late is not executed.

    Raises:
        VenueError: -5028 the window has passed.
    """
    stated, recv_window = window(params)
    if now - stated > recv_window:
        raise VenueError(-5028, "Timestamp for this request is outside of the ME recvWindow.")
