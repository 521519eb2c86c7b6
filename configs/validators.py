"""Schemas of every configuration file: frozen, unknown keys refused, ranges stated.

A value outside its range never reaches the program: loading (:mod:`configs.loader`) stops with the file,
the field, the value and what is allowed.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, SecretStr, field_validator, model_validator

from configs.governance_schema import Governance, known_zone
from configs.schema import Fraction, Frozen, PositiveDecimal, RegimeName, StrategyName, TimeframeName, require
from configs.strategy_schema import (
    BreakoutParams,
    FundingRevParams,
    Points,
    RangeRevParams,
    RegimeParams,
    ScoreParams,
    StrategiesFile,
    VolExpParams,
)

__all__ = [
    "BlackoutWindow",
    "Blackouts",
    "BreakoutParams",
    "Configuration",
    "EnableMap",
    "Environment",
    "Fraction",
    "Frozen",
    "FundingRevParams",
    "Governance",
    "Mode",
    "ModelledBook",
    "Points",
    "PositiveDecimal",
    "RangeRevParams",
    "RegimeName",
    "RegimeParams",
    "ScoreParams",
    "StrategiesFile",
    "StrategyName",
    "SwitchingRules",
    "SymbolConfig",
    "SymbolsFile",
    "TimeframeName",
    "VolExpParams",
]


class SwitchingRules(Frozen):
    """Hysteresis and cooldown; they must agree with governance (X21)."""

    min_bars_hold: Annotated[int, Field(ge=6, le=100)]
    """Least bars that confirm a change of regime."""
    cooldown_after_2_losses: Annotated[int, Field(ge=3, le=100)]
    """Bars for which a strategy rests after two stops in a row."""


class EnableMap(Frozen):
    """``enable_map.yaml``: regime -> strategies that may enter."""

    version: Literal[1]
    """Version of the file's form."""
    regimes: dict[RegimeName, tuple[StrategyName, ...]]
    """Every regime with its strategies, in the order that breaks ties (X17); an empty list enables nothing."""
    switching_rules: SwitchingRules
    """Hysteresis and cooldown."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        missing = [name for name in get_args(RegimeName) if name not in self.regimes]
        twice = [name for name, strategies in self.regimes.items() if len(set(strategies)) < len(strategies)]
        require(
            (not missing, "regimes", f"lacks {', '.join(missing)}; give an empty list to enable nothing"),
            (not twice, "regimes", f"names a strategy twice in {', '.join(twice)}"),
        )
        return self

    def order(self, regime: str) -> tuple[str, ...]:
        """Strategies enabled in ``regime``, in order; empty for an unknown regime."""
        return self.regimes.get(regime, ())  # type: ignore[call-overload, no-any-return]


class ModelledBook(Frozen):
    """Spread and depth assumed where a source has no order books."""

    spread_bps: Annotated[float, Field(gt=0, le=500)]
    """Spread in basis points of price."""
    depth_usd: Annotated[float, Field(gt=0)]
    """Depth on each side within 0.1 % of the middle, USD."""


class SymbolConfig(Frozen):
    """One instrument of ``symbols.yaml``; ``symbol`` is ccxt's unified name."""

    symbol: Annotated[str, Field(pattern=r"^[A-Z0-9]+/[A-Z0-9]+(:[A-Z0-9]+)?$")]
    """Name: ``BTC/USDT:USDT`` for a perp, ``BTC/USDT`` for spot."""
    type: Literal["perp", "spot"]
    """Kind of market."""
    tick_size: PositiveDecimal
    """Smallest step of a price."""
    qty_step: PositiveDecimal
    """Smallest step of a quantity."""
    min_qty: PositiveDecimal
    """Smallest quantity of an order."""
    min_notional: PositiveDecimal
    """Smallest value of an order, quote currency."""
    min_vol: Annotated[float, Field(ge=0)]
    """Least book depth for an entry, USD within 0.1 % of the middle."""
    max_spread: Annotated[float, Field(gt=0, le=5)]
    """Widest spread for an entry, percent of price."""
    allowed_tfs: tuple[TimeframeName, ...]
    """Timeframes on which signals are taken."""
    taker_fee_bps: Annotated[float, Field(ge=0, le=100)]
    """Fee for taking liquidity, basis points."""
    maker_fee_bps: Annotated[float, Field(ge=-10, le=100)]
    """Fee for giving liquidity, basis points; negative is a rebate."""
    maintenance_margin_rate: Annotated[float, Field(gt=0, lt=0.5)]
    """Margin below which the exchange liquidates, share of notional."""
    modelled_book: ModelledBook
    """Used, and labelled so, only where a source has no order books."""

    @model_validator(mode="after")
    def _named_by_type(self) -> Self:
        named = (self.type == "perp") == (":" in self.symbol)
        require((named, "symbol", f"does not name a {self.type}: a perp is BASE/QUOTE:SETTLE, a spot market BASE/QUOTE"))
        return self


