"""Market streams: the client library receives them, and what nobody wants is not computed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import ccxt
import pytest
from msgspec import structs

from core.sim.local.values import FundingTick, OrderSide
from core.sim.server.faults import Fault, FaultKind
from core.sim.server.market import MarketView
from core.sim.server.options import Latencies, Span
from core.sim.server.stream_names import Category, parse_stream
from core.types import Timeframe
from tests.core.sim.server.kit import BTC, BTC_SWAP, ETH_SWAP, D, World, raises, serving, told, until

M5 = Timeframe.M5.ms


async def receive(socket: Any, event: str) -> dict[str, Any]:
    """The next event of a kind."""
    async with asyncio.timeout(3):
        while True:
            message = await socket.receive_json()
            if message.get("e") == event:
                return dict(message)


async def subscribe(socket: Any, *names: str, number: int = 1) -> None:
    """Subscribe and wait for the acknowledgement."""
    await socket.send_json({"method": "SUBSCRIBE", "params": list(names), "id": number})
    assert await socket.receive_json() == {"result": None, "id": number}


async def watching(world: World, watch: Any, *ticks: Any) -> Any:
    """What a watch answers when the ticks come once it is subscribed."""
    before = world.subscriptions
    task = asyncio.create_task(watch)
    await until(lambda: world.subscriptions > before)
    await world.play(*ticks)
    return await asyncio.wait_for(task, 3)


async def test_candles_arrive_and_say_when_they_are_final(world: World, venue: Any) -> None:
    """B1, B4: the library drops the word, the raw message has it (exchange.md 4)."""
    raw: list[Any] = []
    handle = venue.handle_message
    venue.handle_message = lambda client, message: (raw.append(message), handle(client, message))[1]
    open_ts = world.now() // M5 * M5
    rows = await watching(world, venue.watch_ohlcv(BTC_SWAP, "5m"), world.candle(open_ts))
    assert rows[-1] == [open_ts, 50_000.0, 50_100.0, 49_900.0, 50_050.0, 12.5]
    (kline,) = [message["k"] for message in raw if message.get("e") == "kline"]
    assert kline["x"] is True
    assert kline["T"] == open_ts + M5 - 1


async def test_the_book_is_synchronised_from_snapshot_and_differences(world: World, venue: Any) -> None:
    venue.options["watchOrderBookLimit"] = 100
    first = await venue.watch_order_book(BTC_SWAP)
    assert first["bids"] == [[49_999.9, 5.0], [49_998.9, 9.0]]
    for size in ("6", "7"):
        await world.play(world.book(size=size))
        later = await asyncio.wait_for(venue.watch_order_book(BTC_SWAP), 3)
        assert later["bids"] == [[49_999.9, float(size)], [49_998.9, 9.0]]
    await world.play(world.book(bid="49990.0", size="8"))
    later = await asyncio.wait_for(venue.watch_order_book(BTC_SWAP), 3)
    assert later["bids"] == [[49_990.0, 8.0], [49_989.0, 9.0]]


async def test_a_gap_in_the_book_is_noticed(world: World, venue: Any) -> None:
    """Data that does not chain is not shown: the library answers with ChecksumError and synchronises anew."""
    await venue.watch_order_book(BTC_SWAP)
    world.server.inject(Fault(FaultKind.DEPTH_GAP, stream="btcusdt@depth@100ms"))
    await world.play(world.book(size="6"))
    await asyncio.sleep(0.15)
    assert world.server.faults_waiting == ()
    error = asyncio.create_task(raises(venue.watch_order_book(BTC_SWAP)))
    await asyncio.sleep(0.01)
    await world.play(world.book(size="7"))
    assert type(await asyncio.wait_for(error, 3)) is ccxt.ChecksumError
    again = asyncio.create_task(venue.watch_order_book(BTC_SWAP))
    await asyncio.sleep(0.05)
    await world.play(world.book(size="8"))
    book = await asyncio.wait_for(again, 3)
    while book["bids"][0] != [49_999.9, 8.0]:
        book = await asyncio.wait_for(venue.watch_order_book(BTC_SWAP), 3)


async def test_quotes_trades_marks_and_tickers_arrive(world: World, venue: Any) -> None:
    best = await watching(world, venue.watch_bids_asks([BTC_SWAP]), world.book(bid="49995.0"))
    assert best[BTC_SWAP]["bid"] == 49_995.0
    trades = await watching(world, venue.watch_trades(BTC_SWAP), world.trade("50001"))
    assert trades[-1]["price"] == 50_001.0
    mark = await watching(world, venue.watch_mark_price(BTC_SWAP, {"use1sFreq": True}), world.mark("50002"))
    assert mark["markPrice"] == 50_002.0


async def test_the_day_is_told_once_a_second(world: World, venue: Any) -> None:
    ticker = await watching(world, venue.watch_ticker(BTC_SWAP, {"name": "ticker"}), world.mark("50002"))
    assert ticker["last"] == 50_000.0


async def test_a_book_event_chains_to_the_one_before(plain: World) -> None:
    """``pu`` is the former ``u``, and the snapshot lies in the first event: the venue's how-to holds (exchange.md 4)."""
    async with plain.socket("/public/ws") as socket:
        await subscribe(socket, "btcusdt@depth@100ms")
        snapshot = (await plain.ask("GET", "/fapi/v1/depth", signed=False, symbol=BTC, limit=100)).told["lastUpdateId"]
        await plain.play(plain.book(size="6"))
        first = await receive(socket, "depthUpdate")
        assert first["U"] <= snapshot <= first["u"]
        await plain.play(plain.book(size="7"), plain.book(size="7.5"))
        second = await receive(socket, "depthUpdate")
        assert second["pu"] == first["u"] < second["U"]
        assert second["b"] == [["49999.9", "7.5"]]


