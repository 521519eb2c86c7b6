"""Whatever keeps a last stop from standing, another is tried in time, and the close at market comes due (F6)."""

import asyncio

import pytest
from msgspec.structs import replace

from core.exec.live.states import Row, State
from core.sim.local.values import AlgoType, NewAlgo, OrderSide, WorkingType
from core.sim.server.faults import FaultKind as F
from core.sim.server.gateway import RETRY_AFTER_S
from tests.core.exec.live.kit import Bench, D, tell

PLAIN, ALGO = "/fapi/v1/order", "/fapi/v1/algoOrder"
STEM = "k0000000b-BTCUSDT-0123-"
NAKED_S = 2.25
"""Two seconds, and the way of the close that ends them."""


async def naked(b: Bench, seconds: float) -> tuple[float, float]:
    """For how long the position at the venue had no stop within this time: at most, and at most while orders could be sent."""
    longest = now = able = longest_able = 0.0
    for _ in range(round(seconds / 0.01)):
        await asyncio.sleep(0.01)
        bare = bool(b.held()) and not b.algos()
        now = now + 0.01 if bare else 0.0
        able = able + 0.01 if bare and not b.broker._account.left_alone_s() else 0.0
        longest, longest_able = max(longest, now), max(longest_able, able)
    return longest, longest_able


def tried(b: Bench, leg: str) -> list[str]:
    return [client_id for client_id in b.rows() if client_id.startswith(STEM + leg)]


def codes(b: Bench) -> list[str]:
    return [code for _, code, _ in b.alerts]


# --- ids ------------------------------------------------------------------------------------------


def test_an_id_that_an_earlier_life_has_left_behind_a_gap_is_passed_over():
    """The ids before it went with a full disk: how many rows there are is the number of one of them."""

    async def story(b: Bench):
        await b.enter()
        left = b.broker._outbox.rows[f"{STEM}c0"]
        row = Row.of(left.order)
        row.client_id, row.own, row.state = f"{STEM}c2", True, State.REJECTED
        row.told_as = row.client_id
        b.broker._outbox.add(row, 0, must=False)
        for number in (3, 4):
            (stop,) = b.algos()
            b.venue.cancel_algo(client_id=stop.client_id)
            b.market.server._settle(changed=True)
            await b.hear(2.0)
            (stop,) = b.algos()
            assert (stop.client_id, stop.close_position) == (f"{STEM}c{number}", True)
        assert (b.held(), b.broker.halted) == (D("0.010"), {})

    tell(story)


@pytest.mark.parametrize(("lost", "rests", "stands"), [(2, False, "c2"), (1, True, "c0")])
def test_an_id_that_only_the_venue_knows_is_looked_up_and_the_next_taken(lost, rests, stands):
    """-4116: it was sent while the disk was full, and the record of it went with the process."""

    async def story(b: Bench):
        guardian, begin = b.broker._guardian, b.broker._guardian._begin
        guardian._begin = lambda *_asked, **_more: None
        await b.enter()
        known = NewAlgo("BTCUSDT", OrderSide.SELL, AlgoType.STOP_MARKET, trigger_price=D("45000"), close_position=True)
        for number in range(lost):
            b.venue.place_algo(replace(known, client_id=f"{STEM}c{number}", working_type=WorkingType.MARK_PRICE))
            if not rests:
                b.venue.cancel_algo(client_id=f"{STEM}c{number}")
        if not rests:  # the local exchange takes an id again once its order is over
            b.inject(F.REJECT, method="POST", path=ALGO, code=-4116, times=lost)
        b.venue.drain_words()
        guardian._begin = begin
        longest, _ = await naked(b, 3.0)
        assert longest < 0.5
        assert [algo.client_id for algo in b.algos()] == [f"{STEM}{stands}"]
        assert (b.held(), b.broker._outbox.unresolved()) == (D("0.010"), ())

    tell(story)


@pytest.mark.parametrize("fails", ["_stop_of", "_own"])
def test_where_a_stop_cannot_even_be_made_the_position_is_closed(fails):
    """It was begun again at each look, and the close never due."""

    async def story(b: Bench):
        guardian = b.broker._guardian
        real = getattr(guardian, fails)

        def failing(*asked):
            if fails == "_stop_of" or asked[1] == "c":
                raise ValueError("a mistake")
            return real(*asked)

        setattr(guardian, fails, failing)
        await b.broker.place(b.order())
        longest, _ = await naked(b, 4.0)
        assert longest < NAKED_S
        assert b.held() == b.broker.position_qty("BTC/USDT:USDT") == 0
        assert codes(b)[0] == "symbol_halted"
        assert "place BTC/USDT:USDT failed: ValueError" in b.broker.halted[""]

    tell(story)


