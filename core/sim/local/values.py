"""What the local exchange says of itself: the venue's own words, one struct each, before any wire format.

Prices and quantities are ``Decimal``, money in USD is ``Decimal`` too, times are ms (UTC). Enums hold the venue's own text.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

from msgspec import Struct

from core.types import Timeframe

ZERO = Decimal(0)


class VenueError(Exception):
    """The venue refuses a request: its numeric code, its words, and the HTTP status that carries them."""

    def __init__(self, code: int, message: str, *, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.status = code, message, status


class OrderSide(StrEnum):
    """Direction of an order."""

    BUY = "BUY"
    SELL = "SELL"

    @property
    def sign(self) -> int:
        """+1 for a purchase, -1 for a sale."""
        return 1 if self is OrderSide.BUY else -1


class OrderType(StrEnum):
    """Types of plain orders; ``LIQUIDATION`` is the venue's own."""

    LIMIT = "LIMIT"
    MARKET = "MARKET"
    LIQUIDATION = "LIQUIDATION"


class AlgoType(StrEnum):
    """Types of conditional orders, which live in a book of their own."""

    STOP = "STOP"
    STOP_MARKET = "STOP_MARKET"
    TAKE_PROFIT = "TAKE_PROFIT"
    TAKE_PROFIT_MARKET = "TAKE_PROFIT_MARKET"
    TRAILING_STOP_MARKET = "TRAILING_STOP_MARKET"


class TimeInForce(StrEnum):
    """How long an order stays."""

    GTC = "GTC"
    IOC = "IOC"
    FOK = "FOK"
    GTX = "GTX"
    GTD = "GTD"


class OrderStatus(StrEnum):
    """Life of a plain order."""

    NEW = "NEW"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"
    EXPIRED_IN_MATCH = "EXPIRED_IN_MATCH"

    @property
    def over(self) -> bool:
        """Whether nothing more can happen to the order."""
        return self not in (OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED)


class AlgoStatus(StrEnum):
    """Life of a conditional order."""

    NEW = "NEW"
    TRIGGERING = "TRIGGERING"
    TRIGGERED = "TRIGGERED"
    FINISHED = "FINISHED"
    CANCELED = "CANCELED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"

    @property
    def over(self) -> bool:
        """Whether nothing more can happen to the conditional order."""
        return self in (AlgoStatus.FINISHED, AlgoStatus.CANCELED, AlgoStatus.REJECTED, AlgoStatus.EXPIRED)


class WorkingType(StrEnum):
    """Which price triggers a conditional order."""

    CONTRACT_PRICE = "CONTRACT_PRICE"
    MARK_PRICE = "MARK_PRICE"


class MarginType(StrEnum):
    """How a position is margined."""

    ISOLATED = "ISOLATED"
    CROSSED = "CROSSED"


class ExecutionType(StrEnum):
    """Why an order event is sent."""

    NEW = "NEW"
    TRADE = "TRADE"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"
    AMENDMENT = "AMENDMENT"
    CALCULATED = "CALCULATED"
    """Liquidation."""


class AccountReason(StrEnum):
    """Why an account event is sent."""

    ORDER = "ORDER"
    FUNDING_FEE = "FUNDING_FEE"
    DEPOSIT = "DEPOSIT"
    WITHDRAW = "WITHDRAW"
    MARGIN_TYPE_CHANGE = "MARGIN_TYPE_CHANGE"


# --- what is listed -----------------------------------------------------------------------------------


class Bracket(Struct, frozen=True):
    """One leverage bracket: for notionals in [floor, cap) at most ``max_leverage``; ``cum`` simplifies the maintenance sum."""

    number: int
    max_leverage: int
    floor: Decimal
    cap: Decimal
    maintenance_rate: Decimal
    cum: Decimal


