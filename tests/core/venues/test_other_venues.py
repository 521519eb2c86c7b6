"""Bybit and OKX as their manuals and ccxt's own readers have them: no proof of the venues, which nobody has asked.

Answers are given below ccxt, where it would ask the network, so that its addresses, parameters and readers are its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from core.data.exchange.rest import VenueRest, settlements
from core.types import Timeframe
from core.venues.client import make_client
from tests.core.data.exchange import bybit, okx
from tests.core.data.exchange.kit import BTC

H1, D1 = Timeframe.H1, Timeframe.D1
START = 1_767_571_200_000
Asked = tuple[str, dict[str, str]]


def ask(venue: str, answers: Mapping[str, Callable[[dict[str, str]], Any]], story: Callable[[Any], Awaitable[Any]]) -> Any:
    """What ``story`` gives with a loaded client of ``venue`` that is answered so; and what it asked."""
    asked: list[Asked] = []

    async def scenario() -> Any:
        client = make_client(venue)

        async def fetch(url: str, *_rest: Any) -> Any:
            parts = urlsplit(url)
            query = dict(parse_qsl(parts.query))
            asked.append((parts.path, query))
            return answers[parts.path](query)

        client.fetch = fetch
        await client.load_markets()
        asked.clear()
        try:
            return await story(client)
        finally:
            await client.close()

    return asyncio.run(scenario()), asked


def of_bybit(more: Mapping[str, Callable[[dict[str, str]], Any]]) -> dict[str, Callable[[dict[str, str]], Any]]:
    def listed(query: dict[str, str]) -> Any:
        found = [] if "status" in query else [bybit._market(BTC)]
        return {"retCode": 0, "result": {"category": "linear", "list": found, "nextPageCursor": ""}}

    return {"/v5/market/instruments-info": listed, **more}


def of_okx(more: Mapping[str, Callable[[dict[str, str]], Any]]) -> dict[str, Callable[[dict[str, str]], Any]]:
    return {"/api/v5/public/instruments": lambda _: {"code": "0", "data": [okx.market(BTC)]}, **more}


SETTLED = [START + hours * H1.ms for hours in [*range(0, 4_000, 8), *range(4_000, 4_600), 6_000]]
"""Each eight hours, then each hour; and, after a long silence, once more."""


def bybit_funding(query: dict[str, str]) -> Any:
    """Bybit's manual: at most 200, of the time between two ends those nearest to the later one, newest first."""
    begin, end, limit = (int(query[name]) for name in ("startTime", "endTime", "limit"))
    assert limit <= 200
    found = [ts for ts in SETTLED if begin <= ts <= end][-limit:]
    rows = [{"symbol": "BTCUSDT", "fundingRate": str(ts % 97 / 1e6), "fundingRateTimestamp": str(ts + 3)} for ts in found[::-1]]
    return {"retCode": 0, "result": {"category": "linear", "list": rows}}


def okx_funding(query: dict[str, str]) -> Any:
    """OKX's manual: later than ``before``, earlier than ``after``, at most 100, the newest first."""
    begin, end, limit = (int(query[name]) for name in ("before", "after", "limit"))
    assert limit <= 100
    found = [ts for ts in SETTLED if begin < ts < end][-limit:]
    rows = [
        {"instId": "BTC-USDT-SWAP", "fundingRate": "0.9", "realizedRate": str(ts % 97 / 1e6), "fundingTime": str(ts)}
        for ts in found
    ]
    return {"code": "0", "data": rows[::-1]}


@pytest.mark.parametrize(
    ("venue", "answers"),
    [
        ("bybit", of_bybit({"/v5/market/funding/history": bybit_funding})),
        ("okx", of_okx({"/api/v5/public/funding-rate-history": okx_funding})),
    ],
)
def test_a_venue_that_fills_its_pages_from_the_end_leaves_no_settlement_out(venue: str, answers: Any) -> None:
    async def story(client: Any) -> Any:
        rest = VenueRest(client, lambda: 9e12, 15_000)
        return await settlements(rest, BTC, START - 300 * H1.ms, START + 6_100 * H1.ms)

    (times, rates), asked = ask(venue, answers, story)
    assert times.tolist() == SETTLED
    assert rates.tolist() == [float(str(ts % 97 / 1e6)) for ts in SETTLED]
    assert len(asked) < 100


