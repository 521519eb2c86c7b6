"""The daemon at an exchange: from a final candle on the socket to the bytes of an order, and from a restart to trading.

The real daemon (exchange source, compiled graph, live broker, ccxt.pro, records and journal on the disk) trades at the local
exchange, which is a process of its own behind TLS on loopback. A candle is read when its bytes have come from the socket, an
order written when its bytes were handed to the socket (:mod:`benchmarks.wire`), both in the daemon's process; it is accepted
when the engine of the exchange has it, in the exchange's. Time leaps over the dead part of each bar (:mod:`benchmarks.leaps`).
Rules are set to enter and leave often; what is decided is decided by them. Only orders that were decided at a close are
counted: stops and takes that follow a fill are not. One that waits for others of its close, which are sent one after the
other, has that in it.
"""

from __future__ import annotations

import asyncio
import gc
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.exchange import Venue, venue
from benchmarks.leaps import LeapingLoop, Leaps
from benchmarks.market import EQUITY_USD, configuration, symbols
from benchmarks.measure import Measured, Spread, now_ns, parts, percentile
from benchmarks.wire import Sent, watched
from configs.validators import Configuration
from core.data.exchange.settings import ExchangeSettings
from core.exec.live.settings import LiveOptions
from core.monitor.logger import LogSettings, configure
from core.types import Event, EventKind, Plan, PlanKind, Regime, Side, Take, Timeframe, Trail, TrailStart
from graph.engines import Engine, GraphEngine
from graph.live.assembly import LiveRequest, Reach, live_daemon
from graph.live.daemon import LiveDaemon
from graph.live.local import LOCAL_KEYS
from graph.runner import RunOptions
from graph.session_dir import SessionDir
from tools.context import BrainContext
from tools.state import BrainState

_SYMBOLS = 10
_EVERY_S = 0.5
"""A bar in real time."""
_LEAD_MS = 250
"""Real time between a leap and the close after it: what was leapt over is told meanwhile, and dealt with."""
_FOREVER_S = 1e6
_FIRST_TO_COUNT = 10
"""Orders before it fill caches."""
_SETTINGS = ExchangeSettings(
    market_silent_s=_FOREVER_S, book_silent_s=_FOREVER_S, clock_every_s=_FOREVER_S, weight_per_minute=1e9, address_most=1e9
)
_OPTIONS = LiveOptions(send_patience_s=_FOREVER_S, audit_every_s=3_600.0)
"""What is silent because time leapt is not dialled again; nor is everything compared just before each close. Starts follow
each other within a second: the weight that an address may use in a minute is not what is measured."""
_OF_BOOKS = re.compile(r"-[easx][0-9a-z]+$")
"""Entries, adds, stops and exits by :func:`core.exec.orders.client_id`; the broker's own have other letters."""
_EAGER_LIMITS: dict[str, object] = {
    "per_trade_r_pct_base": 0.1,
    "min_plan_r_pct": 0.02,
    "r_cut_pp": 0.0,
    "score_threshold": 0.0,
    "score_threshold_tight": 0.0,
    "max_daily_loss_pct": 90.0,
    "kill_switch_drawdown_72h": 90.0,
    "max_cost_share_of_r": 1.0,
    "max_correlated_open": _SYMBOLS,
}


