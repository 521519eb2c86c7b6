"""What a person accepts of a position that is gone, in the real daemon: the books are closed, and made again by a replay."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from core.exec.live.halts import HaltKind
from graph.live.acceptance import Acceptance
from graph.live.daemon import LiveDaemon
from graph.session_dir import Accepted, AcceptRequest, SessionDir
from tests.agents.making import ETH
from tests.graph.live.kit import Stand, trade
from tests.graph.live.test_live_daemon import BARS, VENUE_ETH, rows, won
from tests.graph.test_rerun import again

GONE_AFTER, SEEN_AFTER = 13, 15
pytestmark = pytest.mark.slow


def test_what_was_accepted_closes_the_books_and_the_record_is_made_again(tmp_path: Path) -> None:
    found: dict[str, Any] = {}

    def look(daemon: LiveDaemon) -> None:
        broker = daemon.broker
        if daemon.bars == GONE_AFTER:
            assert daemon.parts.context.ledger.positions

            async def flat() -> tuple[Any, ...]:
                return ()

            broker._account.positions = flat  # type: ignore[method-assign]
            broker._audit.want("")
        if daemon.bars == SEEN_AFTER:
            found["halts"] = [(halt.symbol, halt.kind) for halt in daemon.halts]
            asked = AcceptRequest("gone in an incident", "owner", (Accepted(ETH, "position", "", "0"),))
            daemon._folder.request_accept(asked)

    async def story(stand: Stand) -> None:
        stand.look = look
        await stand.start().gone
        daemon = stand.daemon
        found["positions"] = dict(daemon.parts.context.ledger.positions)
        found["left"] = daemon._folder.waiting_accept()
        found["after"] = daemon.halts
        found["made"] = (daemon.bars, daemon.seq, daemon.parts.recorder.decisions_hash)
        found["resting"] = stand.venue.exchange.open_algos(VENUE_ETH)
        stand.session.rename(tmp_path / "session")

    trade(won(), story, bars=BARS)
    session = tmp_path / "session"
    assert found["halts"] == [(ETH, HaltKind.POSITION)]
    assert (found["positions"], found["left"], found["after"], found["resting"]) == ({}, None, (), ())
    assert rows(session, "SELECT symbol, exit_reason FROM trades") == [(ETH, "by_hand")]
    ((level, text),) = rows(session, "SELECT level, message FROM alerts WHERE code = 'accepted'")
    assert (level, text) == ("warning", f"owner: gone in an incident ({ETH}: 0 is what the exchange has)")
    assert again(session) == found["made"]


def test_a_bar_does_not_wait_until_an_exchange_that_does_not_answer_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bar hung in it for as long as that took; the note is taken at a later one, and only once."""
    monkeypatch.setattr("graph.live.acceptance._WITHIN_S", 0.01)
    asked: list[Decimal] = []

    class Broker:
        hangs = True

        async def accept(self, _symbol: str, qty: Decimal, _why: str) -> None:
            asked.append(qty)
            if self.hangs:
                await asyncio.Event().wait()

    broker, folder = Broker(), SessionDir(tmp_path)
    acceptance = Acceptance(broker, folder, pytest.fail)  # type: ignore[arg-type]
    folder.request_accept(AcceptRequest("seen", "owner", (Accepted(ETH, "position", "", "2"),)))
    asyncio.run(asyncio.wait_for(acceptance.look(1), 20.0))
    assert (acceptance.heard(), asked) == ([], [2])
    broker.hangs = False
    for bar in (2, 3):
        asyncio.run(acceptance.look(bar))
    (word,) = acceptance.heard()
    assert (word.ts, word.text, asked) == (2, f"seen ({ETH}: 2 is what the exchange has)", [2, 2])
