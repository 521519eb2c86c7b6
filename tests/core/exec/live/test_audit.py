"""What a comparison calls back waits and is asked for again by itself, and keeps nothing from being compared (F6)."""

import asyncio

import pytest

from core.exec.live.settings import LiveOptions
from core.exec.live.states import Row, State
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
