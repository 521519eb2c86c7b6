"""The bot of a life as a process of its own, over real sockets and TLS, to be killed for real."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import replace
from pathlib import Path

from core.clock import SystemClock
from core.sim.server.redirect import LoopbackResolver
from core.venues.client import Wiring
from tests.faults.crash_matrix.cells import SYMBOLS, Action, Cell, Entering, Leg, cell_of
from tests.faults.crash_matrix.market import PricePath
from tests.faults.crash_matrix.trader import Trader

BAR_MS = 400


def calm_cell(number: int) -> Cell:
    """A cell whose price goes nowhere: how long a real process takes to begin is nobody's to know."""
    cell = cell_of(number)
    action = Action.EXIT if cell.action is Action.TAKE else cell.action
    return replace(cell, leg=Leg.CALM, action=action, symbols=SYMBOLS[:1], entering=Entering.ACROSS, funding=False)


def begun_ms(folder: Path) -> int:
    """When the first life began; bars are counted from there."""
    file = folder / "begun"
    if not file.exists():
        draft = folder / "begun.tmp"
        draft.write_text(str(SystemClock().now_ms()))
        draft.replace(file)
    return int(file.read_text())


async def live(port: int, cert: str, folder: Path, number: int) -> None:
    """Trade to the end of the script, and say on one line what the books have come to."""
    cell, epoch_ms = calm_cell(number), begun_ms(folder)
    print("begun", flush=True)
    wiring = Wiring(timeout_ms=2_000, resolver=LoopbackResolver(port), cafile=cert)
    trader = Trader(
        cell, folder, SystemClock(), PricePath(cell, epoch_ms), epoch_ms, note=_silent, wiring=wiring, bar_ms=BAR_MS
    )  # fmt: skip
    await trader.start()
    print("up", flush=True)
    running = asyncio.create_task(trader.run())
    outbox = trader.broker._outbox
    while not (trader.over and not trader.orders.pending() and not outbox.unresolved() and not outbox.live()):
        await asyncio.sleep(0.05)
        if running.done():
            running.result()
    await asyncio.sleep(0.5)  # what is still to be heard
    differences = [str(difference) for difference in await trader.broker.compare()]
    told = {
        "rows": list(outbox.rows),
        "held": str(outbox.held("BTC/USDT:USDT")),
        "wallet": trader.ledger.wallet,
        "halted": trader.broker.halted,
        "differences": differences,
    }
    print(json.dumps(told), flush=True)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await trader.broker.stop()


def _silent(*_words: object) -> None: ...


if __name__ == "__main__":
    asyncio.run(live(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])))
