"""A source of bars, played tick by tick."""

from __future__ import annotations

import json
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from msgspec import structs

from core.data.blocks import Bars, Batch, Book, FundingRate, PriceAt
from core.data.sources.replay import ReplaySource
from core.data.sources.scenarios import Scenario
from core.data.sources.synthetic import SyntheticSource
from core.data.timeframes import bucket_open
from core.errors import SourceError
from core.sim.local.values import BookTick, FundingTick, KlineTick, MarkTick, OrderSide, Tick, TradeTick
from core.sim.tape.candles import number
from core.sim.tape.source import SourceTape, TapeOptions
from core.types import Timeframe
from tests.core.data.making import DAY, HOUR, random_bars, write, write_funding
from tests.core.sim.tape.kit import BTC, ETH, M5, SPOT, T0, Given, bars_batch, finals, listed, path, played, trades

D = Decimal
QUIET = TapeOptions(mark_every_ms=0)
QUARTER = M5 // 4
ONE = bars_batch((0, T0, 100.0, 108.0, 96.0, 104.0, 8.0))
TWO = bars_batch((0, T0 + M5, 105.0, 106.0, 103.0, 103.5, 4.0))


def tape_of(*batches: Batch, options: TapeOptions = QUIET, sign: int = 0, **given: object) -> SourceTape:
    return SourceTape(Given(batches, **given), [listed(), listed(ETH)], lambda symbol: sign, options)


async def of(*batches: Batch, options: TapeOptions = QUIET, sign: int = 0, **given: object) -> list[Tick]:
    return await played(tape_of(*batches, options=options, sign=sign, **given))


# --- the path of a bar ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sign", "first", "second"),
    [(1, "96.0", "108.0"), (-1, "108.0", "96.0"), (0, "96.0", "108.0")],
    ids=["long", "short", "flat"],
)
async def test_the_extreme_against_whoever_holds_comes_first(sign: int, first: str, second: str) -> None:
    wanted = [
        (T0, D("100.0")),
        (T0 + QUARTER, D(first)),
        (T0 + 2 * QUARTER, D(second)),
        (T0 + M5 - 1, D("104.0")),
    ]
    assert path(await of(ONE, sign=sign)) == wanted


async def test_the_position_is_asked_when_the_extreme_comes_and_not_before() -> None:
    held = {"sign": 0}
    tape = SourceTape(Given([ONE]), [listed()], lambda symbol: held["sign"], QUIET)
    seen: list[D] = []
    async for tick in tape.ticks():
        if isinstance(tick, TradeTick):
            seen.append(tick.price)
            held["sign"] = -1  # bought nothing, sold short at the open
    assert seen[1:3] == [D("108.0"), D("96.0")]


async def test_who_asks_about_positions_may_be_set_later() -> None:
    tape = SourceTape(Given([ONE]), [listed()], options=QUIET)
    tape.position_sign = lambda symbol: -1 if symbol == "BTCUSDT" else 1
    assert path(await played(tape))[1][1] == D("108.0")


async def test_only_the_open_of_a_bar_is_a_gap() -> None:
    ticks = trades(await of(ONE, TWO))
    assert [tick.gap for tick in ticks] == [True, False, False, False] * 2
    assert [tick.price for tick in ticks[4:]] == [D("105.0"), D("103.0"), D("106.0"), D("103.5")]


async def test_takers_are_on_the_side_to_which_the_price_goes() -> None:
    buy, sell = OrderSide.BUY, OrderSide.SELL
    assert [tick.taker for tick in trades(await of(ONE))] == [buy, sell, buy, sell]


async def test_quantities_of_a_bars_trades_add_up_to_its_volume() -> None:
    ticks = trades(await of(bars_batch((0, T0, 100.0, 108.0, 96.0, 104.0, 8.002))))
    assert [tick.qty for tick in ticks] == [D("2.000"), D("2.000"), D("2.000"), D("2.002")]


