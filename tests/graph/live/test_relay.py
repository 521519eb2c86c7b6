"""A real market as the tape of a paper exchange, with another local exchange in the real one's place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import graph.live.relay as relay_module
from core.data.exchange.settings import ExchangeSettings
from core.errors import SourceError
from core.sim.local.values import BookTick, FundingTick, MarkTick, Tick, TradeTick
from core.sim.server.faults import Fault, FaultKind
from core.types import Timeframe
from graph.live.local import local_wiring
from graph.live.relay import MarketRelay
from tests.core.sim.server.kit import BTC, BTC_SWAP, PRICE, D, World, serving, until

BASE = {BTC_SWAP: Timeframe.M5}
HOUR = 3_600_000
QUICK = ExchangeSettings(market_silent_s=0.4, backoff_s=(0.01, 0.02))


class Heard:
    """A relay, what its tape told, and its notes."""

    def __init__(self, world: World, settings: ExchangeSettings = QUICK, state: object = None) -> None:
        assert world.cert is not None
        self.world = world
        self.notes: list[str] = []
        self.relay = MarketRelay(BASE, local_wiring(world.port, world.cert), settings, self.notes.append)
        self.relay.tape.clock = world.clock
        if state is not None:
            self.relay.tape.restore(state)  # type: ignore[arg-type]
        self.ticks: list[Tick] = []

    async def listen(self) -> None:
        async for tick in self.relay.tape.ticks():
            self.ticks.append(tick)

    @property
    def books(self) -> list[BookTick]:
        return [tick for tick in self.ticks if isinstance(tick, BookTick)]


async def telling(world: World, *, book: bool = True) -> None:
    """The market moves, all the time."""
    while True:
        world.tape.push(world.trade(PRICE), world.mark(), *([world.book()] if book else []))
        await asyncio.sleep(0.05)


@asynccontextmanager
async def beside(*work: asyncio.Task[None]) -> AsyncIterator[None]:
    try:
        yield
    finally:
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)


@asynccontextmanager
async def relaying(heard: Heard, *, book: bool = True) -> AsyncIterator[Heard]:
    work = (asyncio.create_task(telling(heard.world, book=book)), asyncio.create_task(heard.listen()))
    async with beside(*work):
        try:
            await heard.relay.start()
            yield heard
        finally:
            await heard.relay.close()


@pytest.mark.parametrize("kind", [FaultKind.SILENT_SOCKET, FaultKind.DISCONNECT])
async def test_orders_are_not_filled_by_a_book_that_is_heard_no_more(kind: FaultKind, tmp_path: Path) -> None:
    """X32: a socket that is silent, or gone, leaves no levels behind; it is dialled again, and a person is told."""
    async with serving(tmp_path) as world, relaying(Heard(world)) as heard:
        await until(lambda: bool(heard.books) and bool(heard.books[-1].bids))
        before = len(heard.books)
        world.server.inject(Fault(kind, stream="public", executed=True))
        await until(lambda: any(not book.bids for book in heard.books[before:]))
        await until(lambda: bool(heard.books[-1].bids))
        assert len(heard.notes) == 1
        assert "none is filled until it is told again" in heard.notes[0]


async def test_trades_that_are_heard_no_more_are_noted_and_leave_the_book(tmp_path: Path) -> None:
    async with serving(tmp_path) as world, relaying(Heard(world)) as heard:
        await until(lambda: bool(heard.books) and bool(heard.books[-1].bids))
        before = len(heard.books)
        world.server.inject(Fault(FaultKind.DISCONNECT, stream="market"))
        await until(lambda: bool(heard.notes))
        assert "trigger" in heard.notes[0]
        assert all(book.bids for book in heard.books[before:])


async def test_nothing_begins_before_a_book_was_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Levels of an earlier life are forgotten first: what was saved may be days old."""
    monkeypatch.setattr(relay_module, "_FIRST_PRICE_S", 0.5)
    async with serving(tmp_path, open_market=False) as world:
        heard = Heard(world)
        with pytest.raises(SourceError, match=f"told no book of {BTC} within"):
            async with relaying(heard, book=False):
                raise AssertionError("it began")
        assert [book.bids for book in heard.books] == [()]
        assert isinstance(heard.ticks[0], BookTick)


async def test_funding_that_was_settled_while_nobody_listened_is_paid(tmp_path: Path) -> None:
    """Each settlement at its own rate and mark; the saved mark tells since when."""
    async with serving(tmp_path) as world:
        now = world.now()
        settled = [FundingTick(BTC, now - hours * HOUR, D(f"0.000{hours}"), D(50_000 + hours)) for hours in (9, 5, 1)]
        world.tape.settled += settled
        earlier = Heard(world)
        earlier.relay.tape.push(MarkTick(BTC, now - 6 * HOUR, PRICE, PRICE, D("0.0005"), now - 5 * HOUR))
        earlier.relay.tape.close()
        await earlier.listen()
        async with relaying(Heard(world, state=earlier.relay.tape.snapshot())) as heard:
            await until(lambda: any(isinstance(tick, TradeTick) for tick in heard.ticks))
            assert [tick for tick in heard.ticks if isinstance(tick, FundingTick)] == settled[1:]
        await earlier.relay.close()


async def test_a_settlement_that_falls_due_while_it_starts_is_paid_at_the_last_known_rate(tmp_path: Path) -> None:
    async with serving(tmp_path) as world:
        now = world.now()
        state = {
            "marks": [{"symbol": BTC, "ts": now, "mark": "1", "index": "1", "funding_rate": "0.0007", "next_funding": now + 1}]
        }
        async with relaying(Heard(world, state=state)) as heard:
            await until(lambda: any(isinstance(tick, FundingTick) for tick in heard.ticks))
            assert [tick.rate for tick in heard.ticks if isinstance(tick, FundingTick)] == [D("0.0007")]


async def test_a_message_that_cannot_be_read_ends_nothing_and_is_told_once_for_its_kind(tmp_path: Path) -> None:
    """X32: a market that has changed the form of its messages would else be a market that is still."""
    async with serving(tmp_path) as world, relaying(Heard(world)) as heard:
        for garbled in ({"e": "aggTrade", "s": BTC}, {"e": "aggTrade", "s": BTC, "m": True, "T": "?"}, {"e": "depthUpdate"}):
            assert heard.relay._on_raw(garbled, ""), "ccxt would not know what to do with it either"
        assert [note.split(" messages")[0] for note in heard.notes] == [
            "binanceusdm sends aggTrade", "binanceusdm sends depthUpdate",
        ]  # fmt: skip
        before = len(heard.ticks)
        await until(lambda: any(isinstance(tick, TradeTick) for tick in heard.ticks[before:]))


async def test_no_order_is_filled_by_a_book_of_which_a_message_could_not_be_read(tmp_path: Path) -> None:
    """X32: what stood before is no book any more."""
    async with serving(tmp_path) as world, relaying(Heard(world)) as heard:
        await until(lambda: bool(heard.books) and bool(heard.books[-1].bids))
        before = len(heard.books)
        heard.relay._on_raw({"e": "depthUpdate"}, "")
        await until(lambda: any(not book.bids for book in heard.books[before:]))
        await until(lambda: bool(heard.books[-1].bids))
