"""The words of the domain: small, frozen values that cross the doors between rooms.

Everything here can be encoded canonically (:mod:`core.canonical`): strings, ints, floats, ``Decimal``,
tuples, enums and frozen structs; never a numpy scalar, never a frame.

The values are msgspec structs because several are made on every bar: a frozen dataclass encodes to the same bytes, but
takes ten times as long to make. They hold no cycles, so the garbage collector need not look at them (``gc=False``).

Units, unless a name says otherwise: time in ms since the epoch (UTC), prices in quote currency, quantity
in base currency, money in USD, ``*_pct`` in percent of equity or price, ``*_bps`` in basis points.
"""

from __future__ import annotations

from decimal import Decimal
from enum import IntEnum, StrEnum

from msgspec import Struct

from core.codes import RefusalCode

Scalar = str | int | float | bool | None
Meta = tuple[tuple[str, Scalar], ...]
"""Small named facts in the order in which they were found: ``(("adx", 27.1), ("channel", 20))``."""


class Side(StrEnum):
    """Direction of a position."""

    LONG = "long"
    SHORT = "short"

    @property
    def sign(self) -> int:
        """+1 for long, -1 for short."""
        return 1 if self is Side.LONG else -1


class OrderSide(StrEnum):
    """Direction of an order."""

    BUY = "buy"
    SELL = "sell"

    @property
    def sign(self) -> int:
        """+1 for buy, -1 for sell."""
        return 1 if self is OrderSide.BUY else -1


class Timeframe(StrEnum):
    """Bar lengths that the system knows."""

    M1 = "1m"
    M5 = "5m"
    M15 = "15m"
    H1 = "1h"
    H4 = "4h"
    D1 = "1d"

    @property
    def ms(self) -> int:
        """Length in milliseconds."""
        return _TF_MS[self]


_TF_MS: dict[Timeframe, int] = {
    Timeframe.M1: 60_000,
    Timeframe.M5: 300_000,
    Timeframe.M15: 900_000,
    Timeframe.H1: 3_600_000,
    Timeframe.H4: 14_400_000,
    Timeframe.D1: 86_400_000,
}


class Regime(StrEnum):
    """Market regimes (requirement G6)."""

    UNKNOWN = "unknown"
    TREND_UP = "trend_up"
    TREND_DOWN = "trend_down"
    RANGE_LOWVOL = "range_lowvol"
    RANGE_HIGHVOL = "range_highvol"
    PANIC = "panic"


REGIME_CODES: tuple[Regime, ...] = tuple(Regime)
"""Position in this tuple is the regime's code in arrays and in the ``regime_label`` gauge (0 = unknown)."""


class TradingState(StrEnum):
    """What the system may do: open risk, only reduce it, or nothing until a person acts."""

    ACTIVE = "active"
    REDUCING = "reducing"
    HALTED = "halted"


class ToolState(IntEnum):
    """State of a tool or of an edge on the dashboard (0 = idle, not used yet)."""

    IDLE = 0
    OK = 1
    WARN = 2
    ERROR = 3


class EventKind(StrEnum):
    """What may enter the graph."""

    BAR = "bar"
    RESEARCH = "research"
    REPORT = "report"


class Event(Struct, frozen=True, gc=False):
    """One thing for the brain to think about.

    For ``bar``: ``ts`` is the common close time and ``closed`` names, by timeframe, the symbols whose bar
    closed then, finest timeframe first, symbols in configured order.
    """

    kind: EventKind
    seq: int
    ts: int
    closed: tuple[tuple[Timeframe, tuple[str, ...]], ...] = ()
    note: str = ""


# --- decisions ------------------------------------------------------------------------------------


class Refusal(Struct, frozen=True, gc=False):
    """Something that was wanted and not done, with its arithmetic.

    ``stage`` is the agent that refused, ``ref`` the signal, plan or order concerned.
    """

    code: RefusalCode
    ts: int
    stage: str
    symbol: str
    strategy: str
    ref: str
    message: str
    detail: Meta = ()


class Signal(Struct, frozen=True, gc=False):
    """A raw trading idea; it carries no size (requirement D1).

    ``ts`` is the close of the bar that gave it, ``entry`` that close, ``atr`` the ATR of ``tf`` there,
    ``validity_ts`` the last moment at which it may be acted upon.
    """

    id: str
    strategy: str
    symbol: str
    side: Side
    entry: float
    tf: Timeframe
    ts: int
    validity_ts: int
    reason: str
    atr: float
    meta: Meta = ()


class ScorePart(Struct, frozen=True, gc=False):
    """One criterion of the setup score. ``known`` is False where its input was missing (0 points then)."""

    name: str
    points: float
    max_points: float
    known: bool
    inputs: Meta = ()


