"""A start makes exchange and outbox agree, or says exactly what does not (F6)."""

import asyncio
import gc

import pytest
from msgspec.structs import replace

from core.codes import RefusalCode
from core.data.blocks import Book
from core.errors import AccountRefused, BrainError, StateError, Unanswered
from core.exec.live.checks import OTHER_FILTERS
from core.exec.live.crash import CrashPoint
from core.exec.live.settings import LiveOptions
from core.exec.live.states import State
from core.sim.local.values import AlgoType, MarginType, NewAlgo, NewOrder, OrderSide, OrderType
from core.sim.server.faults import FaultKind as F
from core.sim.server.options import KeyScope
from core.types import OrderPurpose, OrderStatus
from tests.core.exec.live.kit import BTC, ETH, Bench, D, tell

ENTRY = "k0000000b-BTCUSDT-0123-e0"
PLAIN, ALGO = "/fapi/v1/order", "/fapi/v1/algoOrder"


def test_the_first_start_sets_the_account_up_and_the_second_finds_it_so():
    async def story(b: Bench):
        first = await b.start()
        assert first.agreed
        assert first.actions == ("set BTC/USDT:USDT to isolated 3x", "set ETH/USDT:USDT to isolated 3x")
        assert b.venue.symbol_config("BTCUSDT").margin_type is MarginType.ISOLATED
        second = await b.restart()
        assert (second.agreed, second.actions, second.differences, second.warnings) == (True, (), (), ())

    tell(story, start=False)


@pytest.mark.parametrize(("scope", "code"), [(KeyScope(withdrawals=True), "LIVE-010"), (KeyScope(futures=False), "LIVE-011")])
def test_a_key_that_may_do_too_much_or_too_little_is_refused(scope, code):
    async def story(b: Bench):
        with pytest.raises(BrainError) as refused:
            await b.start()
        assert refused.value.code == code
        assert refused.value.help

    tell(story, start=False, scope=scope)


def test_hedge_mode_is_left_where_nothing_is_open_and_refused_where_something_is():
    async def story(b: Bench):
        b.venue.set_dual_side(True)
        assert "set the account to one-way mode" in (await b.start()).actions
        await b.broker.stop()
        resting = NewOrder("BTCUSDT", OrderSide.BUY, OrderType.LIMIT, D("0.010"), D("48000"), client_id="x")
        b.venue.place(resting)
        hedged = b.broker._account.hedged
        b.make()

        async def yes():
            return True

        b.broker._account.hedged = yes
        assert hedged != yes
        with pytest.raises(BrainError, match="hedge mode") as refused:
            await b.broker.start()
        assert refused.value.code == "LIVE-012"

    tell(story, start=False)


def test_a_clock_that_is_far_off_is_refused():
    async def story(b: Bench):
        b.world.jump_clock("world", -10_000)
        with pytest.raises(BrainError, match="the clock is 10000 ms behind") as refused:
            await b.start()
        assert refused.value.code == "LIVE-013"

    tell(story, start=False)


def test_a_check_asks_and_sets_nothing():
    """Before anything begins: an account that is not set up yet stays as it is."""

    async def story(b: Bench):
        b.venue.set_dual_side(True)
        held = await b.make().check()
        assert held.wallet == D("1000")
        assert b.venue.dual_side
        assert b.venue.symbol_config("BTCUSDT").margin_type is not MarginType.ISOLATED

    tell(story, start=False)


def test_an_account_that_cannot_be_asked_is_refused_in_words():
    async def story(b: Bench):
        b.inject(F.REJECT, path="/sapi/v1/account/apiRestrictions", code=-2015)
        with pytest.raises(BrainError, match="does not take API_KEY") as refused:
            await b.make().check()
        assert refused.value.code == "LIVE-014"

    tell(story, start=False)


def test_what_the_owner_moves_can_be_asked_for():
    """X11."""

    async def story(b: Bench):
        since = b.world.clocks.now_ms()
        assert await b.broker.transfers(since) == ()
        b.venue.transfer(D(-100))
        b.venue.transfer(D(30))
        assert [transfer.amount for transfer in await b.broker.transfers(since)] == [D(-100), D(30)]
        await asyncio.sleep(0.5)
        assert b.broker.wallet == D(930)

    tell(story)


