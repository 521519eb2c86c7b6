"""A start of `brain live` with every demand met, at an account that must not be traded: refused with a remedy, nothing sent.

The venue is the local exchange over real sockets; the way to it is handed in as a value, as no flag and no variable can.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from configs.environment import load_environment
from configs.loader import load
from core.clock import Clock, SystemClock, VirtualClock
from core.errors import BrainError, LockedError, StateError
from core.monitor.store import Store
from core.sim.local.values import NewOrder, OrderSide, OrderType
from core.sim.server.options import KeyScope, ServerOptions
from core.venues.client import Wiring
from core.venues.keys import Keys
from graph.account_lock import account_file, holding, remember
from graph.commands import live
from graph.commands.live_run import LiveFlags, Stage, Trading, trade
from graph.console import Console
from graph.live.assembly import Reach
from graph.live.local import local_wiring
from tests.core.sim.server.kit import BTC as VENUE_BTC
from tests.core.sim.server.kit import World, serving
from tests.graph.test_accept import session
from tests.support.approved import NOW, approved_month
from tests.support.commands import brain, somewhere

KEY, SECRET = "K" * 64, "S" * 64
KEYS = Keys(KEY, SECRET)
BTC = "BTC/USDT:USDT"
PATIENCE_S = 30.0
OPTIONS = ServerOptions(api_key=KEY, secret=SECRET, reaction_ms=5)


@dataclass(frozen=True, slots=True)
class Ahead:
    """A host's clock that is wrong."""

    by_ms: int

    def now_ms(self) -> int:
        return SystemClock().now_ms() + self.by_ms


@dataclass
class Start:
    """A home with everything signed, and an account at a venue."""

    home: Path
    world: World
    wiring: Callable[[], Wiring]
    loop: asyncio.AbstractEventLoop

    def reach(self, keys: Keys = KEYS, clock: Clock | None = None, wiring: Callable[[], Wiring] | None = None) -> Reach:
        made = wiring or self.wiring
        return Reach(clock or SystemClock(), keys, {"binanceusdm": made()}, made(), read_ntp=lambda: None)

    @property
    def environ(self) -> dict[str, str]:
        return {"API_KEY": KEY, "API_SECRET": SECRET, "XDG_STATE_HOME": str(self.home / "xdg"), "PROMETHEUS_PORT": "0"}

    def run(self, reach: Reach | None = None, **flags: Any) -> tuple[dict[str, Any], str]:
        """The command's JSON answer, and what it said."""
        given = LiveFlags(self.home / "runs", self.home / "live", self.home / "configs", **{"symbols": BTC, **flags})
        out, err = StringIO(), StringIO()
        with pytest.MonkeyPatch.context() as patch, somewhere(None, self.environ):
            patch.setattr(live, "Console", lambda **how: Console(**how, stdout=out, stderr=err))
            guard = threading.Timer(PATIENCE_S, os.kill, (os.getpid(), signal.SIGTERM))  # one that is not refused trades on
            guard.start()
            live.run_live(given, json=True, quiet=False, color="never", reach=reach or self.reach())
            guard.cancel()
        return json.loads(out.getvalue()), err.getvalue()

    @property
    def untouched(self) -> bool:
        """Whether nothing was sent: no order, no setting."""
        exchange = self.world.exchange
        sent = [*exchange.all_orders(VENUE_BTC), *exchange.all_algos(VENUE_BTC)]
        return [order.client_id for order in sent] in ([], ["by-hand"]) and exchange.symbol_config(VENUE_BTC).leverage == 20


@contextmanager
def venue(folder: Path, options: ServerOptions, wallet: str) -> Iterator[tuple[World, asyncio.AbstractEventLoop]]:
    """An exchange in a thread of its own, since the command has a loop of its own."""
    loop, up, over, worlds = asyncio.new_event_loop(), threading.Event(), asyncio.Event(), list[World]()

    async def serve() -> None:
        async with serving(folder, options, wallet=wallet) as world:
            worlds.append(world)
            up.set()
            await over.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        assert up.wait(30.0)
        yield worlds[0], loop
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(30.0)
        loop.close()


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return approved_month(tmp_path_factory.mktemp("approved"))


