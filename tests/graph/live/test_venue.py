"""What stands in the journal is not asked of the exchange again (X43)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from core.errors import StateError
from core.types import OrderStatus, OrderUpdate
from graph.journaling import NoJournal
from graph.junction import check_junction
from graph.live.venue import JournaledLive
from tests.support.ladder import HandMade, ladder

BTC, ETH = "BTC/USDT:USDT", "ETH/USDT:USDT"


class CatchingUp(NoJournal):
    """A journal in which one answer stands."""

    catching_up = True

    def expected_answer(self, verb: str, client_id: str) -> OrderUpdate | None:
        return OrderUpdate("e0", BTC, OrderStatus.CANCELED, 7) if (verb, client_id) == ("cancel", "e0") else None


async def test_an_answer_comes_from_the_record_and_what_is_not_there_is_not_sent() -> None:
    """There is no broker behind it: whoever asked one would fail."""
    broker: Any = None
    venue = JournaledLive(broker, CatchingUp())  # type: ignore[arg-type]
    assert (await venue.cancel(BTC, "e0")).ts == 7
    with pytest.raises(StateError, match="nothing was sent"):
        await venue.cancel(BTC, "s1")


def test_a_bar_that_came_too_late_for_its_batch_does_not_make_it_another_market() -> None:
    """Only for a real market; another price is another market there too."""
    both = HandMade({BTC: ladder().climb(2), ETH: ladder().climb(2)}).batch(1)
    [block] = both.bars
    columns = ("idx", "open_ts", "open", "high", "low", "close", "volume")
    alone = replace(both, bars=(replace(block, **{name: getattr(block, name)[:1] for name in columns}),))
    check_junction(alone, both, (BTC, ETH), whole=False)
    with pytest.raises(StateError, match="came"):
        check_junction(alone, both, (BTC, ETH))
    dearer = replace(both, bars=(replace(block, close=block.close + 1.0),))
    with pytest.raises(StateError, match="close"):
        check_junction(alone, dearer, (BTC, ETH), whole=False)