def test_money_that_the_owner_moved_between_any_of_his_wallets_is_a_transfer_and_what_trading_brought_is_none():
    """X11: the venue lists it under several kinds."""

    async def story(b: Bench):
        since = b.world.clocks.now_ms()
        engine = b.venue._engine
        for number, kind in enumerate(
            ("INTERNAL_TRANSFER", "STRATEGY_UMFUTURES_TRANSFER", "COIN_SWAP_DEPOSIT", "COIN_SWAP_WITHDRAW", "TRANSFER")
        ):
            engine.book_income("", kind, D(number + 1))
        for kind in ("COMMISSION", "FUNDING_FEE", "REALIZED_PNL", "INSURANCE_CLEAR"):
            engine.book_income("", kind, D(-50))
        assert sorted(transfer.amount for transfer in await b.broker.transfers(since)) == [D(n) for n in range(1, 6)]

    tell(story)


def test_a_symbol_that_is_not_listed_is_refused():
    async def story(b: Bench):
        with pytest.raises(BrainError, match="XRP/USDT:USDT not listed") as refused:
            await b.start()
        assert refused.value.code == "VENUE-002"

    tell(story, start=False, symbols=("XRP/USDT:USDT",))


def test_filters_that_changed_and_minimums_beyond_the_account_are_told():
    async def story(b: Bench):
        b.make()
        b.broker._desk.instruments[BTC] = type(b.broker._desk.instruments[BTC])(
            **{
                **{f: getattr(b.broker._desk.instruments[BTC], f) for f in b.broker._desk.instruments[BTC].__slots__},
                "min_qty": D("0.002"),
            }
        )
        recovery = await b.broker.start()
        nothing = "nothing can be opened there; pay in, or leave it out"
        assert recovery.warnings == (
            "min_qty of BTC/USDT:USDT is 0.001 at the exchange, 0.002 in configs/symbols.yaml",
            (
                "orders are sized and rounded by configs/symbols.yaml, and an entry that does not fit the exchange's is not sent;"
                " correct it once nothing is open: another configuration is another session (--state DIR), and live trading must"
                " be approved anew (brain live approve)"
            ),
            f"the smallest order of BTC/USDT:USDT is 100 USD, the account carries 60.00 USD: {nothing}",
            f"the smallest order of ETH/USDT:USDT is 100 USD, the account carries 60.00 USD: {nothing}",
        )

    tell(story, start=False, wallet="20")


def test_margin_that_is_not_as_configured_halts_a_symbol_with_a_position():
    async def story(b: Bench):
        await b.enter()
        await b.broker.stop()
        b.options = LiveOptions(leverage=2)
        recovery = await b.start()
        assert recovery.halted == (
            (
                "BTC/USDT:USDT",
                "margin is isolated 3x, expected isolated 2x; close it, or set it at the exchange, then start again",
            ),
        )
        assert not recovery.agreed
        assert "set ETH/USDT:USDT to isolated 2x" in recovery.actions

    tell(story)


def test_two_runs_never_share_an_outbox():
    async def story(b: Bench):
        with pytest.raises(StateError, match="in use by another run"):
            b.make()

    tell(story)


class Dead(BaseException):
    """The process ends here."""


DIE_AT = [
    (CrashPoint.SENT_AFTER, State.ABSENT, False),
    (CrashPoint.REPLIED, State.DONE, True),
    (CrashPoint.ACK_AFTER, State.DONE, True),
]


@pytest.mark.parametrize(("point", "state", "open_"), DIE_AT)
def test_an_order_that_a_crash_left_is_cleared_up_and_its_fate_told(point, state, open_):
    async def story(b: Bench):
        def crash(at):
            if at is point:
                b.crash = lambda _: None
                b.broker._outbox._crash = lambda _: None
                raise Dead

        b.broker._outbox._crash = b.broker._desk._crash = crash
        placing = asyncio.create_task(b.broker.place(b.order()))
        await asyncio.sleep(0.05)
        placing.cancel()
        b.world.complaints.clear()
        await asyncio.gather(placing, return_exceptions=True)
        recovery = await b.restart()
        await b.hear(0.5)
        assert recovery.agreed
        assert b.rows()[ENTRY] is state
        assert bool(b.held()) == open_
        assert b.held() == b.broker.position_qty(BTC)
        again = await b.broker.place(b.order())
        assert again.status is (OrderStatus.NEW if open_ else OrderStatus.REJECTED)
        assert len(b.venue_ids()) == open_
        if open_:
            assert [algo.close_position for algo in b.algos()] == [True]

    tell(story)


