"""Binance USD-M's words in the house's: answers of orders and events of the account's stream."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from core.types import OrderSide
from core.venues.words import ZERO, BalanceSeen, FundingDue, FundingSeen, OrderSeen, PositionSeen, Standing, TradeSeen, Word

Raw = Mapping[str, Any]
Naming = Callable[[str], str | None]
"""From the venue's id of a market to the internal symbol; None where it is not one of ours."""

_STANDING = {
    "NEW": Standing.LIVE,
    "PARTIALLY_FILLED": Standing.LIVE,
    "FILLED": Standing.FILLED,
    "CANCELED": Standing.CANCELED,
    "EXPIRED": Standing.EXPIRED,
    "EXPIRED_IN_MATCH": Standing.EXPIRED,
    "REJECTED": Standing.REJECTED,
    "NEW_INSURANCE": Standing.LIVE,
    "NEW_ADL": Standing.LIVE,
    "TRIGGERING": Standing.TRIGGERING,
    "TRIGGERED": Standing.TRIGGERED,
    "FINISHED": Standing.FINISHED,
}
"""A word that is not here is taken for one of an order that stands: it is not known to be over."""
OF_ACCOUNT = frozenset({"ORDER_TRADE_UPDATE", "ALGO_UPDATE", "ACCOUNT_UPDATE", "TRADE_LITE"})
"""Events of the account's stream."""
_STOP = "STOP_MARKET"
_FORCED = ("autoclose-", "adl_autoclose", "settlement_autoclose-")


def forced(client_id: str) -> bool:
    """Whether the venue itself made the order: liquidation, deleveraging, settlement."""
    return client_id.startswith(_FORCED)


def plain_order(raw: Raw, symbol: str) -> OrderSeen:
    """A plain order from an answer of ``/fapi/v1/order`` and the like."""
    return OrderSeen(
        symbol=symbol,
        client_id=str(raw["clientOrderId"]),
        venue_id=str(raw["orderId"]),
        algo=False,
        standing=_STANDING.get(raw["status"], Standing.LIVE),
        side=OrderSide(raw["side"].lower()),
        qty=Decimal(raw["origQty"]),
        filled=Decimal(raw["executedQty"]),
        price=_price(raw.get("price")),
        ts=int(raw["updateTime"]),
        reduce_only=raw.get("reduceOnly") is True,
        close_position=raw.get("closePosition") is True,
    )


def algo_order(raw: Raw, symbol: str) -> OrderSeen:
    """A conditional order from an answer of ``/fapi/v1/algoOrder`` and the like."""
    return OrderSeen(
        symbol=symbol,
        client_id=str(raw["clientAlgoId"]),
        venue_id=str(raw["algoId"]),
        algo=True,
        standing=_STANDING.get(raw["algoStatus"], Standing.LIVE),
        side=OrderSide(raw["side"].lower()),
        qty=_number(raw.get("quantity")),
        filled=_number(raw.get("actualQty")),
        price=_price(raw.get("triggerPrice")),
        ts=int(raw["updateTime"]),
        reduce_only=raw.get("reduceOnly") is True,
        close_position=raw.get("closePosition") is True,
        child_id=str(raw.get("actualOrderId") or ""),
        stop=raw.get("orderType") == _STOP,
    )


def user_trade(raw: Raw, symbol: str) -> TradeSeen:
    """A fill from an answer of ``/fapi/v1/userTrades``; it has no client id."""
    return TradeSeen(
        symbol=symbol,
        trade_id=int(raw["id"]),
        venue_id=str(raw["orderId"]),
        client_id="",
        side=OrderSide(raw["side"].lower()),
        qty=Decimal(raw["qty"]),
        price=Decimal(raw["price"]),
        fee=Decimal(raw["commission"]),
        fee_asset=str(raw["commissionAsset"]),
        maker=raw["maker"] is True,
        ts=int(raw["time"]),
    )