async def test_a_bar_that_hardly_traded_traded_all_the_same() -> None:
    """Quantity 0 is kept for bars in which nothing can trade."""
    ticks = trades(await of(bars_batch((0, T0, 100.0, 108.0, 96.0, 104.0, 0.002))))
    assert [tick.qty for tick in ticks] == [D("0.001"), D("0.001"), D("0.001"), D("0.002")]


async def test_ids_of_trades_follow_each_other() -> None:
    ids = [tick.trade_id for tick in trades(await of(ONE, TWO))]
    assert all(later == earlier + 1 for earlier, later in pairwise(ids))
    assert ids[0] == T0 // M5 * 4


async def test_nothing_trades_in_a_bar_without_volume() -> None:
    """X44."""
    still = bars_batch((0, T0 + M5, 104.0, 104.0, 104.0, 104.0, 0.0))
    ticks = await of(ONE, still)
    assert [(t.ts, t.price, t.qty) for t in trades(ticks)[4:]] == [(T0 + M5, D("104.0"), D(0))]
    assert [(k.open_ts, k.volume) for k in finals(ticks, Timeframe.M5)] == [(T0, D("8.0")), (T0 + M5, D("0.0"))]


async def test_a_bar_without_volume_elsewhere_moves_the_price_once() -> None:
    moved = bars_batch((0, T0 + M5, 105.0, 105.0, 105.0, 105.0, 0.0))
    ticks = trades(await of(ONE, moved))[4:]
    assert [(tick.ts, tick.price, tick.qty) for tick in ticks] == [(T0 + M5, D("105.0"), D(0))]


async def test_a_range_without_volume_is_gone_through() -> None:
    """X44: doubt is settled against the trader."""
    ranged = bars_batch((0, T0 + M5, 104.0, 106.0, 103.0, 105.0, 0.0))
    assert [price for _, price in path(await of(ONE, ranged))[4:]] == [D("104.0"), D("103.0"), D("106.0"), D("105.0")]


@pytest.mark.parametrize(
    "bad",
    [
        (0, T0 + M5, 105.0, 103.0, 106.0, 103.5, 4.0),
        (0, T0 + M5 + 1, 105.0, 106.0, 103.0, 103.5, 4.0),
        (0, T0, 105.0, 106.0, 103.0, 103.5, 4.0),
        (0, T0 - M5, 105.0, 106.0, 103.0, 103.5, 4.0),
        (0, T0 + 2 * M5, 105.0, 106.0, 103.0, 103.5, 4.0),
    ],
    ids=["impossible", "off the grid", "twice", "late", "not over yet"],
)
async def test_bars_that_the_exchange_would_not_believe_are_not_played(
    bad: tuple[int, int, float, float, float, float, float],
) -> None:
    assert path(await of(ONE, bars_batch(bad, ts=T0 + 2 * M5))) == path(await of(ONE))


async def test_bars_of_another_timeframe_are_not_played() -> None:
    hourly = bars_batch((0, T0, 105.0, 106.0, 103.0, 103.5, 4.0), tf=Timeframe.H1)
    assert len(path(await of(ONE, hourly))) == 4


# --- order at one moment ----------------------------------------------------------------------------------


async def test_at_one_moment_funding_comes_first_then_final_candles_then_the_next_open() -> None:
    settled = FundingRate(BTC, T0 + M5, 0.0003, 8 * HOUR)
    first = bars_batch((0, T0, 100.0, 108.0, 96.0, 104.0, 8.0), funding=[settled])
    ticks = [tick for tick in await of(first, TWO, options=TapeOptions(mark_every_ms=M5)) if tick.ts == T0 + M5]
    kinds = [type(tick).__name__ + ("!" if isinstance(tick, KlineTick) and tick.final else "") for tick in ticks]
    began = ["KlineTick"] * 5
    assert kinds == ["FundingTick", "KlineTick!", "MarkTick", "TradeTick", "BookTick", "MarkTick", *began]