def test_fills_that_were_missed_between_two_lives_are_told_and_nothing_is_told_twice():
    async def story(b: Bench):
        await b.enter()
        await b.broker.place(b.take(qty="0.010"))
        await b.hear()
        saved = b.broker.snapshot()
        await b.broker.stop()
        await b.market.play(b.market.trade("50600"))
        b.make()
        b.broker.restore(saved)
        recovery = await b.broker.start()
        assert recovery.agreed
        told = await b.hear(0.5)
        assert [(fill.client_id, fill.qty) for fill in b.fills()] == [(ENTRY, D("0.010")), (b.take().client_id, D("0.010"))]
        assert len(told) == 2
        assert b.algos() == []

    tell(story)


def test_an_order_in_doubt_is_judged_though_fills_of_others_were_missed():
    """F6: the two wait for each other where the fills are fetched only after every doubt is cleared."""

    async def story(b: Bench):
        await b.enter()
        await b.broker.place(b.take(qty="0.004"))
        b.inject(F.DROP_BEFORE, method="POST", path=ALGO)
        await b.broker.place(b.stop())
        await b.broker.stop()
        await b.market.play(b.market.trade("50600"))
        async with asyncio.timeout(30.0):
            assert (await b.start()).agreed
        assert b.rows()[b.stop().client_id] is State.ABSENT
        assert b.held() == b.broker.position_qty(BTC) == D("0.006")

    tell(story)


def test_a_fill_that_the_stream_lost_between_two_others_is_asked_for():
    """F6: the last fill on record says nothing of those before it."""

    async def story(b: Bench):
        await b.enter()
        await b.broker.place(b.take(qty="0.004"))
        await b.broker.place(b.take("k0000000b-BTCUSDT-0123-t4", "50900.0", "0.003"))
        b.inject(F.MISSING_EVENT, times=0)
        await b.market.play(b.market.trade("50600"))
        b.market.server.clear_faults()
        await b.market.play(b.market.trade("51000"))
        assert (await b.restart()).agreed
        assert await b.broker.compare() == ()
        assert b.held() == b.broker.position_qty(BTC) == D("0.003")

    tell(story)


def test_a_stop_that_was_reached_while_the_bot_was_down_and_did_not_act_is_not_waited_for_again():
    """Seen for the first time it was believed in for three seconds more, with nothing else under the position."""

    async def story(b: Bench):
        await b.enter()
        await b.broker.place(b.stop())
        await b.hear(1.0)
        await b.broker.stop()
        b.inject(F.STUCK_TRIGGER, times=0)
        await b.market.play(b.market.trade("44400"), b.market.mark("44400"))
        await asyncio.sleep(5.0)
        assert b.held() == D("0.010")
        starting = asyncio.create_task(b.start())
        await b.until(lambda: b.held() == 0, 1.0)
        await starting
        assert b.broker.position_qty(BTC) == 0

    tell(story)


def test_what_the_books_heard_after_their_snapshot_is_told_again():
    async def story(b: Bench):
        saved = b.broker.snapshot()
        await b.enter()
        heard = await b.hear()
        await b.broker.stop()
        b.make()
        b.broker.restore(saved)
        assert (await b.broker.start()).agreed
        assert await b.hear() == heard

    tell(story)


def test_a_position_that_lost_its_stop_is_covered_before_the_start_returns():
    async def story(b: Bench):
        await b.enter()
        await b.broker.stop()
        b.venue.cancel_all_algos("BTCUSDT")
        assert (await b.start()).agreed
        assert [algo.close_position for algo in b.algos()] == [True]

    tell(story)


def test_a_position_that_can_neither_be_covered_nor_closed_is_told():
    async def story(b: Bench):
        await b.enter()
        await b.broker.stop()
        b.venue.cancel_all_algos("BTCUSDT")
        b.inject(F.REJECT, method="POST", path=PLAIN, code=-1008, times=0)
        b.inject(F.REJECT, method="POST", path=ALGO, code=-1008, times=0)
        recovery = await b.start()
        assert recovery.halted == ((BTC, "0.01 could neither be covered nor closed; do so at the exchange"),)

    tell(story)


