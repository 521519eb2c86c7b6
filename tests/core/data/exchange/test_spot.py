"""Hourly spot closes: by a stream, by REST what it leaves out, each once, in order, and never in the way of anything else."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from core.data.blocks import Bars, PriceAt
from core.data.exchange.retry import soon
from core.data.exchange.settings import ExchangeSettings
from core.data.exchange.spot import SpotCloses
from core.data.exchange.spot_told import SpotTold
from core.sim.server.faults import FaultKind
from core.sim.tape.source import TapeOptions
from core.venues import binance_market
from core.venues.client import make_client
from core.venues.market_words import Carries
from tests.core.data.exchange.kit import BTC, ETH, H1, M5, Stand, tell
from tests.support.simulation.network import Fault, Kind
from tests.support.simulation.world import World, run_world

HOUR = 12
"""Bars of 5m."""
SPOT_KLINES = "/api/v3/klines"
BTC_SPOT = "spot/btcusdt@kline_1h"
SELDOM = TapeOptions(mark_every_ms=60_000)
CALM = ExchangeSettings(market_silent_s=900.0, book_silent_s=7_200.0)


# --- with the client, against the local exchange -----------------------------------------------------------


async def delays_ms(stand: Stand, count: int) -> list[int]:
    """How long after its close each of the next batches came."""
    found = []
    for _ in range(count):
        (batch,) = await stand.take(1)
        found.append(stand.world.clocks.now_ms() - batch.ts)
    return found


def asked(stand: Stand) -> list[str]:
    """What REST is asked for of spot from now on."""
    symbols: list[str] = []
    ask = stand.venue.rest.spot

    def noted(symbol: str, *how: Any) -> Any:
        symbols.append(symbol)
        return ask(symbol, *how)

    stand.venue.rest.spot = noted
    return symbols


async def spot_as_it_was(stand: Stand) -> bool:
    return [batch.spot for batch in stand.got] == [batch.spot for batch in await stand.truth(len(stand.got))]


def play(story: Any, **more: Any) -> None:
    given: dict[str, Any] = {"base": M5, "bars": 4 * HOUR, "tape": SELDOM, "settings": CALM} | more
    tell(story, **given)


def test_the_stream_tells_the_close_of_the_hour_in_time_and_nothing_is_asked_for() -> None:
    """B1: decisions at a full hour must not wait for REST, which knows it only when the next one has begun there."""

    async def story(stand: Stand) -> None:
        symbols = asked(stand)
        late = await delays_ms(stand, 2 * HOUR)
        assert sum(len(batch.spot) for batch in stand.got) == 4
        assert await spot_as_it_was(stand)
        assert symbols == []
        assert max(late) < CALM.spot_grace_ms
        assert stand.notes() == []

    play(story)


def test_what_the_stream_leaves_out_is_asked_for_within_its_close() -> None:
    async def story(stand: Stand) -> None:
        symbols = asked(stand)
        stand.fault(HOUR - 0.5, FaultKind.MISSING_FINAL, stream=BTC_SPOT)
        late = await delays_ms(stand, 2 * HOUR)
        assert await spot_as_it_was(stand)
        assert symbols == [BTC]
        assert CALM.spot_grace_ms < late[HOUR - 1] < 200

    play(story)


@pytest.mark.parametrize(("delay_ms", "slow_ms"), [(100, 0), (152, 0), (156, 0), (400, 0), (400, 300), (3_000, 300)])
def test_whichever_way_tells_it_first_a_close_goes_out_once(delay_ms: int, slow_ms: int) -> None:
    async def story(stand: Stand) -> None:
        stand.fault(HOUR - 0.5, FaultKind.LATE_FINAL, stream=BTC_SPOT, delay_ms=delay_ms)
        stand.fault(HOUR - 0.5, FaultKind.SLOW, path=SPOT_KLINES, delay_ms=slow_ms)
        late = await delays_ms(stand, HOUR + 1)
        assert await spot_as_it_was(stand)
        assert late[HOUR - 1] < min(delay_ms, CALM.spot_grace_ms + slow_ms) + 50

    play(story)


def test_a_close_that_the_stream_tells_waits_for_those_before_it() -> None:
    """Two hours that neither way told: the third, which the stream tells, does not overtake them."""

    async def story(stand: Stand) -> None:
        stand.fault(HOUR - 0.5, FaultKind.MISSING_FINAL, stream=BTC_SPOT, times=2)
        stand.fault(HOUR - 0.5, FaultKind.HANG, path=SPOT_KLINES, times=0, delay_ms=10_000)
        stand.at(3 * HOUR - 0.5, stand.server.clear_faults)
        await stand.take(3 * HOUR)
        told = [(batch.ts, row) for batch in stand.got for row in batch.spot if row.symbol == BTC]
        assert [row.ts for _, row in told] == [stand.got[0].ts - M5.ms + hour * H1.ms for hour in (1, 2, 3)]
        assert {ts for ts, _ in told} == {stand.got[-1].ts}
        eth = [(batch.ts, row.ts) for batch in stand.got for row in batch.spot if row.symbol == ETH]
        assert all(ts == of for ts, of in eth)

    play(story)


def test_a_spot_host_that_is_away_holds_up_nothing_and_calls_for_no_other_venue() -> None:
    """B7: candles, marks and books are those of the perpetuals' hosts; what was missed comes when it is back."""

    async def story(stand: Stand) -> None:
        stand.world.during(0.9 * 3_600.0, 1.5 * 3_600.0, Fault(Kind.BLACK_HOLE, "bot", "spot"))
        late = await delays_ms(stand, 2 * HOUR)
        truth = await stand.truth(2 * HOUR)
        assert [len(batch.books) for batch in stand.got] == [2] * 2 * HOUR
        assert [batch.bars[0].close.tolist() for batch in stand.got] == [batch.bars[0].close.tolist() for batch in truth]
        assert max(late) < CALM.side_wait_ms + 50
        assert not any("candles of" in note for note in stand.notes())
        told = [row for batch in stand.got for row in batch.spot]
        assert sorted(told) == sorted(row for batch in truth for row in batch.spot)
        assert stand.got[HOUR - 1].spot == ()
        assert [line.up for line in stand.venue._lines] == [True, True, True]

    play(story, settings=ExchangeSettings(market_silent_s=120.0, book_silent_s=7_200.0, backoff_s=(0.2, 15.0)))