async def test_candles_are_final_exactly_at_their_close_and_once() -> None:
    batches = [bars_batch((0, T0 + k * M5, 100.0, 101.0, 99.0, 100.5, 1.0)) for k in range(12)]
    done = finals(await of(*batches))
    assert all(k.ts == k.open_ts + k.tf.ms for k in done)
    assert len({(k.tf, k.open_ts) for k in done}) == len(done)
    assert {tf: sum(k.tf is tf for k in done) for tf in Timeframe if tf is not Timeframe.M1} == {
        Timeframe.M5: 12,
        Timeframe.M15: 4,
        Timeframe.H1: 1,
        Timeframe.H4: 0,
        Timeframe.D1: 0,
    }


async def test_forming_candles_know_nothing_of_what_is_to_come() -> None:
    forming = [k for k in await of(ONE) if isinstance(k, KlineTick) and not k.final and k.tf is Timeframe.M5]
    assert [(k.high, k.low, k.close, k.volume) for k in forming] == [
        (D("100.0"), D("100.0"), D("100.0"), D("2.0")),
        (D("100.0"), D("96.0"), D("96.0"), D("4.0")),
        (D("108.0"), D("96.0"), D("108.0"), D("6.0")),
        (D("108.0"), D("96.0"), D("104.0"), D("8.0")),
    ]
    assert [k.trades for k in forming] == [1, 2, 3, 4]


