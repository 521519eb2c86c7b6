"""Smoke test on Binance's *demo* exchange, for the owner to run: `python -m scripts.smoke_demo`.

NOT RUN HERE: nothing of this project's own tests or CI reaches a real network, so this script was only read and checked for its
refusals. It is the first thing to run with keys of the demo exchange (https://demo.binance.com, API management), before anything
else talks to a venue. It never trades real money: every address is checked for the demo host before the first request.

It places the smallest orders that are legal, one step after the other: a resting limit order and its cancel; a market entry; a
stop beside it and its cancel; a reduce-only exit. At the end, however it ends, orders are cancelled, the position is closed, and
it says whether all is clean. Exit codes: 0 clean, 1 not clean (look at the demo account), 2 keys are missing, 3 refused.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from decimal import ROUND_CEILING, Decimal
from typing import Any

from configs.environment import load_environment
from core.errors import BrainError
from core.venues.client import make_client
from core.venues.keys import Keys

DEMO_HOST = "https://demo-fapi.binance.com/"
SYMBOL = "BTC/USDT:USDT"
AWAY = Decimal("0.03")
"""How far from the market the resting order and the stop stand, as a share of the price."""
_TRIGGER = {"trigger": True}


class Refused(Exception):
    """Something was not as it must be before an order may be sent."""


async def smoke(client: Any, symbol: str) -> bool:
    """All steps; whether the account is clean afterwards. ``client`` stands on the demo exchange."""
    await client.load_markets()
    await _must_be_clean(client, symbol)
    qty, price = await _smallest(client, symbol)
    say(f"smallest legal order: {qty} {symbol} at about {price}")
    try:
        await _rest_and_cancel(client, symbol, qty, price)
        await _enter_protect_leave(client, symbol, qty, price)
    finally:
        await _clean_up(client, symbol)
    return not await _left(client, symbol)


async def _rest_and_cancel(client: Any, symbol: str, qty: Decimal, price: Decimal) -> None:
    limit = client.price_to_precision(symbol, float(price * (1 - AWAY)))
    least = _up(Decimal(str(client.market(symbol)["limits"]["cost"]["min"] or 0)) / Decimal(limit), _step(client, symbol))
    order = await client.create_order(symbol, "limit", "buy", float(max(qty, least)), float(limit), {"postOnly": True})
    say(f"rests: {order['id']} at {limit}")
    await client.cancel_order(order["id"], symbol)
    say("cancelled")


async def _enter_protect_leave(client: Any, symbol: str, qty: Decimal, price: Decimal) -> None:
    order = await client.create_order(symbol, "market", "buy", float(qty))
    say(f"entered: {order['id']}; position {await _position(client, symbol)}")
    level = float(client.price_to_precision(symbol, float(price * (1 - AWAY))))
    stop = await client.create_order(symbol, "market", "sell", float(qty), None, {"stopLossPrice": level, "reduceOnly": True})
    say(f"stop stands: {stop['id']} at {level}; open stops: {len(await client.fetch_open_orders(symbol, params=_TRIGGER))}")
    await client.cancel_order(stop["id"], symbol, _TRIGGER)
    say("stop cancelled")


async def _clean_up(client: Any, symbol: str) -> None:
    """Each step on its own: one that fails must not keep the next from being tried."""
    for name, step in (
        ("orders", lambda: client.cancel_all_orders(symbol)),
        ("stops", lambda: client.cancel_all_orders(symbol, _TRIGGER)),
        ("position", lambda: _close(client, symbol)),
    ):
        try:
            await step()
        except Exception as error:  # noqa: BLE001 - whatever it is, the next step comes
            say(f"cleaning up {name}: {type(error).__name__}")


async def _close(client: Any, symbol: str) -> None:
    held = await _position(client, symbol)
    if held:
        side = "sell" if held > 0 else "buy"
        await client.create_order(symbol, "market", side, float(abs(held)), None, {"reduceOnly": True})
        say(f"closed {held}")


async def _must_be_clean(client: Any, symbol: str) -> None:
    left = await _left(client, symbol)
    if left:
        raise Refused(f"the demo account is not clean on {symbol}: {', '.join(left)}; clean it by hand first")


async def _left(client: Any, symbol: str) -> list[str]:
    orders = await client.fetch_open_orders(symbol)
    stops = await client.fetch_open_orders(symbol, params=_TRIGGER)
    held = await _position(client, symbol)
    found = (("open orders", len(orders)), ("open stops", len(stops)), ("position", held))
    return [f"{name} {count}" for name, count in found if count]


async def _position(client: Any, symbol: str) -> Decimal:
    rows = await client.fetch_positions([symbol])
    return sum((Decimal(row["info"]["positionAmt"]) for row in rows), Decimal(0))


async def _smallest(client: Any, symbol: str) -> tuple[Decimal, Decimal]:
    market, ticker = client.market(symbol), await client.fetch_ticker(symbol)
    price = Decimal(str(ticker["last"]))
    least = Decimal(str(market["limits"]["amount"]["min"]))
    worth = Decimal(str(market["limits"]["cost"]["min"] or 0))
    return max(least, _up(worth / price, _step(client, symbol))), price


def _step(client: Any, symbol: str) -> Decimal:
    return Decimal(str(client.market(symbol)["precision"]["amount"]))


def _up(qty: Decimal, step: Decimal) -> Decimal:
    return (qty / step).to_integral_value(rounding=ROUND_CEILING) * step


def demo_client(keys: Keys) -> Any:
    """A client on the demo exchange.

    Raises:
        Refused: an address of it is not the demo's.
    """
    client = make_client("binanceusdm", keys)
    client.enable_demo_trading(True)
    must_be_demo(client)
    return client


def must_be_demo(client: Any) -> None:
    """Refuse a client one of whose futures addresses leads to where real money is.

    Raises:
        Refused: one does.
    """
    addresses = {name: url for name, url in client.urls["api"].items() if name.startswith("fapi")}
    real = [name for name, url in addresses.items() if not str(url).startswith(DEMO_HOST)]
    if real or not addresses:
        raise Refused(f"not on the demo exchange: {', '.join(real) or 'no address'}")


async def _run(keys: Keys, symbol: str) -> bool:
    client = demo_client(keys)
    try:
        return await smoke(client, symbol)
    finally:
        await client.close()


def say(text: str) -> None:
    """A line of what happens."""
    sys.stdout.write(f"{text}\n")


def main(arguments: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> int:
    """Run the steps and give the exit code. Keys come from the environment only: API_KEY and API_SECRET of the demo exchange."""
    parser = argparse.ArgumentParser(description="Smoke test on the demo exchange; no real money.")
    parser.add_argument("--symbol", default=SYMBOL)
    asked = parser.parse_args(arguments)
    try:
        keys = Keys.of(load_environment(None, os.environ if environ is None else environ))
    except BrainError as error:
        way_out = f"   = help: {error.help}\n" if error.help else ""
        sys.stderr.write(f"error[{error.code}]: {error.what}\n   = effect: nothing was sent\n{way_out}")
        return 2
    try:
        clean = asyncio.run(_run(keys, asked.symbol))
    except Refused as refused:
        sys.stderr.write(f"error: {refused}\n   = effect: no order was sent\n")
        return 3
    except Exception as error:  # noqa: BLE001 - its words may hold what was sent, and with it a signature
        sys.stderr.write(f"error: {type(error).__name__}; look at the demo account\n")
        return 1
    say("all clean" if clean else "NOT CLEAN: look at the demo account")
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