def test_a_spot_host_that_talks_does_not_stand_for_the_venue() -> None:
    """Else no other venue would ever be asked for candles while the first one's futures host is away."""

    async def story(stand: Stand) -> None:
        await stand.take(1)
        stand.world.network.add(Fault(Kind.BLACK_HOLE, "bot", "venue"))
        taking = asyncio.create_task(stand.take(1))
        await asyncio.sleep(250.0)
        assert stand.venue.streaming_spot
        assert stand.venue.silent_s > CALM.switch_after_s
        taking.cancel()
        stand.world.network.heal()

    play(story)


def test_candles_of_the_spot_market_are_never_taken_for_those_of_the_perpetual() -> None:
    """Both are ``BTCUSDT@kline_1h``, to the letter."""

    async def story(stand: Stand) -> None:
        await stand.take(3)
        truth = await stand.truth(3)
        assert [batch.bars[0].close.tolist() for batch in stand.got] == [batch.bars[0].close.tolist() for batch in truth]
        assert [batch.spot for batch in stand.got] == [batch.spot for batch in truth]
        assert [batch.spot[0].price for batch in stand.got] != [batch.bars[0].close.tolist()[0] for batch in stand.got]

    play(story, base=H1, bars=5)


def test_only_symbols_with_a_spot_market_are_subscribed() -> None:
    async def story(stand: Stand) -> None:
        await stand.take(1)
        (line,) = [line for line in stand.venue._lines if line.dial.carries is Carries.SPOT]
        assert line.dial.request["params"] == ["btcusdt@kline_1h"]

    play(story, spot=[BTC])


def test_without_any_spot_market_there_is_no_socket_for_it() -> None:
    async def story(stand: Stand) -> None:
        await stand.take(1)
        assert [line.dial.carries for line in stand.venue._lines] == [Carries.CANDLES, Carries.BOOKS]

    play(story, spot=[])


def test_the_address_is_the_library_s_own() -> None:
    client = make_client("binanceusdm")
    line = binance_market.spot_line(client, [BTC, ETH], "1h")
    assert line.url.rpartition("/")[0] == "wss://stream.binance.com:9443/ws"
    assert line.request["params"] == ["btcusdt@kline_1h", "ethusdt@kline_1h"]


# --- alone --------------------------------------------------------------------------------------------------


@dataclass
class _Rest:
    """Hours that it has as final, by when they ended; each answer takes a moment."""

    has: dict[int, float] = field(default_factory=dict)
    asked: list[float] = field(default_factory=list)

    async def spot(self, _symbol: str, _tf: Any, since: int, limit: int) -> Bars:
        self.asked.append(asyncio.get_running_loop().time())
        await asyncio.sleep(0.01)
        hours = [ts for ts in sorted(self.has) if ts - H1.ms >= since][:limit]
        closes = np.array([self.has[ts] for ts in hours])
        return Bars(np.array([ts - H1.ms for ts in hours], dtype=np.int64), closes, closes, closes, closes, closes)


@dataclass
class _Venue:
    """Time is the loop's, in hours from 0 on."""

    symbols: tuple[str, ...] = (BTC,)
    spot: SpotTold = field(default_factory=SpotTold)
    rest: _Rest = field(default_factory=_Rest)
    streaming_spot: bool = True

    @property
    def clock(self) -> _Venue:
        return self

    def now(self) -> float:
        return asyncio.get_running_loop().time() * 1000.0


