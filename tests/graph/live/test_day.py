"""A day of paper with everything that a day brings: it ends with books that agree and without a critical error (issue 4)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest

from core.errors import Unanswered
from core.sim.server.faults import Fault, FaultKind
from tests.agents.making import ETH, SOL, breaking_out
from tests.graph.live.kit import Stand, trade
from tests.graph.live.test_live_daemon import Seen, check_record, rows
from tests.support.ladder import HandMade
from tests.support.simulation import network
from tests.support.simulation.disk import Loss
from tests.support.simulation.world import Node

HOUR_S = 3_600.0
NOT_CRITICAL = {"kill_switch"}
"""What pages a person because the market asked for it."""
LINK_GONE = "the exchange could not be compared"
"""A page too, where a fault lasts for half a minute; it is lifted with the first answer."""
AGAIN_S = 20.0
"""After which a service that ended is begun again (docs/live.md)."""
ORDER = "/fapi/v1/order"


def day(hours: int) -> HandMade:
    """Two symbols with a breakout each; one is followed by a take and an add, the other is stopped out."""
    rest = hours - 16
    eth = breaking_out().climb(1).candle(2.8).candle(2.0).candle(1.0).climb(rest)
    return HandMade({SOL: breaking_out().climb(1).candle(0.5).candle(-6.0).climb(rest + 1), ETH: eth})


def troubles(stand: Stand) -> list[network.Fault | Callable[[], object]]:
    """What the seed chooses from: each is over by itself."""

    def venue(kind: FaultKind, **how: object) -> Callable[[], object]:
        def happen() -> None:
            world.note("venue's fault", kind.name)
            stand.venue.server.inject(Fault(kind, **how))  # type: ignore[arg-type]

        return happen

    def clock_wrong_by(ms: int) -> None:
        world.jump_clock("bot", ms - world.clocks.skew_ms["bot"])  # a start would refuse more than 1.5 s

    world, kinds = stand.world, network.Kind
    return [
        network.Fault(kinds.RESET, "bot"),
        network.Fault(kinds.BLACK_HOLE, "bot"),
        network.Fault(kinds.REFUSE, "bot"),
        network.Fault(kinds.SLOW, "bot", delay_s=0.4),
        venue(FaultKind.DISCONNECT, stream="market"),
        venue(FaultKind.DISCONNECT, stream="private"),
        venue(FaultKind.SILENT_SOCKET, stream="private"),
        venue(FaultKind.KEY_EXPIRY),
        venue(FaultKind.THROTTLE, times=3),
        venue(FaultKind.UNKNOWN, method="POST", path=ORDER, executed=True),
        venue(FaultKind.DROP_AFTER, method="POST", path=ORDER),
        venue(FaultKind.MISSING_EVENT, times=2),
        venue(FaultKind.DUPLICATE_EVENT, times=2),
        venue(FaultKind.MISSING_FINAL),
        venue(FaultKind.DEPTH_GAP),
        partial(clock_wrong_by, 700),
        partial(clock_wrong_by, -700),
        partial(world.restart, "venue", Loss.KILL),
        partial(world.restart, "bot", Loss.KILL),
    ]


async def served(stand: Stand, node: Node) -> None:
    """The bot as a service: a start that the exchange does not answer is tried again."""
    while True:
        try:
            return await stand.bot(node)
        except Unanswered:
            await asyncio.sleep(AGAIN_S)


def lived(to: Path, seed: int, hours: int, every_s: float) -> Seen:
    found = list[Seen]()

    async def story(stand: Stand) -> None:
        stand.world.start("bot", partial(served, stand), watch_disk=True)
        stand.world.storm(troubles(stand), every_s=every_s, lasting_s=15.0, until_s=hours * HOUR_S - 600.0)
        while stand.differences is None:
            await stand.world.nodes["bot"].gone
        assert (stand.differences, stand.daemon.broker.halted) == ((), {})
        ledger = stand.daemon.parts.context.ledger
        books = {name.partition("/")[0] + "USDT": p.side.sign * p.qty for name, p in ledger.positions.items()}
        for position in stand.venue.exchange.positions():
            assert books.get(position.symbol, Decimal(0)) == position.qty, position.symbol
        stand.session.rename(to)
        lives = check_trouble(stand, hours * HOUR_S / every_s)
        found.append(Seen(to, stand.daemon.parts.recorder.decisions_hash, stand.daemon.bars, stand.daemon.seq, lives))

    trade(day(hours), story, seed=seed, bars=hours, keeps=True)
    found[0].alerts = rows(to, "SELECT level, code, message FROM alerts")
    return found[0]


def check_trouble(stand: Stand, meant: float) -> int:
    """That the day was what it says: about so many troubles, of every sort, and kills of both sides. The bot's lives."""
    told = [event.split(maxsplit=2)[2] for event in stand.world.events if event.split()[1] == "world"]
    sorts = {sort: sum(event.startswith(sort) for event in told) for sort in ("fault", "venue's fault", "clock", "killed")}
    assert sum(sorts.values()) > 0.6 * meant, sorts
    assert min(sorts.values()) > 0.05 * meant, sorts
    assert {"killed bot", "killed venue"} <= set(told)
    return stand.world.nodes["bot"].life.number


def check(seen: Seen) -> None:
    assert seen.lives > 1
    purposes = [purpose for (purpose,) in rows(seen.session, "SELECT purpose FROM fills")]
    assert "entry" in purposes
    assert {"stop", "take", "exit"} & set(purposes)
    pages = [alert for alert in seen.alerts if alert[0] == "page" and alert[1] not in NOT_CRITICAL]
    assert [page for page in pages if LINK_GONE not in page[2]] == []
    check_record(seen)


@pytest.mark.slow
def test_half_a_day_of_trouble_ends_with_books_that_agree(tmp_path: Path) -> None:
    check(lived(tmp_path / "session", 1, 18, 400.0))


@pytest.mark.acceptance
@pytest.mark.parametrize("seed", range(1, 7))
def test_a_day_of_trouble_ends_with_books_that_agree(seed: int, tmp_path: Path) -> None:
    check(lived(tmp_path / "session", seed, 24, 300.0))
