"""A whole daemon that enters as a maker, or in slices: what reaches the exchange, and that its record is made again (X10, G5)."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from core.errors import StateError
from core.exec.entering import Entering, Entry
from core.journal.reader import JournalReader
from graph.identity import Identity
from graph.opening import entering_of, facts_of_entering
from graph.sessions import openings
from tests.graph.live.kit import Stand, trade
from tests.graph.live.test_live_daemon import VENUE_ETH, rows, won
from tests.graph.test_rerun import again
from tests.support.run import short_configuration
from tests.support.simulation.world import Node

BARS = 14
MAKER, SLICED = Entering(Entry.MAKER), Entering(slices=3)
pytestmark = pytest.mark.slow


def facts(session: Path) -> dict[str, str]:
    reader = JournalReader(session / "journal")
    return dict(openings(reader, 0)[-1].facts)


@pytest.mark.parametrize("how", [MAKER, SLICED], ids=str)
def test_entries_are_made_as_asked_for_and_the_record_is_made_again(how: Entering, tmp_path: Path) -> None:
    found = dict[str, Any]()

    async def story(stand: Stand) -> None:
        daemon = await stand.run()
        orders = stand.venue.exchange.all_orders(VENUE_ETH)
        found["entries"] = [(order.time_in_force.value, order.qty) for order in orders if not order.reduce_only]
        found["held"] = stand.venue.exchange.positions(VENUE_ETH)[0].qty
        found["chain"] = (daemon.bars, daemon.seq, daemon.parts.recorder.decisions_hash)
        found["differences"] = stand.differences
        stand.session.rename(tmp_path / "session")

    trade(won(), story, bars=BARS, entering=how)
    ((planned,),) = rows(tmp_path / "session", "SELECT qty FROM plans WHERE kind = 'entry'")
    assert found["differences"] == ()
    assert found["held"] == Decimal(planned)
    if how is MAKER:
        assert found["entries"][0] == ("GTX", Decimal(planned))
    else:
        assert [qty for _, qty in found["entries"]] == [Decimal("0.187"), Decimal("0.187"), Decimal("0.188")]
    said = facts(tmp_path / "session")
    assert entering_of(said) == how
    assert again(tmp_path / "session") == found["chain"]


@pytest.mark.parametrize(("first", "then"), [(Entering(), SLICED), (MAKER, Entering())], ids=str)
def test_a_session_is_not_gone_on_with_in_another_way_of_entering(first: Entering, then: Entering, tmp_path: Path) -> None:
    refused = list[StateError]()

    async def story(stand: Stand) -> None:
        stand.more["entering"] = first
        await stand.run()
        stand.more["entering"] = then

        async def main(node: Node) -> None:
            with pytest.raises(StateError, match="of another run") as refusal:
                await stand.bot(node)
            refused.append(refusal.value)

        stand.world.nodes["bot"].main = main
        await stand.world.restart("bot").gone

    trade(won(), story, bars=3)
    assert refused[0].code == "STATE-010"
    changed = "slices '1' (this run has '3')" if then is SLICED else "entry 'maker' (this run has 'across')"
    assert changed in refused[0].what
    assert "way of entering" in refused[0].help


def test_a_session_from_before_there_was_a_choice_goes_on_as_it_entered() -> None:
    """Its record has no word of it."""
    source, config = won(), short_configuration()
    before = Identity(source.info, config, {}).facts
    Identity(source.info, config, facts_of_entering(Entering())).check(before.get)
    with pytest.raises(StateError, match=r"entry 'across' \(this run has 'maker'\)"):
        Identity(source.info, config, facts_of_entering(MAKER)).check(before.get)
