"""A venue that is away: start-up, a second venue and back, and a day of every kind of trouble (B5, B7, X33)."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest

from core.data.blocks import BarFlag
from core.data.exchange import confirm, reserve
from core.data.exchange.settings import ExchangeSettings
from core.data.feed import Feed
from core.data.quality import Issue
from core.data.sources.replay import ReplaySource
from core.errors import SourceError
from core.journal.records import BatchIn
from core.sim.server.faults import Fault as VenueFault
from core.sim.server.faults import FaultKind
from core.sim.tape.source import TapeOptions
from core.types import Timeframe
from core.venues import binanceusdm
from core.venues.market_words import Pages
from tests.core.data.exchange import bybit, okx
from tests.core.data.exchange.kit import BTC, ETH, H1, M1, M5, START, Stand, all_rows, opens, rows, tell
from tests.support.simulation.network import Fault, Kind
from tests.support.simulation.world import World

QUICK = ExchangeSettings(switch_after_s=100.0, patience_s=5.0)


def away(stand: Stand, begin: float, end: float) -> None:
    """The first venue cannot be reached for so many bars."""
    stand.world.during(begin * 60.0, end * 60.0, Fault(Kind.BLACK_HOLE, "bot", "venue"))


# --- another venue -------------------------------------------------------------------------------------------


def test_while_the_first_venue_is_down_the_second_stands_in_marked_and_the_first_comes_back() -> None:
    """B7, X33: its bars name it; the series has each bar once, and no price of the second venue is unmarked."""

    async def story(stand: Stand) -> None:
        away(stand, 3.5, 9.5)
        await stand.take(16)
        truth = all_rows(await stand.truth(16))
        told = all_rows(stand.got)
        foreign = [row for row in told if row[1] == "bybit"]
        assert {row[3] for row in foreign} == {START + bar * M1.ms for bar in range(3, 10)}
        for who in (0, 1):
            times = [row[3] for row in told if row[2] == who]
            assert times == [START + bar * M1.ms for bar in range(16)]
        for row in told:
            own = next(other for other in truth if other[2:4] == row[2:4])
            assert row[4] == pytest.approx(own[4] * (bybit.RATIO if row[1] else 1.0), rel=1e-12)
        there, back = [note for note in stand.notes() if note.startswith("candles of")]
        assert there.startswith("candles of bybit from 2026-01-05 00:05 on, since binanceusdm has been silent for 10")
        assert back == "candles of binanceusdm again from 2026-01-05 00:11 on, after those of bybit"
        again = [BatchIn.of(batch).batch() for batch in stand.got]  # as the journal gives it to a replay
        assert [rows(batch) for batch in again] == [rows(batch) for batch in stand.got]
        assert all(not batch.marks and not batch.books for batch in stand.got if any(row[1] for row in rows(batch)))

    tell(story, settings=QUICK, venues=("binanceusdm", "bybit"), others=bybit.start)


def test_while_another_venue_stands_in_there_is_no_book_for_whoever_asks_between_two_bars() -> None:
    """X33: the first venue's may be there again while its candles are not yet believed; what is planned is not of its prices."""

    async def story(stand: Stand) -> None:
        away(stand, 3.5, 9.5)
        at_hand: dict[bool, list[bool]] = {True: [], False: []}
        for _ in range(16):
            (batch,) = await stand.take(1)
            await asyncio.sleep(5.0)
            foreign = any(row[1] for row in rows(batch))
            at_hand[foreign].append(stand.venue.present_book(BTC) is not None)
            assert foreign <= (stand.source.present_book(BTC) is None)
        assert any(at_hand[True])  # or nothing was shown here
        assert at_hand[False][-1]
        assert stand.source.present_book(BTC) is not None

    tell(story, settings=QUICK, venues=("binanceusdm", "bybit"), others=bybit.start)


def test_of_a_long_outage_only_the_latest_bars_are_taken_from_another_venue(monkeypatch: pytest.MonkeyPatch) -> None:
    """X33: a hole of days is not filled with foreign prices."""
    assert reserve._MOST == 500
    monkeypatch.setattr(reserve, "_MOST", 4)

    async def story(stand: Stand) -> None:
        stand.world.kill("bybit")
        away(stand, 3.5, 13.5)
        stand.at(11.5, stand.world.restart, "bybit")
        await stand.take(13)
        foreign = [(batch.ts, row[2], row[3]) for batch in stand.got for row in rows(batch) if row[1]]
        first = min(ts for ts, _, _ in foreign)
        for who in (0, 1):
            bars = [opened for ts, one, opened in foreign if (ts, one) == (first, who)]
            assert bars == [first - ago * M1.ms for ago in (4, 3, 2, 1)]

    tell(story, settings=QUICK, venues=("binanceusdm", "bybit"), others=bybit.start)


