"""The small parts: books, time, NTP, pauses, what is final, what a message says."""

from __future__ import annotations

import asyncio
from typing import Any

import ccxt
import numpy as np
import pytest

from core.clock import Clock
from core.data.exchange import ntp
from core.data.exchange import past as past_module
from core.data.exchange.clock import VenueClock
from core.data.exchange.depth import Books, book_of
from core.data.exchange.line import Line
from core.data.exchange.past import Past, intervals
from core.data.exchange.rest import VenueRest, pages
from core.data.exchange.retry import hopeless, patiently, pause_s
from core.errors import SourceError
from core.types import Timeframe
from core.venues import binance_market, bybit, okx
from core.venues.market_words import CandleSeen, Carries, DepthSeen, MarkSeen, StreamLine
from tests.support.simulation.world import World, run_world

H1 = Timeframe.H1


# --- books -------------------------------------------------------------------------------------------------


def test_depth_counts_what_stands_within_a_tenth_of_a_percent_on_the_thinner_side() -> None:
    book = book_of("X/Y:Y", 5, [(99.9, 50.0), (99.99, 1.0), (99.95, 2.0)], [(100.01, 3.0), (100.2, 9.0)])
    assert book is not None
    assert (book.bid, book.ask, book.ts, book.modelled) == (99.99, 100.01, 5, False)
    assert book.depth_usd == pytest.approx(3 * 100.01)  # 100.2 is too far off; the bids sum up to more


@pytest.mark.parametrize(
    "sides", [([], [(1.0, 1.0)]), ([(1.0, 1.0)], []), ([(2.0, 1.0)], [(1.0, 1.0)]), ([(0.0, 1.0)], [(1.0, 1.0)])]
)
def test_a_book_with_an_empty_side_or_crossed_is_none(sides: Any) -> None:
    assert book_of("X/Y:Y", 0, *sides) is None


def depth(first: int, last: int, previous: int, bid: float, qty: float) -> DepthSeen:
    return DepthSeen("XY", 0, first, last, previous, ((bid, qty),), ())


def book_story(*, snapshot_at: int, events: list[DepthSeen]) -> tuple[Any, int]:
    """The book after ``events``, and how often a snapshot was asked for."""
    asked = 0

    async def story() -> Any:
        async def snapshot(_symbol: str) -> dict[str, Any]:
            nonlocal asked
            asked += 1
            return {"nonce": snapshot_at, "bids": [[99.0, 1.0]], "asks": [[101.0, 1.0]]}

        books = Books({"XY": "X/Y:Y"}, snapshot, lambda: 0.0)
        for event in events:
            books.take(event)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        return books.book("X/Y:Y", 0)

    return asyncio.run(story()), asked


def test_differences_older_than_the_snapshot_are_passed_over_and_the_rest_is_chained() -> None:
    """The venue's recipe: the first one to apply spans the snapshot, each later one follows from the one before."""
    events = [depth(1, 5, 0, 98.5, 7.0), depth(6, 12, 5, 99.5, 2.0), depth(13, 14, 12, 99.6, 1.0), depth(15, 15, 14, 99.6, 0.0)]
    book, asked = book_story(snapshot_at=10, events=events)
    assert (book.bid, book.ask, asked) == (99.5, 101.0, 1)


def test_a_break_in_the_chain_means_a_new_snapshot() -> None:
    events = [depth(9, 12, 8, 99.5, 2.0), depth(20, 21, 19, 99.9, 1.0)]
    book, asked = book_story(snapshot_at=10, events=events)
    assert asked == 2
    assert book is None or book.bid == 99.0


