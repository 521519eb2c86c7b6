"""The bot of a life as a process of its own, over real sockets and TLS, to be killed for real."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

from core.clock import SystemClock
from core.sim.server.redirect import LoopbackResolver
from core.venues.client import Wiring
from tests.faults.crash_matrix.cells import SYMBOLS, Action, Cell, Entering, Leg, cell_of
from tests.faults.crash_matrix.market import PricePath
from tests.faults.crash_matrix.trader import Trader

BAR_MS = 400
HEAD_START_MS = 2_500
"""By how much the first bar is nearer than in the simulation, where nobody waits for it."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a bot says of its books: when it has started, and when its script is over."""

    held: str
    halted: Mapping[str, str]
    rows: tuple[str, ...] = ()
    wallet: float = 0.0
    differences: tuple[str, ...] = ()


def calm_cell(number: int) -> Cell:
    """A cell whose price goes nowhere: how long a real process takes to begin is nobody's to know. Its entry is filled."""
    cell = cell_of(number)
    action = Action.EXIT if cell.action is Action.TAKE else cell.action
    calm = replace(cell, leg=Leg.CALM, action=action, symbols=SYMBOLS[:1], entering=Entering.ACROSS, funding=False)
    return replace(calm, tight_cap=False)


def begun_ms(folder: Path) -> int:
    """When the first life began; bars are counted from there."""
    file = folder / "begun"
    if not file.exists():
        draft = folder / "begun.tmp"
        draft.write_text(str(SystemClock().now_ms() - HEAD_START_MS))
        draft.replace(file)
    return int(file.read_text())


def born(line: Connection, port: int, cert: str, folder: Path, number: int) -> None:
    """Trade to the end of the script, and tell of it over ``line``; never ends but by a kill, or when nobody listens."""
    asyncio.run(_live(line, port, cert, folder, number))


async def _live(line: Connection, port: int, cert: str, folder: Path, number: int) -> None:
    cell, epoch_ms = calm_cell(number), begun_ms(folder)
    wiring = Wiring(timeout_ms=2_000, resolver=LoopbackResolver(port), cafile=cert)
    trader = Trader(
        cell, folder, SystemClock(), PricePath(cell, epoch_ms), epoch_ms, note=_silent, wiring=wiring, bar_ms=BAR_MS
    )  # fmt: skip
    await trader.start()
    broker, outbox = trader.broker, trader.broker._outbox
    line.send(Told(str(outbox.held("BTC/USDT:USDT")), dict(broker.halted)))
    line.recv()  # nothing changes before that has been compared
    running = asyncio.create_task(trader.run())
    while not (trader.over and not trader.orders.pending() and not outbox.unresolved() and not outbox.live()):
        await asyncio.sleep(0.05)
        if running.done():
            running.result()
    await asyncio.sleep(0.5)  # what is still to be heard
    differences = tuple(str(difference) for difference in await broker.compare())
    held = str(outbox.held("BTC/USDT:USDT"))
    line.send(Told(held, dict(broker.halted), tuple(outbox.rows), trader.ledger.wallet, differences))
    await asyncio.to_thread(line.recv)


def _silent(*_words: object) -> None: ...
