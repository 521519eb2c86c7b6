"""The account's port: what only a long history or an odd answer shows; the rest is shown by the live broker's stories."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest
from msgspec.structs import replace

from core.errors import BrainError
from core.sim.local.values import IncomeState, NewOrder, OrderSide, OrderType
from core.sim.server.faults import FaultKind as F
from core.types import OrderSide as Side
from core.venues import binance_account
from core.venues.client import Wiring
from core.venues.words import Ask, SymbolMode
from tests.core.exec.live.kit import BTC, Bench, D, tell

DAY_MS = 86_400_000


def test_fills_are_read_page_by_page(monkeypatch):
    monkeypatch.setattr(binance_account, "_TRADES_PAGE", 2)

    async def story(b: Bench):
        for number in range(5):
            b.venue.place(NewOrder("BTCUSDT", OrderSide.BUY, OrderType.MARKET, D("0.002"), client_id=f"n{number}"))
        account = b.broker._account
        assert [trade.trade_id for trade in await account.trades(BTC, after_id=None, since=0)] == [1, 2, 3, 4, 5]
        assert [trade.trade_id for trade in await account.trades(BTC, after_id=3, since=0)] == [4, 5]

    tell(story)


def grow(b: Bench, days: Sequence[float]) -> list[int]:
    """One fill as many, so many days ago; their ids."""
    history, now = b.venue._engine.history, b.world.clocks.now_ms()
    if not history.trades:
        b.venue.place(NewOrder("BTCUSDT", OrderSide.BUY, OrderType.MARKET, D("0.002"), client_id="n"))
    first = history.trades[0]
    made = [replace(first, trade_id=first.trade_id + number, ts=now - round(day * DAY_MS)) for number, day in enumerate(days)]
    history.trades.clear()
    history.trades.extend(made)
    return [trade.trade_id for trade in made]


def test_fills_of_weeks_ago_and_of_more_than_a_page_are_all_found():
    """F6: the venue tells a thousand of one week at once; a recovery after a long absence must find every one."""

    async def story(b: Bench):
        account, now = b.broker._account, b.world.clocks.now_ms()
        ids = grow(b, [*np.linspace(40.0, 30.0, 1_300), *np.linspace(9.0, 0.1, 1_205)])
        assert [trade.trade_id for trade in await account.trades(BTC, after_id=None, since=now - 50 * DAY_MS)] == ids
        assert [trade.trade_id for trade in await account.trades(BTC, after_id=None, since=now - 8 * DAY_MS)] == [
            trade_id for trade_id, trade in zip(ids, b.venue._engine.history.trades, strict=True) if trade.ts >= now - 8 * DAY_MS
        ]
        assert [trade.trade_id for trade in await account.trades(BTC, after_id=ids[99], since=0)] == ids[100:]
        b.venue._engine.history.trades.clear()
        assert await account.trades(BTC, after_id=None, since=0) == ()

    tell(story)


def test_funding_payments_of_more_than_a_page_are_all_found(monkeypatch):
    monkeypatch.setattr(binance_account, "_INCOME_PAGE", 3)

    async def story(b: Bench):
        b.venue.place(NewOrder("BTCUSDT", OrderSide.BUY, OrderType.MARKET, D("0.010"), client_id="n"))
        now = b.world.clocks.now_ms()
        for number in range(8):  # two settlements in one moment each
            b.venue._engine.history.income.append(
                IncomeState("BTCUSDT", "FUNDING_FEE", D("-0.1"), "USDT", now - 9_000 + number // 2 * 1_000, 900 + number)
            )
        paid = await b.broker._account.funding(now - 8_500)
        assert [payment.id for payment in paid] == [f"{900 + number}" for number in range(2, 8)]

    tell(story)


def test_an_echo_of_another_order_is_no_answer():
    async def story(b: Bench):
        account = b.broker._account
        create = account._client.create_order

        async def other(*args, **more):
            answer = await create(*args, **more)
            return {**answer, "info": {**answer["info"], "clientOrderId": "another"}}

        account._client.create_order = other
        with pytest.raises(BrainError, match="order mine was answered as another"):
            await account.send(Ask("mine", BTC, Side.BUY, D("0.010"), None))

    tell(story)


def test_a_setting_that_is_so_already_is_no_error_and_every_other_is():
    async def story(b: Bench):
        account = b.broker._account
        seen = await account.send(Ask("maker", BTC, Side.BUY, D("0.010"), D("49000.0"), post_only=True))
        assert seen.price == D("49000")
        await account.cancel(BTC, "maker", algo=False)
        await account.set_mode(SymbolMode(BTC, 3, True))
        await account.set_one_way()
        b.inject(F.REJECT, method="POST", path="/fapi/v1/marginType", code=-4000)
        with pytest.raises(Exception, match="-4000"):
            await account.set_mode(SymbolMode(BTC, 3, True))
        b.inject(F.REJECT, method="DELETE", path="/fapi/v1/order", code=-1100)
        with pytest.raises(Exception, match="-1100"):
            await account.cancel(BTC, "maker", algo=False)
        await account.open()  # a second time: the stream stands already

    tell(story)


def test_a_key_of_the_stream_that_the_venue_has_forgotten_is_asked_for_anew():
    """F4: ccxt would dial with the old one for twenty minutes, and nothing would be heard of the account."""

    async def story(b: Bench):
        keys = b.market.server._desk.keys
        forgotten = keys.current
        keys.drop()
        b.inject(F.DISCONNECT, stream="private")
        await b.until(lambda: keys.current not in ("", forgotten), 5.0)
        await b.enter()
        await b.hear(1.0)
        assert [fill.qty for fill in b.fills()] == [D("0.010")]
        account = b.broker._account
        assert account._fails == 0

    tell(story)


def test_the_key_of_the_stream_is_kept_valid(monkeypatch):
    """F4: ccxt renews it once; the stream would break in the second hour, and whatever is told then be missed."""
    monkeypatch.setattr(binance_account, "_RENEWED_AFTER_S", 20.0)

    async def story(b: Bench):
        keys = b.market.server._desk.keys
        before = keys.expires
        await asyncio.sleep(25.0)
        assert keys.expires == pytest.approx(before + 20_000, abs=500)

    tell(story)


def test_a_key_whose_renewal_failed_is_renewed_at_the_next_look(monkeypatch):
    """F4: another half hour later it would not be valid any more."""
    monkeypatch.setattr(binance_account, "_RENEWED_AFTER_S", 20.0)

    async def story(b: Bench):
        keys = b.market.server._desk.keys
        before = keys.expires
        b.inject(F.REJECT, method="PUT", path="/fapi/v1/listenKey", code=-1008)
        await asyncio.sleep(25.0)
        assert keys.expires == before
        await asyncio.sleep(10.0)
        assert keys.expires == pytest.approx(before + 30_000, abs=3_000)

    tell(story)


def test_the_connection_for_orders_is_asked_before_it_is_let_go_of():
    """aiohttp lets go of one on which nothing was asked for 15 s; another costs an order two round trips and the handshake."""
    assert Wiring().warm_every_s < 15.0


def test_before_anybody_listens_words_are_lost_and_harm_nothing():
    async def story(b: Bench):
        b.make()
        account = b.broker._account
        account._on_word = account._on_trouble = binance_account._deaf
        account._on_raw({"e": "ALGO_UPDATE", "o": {}})
        account._on_link("wss://x/market/ws", True)

    tell(story, start=False)


def test_orders_cancels_look_ups_and_the_time_leave_at_once_where_all_else_waits_for_room():
    """B7: the share of whatever is not urgent is spent; a reserve that nothing may use would be none."""

    async def story(b: Bench):
        account, now = b.broker._account, b.world.loop.time
        budget = account._client.wiring.budget
        await budget.take(budget.limit - budget.reserve - budget._sum, urgent=False)
        begun = now()
        question = asyncio.create_task(account.open_orders())
        await account.send(Ask("mine", BTC, Side.BUY, D("0.010"), D("49000.0")))
        assert (await account.look_up(BTC, "mine", algo=False)) is not None
        await account.cancel(BTC, "mine", algo=False)
        assert await account.look_up(BTC, "mine", algo=True) is None
        await account.set_clock()
        assert now() - begun < 2.0
        assert not question.done()
        await question
        assert now() - begun > 50.0

    tell(story)
