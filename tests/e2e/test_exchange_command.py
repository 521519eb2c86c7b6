"""``brain exchange`` in a process of its own, traded against with the unmodified ccxt client (issue 4, part 1)."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import ccxt.pro
import pytest

from core.clock import rfc3339
from core.sim.server.redirect import redirected_session
from tests.core.data.making import DAY, random_bars, write
from tests.support.commands import DEADLINE_SECONDS, Said, at_terminal, brain, command, outside, process

BTC = "BTC/USDT:USDT"
OPTIONS = {"adjustForTimeDifference": True, "fetchCurrencies": False, "fetchOpenOrders": {"warnWithoutSymbol": False}}

pytestmark = pytest.mark.slow


class Running:
    """An exchange that listens; ``told`` is what it said of itself."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self._child = child
        assert child.stdout is not None
        ready, _, _ = select.select([child.stdout], [], [], DEADLINE_SECONDS)
        line = child.stdout.readline() if ready else ""
        assert line, (child.poll(), child.stderr and child.stderr.read())
        self.told: dict[str, Any] = json.loads(line)["data"]

    def end(self, number: signal.Signals = signal.SIGINT) -> Said:
        self._child.send_signal(number)
        out, err = self._child.communicate(timeout=DEADLINE_SECONDS)
        return Said(self._child.returncode, out, err)


