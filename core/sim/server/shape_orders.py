"""Orders, conditional orders and fills as the venue words them in REST answers."""

from __future__ import annotations

from core.sim.local.values import AlgoState, AlgoType, OrderSide, OrderState, TradeState
from core.sim.server.wire import Json, money, price, text

ONE_WAY = "BOTH"
STP = "EXPIRE_MAKER"


def order(state: OrderState) -> Json:
    """A plain order as a query answers it."""
    return {
        "orderId": state.order_id,
        "symbol": state.symbol,
        "status": state.status.value,
        "clientOrderId": state.client_id,
        "price": text(state.price),
        "avgPrice": price(state.average),
        "origQty": text(state.qty),
        "executedQty": text(state.filled),
        "cumQuote": text(state.cum_quote),
        "timeInForce": state.time_in_force.value,
        "type": state.type.value,
        "reduceOnly": state.reduce_only,
        "closePosition": state.close_position,
        "side": state.side.value,
        "positionSide": ONE_WAY,
        "stopPrice": "0",
        "workingType": "CONTRACT_PRICE",
        "priceProtect": False,
        "origType": state.origin or state.type.value,
        "priceMatch": "NONE",
        "selfTradePreventionMode": STP,
        "goodTillDate": state.good_till,
        "time": state.created,
        "updateTime": state.updated,
    }


def order_result(state: OrderState) -> Json:
    """The same as answered to who placed, amended or cancelled it."""
    told = order(state)
    del told["time"]
    told["cumQty"] = told["executedQty"]
    return told


def amended(state: OrderState) -> Json:
    """The same as answered to who amended it."""
    return {**order_result(state), "pair": state.symbol}


def algo(state: AlgoState) -> Json:
    """A conditional order as a query answers it."""
    triggered = state.actual_order_id is not None
    told = {
        **_algo_core(state),
        "actualOrderId": str(state.actual_order_id) if triggered else "",
        "actualPrice": text(state.actual_price),
        "tpTriggerPrice": "0.000",
        "tpPrice": "0.000",
        "slTriggerPrice": "0.000",
        "slPrice": "0.000",
        "tpOrderType": "",
    }
    if triggered:
        told["actualType"] = "LIMIT" if state.type in {AlgoType.STOP, AlgoType.TAKE_PROFIT} else "MARKET"
        told["actualQty"] = text(state.actual_qty)
    if state.reason:
        told["failReason"] = state.reason
    return told


def algo_result(state: AlgoState) -> Json:
    """The same as answered to who placed it."""
    trailing = state.type is AlgoType.TRAILING_STOP_MARKET
    return {
        **_algo_core(state),
        "activatePrice": text(state.activate_price) if trailing else "",
        "callbackRate": text(state.callback_rate) if trailing else "",
    }


def algo_cancelled(state: AlgoState) -> Json:
    """The same as answered to who cancelled it: no word of its status, as at the venue."""
    return {"algoId": state.algo_id, "clientAlgoId": state.client_id, "code": "200", "msg": "success"}


def _algo_core(state: AlgoState) -> Json:
    return {
        "algoId": state.algo_id,
        "clientAlgoId": state.client_id,
        "algoType": "CONDITIONAL",
        "orderType": state.type.value,
        "symbol": state.symbol,
        "side": state.side.value,
        "positionSide": ONE_WAY,
        "timeInForce": state.time_in_force.value,
        "quantity": text(state.qty),
        "algoStatus": state.status.value,
        "triggerPrice": text(state.trigger_price),
        "price": text(state.price),
        "icebergQuantity": None,
        "selfTradePreventionMode": STP,
        "workingType": state.working_type.value,
        "priceMatch": "NONE",
        "closePosition": state.close_position,
        "priceProtect": state.price_protect,
        "reduceOnly": state.reduce_only,
        "createTime": state.created,
        "updateTime": state.updated,
        "triggerTime": state.triggered,
        "goodTillDate": state.good_till,
    }


def fill(trade: TradeState) -> Json:
    """One of the account's own trades."""
    return {
        "symbol": trade.symbol,
        "id": trade.trade_id,
        "orderId": trade.order_id,
        "side": trade.side.value,
        "price": text(trade.price),
        "qty": text(trade.qty),
        "realizedPnl": money(trade.realised),
        "quoteQty": text(trade.quote_qty),
        "commission": money(trade.fee),
        "commissionAsset": trade.fee_asset,
        "time": trade.ts,
        "positionSide": ONE_WAY,
        "buyer": trade.side is OrderSide.BUY,
        "maker": trade.maker,
    }
