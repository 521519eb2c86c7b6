"""While the exchange wants to be left alone nothing at all is asked, and a person is called once (F2, F6)."""

import asyncio
from collections import Counter

import pytest

from core.codes import RefusalCode
from core.exec.live.halts import HaltKind
from core.exec.live.settings import LiveOptions
from core.sim.server.faults import FaultKind as F
from core.types import OrderStatus
from core.venues.errors import LeftAlone
from tests.core.exec.live.kit import BTC, Bench, D, tell

HOUR_S = 3_600.0


def asked(b: Bench) -> Counter[str]:
    """Every request that leaves from now on."""
    client, left = b.broker._account._client, Counter[str]()
    sent = client.fetch

    async def fetch(url, method="GET", headers=None, body=None):
        left[f"{method} {url.partition('?')[0].partition('.com')[2]}"] += 1
        return await sent(url, method, headers, body)

    client.fetch = fetch
    return left


def close(b: Bench, seconds: float) -> None:
    b.broker._account._client.wiring.budget.close_for(seconds)


def pages(b: Bench) -> list[str]:
    return [text for level, _, text in b.alerts if level == "page"]


def test_in_an_hour_of_a_ban_nothing_is_asked_and_a_person_is_called_once():
    """In half of it there were 65 stream keys, six clocks and a renewal, each of which prolongs a ban; nobody was called."""

    async def story(b: Bench):
        await b.enter()
        await b.broker.place(b.stop())
        close(b, 5.0)
        await b.hear(1.0)
        left = asked(b)
        close(b, HOUR_S)
        b.broker._audit.want("")
        b.market.server._desk.keys.drop()
        b.inject(F.DISCONNECT, stream="private")
        await b.hear(60.0)
        refused = await b.broker.place(b.order("k0000000c-BTCUSDT-0124-e0"))
        assert (refused.status, refused.code) == (OrderStatus.REJECTED, RefusalCode.SYMBOL_HALTED)
        exiting = asyncio.create_task(b.broker.place(b.exit()))
        b.broker._sender.doubt_clock()
        await b.hear(HOUR_S - 100.0)
        assert left == {}
        ((halt, *others), (page, *more)) = b.broker.halts, pages(b)
        assert (halt.symbol, halt.kind, others, more) == ("", HaltKind.NOT_COMPARED, [], [])
        assert page == f"the whole account: {halt.text}"
        # the world begins at midnight
        assert halt.text.startswith("the exchange wants to be left alone until 01:00:0")
        assert " UTC of 2026-01-05: " in halt.text
        assert "what stands under stops stays so" in halt.text
        await b.hear(120.0)
        await exiting
        assert b.held() == b.broker.position_qty(BTC) == 0
        assert b.broker.halts == ()
        assert left["POST /fapi/v1/listenKey"] == 1

    tell(story)


def test_a_question_is_given_up_instead_of_waiting_for_hours_unheard():
    """What the owner paid in was asked for inside a bar, which hung until the ban was over."""

    async def story(b: Bench):
        close(b, 2 * HOUR_S)
        begun = b.world.loop.time()
        with pytest.raises(LeftAlone):
            await b.broker.transfers(0)
        with pytest.raises(LeftAlone):
            await b.broker._account.set_clock()
        assert b.world.loop.time() == begun

    tell(story)


def test_a_start_in_a_ban_asks_once_calls_a_person_and_goes_on_when_it_is_over():
    """A restart forgets that it was to leave the exchange alone; the first answer says it again."""

    async def story(b: Bench):
        b.make()
        left = asked(b)
        b.inject(F.BAN, times=1)
        starting = asyncio.create_task(b.broker.start())
        await asyncio.sleep(0.5)
        assert left == {"GET /fapi/v1/time": 1}
        close(b, HOUR_S)
        await asyncio.sleep(HOUR_S - 10.0)
        assert left == {"GET /fapi/v1/time": 1}
        (page,) = pages(b)
        assert "the start waits for the exchange: the exchange wants to be left alone until " in page
        await asyncio.wait_for(starting, 120.0)
        assert b.broker.halts == ()

    tell(story, start=False)


def test_a_ban_that_comes_between_the_markets_and_the_stream_ends_no_start():
    """The stream was waited for a quarter of a minute, and then the start was over, with what was open unwatched."""

    async def story(b: Bench):
        b.make()
        account = b.broker._account
        real = account.open

        async def opened():
            if not account.left_alone_s() and account._stream is None:
                close(b, 100.0)
            await real()

        account.open = opened
        await b.broker.start()
        assert account._connected.is_set()
        assert b.broker.halts == ()
        await b.enter()
        assert b.held() == D("0.010")

    tell(story, start=False)


def test_one_that_is_over_before_a_person_could_look_calls_nobody():
    async def story(b: Bench):
        await b.enter()
        close(b, 9.0)
        b.broker._audit.want("")
        await b.hear(20.0)
        assert (b.broker.halts, pages(b)) == ((), [])

    tell(story)


def test_short_ones_without_end_are_comparisons_that_fail():
    async def story(b: Bench):
        await b.enter()
        b.inject(F.THROTTLE, method="GET", path="/fapi/v1/openOrders", times=0)
        await b.hear(90.0)
        (halt,) = b.broker.halts
        assert (halt.kind, len(pages(b))) == (HaltKind.NOT_COMPARED, 1)
        b.market.server.clear_faults()
        await b.hear(60.0)
        assert b.broker.halts == ()

    tell(story, options=LiveOptions(audit_every_s=2.0))
