"""The table of calls: paths, permissions, weights. Weights are the venue's own, as its client libraries count them too."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from core.sim.server import calls_account as account
from core.sim.server import calls_algos as algos
from core.sim.server import calls_market as market
from core.sim.server import calls_orders as orders
from core.sim.server import calls_spot as spot
from core.sim.server.desk import Route, Security
from core.sim.server.params import Params

SPOT = "/api/v3/"
"""Where calls of the spot host begin."""

_Weight = Callable[[Params], int]


def _flat(weight: int) -> _Weight:
    return lambda _: weight


def _by_limit(default: int, *steps: tuple[int, int]) -> _Weight:
    """Weight of the first step whose number of rows is enough."""

    def weight(params: Params) -> int:
        asked = params.maybe("limit") or ""
        rows = int(asked) if asked.isascii() and asked.isdigit() else default
        return next((cost for most, cost in steps if rows <= most), steps[-1][1])

    return weight


def _by_symbol(one: int, every: int) -> _Weight:
    return lambda params: one if "symbol" in params else every


_KLINES = _by_limit(500, (99, 1), (499, 2), (1000, 5), (1500, 10))
_DEPTH = _by_limit(500, (50, 2), (100, 5), (500, 10), (1000, 20))
_NONE, _KEY, _SIGNED, _TRADE = Security.NONE, Security.KEY, Security.SIGNED, Security.TRADE

ROUTES: Mapping[tuple[str, str], Route] = {
    ("GET", "/fapi/v1/ping"): Route(market.ping),
    ("GET", "/fapi/v1/time"): Route(market.server_time),
    ("GET", "/fapi/v1/exchangeInfo"): Route(market.exchange_info),
    ("GET", "/fapi/v1/depth"): Route(market.depth, weight=_DEPTH),
    ("GET", "/fapi/v1/trades"): Route(market.trades, weight=_flat(5)),
    ("GET", "/fapi/v1/aggTrades"): Route(market.agg_trades, weight=_flat(20)),
    ("GET", "/fapi/v1/klines"): Route(market.klines, weight=_KLINES),
    ("GET", "/fapi/v1/markPriceKlines"): Route(market.mark_klines, weight=_KLINES),
    ("GET", "/fapi/v1/indexPriceKlines"): Route(market.index_klines, weight=_KLINES),
    ("GET", "/fapi/v1/premiumIndexKlines"): Route(market.premium_klines, weight=_KLINES),
    ("GET", "/fapi/v1/premiumIndex"): Route(market.premium_index, weight=_by_symbol(1, 10)),
    ("GET", "/fapi/v1/fundingRate"): Route(market.funding_rates),
    ("GET", "/fapi/v1/fundingInfo"): Route(market.funding_info),
    ("GET", "/fapi/v1/ticker/24hr"): Route(market.day_ticker, weight=_by_symbol(1, 40)),
    ("GET", "/fapi/v1/ticker/price"): Route(market.price_ticker, weight=_by_symbol(1, 2)),
    ("GET", "/fapi/v2/ticker/price"): Route(market.price_ticker, weight=_by_symbol(1, 2)),
    ("GET", "/fapi/v1/ticker/bookTicker"): Route(market.book_ticker, weight=_by_symbol(2, 5)),
    ("GET", f"{SPOT}ping"): Route(market.ping),
    ("GET", f"{SPOT}time"): Route(market.server_time),
    ("GET", f"{SPOT}exchangeInfo"): Route(spot.exchange_info, weight=_flat(20)),
    ("GET", f"{SPOT}klines"): Route(spot.klines, weight=_flat(2)),
    ("POST", "/fapi/v1/listenKey"): Route(account.create_listen_key, _KEY),
    ("PUT", "/fapi/v1/listenKey"): Route(account.keep_listen_key, _KEY),
    ("DELETE", "/fapi/v1/listenKey"): Route(account.drop_listen_key, _KEY),
    ("GET", "/fapi/v2/account"): Route(account.account_v2, _SIGNED, _flat(5)),
    ("GET", "/fapi/v3/account"): Route(account.account_v3, _SIGNED, _flat(5)),
    ("GET", "/fapi/v1/accountConfig"): Route(account.account_config, _SIGNED, _flat(5)),
    ("GET", "/fapi/v2/balance"): Route(account.balance, _SIGNED, _flat(5)),
    ("GET", "/fapi/v3/balance"): Route(account.balance, _SIGNED, _flat(5)),
    ("GET", "/fapi/v2/positionRisk"): Route(account.risk_v2, _SIGNED, _flat(5)),
    ("GET", "/fapi/v3/positionRisk"): Route(account.risk_v3, _SIGNED, _flat(5)),
    ("GET", "/fapi/v1/symbolConfig"): Route(account.symbol_config, _SIGNED, _flat(5)),
    ("GET", "/fapi/v1/leverageBracket"): Route(account.brackets, _SIGNED),
    ("GET", "/fapi/v1/commissionRate"): Route(account.commission, _SIGNED, _flat(20)),
    ("GET", "/fapi/v1/userTrades"): Route(account.user_trades, _SIGNED, _flat(5)),
    ("GET", "/fapi/v1/income"): Route(account.income, _SIGNED, _flat(30)),
    ("GET", "/fapi/v1/rateLimit/order"): Route(account.order_limits, _SIGNED),
    ("GET", "/fapi/v1/multiAssetsMargin"): Route(account.multi_assets, _SIGNED, _flat(30)),
    ("GET", "/fapi/v1/positionSide/dual"): Route(account.position_mode, _SIGNED, _flat(30)),
    ("POST", "/fapi/v1/positionSide/dual"): Route(account.set_position_mode, _TRADE),
    ("POST", "/fapi/v1/leverage"): Route(account.set_leverage, _TRADE),
    ("POST", "/fapi/v1/marginType"): Route(account.set_margin_type, _TRADE),
    ("GET", "/sapi/v1/account/apiRestrictions"): Route(account.restrictions, _SIGNED),
    ("POST", "/fapi/v1/order"): Route(orders.place, _TRADE, _flat(0), _flat(1)),
    ("POST", "/fapi/v1/order/test"): Route(orders.test_order, _TRADE),
    ("PUT", "/fapi/v1/order"): Route(orders.amend, _TRADE, _flat(1), _flat(1)),
    ("GET", "/fapi/v1/order"): Route(orders.find, _SIGNED),
    ("DELETE", "/fapi/v1/order"): Route(orders.cancel, _TRADE),
    ("GET", "/fapi/v1/openOrder"): Route(orders.find_open, _SIGNED),
    ("GET", "/fapi/v1/openOrders"): Route(orders.open_orders, _SIGNED, _by_symbol(1, 40)),
    ("GET", "/fapi/v1/allOrders"): Route(orders.all_orders, _SIGNED, _flat(5)),
    ("DELETE", "/fapi/v1/allOpenOrders"): Route(orders.cancel_all, _TRADE),
    ("POST", "/fapi/v1/batchOrders"): Route(orders.place_batch, _TRADE, _flat(5), orders.batch_size),
    ("PUT", "/fapi/v1/batchOrders"): Route(orders.amend_batch, _TRADE, _flat(5), orders.batch_size),
    ("DELETE", "/fapi/v1/batchOrders"): Route(orders.cancel_batch, _TRADE),
    ("GET", "/fapi/v1/orderAmendment"): Route(orders.amendments, _SIGNED),
    ("POST", "/fapi/v1/countdownCancelAll"): Route(orders.countdown, _TRADE, _flat(10)),
    ("POST", "/fapi/v1/algoOrder"): Route(algos.place, _TRADE, _flat(0), _flat(1)),
    ("GET", "/fapi/v1/algoOrder"): Route(algos.find, _SIGNED),
    ("DELETE", "/fapi/v1/algoOrder"): Route(algos.cancel, _TRADE),
    ("DELETE", "/fapi/v1/algoOpenOrders"): Route(algos.cancel_all, _TRADE),
    ("GET", "/fapi/v1/openAlgoOrders"): Route(algos.open_algos, _SIGNED, _by_symbol(1, 40)),
    ("GET", "/fapi/v1/allAlgoOrders"): Route(algos.all_algos, _SIGNED, _flat(5)),
}
