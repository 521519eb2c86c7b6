"""What the venue refuses at the door: form of the request and the symbol's filters, with the venue's codes."""

from __future__ import annotations

import re
from decimal import Decimal

from core.sim.local.values import Listing, NewOrder, OrderSide, OrderType, TimeInForce, VenueError

_CLIENT_ID = re.compile(r"[.A-Z:/a-z0-9_-]+")
_LONGEST_ID = 36
_SHORTEST_GTD_MS = 600_000


def check_client_id(client_id: str) -> None:
    """Form of an id; empty ones are made up by the venue.

    Raises:
        VenueError: -4015.
    """
    if len(client_id) > _LONGEST_ID:
        raise VenueError(-4015, f"Client order id length should not be more than {_LONGEST_ID} chars")
    if client_id and not _CLIENT_ID.fullmatch(client_id):
        raise VenueError(-4015, "Client order id is not valid.")


def check_price(listing: Listing, price: Decimal | None, name: str = "price") -> Decimal:
    """PRICE_FILTER.

    Raises:
        VenueError: -1102 missing, -4001, -4002, -4013 out of range, -1111 too many places, -4014 off the tick.
    """
    if price is None:
        raise VenueError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
    if price <= 0:
        raise VenueError(-4001, "Price less than 0.")
    if price > listing.max_price:
        raise VenueError(-4002, "Price greater than max price.")
    if price < listing.min_price:
        raise VenueError(-4013, "Price less than min price.")
    check_precision(price, listing.tick)
    if price % listing.tick:
        raise VenueError(-4014, "Price not increased by tick size.")
    return price


def check_qty(listing: Listing, qty: Decimal | None, *, market: bool) -> Decimal:
    """LOT_SIZE or MARKET_LOT_SIZE.

    Raises:
        VenueError: -1102 missing, -4003, -4004, -4005 out of range, -1111 too many places, -4023 off the step.
    """
    step, least, most = (
        (listing.market_step, listing.market_min_qty, listing.market_max_qty)
        if market
        else (listing.step, listing.min_qty, listing.max_qty)
    )
    if qty is None:
        raise VenueError(-1102, "Mandatory parameter 'quantity' was not sent, was empty/null, or malformed.")
    if qty <= 0:
        raise VenueError(-4003, "Quantity less than or equal to zero.")
    check_precision(qty, step)
    if qty % step:
        raise VenueError(-4023, "Qty not increased by step size.")
    if qty > most:
        raise VenueError(-4005, "Quantity greater than max quantity.")
    if qty < least:
        raise VenueError(-4004, "Quantity less than min quantity.")
    return qty


def check_precision(value: Decimal, step: Decimal) -> None:
    """Places of ``value`` against those of ``step`` as written.

    Raises:
        VenueError: -1111.
    """
    if _places(value.normalize()) > _places(step):
        raise VenueError(-1111, "Precision is over the maximum defined for this asset.")


def _places(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    return -exponent if isinstance(exponent, int) else 0


def check_notional(listing: Listing, qty: Decimal, price: Decimal) -> None:
    """MIN_NOTIONAL, from which reduce-only orders are free.

    Raises:
        VenueError: -4164.
    """
    if qty * price < listing.min_notional:
        raise VenueError(
            -4164, f"Order's notional must be no smaller than {listing.min_notional} (unless you choose reduce only)."
        )


def check_percent(listing: Listing, side: OrderSide, price: Decimal, mark: Decimal) -> None:
    """PERCENT_PRICE of a limit price: buyers not far above the mark, sellers not far below.

    Raises:
        VenueError: -4016, -4024.
    """
    if side is OrderSide.BUY and price > mark * listing.percent_up:
        raise VenueError(-4016, f"Limit price can't be higher than {mark * listing.percent_up}.")
    if side is OrderSide.SELL and price < mark * listing.percent_down:
        raise VenueError(-4024, f"Limit price can't be lower than {mark * listing.percent_down}.")


def check_good_till(time_in_force: TimeInForce, good_till: int, now: int) -> int:
    """Time (ms, whole seconds) of a GTD order; 0 for all others.

    Raises:
        VenueError: -1102 missing, -5040 too soon.
    """
    if time_in_force is not TimeInForce.GTD:
        return 0
    if not good_till:
        raise VenueError(-1102, "Mandatory parameter 'goodTillDate' was not sent, was empty/null, or malformed.")
    if good_till <= now + _SHORTEST_GTD_MS:
        raise VenueError(
            -5040,
            "The goodTillDate timestamp must be greater than the current time plus 600 seconds and smaller than 253402300799000",
        )
    return good_till // 1000 * 1000


def check_form(listing: Listing, ask: NewOrder) -> None:
    """Price and quantity of a plain order.

    Raises:
        VenueError: see :func:`check_price` and :func:`check_qty`; -1106 for a market order with a price,
            -1116 for a type that only the venue uses.
    """
    if ask.type is OrderType.LIQUIDATION:
        raise VenueError(-1116, "Invalid orderType.")
    market = ask.type is OrderType.MARKET
    if not market:
        check_price(listing, ask.price)
    elif ask.price is not None:
        raise VenueError(-1106, "Parameter 'price' sent when not required.")
    check_qty(listing, ask.qty, market=market)
