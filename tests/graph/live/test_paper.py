"""Paper at a local exchange of the daemon's own: over a made market with real sockets, and beside a market that is only heard."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.graph.live.kit import Stand, trade
from tests.graph.live.test_live_daemon import rows, won
from tests.graph.test_rerun import again

BEFORE_FIRST_QUARTER_S = 880.0
"""The made market trades four times an hour; a daemon waits a minute for the first price."""
pytestmark = pytest.mark.acceptance


def test_a_market_that_is_only_heard_is_traded_at_a_local_exchange(tmp_path: Path) -> None:
    """X32, with another local exchange in the real one's place: data from there, not one request with a key; orders here."""
    found = list[tuple[int, int, str]]()

    async def story(stand: Stand) -> None:
        stand.relayed = True
        await asyncio.sleep(BEFORE_FIRST_QUARTER_S)
        daemon = await stand.run()
        assert stand.differences == ()
        assert stand.venue.exchange.all_orders("ETHUSDT") == ()
        found.append((daemon.bars, daemon.seq, daemon.parts.recorder.decisions_hash))
        stand.session.rename(tmp_path / "session")

    trade(won(), story, bars=15, hosts_in_market_time=True)
    legs = [one.rpartition("-")[2] for (one,) in rows(tmp_path / "session", "SELECT client_id FROM fills ORDER BY rowid")]
    assert legs[:2] == ["e0", "t2"]
    assert again(tmp_path / "session") == found[0]
