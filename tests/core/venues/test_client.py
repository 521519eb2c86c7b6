"""The client is the library's own, with only what must be heard of it put before it."""

import asyncio
import ssl

import ccxt
import pytest

from core.errors import BrainError
from core.sim.server.options import API_KEY, API_SECRET, Limits
from core.sim.server.redirect import LoopbackResolver
from core.venues.budget import Budget
from core.venues.client import FLIGHT, VENUES, Flight, Wiring, make_client
from core.venues.errors import LeftAlone
from core.venues.keys import Keys
from core.venues.timing import measure_offset
from tests.core.sim.server.kit import BTC_SWAP, serving, told, until

KEYS = Keys(API_KEY, API_SECRET)


def test_a_venue_without_a_module_is_refused():
    with pytest.raises(BrainError, match="exchange was 'nowhere', expected one of binanceusdm, bybit, okx"):
        make_client("nowhere")


@pytest.mark.parametrize("venue", VENUES)
async def test_every_venue_makes_a_client_that_never_sends_twice(venue):
    client = make_client(venue, KEYS)
    assert (client.id, client.apiKey, client.secret) == (venue, API_KEY, API_SECRET)
    assert client.options["maxRetriesOnFailure"] == 0
    assert client.options["recvWindow"] == 3_000
    assert not client.enableRateLimit
    assert client.quirks.time_url(client).startswith("https://")
    client.quirks.set_offset(client, 5)
    assert not client.quirks.ends_stream(client, None, ["a list"])
    await client.close()


@pytest.mark.parametrize(
    ("venue", "answer"),
    [
        ("binanceusdm", {"serverTime": 1_700_000_000_123}),
        ("bybit", {"result": {"timeSecond": "1700000000", "timeNano": "1700000000123456789"}}),
        ("okx", {"data": [{"ts": "1700000000123"}]}),
    ],
)
def test_every_venue_tells_its_time_in_its_own_form(venue, answer):
    assert make_client(venue).quirks.server_time(answer) == 1_700_000_000_123


@pytest.mark.parametrize("venue", ["bybit", "okx"])
def test_there_is_no_local_exchange_for_the_others(venue):
    with pytest.raises(BrainError, match="the local exchange speaks Binance"):
        make_client(venue, None, Wiring(plain="http://127.0.0.1:1"))


async def test_over_tls_no_address_is_touched_and_only_the_trusted_certificate_is_taken(tmp_path):
    async with serving(tmp_path) as world:
        heard, links = [], []
        wiring = Wiring(
            on_raw=lambda message, url: heard.append((message["e"], url.partition("?")[0])),
            on_link=lambda url, stands: links.append(("/private/" in url, stands)),
            resolver=LoopbackResolver(world.port),
            cafile=str(world.cert.cert),
        )
        client = make_client("binanceusdm", KEYS, wiring)
        assert client.urls["api"]["fapiPrivate"] == "https://fapi.binance.com/fapi/v1"
        await client.load_markets()
        watching = asyncio.create_task(client.watch_orders())
        await until(lambda: (True, True) in links)
        order = await client.create_order(BTC_SWAP, "market", "buy", 0.01, params={"clientOrderId": "mine"})
        assert order["clientOrderId"] == "mine"
        await watching
        assert ("ORDER_TRADE_UPDATE", "wss://fstream.binance.com/private/ws") in heard
        assert client.wiring.budget.used_by_venue > 0
        await client.close()
        with pytest.raises(ccxt.ExchangeClosedByUser):
            client.open(lazy=True)
        stranger = make_client("binanceusdm", KEYS, Wiring(resolver=LoopbackResolver(world.port)))
        with pytest.raises(ccxt.ExchangeNotAvailable) as refused:
            await stranger.fetch_time()
        assert isinstance(refused.value.__cause__.__cause__, ssl.SSLError)
        await stranger.close()


async def test_plain_addresses_lead_to_the_local_exchange_with_production_errors(tmp_path):
    async with serving(tmp_path, tls=False) as world:
        client = make_client("binanceusdm", KEYS, Wiring(plain=world.rest))
        await client.load_markets()
        with pytest.raises(ccxt.OrderImmediatelyFillable) as refused:
            await client.create_order(BTC_SWAP, "market", "sell", 0.01, params={"triggerPrice": "51000", "reduceOnly": False})
        assert refused.value.venue_code == -2021
        assert refused.value.http_status == 400
        await client.close()


async def test_whether_a_request_left_is_known(tmp_path):
    async with serving(tmp_path, tls=False) as world:
        client = make_client("binanceusdm", KEYS, Wiring(plain=world.rest))
        await client.load_markets()
        flight = Flight()
        token = FLIGHT.set(flight)
        with pytest.raises(ccxt.InvalidOrder):
            await client.create_order(BTC_SWAP, "limit", "buy", 0.01, None)
        assert flight.left_at is None
        await client.fetch_time()
        assert flight.left_at is not None
        FLIGHT.reset(token)
        await client.close()


