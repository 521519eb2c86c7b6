"""Sessions of paper trading on disk, in the real formats, whose market and time say of themselves whatever a test wants.

Journal and records agree as those of a run do, so that nothing but what a test spoils is wrong with them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import msgspec

from configs.validators import Configuration
from core.canonical import EMPTY_HASH, chain, encode
from core.data.sources.base import SourceInfo
from core.journal.records import BatchIn, Decided, EventsIn, State
from core.journal.writer import JournalWriter
from core.monitor.paper_sessions import RECOVERED
from core.monitor.provenance import COUNTS, Provenance
from core.monitor.schema import Alert, AlertLevel
from core.monitor.store import Store
from core.types import (
    DecisionRecord,
    EventKind,
    ExitReason,
    Fill,
    OrderPurpose,
    OrderSide,
    Timeframe,
    TradeRecord,
    TradingState,
)
from graph.identity import Identity
from graph.journaling import FRAMES
from graph.opening import opening_of
from tests.core.strategies.making import trade
from tests.support.ladder import START_MS
from tests.support.run import EQUITY, configuration

HOUR, DAY = Timeframe.H1.ms, Timeframe.D1.ms
BTC = "BTC/USDT:USDT"
VENUE = "exchange:binanceusdm"
MONTH_HOURS = 31 * 24
END_MS = START_MS + MONTH_HOURS * HOUR
"""When a month that was recorded without a word to the contrary is over."""
GOOD = (2.0, -1.0) * 45
"""Results of a month with a profit factor of 2 in every part of it."""


def agreed(ts: int = START_MS) -> Alert:
    """A start at which exchange and books agreed."""
    return Alert(ts, AlertLevel.INFO, RECOVERED, "exchange and books agree")


@dataclass(frozen=True, slots=True)
class PaperRun:
    """What a session is to look like; a good month, unless something is said.

    ``nets`` are results of trades in USD, one each ``every`` hours; ``lost`` hours are those in which the daemon was down.
    """

    source: str = VENUE
    facts: Mapping[str, str] = field(default_factory=COUNTS.facts)
    start: int = START_MS
    hours: int = MONTH_HOURS
    lost: frozenset[int] = frozenset()
    nets: tuple[float, ...] = GOOD
    every: int = 8
    alerts: tuple[Alert, ...] = (agreed(),)
    max_dd_pct: float = 1.0
    config: Configuration | None = None

    @classmethod
    def of(cls, provenance: Provenance, **more: object) -> PaperRun:
        return cls(facts=provenance.facts(), **more)  # type: ignore[arg-type]


def record(root: Path, name: str = "paper", run: PaperRun | None = None) -> Path:
    """Write a session; its folder."""
    run, folder = run or PaperRun(), root / name
    info = _info(run)
    config = run.config or configuration()
    identity = Identity(info, config, run.facts)
    store, writer = Store(folder / "brain.sqlite"), JournalWriter(folder / "journal")
    identity.save(store)
    writer.begin(0)
    writer.append(opening_of(name, info, config, identity.facts, EQUITY, None))
    writer.append(State(0, 0, run.start, b"services", b"market"))
    writer.flush()
    hours = [hour for hour in range(run.hours) if hour not in run.lost]
    coming = iter(_trades(run))
    head, bars, equity = EMPTY_HASH, 0, EQUITY
    upcoming = next(coming, None)
    for hour in hours:
        ts = run.start + (hour + 1) * HOUR
        writer.append(BatchIn(ts, ()))
        while upcoming is not None and upcoming[0].closed_ts <= ts:
            closed, fills = upcoming
            writer.append(EventsIn.of(fills))
            for fill in fills:
                store.record_fill(fill)
            store.record_trade(closed)
            equity += closed.net
            upcoming = next(coming, None)
        written, payload = _decision(bars, ts)
        head = chain(head, payload)
        writer.append(Decided(bars, ts, (("brain", b"x"), ("monitor", written))))
        writer.flush()
        store.record_decision(bars, ts, head.hex(), payload)
        store.record_equity(ts, equity, 0.0)
        bars += 1
    for alert in run.alerts:
        store.record_alert(alert)
    writer.sync()
    store.set_meta(FRAMES, str(writer.frames))
    store.save_snapshot(bars - 1, {"bars": bars, "telemetry": {"max_dd_pct": run.max_dd_pct}})
    store.commit()
    store.close()
    writer.close()
    return folder


def _info(run: PaperRun) -> SourceInfo:
    return SourceInfo(
        name=run.source,
        symbols=(BTC,),
        base_tf={BTC: Timeframe.H1},
        start=run.start,
        end=None,
        batches=None,
        has_books=True,
        has_funding={BTC: True},
        has_spot={BTC: True},
    )


def _decision(seq: int, ts: int) -> tuple[bytes, bytes]:
    """A decision as the journal and as the records have it."""
    made = DecisionRecord(seq, ts, EventKind.BAR, TradingState.ACTIVE, (), (), (), (), (), (), (), "digest")
    digests = (("brain", hashlib.sha256(b"x").hexdigest()),)
    return encode(made), encode(msgspec.structs.replace(made, node_hashes=digests))


def _trades(run: PaperRun) -> Iterator[tuple[TradeRecord, tuple[Fill, Fill]]]:
    for number, net in enumerate(run.nets):
        closed = run.start + (1 + number * run.every) * HOUR
        yield made_trade(number, net, closed)


def made_trade(number: int, net: float, closed_ts: int) -> tuple[TradeRecord, tuple[Fill, Fill]]:
    """A trade of 1 BTC that came to ``net``, and the two fills that it follows from."""
    opened, plan = closed_ts - 60_000, f"p{number}"

    def fill(kind: str, side: OrderSide, price: float, ts: int, reason: ExitReason | None) -> Fill:
        purpose = OrderPurpose.ENTRY if reason is None else OrderPurpose.STOP
        name, exact = f"{kind}{number}", Decimal(repr(price))
        return Fill(name, name, plan, BTC, side, purpose, Decimal(1), exact, price, 1.0, 0.0, False, ts, reason)

    fills = (
        fill("in", OrderSide.BUY, 100.0, opened, None),
        fill("out", OrderSide.SELL, 100.0 + net, closed_ts, ExitReason.STOP),
    )
    changes = {"id": f"t{number}", "plan_id": plan, "symbol": BTC, "opened_ts": opened}
    return msgspec.structs.replace(trade(net, closed_ts=closed_ts, scratch=False), **changes), fills
