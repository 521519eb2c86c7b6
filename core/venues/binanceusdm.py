"""Binance USD-M: what its ccxt client needs, and where its ccxt client must be helped.

Proven: every call of :mod:`core.venues.binance_account` and the streams, with the unmodified client against the local
exchange. Not run here: the real venue.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.venues.binance_market import PAGES, funding_rows, market_word, spot_id, spot_line, spot_rows, stream_lines

__all__ = [
    "CLIENT_OPTIONS",
    "PAGES",
    "ends_stream",
    "forget_stream_key",
    "funding_rows",
    "market_word",
    "redirect",
    "server_time",
    "set_offset",
    "spot_id",
    "spot_line",
    "spot_rows",
    "stream_lines",
    "time_url",
]

CLIENT_OPTIONS: Mapping[str, Any] = {
    "options": {
        "fetchCurrencies": False,  # else load_markets asks the spot host, with the keys
        "fetchOpenOrders": {"warnWithoutSymbol": False},
        "timeDifference": 0,
        "watchOrderBookLimit": 100,  # 1000 would cost a second of budget a symbol
        # else it asks for positions beside the account's stream, and nobody hears it where that fails
        "watchPositions": {"fetchPositionsSnapshot": False},
    },
}

URGENT = frozenset({"order", "algoOrder", "time"})
"""Requests that do not wait for others: orders, cancels, look-ups of single orders, and the time without which none is taken."""
OF_STREAM = frozenset({"listenKey"})
"""Requests that hold the account's stream."""


def redirect(client: Any, address: str) -> None:
    """Lead every futures address to ``http://host:port``, with production's table of errors.

    ccxt chooses that table by the address; without it most futures codes would become a bare ``ExchangeError``.
    """
    api = client.urls["api"]
    for name in [name for name in api if name.startswith("fapi")]:
        version = "v3" if name.endswith("V3") else "v2" if name.endswith("V2") else "v1"
        api[name] = f"{address}/futures/data" if name == "fapiData" else f"{address}/fapi/{version}"
    api["sapi"] = f"{address}/sapi/v1"
    api["public"] = f"{address}/api/v3"
    # must end exactly so, or ccxt does not put the category of a futures stream into it
    api["ws"]["linear"] = api["ws"]["spot"] = f"{address.replace('http', 'ws', 1)}/ws"
    client.exceptions["exact"].update(client.exceptions["linear"]["exact"])


def ends_stream(client: Any, stream: Any, message: Any) -> bool:
    """Whether ``message`` says that the stream's listen key is over: ccxt ignores that, and would wait for ever."""
    if not isinstance(message, dict) or message.get("e") != "listenKeyExpired":
        return False
    import ccxt

    forget_stream_key(client)
    stream.on_error(ccxt.NetworkError("listenKeyExpired"))
    return True


def forget_stream_key(client: Any) -> None:
    """Let the account's stream be dialled with a key that is asked for anew: the venue may not know the old one any more."""
    client.options["linear"] = {**client.options.get("linear", {}), "listenKey": None, "lastAuthenticatedTime": 0}


def time_url(client: Any) -> str:
    """Where the venue tells its time."""
    return f"{client.urls['api']['fapiPublic']}/time"


def server_time(answer: Any) -> int:
    """The venue's time (ms) in what :func:`time_url` answers."""
    return int(answer["serverTime"])


def set_offset(client: Any, offset_ms: int) -> None:
    """Sign with the venue's time: ``offset_ms`` is venue minus local."""
    client.options["timeDifference"] = -offset_ms
