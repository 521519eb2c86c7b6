"""What happens in one life, fixed by its number: every crash point meets every fault, action and side in turn."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from core.exec.live.crash import CrashPoint
from core.sim.server.faults import Fault, FaultKind
from core.types import Side
from tests.support.simulation import network
from tests.support.simulation.disk import Loss

PLAIN, ALGO = "/fapi/v1/order", "/fapi/v1/algoOrder"
_READS = (
    PLAIN,
    ALGO,
    "/fapi/v1/openOrders",
    "/fapi/v1/openAlgoOrders",
    "/fapi/v1/userTrades",
    "/fapi/v3/positionRisk",
    "/fapi/v1/income",
)
SYMBOLS = ("BTCUSDT", "ETHUSDT")


class Action(StrEnum):
    """What the bot is about when it dies."""

    ENTRY = "entry"
    STOP = "stop"
    TAKE = "take"
    EXIT = "exit"
    ADD = "add"


class Leg(StrEnum):
    """Where the price goes after that."""

    CALM = "calm"
    STOPPED = "stopped"
    """Through the working stop."""
    CRASH = "crash"
    """Through the catastrophe stop too."""


class Beside(StrEnum):
    """What happens beside the requests and messages of the bot."""

    REDUCES = "hand_reduces"
    """A person closes part of the position at the exchange."""
    OPENS = "hand_opens"
    """A person opens more of it, and closes that part again later."""
    RESTS = "foreign_order"
    """A person's order rests there for a while."""
    STALE = "stale_positions"
    """Positions are told as they were a moment ago."""
    FULL = "disk_full"
    """The outbox cannot be written for a while."""


class Entering(StrEnum):
    """How the broker enters."""

    ACROSS = "across"
    MAKER = "maker"
    SLICED = "sliced"


NONE = "none"
MARKET_ONLY = (FaultKind.DEPTH_GAP, FaultKind.LATE_FINAL, FaultKind.MISSING_FINAL)
"""They befall market data, which is not in this world."""
FAULTS = (
    NONE,
    *(kind.value for kind in FaultKind if kind not in MARKET_ONLY),
    *(f"net_{kind.name.lower()}" for kind in network.Kind),
    *(beside.value for beside in Beside),
)
IN_RECOVERY = (CrashPoint.RESOLVED, CrashPoint.BACKFILLED, CrashPoint.ADOPTED, CrashPoint.COVERED)
"""Passed at a start only: a first life must have died before."""
LOOKED_UP = (CrashPoint.FOUND_BEFORE, CrashPoint.FOUND_AFTER, CrashPoint.ABSENT_BEFORE, CrashPoint.ABSENT_AFTER)
_HALF_DONE = (
    CrashPoint.SENT_AFTER,
    CrashPoint.REPLIED,
    CrashPoint.ACK_BEFORE,
    CrashPoint.FILL_BEFORE,
    CrashPoint.DONE_BEFORE,
    CrashPoint.TOLD_AFTER,
)
"""Where a life leaves most to its successor."""
_STARTING = (
    *IN_RECOVERY,
    *LOOKED_UP,
    CrashPoint.UNKNOWN_BEFORE,
    CrashPoint.UNKNOWN_AFTER,
    CrashPoint.FILL_BEFORE,
    CrashPoint.FILL_AFTER,
    CrashPoint.SENT_AFTER,
    CrashPoint.REPLIED,
    CrashPoint.TOLD_AFTER,
)
_TIMES = (1, 1, 2, 3, 0)
"""0: until the cell's faults are over."""
_SECOND = (
    FaultKind.REJECT,
    FaultKind.THROTTLE,
    FaultKind.UNKNOWN,
    FaultKind.HANG,
    FaultKind.DROP_BEFORE,
    FaultKind.DROP_AFTER,
    FaultKind.TRUNCATED,
    FaultKind.LATE,
    FaultKind.MISSING_EVENT,
    FaultKind.DISCONNECT,
)
_REFUSED = (-1111, -2019, -2021, -2022, -4164, -5028)
_TOO_SLOW_S = 0.3
_POWER = (Loss.UNSYNCED, Loss.LATEST, Loss.SECTORS)
_STRIDE = 3_571
"""Prime to the number of cells: neighbouring lives are far apart in the matrix, so that few of them are a sample of all."""