class ScoredSignal(Struct, frozen=True, gc=False):
    """A signal with its setup score (0-10) and the threshold asked for; without ``parts`` it was shut out before scoring."""

    signal: Signal
    score: float
    threshold: float
    regime: Regime
    parts: tuple[ScorePart, ...]


class PlanKind(StrEnum):
    """Why a plan opens risk."""

    ENTRY = "entry"
    ADD = "add"


class Take(Struct, frozen=True, gc=False):
    """A resting take-profit: ``r`` multiples away, at ``price``, for ``qty``."""

    r: float
    price: Decimal
    qty: Decimal


class TrailStart(StrEnum):
    """From when the stop is trailed (decision X3)."""

    NEVER = "never"
    ENTRY = "entry"
    FIRST_TAKE = "first_take"


class Trail(Struct, frozen=True, gc=False):
    """Trailing rule: best close minus (plus, for shorts) ``atr_multiple`` x ATR of ``tf``."""

    start: TrailStart
    atr_multiple: float
    tf: Timeframe


class Plan(Struct, frozen=True, gc=False):
    """A sized, protected intention to open (or add to) a position (requirement D1).

    ``entry`` is the cap of the IOC limit (worst price), at which the size was computed; ``stop`` the
    initial stop (for an add: the joint stop after it); ``risk_usd`` the worst-case loss including costs,
    at most; ``risk_r_pct`` the same in percent of equity; ``costs_usd`` its cost part; ``time_stop_ts``
    when the position is closed at the latest. ``governance`` is the digest of the locked limits.
    """

    id: str
    kind: PlanKind
    signal_id: str
    strategy: str
    symbol: str
    side: Side
    tf: Timeframe
    ts: int
    qty: Decimal
    entry: Decimal
    stop: Decimal
    tps: tuple[Take, ...]
    trail: Trail
    time_stop_ts: int
    risk_usd: float
    risk_r_pct: float
    costs_usd: float
    equity: float
    score: float
    regime: Regime
    governance: str
    meta: Meta = ()


class AdjustKind(StrEnum):
    """What position management may ask for at a bar's close; each only ever reduces risk."""

    MOVE_STOP = "move_stop"
    CLOSE = "close"


class ExitReason(StrEnum):
    """Why a stop moved or a position (or part of it) was closed."""

    STOP = "stop"
    TRAIL = "trail"
    BREAK_EVEN = "break_even"
    TAKE = "take"
    TIME_STOP = "time_stop"
    FUNDING_NORMAL = "funding_normal"
    JOINT_STOP = "joint_stop"
    KILL_SWITCH = "kill_switch"
    SHUTDOWN = "shutdown"
    LIQUIDATION = "liquidation"
    BY_HAND = "by_hand"
    """Somebody closed it at the exchange, past the system."""


class Adjustment(Struct, frozen=True, gc=False):
    """A change to an open position: move its stop (tighter only) or close it at market."""

    kind: AdjustKind
    symbol: str
    ts: int
    reason: ExitReason
    new_stop: Decimal | None = None
    detail: Meta = ()


# --- orders ---------------------------------------------------------------------------------------


class OrderType(StrEnum):
    """Order types that the system sends."""

    IOC_LIMIT = "ioc_limit"
    MARKET = "market"
    STOP_MARKET = "stop_market"
    LIMIT = "limit"


class OrderPurpose(StrEnum):
    """Role of an order in a trade."""

    ENTRY = "entry"
    ADD = "add"
    STOP = "stop"
    TAKE = "take"
    EXIT = "exit"

    @property
    def opens(self) -> bool:
        """Whether its fills open risk."""
        return self in (OrderPurpose.ENTRY, OrderPurpose.ADD)


class OrderStatus(StrEnum):
    """Life of an order."""

    NEW = "new"
    PARTIAL = "partial"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    """Nobody knows yet whether it reached the exchange; it counts as pending, and its fate is told later."""


class Order(Struct, frozen=True, gc=False):
    """An order as intended. ``client_id`` is derived from the plan and is never used twice.

    ``price`` is the limit (IOC_LIMIT, LIMIT) or the trigger (STOP_MARKET); None for MARKET.
    ``reason`` is set on exits.
    """

    client_id: str
    plan_id: str
    symbol: str
    side: OrderSide
    type: OrderType
    purpose: OrderPurpose
    qty: Decimal
    price: Decimal | None
    reduce_only: bool
    ts: int
    reason: ExitReason | None = None


