"""What the venue says to orders that make no sense, before the engine sees them (exchange.md 1.3, 1.4)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.core.sim.server.kit import BTC, World

LIMIT = {"symbol": BTC, "side": "BUY", "type": "LIMIT", "quantity": "0.01", "price": "49000", "timeInForce": "GTC"}
MARKET = {"symbol": BTC, "side": "BUY", "type": "MARKET", "quantity": "0.01"}
STOP = {
    "algoType": "CONDITIONAL", "symbol": BTC, "side": "SELL", "type": "STOP_MARKET", "triggerPrice": "49500", "quantity": "0.01",
}  # fmt: skip
TRAIL = {"algoType": "CONDITIONAL", "symbol": BTC, "side": "SELL", "type": "TRAILING_STOP_MARKET", "quantity": "0.01"}


@pytest.mark.parametrize(
    ("order", "code"),
    [
        ({**LIMIT, "symbol": None}, -1102),
        ({**LIMIT, "symbol": "DOGEBTC"}, -1121),
        ({**LIMIT, "side": "UP"}, -1117),
        ({**LIMIT, "type": None}, -1102),
        ({**LIMIT, "type": "ICEBERG"}, -1116),
        ({**LIMIT, "type": "LIQUIDATION"}, -1116),
        ({**LIMIT, "type": "STOP_MARKET"}, -4120),
        ({**LIMIT, "quantity": None}, -1102),
        ({**LIMIT, "quantity": "1e3"}, -1100),
        ({**LIMIT, "price": None}, -1102),
        ({**LIMIT, "timeInForce": None}, -1102),
        ({**LIMIT, "timeInForce": "DAY"}, -1115),
        ({**LIMIT, "timeInForce": "GTD"}, -1102),
        ({**LIMIT, "stopPrice": "1"}, -1106),
        ({**LIMIT, "closePosition": "true"}, -1106),
        ({**LIMIT, "priceMatch": "OPPONENT"}, -1130),
        ({**LIMIT, "reduceOnly": "perhaps"}, -1100),
        ({**LIMIT, "newClientOrderId": "no spaces"}, -4015),
        ({**LIMIT, "newClientOrderId": "x" * 37}, -4015),
        ({**LIMIT, "positionSide": "LONG"}, -4061),
        ({**LIMIT, "quantity": "0.0015"}, -1111),
        ({**MARKET, "price": "49000"}, -1106),
        ({**MARKET, "timeInForce": "GTC"}, -1106),
    ],
)
async def test_an_order_that_makes_no_sense_is_refused(order: dict[str, Any], code: int, plain: World) -> None:
    assert (await plain.ask("POST", "/fapi/v1/order", **order)).code == code
    assert plain.exchange.all_orders(BTC) == ()


async def test_a_harmless_parameter_harms_nothing(plain: World) -> None:
    order = {**LIMIT, "closePosition": "false", "priceMatch": "NONE", "positionSide": "BOTH", "reduceOnly": "false"}
    assert (await plain.ask("POST", "/fapi/v1/order", **order)).status == 200


async def test_the_short_answer_tells_only_that_the_order_was_accepted(plain: World) -> None:
    short = (await plain.ask("POST", "/fapi/v1/order", **MARKET)).told
    full = (await plain.ask("POST", "/fapi/v1/order", **MARKET, newOrderRespType="RESULT")).told
    assert (short["status"], short["executedQty"]) == ("NEW", "0")
    assert (full["status"], full["executedQty"]) == ("FILLED", "0.01")


async def test_in_hedge_mode_every_order_is_of_the_wrong_side(plain: World) -> None:
    """exchange.md 1.4: -4061 halts, it is the wrong mode."""
    await plain.ask("POST", "/fapi/v1/positionSide/dual", dualSidePosition="true")
    assert (await plain.ask("POST", "/fapi/v1/order", **LIMIT)).code == -4061
    assert (await plain.ask("POST", "/fapi/v1/order", **LIMIT, positionSide="LONG")).code == -4061
    assert (await plain.ask("POST", "/fapi/v1/positionSide/dual", dualSidePosition="true")).code == -4059
    assert (await plain.ask("POST", "/fapi/v1/positionSide/dual", dualSidePosition="maybe")).code == -1100


@pytest.mark.parametrize(
    ("order", "code"),
    [
        ({**STOP, "algoType": "TWAP"}, -1130),
        ({**STOP, "type": "LIMIT"}, -1116),
        ({**STOP, "triggerPrice": None}, -1102),
        ({**STOP, "quantity": None}, -1102),
        ({**STOP, "type": "STOP"}, -1102),
        ({**STOP, "workingType": "MOON_PRICE"}, -4019),
        ({**STOP, "closePosition": "true"}, -4137),
        ({**STOP, "closePosition": "true", "quantity": None, "reduceOnly": "true"}, -1106),
        ({**STOP, "timeInForce": "GTD"}, -1102),
        ({**STOP, "positionSide": "SHORT"}, -4061),
        ({**STOP, "triggerPrice": "51000"}, -2021),
        ({**TRAIL, "callbackRate": "1", "triggerPrice": "49000"}, -2021),
        (TRAIL, -1102),
    ],
)
async def test_a_conditional_order_that_makes_no_sense_is_refused(order: dict[str, Any], code: int, plain: World) -> None:
    await plain.ask("POST", "/fapi/v1/order", **MARKET)
    assert (await plain.ask("POST", "/fapi/v1/algoOrder", **order)).code == code
    assert plain.exchange.open_algos() == ()


async def test_a_second_stop_that_closes_the_position_is_refused(plain: World) -> None:
    await plain.ask("POST", "/fapi/v1/order", **MARKET)
    closing = {**STOP, "quantity": None, "closePosition": "true"}
    assert (await plain.ask("POST", "/fapi/v1/algoOrder", **closing)).status == 200
    assert (await plain.ask("POST", "/fapi/v1/algoOrder", **closing)).code == -4130


async def test_a_conditional_order_may_be_good_till_a_date(plain: World) -> None:
    await plain.ask("POST", "/fapi/v1/order", **MARKET)
    till = (plain.now() // 1000 + 700) * 1000
    order = {**STOP, "type": "STOP", "price": "49400", "timeInForce": "GTD", "goodTillDate": till}
    assert (await plain.ask("POST", "/fapi/v1/algoOrder", **order)).told["goodTillDate"] == till


async def test_a_look_up_needs_an_id(plain: World) -> None:
    for method, path in (("GET", "order"), ("DELETE", "order"), ("GET", "algoOrder"), ("DELETE", "algoOrder")):
        assert (await plain.ask(method, f"/fapi/v1/{path}", symbol=BTC)).code == -1102
    assert (await plain.ask("GET", "/fapi/v1/order", symbol=BTC, orderId="one")).code == -1100


async def test_a_stop_is_no_plain_order(plain: World) -> None:
    """exchange.md 1.3: another book, other ids."""
    await plain.ask("POST", "/fapi/v1/order", **MARKET)
    stop = (await plain.ask("POST", "/fapi/v1/algoOrder", **STOP)).told
    assert (await plain.ask("DELETE", "/fapi/v1/order", symbol=BTC, orderId=stop["algoId"])).code == -2011
    assert (await plain.ask("GET", "/fapi/v1/openAlgoOrders", algoId=stop["algoId"])).told[0]["algoId"] == stop["algoId"]
    assert (await plain.ask("GET", "/fapi/v1/openAlgoOrders", algoId=1)).told == []


@pytest.mark.parametrize("legs", ["no list", "{}", "[1]", "[]", json.dumps([LIMIT] * 6)])
async def test_a_batch_is_a_list_of_one_to_five(legs: str, plain: World) -> None:
    reply = await plain.ask("POST", "/fapi/v1/batchOrders", batchOrders=legs)
    assert reply.code in {-1100, -4082}
    assert plain.exchange.open_orders() == ()


async def test_answers_of_a_batch_come_in_the_order_of_the_request(plain: World) -> None:
    """The legs meet the engine in any order, and each is counted as an order."""
    legs = [{**LIMIT, "newClientOrderId": f"b-{number}"} for number in range(4)]
    reply = await plain.ask("POST", "/fapi/v1/batchOrders", batchOrders=json.dumps([*legs, {**LIMIT, "price": "1"}]))
    assert [leg.get("clientOrderId") for leg in reply.told] == ["b-0", "b-1", "b-2", "b-3", None]
    assert reply.told[4]["code"] < 0
    assert reply.headers["X-MBX-ORDER-COUNT-1M"] == "5"
    ids = [leg["orderId"] for leg in reply.told[:4]]
    assert sorted(ids) == list(range(min(ids), min(ids) + 4))


async def test_a_batch_of_cancellations_is_of_one_to_ten(plain: World) -> None:
    path = "/fapi/v1/batchOrders"
    assert (await plain.ask("DELETE", path, symbol=BTC)).code == -1102
    assert (await plain.ask("DELETE", path, symbol=BTC, orderIdList="none")).code == -1100
    assert (await plain.ask("DELETE", path, symbol=BTC, orderIdList=str(list(range(11))))).code == -4083
    assert (await plain.ask("DELETE", path, symbol=BTC, orderIdList="[7]")).told == [
        {"code": -2011, "msg": "Unknown order sent."}
    ]