@dataclass(frozen=True, slots=True)
class Kill:
    """Where a life of the bot ends: when it passes ``point`` for the ``nth`` time; and what is left of its disk."""

    point: CrashPoint
    nth: int
    loss: Loss
    down_s: float


@dataclass(frozen=True, slots=True)
class Outage:
    """The exchange dies too: when (s after the action began) and for how long."""

    after_s: float
    down_s: float


@dataclass(frozen=True, slots=True)
class Happening:
    """What happens beside: when (s after the action begins; before it where negative) and for how long."""

    what: Beside
    after_s: float
    lasts_s: float


@dataclass(frozen=True, slots=True)
class Cell:
    """One life."""

    number: int
    point: CrashPoint
    fault: str
    action: Action
    side: Side
    leg: Leg
    kills: tuple[Kill, ...]
    venue_faults: tuple[Fault, ...]
    link_fault: network.Fault | None
    link_fault_s: float
    link_fault_after_s: float
    outage: Outage | None
    tight_cap: bool
    besides: tuple[Happening, ...] = ()
    entering: Entering = Entering.ACROSS
    symbols: tuple[str, ...] = SYMBOLS[:1]
    funding: bool = False
    faults_last_s: float = 0.0

    def __str__(self) -> str:
        kills = ", ".join(f"{kill.point}#{kill.nth} {kill.loss.name.lower()} {kill.down_s:.1f}s" for kill in self.kills)
        outage = "" if self.outage is None else f", exchange down {self.outage.down_s:.1f}s"
        faults = "".join(f", {fault.kind} {fault.method} {fault.path} x{fault.times or 'all'}" for fault in self.venue_faults)
        besides = "".join(f", {happening.what}" for happening in self.besides)
        how = f"{self.entering}, {len(self.symbols)} symbol{'s' * (len(self.symbols) > 1)}"
        return f"{self.side} {self.action} {how}, {self.fault}, price {self.leg}, killed at {kills}{outage}{faults}{besides}"

    def has(self, what: Beside) -> Happening | None:
        """When that happens, if it does."""
        return next((happening for happening in self.besides if happening.what is what), None)

    @property
    def silent(self) -> bool:
        """Whether words may be lost of which nothing but the audit's schedule tells."""
        return any(fault.kind in (FaultKind.MISSING_EVENT, FaultKind.SILENT_SOCKET) for fault in self.venue_faults)

    @property
    def belated(self) -> bool:
        """Whether an order may be taken, or be found, only when it is known as absent."""
        return any(fault.kind in (FaultKind.LATE, FaultKind.QUEUED, FaultKind.FOUND_LATE) for fault in self.venue_faults)

    @property
    def prompt(self) -> bool:
        """Whether nothing but the link was in the way: what it lost is asked for as soon as it stands again."""
        return not self.venue_faults and not self.besides

    @property
    def cuts(self) -> bool:
        """Whether the exchange is out of reach while the link's fault lasts: others hit a few requests, or only slow them."""
        fault = self.link_fault
        if fault is None:
            return False
        if fault.kind is network.Kind.SLOW:
            return fault.delay_s > _TOO_SLOW_S
        return fault.kind in (network.Kind.BLACK_HOLE, network.Kind.RESET) or fault.times is None

    @property
    def orderly(self) -> bool:
        """Whether the bot had the time, and the venue's leave, to try a second stop before it closes at market."""
        throttled = any(fault.kind in (FaultKind.THROTTLE, FaultKind.BAN) for fault in self.venue_faults)
        return self.link_fault is None and self.outage is None and not throttled

    @property
    def tightened(self) -> bool:
        """Whether a stop that covers goes only for a tighter one; what a person opened is left under the last one alone."""
        return self.has(Beside.OPENS) is None

    @property
    def by_hand(self) -> bool:
        """Whether a person trades beside the bot."""
        return self.has(Beside.REDUCES) is not None or self.has(Beside.OPENS) is not None