def test_positions_and_orders_from_before_the_first_start_are_covered_and_reported():
    async def story(b: Bench):
        b.venue.place(NewOrder("ETHUSDT", OrderSide.SELL, OrderType.MARKET, D("0.010"), client_id="a-person"))
        recovery = await b.start()
        assert not recovery.agreed
        assert [symbol for symbol, _ in recovery.halted] == [ETH]
        assert (recovery.differences[0].venue, recovery.differences[0].outbox) == (D("-0.010"), 0)
        (stop,) = b.algos("ETHUSDT")
        assert (stop.close_position, stop.side) == (True, OrderSide.BUY)

    tell(story, start=False)


def test_cancels_that_were_asked_for_go_on_and_leftovers_of_a_flat_symbol_go():
    async def story(b: Bench):
        await b.enter()
        await b.broker.place(b.take())
        row = b.broker._outbox.rows[b.take().client_id]
        b.broker._outbox.note(row, cancel_wanted=True)
        await b.broker.place(b.stop())
        await b.restart()
        await b.hear(1.0)
        assert b.venue.open_orders("BTCUSDT") == ()
        assert len(b.algos()) == 2
        await b.broker.stop()
        b.venue.place(
            NewOrder("BTCUSDT", OrderSide.SELL, OrderType.MARKET, D("0.010"), reduce_only=True, client_id="autoclose-5")
        )
        await b.start()
        await b.hear(2.0)
        assert b.algos() == []

    tell(story)


def test_an_entry_of_long_ago_that_still_rests_is_called_back():
    async def story(b: Bench):
        await b.enter()
        row = b.broker._outbox.rows[ENTRY]
        old = replace(
            row, client_id="k0000000b-BTCUSDT-0123-e9", told_as="k0000000b-BTCUSDT-0123-e9", state=State.ACK, ts=0, filled=D(0)
        )
        b.broker._outbox.add(old, 0, must=True)
        b.venue.place(NewOrder("BTCUSDT", OrderSide.BUY, OrderType.LIMIT, D("0.010"), D("48000"), client_id=old.client_id))
        await b.restart()
        await b.hear(1.0)
        assert b.venue.open_orders("BTCUSDT") == ()

    tell(story)


def test_a_stop_that_worked_between_two_lives_is_told_with_its_fill():
    async def story(b: Bench):
        await b.enter()
        await b.broker.place(b.stop())
        await b.hear()
        saved = b.broker.snapshot()
        await b.broker.stop()
        await b.market.play(b.market.trade("49400"), b.market.mark("49400"))
        b.make()
        b.broker.restore(saved)
        assert (await b.broker.start()).agreed
        await b.hear(1.0)
        assert b.fills()[-1].client_id == b.stop().client_id
        assert b.updates(b.stop().client_id) == [(OrderStatus.FILLED, None)]
        assert b.held() == b.broker.position_qty(BTC) == 0

    tell(story)


def test_a_stop_of_our_form_that_is_not_on_record_is_taken_over():
    async def story(b: Bench):
        await b.enter()
        stop = NewAlgo("BTCUSDT", OrderSide.SELL, AlgoType.STOP_MARKET, D("0.005"), trigger_price=D("49000"), reduce_only=True)
        b.venue.place_algo(replace(stop, client_id="k0000000b-BTCUSDT-0123-s7"))
        await b.restart()
        assert b.rows()["k0000000b-BTCUSDT-0123-s7"] is State.ACK

    tell(story)


def test_a_stream_that_cannot_be_had_ends_the_start():
    async def story(b: Bench):
        b.inject(F.REJECT, method="POST", path="/fapi/v1/listenKey", times=0)
        with pytest.raises(BrainError, match="stream") as refused:
            await b.start()
        assert refused.value.code == "VENUE-004"

    tell(story, start=False)


def test_a_start_that_could_not_compare_says_so_and_opens_nothing_before_it_can():
    """One comparison may take longer than a start waits, without any of its questions failing three times (finding D2)."""

    async def story(b: Bench):
        await b.start()
        await b.broker.stop()
        b.inject(F.HANG, method="GET", path="/fapi/v1/openOrders", times=0, delay_ms=60_000)
        b.make()
        recovery = await b.broker.start()
        assert not recovery.agreed
        assert "could not be compared in 1 s" in recovery.halted[0][1]
        assert (await b.broker.place(b.order())).code is RefusalCode.SYMBOL_HALTED
        b.market.server.clear_faults()
        await b.until(lambda: not b.broker.halted)

    tell(story, start=False, options=LiveOptions(leverage=3, unknown_cap_s=1.0))


