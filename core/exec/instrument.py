"""An instrument and its exchange filters: the only place where floats become legal prices and quantities."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

from configs.validators import SymbolConfig
from core.errors import BrainError
from core.types import OrderSide, Side, Timeframe

_VENUE = re.compile(r"^(?P<venue>[A-Z0-9_]+):(?P<id>[A-Z0-9]+?)(?P<perp>\.P)?$")
_QUOTES = ("USDT", "USDC", "BUSD", "FDUSD", "USD", "BTC", "ETH", "BNB")


def parse_symbol(text: str) -> str:
    """Canonical (ccxt) symbol of ``BTC/USDT:USDT``, ``BTC/USDT``, ``BINANCE:BTCUSDT.P`` or ``BINANCE:BTCUSDT``.

    Raises:
        BrainError: the text is neither form.

    Example:
        >>> parse_symbol("BINANCE:BTCUSDT.P")
        'BTC/USDT:USDT'
    """
    text = text.strip()
    if re.fullmatch(r"[A-Z0-9]+/[A-Z0-9]+(:[A-Z0-9]+)?", text):
        return text
    match = _VENUE.match(text)
    if match:
        for quote in _QUOTES:
            base = match["id"].removesuffix(quote)
            if base and base != match["id"]:
                return f"{base}/{quote}:{quote}" if match["perp"] else f"{base}/{quote}"
    raise BrainError(
        f"symbol was {text!r}, expected BASE/QUOTE:SETTLE such as BTC/USDT:USDT, or BINANCE:BTCUSDT.P",
        help="--symbols BTC/USDT:USDT,ETH/USDT:USDT",
        code="CLI-004",
    )


def venue_id(symbol: str) -> str:
    """The exchange's own name: ``BTCUSDT`` for ``BTC/USDT:USDT``."""
    return symbol.split(":", maxsplit=1)[0].replace("/", "")


def market_id(symbol: str) -> str:
    """A short name that no other market of the run has: the venue's id, with ``.S`` for spot.

    A venue gives its spot market and its perpetual of the same pair one id.
    """
    return venue_id(symbol) if ":" in symbol else f"{venue_id(symbol)}.S"


def venue_code(symbol: str, venue: str = "BINANCE") -> str:
    """The name used in normalised frames (requirement B2): ``BINANCE:BTCUSDT.P``."""
    return f"{venue}:{venue_id(symbol)}" + (".P" if ":" in symbol else "")


@dataclass(frozen=True, slots=True)
class Instrument:
    """Filters and costs of one market. Prices and quantities are ``Decimal``; ``*_rate`` are fractions."""

    symbol: str
    is_perp: bool
    tick_size: Decimal
    qty_step: Decimal
    min_qty: Decimal
    min_notional: Decimal
    min_depth_usd: float
    max_spread_bps: float
    allowed_tfs: frozenset[Timeframe]
    taker_fee_rate: float
    maker_fee_rate: float
    maintenance_margin_rate: float
    modelled_spread_bps: float
    modelled_depth_usd: float

    @classmethod
    def from_config(cls, config: SymbolConfig) -> Instrument:
        """Build from one entry of ``symbols.yaml``."""
        return cls(
            symbol=config.symbol,
            is_perp=config.type == "perp",
            tick_size=config.tick_size,
            qty_step=config.qty_step,
            min_qty=config.min_qty,
            min_notional=config.min_notional,
            min_depth_usd=config.min_vol,
            max_spread_bps=config.max_spread * 100.0,
            allowed_tfs=frozenset(Timeframe(tf) for tf in config.allowed_tfs),
            taker_fee_rate=config.taker_fee_bps / 1e4,
            maker_fee_rate=config.maker_fee_bps / 1e4,
            maintenance_margin_rate=config.maintenance_margin_rate,
            modelled_spread_bps=config.modelled_book.spread_bps,
            modelled_depth_usd=config.modelled_book.depth_usd,
        )

    def qty_down(self, qty: float | Decimal) -> Decimal:
        """Largest legal quantity at most ``qty`` (never up)."""
        return _step(qty, self.qty_step, ROUND_FLOOR)

    def price_near(self, price: float | Decimal) -> Decimal:
        """Legal price nearest to ``price``."""
        return _step(price, self.tick_size, ROUND_HALF_EVEN)

    def price_down(self, price: float | Decimal) -> Decimal:
        """Highest legal price at most ``price``."""
        return _step(price, self.tick_size, ROUND_FLOOR)

    def price_up(self, price: float | Decimal) -> Decimal:
        """Lowest legal price at least ``price``."""
        return _step(price, self.tick_size, ROUND_CEILING)

    def stop_price(self, price: float | Decimal, side: Side) -> Decimal:
        """Legal stop for a position of ``side``, rounded towards the entry, so that rounding never adds risk."""
        return self.price_up(price) if side is Side.LONG else self.price_down(price)

    def cap_price(self, price: float | Decimal, side: OrderSide) -> Decimal:
        """Legal limit for an order of ``side``, rounded so that it is never worse than ``price``."""
        return self.price_down(price) if side is OrderSide.BUY else self.price_up(price)


def _step(value: float | Decimal, step: Decimal, rounding: str) -> Decimal:
    exact = value if isinstance(value, Decimal) else Decimal(repr(float(value)))
    return (exact / step).to_integral_value(rounding=rounding) * step
