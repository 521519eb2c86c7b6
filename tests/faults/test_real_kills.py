"""A real process over real sockets and TLS, killed for real: what holds in the simulation holds outside it (F2, F6, K2)."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from random import Random

import pytest

from core.clock import SystemClock
from core.sim.server.app import ExchangeServer
from core.sim.server.options import ServerOptions
from core.sim.server.tls import make_certificate
from tests.faults.crash_matrix import process
from tests.faults.crash_matrix.market import QTY, PathTape, PricePath, WatchedExchange
from tests.faults.crash_matrix.rules import Bot, Witness
from tests.support.commands import DEADLINE_SECONDS

pytestmark = pytest.mark.untraced

KILLS = 3
"""In each life: one while it trades, the others while it starts again or soon after. With more, starts in a few seconds use up
the weight that the exchange grants an address in a minute, and the next one rightly waits for room."""
ALIKE = 3
"""Lives at once: each has its two seconds of the exchange's time, which is real."""
BTC = "BTCUSDT"

_processes = get_context("forkserver")
# what takes a process seconds to load is loaded once: a start is then the start of the bot, not of an interpreter
_processes.set_forkserver_preload([process.__name__, "pytest"])


class Life:
    """An exchange in this process, and a bot in another that is killed."""

    def __init__(self, number: int, folder: Path) -> None:
        self.number, self.folder, self.cell = number, folder, process.calm_cell(number)
        self.clock = SystemClock()
        self.witness = Witness(self.cell.side, self.clock.now_ms, lambda *_words: None, self.cell.symbols)
        self.exchange = WatchedExchange(self.clock, self.witness)
        self.chance = Random(f"{number}/kill")
        self.certificate = make_certificate(folder / "tls")
        self.kills = self.starts = 0
        self._port = 0

    async def lived(self) -> process.Told:
        """What the bot says at its end, after so many kills."""
        tape = PathTape(PricePath(self.cell, self.clock.now_ms()))
        server = ExchangeServer(self.exchange, tape, self.clock, ServerOptions(seed=self.number))
        self._port = int((await server.start(tls=self.certificate)).rest.rpartition(":")[2])
        try:
            async with self._bot() as heard:
                while not self.witness.asks and not heard.done():  # noqa: ASYNC110 - the order comes in at the exchange
                    await asyncio.sleep(0.002)
                await asyncio.sleep(self._later_s())
            while self.kills < KILLS:
                async with self._bot():
                    await asyncio.sleep(self._later_s())
            async with self._bot() as heard:
                return await heard
        finally:
            await server.close()

    def _later_s(self) -> float:
        """Half of the kills come in the short time in which an entry is protected, or books and exchange are made to agree."""
        return self.chance.random() * self.chance.choice((0.3, 1.0))

    @asynccontextmanager
    async def _bot(self) -> AsyncIterator[asyncio.Task[process.Told]]:
        """A process with a bot in it, killed at the end of the block; what it will say at the end of its script."""
        ours, theirs = _processes.Pipe()
        words = (theirs, self._port, str(self.certificate.cert), self.folder / "bot", self.number)
        bot = _processes.Process(target=process.born, args=words, daemon=True)
        self.witness.becomes(Bot.STARTING)
        bot.start()
        theirs.close()
        hearing = asyncio.create_task(self._heard(ours))
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                yield hearing
        finally:
            bot.kill()
            self.witness.becomes(Bot.HELPLESS)
            await asyncio.to_thread(wait, [bot.sentinel])
            bot.join()  # in this thread, as every look at a process: only one can hear how it ended
            self.kills += 1
            with suppress(EOFError, ConnectionError):
                await hearing
        assert bot.exitcode == -signal.SIGKILL

    async def _heard(self, line: Connection) -> process.Told:
        with line:
            begun: process.Told = await asyncio.to_thread(line.recv)
            self._started(begun)
            line.send(None)
            ended: process.Told = await asyncio.to_thread(line.recv)
            return ended

    def _started(self, told: process.Told) -> None:
        """A start is over: exchange, fills and books say the same, and what is held has a live stop."""
        witness = self.witness
        witness.becomes(Bot.UP)
        self.starts += 1
        held = witness.held(BTC)
        summed = sum((qty * self._sign(client_id) for client_id, qty in witness.filled.items()), Decimal(0))
        assert (told.halted, Decimal(told.held), summed) == ({}, held, held)
        assert not witness.watches[BTC].is_naked

    def _sign(self, client_id: str) -> int:
        return self.cell.side.sign if _part(client_id) in "ea" else -self.cell.side.sign


def _part(client_id: str) -> str:
    """What an order is to its plan: e(ntry), a(dd), t(ake), s(top), c(atastrophe) or x (exit)."""
    return client_id.rpartition("-")[2][0]


async def survives(number: int, folder: Path) -> None:
    (folder / "bot").mkdir(parents=True)
    life = Life(number, folder)
    told = await life.lived()
    witness, exchange = life.witness, life.exchange
    assert witness.broken == []
    assert life.kills == KILLS + 1  # at last a bot that has nothing left to do
    assert (told.halted, told.differences, Decimal(told.held)) == ({}, (), 0)
    assert witness.held(BTC) == 0
    assert (exchange.open_orders(), exchange.open_algos()) == ((), ())
    assert [client_id for client_id in witness.taken if client_id not in told.rows] == []
    assert sum((qty for client_id, qty in witness.filled.items() if _part(client_id) == "e"), Decimal(0)) <= QTY
    assert told.wallet == pytest.approx(float(exchange.account().wallet), abs=1e-6)


async def survive(numbers: range, folder: Path) -> None:
    await asyncio.gather(*(survives(number, folder / str(number)) for number in numbers))


@pytest.mark.slow
async def test_a_process_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    await survive(range(2), tmp_path)


@pytest.mark.acceptance
@pytest.mark.parametrize("first", range(2, 2 + 6 * ALIKE, ALIKE))
async def test_many_processes_that_are_killed_lose_nothing(first: int, tmp_path: Path) -> None:
    await survive(range(first, first + ALIKE), tmp_path)