def test_positions_that_nobody_tells_leave_nothing_behind_when_a_start_is_given_up():
    """The client library asked for them on its own beside the account's stream, and logged a signed address when that failed."""

    async def story(b: Bench):
        b.inject(F.HANG, method="GET", path="/fapi/v3/positionRisk", times=0, delay_ms=60_000)
        starting = asyncio.ensure_future(b.start())
        await asyncio.sleep(5.0)
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await b.broker.stop()
        await asyncio.sleep(5.0)
        gc.collect()
        assert b.world.complaints == []
        b.market.server.clear_faults()
        assert (await b.start()).agreed

    tell(story, start=False)


def test_a_clock_that_steps_during_a_start_is_measured_and_the_question_asked_again():
    """It ended the start (finding D4)."""

    async def story(b: Bench):
        b.inject(F.REJECT, method="GET", path="/fapi/v1/symbolConfig", code=-1021, times=3)
        recovery = await b.start()
        assert recovery.agreed

    tell(story, start=False)


def test_filters_that_the_exchange_changes_hold_at_once_and_are_told():
    """What a start had read held until the next one (finding D13)."""

    async def story(b: Bench):
        listings = b.venue.listings
        listings["BTCUSDT"] = replace(listings["BTCUSDT"], min_notional=D(600))
        await b.hear(6.0)
        what = f"min_notional of {BTC} is 600 at the exchange now, was 100"
        assert b.alerts == [("warning", "filters", f"{what}; {OTHER_FILTERS}")]
        assert (await b.broker.place(b.order())).code is RefusalCode.FILTER_REJECTED
        b.inject(F.UNKNOWN, method="GET", path="/fapi/v1/exchangeInfo")
        await b.hear(5.0)
        (again,) = b.alerts[1:]
        assert again[:2] == ("warning", "filters")
        assert again[2].startswith("the exchange's filters were not read: ExchangeNotAvailable; those from before hold, and they")
        assert again[2].endswith("are asked for again in 5 s; told again and again, look whether the exchange is in maintenance")
        assert b.broker._sender.limits[BTC].min_notional == D(600)

    tell(story, options=LiveOptions(leverage=3, filters_every_s=5.0))


def test_filters_that_come_to_what_is_configured_ask_for_nothing():
    """`filters`: a person is told what to do, and that it is nothing."""

    async def story(b: Bench):
        listings = b.venue.listings
        listings["BTCUSDT"] = replace(listings["BTCUSDT"], min_notional=D(600))
        await b.hear(6.0)
        listings["BTCUSDT"] = replace(listings["BTCUSDT"], min_notional=D(100))
        await b.hear(5.0)
        what = f"min_notional of {BTC} is 100 at the exchange now, was 600"
        assert b.alerts[1:] == [
            ("warning", "filters", f"{what}; configs/symbols.yaml says nothing else: nothing is to be done there")
        ]

    tell(story, options=LiveOptions(leverage=3, filters_every_s=5.0))


def test_filters_that_make_orders_of_ours_illegal_name_them_and_call_a_person():
    """A coarser tick: the stop that rests stays, and no other can take its place; nothing more is opened there."""

    async def story(b: Bench):
        await b.enter()
        stop, take = b.stop(price="49500.1"), b.take(price="50500.5")
        for order in (stop, take):
            assert (await b.broker.place(order)).status is OrderStatus.NEW
        b.alerts.clear()
        listings = b.venue.listings
        listings["BTCUSDT"] = replace(listings["BTCUSDT"], tick=D("0.5"))
        await b.hear(6.0)
        ((level, code, text),) = b.alerts
        assert (level, code) == ("page", "filters")
        assert text == (
            f"tick_size of {BTC} is 0.5 at the exchange now, was 0.10; of ours at the exchange {stop.client_id} would be refused"
            f" by it now: see there that they still stand; the stop of {BTC} cannot be moved or placed again: close the"
            f" position, or watch it yourself; {OTHER_FILTERS}"
        )
        add = b.order("k0000000b-BTCUSDT-0123-a4", purpose=OrderPurpose.ADD)
        refused = await b.broker.place(add)
        assert (refused.status, refused.code) == (OrderStatus.REJECTED, RefusalCode.FILTER_REJECTED)
        assert "no stop can be placed" in refused.message

    tell(story, options=LiveOptions(leverage=3, filters_every_s=5.0))


