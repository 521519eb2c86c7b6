"""A run whose local exchange stops playing its market, comes to its end, or cannot write its account down."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from core.sim.server.app import ExchangeServer
from graph.live.daemon import LiveDaemon
from graph.live.watching import KEPT, NOT_KEPT, MarketStopped, watched
from tests.agents.making import ETH
from tests.graph.live.kit import Stand, trade
from tests.graph.live.test_live_daemon import VENUE_ETH, rows, won

pytestmark = pytest.mark.slow


async def silent() -> None:
    await asyncio.Event().wait()


async def broken() -> None:
    raise RuntimeError("a line ended")


def run(to: Path, at_bar: int, harm: Any, *, bars: int | None = None, feed: Any = silent, **how: Any) -> tuple[Any, Any]:
    """A life beside a watched exchange, to which ``harm`` happens at a bar; the daemon, and what the venue holds then."""
    found = list[Any]()

    async def story(stand: Stand) -> None:
        beside = list[asyncio.Task[None]]()

        async def watch(daemon: LiveDaemon) -> None:
            async with watched(daemon, stand.venue.server, feed):
                await silent()

        def look(daemon: LiveDaemon) -> None:
            if not beside:
                beside.append(asyncio.get_running_loop().create_task(watch(daemon)))
            if daemon.bars == at_bar:
                harm(stand.venue.server)

        stand.look = look
        node = stand.start(may_fail=True)
        await node.gone
        beside[0].cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        found.extend((stand.daemon, stand.venue.exchange.positions(VENUE_ETH)[0].qty, node.task))
        (node.folder / "session").rename(to)

    trade(won(), story, bars=bars, **how)
    return found[0], (found[1], found[2])


def breaks(server: ExchangeServer) -> None:
    """A fault of its own in the midst of a tick."""
    server._pump._market = None  # type: ignore[assignment]


def cannot_write(server: ExchangeServer) -> None:
    assert server._file is not None
    server._file._opened().execute("PRAGMA query_only = ON")


def nothing(_: ExchangeServer) -> None:
    pass


@pytest.mark.parametrize("why", ["pump", "feed"])
def test_a_run_ends_where_its_market_stops_and_closes_nothing_at_a_price_that_stands(why: str, tmp_path: Path) -> None:
    """Its position keeps its stop; a person is paged, and the end is no success."""
    feed = broken if why == "feed" else silent
    daemon, (held, task) = run(tmp_path / "session", 14, breaks if why == "pump" else nothing, feed=feed)
    error = task.exception()
    assert isinstance(error, MarketStopped)
    assert error.code == "EXCH-002"
    assert error.exit_code != 0
    if why == "pump":
        assert held != 0
    pages = rows(tmp_path / "session", "SELECT code, message FROM alerts WHERE level = 'page'")
    assert [code for code, _ in pages] == ["fault"]
    assert "plays its market no more" in pages[0][1]
    assert daemon.bars < 20


def test_a_market_that_is_over_ends_the_run_after_its_last_bar_and_what_is_left_is_told(tmp_path: Path) -> None:
    """As `--source replay --to T`: nothing is closed that the data did not close, and a person hears of it."""
    source = won()
    daemon, _ = run(tmp_path / "session", -1, nothing, bars=10_000)
    assert daemon.bars == source.info.batches


def test_positions_that_the_last_bar_leaves_open_are_told_of(tmp_path: Path) -> None:
    """`--until-bars` closes nothing."""
    daemon, (held, _) = run(tmp_path / "session", -1, nothing, bars=14)
    assert held != 0
    assert list(daemon.left) == [ETH]
    (told,) = rows(tmp_path / "session", "SELECT level, message FROM alerts WHERE code = 'left_open'")
    assert told[0] == "warning"
    assert ETH in told[1]


def test_an_account_that_cannot_be_written_down_is_a_page_and_its_return_is_told(tmp_path: Path) -> None:
    def later(server: ExchangeServer) -> None:
        cannot_write(server)
        assert server._file is not None
        again = server._file._opened().execute
        asyncio.get_running_loop().call_later(120.0, again, "PRAGMA query_only = OFF")

    run(tmp_path / "session", 5, later, bars=8, keeps=True)
    told = rows(tmp_path / "session", "SELECT level, code FROM alerts WHERE code LIKE 'exchange%' ORDER BY rowid")
    assert told == [("page", NOT_KEPT), ("warning", KEPT)]
