"""Bybit linear perpetuals, for market data only.

Run with ccxt's client against answers made up after manual and ccxt, never against the venue: what of it is proven stands in
``docs/data.md``. There is no order path: nothing may be traded with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.errors import BrainError
from core.venues.market_words import MarketWord, Pages, StreamLine

CLIENT_OPTIONS: Mapping[str, Any] = {
    "options": {
        "defaultType": "swap",
        "defaultSubType": "linear",
        "fetchCurrencies": False,
        "fetchMarkets": {"types": ["linear"]},
    }
}

URGENT = OF_STREAM = frozenset[str]()
"""Requests that do not wait for others, and those that hold the account's stream: nothing is traded here."""

PAGES = Pages(candles=1_000, marks=1_000, funding=200)
_HOUR_MS = 3_600_000
"""Settlements are at least so far apart."""


def redirect(client: Any, address: str) -> None:
    """There is no local exchange that speaks Bybit.

    Raises:
        BrainError: always.
    """
    raise BrainError(f"{client.id} was to be led to {address}; the local exchange speaks Binance", help="EXCHANGE=binance")


def ends_stream(client: Any, stream: Any, message: Any) -> bool:  # noqa: ARG001 - one shape for all venues
    """Nothing on a public stream ends it but its closing."""
    return False


def time_url(client: Any) -> str:
    """Where the venue tells its time."""
    return f"{client.implode_hostname(client.urls['api']['public'])}/v5/market/time"


def server_time(answer: Any) -> int:
    """The venue's time (ms) in what :func:`time_url` answers."""
    return int(answer["result"]["timeNano"]) // 1_000_000


def set_offset(client: Any, offset_ms: int) -> None:
    """Nothing is signed: market data alone."""


def stream_lines(client: Any, timeframes: Mapping[str, str]) -> tuple[StreamLine, ...]:  # noqa: ARG001 - one shape for all venues
    """None: this venue is asked by REST alone."""
    return ()


def market_word(message: Any) -> MarketWord | None:  # noqa: ARG001 - one shape for all venues
    """Nothing: there are no streams."""
    return None


async def spot_rows(client: Any, symbol: str, tf: str, since: int | None, limit: int) -> list[list[float]]:  # noqa: ARG001
    """None: the basis is that of the first venue alone."""
    return []


async def funding_rows(client: Any, symbol: str, since: int | None, limit: int) -> list[dict[str, Any]]:
    """Settlements as ccxt tells them, from ``since`` on, of no longer time than surely fits into one answer.

    The venue fills an answer from its end: of a longer time the oldest ones would be left out without a word.
    """
    params = {} if since is None else {"until": since + limit * _HOUR_MS - 1}
    told: list[dict[str, Any]] = await client.fetch_funding_rate_history(symbol, since, limit, params)
    return told