class OrderUpdate(Struct, frozen=True, gc=False):
    """What the broker says of an order. ``code`` tells why it was rejected or expired."""

    client_id: str
    symbol: str
    status: OrderStatus
    ts: int
    filled: Decimal = Decimal(0)
    code: RefusalCode | None = None
    message: str = ""


class Fill(Struct, frozen=True, gc=False):
    """One execution. ``id`` is unique; ``expected_price`` is the price without slippage; fee in USD, >= 0."""

    id: str
    client_id: str
    plan_id: str
    symbol: str
    side: OrderSide
    purpose: OrderPurpose
    qty: Decimal
    price: Decimal
    expected_price: float
    spread_bps: float
    fee: float
    maker: bool
    ts: int
    reason: ExitReason | None = None


class FundingPayment(Struct, frozen=True, gc=False):
    """Funding settled on an open position: ``amount`` USD, negative when paid."""

    symbol: str
    ts: int
    rate: float
    mark: float
    qty: Decimal
    amount: float


BrokerEvent = OrderUpdate | Fill | FundingPayment


# --- positions and trades -------------------------------------------------------------------------


class TradeRecord(Struct, frozen=True, gc=False):
    """A closed trade with every field of trade and plan (requirement I2).

    ``r_multiple`` = net money / planned risk money (decision X5). ``stop_exit`` tells whether the final
    exit was a stop (for cooldowns, G6). ``scratch`` is decision X6.
    """

    id: str
    plan_id: str
    signal_id: str
    strategy: str
    symbol: str
    side: Side
    tf: Timeframe
    regime: Regime
    score: float
    opened_ts: int
    closed_ts: int
    qty: Decimal
    entry_price: float
    exit_price: float
    initial_stop: Decimal
    final_stop: Decimal
    planned_risk_usd: float
    planned_r_pct: float
    gross: float
    fees: float
    funding: float
    net: float
    r_multiple: float
    scratch: bool
    stop_exit: bool
    exit_reason: ExitReason
    adds: int
    takes_filled: int
    avg_slippage_bps: float
    avg_spread_bps: float
    mae_r: float
    mfe_r: float
    governance: str
    score_parts: tuple[ScorePart, ...] = ()
    meta: Meta = ()


# --- what the brain sees at a glance ---------------------------------------------------------------


class HealthReport(Struct, frozen=True, gc=False):
    """Verdict of the health gates at ``ts`` (requirement E7, decisions X26, X27).

    ``paused`` lists gates that stop all entries; ``blocked`` symbols that alone may not enter, with the
    code that blocks each; ``drift_ms`` the worse of the two clock drifts (None: not measured).
    """

    ts: int
    ok: bool
    drift_ms: float | None
    paused: tuple[RefusalCode, ...]
    blocked: tuple[tuple[str, RefusalCode], ...]

    def forbids(self, symbol: str) -> RefusalCode | None:
        """Why nothing may be opened or added to in ``symbol``; None while it may."""
        if self.paused:
            return self.paused[0]
        return next((code for blocked, code in self.blocked if blocked == symbol), None)


class GovernorView(Struct, frozen=True, gc=False):
    """What the governor allows now. All ``*_pct`` are percent of equity; drawdown is >= 0.

    ``day_pnl_pct`` is marked to market against the day's start, ``day_realised_pct`` counts closed money
    only (for the green bonus). ``r_pct`` is the risk allowed for the next full-size entry before
    volatility (cut and bonus already inside), ``room_usd`` the money that may still be lost in the worst
    case today and in the 72 h window (decision X10), before open risk is taken off.
    """

    ts: int
    state: TradingState
    equity: float
    day_start_equity: float
    day_pnl_pct: float
    day_realised_pct: float
    peak_72h: float
    dd_72h_pct: float
    day_lock: bool
    kill_switch: bool
    governance_changed: bool
    bonus: bool
    cut: bool
    loss_streak: int
    r_pct: float
    room_usd: float


class RegimeView(Struct, frozen=True, gc=False):
    """Held regime of one symbol on its two carriers (decision X18)."""

    symbol: str
    h1: Regime
    h1_bars: int
    h4: Regime
    h4_bars: int


class DecisionRecord(Struct, frozen=True, gc=False):
    """What the brain decided on one event; the link of the decision chain is made of it.

    ``node_hashes`` are (node, hex digest of what it wrote), in the order they ran; ``edges`` the agent
    edges crossed.
    """

    seq: int
    ts: int
    kind: EventKind
    state: TradingState
    edges: tuple[tuple[str, str, str], ...]
    node_hashes: tuple[tuple[str, str], ...]
    signals: tuple[str, ...]
    plans: tuple[str, ...]
    orders: tuple[str, ...]
    adjustments: tuple[str, ...]
    refusals: tuple[tuple[str, str], ...]
    governance: str