@pytest.mark.parametrize("path", ["/sapi/v1/account/apiRestrictions", "/fapi/v1/multiAssetsMargin"])
def test_what_is_open_is_covered_though_the_account_cannot_be_asked(path):
    """Neither a key's scope nor the account's mode is needed for a stop (F6)."""

    async def story(b: Bench):
        await b.enter()
        await b.broker.stop()
        b.venue.cancel_all_algos("BTCUSDT")
        b.inject(F.HTML, method="GET", path=path, times=0, executed=False)
        b.make()
        with pytest.raises(Unanswered):
            await b.broker.check()
        assert [algo.close_position for algo in b.algos()] == [True]

    tell(story)


def test_what_is_open_is_covered_though_the_stream_cannot_be_had():
    async def story(b: Bench):
        await b.enter()
        await b.broker.stop()
        b.venue.cancel_all_algos("BTCUSDT")
        b.inject(F.REJECT, method="POST", path="/fapi/v1/listenKey", times=0)
        with pytest.raises(BrainError, match="stream"):
            await b.start()
        assert [algo.close_position for algo in b.algos()] == [True]

    tell(story)


@pytest.mark.parametrize(("path", "code"), [("/fapi/v1/marginType", -4047), ("/fapi/v1/leverage", -4028)])
def test_margin_that_the_exchange_does_not_change_halts_its_symbol_alone(path, code):
    """The start asked for it for ever, and nobody traded, trailed or closed anything meanwhile."""

    async def story(b: Bench):
        b.inject(F.REJECT, method="POST", path=path, code=code, message="there are open orders")
        recovery = await b.start()
        assert dict(recovery.halted) == {
            BTC: "margin is crossed 20x, expected isolated 3x, and the exchange does not change that: "
            f"{code} there are open orders; cancel what rests there, or set it at the exchange, then start again"
        }
        assert "set ETH/USDT:USDT to isolated 3x" in recovery.actions
        assert (await b.restart()).agreed

    tell(story, start=False)


def test_hedge_mode_that_the_exchange_does_not_change_refuses_the_account():
    async def story(b: Bench):
        b.venue.set_dual_side(True)
        b.inject(F.REJECT, method="POST", path="/fapi/v1/positionSide/dual", code=-4067, message="there are open orders")
        with pytest.raises(AccountRefused, match="-4067 there are open orders") as refused:
            await b.start()
        assert refused.value.code == "LIVE-012"

    tell(story, start=False)


def test_an_answer_about_a_setting_that_says_nothing_is_asked_for_again():
    async def story(b: Bench):
        b.inject(F.REJECT, method="POST", path="/fapi/v1/leverage", code=-1001)
        assert (await b.start()).agreed

    tell(story, start=False)


def test_an_entry_that_is_found_resting_long_after_the_start_is_called_back():
    """Whoever was to reprice it is gone with the last life, however late it is found."""

    async def story(b: Bench):
        b.books[BTC] = Book(BTC, 0, 49_990.0, 49_995.0, 1e6, False)
        b.inject(F.DROP_AFTER, method="POST", path=PLAIN)
        b.inject(F.MISSING_EVENT, stream="ORDER_TRADE_UPDATE")
        for path in (PLAIN, "/fapi/v1/openOrders", "/fapi/v1/userTrades"):
            b.inject(F.UNKNOWN, method="GET", path=path, times=0)
        placing = asyncio.create_task(b.broker.place(b.order()))
        await asyncio.sleep(0.2)
        await b.broker.stop()
        await asyncio.gather(placing, return_exceptions=True)
        assert not (await b.start()).agreed
        assert [order.client_id for order in b.venue.open_orders("BTCUSDT")] == [ENTRY]
        b.market.server.clear_faults()
        await b.until(lambda: not b.venue.open_orders("BTCUSDT"), 120.0)

    tell(story, options=LiveOptions(post_only=True, reprices=2, rest_s=1.0, unknown_cap_s=5.0))


def test_settings_are_not_touched_on_a_symbol_that_is_flat_while_an_order_of_ours_rests_there():
    """It was sized under the old ones; the venue would change the leverage under it."""

    async def story(b: Bench):
        b.books[BTC] = Book(BTC, 0, 49_990.0, 49_995.0, 1e6, False)
        await b.broker.place(b.order())
        await b.broker.stop()
        assert (b.held(), len(b.venue.open_orders("BTCUSDT"))) == (0, 1)
        b.options = LiveOptions(leverage=2)
        b.make()
        account, asked = b.broker._account, []
        real = account.set_mode

        async def set_mode(mode):
            asked.append(mode.symbol)
            await real(mode)

        account.set_mode = set_mode
        recovery = await b.broker.start()
        want = "margin is isolated 3x, expected isolated 2x; close it, or set it at the exchange, then start again"
        assert recovery.halted == ((BTC, want),)
        assert asked == [ETH]
        config = b.venue.symbol_config("BTCUSDT")
        assert (config.leverage, config.margin_type) == (3, MarginType.ISOLATED)

    tell(story, options=LiveOptions(leverage=3, post_only=True, rest_s=30.0))