@pytest.mark.parametrize(("old_ms", "fresh"), [(0, True), (1_999, True), (2_001, False), (60_000, False), (-60_000, False)])
def test_a_book_is_as_old_as_what_was_told_of_it_however_lately_that_came(old_ms: int, fresh: bool) -> None:
    """A stream that lags behind must not pass for the present: spread and depth are checked on it."""

    async def story() -> None:
        async def snapshot(_symbol: str) -> dict[str, Any]:
            return {"nonce": 10, "bids": [[99.0, 1.0]], "asks": [[101.0, 1.0]]}

        now = 1e12
        books = Books({"XY": "X/Y:Y"}, snapshot, lambda: now)
        books.take(depth(9, 12, 8, 99.5, 2.0)._replace(ts=int(now) - old_ms))
        assert not books.fresh("X/Y:Y", 2_000)  # there is no snapshot yet
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert books.book("X/Y:Y", 0) is not None
        assert (books.fresh("X/Y:Y", 2_000), books.told("X/Y:Y", 2_000)) == (fresh, fresh)
        present = books.present("X/Y:Y")
        assert present is not None
        assert now - present.ts == old_ms  # whoever asks between two bars judges its age himself
        assert books.present("Z/Y:Y") is None

    asyncio.run(story())


# --- time --------------------------------------------------------------------------------------------------


class _Answers:
    """A client whose venue is ``ahead_ms`` ahead; asking takes ``each_s`` there and back."""

    def __init__(self, clock: Clock, ahead_ms: int, legs_s: tuple[float, float] = (0.01, 0.01)) -> None:
        self.quirks = self
        self.clock, self.ahead_ms, self.legs_s = clock, ahead_ms, legs_s

    def time_url(self, _client: Any) -> str:
        return "time"

    def server_time(self, answer: int) -> int:
        return answer

    async def spend(self, _cost: float, _path: str) -> None:
        pass

    async def fetch(self, _url: str) -> int:
        await asyncio.sleep(self.legs_s[0])
        told = self.clock.now_ms() + self.ahead_ms
        await asyncio.sleep(self.legs_s[1])
        return told


@pytest.mark.parametrize(("legs_s", "off_ms"), [((0.01, 0.01), 0.0), ((0.0, 0.2), -100.0), ((0.2, 0.0), 100.0)])
def test_the_venue_clock_is_off_by_half_the_asymmetry_of_the_way_at_most(legs_s: tuple[float, float], off_ms: float) -> None:
    """X27: round-trip halving."""

    async def story(world: World) -> None:
        clock = VenueClock(world.clocks, step_ms=250, every_s=60.0, read_ntp=lambda: 3.5)
        assert clock.reading(7) == (7, None, 3.5)
        assert await clock.measure(_Answers(world.clocks, 1_500, legs_s))
        assert clock.now() - world.clocks.now_ms() == pytest.approx(1_500 + off_ms, abs=1.5)
        assert clock.reading(7).exchange_drift_ms == pytest.approx(-1_500 - off_ms, abs=1.5)
        await asyncio.sleep(3_700.0)
        assert clock.reading(7).exchange_drift_ms is None

    run_world(1, story)


def test_a_step_during_the_measurement_is_not_measured() -> None:
    async def story(world: World) -> None:
        clock = VenueClock(world.clocks, step_ms=250, every_s=60.0, read_ntp=lambda: None)
        world.at(0.05, world.jump_clock, "world", 5_000)
        assert await clock.measure(_Answers(world.clocks, 0))
        assert clock.now() == pytest.approx(world.clocks.now_ms(), abs=2)

    run_world(1, story)


def test_ntp_state_is_read_or_unknown() -> None:
    """X27: never a guess."""
    told = ntp.ntp_drift_ms()
    assert told is None or 0.0 <= told < 1e6
    assert ntp.drift_of(-2_000, 100, 0) == 2.0
    assert ntp.drift_of(-2_000_000, 3_000, 0x2000) == 3.0
    assert ntp.drift_of(0, 0, 0x40) is None


# --- sockets -----------------------------------------------------------------------------------------------


class _Sockets:
    """A client whose sockets each tell something at once and stand for ``stands_s``."""

    def __init__(self, stands_s: float) -> None:
        self.clients: dict[str, Any] = {}
        self.stands_s = stands_s
        self.line: Line | None = None

    def watch(self, *_how: Any) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        broken = loop.create_future()

        def hear() -> None:
            assert self.line is not None
            self.line.heard()
            loop.call_later(self.stands_s, broken.set_exception, ConnectionError("policy violation"))

        loop.call_soon(hear)
        return broken


