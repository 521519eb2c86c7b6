"""A person trades by hand beside a running `brain live`: who is called, when, and what the account is said to hold afterwards."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from core.exec.live.halts import HaltKind
from core.sim.local.values import NewOrder, OrderSide, OrderType
from graph.commands import live_run
from graph.commands.drive import drive
from graph.commands.paper_answer import summary_of
from graph.live.daemon import LiveDaemon
from graph.session_dir import Accepted, AcceptRequest
from tests.agents.making import ETH
from tests.graph.live.kit import Stand
from tests.graph.live.test_command import HOUR_S, Command, _hourly_and_at_home, lived, one_life  # noqa: F401 - a fixture
from tests.graph.live.test_live_daemon import VENUE_ETH, rows
from tests.support.commands import brain

pytestmark = pytest.mark.slow
BY_HAND_H, LOOKED_H, ACCEPTED_H = 2.2, 2.25, 3.2


def test_what_is_done_by_hand_calls_a_person_between_two_bars_and_is_no_flat_once_it_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F6: bars come once an hour here; page, line and metric came with the next one, and then the account was called flat."""
    found = dict[str, Any]()

    async def driven(making: Any, console: Any, ready: Any, **how: Any) -> Any:
        def noted(daemon: LiveDaemon) -> str:
            found.update(daemon=daemon, err=console.err)
            return str(ready(daemon))

        run = await drive(making, console, noted, **how)
        found["summary"] = summary_of(run.result, run.daemon, run.daemon._folder, console.zone)
        return run

    monkeypatch.setattr(live_run, "drive", driven)

    def looked() -> None:
        series = found["daemon"].parts.metrics.series["brain_halts"]
        found["counted"] = {key[0] for key, count in zip(series.keys, series.values, strict=True) if count}
        found["said"] = found["err"].getvalue()
        found["bars"] = found["daemon"].bars

    def accept() -> None:
        (halt,) = [halt for halt in found["daemon"].halts if halt.kind.of_position]
        item = Accepted(ETH, halt.kind.value, halt.ref, halt.venue)
        found["daemon"]._folder.request_accept(AcceptRequest("bought by hand", "owner", (item,)))

    async def story(stand: Stand, command: Command) -> None:
        def trade_by_hand() -> None:
            venue = stand.venue.exchange
            found["before"] = found["daemon"].bars
            venue.place(NewOrder(VENUE_ETH, OrderSide.BUY, OrderType.MARKET, Decimal("0.300")))
            venue.place(NewOrder(VENUE_ETH, OrderSide.BUY, OrderType.LIMIT, Decimal("0.300"), Decimal(150)))

        for when_h, action in ((BY_HAND_H, trade_by_hand), (LOOKED_H, looked), (ACCEPTED_H, accept)):
            stand.world.at(when_h * HOUR_S, action)
        await one_life(stand, command, 5.5)

    command = lived(tmp_path / "session", story)
    assert found["bars"] == found["before"]
    assert found["counted"] == {HaltKind.BOOKS.value, HaltKind.FOREIGN_ORDER.value}
    for said in (f"page: by_hand: buy 0.300 {ETH}", f"page: symbol_halted: {ETH}: ", "  halted (ETH: "):
        assert said in found["said"]
    held = f"outside our plans: 0.300 {ETH}, under a stop; nothing is opened there"
    assert held in command.said[0].splitlines()[-3]
    assert held in found["summary"]
    assert "no open position" not in found["summary"]
    told = rows(tmp_path / "session", "SELECT DISTINCT code FROM alerts WHERE level = 'page' ORDER BY code")
    assert told == [("by_hand",), ("symbol_halted",)]
    asked = brain("doctor", "--state", str(tmp_path / "session"))
    assert asked.code == 5
    assert f"nobody watches 0.300 {ETH} but stops at the exchange" in asked.out
    assert f"0.300 {ETH} at the exchange; nothing is opened there until it is sold" in asked.out