def test_candles_of_bybit_are_in_coins_oldest_first_and_without_the_forming_one() -> None:
    def kline(query: dict[str, str]) -> Any:
        assert (query["category"], query["symbol"], query["interval"]) == ("linear", "BTCUSDT", "60")
        begin = int(query["start"])
        rows = [[str(begin + k * H1.ms), "100", "110", "90", "105", str(7 + k), "735"] for k in range(3)]
        return {"retCode": 0, "result": {"category": "linear", "symbol": "BTCUSDT", "list": rows[::-1]}}

    async def story(client: Any) -> Any:
        return await VenueRest(client, lambda: START + 2.5 * H1.ms, 15_000).candles(BTC, H1, START)

    bars, _ = ask("bybit", of_bybit({"/v5/market/kline": kline}), story)
    assert bars.ts.tolist() == [START, START + H1.ms]
    assert [column.tolist() for column in bars[1:]] == [[100.0] * 2, [110.0] * 2, [90.0] * 2, [105.0] * 2, [7.0, 8.0]]


@pytest.mark.parametrize(("tf", "bar"), [(H1, "1H"), (Timeframe.H4, "4H"), (D1, "1Dutc")])
def test_candles_of_okx_are_in_coins_not_contracts_and_days_begin_at_midnight_utc(tf: Timeframe, bar: str) -> None:
    def candles(query: dict[str, str]) -> Any:
        assert (query["instId"], query["bar"], query["limit"]) == ("BTC-USDT-SWAP", bar, "300")
        assert (int(query["before"]), int(query["after"])) == (START - 1, START + 300 * tf.ms)
        rows = [[str(START + k * tf.ms), "100", "110", "90", "105", "700", "7", "735", str(int(k < 2))] for k in range(3)]
        return {"code": "0", "data": rows[::-1]}

    async def story(client: Any) -> Any:
        return await VenueRest(client, lambda: START + 2.5 * tf.ms, 15_000).candles(BTC, tf, START)

    paths = {"/api/v5/market/candles": candles, "/api/v5/market/history-candles": candles}
    bars, _ = ask("okx", of_okx(paths), story)
    assert bars.ts.tolist() == [START, START + tf.ms]
    assert bars.volume.tolist() == [7.0, 7.0]


def test_marks_of_okx_come_by_a_hundred() -> None:
    def marks(query: dict[str, str]) -> Any:
        assert query["limit"] == "100"
        return {"code": "0", "data": [[str(START), "100", "110", "90", "105", "1"]]}

    async def story(client: Any) -> Any:
        rest = VenueRest(client, lambda: 9e12, 15_000)
        assert rest.page.marks == 100
        return await rest.marks(BTC, H1, START)

    paths = {"/api/v5/market/mark-price-candles": marks, "/api/v5/market/history-mark-price-candles": marks}
    bars, _ = ask("okx", of_okx(paths), story)
    assert (bars.ts.tolist(), bars.close.tolist(), bars.volume.tolist()) == ([START], [105.0], [0.0])


@pytest.mark.parametrize(
    ("venue", "answer"),
    [
        ("bybit", {"retCode": 0, "result": {"timeSecond": "1767571200", "timeNano": "1767571200123456789"}}),
        ("okx", {"code": "0", "data": [{"ts": "1767571200123"}]}),
    ],
)
def test_the_time_is_read_in_ms(venue: str, answer: Any) -> None:
    client = make_client(venue)
    assert client.quirks.server_time(answer) == START + 123
    assert client.quirks.time_url(client).startswith("https://")
