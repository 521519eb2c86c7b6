"""The live broker of a whole daemon works under the limits in force and sees what the run sees (F1, F6, X31; issue 4, point 3).

Its parts are tested with what a test hands them; here they get it from the run.
"""

from __future__ import annotations

import pytest

from core.exec.live.halts import HaltKind
from graph.live.daemon import LiveDaemon
from tests.agents.making import ETH
from tests.graph.live.kit import QUIET, Stand, trade
from tests.graph.live.test_live_daemon import VENUE_ETH, rows, won
from tests.support.run import short_configuration
from tests.support.simulation.disk import Loss

ENTERED = 14
"""Bars until the entry of that market is filled and held."""


@pytest.mark.slow
def test_the_broker_of_a_run_has_its_limits_its_books_its_stops_and_its_voice() -> None:
    config = short_configuration()
    limits = config.governance.model_copy(update={"leverage_cap": 2.0, "ntp_skew_ms": 1_200})
    held, leverage, told = list[str](), list[int](), list[str]()

    def look(daemon: LiveDaemon) -> None:
        ledger, broker = daemon.parts.context.ledger, daemon.broker
        desk = broker._desk
        if daemon.bars == ENTERED:
            plan_id = ledger.positions[ETH].plan.id
            plan = ledger.plan(plan_id)
            assert plan is not None
            assert broker._guardian._stop_of(plan_id) == plan.stop  # what must not lie nearer than the plan's own
            assert (desk.options.leverage, desk.options.max_clock_offset_ms) == (2, 1_200)
            assert desk.options.book_valid_ms == 1_000 * QUIET.book_silent_s  # None would let it enter blindly
            book = desk.book(ETH)
            assert book is not None
            assert not book.modelled
            desk.halt(ETH, HaltKind.PART_FAILED, "a person must hear this")
            held.append(plan_id)

    async def story(stand: Stand) -> None:
        stand.look = look
        await stand.run()
        leverage.append(stand.venue.exchange.symbol_config(VENUE_ETH).leverage)
        told.extend(message for (message,) in rows(stand.session, "SELECT message FROM alerts WHERE code = 'symbol_halted'"))

    trade(won(), story, bars=ENTERED, config=config.model_copy(update={"governance": limits}))
    assert (len(held), leverage) == (1, [2])
    assert [message for message in told if "a person must hear this" in message]


@pytest.mark.slow
def test_a_page_tells_of_a_halt_once_in_every_life() -> None:
    """F6: of a halt that comes by the broker, of one from an earlier life by the start; whoever counts pages counts it once."""
    told = list[tuple[str, str, str]]()
    why = "a person must hear this"

    def look(daemon: LiveDaemon) -> None:
        if not daemon.halts:
            daemon.broker._desk.halt("", HaltKind.CONTRADICTED, why)
            daemon.stop()

    async def story(stand: Stand) -> None:
        stand.look = look
        await stand.start().gone
        await stand.world.restart("bot", Loss.KILL).gone
        told.extend(rows(stand.session, "SELECT level, code, message FROM alerts WHERE message LIKE '%whole account%'"))  # type: ignore[arg-type]

    trade(won(), story, bars=3)
    assert told == [
        ("page", "symbol_halted", f"the whole account: {why}"),
        ("page", "recovery", f"nothing is opened on the whole account: {why}"),
        ("info", "recovery", "the start settled not everything: nothing is opened on the whole account"),
    ]