class Listing(Struct, frozen=True):
    """A perpetual and its filters. ``symbol`` is the venue's own (BTCUSDT); fees and rates are fractions.

    ``percent_up`` and ``percent_down`` are the venue's multipliers of the mark price (1.05, 0.95); ``market_take_bound``
    and ``trigger_protect`` are fractions of it (0.05). Decimal places of ``tick`` and ``step`` as written are the
    venue's precisions.
    """

    symbol: str
    base: str
    quote: str
    tick: Decimal
    min_price: Decimal
    max_price: Decimal
    step: Decimal
    min_qty: Decimal
    max_qty: Decimal
    market_step: Decimal
    market_min_qty: Decimal
    market_max_qty: Decimal
    min_notional: Decimal
    percent_up: Decimal
    percent_down: Decimal
    max_orders: int
    max_algo_orders: int
    maker_fee: Decimal
    taker_fee: Decimal
    market_take_bound: Decimal
    trigger_protect: Decimal
    liquidation_fee: Decimal
    brackets: tuple[Bracket, ...]
    funding_interval_ms: int = 28_800_000
    onboard_ts: int = 0


class Liquidity(Struct, frozen=True):
    """What is modelled where no real levels are known: spread (bps) and depth (USD) within 10 bps of the middle."""

    spread_bps: float = 2.0
    depth_usd: float = 1_000_000.0


# --- what is asked ------------------------------------------------------------------------------------


class NewOrder(Struct, frozen=True):
    """A plain order as asked for. ``good_till`` (ms) belongs to GTD; an empty ``client_id`` gets one from the venue."""

    symbol: str
    side: OrderSide
    type: OrderType
    qty: Decimal
    price: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    reduce_only: bool = False
    client_id: str = ""
    good_till: int = 0
    self_trade_prevention: str = "EXPIRE_MAKER"


class NewAlgo(Struct, frozen=True):
    """A conditional order as asked for; ``close_position`` has neither quantity nor ``reduce_only``.

    ``callback_rate`` (percent) and ``activate_price`` belong to trailing stops.
    """

    symbol: str
    side: OrderSide
    type: AlgoType
    qty: Decimal | None = None
    price: Decimal | None = None
    trigger_price: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    working_type: WorkingType = WorkingType.CONTRACT_PRICE
    close_position: bool = False
    reduce_only: bool = False
    price_protect: bool = False
    callback_rate: Decimal | None = None
    activate_price: Decimal | None = None
    client_id: str = ""
    good_till: int = 0


# --- what is told -------------------------------------------------------------------------------------


class OrderState(Struct, frozen=True):
    """A plain order as it stands. ``algo_id`` is set on the child of a conditional order."""

    order_id: int
    client_id: str
    symbol: str
    side: OrderSide
    type: OrderType
    status: OrderStatus
    qty: Decimal
    price: Decimal
    filled: Decimal
    average: Decimal
    cum_quote: Decimal
    time_in_force: TimeInForce
    reduce_only: bool
    close_position: bool
    created: int
    updated: int
    good_till: int = 0
    algo_id: int | None = None
    origin: str = ""
    """Type of the conditional order that made it (``STOP_MARKET``), else the order's own type."""


class AlgoState(Struct, frozen=True):
    """A conditional order as it stands; ``actual_order_id`` is its child once it was triggered."""

    algo_id: int
    client_id: str
    symbol: str
    side: OrderSide
    type: AlgoType
    status: AlgoStatus
    qty: Decimal
    price: Decimal
    trigger_price: Decimal
    time_in_force: TimeInForce
    working_type: WorkingType
    close_position: bool
    reduce_only: bool
    price_protect: bool
    created: int
    updated: int
    triggered: int = 0
    actual_order_id: int | None = None
    actual_price: Decimal = ZERO
    callback_rate: Decimal = ZERO
    activate_price: Decimal = ZERO
    good_till: int = 0
    reason: str = ""
    actual_qty: Decimal = ZERO


class TradeState(Struct, frozen=True):
    """One fill of the account's."""

    trade_id: int
    order_id: int
    client_id: str
    symbol: str
    side: OrderSide
    price: Decimal
    qty: Decimal
    quote_qty: Decimal
    realised: Decimal
    fee: Decimal
    fee_asset: str
    maker: bool
    ts: int


class PositionState(Struct, frozen=True):
    """A one-way position; flat ones have quantity 0."""

    symbol: str
    qty: Decimal
    entry_price: Decimal
    break_even_price: Decimal
    mark_price: Decimal
    unrealised: Decimal
    liquidation_price: Decimal
    leverage: int
    margin_type: MarginType
    isolated_margin: Decimal
    isolated_wallet: Decimal
    notional: Decimal
    initial_margin: Decimal
    maintenance_margin: Decimal
    updated: int
    realised: Decimal = ZERO
    """Accumulated since the exchange began (``cr`` of account events)."""
    order_margin: Decimal = ZERO
    """The part of ``initial_margin`` that open orders ask for."""