async def test_symbols_with_bars_of_different_length_run_together() -> None:
    long = bars_batch((1, T0, 50.0, 52.0, 49.0, 51.0, 3.0), tf=Timeframe.M15)
    short = [bars_batch((0, T0 + k * M5, 100.0 + k, 102.0 + k, 99.0 + k, 101.0 + k, 1.0)) for k in range(3)]
    last = Batch(T0 + 3 * M5, (*short[2].bars, *long.bars))
    ticks = await of(*short[:2], last, base_tf={BTC: Timeframe.M5, ETH: Timeframe.M15})
    assert path(ticks, "ETHUSDT") == [
        (T0, D("50.0")),
        (T0 + 15 * 60_000 // 4, D("49.0")),
        (T0 + 15 * 60_000 // 2, D("52.0")),
        (T0 + 15 * 60_000 - 1, D("51.0")),
    ]
    assert len(path(ticks)) == 12


async def test_a_source_that_ends_or_pauses_inside_the_longest_bar_is_played_to_its_end() -> None:
    short = [bars_batch((0, T0 + k * M5, 100.0, 102.0, 99.0, 101.0, 1.0)) for k in (0, 4)]
    ticks = await of(*short, base_tf={BTC: Timeframe.M5, ETH: Timeframe.M15})
    assert [ts for ts, _ in path(ticks)][::4] == [T0, T0 + 4 * M5]


# --- cadence ----------------------------------------------------------------------------------------------


async def test_marks_come_as_often_as_wished_and_with_every_trade() -> None:
    marks = [tick for tick in await of(ONE, options=TapeOptions(mark_every_ms=60_000)) if isinstance(tick, MarkTick)]
    beats = [T0 + k * 60_000 for k in range(1, 5)]
    assert [tick.ts for tick in marks] == sorted([*beats, T0, T0 + QUARTER, T0 + 2 * QUARTER, T0 + M5 - 1])
    assert {tick.ts: tick.mark for tick in marks}[T0 + 120_000] == D("96.0")


async def test_forming_candles_come_as_often_as_wished() -> None:
    options = TapeOptions(mark_every_ms=90_000, kline_every_ms=60_000, timeframes=(Timeframe.M5,))
    ticks = [tick for tick in await of(ONE, options=options) if isinstance(tick, KlineTick) and not tick.final]
    beats = [T0 + k * 60_000 for k in range(1, 5)]
    assert [tick.ts for tick in ticks] == sorted([*beats, T0, T0 + QUARTER, T0 + 2 * QUARTER, T0 + M5 - 1])
    assert {tick.tf for tick in ticks} == {Timeframe.M5}


async def test_nothing_is_told_of_a_time_in_which_the_source_is_silent() -> None:
    """A dead feed does not look alive."""
    later = bars_batch((0, T0 + DAY, 100.0, 101.0, 99.0, 100.5, 1.0))
    ticks = await of(ONE, later, options=TapeOptions(mark_every_ms=60_000, kline_every_ms=60_000))
    assert not [tick for tick in ticks if T0 + M5 < tick.ts < T0 + DAY]


async def test_candles_of_coarser_timeframes_are_only_those_wished_and_allowed() -> None:
    tape = SourceTape(Given([ONE]), [listed(allowed_tfs=frozenset({Timeframe.M1, Timeframe.M5, Timeframe.D1}))], options=QUIET)
    assert tape.info.timeframes == {"BTCUSDT": (Timeframe.M5, Timeframe.D1)}


# --- books, marks, index ----------------------------------------------------------------------------------


async def test_where_the_source_has_no_books_they_are_drawn_around_the_last_price_and_say_so() -> None:
    book = next(tick for tick in await of(ONE) if isinstance(tick, BookTick))
    assert (book.modelled, book.spread_bps, book.depth_usd) == (True, 2.0, 10_000.0)
    assert (book.bids[0][0], book.asks[0][0]) == (D("99.99"), D("100.01"))


async def test_the_book_of_a_source_holds_for_its_bar_and_is_exact_at_its_close() -> None:
    true = Book(BTC, T0 + M5, 103.9, 104.13, 5_000.0, False)
    batch = bars_batch((0, T0, 100.0, 108.0, 96.0, 104.0, 8.0), books=[true])
    books = [tick for tick in await of(batch, has_books=True) if isinstance(tick, BookTick)]
    assert len(books) == 4
    assert (books[-1].bids[0][0], books[-1].asks[0][0]) == (D("103.9"), D("104.13"))
    assert books[0].spread_bps == pytest.approx(0.23 / 104.015 * 1e4)
    assert books[0].depth_usd == 5_000.0


async def test_where_the_book_is_lost_none_is_told() -> None:
    assert not [tick for tick in await of(ONE, has_books=True) if isinstance(tick, BookTick)]


async def test_the_mark_is_the_last_price_where_the_source_has_no_marks() -> None:
    assert all(tick.mark == tick.index for tick in await of(ONE) if isinstance(tick, MarkTick))


async def test_a_mark_of_the_source_is_exact_at_its_time_and_its_distance_is_kept() -> None:
    marked = bars_batch(
        (0, T0, 100.0, 108.0, 96.0, 104.0, 8.0),
        marks=[PriceAt(BTC, T0 + M5, 104.25), PriceAt(BTC, T0 + 1, 1.0), PriceAt("no such", T0 + M5, 1.0)],
        spot=[PriceAt(BTC, T0 + M5, 103.48)],
    )
    tape = tape_of(marked, TWO, options=TapeOptions(mark_every_ms=M5))
    marks = [tick for tick in await played(tape) if isinstance(tick, MarkTick) and tick.ts == T0 + M5]
    assert (marks[0].mark, marks[0].index) == (D("104.25"), D("103.48"))
    assert marks[1].mark == D("105.25")
    assert marks[1].index == number(round(105.0 * 103.48 / 104.0, 8))
    assert tape.premium("BTCUSDT") == structs.replace(
        marks[1], ts=T0 + 2 * M5, mark=D("103.75"), index=number(round(103.5 * 0.995, 8))
    )


async def test_side_prices_before_the_first_trade_change_nothing() -> None:
    early = Batch(T0, (), (), (PriceAt(BTC, T0, 99.0),), (PriceAt(BTC, T0, 99.0),))
    marks = [tick for tick in await of(early, ONE) if isinstance(tick, MarkTick)]
    assert (marks[0].mark, marks[0].index) == (D("100.0"), D("100.0"))


async def test_the_index_goes_on_from_the_spot_price_known_before() -> None:
    known = Batch(T0, (), (), (PriceAt(BTC, T0, 99.0),))
    past = random_bars(3, M5, T0 - 3 * M5)
    before = Bars(past.ts, past.open, past.high, past.low, past.close * 0 + 110.0, past.volume)
    ticks = await played(tape_of(known, ONE, past={BTC: before}), after_ts=T0)
    marks = [tick for tick in ticks if isinstance(tick, MarkTick)]
    assert marks[0].index == number(round(96.0 * 99.0 / 110.0, 8))


# --- the spot market ---------------------------------------------------------------------------------------


async def test_spot_candles_go_from_one_known_close_to_the_next_and_the_forming_one_stands_at_the_last() -> None:
    begun = bucket_open(T0, Timeframe.H1)
    closes = [PriceAt(BTC, begun - 2 * HOUR, 90.0), PriceAt(BTC, begun, 99.0), PriceAt(BTC, begun + HOUR, 97.5)]
    known = Batch(T0, (), (), tuple(closes[:2]))
    later = bars_batch((0, begun + HOUR - M5, 1.0, 1.0, 1.0, 1.0, 1.0), spot=[closes[2]])
    tape = tape_of(known, later)
    assert tape.info.spot == tape.info.symbols == ("BTCUSDT",)
    assert [candle.open_ts for candle in tape.spot_klines("BTCUSDT", Timeframe.H1)] == [begun - 3 * HOUR, begun - HOUR, begun]
    await played(tape)

    def told(**asked: int) -> list[tuple[object, ...]]:
        rows = tape.spot_klines("BTCUSDT", Timeframe.H1, **asked)
        return [((row.open_ts - begun) // HOUR, row.open, row.high, row.low, row.close, row.final) for row in rows]

    whole = [
        (-3, D("90.0"), D("90.0"), D("90.0"), D("90.0"), True),
        (-1, D("99.0"), D("99.0"), D("99.0"), D("99.0"), True),  # the close before it is not known
        (0, D("99.0"), D("99.0"), D("97.5"), D("97.5"), True),
        (1, D("97.5"), D("97.5"), D("97.5"), D("97.5"), False),
    ]
    assert told() == told(start=begun - 9 * HOUR) == whole
    assert told(limit=2) == whole[2:]
    assert told(start=begun - HOUR, limit=2) == whole[1:3]
    assert told(end=begun - 1) == whole[:2]
    assert told(start=begun, end=begun) == whole[2:3]
    assert all(row.volume == 0 and row.trades == 0 for row in tape.spot_klines("BTCUSDT", Timeframe.H1))
    assert tape.spot_klines("BTCUSDT", Timeframe.M5) == tape.spot_klines("ETHUSDT", Timeframe.H1) == ()


async def test_the_latest_spot_closes_are_held_and_are_what_the_source_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each client asks for them in the moment in which an hour closes; a source may have to make its past for it."""
    begun = bucket_open(T0, Timeframe.H1)
    hours = [begun + k * HOUR for k in range(1, 61)]
    past = Batch(T0, (), (), (PriceAt(BTC, begun - HOUR, 89.0), PriceAt(BTC, begun, 90.0)))
    bars = [bars_batch((0, ts - M5, 1.0, 1.0, 1.0, 1.0, 1.0), spot=[PriceAt(BTC, ts, 90.0 + k)]) for k, ts in enumerate(hours)]
    tape = tape_of(past, *bars)
    await played(tape)

    def rows(**asked: int) -> list[tuple[object, ...]]:
        return [(row.open_ts, row.open, row.close, row.final) for row in tape.spot_klines("BTCUSDT", Timeframe.H1, **asked)]

    starts = [*(hours[-1] - k * HOUR for k in range(-1, 47)), begun]
    held = [rows(start=start) for start in starts]
    newest = rows(limit=3)
    with monkeypatch.context() as patched:
        asked: list[int] = []
        patched.setattr(tape._source, "spot_history", lambda *how: asked.append(how[-1]) or ())
        assert [rows(start=start) for start in starts[:-1]] == held[:-1]
        assert (rows(limit=3), asked) == (newest, [])
        rows(start=begun)
        assert asked == [62]
    next(iter(tape._players.values())).spot.clear()
    assert [rows(start=start) for start in starts] == held
    assert rows(limit=3) == newest


# --- funding ----------------------------------------------------------------------------------------------


async def test_funding_is_settled_at_the_mark_and_the_next_one_is_told() -> None:
    eight = FundingRate(BTC, T0 + M5, 0.0003, 8 * HOUR)
    four = FundingRate(BTC, T0 + 2 * M5, -0.0001, 4 * HOUR)
    first = bars_batch((0, T0, 100.0, 108.0, 96.0, 104.0, 8.0), funding=[eight], marks=[PriceAt(BTC, T0 + M5, 104.25)])
    second = bars_batch((0, T0 + M5, 105.0, 106.0, 103.0, 103.5, 4.0), funding=[four])
    tape = tape_of(first, second)
    ticks = await played(tape)
    assert [t for t in ticks if isinstance(t, FundingTick)] == [
        FundingTick("BTCUSDT", T0 + M5, D("0.0003"), D("104.25")),
        FundingTick("BTCUSDT", T0 + 2 * M5, D("-0.0001"), D("103.75")),
    ]
    opened = next(t for t in ticks if isinstance(t, MarkTick) and t.ts == T0 + M5)
    assert (opened.funding_rate, opened.next_funding) == (D("0.0003"), T0 + M5 + 8 * HOUR)
    now = tape.premium("BTCUSDT")
    assert now is not None
    assert (now.funding_rate, now.next_funding) == (D("-0.0001"), T0 + 2 * M5 + 4 * HOUR)


async def test_before_the_first_settlement_the_next_one_is_on_the_venues_grid() -> None:
    mark = next(t for t in await of(ONE) if isinstance(t, MarkTick))
    assert (mark.funding_rate, mark.next_funding) == (D("0.0"), T0 + 8 * HOUR)


async def test_settlements_without_a_rate_or_of_others_are_left_out() -> None:
    odd = [FundingRate(BTC, T0 + M5, float("nan"), 8 * HOUR), FundingRate(ETH, T0 + M5, 0.1, 8 * HOUR)]
    ticks = await of(bars_batch((0, T0, 100.0, 108.0, 96.0, 104.0, 8.0), funding=odd))
    assert not [t for t in ticks if isinstance(t, FundingTick)]


async def test_funding_before_the_first_price_has_no_mark() -> None:
    alone = Batch(T0, (), (FundingRate(BTC, T0, 0.0001, 0),))
    settled = next(t for t in await of(alone, ONE) if isinstance(t, FundingTick))
    assert settled.mark == 0


# --- history ----------------------------------------------------------------------------------------------


async def test_candles_of_the_past_come_with_the_forming_one_last() -> None:
    batches = [bars_batch((0, T0 + k * M5, 100.0 + k, 108.0 + k, 96.0 + k, 104.0 + k, 8.0)) for k in range(6)]
    tape = tape_of(*batches)
    async for tick in tape.ticks():
        if isinstance(tick, TradeTick) and tick.ts == T0 + 5 * M5 + QUARTER:
            break
    rows = tape.klines("BTCUSDT", Timeframe.M5)
    assert [row.open_ts for row in rows] == [T0 + k * M5 for k in range(6)]
    assert [row.final for row in rows] == [True] * 5 + [False]
    assert (rows[-1].open, rows[-1].close, rows[-1].high) == (D("105.0"), D("105.0"), D("105.0"))
    quarter = tape.klines("BTCUSDT", Timeframe.M15)
    assert [(row.open_ts, row.final, row.volume) for row in quarter] == [(T0, True, D("24.0")), (T0 + 3 * M5, False, D("18.0"))]


async def test_history_and_stream_tell_the_same_final_candle(tmp_path: Path) -> None:
    write(tmp_path / "perp_15m", "BTCUSDT", random_bars(2 * DAY // M5 // 3, 3 * M5))
    tape = SourceTape(ReplaySource(tmp_path, [BTC], T0 + DAY), [listed()], options=QUIET)
    told = finals(await played(tape))
    for tf in (Timeframe.M15, Timeframe.H1, Timeframe.H4, Timeframe.D1):
        asked = tape.klines("BTCUSDT", tf, T0 + DAY, None, 1500)
        assert [row for row in asked if row.final] == [tick for tick in told if tick.tf is tf]
        assert len([tick for tick in told if tick.tf is tf]) == DAY // tf.ms


@pytest.mark.parametrize(
    ("start", "end", "limit", "opens"),
    [
        (None, None, 2, [4, 5]),
        (1, None, 2, [1, 2]),
        (1, 2, 500, [1, 2]),
        (None, 3, 2, [2, 3]),
        (9, None, 5, []),
        (None, -5, 5, []),
    ],
)
async def test_ranges_of_candles_are_the_venues(start: int | None, end: int | None, limit: int, opens: list[int]) -> None:
    tape = tape_of(*(bars_batch((0, T0 + k * M5, 100.0, 108.0, 96.0, 104.0, 8.0)) for k in range(6)))
    await played(tape)
    at = [None if k is None else T0 + k * M5 for k in (start, end)]
    rows = tape.klines("BTCUSDT", Timeframe.M5, at[0], at[1], limit)
    assert [row.open_ts for row in rows] == [T0 + k * M5 for k in opens]
    assert tape.mark_klines("BTCUSDT", Timeframe.M5, at[0], at[1], limit) == tuple(
        structs.replace(row, volume=D(0), quote_volume=D(0), taker_volume=D(0), trades=0, first_trade=-1, last_trade=-1)
        for row in rows
    )


async def test_nothing_is_known_before_its_time() -> None:
    tape = tape_of(ONE, TWO)
    assert tape.klines("BTCUSDT", Timeframe.M5) == ()
    assert tape.premium("BTCUSDT") is None
    async for tick in tape.ticks():
        for tf in (Timeframe.M5, Timeframe.H1):
            assert all(row.open_ts <= tick.ts for row in tape.klines("BTCUSDT", tf))
            assert all(row.ts <= tick.ts for row in tape.klines("BTCUSDT", tf))


def test_unknown_symbols_and_finer_timeframes_have_no_history() -> None:
    tape = tape_of(ONE)
    assert tape.klines("XRPUSDT", Timeframe.M5) == ()
    assert tape.klines("BTCUSDT", Timeframe.M1) == ()
    assert tape.funding_rates("XRPUSDT") == ()
    assert tape.premium("XRPUSDT") is None


async def test_settlements_of_the_past_have_the_close_of_their_hour_as_mark(tmp_path: Path) -> None:
    bars = random_bars(2 * DAY // M5, M5)
    write(tmp_path / "perp_5m", "BTCUSDT", bars)
    settled = [T0 + k * 8 * HOUR for k in range(1, 6)]
    write_funding(tmp_path, "BTCUSDT", settled, [0.0001 * k for k in range(1, 6)])
    tape = SourceTape(ReplaySource(tmp_path, [BTC], T0 + DAY), [listed()], options=QUIET)
    assert [row.ts for row in tape.funding_rates("BTCUSDT")] == settled[:3]
    await played(tape)
    rows = tape.funding_rates("BTCUSDT", settled[1], settled[3])
    assert [(row.ts, row.rate) for row in rows] == [(settled[k], number(0.0001 * (k + 1))) for k in (1, 2, 3)]
    assert [row.mark for row in rows] == [number(float(bars.close[(ts - T0) // M5 - 1])) for ts in settled[1:4]]
    assert [row.ts for row in tape.funding_rates("BTCUSDT", None, None, 2)] == settled[3:]
    assert tape.funding_rates("BTCUSDT", T0 + 3 * DAY) == ()


async def test_a_settlement_without_a_candle_before_it_has_no_mark() -> None:
    alone = Batch(T0, (), (FundingRate(BTC, T0, 0.0001, 0),))
    tape = tape_of(alone, ONE)
    await played(tape)
    assert [row.mark for row in tape.funding_rates("BTCUSDT")] == [D(0)]


# --- restart ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_symbols(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A day of 5m and 15m bars with funding, and with spot and marks of each hour."""
    folder = tmp_path_factory.mktemp("recorded")
    write(folder / "perp_5m", "BTCUSDT", random_bars(DAY // M5, M5))
    write(folder / "perp_15m", "ETHUSDT", random_bars(DAY // M5 // 3, 3 * M5, seed=2))
    for seed, name in enumerate(("BTCUSDT", "ETHUSDT"), start=1):
        write(folder / "spot_1h", name, random_bars(24, HOUR, seed=seed + 10))
        write(folder / "mark_1h", name, random_bars(24, HOUR, seed=seed + 20), volume=False)
        write_funding(folder, name, [T0 + k * 8 * HOUR for k in range(4)], [0.0001 * k for k in range(4)])
    return folder


@pytest.mark.parametrize("place", [0, 1, 401, 702, 877, 1003])
async def test_after_a_restart_at_any_moment_the_rest_is_the_same(two_symbols: Path, place: int) -> None:
    """Issue 4: the exchange's own restart goes on. Who was short until then is long afterwards."""
    now = {"sign": -1}

    def tape() -> SourceTape:
        source = ReplaySource(two_symbols, [BTC, ETH], T0 + 7 * HOUR, T0 + 9 * HOUR)
        options = TapeOptions(mark_every_ms=60_000, kline_every_ms=120_000)
        return SourceTape(source, [listed(), listed(ETH)], lambda symbol: now["sign"], options)

    whole = tape()
    before: list[Tick] = []
    state: dict[str, object] = {}
    async for tick in whole.ticks():
        before.append(tick)
        if len(before) == place + 1:
            state = json.loads(json.dumps(whole.snapshot()))
            now["sign"] = 1
    after = before[place].ts
    again = tape()
    again.restore({**state, "gone": {}})
    assert await played(again, after) == [tick for tick in before if tick.ts > after]
    assert len(before) > 1003


async def test_the_same_source_gives_the_same_ticks_again() -> None:
    def tape() -> SourceTape:
        source = SyntheticSource((BTC, ETH), seed=3, bars=30, warm_days=1, scenario=Scenario.MIXED)
        return SourceTape(source, [listed(), listed(ETH)], options=QUIET)

    first = tape()
    assert await played(first) == await played(tape())
    assert await played(first) == await played(tape())


def test_a_snapshot_of_other_symbols_is_passed_over() -> None:
    tape = tape_of(ONE)
    before = tape.snapshot()
    tape.restore({})
    assert tape.snapshot() == before


# --- what can be played -----------------------------------------------------------------------------------


def test_spot_markets_are_not_listed() -> None:
    tape = SourceTape(Given([ONE], base_tf={BTC: Timeframe.M5, SPOT: Timeframe.M5}), [listed(), listed(SPOT)])
    assert tape.info.symbols == ("BTCUSDT",)
    with pytest.raises(SourceError, match="no perpetual") as error:
        SourceTape(Given([ONE], base_tf={SPOT: Timeframe.M5}), [listed(SPOT)])
    assert error.value.code == "DATA-016"


def test_a_symbol_without_an_instrument_is_named() -> None:
    with pytest.raises(SourceError, match="no instrument is configured for BTC/USDT:USDT"):
        SourceTape(Given([ONE]), [listed(ETH)])


def test_what_a_tape_has_is_told() -> None:
    info = tape_of(ONE, TWO).info
    assert (info.symbols, info.start, info.end, info.drawn_path) == (("BTCUSDT",), T0, T0 + 2 * M5, True)


def test_history_before_the_first_tick_is_that_before_the_start() -> None:
    past: dict[str, Bars] = {BTC: random_bars(10, M5, T0 - 10 * M5)}
    tape = tape_of(ONE, past=past)
    assert [row.open_ts for row in tape.klines("BTCUSDT", Timeframe.M5, None, None, 3)] == [T0 - k * M5 for k in (3, 2, 1)]