def test_a_close_that_cannot_be_made_is_tried_ever_more_slowly():
    async def story(b: Bench):
        guardian, asked = b.broker._guardian, []

        def failing(_symbol, leg, *_more):
            asked.append(leg)
            raise ValueError("a mistake")

        guardian._own = failing
        await b.enter()
        await asyncio.sleep(20.0)
        assert 4 < asked.count("w") < 9

    tell(story)


# --- a venue that wants to be left alone ----------------------------------------------------------


def test_a_stop_that_was_throttled_is_tried_once_more_before_the_close():
    """Naked for as long as the venue had asked to be left alone, a sound position was closed at market the moment it could be."""

    async def story(b: Bench):
        b.inject(F.THROTTLE, method="POST", path=ALGO)
        await b.broker.place(b.order())
        longest, able = await naked(b, 12.0)
        assert (RETRY_AFTER_S < longest < RETRY_AFTER_S + 0.25, able < 0.25) == (True, True)
        assert (b.held(), [algo.close_position for algo in b.algos()]) == (D("0.010"), [True])
        assert tried(b, "c") == [f"{STEM}c0", f"{STEM}c1"]
        assert codes(b) == ["symbol_halted"]  # a person is called all the same, while nothing can be done
        assert b.broker.halted == {}

    tell(story)


def test_a_stop_that_is_throttled_again_is_followed_by_the_close_as_soon_as_it_can_be_sent():
    async def story(b: Bench):
        b.inject(F.THROTTLE, method="POST", path=ALGO, times=0)
        await b.broker.place(b.order())
        longest, able = await naked(b, 3.0 * RETRY_AFTER_S)
        assert (longest < 2.0 * RETRY_AFTER_S + 0.5, able < 0.25) == (True, True)
        assert (b.held(), len(tried(b, "c")), len(tried(b, "w"))) == (D("0"), 2, 1)

    tell(story)


@pytest.mark.parametrize(
    ("kind", "more"),
    [(F.HANG, {"delay_ms": 30_000}), (F.REJECT, {"code": -4130}), (F.REJECT, {"code": -1008}), (F.DROP_BEFORE, {})],
    ids=str,
)
def test_the_two_seconds_run_from_when_orders_can_be_sent_again(kind, more):
    async def story(b: Bench):
        b.inject(F.THROTTLE, method="POST", path=ALGO)
        await b.broker.place(b.order())
        await asyncio.sleep(1.0)
        b.inject(kind, method="POST", path=ALGO, times=0, **more)
        _, able = await naked(b, 10.0)
        assert 1.0 < able < NAKED_S
        assert (b.held(), len(tried(b, "c")) > 1) == (0, True)

    tell(story)


def test_what_others_have_used_up_before_a_stop_was_tried_is_no_try():
    async def story(b: Bench):
        b.inject(F.SLOW, method="POST", path=PLAIN, delay_ms=100)
        b.inject(F.THROTTLE, method="POST", path=ALGO)
        b.world.loop.call_later(0.001, b.broker._account._client.wiring.budget.close_for, 3.0)
        await b.broker.place(b.order())
        _, able = await naked(b, 3.0 + 2.0 * RETRY_AFTER_S)
        assert able < 0.25
        assert (b.held(), tried(b, "c"), tried(b, "w")) == (D("0.010"), [f"{STEM}c0", f"{STEM}c1"], [])

    tell(story)


def test_a_venue_that_throttles_without_a_time_keeps_no_position_naked():
    async def story(b: Bench):
        b.inject(F.REJECT, method="POST", path=ALGO, code=-1008, times=0)
        await b.broker.place(b.order())
        longest, _ = await naked(b, 4.0)
        assert (longest < NAKED_S, b.held()) == (True, 0)

    tell(story)


def test_a_close_that_was_throttled_is_sent_again_and_no_stop_before_it():
    async def story(b: Bench):
        b.inject(F.REJECT, method="POST", path=ALGO, code=-4130, times=0)
        b.inject(F.THROTTLE, method="POST", path=PLAIN, nth=2)
        await b.broker.place(b.order())
        await b.until(lambda: bool(tried(b, "w")))
        stops = len(tried(b, "c"))
        _, able = await naked(b, 2.0 * RETRY_AFTER_S)
        assert (able < 0.5, b.held(), len(tried(b, "w")), len(tried(b, "c"))) == (True, 0, 2, stops)

    tell(story)