@pytest.mark.parametrize(("stands_s", "most"), [(0.02, 45), (14.0, 25), (100.0, 3)])
def test_a_venue_that_talks_and_hangs_up_is_not_dialled_without_end(stands_s: float, most: int) -> None:
    """The venue allows 300 connections to an address in five minutes."""

    async def story(_world: World) -> None:
        sockets, downs = _Sockets(stands_s), list[str]()
        dial = StreamLine("wss://x", {"id": 1}, Carries.CANDLES)
        random = np.random.default_rng(0)
        line = sockets.line = Line(sockets, dial, silent_s=1e3, backoff_s=(0.2, 15.0), random=random, on_down=downs.append)
        holding = asyncio.create_task(line.run())
        await asyncio.sleep(300.0)
        holding.cancel()
        assert 3 <= line.dials <= most
        assert len(downs) >= line.dials - 1

    run_world(1, story)


# --- trying again ------------------------------------------------------------------------------------------


def test_pauses_grow_to_a_limit_with_seeded_jitter() -> None:
    first = [pause_s(fails, (0.5, 8.0), np.random.default_rng(3)) for fails in range(9)]
    assert all(0.5 * limit <= pause <= limit for pause, limit in zip(first, [0.5, 1, 2, 4, 8, 8, 8, 8, 8], strict=True))
    assert first == [pause_s(fails, (0.5, 8.0), np.random.default_rng(3)) for fails in range(9)]


def test_only_what_may_go_well_is_tried_again() -> None:
    assert not hopeless(ccxt.RequestTimeout("slow"))
    assert not hopeless(ccxt.DDoSProtection("429"))
    assert not hopeless(ccxt.ExchangeError("truncated"))
    assert hopeless(ccxt.BadSymbol("no such"))

    async def story(_world: World) -> None:
        tries: list[float] = []

        async def fails() -> None:
            tries.append(asyncio.get_running_loop().time())
            raise ccxt.RequestTimeout("slow")

        with pytest.raises(ccxt.RequestTimeout):
            await patiently(fails, 20.0, np.random.default_rng(1))
        assert len(tries) > 3
        assert 20.0 <= tries[-1] <= 40.0

    run_world(1, story)


@pytest.mark.parametrize(
    ("error", "tries"),
    [(AttributeError("ours"), 5), (KeyError("odd answer"), 5), (SourceError("not listed"), 1), (ccxt.BadSymbol("no such"), 1)],
)
def test_what_neither_client_nor_network_has_a_name_for_is_not_tried_for_minutes(error: Exception, tries: int) -> None:
    async def story(world: World) -> None:
        seen = 0

        async def fails() -> None:
            nonlocal seen
            seen += 1
            raise error

        with pytest.raises(type(error)):
            await patiently(fails, 300.0, np.random.default_rng(1))
        assert seen == tries
        assert world.loop.time() < 10.0

    run_world(1, story)


# --- what is final -----------------------------------------------------------------------------------------


class _Rows:
    def __init__(self, rows: list[list[Any]]) -> None:
        self.rows = rows

    async def fetch_ohlcv(self, _symbol: str, _tf: str, since: int | None, limit: int, params: Any = None) -> list[list[Any]]:
        return [row for row in self.rows if since is None or row[0] >= since][:limit]


@pytest.mark.parametrize(("now_h", "closed"), [(2.0, [0, 1]), (3.0, [0, 1]), (3.001, [0, 1]), (3.01, [0, 1, 2])])
def test_the_last_row_is_final_only_long_after_its_close_and_any_other_at_once(now_h: float, closed: list[int]) -> None:
    """B5."""
    rows = [[hour * H1.ms, 1.0, 1.0, 1.0, 1.0, 1.0] for hour in (1, 0, 2, 2)]
    rest = VenueRest(_Rows(rows), lambda: now_h * H1.ms, 15_000)
    found = asyncio.run(rest.candles("X", H1, None))
    assert found.ts.tolist() == [hour * H1.ms for hour in closed]