@contextlib.contextmanager
def running(folder: Path, *arguments: str) -> Iterator[Running]:
    child = subprocess.Popen(
        command("exchange", "--port", "0", "--json", "--symbols", BTC, "--state", str(folder), *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=outside(),
        cwd=folder.parent,
    )
    try:
        yield Running(child)
    finally:
        child.kill()
        child.communicate()


@contextlib.asynccontextmanager
async def client(told: dict[str, Any]) -> AsyncIterator[Any]:
    """ccxt's client: over TLS with its addresses untouched, over plain HTTP with them replaced."""
    session = None
    if told["certificate"]:
        session = redirected_session(int(told["rest"].rpartition(":")[2]), Path(told["certificate"]))
    keys = {"apiKey": told["api_key"], "secret": told["secret"], "options": dict(OPTIONS)}
    exchange = ccxt.pro.binanceusdm({**keys, "session": session} if session else keys)
    if session is None:
        api = exchange.urls["api"]
        for name in [name for name in api if name.startswith("fapi")]:
            api[name] = api[name].replace("https://fapi.binance.com", told["rest"])
        api["ws"]["linear"] = told["streams"] + "/ws"
    try:
        yield exchange
    finally:
        await exchange.close()
        if session is not None:
            await session.close()


@pytest.mark.parametrize(("door", "end"), [("tls", signal.SIGINT), ("http", signal.SIGKILL)])
async def test_the_real_client_trades_against_it_and_the_account_outlives_it(
    tmp_path: Path, door: str, end: signal.Signals
) -> None:
    plain = ["--http"] if door == "http" else []
    with running(tmp_path / "state", *plain) as market:
        async with client(market.told) as exchange:
            candles = await exchange.fetch_ohlcv(BTC, "5m", limit=10)
            assert len(candles) == 10
            fills = asyncio.create_task(exchange.watch_my_trades(BTC))
            await asyncio.sleep(0.5)
            bought = await exchange.create_order(BTC, "market", "buy", 0.004, params={"clientOrderId": "entry-1"})
            assert (bought["status"], bought["clientOrderId"]) == ("closed", "entry-1")
            heard = await asyncio.wait_for(fills, DEADLINE_SECONDS)
            assert heard[0]["order"] == bought["id"]
            stop = exchange.price_to_precision(BTC, 0.9 * candles[-1][4])
            await exchange.create_order(BTC, "market", "sell", 0.004, params={"stopLossPrice": stop, "reduceOnly": True})
            resting = await exchange.create_order(BTC, "limit", "buy", 0.004, stop)
        said = market.end(end)
    if end is signal.SIGINT:
        assert said.code == 130
        ended = json.loads(said.out)["data"]
        assert (ended["event"], ended["open_orders"], ended["open_algo_orders"], ended["open_positions"]) == ("ended", 1, 1, 1)
    with running(tmp_path / "state", *plain) as market:
        assert market.told["time"] >= rfc3339(resting["timestamp"])
        if door == "tls":
            assert market.told["certificate"] == str(tmp_path / "state" / "exchange-cert.pem")
        async with client(market.told) as exchange:
            held = [position for position in await exchange.fetch_positions([BTC]) if position["contracts"]]
            assert [position["contracts"] for position in held] == [0.004]
            assert len(await exchange.fetch_open_orders(BTC)) == 1
            assert len(await exchange.fetch_open_orders(BTC, params={"trigger": True})) == 1
            sold = await exchange.create_order(BTC, "market", "sell", 0.004, params={"reduceOnly": True})
            assert sold["status"] == "closed"
        assert market.end(signal.SIGTERM).code == 0


@pytest.mark.untraced
@pytest.mark.parametrize("door", ["tls", "http"])
def test_the_lines_that_it_prints_trade(tmp_path: Path, door: str) -> None:
    with running(tmp_path / "state", *(["--http"] if door == "http" else [])) as market:
        lines = market.told["example"]
        assert len(lines) == 3
        program = [sys.executable, "-m", "asyncio"] if door == "tls" else [sys.executable, "-"]
        ran = subprocess.run(
            program,
            input="\n".join([*lines, *(["await exchange.close()"] if door == "tls" else []), ""]),
            capture_output=True,
            text=True,
            env=outside(),
            cwd=tmp_path,
            timeout=DEADLINE_SECONDS,
            check=False,
        )
        assert "'status': 'closed'" in ran.stdout, ran.stderr
        assert json.loads(market.end().out)["data"]["open_positions"] == 1


def test_recordings_are_played_from_their_beginning_and_it_ends_with_them(tmp_path: Path) -> None:
    write(tmp_path / "data" / "perp_5m", "BTCUSDT", random_bars(2 * DAY // 300_000, 300_000))
    with running(tmp_path / "state", "--http", "--data", str(tmp_path / "data"), "--speed", "200000") as market:
        assert market.told["symbols"] == ["BTCUSDT"]
        deadline = time.monotonic() + DEADLINE_SECONDS
        while market._child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        said = Said(market._child.returncode, *market._child.communicate())
    assert said.code == 0, said.err
    assert "the recordings have ended" in said.err


def test_one_folder_belongs_to_one_exchange_and_one_market(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    with running(folder, "--http", "--equity", "500") as market:
        second = process("exchange", "--port", "0", "--state", str(folder))
        assert second.code == 4
        assert "error[STATE-009]: another local exchange uses" in second.err
        assert json.loads(market.end().out)["data"]["equity"] == "500.0"
    other = process("exchange", "--port", "0", "--seed", "8", "--state", str(folder))
    assert other.code == 4
    assert "error[STATE-010]" in other.err
    assert "its seed was 7, now 8" in other.err
    assert f"brain exchange --state {folder}" in other.err
    recorded = process("exchange", "--port", "0", "--data", str(tmp_path), "--state", str(folder))
    assert recorded.code == 4
    assert "its source was synthetic, now replay" in recorded.err


def test_after_a_kill_its_clock_goes_on_near_to_where_it_was(tmp_path: Path) -> None:
    """Behind what clients were told it must not go; far ahead of their clocks they would be refused with -1021."""
    with running(tmp_path / "state", "--http") as market:
        time.sleep(1.5)
        market.end(signal.SIGKILL)
        killed = time.time()
    assert 0.0 <= int((tmp_path / "state" / "time.txt").read_text()) / 1000 - killed <= 2.5


def test_faults_are_scripted_from_outside_where_that_was_asked_for(tmp_path: Path) -> None:
    with running(tmp_path / "state", "--http", "--faults") as market:
        door = http.client.HTTPConnection("127.0.0.1", int(market.told["rest"].rpartition(":")[2]), DEADLINE_SECONDS)
        assert market.told["faults"] == market.told["rest"] + "/_control/faults"
        door.request("POST", "/_control/faults", '{"kind": "reject", "path": "/fapi/v1/time", "code": -1007, "status": 503}')
        assert json.loads(door.getresponse().read())[0]["kind"] == "reject"
        door.request("GET", "/fapi/v1/time")
        assert door.getresponse().status == 503
        door.close()


def test_at_a_terminal_one_line_lives_until_ctrl_c(tmp_path: Path) -> None:
    """ux.md, section 5."""
    arguments = ("exchange", "--http", "--port", "0", "--symbols", BTC, "--state", str(tmp_path / "state"))
    said = at_terminal(*arguments, answers=[("300.00 USDT", "\x03")])
    assert said.code == 130
    assert "0 orders, 0 algo orders, 0 positions" in said.out
    assert "stopped at" in said.out
    assert f"go on     brain exchange --state {tmp_path / 'state'}" in said.out
    assert "Traceback" not in said.out


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = process("exchange", "--http", "--port", str(port), "--state", str(tmp_path / "state"))
    assert said.code == 4
    assert f"error[EXCH-001]: the local exchange cannot listen on 127.0.0.1:{port}" in said.err
    assert "   = help: brain exchange --port 0\n" in said.err


def test_a_full_disk_is_said_and_starts_nothing(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "exchange-key.pem").symlink_to("/dev/full")
    said = process("exchange", "--port", "0", "--state", str(tmp_path / "state"))
    assert said.code == 4
    assert f"error[STATE-003]: state folder {tmp_path / 'state'} can't be written: No space left on device" in said.err
    assert "= help: free some space, then start again with the same --state" in said.err


def test_a_disk_that_does_not_take_the_time_ends_nothing(tmp_path: Path) -> None:
    with running(tmp_path / "state", "--http") as market:
        while not (tmp_path / "state" / "time.txt").exists():
            time.sleep(0.05)
        (tmp_path / "state" / "time.tmp").mkdir()
        time.sleep(1.2)
        said = market.end(signal.SIGTERM)
    assert (said.code, "error" in said.err) == (0, False), said.err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--speed", "max"), "CLI-001", "expected a number above zero"),
        (("--speed", "0"), "CLI-001", "'0'"),
        (("--data", ".", "--seed", "3"), "CLI-001", "--seed belongs to the made market"),
        (("--symbols", "bogus"), "CLI-004", "'bogus'"),
        (("--port", "70000"), "CLI-002", "--port"),
        (("--equity", "0"), "CLI-002", "--equity"),
        (("--symbols", "NEW/USDT:USDT"), "DATA-016", "NEW/USDT:USDT"),
        (("--data", "nowhere"), "DATA-010", "nowhere"),
    ],
)
def test_a_misuse_starts_nothing(tmp_path: Path, arguments: tuple[str, ...], code: str, says: str) -> None:
    said = brain("exchange", *arguments, "--json", cwd=tmp_path)
    assert said.code == (4 if code.startswith("DATA") else 2)
    assert said.answer["error"]["code"] == code
    assert says in said.answer["error"]["what"]
    assert "brain paper" not in (said.answer["error"]["help"] or "")