class AccountState(Struct, frozen=True):
    """The account in one asset (USDT)."""

    asset: str
    wallet: Decimal
    unrealised: Decimal
    margin_balance: Decimal
    initial_margin: Decimal
    maintenance_margin: Decimal
    position_initial_margin: Decimal
    open_order_initial_margin: Decimal
    available: Decimal
    cross_wallet: Decimal
    cross_unrealised: Decimal
    updated: int
    dual_side: bool = False


class IncomeState(Struct, frozen=True):
    """One change of the wallet: ``kind`` is the venue's (REALIZED_PNL, FUNDING_FEE, COMMISSION, TRANSFER...)."""

    symbol: str
    kind: str
    amount: Decimal
    asset: str
    ts: int
    transfer_id: int
    trade_id: int | None = None


class SymbolConfig(Struct, frozen=True):
    """How the account trades a symbol; ``max_notional`` is the most that the leverage allows."""

    symbol: str
    margin_type: MarginType
    leverage: int
    max_notional: Decimal


# --- what is sent out ---------------------------------------------------------------------------------


class OrderEvent(Struct, frozen=True):
    """Something happened to an order (ORDER_TRADE_UPDATE); the last fields tell of a fill."""

    ts: int
    execution: ExecutionType
    order: OrderState
    trade: TradeState | None = None


class AlgoEvent(Struct, frozen=True):
    """Something happened to a conditional order (ALGO_UPDATE)."""

    ts: int
    algo: AlgoState


class AccountEvent(Struct, frozen=True):
    """Wallet or positions changed (ACCOUNT_UPDATE); ``change`` is the wallet's change except by profit and fee."""

    ts: int
    reason: AccountReason
    account: AccountState
    positions: tuple[PositionState, ...]
    change: Decimal = ZERO


class MarginCall(Struct, frozen=True):
    """Positions are near liquidation (MARGIN_CALL)."""

    ts: int
    account: AccountState
    positions: tuple[PositionState, ...]


class ConfigEvent(Struct, frozen=True):
    """Leverage of a symbol was changed (ACCOUNT_CONFIG_UPDATE)."""

    ts: int
    symbol: str
    leverage: int


AccountWord = OrderEvent | AlgoEvent | AccountEvent | MarginCall | ConfigEvent
"""All that a user stream carries."""


# --- the market, tick by tick ---------------------------------------------------------------------------


class TradeTick(Struct, frozen=True):
    """A public trade; ``taker`` is the aggressor's side."""

    symbol: str
    ts: int
    trade_id: int
    price: Decimal
    qty: Decimal
    taker: OrderSide
    gap: bool = False
    """Nothing traded between the last price and this one (a bar's open): a sweep jumps here."""


class BookTick(Struct, frozen=True):
    """The book as it is now, best levels first; ``levels`` are whole (not a difference).

    A ``modelled`` one is drawn around the last price for those who watch books: the exchange does not trade with its
    levels, but by its own model of liquidity, with the figures told here if there are any.
    """

    symbol: str
    ts: int
    update_id: int
    bids: tuple[tuple[Decimal, Decimal], ...]
    asks: tuple[tuple[Decimal, Decimal], ...]
    modelled: bool = False
    spread_bps: float = 0.0
    depth_usd: float = 0.0
    """Above 0 with ``spread_bps``: nobody's book, but levels drawn from these two figures; fills then follow their formula."""


class MarkTick(Struct, frozen=True):
    """Mark and index price, and the funding that is due next."""

    symbol: str
    ts: int
    mark: Decimal
    index: Decimal
    funding_rate: Decimal
    next_funding: int


class FundingTick(Struct, frozen=True):
    """Funding is settled now."""

    symbol: str
    ts: int
    rate: Decimal
    mark: Decimal


class KlineTick(Struct, frozen=True):
    """A candle as it stands; ``final`` once its time is over."""

    symbol: str
    ts: int
    tf: Timeframe
    open_ts: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    quote_volume: Decimal
    trades: int
    first_trade: int
    last_trade: int
    taker_volume: Decimal
    final: bool


Tick = TradeTick | BookTick | MarkTick | FundingTick | KlineTick