def cell_of(number: int, points: Sequence[CrashPoint] = tuple(CrashPoint), faults: Sequence[str] = FAULTS) -> Cell:
    """The cell of a life; ``points`` and ``faults`` restrict the matrix."""
    space = [points, faults, tuple(Action), tuple(Side)]
    size = len(points) * len(faults) * len(Action) * len(Side)
    place, picked = number * _STRIDE % size, []
    for axis in space:
        place, at = divmod(place, len(axis))
        picked.append(axis[at])
    point, fault, action, side = picked
    chance = Random(f"{number}/cell")
    link = _link_fault(fault, chance)
    besides = _besides(fault, action, chance)
    stuck = fault == FaultKind.STUCK_TRIGGER
    return Cell(
        number=number,
        point=point,
        fault=fault,
        action=action,
        side=side,
        leg=chance.choices(tuple(Leg), (1, 5, 2) if stuck else (5, 3, 1))[0],
        kills=_kills(point, chance),
        venue_faults=(*_needed(point, action, chance), *_venue_faults(fault, action, chance), *_second(fault, chance)),
        link_fault=link,
        link_fault_s=chance.uniform(0.5, 5.0),
        link_fault_after_s=chance.choice((0.0, chance.uniform(1.0, 7.0))),
        outage=_outage(chance) if not besides else None,
        tight_cap=chance.random() < 0.25,
        besides=besides,
        entering=chance.choices(tuple(Entering), (6, 1, 1))[0],
        symbols=SYMBOLS[: 2 if chance.random() < 1 / 8 else 1],
        funding=chance.random() < 1 / 4,
        faults_last_s=chance.uniform(12.0, 20.0) if stuck else chance.uniform(3.0, 11.0),
    )


def _outage(chance: Random) -> Outage | None:
    return Outage(chance.uniform(0.0, 4.0), chance.uniform(0.2, 3.0)) if chance.random() < 1 / 6 else None


def _besides(fault: str, action: Action, chance: Random) -> tuple[Happening, ...]:
    """One that is the cell's own, or now and then another."""
    if fault in tuple(Beside):
        what = Beside(fault)
    elif chance.random() < 1 / 8:
        what = chance.choice(tuple(Beside))
    else:
        return ()
    if what is Beside.RESTS and chance.random() < 0.5:
        return (Happening(what, -2.8, chance.uniform(6.0, 12.0)),)  # it stands when the cell's action comes
    return (Happening(what, chance.uniform(0.0, 6.0), chance.uniform(1.0, 6.0)),)


def _kills(point: CrashPoint, chance: Random) -> tuple[Kill, ...]:
    first_in_line = [point]
    if point in IN_RECOVERY or (point in LOOKED_UP and chance.random() < 0.5):
        first_in_line.insert(0, chance.choice(_HALF_DONE))
    elif chance.random() < 0.3:
        first_in_line.append(chance.choice(_STARTING))
    return tuple(_kill(at, 1 if at in IN_RECOVERY else chance.choice((1, 1, 1, 2, 3)), chance) for at in first_in_line)


def _kill(point: CrashPoint, nth: int, chance: Random) -> Kill:
    loss = Loss.KILL if chance.random() < 0.5 else chance.choice(_POWER)
    down = chance.choice(((0.05, 1.0), (1.0, 6.0), (1.0, 6.0), (15.0, 45.0)))
    return Kill(point, nth, loss, chance.uniform(*down))


def _path(action: Action, chance: Random) -> str:
    """The call that the action is about; a position's stop is placed at each of them."""
    if action is Action.STOP:
        return ALGO
    return PLAIN if chance.random() < 0.6 else ALGO