def _half_recorded(b: Bench) -> None:
    """The process dies between the reply to an entry and the word of its fill."""
    b.broker._intake.trade = lambda _: None  # type: ignore[method-assign]
    b.broker._guardian.look = lambda: None  # type: ignore[method-assign]


def test_an_entry_whose_fill_was_not_written_down_is_covered_though_the_account_cannot_be_asked():
    async def story(b: Bench):
        _half_recorded(b)
        await b.broker.place(b.order())
        await b.broker.stop()
        assert (b.held(), b.algos()) == (D("0.010"), [])
        b.inject(F.HTML, method="GET", path="/sapi/v1/account/apiRestrictions", times=0, executed=False)
        b.make()
        with pytest.raises(Unanswered):
            await b.broker.check()
        assert [algo.close_position for algo in b.algos()] == [True]

    tell(story)


def test_an_entry_that_comes_to_be_filled_while_a_start_waits_is_covered_at_once():
    """The account's stream does not stand yet; what is found tells that all must be compared."""

    async def story(b: Bench):
        crash = {"left": True}

        def dies(at: CrashPoint) -> None:
            if at is CrashPoint.SENT_AFTER and crash.pop("left", False):
                raise Dead

        b.broker._outbox._crash = b.broker._desk._crash = dies
        placing = asyncio.create_task(b.broker.place(b.order()))
        await asyncio.sleep(0.05)
        placing.cancel()
        b.world.complaints.clear()
        await asyncio.gather(placing, return_exceptions=True)
        await b.broker.stop()
        b.make()
        await b.broker.check()
        await asyncio.sleep(0.2)
        b.venue.place(NewOrder("BTCUSDT", OrderSide.BUY, OrderType.MARKET, D("0.010"), None, client_id=ENTRY))
        await asyncio.sleep(2.0)
        assert [algo.close_position for algo in b.algos()] == [True]

    tell(story)


@pytest.mark.parametrize("path", ["/fapi/v1/time", "/fapi/v1/exchangeInfo"])
def test_one_answer_that_says_nothing_keeps_no_position_without_its_stop(path):
    async def story(b: Bench):
        await b.enter()
        await b.broker.stop()
        b.venue.cancel_all_algos("BTCUSDT")
        b.inject(F.REJECT, method="GET", path=path, code=-1001)
        b.make()
        await b.broker.check()
        assert [algo.close_position for algo in b.algos()] == [True]

    tell(story)


def test_an_exchange_that_tells_no_markets_is_waited_for_in_bounded_time():
    async def story(b: Bench):
        await b.enter()
        await b.broker.stop()
        b.inject(F.REJECT, method="GET", path="/fapi/v1/exchangeInfo", code=-1001, times=0)
        b.make()
        begun = asyncio.get_running_loop().time()
        await b.broker.check()
        assert 10.0 <= asyncio.get_running_loop().time() - begun < 12.0
        assert not b.broker._recoverer._reached

    tell(story)


def test_what_is_open_is_covered_though_another_symbol_is_not_listed():
    async def story(b: Bench):
        await b.enter()
        await b.broker.stop()
        b.venue.cancel_all_algos("BTCUSDT")
        b.symbols = (BTC, "XYZ/USDT:USDT")
        with pytest.raises(AccountRefused, match="XYZ/USDT:USDT not listed"):
            await b.start()
        assert [algo.close_position for algo in b.algos()] == [True]

    tell(story)


def test_a_key_that_is_refused_while_what_is_open_is_covered_stays_refused():
    """Only what an earlier life was refused is looked at anew by a start."""

    async def story(b: Bench):
        await b.enter()
        await b.broker.stop()
        b.venue.cancel_all_algos("BTCUSDT")
        b.inject(F.REJECT, method="POST", path=ALGO, code=-2015)
        recovery = await b.start()
        assert [where for where, _ in recovery.halted] == [""]

    tell(story)