class _Watched:
    """An engine that tells when a close is being decided."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.spans: list[tuple[int, int]] = []

    async def run(self, event: Event, context: BrainContext) -> BrainState:
        begun = now_ns()
        try:
            return await self._engine.run(event, context)
        finally:
            if event.kind is EventKind.BAR:
                self.spans.append((begun, now_ns()))


def _eager(config: Configuration) -> Configuration:
    """Rules that enter and leave often."""
    everywhere = dict.fromkeys(config.enable_map.regimes, tuple(config.enable_map.regimes["range_lowvol"]))
    calm = config.strategies.range_rev_5m.model_copy(
        update={"bb_sigma": 1.5, "rsi_low": 48.0, "rsi_high": 52.0, "time_stop_hours": 0.25}
    )
    return config.model_copy(
        update={
            "governance": config.governance.model_copy(update=_EAGER_LIMITS),
            "strategies": config.strategies.model_copy(update={"range_rev_5m": calm}),
            "enable_map": config.enable_map.model_copy(update={"regimes": everywhere}),
        }
    )


@asynccontextmanager
async def _daemon(place: Venue, folder: Path, config: Configuration, engine: Engine) -> AsyncIterator[LiveDaemon]:
    base_tf = dict.fromkeys(symbols(_SYMBOLS), Timeframe.M5)
    request = LiveRequest(config, base_tf, SessionDir(folder), EQUITY_USD, RunOptions(market_time=True), handover=True)
    reach = Reach(
        place.clock,
        LOCAL_KEYS,
        {"binanceusdm": place.wiring()},
        place.wiring(),
        settings=_SETTINGS,
        options=_OPTIONS,
        read_ntp=lambda: None,
    )
    async with live_daemon(request, reach, engine) as daemon:
        yield daemon


async def _up(daemon: LiveDaemon, running: asyncio.Task[Any]) -> None:
    """Until it trades: recovery is over, and nothing is left to settle."""
    while daemon.recovery is None and not running.done():  # noqa: ASYNC110 - it has no event of its own
        await asyncio.sleep(0.001)
    if running.done():
        running.result()
    assert daemon.recovery is not None
    assert daemon.recovery.agreed, daemon.recovery


def _leaps(place: Venue, bars: int) -> Leaps:
    """From close to close, beginning soon."""
    bar_s, first_at = Timeframe.M5.ms / 1000.0, time.monotonic() + 0.5
    into_bar_s = (place.clock.now_ms() / 1000.0 + 0.5) % bar_s
    return Leaps(first_at, bar_s - _LEAD_MS / 1000.0 - into_bar_s, _EVERY_S, bar_s - _EVERY_S, bars)


def measure_latency(*, quick: bool) -> list[Measured]:
    """Rows ``live_written`` and ``live_accepted``."""
    bars, rounds = (25, 1) if quick else (240, 5)
    with venue(_SYMBOLS, bars + 20, quick=quick) as place, TemporaryDirectory(prefix="brain-bench-") as folder:
        with watched() as wire, asyncio.Runner(loop_factory=LeapingLoop) as runner:
            engine = _Watched(GraphEngine())
            runner.run(_trade(place, Path(folder), engine, bars, quick=quick))
        accepted = place.accepted()
    decided = _decided(wire.sent, engine.spans)
    assert decided, "no order was decided"
    decided = decided[min(_FIRST_TO_COUNT, len(decided) // 2) :]
    written = [(one.written_ns - one.candle_ns) / 1e6 for one in decided]
    taken = [(accepted[one.client_id] - one.candle_ns) / 1e6 for one in decided if one.client_id in accepted]
    by_cpu = percentile([one.cpu_ns / 1e6 for one in decided], 0.99)
    return [
        _row("live_written", written, rounds, f"; by CPU time of the daemon {by_cpu:.1f} ms"),
        _row("live_accepted", taken, rounds),
    ]


async def _trade(place: Venue, folder: Path, engine: Engine, bars: int, *, quick: bool) -> None:
    log = configure(LogSettings(folder=folder / "logs"))
    config = _eager(configuration(_SYMBOLS, quick=quick))
    loop = asyncio.get_running_loop()
    assert isinstance(loop, LeapingLoop)
    try:
        async with _daemon(place, folder / "session", config, engine) as daemon:
            running = asyncio.ensure_future(daemon.run())
            await _up(daemon, running)
            loop.leaps = _leaps(place, bars)
            place.leap(loop.leaps)
            while loop.leaps.left(time.monotonic()) and not running.done():  # noqa: ASYNC110 - time alone ends it
                await asyncio.sleep(0.1)
            await asyncio.sleep(2 * _EVERY_S)  # the last close is dealt with
            daemon.stop()
            await running
    finally:
        log.close()


def _decided(sent: Sequence[Sent], spans: Sequence[tuple[int, int]]) -> list[Sent]:
    """Orders of the books that were written while a close was being decided; the broker's own stops follow from fills."""
    found, closes = [], iter(spans)
    span = next(closes, None)
    for one in (one for one in sent if _OF_BOOKS.search(one.client_id)):
        while span is not None and span[1] < one.written_ns:
            span = next(closes, None)
        if span is not None and span[0] <= one.written_ns:
            found.append(one)
    return found


def _row(name: str, found: Sequence[float], rounds: int, more: str = "") -> Measured:
    p99 = Spread.of([percentile(part, 0.99) for part in parts(found, rounds)])
    whole = replace(p99, median=percentile(found, 0.99))
    return Measured(name, whole, f"{len(found)} orders; p50 {percentile(found, 0.5):.1f} ms, greatest {max(found):.1f} ms{more}")


