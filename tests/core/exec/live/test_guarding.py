"""From the first fill to flat a stop at the venue covers the position, whatever the books do (F6)."""

import asyncio

import pytest
from msgspec.structs import replace

from core.exec.live import desk
from core.exec.live.audit import Unsettled
from core.exec.live.halts import HaltKind
from core.exec.live.settings import ForeignPolicy, LiveOptions
from core.exec.live.states import State
from core.sim.local.values import AlgoType, FundingTick, NewAlgo, NewOrder, OrderSide, OrderType, WorkingType
from core.sim.server.faults import FaultKind as F
from core.types import ExitReason, OrderPurpose, OrderStatus
from core.types import OrderSide as Side
from tests.core.exec.live.kit import BTC, ETH, Bench, D, tell

ENTRY = "k0000000b-BTCUSDT-0123-e0"
STOP = "k0000000b-BTCUSDT-0123-s1"
C0, W0 = "k0000000b-BTCUSDT-0123-c0", "k0000000b-BTCUSDT-0123-w0"
PLAIN, ALGO = "/fapi/v1/order", "/fapi/v1/algoOrder"


def test_a_stop_in_the_books_and_one_that_never_moves_stand_side_by_side():
    async def story(b: Bench):
        b.stops["plan"] = D("46000")
        await b.enter()
        await b.broker.place(b.stop())
        last, working = b.algos()
        # 1.5 x (50025 - 46000) beyond the cap of the entry; or from its fill at 50005, where the venue has told of that before
        assert (last.client_id, last.trigger_price in (D("43987.5"), D("43997.5"))) == (C0, True)
        assert (working.client_id, working.trigger_price) == (STOP, D("49500"))

    tell(story)


def test_a_short_is_covered_from_above():
    async def story(b: Bench):
        await b.broker.place(b.order(side=Side.SELL, price="49975.0"))
        await b.hear(0.3)
        (stop,) = b.algos()
        # 10 % above the cap, or above the fill where the venue has told of that before
        assert (stop.side, stop.trigger_price in (D("54972.5"), D("54994.3"))) == (OrderSide.BUY, True)

    tell(story)


def test_the_stop_that_is_reached_closes_the_position_and_nothing_stays():
    async def story(b: Bench):
        await b.enter()
        await b.broker.place(b.stop())
        await b.broker.place(b.take())
        await b.market.play(b.market.trade("49400"), b.market.mark("49400"))
        await b.hear(2.0)
        assert b.held() == b.broker.position_qty(BTC) == 0
        fill = b.fills()[-1]
        assert (fill.client_id, fill.purpose, fill.reason, fill.expected_price) == (
            STOP,
            OrderPurpose.STOP,
            ExitReason.STOP,
            49_500.0,
        )
        assert b.updates(STOP)[-1] == (OrderStatus.FILLED, None)
        assert b.algos() == []
        assert b.venue.open_orders("BTCUSDT") == ()
        assert b.rows()[b.take().client_id] is State.DONE

    tell(story)


def test_the_last_stop_closes_a_position_that_the_books_did_not_get_to_protect():
    async def story(b: Bench):
        await b.enter()
        await b.market.play(b.market.trade("44000"), b.market.mark("44000"))
        await b.hear(2.0)
        assert b.held() == b.broker.position_qty(BTC) == 0
        fill = b.fills()[-1]
        assert (fill.client_id, fill.plan_id, fill.reason) == (C0, "plan", ExitReason.STOP)
        assert b.updates(C0) == []  # the books know nothing of it

    tell(story)


def test_a_stop_that_is_stuck_is_not_waited_for():
    async def story(b: Bench):
        await b.enter()
        await b.broker.place(b.stop())
        b.inject(F.STUCK_TRIGGER)
        await b.market.play(b.market.trade("49400"), b.market.mark("49400"))
        await b.hear(2.0)
        assert b.held() == D("0.010")
        await b.hear(2.5)
        assert b.held() == b.broker.position_qty(BTC) == 0
        assert b.fills()[-1].client_id == W0
        assert b.alerts[0][:2] == ("page", "unprotected")

    tell(story)


@pytest.mark.parametrize("step_ms", [-60_000, 60_000])
def test_how_long_a_stop_is_stuck_is_no_matter_of_the_time_of_day(step_ms):
    """Set back, the clock kept the position under a stop that did not act; set ahead, it closed what the stop was closing."""

    async def story(b: Bench):
        await b.enter()
        await b.broker.place(b.stop())
        b.inject(F.STUCK_TRIGGER)
        await b.market.play(b.market.trade("49400"), b.market.mark("49400"))
        await b.hear(0.5)
        real = b.broker._account.now_ms
        b.broker._account.now_ms = lambda: real() + step_ms
        await b.hear(1.5)
        assert b.held() == D("0.010")
        await b.hear(2.5)
        assert b.held() == 0

    tell(story)


