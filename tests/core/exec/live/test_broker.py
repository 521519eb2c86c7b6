"""The front: a venue of a run, whose events come in groups and can be waited for."""

import asyncio

import numpy as np
import pytest

from core.data.blocks import BarBlock, Batch, Book, FundingRate, PriceAt
from core.types import Fill, OrderUpdate, Timeframe
from tests.core.exec.live.kit import BTC, ETH, Bench, D, tell


def test_a_batch_brings_prices_books_and_rates_and_takes_away_what_happened():
    async def story(b: Bench):
        heard = []

        async def on_events(events):
            heard.append(events)

        now = b.world.clocks.now_ms()
        one = np.array([1], dtype=np.int64)
        price = np.array([51_000.0])
        bars = BarBlock(Timeframe.M5, one, one, price, price, price, price, price)
        book = Book(BTC, now, 49_995.0, 50_005.0, 1e6, False)
        batch = Batch(now, (bars,), (FundingRate(BTC, now, 0.0002, 1),), (), (PriceAt(BTC, now, 50_001.0),), (book,))
        b.broker._desk.books = b.broker._books.get
        await b.broker.advance(batch, on_events)
        assert heard == []
        assert b.broker._desk.prices[ETH] == 51_000.0
        assert b.broker._desk.prices[BTC] == 50_001.0
        assert b.broker._intake.rates == {(BTC, now): 0.0002}
        await b.broker.place(b.order())
        await asyncio.wait_for(b.broker.wait(), 5.0)
        await b.broker.advance(Batch(now + 1), on_events)
        await asyncio.sleep(0.5)
        await b.broker.deliver(on_events)
        events = [event for group in heard for event in group]
        assert [type(event) for event in events] == [Fill, OrderUpdate]
        assert (events[0].expected_price, events[0].spread_bps) == (50_000.0, pytest.approx(2.0))
        assert b.broker.snapshot() == {"told": 2, "groups": 3, "ts": now + 1}

    tell(story)


def test_what_waits_is_told_between_two_batches_as_long_as_it_may_be():
    async def story(b: Bench):
        heard = []

        async def on_events(events):
            heard.extend(events)

        await b.broker.place(b.order())
        await asyncio.sleep(0.5)
        await b.broker.deliver(on_events, lambda: False)
        assert heard == []
        await b.broker.deliver(on_events)
        assert [type(event) for event in heard] == [Fill, OrderUpdate]

    tell(story)


def test_the_account_is_marked_to_the_last_prices():
    async def story(b: Bench):
        account = b.broker.account()
        assert (account.wallet, account.equity, account.used_margin) == (1_000.0, 1_000.0, 0.0)
        await b.enter()
        b.broker._audit.seen.clear()
        assert b.broker.account().unrealised == 0.0  # the venue has not said yet what it was entered at
        await b.broker.compare()
        b.broker._desk.prices[BTC] = 50_105.1
        account = b.broker.account()
        assert account.unrealised == pytest.approx(0.010 * (50_105.1 - 50_005.1))
        assert account.wallet == pytest.approx(1_000.0 - 0.010 * 50_005.1 * 0.0005)
        assert account.equity == pytest.approx(account.wallet + account.unrealised)
        assert account.used_margin == pytest.approx(0.010 * 50_105.1 / 3)
        assert account.free_margin == pytest.approx(account.equity - account.used_margin)
        assert b.broker.position_qty(BTC) == D("0.010")

    tell(story)
