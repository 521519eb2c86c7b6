"""Bars are made up over a gap on paper, and never where real money is traded (B5; issue 4, point 2)."""

from __future__ import annotations

import numpy as np
import pytest

from core.data.blocks import BarBlock
from tests.agents.making import ETH, breaking_out
from tests.graph.live.kit import Stand, trade
from tests.support.ladder import HandMade


def made_up(mode: str) -> int:
    """Bars that the feed of a whole daemon makes up where one is missing."""
    found = list[int]()

    async def story(stand: Stand) -> None:
        feed = (await stand.run()).parts.context.market.feed
        tf, (last,) = feed.base_tf[0], feed.last_ts.tolist()
        price = np.array([float(feed.last_close[0])])
        opened = np.array([last + tf.ms])
        feed.on_bars(last + 2 * tf.ms, (BarBlock(tf, np.array([0]), opened, price, price, price, price, np.array([1.0])),))
        found.append(sum(block.tf is tf for missed in feed.catch_up for block in missed.blocks))

    trade(HandMade({ETH: breaking_out()}), story, bars=2, identity={"mode": mode})
    return found[0]


@pytest.mark.slow
def test_paper_bridges_a_missing_bar() -> None:
    assert made_up("paper") == 1


@pytest.mark.slow
def test_live_makes_up_nothing() -> None:
    assert made_up("live") == 0
