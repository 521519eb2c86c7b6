"""The local exchange in a process of its own, with TLS on loopback, and the daemon's side of reaching it.

``python -m benchmarks.exchange SYMBOLS BARS quick|full`` is that process. It prints where it is reached, plays a made market of
5m bars by :class:`benchmarks.leaps.Market` time, takes one line that tells the leaps, and when its input ends prints when each
order was accepted.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from benchmarks.leaps import LeapingLoop, Leaps, MarketClock
from benchmarks.market import EQUITY_USD, configuration, symbols, synthetic
from benchmarks.measure import now_ns
from core.sim.local.values import AlgoState, OrderState
from core.sim.server.options import HOUR, Limits, ServerOptions
from core.sim.server.tls import Certificate, make_certificate
from core.sim.tape.source import TapeOptions
from core.venues.budget import Budget
from core.venues.client import Wiring
from graph.assembly import instruments_for
from graph.live.local import local_venue, local_wiring

State = TypeVar("State", OrderState, AlgoState)

_ROOT = Path(__file__).resolve().parent.parent
_BEGIN_MS = 10_000
"""Into the first bar: its open is behind, so that every symbol has a price."""
_BEAT_MS = 60_000
_NEVER_MS = 10_000 * HOUR
_PLENTY = 1e9
PATIENT_MS = 3_600_000
"""Requests outlive a leap of the clock."""


@dataclass(frozen=True, slots=True)
class Venue:
    """A running exchange, as its clients need to know it. ``clock`` is the market's time, the same in both processes."""

    port: int
    certificate: Path
    clock: MarketClock
    process: subprocess.Popen[str]

    def wiring(self, **more: Any) -> Wiring:
        """How a client reaches it; a wiring each, so that nobody shares a budget."""
        reached = local_wiring(self.port, self.certificate)
        given: dict[str, Any] = {"timeout_ms": PATIENT_MS, "budget": Budget(limit=_PLENTY, address_most=_PLENTY), **more}
        return Wiring(resolver=reached.resolver, cafile=reached.cafile, **given)

    def leap(self, leaps: Leaps) -> None:
        """Let its time leap."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(asdict(leaps)) + "\n")
        self.process.stdin.flush()

    def accepted(self) -> Mapping[str, int]:
        """End it; when it accepted each order, by client id, on the clock that all processes of this machine share (ns)."""
        out, _ = self.process.communicate()
        told: dict[str, int] = json.loads(out.splitlines()[-1])
        return told


@contextmanager
def venue(count: int, bars: int, *, quick: bool) -> Iterator[Venue]:
    """An exchange of ``count`` symbols."""
    command = [sys.executable, "-m", "benchmarks.exchange", str(count), str(bars), "quick" if quick else "full"]
    child = subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        told = json.loads(child.stdout.readline())
        yield Venue(told["port"], Path(told["certificate"]), MarketClock(told["start_ms"], told["begun_s"]), child)
    finally:
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()


# --- the process ------------------------------------------------------------------------------------------------------


async def _serve(count: int, bars: int, loop: LeapingLoop, certificate: Certificate, *, quick: bool) -> None:
    source = synthetic(count, bars, quick=quick)
    clock = MarketClock(source.info.start + _BEGIN_MS, loop.time())
    # clients sign by the host's time, which is not the market's
    options = ServerOptions(
        check_time=False, limits=_NO_LIMITS, listen_key_ms=_NEVER_MS, connection_ms=_NEVER_MS, ping_ms=_NEVER_MS
    )
    instruments = instruments_for(configuration(count, quick=quick), symbols(count))
    made = local_venue(source, instruments, clock, EQUITY_USD, options=options, tape=TapeOptions(mark_every_ms=_BEAT_MS))
    accepted: dict[str, int] = {}
    exchange = made.exchange
    for name in ("place", "place_algo"):
        setattr(exchange, name, _noted(getattr(exchange, name), accepted))
    address = (await made.server.start(tls=certificate)).rest
    where = {"port": int(address.rpartition(":")[2]), "certificate": str(certificate.cert)}
    print(json.dumps({**where, "start_ms": clock.start_ms, "begun_s": clock.begun_s}), flush=True)
    playing = asyncio.ensure_future(made.server.finished())
    playing.add_done_callback(_must_be_whole)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        loop.leaps = Leaps(**json.loads(line))
    print(json.dumps(accepted), flush=True)


def _must_be_whole(playing: asyncio.Future[None]) -> None:
    """Say on the terminal what broke the tape: nothing would be measured any more, and nobody would know why."""
    if not playing.cancelled() and playing.exception() is not None:
        playing.get_loop().call_exception_handler({"message": "the tape broke", "exception": playing.exception()})


def _noted(place: Callable[[Any], State], accepted: dict[str, int]) -> Callable[[Any], State]:
    """``place``, noting when it has taken an order."""

    def noted(ask: Any) -> State:
        state = place(ask)
        accepted[state.client_id] = now_ns()
        return state

    return noted


_NO_LIMITS = Limits(weight_per_minute=10**9, orders_per_10s=10**9, orders_per_minute=10**9)


def _main(count: int, bars: int, *, quick: bool) -> None:
    loop = LeapingLoop()
    with TemporaryDirectory(prefix="brain-bench-") as folder, asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(_serve(count, bars, loop, make_certificate(Path(folder)), quick=quick))


if __name__ == "__main__":
    _main(int(sys.argv[1]), int(sys.argv[2]), quick=sys.argv[3] == "quick")