@pytest.mark.parametrize("weight", [3, 200])
async def test_the_venues_wish_to_be_left_alone_is_kept(tmp_path, weight):
    async with serving(tmp_path, told(limits=Limits(weight_per_minute=weight)), tls=False) as world:
        client = make_client("binanceusdm", KEYS, Wiring(plain=world.rest))
        if weight == 200:
            await client.fetch_time()
            assert client.wiring.budget.closed_s == 0.0
        else:
            with pytest.raises(ccxt.DDoSProtection) as refused:
                await asyncio.gather(*(client.fetch_time() for _ in range(10)))
            assert 0.0 < refused.value.retry_after_s == pytest.approx(client.wiring.budget.closed_s, abs=0.1)
        await client.close()


async def test_only_orders_and_what_they_need_use_what_is_kept_back_and_only_a_stream_waits_for_hours():
    """Whatever was no question counted as an order, and passed while the venue wanted to be left alone."""
    asked = []

    class Spy(Budget):
        async def take(self, cost, *, urgent, patient=True):
            asked.append((urgent, patient))
            raise LeftAlone(1.0)

    client = make_client("binanceusdm", KEYS, Wiring(budget=Spy(), patient=False))
    for ask in (
        client.fapiPrivatePostOrder,
        client.fapiPrivateDeleteAlgoOrder,
        client.fapiPrivatePostLeverage,
        client.fapiPrivateGetIncome,
        client.fapiPrivatePostListenKey,
        client.fapiPrivatePutListenKey,
    ):
        with pytest.raises(LeftAlone):
            await ask()
    assert asked == [(True, False)] * 2 + [(False, False)] * 2 + [(False, True)] * 2
    await client.close()


async def test_the_count_of_our_address_is_read_and_the_spot_hosts_is_another():
    client = make_client("binanceusdm")
    for url, used in (("https://fapi.binance.com/fapi/v1/time", "1200"), ("https://api.binance.com/api/v3/klines", "5")):
        client.on_rest_response(200, "OK", url, "GET", {"X-MBX-USED-WEIGHT-1M": used}, "{}", {}, None)
    assert client.wiring.budget.used_by_venue == 1_200
    await client.close()


@pytest.mark.parametrize(("headers", "seconds"), [({"Retry-After": "7"}, 7.0), ({}, 30.0), ({"retry-after": "soon"}, 30.0)])
async def test_without_a_word_about_how_long_half_a_minute_is_waited(headers, seconds):
    client = make_client("binanceusdm")
    client.on_rest_response(429, "Too Many", "u", "GET", headers, " {} ", {}, None)
    assert client.wiring.budget.closed_s == pytest.approx(seconds, abs=0.1)
    await client.close()


async def test_errors_keep_the_number_whatever_its_form():
    client = make_client("binanceusdm")
    url = "https://fapi.binance.com/fapi/v1/order"
    for answer, code in (({"code": "-5", "msg": "m"}, -5), ({"code": "none", "msg": "m"}, None)):
        with pytest.raises((ccxt.BaseError, ValueError)) as refused:
            client.handle_errors(400, "Bad", url, "GET", {}, "{}", answer, {}, None)
        assert refused.value.venue_code == code
    with pytest.raises(ccxt.BaseError) as refused:
        client.handle_errors(418, "Teapot", url, "GET", {}, "<html>", None, {}, None)
    assert refused.value.venue_code is None
    await client.close()


async def test_a_listen_key_that_is_over_breaks_the_stream_so_that_it_is_dialled_anew():
    client = make_client("binanceusdm", KEYS)
    client.options["linear"] = {"listenKey": "old", "lastAuthenticatedTime": 5}
    broken = []

    class Stream:
        url = "wss://x/private/ws"

        def on_error(self, error):
            broken.append(error)

    client.handle_message(Stream(), {"e": "listenKeyExpired", "E": 1})
    assert isinstance(broken[0], ccxt.NetworkError)
    assert client.options["linear"] == {"listenKey": None, "lastAuthenticatedTime": 0}
    await client.close()


async def test_the_clock_is_measured_by_the_quickest_answer(tmp_path):
    async with serving(tmp_path, tls=False) as world:
        client = make_client("binanceusdm", None, Wiring(plain=world.rest))

        class Late:
            def now_ms(self):
                return world.clock.now_ms() - 500

        offset = await measure_offset(client, Late(), tries=5)
        assert offset.offset_ms == pytest.approx(500, abs=50)
        assert 0 < offset.round_trip_ms < 100
        client.quirks.set_offset(client, 500)
        assert client.nonce() == pytest.approx(client.milliseconds() + 500, abs=5)
        await client.close()
