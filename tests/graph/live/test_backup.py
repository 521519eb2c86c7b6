"""``--backup``: the way from a flag to a venue whose candles stand in (B7)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from core.clock import SystemClock
from core.venues.client import Wiring
from graph.commands import paper_local
from graph.live.assembly import Reach
from graph.live.local import LOCAL_KEYS
from tests.graph.live.kit import Stand
from tests.graph.live.test_command import Command, _hourly_and_at_home, lived, one_life  # noqa: F401 - a fixture
from tests.support.commands import brain
from tests.support.simulation.world import Node


def test_the_first_venue_stays_the_first_and_keeps_its_wiring() -> None:
    wiring = Wiring(timeout_ms=1)
    reach = Reach(SystemClock(), LOCAL_KEYS, {"binanceusdm": wiring})
    assert list(reach.backed_by(("okx", "bybit", "binanceusdm")).data) == ["binanceusdm", "okx", "bybit"]
    assert reach.backed_by(("okx",)).data["binanceusdm"] is wiring
    assert reach.backed_by(()) == reach


def test_paper_on_a_real_market_hands_the_flag_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = list[list[str]]()

    def asked(_request: object, reach: Reach, *_: object) -> object:
        seen.append(list(reach.data))
        raise RuntimeError("no real market here")

    monkeypatch.setattr(paper_local, "daemon_at_real_market", asked)
    for more in ((), ("--backup", "bybit,okx")):
        brain("paper", "--source", "exchange", "--state", str(tmp_path / f"s{len(more)}"), *more)
    assert seen == [["binanceusdm"], ["binanceusdm", "bybit", "okx"]]


@pytest.mark.slow
def test_live_tries_its_backup_at_the_start_and_says_what_it_cannot_do(tmp_path: Path) -> None:
    async def nobody(_: Node) -> None:
        await asyncio.Event().wait()

    async def story(stand: Stand, command: Command) -> None:
        stand.world.start("bybit", nobody, hosts=("api.bybit.com",))
        await one_life(stand, command, 1.5)

    command = lived(tmp_path / "session", story, backup="bybit")
    (said,) = command.said
    assert "bybit cannot stand in now (" in said
    assert command.driven[0].daemon.bars > 0