async def test_a_level_that_is_gone_has_no_size(plain: World) -> None:
    async with plain.socket("/public/ws") as socket:
        await subscribe(socket, "btcusdt@depth@100ms")
        await plain.play(plain.book(bid="49999.8"))
        event = await receive(socket, "depthUpdate")
        assert event["b"] == [["49999.8", "5"], ["49998.8", "9"], ["49999.9", "0"], ["49998.9", "0"]]
        assert event["a"] == []


async def test_partial_books_come_whole(plain: World) -> None:
    async with plain.socket("/public/ws") as socket:
        await subscribe(socket, "btcusdt@depth5@100ms")
        await plain.play(plain.book(size="6"))
        event = await receive(socket, "depthUpdate")
        assert event["a"] == [["50000.1", "6"], ["50001.1", "9"]]


async def test_a_book_that_stands_still_is_not_told(plain: World) -> None:
    async with plain.socket("/public/ws") as socket:
        await subscribe(socket, "btcusdt@depth@100ms", "btcusdt@bookTicker")
        same = plain.book(size="5")
        await plain.play(same)
        first = await receive(socket, "depthUpdate")
        assert (first["b"], first["a"]) == ([], [])
        await plain.play(same)
        await asyncio.sleep(0.11)
        await plain.play(plain.book(size="6"))
        assert (await receive(socket, "bookTicker"))["B"] == "6"
        assert (await receive(socket, "depthUpdate"))["b"] == [["49999.9", "6"]]


async def test_raw_trades_and_marks_have_the_periods_of_their_streams(plain: World) -> None:
    async with plain.socket("/market/ws/btcusdt@markPrice/btcusdt@markPrice@1s/nonsense") as socket:
        mark = plain.mark("50001")
        await plain.play(mark, mark)
        assert (await receive(socket, "markPriceUpdate"))["p"] == "50001"
        await plain.ask("GET", "/fapi/v1/time", signed=False)
        await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 3})
        message = await socket.receive_json()
        told_marks = 1
        while "result" not in message:
            told_marks += 1
            message = await socket.receive_json()
        assert told_marks == 2
        assert message == {"result": ["btcusdt@markPrice", "btcusdt@markPrice@1s"], "id": 3}


async def test_a_combined_stream_names_what_it_carries(plain: World) -> None:
    async with plain.socket("/public/stream?streams=btcusdt@trade/ethusdt@trade/btcusdt@kline_5m") as socket:
        await plain.play(plain.trade("50001"))
        message = await asyncio.wait_for(socket.receive_json(), 3)
        assert message["stream"] == "btcusdt@trade"
        assert (message["data"]["p"], message["data"]["m"], message["data"]["s"]) == ("50001", False, BTC)


async def test_aggregated_trades_tell_the_aggressor(plain: World) -> None:
    async with plain.socket("/market/ws/btcusdt@aggTrade") as socket:
        tick = plain.trade("49999")
        await plain.play(structs.replace(tick, taker=OrderSide.SELL))
        event = await receive(socket, "aggTrade")
        assert (event["p"], event["m"]) == ("49999", True)


async def test_final_candles_can_be_late_or_missing(plain: World) -> None:
    """B5: the venue itself leaves out final candles now and then (exchange.md 4)."""
    name, open_ts = "btcusdt@kline_5m", plain.now() // M5 * M5
    async with plain.socket(f"/market/ws/{name}") as socket:
        plain.server.inject(Fault(FaultKind.MISSING_FINAL, stream=name))
        plain.server.inject(Fault(FaultKind.LATE_FINAL, stream=name, delay_ms=80))
        hour, funding = plain.candle(0, tf=Timeframe.H1), FundingTick(BTC, plain.now(), D(0), D(50_000))
        finals = plain.candle(open_ts), plain.candle(open_ts + M5)
        await plain.play(*finals, plain.candle(open_ts + 2 * M5, final=False), hour, funding)
        first, second = await receive(socket, "kline"), await receive(socket, "kline")
        assert [(event["k"]["t"], event["k"]["x"]) for event in (first, second)] == [
            (open_ts + 2 * M5, False),
            (open_ts + M5, True),
        ]