class SymbolsFile(Frozen):
    """``symbols.yaml``."""

    version: Literal[1]
    """Version of the file's form."""
    defaults: dict[str, object] = Field(default_factory=dict)
    """Values shared by instruments through a YAML anchor and ``<<``; not read by itself."""
    symbols: Annotated[tuple[SymbolConfig, ...], Field(min_length=1)]
    """The instruments, each name once."""

    @model_validator(mode="after")
    def _unique(self) -> Self:
        names = [s.symbol for s in self.symbols]
        twice = sorted({n for n in names if names.count(n) > 1})
        require((not twice, "symbols", f"names {', '.join(twice)} more than once"))
        return self

    def by_name(self) -> dict[str, SymbolConfig]:
        """Instruments by ccxt symbol, in file order."""
        return {s.symbol: s for s in self.symbols}


class BlackoutWindow(Frozen):
    """A span (UTC) in which nothing is opened; ``symbols`` empty means all."""

    start: datetime
    """Begin, with offset, e.g. 2027-01-13T13:20:00Z."""
    end: datetime
    """End, with offset."""
    reason: Annotated[str, Field(min_length=1)]
    """Why, for the record."""
    symbols: tuple[str, ...] = ()
    """Instruments concerned; empty means all."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        require(
            (self.start.tzinfo is not None, "start", "needs an offset, e.g. 2027-01-13T13:20:00Z"),
            (self.end.tzinfo is not None, "end", "needs an offset, e.g. 2027-01-13T14:00:00Z"),
        )
        require((self.end > self.start, "end", "must lie after start"))
        return self


class Blackouts(Frozen):
    """``blackouts.yaml`` (X22)."""

    version: Literal[1]
    """Version of the file's form."""
    reviewed_until: datetime | None
    """Until when a person has looked; after it, or while null, "no news" is unknown and gives 0 points."""
    windows: tuple[BlackoutWindow, ...]
    """The windows."""

    @field_validator("reviewed_until")
    @classmethod
    def _aware(cls, value: datetime | None) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("needs an offset, e.g. 2027-01-31T00:00:00Z")
        return value


class Mode(StrEnum):
    """How the daemon trades."""

    PAPER = "paper"
    LIVE = "live"


class Environment(Frozen):
    """Variables of the process and of ``.env`` (H5). Secrets are never printed.

    Read with :func:`configs.loader.load_environment`; making one directly looks at no variable.
    """

    exchange: Literal["binance", "binanceusdm"] = "binance"
    """Exchange; ``binance`` means binanceusdm for perps (X37)."""
    api_key: SecretStr = SecretStr("")
    """Key of the exchange; paper needs none."""
    api_secret: SecretStr = SecretStr("")
    """Secret of the exchange; paper needs none."""
    openai_api_key: SecretStr = SecretStr("")
    """Key for research and reports only; optional."""
    mode: Mode | None = None
    """If given, the command must agree with it (X37)."""
    prometheus_port: Annotated[int, Field(ge=0, le=65535)] = 9108
    """Port of the metrics; 0 takes a free one."""
    tz: str = "Europe/Chisinau"
    """Time zone for display only; the trading day follows governance (X1)."""
    log_level: Literal["TRACE", "DEBUG", "INFO", "SUCCESS", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    """Least level that is logged."""

    @field_validator("tz")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        return known_zone(value)

    def exchange_id(self, market: Literal["perp", "spot"]) -> str:
        """Name that ccxt gives the exchange for a kind of market (X37)."""
        return "binanceusdm" if market == "perp" else self.exchange


class Configuration(Frozen):
    """Everything a run is configured by. ``governance_digest`` is the digest of the locked limits."""

    governance: Governance
    enable_map: EnableMap
    symbols: SymbolsFile
    strategies: StrategiesFile
    blackouts: Blackouts
    governance_digest: str
    digest: str
