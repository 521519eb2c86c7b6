"""Calls that tell of the account and set it up."""

from __future__ import annotations

from functools import partial

from core.sim.local.values import MarginType, VenueError
from core.sim.server import shape_account as shape
from core.sim.server import shape_orders
from core.sim.server.desk import Desk
from core.sim.server.params import Params, illegal, unwanted
from core.sim.server.windows import INCOME_KEPT, TRADES_KEPT, WEEK, of_a_week
from core.sim.server.wire import Json, text

SUCCESS: Json = {"code": 200, "msg": "success"}


def account_v2(desk: Desk, _params: Params) -> Json:
    """Account and positions, all symbols."""
    return shape.account_v2(desk.exchange.account(), desk.exchange.positions())


def account_v3(desk: Desk, _params: Params) -> Json:
    """Account and open positions."""
    return shape.account_v3(desk.exchange.account(), desk.exchange.positions())


def account_config(desk: Desk, _params: Params) -> Json:
    """What the account is allowed."""
    return shape.account_config(desk.exchange.account())


def balance(desk: Desk, _params: Params) -> list[Json]:
    """The wallet."""
    return shape.balance(desk.exchange.account())


def risk_v2(desk: Desk, params: Params) -> list[Json]:
    """Positions, flat ones too."""
    named = desk.maybe_listing(params)
    found = desk.exchange.positions(named.symbol if named else None)
    return [shape.risk_v2(position, desk.exchange.symbol_config(position.symbol)) for position in found]


def risk_v3(desk: Desk, params: Params) -> list[Json]:
    """Positions of symbols where there is one, or an open order."""
    named = desk.maybe_listing(params)
    busy = {order.symbol for order in desk.exchange.open_orders()}
    found = desk.exchange.positions(named.symbol if named else None)
    quotes = desk.exchange.listings
    return [shape.risk_v3(one, quotes[one.symbol].quote) for one in found if shape.is_open(one) or one.symbol in busy]


def symbol_config(desk: Desk, params: Params) -> list[Json]:
    """Leverage and margin type."""
    return [shape.symbol_config(desk.exchange.symbol_config(listing.symbol)) for listing in desk.listings(params)]


def brackets(desk: Desk, params: Params) -> list[Json]:
    """Leverage brackets."""
    return [shape.brackets(listing) for listing in desk.listings(params)]


def commission(desk: Desk, params: Params) -> Json:
    """Fees of a symbol."""
    return shape.commission(desk.listing(params))


def user_trades(desk: Desk, params: Params) -> list[Json]:
    """The account's fills in a symbol: from a number on, or of a week."""
    listing, limit, order_id = desk.listing(params), params.limit(500, 1000), params.maybe_integer("orderId")
    start, end, first = params.maybe_integer("startTime"), params.maybe_integer("endTime"), params.maybe_integer("fromId")
    now = desk.pace.clock.now_ms()
    oldest, tell = now - TRADES_KEPT, partial(desk.exchange.trades, listing.symbol)
    if order_id is not None:
        found = tell(start=max(start or 0, oldest), end=end, from_id=first or 0, limit=1_000_000)
        return [shape_orders.fill(trade) for trade in found if trade.order_id == order_id][-limit:]
    if first is None:
        found = of_a_week(lambda since, until: tell(start=since, end=until, limit=limit), lambda row: row.ts, now, start, end)
        return [shape_orders.fill(trade) for trade in found if trade.ts >= oldest]
    if start is not None or end is not None:
        raise unwanted("fromId")
    return [shape_orders.fill(trade) for trade in tell(start=oldest, from_id=first, limit=limit)]


def income(desk: Desk, params: Params) -> list[Json]:
    """Changes of the wallet: since a time, else the latest; of a week where no time is named."""
    named, start, end = desk.maybe_listing(params), params.maybe_integer("startTime"), params.maybe_integer("endTime")
    now = desk.pace.clock.now_ms()
    oldest = now - (WEEK if start is None and end is None else INCOME_KEPT)
    found = desk.exchange.income(
        named.symbol if named else None,
        kind=params.maybe("incomeType"),
        start=None if start is None else max(start, oldest),
        end=end,
        limit=params.limit(100, 1000),
    )
    return [shape.income(change) for change in found if change.ts >= oldest]


def order_limits(desk: Desk, _params: Params) -> list[Json]:
    """How many orders may be placed."""
    limits = desk.options.limits
    return [
        {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": limits.orders_per_10s},
        {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": limits.orders_per_minute},
    ]


def set_leverage(desk: Desk, params: Params) -> Json:
    """Change the leverage of a symbol."""
    listing = desk.listing(params)
    config = desk.exchange.set_leverage(listing.symbol, params.whole("leverage"))
    return {"symbol": listing.symbol, "leverage": config.leverage, "maxNotionalValue": text(config.max_notional)}


def set_margin_type(desk: Desk, params: Params) -> Json:
    """Change how a symbol is margined."""
    listing, wanted = desk.listing(params), params.text("marginType")
    if wanted not in set(MarginType):
        raise VenueError(-1130, "Data sent for parameter 'marginType' is not valid.")
    desk.exchange.set_margin_type(listing.symbol, MarginType(wanted))
    return SUCCESS


def position_mode(desk: Desk, _params: Params) -> Json:
    """Whether the account is in hedge mode."""
    return {"dualSidePosition": desk.exchange.dual_side}


def set_position_mode(desk: Desk, params: Params) -> Json:
    """Switch between one-way and hedge mode."""
    wanted = params.text("dualSidePosition").lower()
    if wanted not in {"true", "false"}:
        raise illegal("dualSidePosition")
    desk.exchange.set_dual_side(dual_side=wanted == "true")
    return SUCCESS


def multi_assets(desk: Desk, _params: Params) -> Json:
    """Whether several assets margin positions together."""
    return {"multiAssetsMargin": desk.options.multi_assets}


def restrictions(desk: Desk, _params: Params) -> Json:
    """What the key may do."""
    return shape.restrictions(desk.options.scope)


def create_listen_key(desk: Desk, _params: Params) -> Json:
    """A key for the user stream, or the same again, kept alive."""
    return {"listenKey": desk.keys.create(desk.pace.clock.now_ms())}


def keep_listen_key(desk: Desk, _params: Params) -> Json:
    """Keep the key alive."""
    return {"listenKey": desk.keys.keep(desk.pace.clock.now_ms())}


def drop_listen_key(desk: Desk, _params: Params) -> Json:
    """The key is needed no more."""
    desk.keys.drop()
    return {}