# --- restart ----------------------------------------------------------------------------------------------------------

_HELD, _RESTING = 5, 20
"""Positions, and orders at the exchange: each position has a stop that never moves, a working one, and two takes."""


class _Opening:
    """An engine behind which positions are opened at the first close, by plans that nobody decided: only a start is measured."""

    def __init__(self) -> None:
        self._engine = GraphEngine()
        self._opened = False

    async def run(self, event: Event, context: BrainContext) -> BrainState:
        state = await self._engine.run(event, context)
        if not self._opened and event.kind is EventKind.BAR:
            self._opened = True
            for index in range(_HELD):
                await context.orders.submit(_plan(context, index, event.ts))
        return state


def _plan(context: BrainContext, index: int, ts: int) -> Plan:
    """A long with far stop and takes."""
    instrument, close = context.market.instruments[index], float(context.market.last_close[index])
    entry, stop = instrument.price_up(close * 1.004), instrument.price_down(close * 0.9)
    qty = instrument.qty_step * int(200.0 / close / float(instrument.qty_step))
    part = instrument.qty_step * int(qty / 4 / instrument.qty_step)
    return Plan(
        id=f"opened-{index}",
        kind=PlanKind.ENTRY,
        signal_id=f"opened-{index}",
        strategy="breakout_4h",
        symbol=instrument.symbol,
        side=Side.LONG,
        tf=Timeframe.H4,
        ts=ts,
        qty=qty,
        entry=entry,
        stop=stop,
        tps=tuple(Take(r, instrument.price_up(close * (1.0 + 0.1 * r)), part) for r in (1.0, 2.0)),
        trail=Trail(TrailStart.NEVER, 2.0, Timeframe.H4),
        time_stop_ts=ts + 100 * Timeframe.D1.ms,
        risk_usd=float(qty * (entry - stop)) + 1.0,
        risk_r_pct=0.3,
        costs_usd=1.0,
        equity=EQUITY_USD,
        score=8.0,
        regime=Regime.TREND_UP,
        governance=context.config.governance_digest,
    )


def measure_restart(*, quick: bool) -> list[Measured]:
    """Row ``live_restart``."""
    with (
        venue(_SYMBOLS, 30, quick=quick) as place,
        TemporaryDirectory(prefix="brain-bench-") as folder,
        asyncio.Runner(loop_factory=LeapingLoop) as runner,
    ):
        seconds = runner.run(_restarts(place, Path(folder), 2 if quick else 7, quick=quick))
    note = f"{len(seconds)} restarts with {_SYMBOLS} symbols; what the interpreter loads before is not in it"
    return [Measured("live_restart", Spread.of(seconds), note)]


async def _restarts(place: Venue, folder: Path, rounds: int, *, quick: bool) -> list[float]:
    log = configure(LogSettings(folder=folder / "logs"))
    config = configuration(_SYMBOLS, quick=quick)
    try:
        await _open_positions(place, folder / "session", config)
        return [await _restart(place, folder / "session", config) for _ in range(rounds)]
    finally:
        log.close()


async def _open_positions(place: Venue, folder: Path, config: Configuration) -> None:
    """A first life, up to where it holds what is to be found again."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, LeapingLoop)
    async with _daemon(place, folder, config, _Opening()) as daemon:
        running = asyncio.ensure_future(daemon.run())
        await _up(daemon, running)
        loop.leaps = _leaps(place, 1)
        place.leap(loop.leaps)
        while not _stands(daemon):
            await asyncio.sleep(0.01)
            if running.done():
                running.result()
        await asyncio.sleep(1.0)  # what it has heard is on record
        daemon.stop()
        await running


def _stands(daemon: LiveDaemon) -> bool:
    return len(daemon.parts.context.ledger.positions) == _HELD and len(daemon.broker.open_orders()) == _RESTING


async def _restart(place: Venue, folder: Path, config: Configuration) -> float:
    """Seconds from nothing made to entries allowed."""
    gc.collect()
    begun = now_ns()
    async with _daemon(place, folder, config, GraphEngine()) as daemon:
        running = asyncio.ensure_future(daemon.run())
        await _up(daemon, running)
        seconds = (now_ns() - begun) / 1e9
        assert _stands(daemon), (
            f"{len(daemon.parts.context.ledger.positions)} positions, {len(daemon.broker.open_orders())} orders"
        )
        daemon.stop()
        await running
    return seconds
