"""What a comparison calls back waits and is asked for again by itself, and keeps nothing from being compared (F6)."""

import asyncio

import pytest
from msgspec.structs import replace

from core.exec.live.halts import HaltKind
from core.exec.live.settings import LiveOptions
from core.exec.live.states import Row, State
from core.sim.local import conditional
from core.sim.local.values import NewOrder, OrderSide, OrderType
from core.sim.server.faults import FaultKind as F
from core.types import OrderType as Type
from tests.core.exec.live.kit import BTC, Bench, D, tell

PLAIN = "/fapi/v1/order"
OURS = "k0000000b-BTCUSDT-4567-e0"
NOT_ON_RECORD, OVER = "it has our form, and is not on record", "it was over on record"
OFTEN = LiveOptions(audit_every_s=2.0)


def rests(b: Bench, why: str) -> None:
    """An entry that must not: no life of this record sent it, or it has ended by what is on record."""
    if why == OVER:
        row = Row.of(b.order(OURS, price="48000", kind=Type.LIMIT))
        row.state = State.DONE
        b.broker._outbox.add(row, 0, must=False)
    b.venue.place(NewOrder("BTCUSDT", OrderSide.BUY, OrderType.LIMIT, D("0.010"), D("48000"), client_id=OURS))
    b.market.server._settle(changed=True)


@pytest.mark.parametrize("why", [NOT_ON_RECORD, OVER])
def test_no_cancel_of_a_comparison_is_sent_while_the_exchange_wants_to_be_left_alone(why):
    """It bans whoever goes on; what it was asked before the ban is over does not count."""

    async def story(b: Bench):
        account, asked = b.broker._account, []
        budget, real_orders, real_cancel = account._client.wiring.budget, account.open_orders, account.cancel

        async def open_orders(symbol=None):
            seen = await real_orders(symbol)
            budget.close_for(20.0 if not asked and any(order.client_id == OURS for order in seen) else 0.0)
            return seen

        async def cancel(*what, **how):
            asked.append(account.left_alone_s())
            return await real_cancel(*what, **how)

        account.open_orders, account.cancel = open_orders, cancel
        rests(b, why)
        await b.until(lambda: account.left_alone_s() > 0.0)
        await asyncio.sleep(15.0)
        assert len(b.venue.open_orders("BTCUSDT")) == 1
        await b.until(lambda: not b.venue.open_orders("BTCUSDT"), 60.0)
        assert asked == [0.0]
        await b.until(lambda: ("warning", "audit", f"cancelled order {OURS} of {BTC}: {why}") in b.alerts)

    tell(story, options=OFTEN)


@pytest.mark.parametrize("why", [NOT_ON_RECORD, OVER])
def test_a_cancel_that_is_refused_fails_no_comparison_and_is_asked_for_until_it_is_taken(why):
    """After four of these nothing was opened anywhere, though all else had been compared."""

    async def story(b: Bench):
        b.inject(F.REJECT, method="DELETE", path=PLAIN, code=-1008, times=6)
        rests(b, why)
        await asyncio.sleep(1.0)
        assert await b.broker.compare() == ()
        await b.until(lambda: not b.venue.open_orders("BTCUSDT"), 60.0)
        assert not any("could not be compared" in text for _, _, text in b.alerts)

    tell(story, options=OFTEN)


def test_a_ban_of_ten_minutes_halts_nothing_that_would_outlive_it():
    """Entries are refused as long as it lasts, and by its end all is compared as before."""

    async def story(b: Bench):
        await b.enter()
        b.broker._account._client.wiring.budget.close_for(600.0)
        await asyncio.sleep(300.0)
        assert b.broker._account.left_alone_s() > 0.0
        await asyncio.sleep(400.0)
        assert await b.broker.compare() == ()
        assert b.broker.halts == ()

    tell(story)