async def test_a_liquidation_is_told_to_all(tmp_path: Path) -> None:
    """The account is liquidated, and the tape of liquidations shows it."""
    async with serving(tmp_path, tls=False, wallet="30") as world:
        await world.ask("POST", "/fapi/v1/leverage", symbol=BTC, leverage=50)
        order = {"symbol": BTC, "side": "BUY", "type": "MARKET", "quantity": "0.02"}
        assert (await world.ask("POST", "/fapi/v1/order", **order)).status == 200
        async with world.socket("/market/ws/btcusdt@forceOrder") as socket:
            await world.play(world.trade("48000"), world.mark("48000"))
            event = await receive(socket, "forceOrder")
        assert (event["o"]["S"], event["o"]["X"], event["o"]["z"]) == ("SELL", "FILLED", "0.02")


async def test_a_liquidation_nobody_watches_is_told_to_nobody(tmp_path: Path) -> None:
    async with serving(tmp_path, tls=False, wallet="30") as world:
        await world.ask("POST", "/fapi/v1/leverage", symbol=BTC, leverage=50)
        await world.ask("POST", "/fapi/v1/order", symbol=BTC, side="BUY", type="MARKET", quantity="0.02")
        await world.play(world.trade("48000"), world.mark("48000"))
        assert world.exchange.position_sign(BTC) == 0


async def test_what_is_unsubscribed_comes_no_more(plain: World) -> None:
    async with plain.socket("/public/ws") as socket:
        await subscribe(socket, "btcusdt@trade", "btcusdt@depth@100ms", "btcusdt@trade")
        await plain.play(plain.book(size="6"))
        names = ["btcusdt@depth@100ms", "btcusdt@trade", "never@subscribed"]
        await socket.send_json({"method": "UNSUBSCRIBE", "params": names, "id": 2})
        assert await socket.receive_json() == {"result": None, "id": 2}
        await plain.play(plain.trade("50001"), plain.book(size="7"))
        await asyncio.sleep(0.12)
        await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 4})
        assert await socket.receive_json() == {"result": [], "id": 4}


async def test_two_sockets_share_a_stream_and_part_from_it_alone(plain: World) -> None:
    async with plain.socket("/public/ws/btcusdt@trade") as first:
        async with plain.socket("/public/ws/btcusdt@trade") as second:
            await plain.play(plain.trade("50001"))
            assert (await receive(first, "trade")) == (await receive(second, "trade"))
        await plain.play(plain.trade("50002"))
        assert (await receive(first, "trade"))["p"] == "50002"


async def test_two_symbols_of_one_kind_are_kept_apart(world: World, venue: Any) -> None:
    await venue.watch_order_book_for_symbols([BTC_SWAP, ETH_SWAP])
    await world.play(world.book(symbol="ETHUSDT", bid="3000.0", ask="3000.1"))
    seen = await asyncio.wait_for(venue.watch_order_book_for_symbols([BTC_SWAP, ETH_SWAP]), 3)
    while seen["symbol"] != ETH_SWAP or seen["bids"][0][0] != 3_000.0:
        seen = await asyncio.wait_for(venue.watch_order_book_for_symbols([BTC_SWAP, ETH_SWAP]), 3)
    assert seen["asks"][0] == [3_000.1, 5.0]


async def test_an_empty_side_is_told_as_zeros(plain: World) -> None:
    async with plain.socket("/public/ws/btcusdt@bookTicker") as socket:
        await plain.play(structs.replace(plain.book(), bids=(), asks=()))
        event = await receive(socket, "bookTicker")
        assert (event["b"], event["A"]) == ("0", "0")
    reply = await plain.ask("GET", "/fapi/v1/ticker/bookTicker", signed=False, symbol=BTC)
    assert reply.told["bidPrice"] == "0"


async def test_market_data_takes_its_time(tmp_path: Path) -> None:
    slow = told(latencies=Latencies(market=Span(60, 80)))
    async with serving(tmp_path, slow, tls=False) as world, world.socket("/public/ws/btcusdt@trade") as socket:
        tick = world.trade("50001")
        await world.play(tick)
        await receive(socket, "trade")
        assert world.now() - tick.ts >= 60


def test_streams_live_where_the_venue_has_them() -> None:
    """exchange.md 1.2: three addresses since 2026."""
    where = {
        name: parse_stream(f"btcusdt@{name}") for name in ("depth", "bookTicker", "trade", "kline_1m", "markPrice@1s", "aggTrade")
    }
    assert {name: stream.category for name, stream in where.items() if stream} == {
        "depth": Category.PUBLIC,
        "bookTicker": Category.PUBLIC,
        "trade": Category.PUBLIC,
        "kline_1m": Category.MARKET,
        "markPrice@1s": Category.MARKET,
        "aggTrade": Category.MARKET,
    }


@pytest.mark.parametrize("name", ["btcusdt", "@trade", "btcusdt@depth7", "btcusdt@kline_3m", "!ticker@arr", "btcusdt@depth@1ms"])
def test_other_streams_do_not_exist(name: str) -> None:
    assert parse_stream(name) is None


def test_a_price_is_told_before_any_trade() -> None:
    view = MarketView([BTC])
    assert view.last(BTC) is None
    assert view.last_price(BTC) == D(0)