@pytest.fixture(autouse=True)
def _at_the_end_of_the_month(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "SystemClock", lambda: VirtualClock(NOW))


@contextmanager
def standing(home: Path, place: Path, options: ServerOptions = OPTIONS, wallet: str = "300") -> Iterator[Start]:
    with venue(place, options, wallet) as (world, loop):
        assert world.cert is not None
        start = Start(home, world, lambda: local_wiring(world.port, world.cert), loop)  # type: ignore[arg-type]
        yield start


def refused(start: Start, code: str, says: str, reach: Reach | None = None, **flags: Any) -> None:
    answer, said = start.run(reach, **flags)
    error = answer["error"]
    assert (answer["ok"], error["code"]) == (False, code), answer
    assert says in error["what"], error["what"]
    assert error["help"]
    assert "nothing was started; no order was sent" in said
    assert start.untouched
    for secret in (KEY, SECRET):
        assert secret not in said


@pytest.mark.parametrize(
    ("scope", "code", "says"),
    [
        (KeyScope(withdrawals=True), "LIVE-010", "may withdraw"),
        (KeyScope(futures=False), "LIVE-011", "may not trade futures"),
    ],
)
def test_a_key_with_too_many_or_too_few_rights_is_refused(
    scope: KeyScope, code: str, says: str, signed: Path, tmp_path: Path
) -> None:
    """Issue 4, point 6: withdrawal rights are refused, always."""
    with standing(signed, tmp_path, replace(OPTIONS, scope=scope)) as start:
        refused(start, code, says)


def test_keys_that_the_exchange_does_not_take_are_refused(signed: Path, tmp_path: Path) -> None:
    with standing(signed, tmp_path) as start:
        refused(start, "LIVE-014", "does not take API_KEY", start.reach(Keys("X" * 64, SECRET)))
        refused(start, "LIVE-014", "does not take API_SECRET", start.reach(Keys(KEY, "X" * 64)))


def test_a_clock_that_is_ten_seconds_off_is_refused(signed: Path, tmp_path: Path) -> None:
    with standing(signed, tmp_path) as start:
        for by_ms in (10_000, -10_000):
            refused(start, "LIVE-013", "the clock is", start.reach(clock=Ahead(by_ms)))


def test_an_exchange_that_cannot_be_reached_is_told(signed: Path, tmp_path: Path) -> None:
    with standing(signed, tmp_path) as start:
        cert = start.world.cert
        assert cert is not None
        refused(start, "LIVE-015", "cannot be asked", start.reach(wiring=lambda: local_wiring(1, cert)))


def test_an_account_without_money_is_refused(signed: Path, tmp_path: Path) -> None:
    with standing(signed, tmp_path, wallet="0") as start:
        refused(start, "LIVE-016", "holds 0.00 USDT")


def test_hedge_mode_with_something_open_is_refused(signed: Path, tmp_path: Path) -> None:
    with standing(signed, tmp_path) as start:
        resting = NewOrder(VENUE_BTC, OrderSide.BUY, OrderType.LIMIT, Decimal("0.010"), Decimal(48_000), client_id="by-hand")
        start.loop.call_soon_threadsafe(start.world.exchange.place, resting)
        start.loop.call_soon_threadsafe(setattr, start.world.exchange._engine, "dual_side", True)
        refused(start, "LIVE-012", "hedge mode")


def test_multi_assets_mode_is_refused(signed: Path, tmp_path: Path) -> None:
    """The books count USDT only; other coins would margin positions, and be lost, unseen."""
    with standing(signed, tmp_path, replace(OPTIONS, multi_assets=True)) as start:
        refused(start, "LIVE-019", "multi-assets mode")


def test_a_symbol_that_paper_did_not_trade_is_refused(signed: Path, tmp_path: Path) -> None:
    with standing(signed, tmp_path) as start:
        refused(start, "READY-002", "SOL/USDT:USDT is not in every counted session", symbols=f"{BTC},SOL/USDT:USDT")