def test_a_position_beyond_its_last_stop_is_closed_at_market():
    async def story(b: Bench):
        b.inject(F.REJECT, method="POST", path=ALGO, code=-2021)
        await b.broker.place(b.order())
        await b.hear(2.0)
        assert b.held() == b.broker.position_qty(BTC) == 0
        assert [alert[1] for alert in b.alerts] == ["stop_beyond", "unprotected"]

    tell(story)


def test_a_stop_that_cannot_be_had_is_tried_a_few_times_and_then_the_position_is_closed():
    async def story(b: Bench):
        b.inject(F.REJECT, method="POST", path=ALGO, code=-4130, times=0)
        await b.broker.place(b.order())
        await b.hear(4.0)
        assert b.held() == b.broker.position_qty(BTC) == 0
        assert [b.rows()[f"k0000000b-BTCUSDT-0123-c{n}"] for n in range(3)] == [State.REJECTED] * 3

    tell(story)


def test_a_close_that_is_refused_is_tried_again():
    async def story(b: Bench):
        b.inject(F.REJECT, method="POST", path=ALGO, code=-4130, times=0)
        b.inject(F.REJECT, method="POST", path=PLAIN, code=-1008, nth=2, times=2)
        await b.broker.place(b.order())
        await b.hear(6.0)
        assert b.held() == b.broker.position_qty(BTC) == 0
        assert [b.rows()[f"k0000000b-BTCUSDT-0123-w{n}"] for n in range(3)] == [State.THROTTLED, State.THROTTLED, State.DONE]

    tell(story)


def test_a_throttled_stop_is_tried_until_it_is_taken():
    async def story(b: Bench):
        b.inject(F.REJECT, method="POST", path=ALGO, code=-1008, times=2)
        await b.broker.place(b.order())
        await b.hear(3.0)
        assert [algo.close_position for algo in b.algos()] == [True]

    tell(story)


def test_a_liquidation_and_a_trade_by_hand_are_told_as_what_they_are():
    async def story(b: Bench):
        await b.enter()
        b.venue.place(NewOrder("BTCUSDT", OrderSide.SELL, OrderType.MARKET, D("0.004"), client_id="by-my-hand"))
        b.market.server._settle(changed=True)
        await b.hear(1.0)
        fill = b.fills()[-1]
        assert (fill.client_id, fill.qty, fill.purpose, fill.reason) == (
            "by-my-hand",
            D("0.004"),
            OrderPurpose.EXIT,
            ExitReason.BY_HAND,
        )
        assert b.alerts[0][:2] == ("page", "by_hand")
        assert b.held() == b.broker.position_qty(BTC) == D("0.006")
        b.venue.place(NewOrder("BTCUSDT", OrderSide.SELL, OrderType.MARKET, D("0.010"), client_id="and-more"))
        b.market.server._settle(changed=True)
        await b.hear(1.0)
        assert b.fills()[-1].qty == D("0.006")  # what it opened beyond is no plan's
        assert b.broker._outbox.booked(BTC) == 0
        assert "belong to no plan" in b.broker.halted[BTC]
        (stop,) = b.algos()
        assert stop.side is OrderSide.BUY  # it is covered all the same

    tell(story)


def test_what_the_venue_holds_beyond_the_record_is_covered_halted_and_can_be_accepted():
    async def story(b: Bench):
        b.inject(F.MISSING_EVENT, times=0)
        b.venue.place(NewOrder("ETHUSDT", OrderSide.BUY, OrderType.MARKET, D("0.010"), client_id="foreign"))
        b.market.server._settle(changed=True)
        (difference,) = await b.broker.compare()
        assert (difference.symbol, difference.venue, difference.outbox) == (ETH, D("0.010"), 0)
        assert difference.remedy == (
            "sell 0.010 ETH/USDT:USDT reduce-only at the exchange, or `brain accept` takes it over under a stop"
        )
        assert b.broker.halted == {ETH: str(difference)}
        await b.hear(1.0)
        (stop,) = b.algos("ETHUSDT")
        assert stop.close_position
        await b.broker.accept(ETH, D("0.010"), "it is mine")
        await b.hear(3.0)
        assert b.broker.halted == {}
        assert b.broker.position_qty(ETH) == D("0.010")
        assert b.broker._outbox.booked(ETH) == 0
        await b.broker.accept(ETH, D("0.010"), "nothing to accept")

    tell(story)


