"""What `brain live` runs, at the local exchange in virtual time: canaries, money of the account's own, signals, another life.

The command's own desk and driver; only the way to the exchange is handed in, which no flag and no variable can say.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from configs.environment import load_environment
from core.errors import StateError
from core.exec.entering import Entering
from core.sim.server.options import API_KEY, API_SECRET
from core.types import Timeframe
from core.venues.keys import Keys
from graph.commands import live_run
from graph.commands.drive import Driven
from graph.commands.live_run import LiveFlags, Stage, Trading, at_desk, at_exchange
from graph.console import Console
from graph.journaling import SessionJournal
from graph.live.assembly import Reach
from graph.opening import entering_of, sizing_of
from graph.session_dir import SessionDir
from graph.sessions import Session, openings
from tests.agents.making import ETH
from tests.graph.live.kit import CALM, QUIET, WANTED, Stand, seldom_warm, trade
from tests.graph.live.test_live_daemon import VENUE_ETH, rows, won
from tests.graph.test_rerun import again
from tests.support.simulation.world import Node

HOUR_S = 3_600.0
pytestmark = pytest.mark.slow


@dataclass
class Command:
    """``brain live`` in a node: each life begins with what the one before left in the state folder."""

    flags: dict[str, Any] = field(default_factory=dict)
    driven: list[Driven] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    unmet: tuple[str, ...] = ()

    def run_in(self, stand: Stand) -> Callable[[Node], Any]:
        async def main(node: Node) -> None:
            flags = LiveFlags(state=node.folder / "session", symbols=ETH, **self.flags)
            environment = load_environment(None, {"API_KEY": API_KEY, "API_SECRET": API_SECRET, "PROMETHEUS_PORT": "0"})
            trading = Trading(flags, environment, stand.config, node.folder, node.folder / "session", 300.0)
            trading = trading._replace(goes_on=bool(self.unmet), unmet=self.unmet)
            err = StringIO()
            console = Console(stdout=StringIO(), stderr=err)
            reach = Reach(
                stand.clock,
                Keys(API_KEY, API_SECRET),
                orders=seldom_warm(),
                options=CALM,
                wanted=WANTED.__getitem__,
                settings=QUIET,
                read_ntp=lambda: None,
            )
            with at_desk(trading, console, Stage(), reach) as desk:
                self.driven.append(await at_exchange(desk, reach, console))
            self.said.append(err.getvalue())

        return main


@pytest.fixture(autouse=True)
def _hourly_and_at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The market is written in hours; the account's lock is this test's own; nobody's signature is looked at."""
    monkeypatch.setattr(live_run, "BASE", Timeframe.H1)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(live_run.GovernanceWatch, "changed", lambda _: False)


def lived(to: Path, story: Callable[[Stand, Command], Any], **flags: Any) -> Command:
    command = Command(flags)

    async def told(stand: Stand) -> None:
        await story(stand, command)
        (stand.world.nodes["bot"].folder / "session").rename(to)

    trade(won(), told)
    return command


async def one_life(stand: Stand, command: Command, until_h: float, number: int = signal.SIGTERM) -> None:
    """From the first start to a signal."""
    node = stand.world.start("bot", command.run_in(stand))
    await until_signal(stand, node, until_h, number)


async def until_signal(stand: Stand, node: Node, until_h: float, number: int = signal.SIGTERM) -> None:
    stand.world.at(until_h * HOUR_S, stand.world.signal, "bot", number)
    await node.gone


def facts(session: Path) -> dict[str, str]:
    reader = Session(SessionDir.at(session)).reader()
    return dict(openings(reader, 0)[-1].facts)