def _needed(point: CrashPoint, action: Action, chance: Random) -> tuple[Fault, ...]:
    """What must go wrong, or the point is never passed."""
    path, name = _path(action, chance), point.value.rpartition("_")[0]
    if name == "rejected":
        return (Fault(FaultKind.REJECT, "POST", path, code=chance.choice(_REFUSED), message="refused"),)
    if name == "throttled":
        return (Fault(FaultKind.THROTTLE, "POST", path),)
    if name == "absent":
        return (Fault(FaultKind.DROP_BEFORE, "POST", path),)
    if name in ("unknown", "found"):
        silent = Fault(FaultKind.MISSING_EVENT, times=chance.randint(1, 6))
        return silent, Fault(FaultKind.UNKNOWN, "POST", path, executed=name == "found" or chance.random() < 0.5)
    return ()


def _venue_faults(fault: str, action: Action, chance: Random) -> tuple[Fault, ...]:
    if fault not in tuple(FaultKind):
        return ()
    return _fault(FaultKind(fault), _path(action, chance), chance)


def _second(fault: str, chance: Random) -> tuple[Fault, ...]:
    """Now and then another that has nothing to do with the first, or that befalls the other book at the same time."""
    if chance.random() > 1 / 4:
        return ()
    kind = FaultKind(fault) if fault in tuple(FaultKind) and chance.random() < 0.5 else chance.choice(_SECOND)
    if kind is FaultKind.CLOCK_JUMP:
        return ()  # two together may be more than a start takes
    return _fault(kind, chance.choice((PLAIN, ALGO)), chance)


def _fault(kind: FaultKind, path: str, chance: Random) -> tuple[Fault, ...]:
    method = chance.choice(("POST", "POST", "POST", "DELETE", "GET"))
    if method == "GET":
        path = chance.choice(_READS)
    nth, times, executed = chance.choice((1, 1, 2)), chance.choice(_TIMES), chance.random() < 0.5
    match kind:
        case FaultKind.REJECT:
            code = chance.choice({"POST": _REFUSED, "DELETE": (-1001, -2011), "GET": (-1001, -1007)}[method])
            return (Fault(kind, method, path, nth=nth, times=times, code=code, message="refused"),)
        case FaultKind.HANG | FaultKind.SLOW | FaultKind.LATE | FaultKind.QUEUED | FaultKind.FOUND_LATE:
            delay_ms = chance.choice((300, 1_500, 2_500, 6_000, 15_000))
            path = chance.choice((PLAIN, ALGO)) if method == "GET" else path
            return (Fault(kind, "POST", path, nth=nth, times=times, executed=executed, delay_ms=delay_ms),)
        case FaultKind.DUPLICATE_EVENT | FaultKind.MISSING_EVENT:
            return (Fault(kind, stream=chance.choice(("", "ORDER_TRADE_UPDATE", "ALGO_UPDATE")), times=chance.randint(1, 8)),)
        case FaultKind.REORDERED_EVENT:
            return (Fault(kind, times=chance.randint(1, 8), delay_ms=chance.choice((0, 40, 2_000))),)
        case FaultKind.SILENT_SOCKET | FaultKind.DISCONNECT:
            return (Fault(kind, stream="private", executed=executed, after_ms=chance.randint(0, 300)),)
        case FaultKind.KEY_EXPIRY:
            return (Fault(kind, after_ms=chance.randint(0, 300)),)
        case FaultKind.CLOCK_JUMP:  # a start refuses more than 1.5 s
            return (Fault(kind, delay_ms=chance.choice((-1_300, -700, 700, 1_300))),)
        case FaultKind.STUCK_TRIGGER:
            return (Fault(kind, delay_ms=chance.randint(8_000, 20_000), after_ms=chance.randint(0, 3_000)),)
        case _:
            return (Fault(kind, method, path, nth=nth, times=times, executed=executed),)


def _link_fault(fault: str, chance: Random) -> network.Fault | None:
    if not fault.startswith("net_"):
        return None
    kind = network.Kind[fault.removeprefix("net_").upper()]
    way = chance.choice(tuple(network.Way))
    return network.Fault(kind, "bot", "exchange", way=way, delay_s=chance.uniform(0.1, 1.5), times=chance.choice((1, 2, None)))


def matrix_size(points: Sequence[CrashPoint] = tuple(CrashPoint), faults: Sequence[str] = FAULTS) -> int:
    """How many cells there are."""
    return len(list(itertools.product(points, faults, Action, Side)))