@pytest.mark.parametrize("policy", ForeignPolicy)
def test_orders_that_are_none_of_ours_are_told_and_left_alone(policy):
    async def story(b: Bench):
        b.venue.place(NewOrder("BTCUSDT", OrderSide.BUY, OrderType.LIMIT, D("0.010"), D("48000"), client_id="foreign"))
        b.market.server._settle(changed=True)
        await b.hear(2.0)
        await b.broker.compare()
        assert ("none of ours" in b.broker.halted.get(BTC, "")) == (policy is ForeignPolicy.HALT)
        assert len(b.venue.open_orders("BTCUSDT")) == 1

    tell(story, options=LiveOptions(foreign=policy))


def test_orders_of_our_form_that_are_not_on_record_are_cancelled_or_taken_over():
    """They were sent while the disk was full, by a process that did not live to write them down."""

    async def story(b: Bench):
        await b.enter()
        await b.broker.stop()
        place, b_ = b.venue.place, "k0000000b-BTCUSDT-4567-"
        place(NewOrder("BTCUSDT", OrderSide.BUY, OrderType.LIMIT, D("0.010"), D("48000"), client_id=f"{b_}e0"))
        place(NewOrder("BTCUSDT", OrderSide.SELL, OrderType.LIMIT, D("0.010"), D("53000"), reduce_only=True, client_id=f"{b_}t1"))
        recovery = await b.start()
        assert [order.client_id for order in b.venue.open_orders("BTCUSDT")] == [f"{b_}t1"]
        assert b.rows()[f"{b_}t1"] is State.ACK
        assert f"cancelled order {b_}e0 of BTC/USDT:USDT: it has our form, and is not on record" in recovery.actions
        await b.broker.place(b.exit())
        await b.hear(3.0)
        assert b.venue.open_orders("BTCUSDT") == ()  # what was taken over goes with the position

    tell(story)


def test_a_closing_stop_of_somebody_else_is_taken_for_cover():
    async def story(b: Bench):
        b.inject(F.REJECT, method="POST", path=ALGO, code=-4130, times=0)
        await b.broker.place(b.order())
        await b.hear(0.15)
        b.venue.place_algo(
            NewAlgo(
                "BTCUSDT", OrderSide.SELL, AlgoType.STOP_MARKET, trigger_price=D("45000"), close_position=True,
                working_type=WorkingType.MARK_PRICE, client_id="a-persons",
            )
        )  # fmt: skip
        b.market.server._settle(changed=True)
        await b.hear(2.0)
        assert b.held() == D("0.010")
        assert b.rows()["a-persons"] is State.ACK

    tell(story, options=LiveOptions(naked_s=5.0))


def test_an_order_that_the_venue_forgot_is_over_and_the_position_covered_anew():
    async def story(b: Bench):
        await b.enter()
        await b.hear(11.0)
        b.inject(F.MISSING_EVENT, times=0)
        b.venue.cancel_all_algos("BTCUSDT")
        b.venue.drain_words()
        b.inject(F.REJECT, method="GET", path=ALGO, code=-2013, times=3)
        await b.broker.compare()
        await b.hear(2.0)
        assert b.alerts[0] == ("warning", "order_lost", f"the exchange has forgotten order {C0} of {BTC}")
        assert b.rows()[C0] is State.DONE
        assert [algo.close_position for algo in b.algos()] == [True]

    tell(story)


def test_a_position_that_does_not_hold_still_is_judged_when_it_is_quiet_and_keeps_no_other_waiting():
    async def story(b: Bench):
        await b.enter()
        await b.hear(4.0)
        real, sizes = b.broker._account.positions, iter(range(1_000))

        async def positions():
            return tuple(replace(seen, qty=seen.qty + (next(sizes) if seen.symbol == BTC else 0)) for seen in await real())

        next(sizes)
        b.broker._account.positions = positions
        b.inject(F.MISSING_EVENT, times=0)
        b.venue.place(NewOrder("ETHUSDT", OrderSide.BUY, OrderType.MARKET, D("0.010"), client_id="foreign"))
        b.market.server._settle(changed=True)
        with pytest.raises(Unsettled):
            await b.broker.compare()
        assert list(b.broker.halted) == [ETH]
        await b.hear(0.5)
        assert len(b.algos("ETHUSDT")) == 1

    tell(story)


