"""Events of the user stream as the venue words them."""

from __future__ import annotations

from core.sim.local.values import (
    AccountEvent,
    AccountWord,
    AlgoEvent,
    AlgoStatus,
    AlgoType,
    ExecutionType,
    MarginCall,
    MarginType,
    OrderEvent,
    OrderState,
    PositionState,
    TradeState,
)
from core.sim.server.shape_orders import ONE_WAY, STP
from core.sim.server.wire import Json, money, price, text


def events_of(word: AccountWord, now: int) -> tuple[Json, ...]:
    """What is sent for one word of the exchange; ``now`` is the time of sending (``E``)."""
    match word:
        case OrderEvent():
            told = _order_update(word, now)
            if word.execution is ExecutionType.TRADE and word.trade:
                return _trade_lite(word.order, word.trade, now), told
            return (told,)
        case AlgoEvent():
            return (_algo_update(word, now),)
        case AccountEvent():
            return (_account_update(word, now),)
        case MarginCall():
            return (_margin_call(word, now),)
        case _:
            return ({"e": "ACCOUNT_CONFIG_UPDATE", "E": now, "T": word.ts, "ac": {"s": word.symbol, "l": word.leverage}},)


def key_expired(listen_key: str, now: int) -> Json:
    """The listen key is no longer valid."""
    return {"e": "listenKeyExpired", "E": now, "listenKey": listen_key}


def _order_update(word: OrderEvent, now: int) -> Json:
    order, trade = word.order, word.trade
    origin = order.origin or order.type.value
    told: Json = {
        "s": order.symbol,
        "c": order.client_id,
        "S": order.side.value,
        "o": order.type.value,
        "f": order.time_in_force.value,
        "q": text(order.qty),
        "p": text(order.price),
        "ap": price(order.average),
        "sp": "0",
        "x": word.execution.value,
        "X": order.status.value,
        "i": order.order_id,
        "l": text(trade.qty) if trade else "0",
        "z": text(order.filled),
        "L": text(trade.price) if trade else "0",
        "T": word.ts,
        "t": trade.trade_id if trade else 0,
        "b": "0",
        "a": "0",
        "m": trade.maker if trade else False,
        "R": order.reduce_only,
        "wt": "CONTRACT_PRICE",
        "ot": origin,
        "ps": ONE_WAY,
        "cp": order.close_position,
        "pP": False,
        "si": 0,
        "ss": 0,
        "rp": money(trade.realised) if trade else "0",
        "V": STP,
        "pm": "NONE",
        "gtd": order.good_till,
    }
    if trade:
        told |= {"N": trade.fee_asset, "n": money(trade.fee)}
    return {"e": "ORDER_TRADE_UPDATE", "T": word.ts, "E": now, "o": told}


def _trade_lite(order: OrderState, trade: TradeState, now: int) -> Json:
    return {
        "e": "TRADE_LITE",
        "E": now,
        "T": trade.ts,
        "s": order.symbol,
        "q": text(order.qty),
        "p": text(order.price),
        "m": trade.maker,
        "c": order.client_id,
        "S": order.side.value,
        "L": text(trade.price),
        "l": text(trade.qty),
        "t": trade.trade_id,
        "i": order.order_id,
    }


def _algo_update(word: AlgoEvent, now: int) -> Json:
    algo = word.algo
    told: Json = {
        "caid": algo.client_id,
        "aid": algo.algo_id,
        "at": "CONDITIONAL",
        "o": algo.type.value,
        "s": algo.symbol,
        "S": algo.side.value,
        "ps": ONE_WAY,
        "f": algo.time_in_force.value,
        "q": text(algo.qty),
        "X": algo.status.value,
        "ai": "" if algo.actual_order_id is None else str(algo.actual_order_id),
        "tp": text(algo.trigger_price),
        "p": text(algo.price),
        "V": STP,
        "wt": algo.working_type.value,
        "pm": "NONE",
        "cp": algo.close_position,
        "pP": algo.price_protect,
        "R": algo.reduce_only,
        "tt": algo.triggered,
        "gtd": algo.good_till,
    }
    if algo.status is not AlgoStatus.TRIGGERING:
        told |= _reached_book(word)
    if algo.reason:
        told["rm"] = algo.reason
    return {"e": "ALGO_UPDATE", "T": word.ts, "E": now, "o": told}


def _reached_book(word: AlgoEvent) -> Json:
    """What became of the conditional order in the matching engine."""
    algo = word.algo
    if algo.actual_order_id is None:
        return {"ap": "0.00000", "aq": "0.00000", "act": "0"}
    done = bool(algo.actual_price)
    return {
        "ap": text(algo.actual_price),
        "aq": text(algo.actual_qty) if done else "0",
        "act": "LIMIT" if algo.type in {AlgoType.STOP, AlgoType.TAKE_PROFIT} else "MARKET",
    }


def _account_update(word: AccountEvent, now: int) -> Json:
    account = word.account
    wallet = {
        "a": account.asset,
        "wb": money(account.wallet),
        "cw": money(account.cross_wallet),
        "bc": money(word.change),
    }
    held = [_position(position) for position in word.positions]
    return {"e": "ACCOUNT_UPDATE", "T": word.ts, "E": now, "a": {"m": word.reason.value, "B": [wallet], "P": held}}


def _position(position: PositionState) -> Json:
    return {
        "s": position.symbol,
        "pa": text(position.qty),
        "ep": price(position.entry_price),
        "bep": price(position.break_even_price),
        "cr": money(position.realised),
        "up": money(position.unrealised),
        "mt": "isolated" if position.margin_type is MarginType.ISOLATED else "cross",
        "iw": money(position.isolated_wallet),
        "ps": ONE_WAY,
    }


def _margin_call(word: MarginCall, now: int) -> Json:
    return {"e": "MARGIN_CALL", "E": now, "cw": money(word.account.cross_wallet), "p": [_called(p) for p in word.positions]}


def _called(position: PositionState) -> Json:
    return {
        "s": position.symbol,
        "ps": ONE_WAY,
        "pa": text(position.qty),
        "mt": position.margin_type.value,
        "iw": money(position.isolated_wallet),
        "mp": text(position.mark_price),
        "up": money(position.unrealised),
        "mm": money(position.maintenance_margin),
    }