def test_a_first_life_trades_canaries_with_the_accounts_own_money_and_a_signal_closes_them(tmp_path: Path) -> None:
    """X34, X35: the smallest legal order, flagged with its real R; nothing is added; what was decided can be made again."""
    found = dict[str, Any]()

    async def story(stand: Stand, command: Command) -> None:
        await one_life(stand, command, 16.5)
        found["held"] = stand.venue.exchange.positions(VENUE_ETH)[0].qty
        found["resting"] = (*stand.venue.exchange.open_orders(None), *stand.venue.exchange.open_algos(None))

    command = lived(tmp_path / "session", story, slices=2)
    ((plan, qty, r_pct),) = rows(tmp_path / "session", "SELECT id, qty, risk_r_pct FROM plans")
    assert plan.startswith("C-")
    assert 0.05 < r_pct <= 0.25
    assert Decimal(qty) < Decimal("0.2")
    assert rows(tmp_path / "session", "SELECT symbol FROM refusals WHERE code = 'CANARY_ADD'") == [(ETH,)]
    assert found == {"held": 0, "resting": ()}
    (driven,) = command.driven
    assert (driven.signal_seen, driven.daemon.left) == (signal.SIGTERM, {})
    said = facts(tmp_path / "session")
    assert (said["mode"], sizing_of(said), said["equity"], said["orders_go_to"]) == ("live", "canary", "300.0", "venue")
    assert "LIVE at Binance USD-M with 300.00 USD, canaries (X35), entered across in up to 2 slices; session" in command.said[0]
    assert entering_of(said) == Entering(slices=2)
    assert "exchange and books agree" in command.said[0]
    alerts = rows(tmp_path / "session", "SELECT code FROM alerts WHERE level = 'info'")
    assert ("recovered",) in alerts
    daemon = driven.daemon
    assert again(tmp_path / "session") == (daemon.bars, daemon.seq, daemon.parts.recorder.decisions_hash)


def test_a_handover_is_gone_on_with_and_what_was_taken_out_meanwhile_is_no_loss(tmp_path: Path) -> None:
    """X11, X34: the same folder, the same position under its stop; a third of the money is gone, and no limit is reached."""
    found = dict[str, Any]()

    async def story(stand: Stand, command: Command) -> None:
        await one_life(stand, command, 13.5, signal.SIGHUP)  # a terminal that is closed asks for an end like any other
        found["left"] = dict(command.driven[0].daemon.left)
        found["stops"] = len(stand.venue.exchange.open_algos(VENUE_ETH))
        stand.venue.exchange.transfer(Decimal(-100))
        await until_signal(stand, stand.world.restart("bot"), 17.5)
        found["wallet"] = float(stand.venue.exchange.account().wallet)

    command = lived(tmp_path / "session", story, full_size=True, handover=True)
    assert list(found["left"]) == [ETH]
    assert found["stops"] >= 1
    daemon = command.driven[1].daemon
    view = daemon.parts.context.governor.view
    assert daemon.parts.context.ledger.wallet == pytest.approx(found["wallet"], abs=0.01)
    assert (view.kill_switch, view.day_lock) == (False, False)
    assert rows(tmp_path / "session", "SELECT message FROM alerts WHERE code = 'transfer'") == [("100.00 USD were taken out",)]
    assert [one for (one,) in rows(tmp_path / "session", "SELECT qty FROM plans WHERE kind = 'entry'")] == ["0.562"]
    assert facts(tmp_path / "session")["equity"] == "300.0"
    assert again(tmp_path / "session") == (daemon.bars, daemon.seq, daemon.parts.recorder.decisions_hash)


def test_a_withdrawal_that_is_listed_hours_later_is_no_loss_any_more(tmp_path: Path) -> None:
    """X11: it counts as one at first, and pulls the kill-switch, which stays; nothing that is compared is wrong for longer."""
    found = dict[str, Any]()

    async def story(stand: Stand, command: Command) -> None:
        def take_out() -> None:
            stand.venue.exchange.transfer(Decimal(-100))
            found["row"] = stand.venue.exchange._engine.history.income.pop()

        stand.world.at(3.4 * HOUR_S, take_out)
        stand.world.at(8.5 * HOUR_S, lambda: stand.venue.exchange._engine.history.income.append(found["row"]))
        await one_life(stand, command, 11.5)

    command = lived(tmp_path / "session", story, full_size=True)
    daemon = command.driven[0].daemon
    view = daemon.parts.context.governor.view
    assert view.equity == pytest.approx(200.0, abs=0.1)
    assert (view.dd_72h_pct, view.day_pnl_pct) == (pytest.approx(0.0, abs=0.1), pytest.approx(0.0, abs=0.1))
    assert view.kill_switch
    asked = "SELECT code, message FROM alerts WHERE code IN ('unexplained', 'late_transfer') ORDER BY ts"
    told = rows(tmp_path / "session", asked)
    text = "100.00 USD that counted as a loss were taken out: they are in no limit any more"
    assert told == [
        ("unexplained", "the account has 100.00 USD less than the books had"),
        ("late_transfer", f"{text}; still set: the day's lock, until midnight, the kill-switch, until brain unlock"),
    ]
    assert again(tmp_path / "session") == (daemon.bars, daemon.seq, daemon.parts.recorder.decisions_hash)