def test_a_key_that_is_revoked_is_named_with_its_remedy():
    """The page said no more than "AuthenticationError": of network, clock and key nobody could tell which."""

    async def story(b: Bench):
        await b.enter()
        b.inject(F.REJECT, path="/fapi/*", code=-2015, message="Invalid API-key, IP, or permissions.", status=401, times=0)
        await b.hear(60.0)
        (halt,) = b.broker.halts
        assert (halt.symbol, halt.kind) == ("", HaltKind.NOT_COMPARED)
        assert "the exchange does not take API_KEY (-2015)" in halt.text
        assert "[LIVE-014]; nothing is opened until it can be, what stands under stops stays so; compare API_KEY" in halt.text
        account = b.broker._account._client
        assert not any(secret in text for _, _, text in b.alerts for secret in (account.apiKey, account.secret))
        b.market.server.clear_faults()
        await b.hear(60.0)
        assert b.broker.halts == ()

    tell(story, options=OFTEN)


@pytest.mark.parametrize("heard", [True, False])
@pytest.mark.parametrize("renamed", [True, False])
def test_a_stop_ends_with_the_order_that_it_became_whatever_id_that_has(heard, renamed, monkeypatch):
    """That it has the stop's id is unproven; with another the stop stood for ever, and the next position was closed for it."""
    real = conditional._child

    def child(*how):
        made = real(*how)
        return replace(made, client_id=f"x-{made.client_id[:20]}") if renamed else made

    monkeypatch.setattr(conditional, "_child", child)

    async def story(b: Bench):
        stop = b.stop()
        await b.enter()
        await b.broker.place(stop)
        await b.hear(1.0)
        b.inject(F.MISSING_EVENT, stream="ALGO_UPDATE", times=0)
        if not heard:
            b.inject(F.MISSING_EVENT, stream="ORDER_TRADE_UPDATE", times=0)
        await b.market.play(b.market.trade("49400"), b.market.mark("49400"))
        await b.hear(5.0)
        b.market.server.clear_faults()
        await b.hear(30.0)
        assert b.held() == b.broker.position_qty(BTC) == 0
        assert all(state.over for state in b.rows().values())
        assert len(b.updates(stop.client_id)) == 1
        await b.market.play(b.market.trade("50000"), b.market.book(), b.market.mark("50000"))
        await b.enter(client_id="k0000001b-BTCUSDT-0124-e0")
        await b.hear(8.0)
        assert (b.held(), b.broker.halted) == (D("0.010"), {})
        assert sum((fill.side.sign * fill.qty for fill in b.fills()), D(0)) == D("0.010")

    tell(story, options=OFTEN)


def test_an_order_that_the_venue_forgot_and_shows_again_is_called_back_long_before_the_next_comparison():
    """It would rest there with nothing to reduce; the comparisons are an hour apart here."""

    async def story(b: Bench):
        account, take, hidden = b.broker._account, b.take(), [True]
        real_orders, real_look_up = account.open_orders, account.look_up

        async def open_orders(symbol=None):
            return tuple(seen for seen in await real_orders(symbol) if seen.client_id != take.client_id or not hidden[0])

        async def look_up(symbol, client_id, *, algo):
            return None if client_id == take.client_id and hidden[0] else await real_look_up(symbol, client_id, algo=algo)

        await b.enter()
        await b.broker.place(take)
        await asyncio.sleep(12.0)
        account.open_orders, account.look_up = open_orders, look_up
        await b.broker.compare()
        assert b.rows()[take.client_id].over
        assert len(b.venue.open_orders("BTCUSDT")) == 1
        hidden[0] = False
        await b.until(lambda: not b.venue.open_orders("BTCUSDT"), LiveOptions().settle_s + 5.0)

    tell(story, options=LiveOptions(audit_every_s=3_600.0))


def test_what_was_confirmed_a_moment_ago_is_not_missed():
    """It may be slow to show in the books and to look-ups; after that it counts as lost."""

    async def story(b: Bench):
        await b.enter()
        await b.broker.place(b.stop())
        account = b.broker._account

        async def nothing(*_asked, **_more):
            return ()

        async def unknown(*_asked, **_more):
            return None

        account.open_orders, account.look_up = nothing, unknown
        before = b.rows()
        await b.broker.compare()
        assert b.rows() == before
        assert all(code != "order_lost" for _, code, _ in b.alerts)
        await b.hear(15.0)
        assert any(code == "order_lost" for _, code, _ in b.alerts)

    tell(story, options=OFTEN)