@pytest.mark.parametrize("symbol", ["SOL/USDT:USDT", "XYZ/USDT:USDT"])
def test_a_symbol_that_is_not_listed_or_not_configured_is_refused(symbol: str, signed: Path, tmp_path: Path) -> None:
    with standing(signed, tmp_path) as start, somewhere(None, start.environ):
        with pytest.raises(BrainError, match=symbol) as refusal:
            trade(trading(start, symbols=symbol), quiet_console(), Stage(), start.reach())
        assert refusal.value.help
        assert start.untouched


def test_whole_entries_need_the_kind_of_money_that_they_were_seen_with(signed: Path, tmp_path: Path) -> None:
    """X36: what is whole with 1,000 USD may lie below the exchange's minimum with 300, and the other way round."""
    with standing(signed, tmp_path, wallet="1000") as start, somewhere(None, start.environ):
        with pytest.raises(LockedError, match=r"holds 1000\.00 USD, the evidence began with 300\.00") as refusal:
            trade(trading(start, full_size=True), quiet_console(), Stage(), start.reach())
        assert (refusal.value.code, "without --full-size" in (refusal.value.help or "")) == ("READY-003", True)
        assert start.untouched


# --- one of everything -----------------------------------------------------------------------------------------------


def trading(start: Start, **flags: Any) -> Trading:
    given = LiveFlags(state=start.home / "live", configs=start.home / "configs", **{"symbols": BTC, **flags})
    configs = start.home / "configs"
    return Trading(given, load_environment(None, start.environ), load(configs), configs, start.home / "live", 300.0)


def quiet_console() -> Console:
    return Console(stderr=StringIO(), stdout=StringIO())


def test_of_two_daemons_that_start_at_once_the_second_is_refused(signed: Path, tmp_path: Path) -> None:
    """Both have passed the demands; account and folder are held from then on, not looked at."""
    with standing(signed, tmp_path) as start, somewhere(None, start.environ):
        console = quiet_console()
        with holding(account_file(KEYS)), pytest.raises(StateError, match="trades with the same API key") as refusal:
            trade(trading(start), console, Stage(), start.reach())
        assert refusal.value.code == "STATE-013"
        store = Store(signed / "live" / "brain.sqlite")
        try:
            with pytest.raises(StateError) as refusal:
                trade(trading(start), console, Stage(), start.reach())
            assert refusal.value.code == "STATE-009"
        finally:
            store.close()
        assert start.untouched


def test_a_new_folder_is_refused_while_the_keys_last_one_still_holds_something(signed: Path, tmp_path: Path) -> None:
    """It would know neither the position nor a kill-switch, a day lock or a peak."""
    last = session(tmp_path / "last")
    Store(last.database).close()
    with standing(signed, tmp_path) as start, somewhere(None, start.environ):
        note = account_file(KEYS)
        note.parent.mkdir(parents=True, exist_ok=True)
        remember(note, last.root)
        try:
            with pytest.raises(StateError, match=r"still has 0\.1 ETH/USDT:USDT$") as refusal:
                trade(trading(start), quiet_console(), Stage(), start.reach())
        finally:
            note.with_suffix(".folder").unlink()
        assert (refusal.value.code, f"brain live --state {last.root}" in (refusal.value.help or "")) == ("STATE-015", True)
        assert start.untouched


# --- flags -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--exchange", "bybit"), "Binance USD-M only"),
        (("--symbols", "BTC/USDT"), "perpetuals only"),
        (("--symbols", "nonsense"), "nonsense"),
    ],
)
def test_flags_that_cannot_be_are_refused_before_anything_is_looked_at(flags: tuple[str, ...], says: str, tmp_path: Path) -> None:
    said = brain("live", *flags, "--evidence", str(tmp_path))
    assert (said.code, says in said.err, said.out) == (2, True, "")


def test_no_flag_and_no_variable_leads_to_another_exchange() -> None:
    """Evidence and orders are the venue's: what leads elsewhere is a value that only code can hand in."""
    help_text = brain("live", "--help").out
    for word in ("address", "resolver", "url", "host", "testnet", "cafile", "speed", "equity"):
        assert f"--{word}" not in help_text
    names = set(load_environment(None, {}).model_dump())
    assert names == {
        "exchange", "api_key", "api_secret", "openai_api_key", "mode", "prometheus_port", "tz", "log_level",
    }  # fmt: skip