def position(raw: Raw, symbol: str) -> PositionSeen:
    """A position from an answer of ``/fapi/v3/positionRisk``."""
    liquidation = _number(raw.get("liquidationPrice"))
    return PositionSeen(
        symbol=symbol,
        qty=Decimal(raw["positionAmt"]),
        entry=Decimal(raw["entryPrice"]),
        mark=Decimal(raw["markPrice"]),
        liquidation=liquidation if liquidation > 0 else None,
    )


def funding(raw: Raw, symbol: str) -> FundingSeen:
    """A payment from an answer of ``/fapi/v1/income``."""
    return FundingSeen(symbol, int(raw["time"]), str(raw["tranId"]), Decimal(raw["income"]))


def words_of(message: Any, naming: Naming, coin: str) -> tuple[Word, ...]:
    """What a message of a stream says of the account; nothing, for one of the market's.

    Args:
        message: decoded, as it came.
        naming: the internal symbol of a market.
        coin: the settlement coin, whose wallet counts.
    """
    if not isinstance(message, dict):
        return ()
    if "stream" in message and isinstance(message.get("data"), dict):
        message = message["data"]
    kind = message.get("e")
    if kind == "ORDER_TRADE_UPDATE":
        return _of_order(message, naming)
    if kind == "ALGO_UPDATE":
        return _of_algo(message, naming)
    if kind == "ACCOUNT_UPDATE":
        return _of_account(message, coin)
    return ()


def _of_order(message: Raw, naming: Naming) -> tuple[Word, ...]:
    order = message["o"]
    symbol = naming(order["s"])
    if symbol is None:
        return ()
    client_id, venue_id = str(order["c"]), str(order["i"])
    side, ts = OrderSide(order["S"].lower()), int(order["T"])
    seen = OrderSeen(
        symbol=symbol,
        client_id=client_id,
        venue_id=venue_id,
        algo=False,
        standing=_STANDING.get(order["X"], Standing.LIVE),
        side=side,
        qty=Decimal(order["q"]),
        filled=Decimal(order["z"]),
        price=_price(order.get("p")),
        ts=ts,
        reduce_only=order.get("R") is True,
        close_position=order.get("cp") is True,
        reason=str(order["x"]),
    )
    last = Decimal(order["l"])
    if order["x"] not in ("TRADE", "CALCULATED") or not last:
        return (seen,)
    trade = TradeSeen(
        symbol=symbol,
        trade_id=int(order["t"]),
        venue_id=venue_id,
        client_id=client_id,
        side=side,
        qty=last,
        price=Decimal(order["L"]),
        fee=_number(order.get("n")),
        fee_asset=str(order.get("N") or ""),
        maker=order.get("m") is True,
        ts=ts,
        forced=forced(client_id),
    )
    return trade, seen  # what an order did is told before that it is over


def _of_algo(message: Raw, naming: Naming) -> tuple[Word, ...]:
    order = message["o"]
    symbol = naming(order["s"])
    if symbol is None:
        return ()
    seen = OrderSeen(
        symbol=symbol,
        client_id=str(order["caid"]),
        venue_id=str(order["aid"]),
        algo=True,
        standing=_STANDING.get(order["X"], Standing.LIVE),
        side=OrderSide(order["S"].lower()),
        qty=_number(order.get("q")),
        filled=_number(order.get("aq")),
        price=_price(order.get("tp")),
        ts=int(message["T"]),
        reduce_only=order.get("R") is True,
        close_position=order.get("cp") is True,
        child_id=str(order.get("ai") or ""),
        reason=str(order.get("rm") or ""),
        stop=order.get("o") == _STOP,
    )
    return (seen,)


def _of_account(message: Raw, coin: str) -> tuple[Word, ...]:
    account, ts = message["a"], int(message["E"])
    words: list[Word] = [BalanceSeen(ts, Decimal(row["wb"])) for row in account["B"] if row["a"] == coin]
    if account["m"] == "FUNDING_FEE":
        words.append(FundingDue(ts))
    return tuple(words)


def _number(text: Any) -> Decimal:
    return ZERO if text is None or text == "" else Decimal(text)


def _price(text: Any) -> Decimal | None:
    price = _number(text)
    return price if price > 0 else None