def test_bars_of_another_venue_are_flagged_by_the_feed_and_so_is_what_is_built_of_them() -> None:
    """X33: nothing is opened on a flagged bar, and the symbol's candles must be whole for a while before they count again."""

    async def story(stand: Stand) -> None:
        away(stand, 3.5, 8.5)
        await stand.take(15)
        feed = Feed([BTC, ETH], [M1, M1], gap_fill=False)
        flags: dict[tuple[int, Timeframe], int] = {}
        for batch in stand.got:
            closed = feed.on_bars(batch.ts, batch.bars)
            for found in (*feed.catch_up, closed):
                flags |= {((block.ts - START) // M1.ms, block.tf): int(block.flags[0]) for block in found.blocks}
            assert feed.troubled == ((0, 1) if any(row[1] for row in rows(batch)) else ())
        assert [close for (close, tf), flag in flags.items() if tf is M1 and flag & BarFlag.FOREIGN] == list(range(4, 10))
        assert [flags[close, M5] & BarFlag.FOREIGN > 0 for close in (5, 10, 15)] == [True, True, False]
        assert feed.counters.total(Issue.GAP) == feed.counters.total(Issue.CONFLICT) == 0

    tell(story, settings=QUICK, venues=("binanceusdm", "bybit"), others=bybit.start)


def test_without_another_venue_the_bars_of_an_outage_come_late_and_whole() -> None:
    """B7: time goes on in empty batches, so that the health gates see it; then all is back-filled."""

    async def story(stand: Stand) -> None:
        away(stand, 3.5, 9.5)
        await stand.take(12)
        assert [opens(batch) for batch in stand.got] == [[0], [1], [2], [], [], [], [], [], [], [3, 4, 5, 6, 7, 8, 9], [10], [11]]
        assert all_rows(stand.got)[:6] == all_rows(await stand.truth(3))
        feed = Feed([BTC, ETH], [M1, M1], gap_fill=False)
        for batch in stand.got:
            feed.on_bars(batch.ts, batch.bars)
        assert feed.counters.total(Issue.LATE) == 12
        assert feed.counters.total() == 12

    tell(story, settings=QUICK)


def test_after_hours_away_every_settlement_and_every_spot_close_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """B7: what was missed beside the candles is asked for page by page too, in the first batch after the outage."""
    monkeypatch.setattr(binanceusdm, "PAGES", Pages(candles=50, marks=50, funding=1))
    monkeypatch.setattr(confirm, "_BETWEEN_S", (0.25, 600.0))  # else the hours would be spent on asking

    async def story(stand: Stand) -> None:
        for peer in ("venue", "spot"):
            stand.world.during(3.5 * 3_600.0, 17.4 * 3_600.0, Fault(Kind.BLACK_HOLE, "bot", peer))
        await stand.take(19)
        truth = await stand.truth(19)
        for kind in ("funding", "spot"):
            told, known = ([row for batch in batches for row in getattr(batch, kind)] for batches in (stand.got, truth))
            assert sorted(told) == sorted(known)
        first = stand.got[17]
        assert [(row.ts - START) // H1.ms for row in first.funding if row.symbol == BTC] == [8, 16]
        assert [(row.ts - START) // H1.ms for row in first.spot if row.symbol == BTC] == list(range(4, 19))

    patient = ExchangeSettings(market_silent_s=7_200.0, backoff_s=(60.0, 600.0))
    tell(story, base=H1, bars=20, settings=patient, tape=TapeOptions(mark_every_ms=600_000))


def test_a_second_venue_that_is_down_too_changes_nothing() -> None:
    async def story(stand: Stand) -> None:
        away(stand, 3.5, 7.5)
        stand.world.kill("bybit")
        await stand.take(10)
        assert [opens(batch) for batch in stand.got][7] == [3, 4, 5, 6, 7]
        assert not [row for row in all_rows(stand.got) if row[1]]

    tell(story, settings=QUICK, venues=("binanceusdm", "bybit"), others=bybit.start)


def test_while_two_venues_are_down_the_third_stands_in_with_volumes_in_coins() -> None:
    """B7: they are tried in order; what is told in contracts there is coins here."""

    async def story(stand: Stand) -> None:
        away(stand, 3.5, 9.5)
        stand.world.kill("bybit")
        await stand.take(13)
        truth, told = all_rows(await stand.truth(13)), all_rows(stand.got)
        foreign = [row for row in told if row[1]]
        assert {(row[1], row[3]) for row in foreign} == {("okx", START + bar * M1.ms) for bar in range(3, 10)}
        for row in foreign:
            own = next(other for other in truth if other[2:4] == row[2:4])
            assert row[4:8] == tuple(pytest.approx(price * okx.RATIO, rel=1e-12) for price in own[4:8])
            assert row[8] == pytest.approx(own[8], rel=1e-12)
        assert sum(note.startswith("candles of okx from") for note in stand.notes()) == 1

    def both(world: World, replay: ReplaySource) -> None:
        bybit.start(world, replay)
        okx.start(world, replay)

    tell(story, settings=QUICK, venues=("binanceusdm", "bybit", "okx"), others=both)


def test_a_symbol_that_falls_silent_alone_is_late_and_never_told_by_another_venue() -> None:
    """B7: a venue that tells other symbols has lost none of its own; its market of this one has stopped, and is seen so."""

    async def story(stand: Stand) -> None:
        candles = stand.venue.rest.candles

        async def without(symbol: str, *rest: Any) -> Any:
            if symbol == ETH and stand.world.loop.time() < 8.5 * 60.0:
                raise OSError("no answer")
            return await candles(symbol, *rest)

        stand.venue.rest.candles = without
        stand.fault(2.5, FaultKind.MISSING_FINAL, stream="ethusdt@kline_1m", times=6)
        await stand.take(12)
        assert not [row for row in all_rows(stand.got) if row[1]]
        assert [opens(batch, 0) for batch in stand.got] == [[bar] for bar in range(12)]
        assert [opens(batch, 1) for batch in stand.got][2:8] == [[]] * 6
        assert opens(stand.got[8], 1)[-1] == 8

    tell(story, settings=QUICK, venues=("binanceusdm", "bybit"), others=bybit.start)


def test_what_a_second_venue_cannot_do_is_told_at_the_start_and_the_other_symbols_keep_it() -> None:
    """B7: the switch is tried before it is needed; a symbol that is not listed there costs the others nothing."""

    async def story(stand: Stand) -> None:
        assert stand.source.info.missing == (f"bybit does not list {ETH}: it cannot stand in there",)
        away(stand, 3.5, 9.5)
        await stand.take(13)
        foreign = [row for row in all_rows(stand.got) if row[1]]
        assert {(row[1], row[2], row[3]) for row in foreign} == {("bybit", 0, START + bar * M1.ms) for bar in range(3, 10)}
        for who in (0, 1):
            assert [bar for batch in stand.got for bar in opens(batch, who)] == list(range(13))
        truth = [row for row in all_rows(await stand.truth(13)) if row[2] == 1]
        assert [row for row in all_rows(stand.got) if row[2] == 1] == truth

    tell(story, settings=QUICK, venues=("binanceusdm", "bybit"), others=partial(bybit.start, listed=(BTC,)))


def test_a_second_venue_that_cannot_be_reached_is_told_once_each_time_and_tried_again() -> None:
    async def story(stand: Stand) -> None:
        stand.world.kill("bybit")
        await asyncio.sleep(0.1)
        await stand.source.prepare()
        (why,) = stand.source.info.missing
        assert why.startswith("bybit cannot stand in now (")
        away(stand, 3.5, 12.5)
        stand.at(8.5, stand.world.restart, "bybit")
        await stand.take(15)
        assert {row[3] for row in all_rows(stand.got) if row[1]} >= {START + bar * M1.ms for bar in range(3, 12)}
        assert sum(note.startswith("bybit could not stand in") for note in stand.notes()) == 1

    tell(story, settings=QUICK, venues=("binanceusdm", "bybit"), others=bybit.start, prepare=False)


# --- start-up ------------------------------------------------------------------------------------------------


def test_a_venue_that_cannot_be_reached_is_told_after_patience_with_the_remedy() -> None:
    async def story(stand: Stand) -> None:
        away(stand, 0.0, 99.0)
        await asyncio.sleep(0.1)
        with pytest.raises(SourceError, match="binanceusdm cannot be used: RequestTimeout") as told:
            await stand.source.prepare()
        assert told.value.code == "DATA-040"
        assert "network" in told.value.help

    tell(story, settings=QUICK, prepare=False)


def test_start_up_outlasts_a_short_outage() -> None:
    async def story(stand: Stand) -> None:
        away(stand, 0.0, 0.5)
        await asyncio.sleep(0.1)
        await stand.source.prepare()
        await stand.take(2)
        assert [opens(batch) for batch in stand.got] == [[0], [1]]

    tell(story, prepare=False)


def test_a_symbol_that_is_not_listed_is_named() -> None:
    async def story(stand: Stand) -> None:
        stand.source._venue.symbols = (BTC, "NOPE/USDT:USDT")
        with pytest.raises(SourceError, match="does not list NOPE/USDT:USDT") as told:
            await stand.source.prepare()
        assert told.value.code == "DATA-041"

    tell(story, prepare=False)


def test_nothing_is_known_before_the_venue_was_asked() -> None:
    async def story(stand: Stand) -> None:
        with pytest.raises(SourceError, match="prepare"):
            _ = stand.source.info

    tell(story, prepare=False)


# --- everything at once --------------------------------------------------------------------------------------


def storm(stand: Stand, until_s: float) -> None:
    world = stand.world
    kinds = (Kind.RESET, Kind.DROP, Kind.BLACK_HOLE, Kind.SLOW, Kind.REFUSE, Kind.DNS_DOWN, Kind.TRUNCATE)
    menu: list[Any] = [Fault(kind, "bot", peer, delay_s=0.5, times=3) for kind in kinds for peer in ("venue", "spot")]
    venue_kinds = {
        FaultKind.DISCONNECT: {}, FaultKind.SILENT_SOCKET: {"executed": True}, FaultKind.MISSING_FINAL: {},
        FaultKind.LATE_FINAL: {"delay_ms": 3_000}, FaultKind.DEPTH_GAP: {}, FaultKind.THROTTLE: {}, FaultKind.HTML: {},
        FaultKind.TRUNCATED: {}, FaultKind.DROP_AFTER: {}, FaultKind.CLOCK_JUMP: {"delay_ms": -300},
    }  # fmt: skip
    for kind, how in venue_kinds.items():
        menu.append(lambda kind=kind, how=how: stand.server.inject(VenueFault(kind, **how)))
    menu += [lambda: world.jump_clock("bot", 6_000), lambda: world.jump_clock("bot", -6_000)]
    world.storm(menu, every_s=25.0, lasting_s=15.0, until_s=until_s)


@pytest.mark.untraced
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_whatever_happens_each_bar_comes_once_in_order_and_as_it_was(seed: int) -> None:
    """B5, B7: a storm of network, venue and clock; at its end nothing is missing, and no bar was ever another."""

    async def story(stand: Stand) -> None:
        storm(stand, 30 * 60.0)
        stand.world.at(31 * 60.0, stand.world.network.heal)
        stand.world.at(31 * 60.0, stand.server.clear_faults)
        await stand.take(36)
        truth = all_rows(await stand.truth(36))
        for who in (0, 1):
            told = [row for row in all_rows(stand.got) if row[2] == who]
            assert told == [row for row in truth if row[2] == who]
        stamps = [batch.ts for batch in stand.got]
        assert stamps == sorted(set(stamps))
        assert all(row[3] + M1.ms <= batch.ts for batch in stand.got for row in rows(batch))
        for batch in stand.got:
            known = [*(price.ts for price in (*batch.spot, *batch.marks)), *(rate.ts for rate in batch.funding)]
            assert all(ts <= batch.ts for ts in known)

    tell(story, seed=seed)


def test_one_seed_gives_the_same_batches_and_the_same_bytes_on_the_wire() -> None:
    def once(seed: int) -> tuple[list[Any], Any]:
        seen: list[Any] = []

        async def story(stand: Stand) -> None:
            storm(stand, 8 * 60.0)
            await stand.take(9)
            seen.extend((b.ts, rows(b), b.marks, b.books, b.funding, b.spot, b.clock, b.notes) for b in stand.got)

        return seen, tell(story, seed=seed)

    assert once(4) == once(4)
    assert once(4)[1].wire != once(5)[1].wire