def test_a_restart_with_positions_and_without_evidence_watches_them_and_opens_nothing(tmp_path: Path) -> None:
    """J5: a crash of live, once paper is over, must not leave a position that nobody watches. The banner tells today's money."""
    found = dict[str, Any]()

    async def story(stand: Stand, command: Command) -> None:
        await one_life(stand, command, 13.5)
        found["left"] = dict(command.driven[0].daemon.left)
        stand.venue.exchange.transfer(Decimal(-100))
        command.unmet, command.flags["handover"] = ("demand 7: a day without a critical error",), False
        await until_signal(stand, stand.world.restart("bot"), 17.5)
        found["halts"] = [(halt.symbol, halt.kind.value) for halt in command.driven[1].daemon.halts]
        found["held"] = stand.venue.exchange.positions(VENUE_ETH)[0].qty

    command = lived(tmp_path / "session", story, full_size=True, handover=True)
    assert list(found["left"]) == [ETH]
    assert (found["held"], found["halts"]) == (0, [("", "unproven")])
    assert "NO ENTRIES (demand 7: a day without a critical error)" in command.said[1]
    assert "LIVE at Binance USD-M with 199." in command.said[1]
    halted = "the whole account: demand 7: a day without a critical error is not met"
    assert command.said[1].count(f"page: symbol_halted: {halted}") == 1
    (told,) = rows(tmp_path / "session", "SELECT message FROM alerts WHERE code = 'symbol_halted'")
    assert told[0].startswith(halted)
    assert not rows(tmp_path / "session", "SELECT 1 FROM alerts WHERE code = 'recovery' AND level = 'page'")  # told once
    daemon = command.driven[1].daemon
    assert again(tmp_path / "session") == (daemon.bars, daemon.seq, daemon.parts.recorder.decisions_hash)


def test_another_sizing_is_refused_before_anything_is_said_of_a_run(tmp_path: Path) -> None:
    """X35; another folder, which is the usual way on, would know neither positions nor locks."""
    refused = list[StateError]()

    async def story(stand: Stand, command: Command) -> None:
        await one_life(stand, command, 13.5)
        command.flags["full_size"] = False

        async def main(node: Node) -> None:
            with pytest.raises(StateError) as refusal:
                await command.run_in(stand)(node)
            refused.append(refusal.value)

        stand.world.nodes["bot"].main = main
        await stand.world.restart("bot").gone

    command = lived(tmp_path / "session", story, full_size=True, handover=True)
    assert (refused[0].code, len(command.said)) == ("STATE-010", 1)
    assert "once nothing is open or halted" in (refused[0].help or "")


def test_a_journal_that_a_crash_had_torn_is_told_at_the_next_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """F6: what a kill in the middle of a write leaves is taken off, kept, and said."""
    monkeypatch.setattr(SessionJournal, "finish", lambda _: None)  # the last segment stays open, as a kill leaves it

    async def story(stand: Stand, command: Command) -> None:
        await one_life(stand, command, 3.5)
        (last,) = (stand.session / "journal").glob("*.journal")
        last.write_bytes(last.read_bytes() + b"\x07" * 5)
        await until_signal(stand, stand.world.restart("bot"), 6.5)

    command = lived(tmp_path / "session", story)
    said = "the journal's last 5 bytes were torn by a crash; they are kept in"
    assert [told.count(said) for told in command.said] == [0, 1]
    daemon = command.driven[1].daemon
    assert again(tmp_path / "session") == (daemon.bars, daemon.seq, daemon.parts.recorder.decisions_hash)


def test_a_start_says_what_it_waits_for(tmp_path: Path) -> None:
    """Each of these asks somebody else, or looks through months of history."""
    said = list[str]()

    async def story(stand: Stand, command: Command) -> None:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Console, "stage", lambda _, text: said.append(text))
            await one_life(stand, command, 2.5)

    lived(tmp_path / "session", story)
    assert [text for text in said if not text.startswith("first bar at ")] == [
        "asking the account what it is and holds",
        f"fetching the past of {ETH}",
        "warming up features and regimes from the past",
        "making exchange and books agree",
    ]
    assert re.fullmatch(r"first bar at \d\d:\d\d:\d\d UTC", said[-1])
