"""A real process over real sockets and TLS, killed for real: what holds in the simulation holds outside it (F2, F6, K2)."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest

from core.clock import SystemClock
from core.sim.server.app import ExchangeServer
from core.sim.server.options import ServerOptions
from core.sim.server.tls import make_certificate
from tests.conftest import ROOT
from tests.faults.crash_matrix.market import QTY, PathTape, PricePath, WatchedExchange
from tests.faults.crash_matrix.process import calm_cell
from tests.faults.crash_matrix.rules import Bot, Witness
from tests.support.commands import DEADLINE_SECONDS, outside

pytestmark = pytest.mark.untraced

ALIKE = 7
"""Lives at once."""


class Life:
    """An exchange in this process, and a bot in another that is killed."""

    def __init__(self, number: int, folder: Path) -> None:
        self.number, self.folder, self.cell = number, folder, calm_cell(number)
        self.clock = SystemClock()
        self.witness = Witness(self.cell.side, self.clock.now_ms, lambda *_words: None, self.cell.symbols)
        self.exchange = WatchedExchange(self.clock, self.witness)
        self.chance = Random(f"{number}/kill")
        self.certificate = make_certificate(folder / "tls")

    async def lived(self) -> dict[str, Any]:
        """What the bot says at its end, after as many kills as the seed wants."""
        tape = PathTape(PricePath(self.cell, self.clock.now_ms()))
        server = ExchangeServer(self.exchange, tape, self.clock, ServerOptions(seed=self.number))
        addresses = await server.start(tls=self.certificate)
        port = int(addresses.rest.rpartition(":")[2])
        try:
            await self._killed(port, self._traded, self.chance.uniform(0.0, 1.5))
            if self.chance.random() < 0.5:
                await self._killed(port, self._begun, self.chance.uniform(0.0, 1.5))
            return await self._finished(port)
        finally:
            await server.close()

    async def _begin(self, port: int) -> asyncio.subprocess.Process:
        self.witness.becomes(Bot.STARTING)
        words = (str(port), str(self.certificate.cert), str(self.folder / "bot"), str(self.number))
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.faults.crash_matrix.process", *words,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=ROOT, env=outside(),
        )  # fmt: skip

    async def _begun(self, bot: asyncio.subprocess.Process) -> None:
        assert bot.stdout is not None
        await bot.stdout.readline()

    async def _traded(self, bot: asyncio.subprocess.Process) -> None:
        while not self.witness.asks and bot.returncode is None:  # noqa: ASYNC110 - the order comes in at the exchange
            await asyncio.sleep(0.002)

    async def _killed(self, port: int, when: Callable[[asyncio.subprocess.Process], Awaitable[None]], later_s: float) -> None:
        bot = await self._begin(port)
        await when(bot)
        await asyncio.sleep(later_s)
        bot.send_signal(signal.SIGKILL)
        self.witness.becomes(Bot.HELPLESS)
        _, errors = await bot.communicate()
        assert bot.returncode == -signal.SIGKILL, errors.decode()

    async def _finished(self, port: int) -> dict[str, Any]:
        bot = await self._begin(port)
        async with asyncio.timeout(2 * DEADLINE_SECONDS):
            assert bot.stdout is not None
            assert bot.stderr is not None
            first = await bot.stdout.readline(), await bot.stdout.readline()
            self.witness.becomes(Bot.UP)
            told = await bot.stdout.readline()
            assert told, (first, (await bot.stderr.read()).decode())
            await bot.communicate()
        said: dict[str, Any] = json.loads(told)
        return said


async def survives(number: int, folder: Path) -> None:
    (folder / "bot").mkdir(parents=True)
    life = Life(number, folder)
    told = await life.lived()
    witness, exchange = life.witness, life.exchange
    assert witness.broken == []
    assert (told["halted"], told["differences"], told["held"]) == ({}, [], str(witness.held("BTCUSDT")))
    assert witness.held("BTCUSDT") == 0
    assert (exchange.open_orders(), exchange.open_algos()) == ((), ())
    assert [client_id for client_id in witness.taken if client_id not in told["rows"]] == []
    assert sum((qty for client_id, qty in witness.filled.items() if "-e" in client_id), Decimal(0)) <= QTY
    assert told["wallet"] == pytest.approx(float(exchange.account().wallet), abs=1e-6)


async def survive(numbers: range, folder: Path) -> None:
    await asyncio.gather(*(survives(number, folder / str(number)) for number in numbers))


@pytest.mark.slow
async def test_a_process_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    await survive(range(3), tmp_path)


@pytest.mark.acceptance
@pytest.mark.parametrize("first", range(3, 3 + 6 * ALIKE, ALIKE))
async def test_many_processes_that_are_killed_lose_nothing(first: int, tmp_path: Path) -> None:
    await survive(range(first, first + ALIKE), tmp_path)