@pytest.mark.parametrize("name", ["a-persons", "k0000000b-BTCUSDT-7777-t9"])
def test_a_closing_take_profit_is_no_stop(name):
    """The exchange's own "TP/SL for the position" makes one: it covers nothing when the stop is gone."""

    async def story(b: Bench):
        await b.enter()
        take = NewAlgo("BTCUSDT", OrderSide.SELL, AlgoType.TAKE_PROFIT_MARKET, trigger_price=D("60000"), close_position=True)
        b.venue.place_algo(replace(take, client_id=name))
        b.market.server._settle(changed=True)
        await b.hear(1.0)
        ours = name != "a-persons"
        assert [algo.client_id for algo in b.algos()] == ([C0] if ours else [C0, name])
        assert [halt.kind.value for halt in b.broker.halts] == ["other_daemon" if ours else "foreign_order"]
        b.venue.cancel_algo(client_id=C0)
        b.market.server._settle(changed=True)
        await b.hear(1.0)
        assert [algo.type for algo in b.algos()].count(AlgoType.STOP_MARKET) == 1

    tell(story)


def test_funding_is_told_once_with_its_rate():
    async def story(b: Bench):
        await b.enter()
        now = b.world.clocks.now_ms()
        await b.market.play(FundingTick("BTCUSDT", now, D("0.0001"), D("50000")))
        await b.hear(2.0)
        await b.broker.compare()
        await b.hear()
        (paid,) = [event for event in b.told if type(event).__name__ == "FundingPayment"]
        assert (paid.symbol, paid.ts, paid.qty) == (BTC, now, D("0.010"))
        assert paid.amount == pytest.approx(-0.05)
        assert paid.rate == pytest.approx(0.0001, rel=1e-3)

    tell(story)


def test_a_part_that_fails_calls_a_person_and_halts_the_account():
    async def story(b: Bench):
        async def fails():
            raise ValueError("a mistake")

        b.broker._desk.start(fails(), "a part")
        await b.hear(0.1)
        assert b.broker.halted == {"": "a part failed: ValueError: a mistake"}
        await b.hear(1_000.0)  # it was work that is not begun anew, and nobody knows what of it is missing
        assert "" in b.broker.halted
        b.broker.resume("", HaltKind.PART_FAILED, "a part")
        assert b.broker.halted == {}

    tell(story)


@pytest.fixture
def short_trial(monkeypatch):
    """Five minutes."""
    monkeypatch.setattr(desk, "_RUNS_WELL_S", 300.0)


def test_a_part_that_goes_on_well_for_long_halts_no_more(short_trial):
    """It stood until the next start, whatever had become of it."""

    async def story(b: Bench):
        loop, begun = b.world.loop, []

        async def part():
            begun.append(loop.time())
            await asyncio.sleep(100.0 if len(begun) == 2 else 0.0)
            if len(begun) < 3:
                raise ValueError(f"mistake {len(begun)}")
            await asyncio.Event().wait()

        b.broker._desk.keep(part, "a part")
        await b.hear(1.0)
        assert b.broker.halted[""].startswith("a part failed: ValueError: mistake 1; it goes on")
        await b.hear(350.0)
        assert "mistake 2" in b.broker.halted[""]
        await b.hear(52.0)
        assert b.broker.halted == {}
        assert [text for level, _, text in b.alerts if level == "page"] == [
            f"the whole account: a part failed: ValueError: mistake {n}; it goes on, and this goes when it has done so "
            "without another for 300 s"
            for n in (1, 2)
        ]

    tell(story)


def test_a_symbol_that_could_not_be_looked_at_for_a_while_halts_no_more_in_the_end(short_trial):
    async def story(b: Bench):
        real, until = b.broker._guardian.exposure, b.world.loop.time() + 30.0

        def exposure(symbol):
            if b.world.loop.time() < until:
                raise KeyError(symbol)
            return real(symbol)

        b.broker._guardian.exposure = exposure
        b.broker._guardian.changed(BTC)
        await b.hear(310.0)
        assert "guardian of BTC/USDT:USDT failed: KeyError" in b.broker.halted[""]
        await b.hear(25.0)
        assert b.broker.halted == {}

    tell(story)


def test_a_stop_of_the_broker_ends_what_was_on_trial(short_trial):
    async def story(b: Bench):
        b.broker._desk.failed("a part", ValueError("a mistake"), goes_on=True)
        await b.broker.stop()
        await asyncio.sleep(400.0)  # its outbox is closed by then
        b.lives = 0

    tell(story)