def test_a_row_with_a_hole_in_it_is_no_candle() -> None:
    rest = VenueRest(_Rows([[0, 1.0, None, 1.0, 1.0, 1.0], [H1.ms, 1.0, 1.0, 1.0, 1.0, 1.0]]), lambda: 9e12, 0)
    assert asyncio.run(rest.candles("X", H1, None)).ts.tolist() == [H1.ms]


def test_pages_are_asked_for_until_the_end_of_the_range() -> None:
    rows = [[hour * H1.ms, 1.0, 1.0, 1.0, 1.0, float(hour)] for hour in range(30)]
    rest = VenueRest(_Rows(rows), lambda: 9e12, 0)

    async def page(since: int | None, limit: int) -> Any:
        return await rest.candles("X", H1, since, limit)

    found = asyncio.run(pages(page, H1, 3 * H1.ms, 22 * H1.ms, 7))
    assert found.volume.tolist() == [float(hour) for hour in range(3, 22)]


def test_however_long_it_runs_the_past_has_no_hole_and_does_not_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past_module, "_KEPT", 200)
    minute = Timeframe.M1.ms
    past = Past(("X",), (Timeframe.M1,))
    for at in range(1_000):
        past.add("X", at * minute, (1.0, 2.0, 0.5, 1.5, float(at)))
        past.add("X", at * minute, (9.0, 9.0, 9.0, 9.0, 9.0))  # the feed judges it
        bars = past.bars("X", Timeframe.M1, (at + 1) * minute, 150)
        assert bars.volume.tolist() == [float(before) for before in range(max(0, at - 149), at + 1)]
    five = past.bars("X", Timeframe.M5, 1_000 * minute, 150)
    assert five.ts.tolist() == [at * minute for at in range(250, 1_000, 5)]
    assert five.volume.tolist() == [float(5 * at + 10) for at in range(250, 1_000, 5)]
    assert len(past.bars("X", Timeframe.M1, 1_000 * minute, 10_000)) <= 400


def test_intervals_of_settlements_are_those_before_them() -> None:
    hours = np.array([0, 8, 12, 40], dtype=np.int64) * H1.ms
    assert (intervals(hours) // H1.ms).tolist() == [8, 8, 4, 8]
    assert intervals(hours[:1]).tolist() == [8 * H1.ms]


# --- what a message says -----------------------------------------------------------------------------------


def test_messages_of_the_market_are_read_and_others_left_alone() -> None:
    candle = {"s": "BTCUSDT", "i": "1m", "t": 60_000, "o": "1", "h": "4", "l": "0.5", "c": "2", "v": "3.5", "x": True}
    assert binance_market.market_word({"e": "kline", "k": candle}) == CandleSeen(
        "BTCUSDT", "1m", 60_000, (1.0, 4.0, 0.5, 2.0, 3.5), final=True
    )
    mark = {"e": "markPriceUpdate", "E": 7, "s": "BTCUSDT", "p": "5.5", "T": 9}
    assert binance_market.market_word(mark) == MarkSeen("BTCUSDT", 7, 5.5, 9)
    change = {"e": "depthUpdate", "E": 1, "s": "BTCUSDT", "U": 2, "u": 3, "pu": 1, "b": [["5", "1"]], "a": []}
    assert binance_market.market_word(change) == DepthSeen("BTCUSDT", 1, 2, 3, 1, ((5.0, 1.0),), ())
    assert binance_market.market_word({"result": None, "id": 1}) is None
    assert binance_market.market_word([]) is None
    with pytest.raises(KeyError):
        binance_market.market_word({"e": "kline"})


@pytest.mark.parametrize("venue", [bybit, okx])
def test_the_other_venues_have_no_streams_here(venue: Any) -> None:
    assert venue.stream_lines(None, {}) == ()
    assert venue.market_word({"e": "kline"}) is None
    assert asyncio.run(venue.spot_rows(None, "BTC/USDT", "1h", None, 1)) == []