def alone(story: Any) -> None:
    async def scenario(world: World) -> None:
        venue = _Venue()
        closes = SpotCloses(venue, ExchangeSettings())  # type: ignore[arg-type]
        closes.begin(0, 0)
        await story(venue, closes, world)

    run_world(1, scenario)


async def until_close(hour: int) -> int:
    await asyncio.sleep(hour * 3_600.0 - asyncio.get_running_loop().time())
    return hour * H1.ms


def close(hour: int, price: float) -> PriceAt:
    return PriceAt(BTC, hour * H1.ms, price)


def test_while_the_stream_is_down_rest_is_asked_at_once_and_again_soon() -> None:
    async def story(venue: _Venue, closes: SpotCloses, world: World) -> None:
        venue.streaming_spot = False
        ts = await until_close(1)
        world.loop.call_later(0.3, venue.rest.has.update, {ts: 5.0})
        await closes.ask(0, ts)
        pauses = np.diff([3_600.0, *venue.rest.asked])
        assert pauses == pytest.approx([0.0, 0.06, 0.11, 0.21], abs=1e-6)
        assert closes.draw(ts) == [close(1, 5.0)]
        assert closes.draw(ts) == []
        assert not closes.due(0, ts)

    alone(story)


def test_an_hour_that_does_not_exist_is_passed_over_only_when_rest_has_a_later_one() -> None:
    async def story(venue: _Venue, closes: SpotCloses, _world: World) -> None:
        ts = await until_close(2)
        venue.spot.take(0, ts, 7.0)
        await closes.ask(0, ts)
        assert closes.draw(ts) == []
        assert venue.rest.asked[0] == pytest.approx(7_200.0)  # the stream never tells what was long ago
        venue.rest.has[ts] = 7.0
        await closes.ask(0, ts)
        assert closes.draw(ts) == [close(2, 7.0)]

    alone(story)


def test_what_rest_has_of_a_gap_and_the_stream_has_of_its_end_go_out_together() -> None:
    async def story(venue: _Venue, closes: SpotCloses, _world: World) -> None:
        ts = await until_close(3)
        venue.rest.has = {H1.ms: 1.0, 2 * H1.ms: 2.0}  # the third is not proven final there
        venue.spot.take(0, ts, 3.0)
        await closes.ask(0, ts)
        assert venue.rest.asked == pytest.approx([10_800.0, 10_800.01])  # two pages, once
        assert closes.draw(ts) == [close(1, 1.0), close(2, 2.0), close(3, 3.0)]

    alone(story)


def test_a_close_that_is_told_ahead_of_our_clock_waits_for_its_own() -> None:
    async def story(venue: _Venue, closes: SpotCloses, _world: World) -> None:
        venue.spot.take(0, H1.ms, 1.0)
        await closes.ask(0, H1.ms - M5.ms)
        assert closes.draw(H1.ms - M5.ms) == []
        await closes.ask(0, H1.ms)
        assert closes.draw(H1.ms) == [close(1, 1.0)]

    alone(story)


def test_what_comes_after_patience_is_there_for_the_next_close() -> None:
    async def story(venue: _Venue, closes: SpotCloses, _world: World) -> None:
        ts = await until_close(1)
        await closes.ask(0, ts)
        assert closes.draw(ts) == []
        venue.spot.take(0, ts, 4.0)
        venue.spot.take(0, ts, 9.0)
        before = len(venue.rest.asked)
        await closes.ask(0, ts + M5.ms)
        assert len(venue.rest.asked) == before
        assert closes.draw(ts + M5.ms) == [close(1, 4.0)]

    alone(story)


def test_one_who_asks_no_more_leaves_nothing_running() -> None:
    async def story(venue: _Venue, closes: SpotCloses, _world: World) -> None:
        ts = await until_close(1)
        others = asyncio.all_tasks()
        asking = asyncio.create_task(closes.ask(0, ts))
        await asyncio.sleep(0.5)
        asking.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == others
        before = len(venue.rest.asked)
        await asyncio.sleep(5.0)
        assert len(venue.rest.asked) == before

    alone(story)


def test_what_nobody_takes_does_not_pile_up() -> None:
    told = SpotTold()
    for hour in range(100):
        told.take(0, hour, float(hour))
    assert told.close(0, 99) == 99.0
    assert told.close(0, 0) is None
    assert told.close(1, 99) is None


def test_an_error_is_asked_over_again_until_patience_is_over() -> None:
    async def story(_world: World) -> None:
        times: list[float] = []

        async def known() -> bool:
            times.append(asyncio.get_running_loop().time())
            raise OSError("away")

        await soon(known, 1.0)
        assert times == pytest.approx([0.0, 0.05, 0.15, 0.35, 0.65, 0.95])

    run_world(1, story)
