"""What became of an order is told by the venue's number, under production's addresses and under plain ones (F2)."""

import aiohttp
import ccxt
import pytest

from core.codes import RefusalCode as R
from core.exec.live.outcome import Advice, Outcome, outcome, said
from core.venues.client import Wiring, make_client

REJECTED, THROTTLED, DUPLICATE, UNKNOWN = Outcome.REJECTED, Outcome.THROTTLED, Outcome.DUPLICATE, Outcome.UNKNOWN
TABLE = [
    # number, HTTP status, outcome, refusal, advice
    (-1000, 400, UNKNOWN, None, Advice.NONE),
    (-1001, 500, UNKNOWN, None, Advice.NONE),
    (-1006, 400, UNKNOWN, None, Advice.NONE),
    (-1007, 503, UNKNOWN, None, Advice.NONE),
    (-1003, 400, THROTTLED, R.VENUE_THROTTLED, Advice.NONE),
    (-1003, 429, THROTTLED, R.VENUE_THROTTLED, Advice.NONE),
    (-1003, 418, THROTTLED, R.VENUE_THROTTLED, Advice.NONE),
    (-1008, 503, THROTTLED, R.VENUE_THROTTLED, Advice.NONE),
    (-1015, 400, THROTTLED, R.VENUE_THROTTLED, Advice.NONE),
    (-1021, 400, REJECTED, R.VENUE_REJECTED, Advice.SET_CLOCK),
    (-5028, 400, REJECTED, R.VENUE_REJECTED, Advice.SET_CLOCK),
    (-1022, 400, REJECTED, R.VENUE_REJECTED, Advice.HALT),
    (-2014, 401, REJECTED, R.VENUE_REJECTED, Advice.HALT),
    (-2015, 401, REJECTED, R.VENUE_REJECTED, Advice.HALT),
    (-1111, 400, REJECTED, R.FILTER_REJECTED, Advice.NONE),
    (-1121, 400, REJECTED, R.FILTER_REJECTED, Advice.NONE),
    (-4003, 400, REJECTED, R.FILTER_REJECTED, Advice.NONE),
    (-4014, 400, REJECTED, R.FILTER_REJECTED, Advice.NONE),
    (-4015, 400, REJECTED, R.FILTER_REJECTED, Advice.NONE),
    (-4023, 400, REJECTED, R.FILTER_REJECTED, Advice.NONE),
    (-4164, 400, REJECTED, R.FILTER_REJECTED, Advice.NONE),
    (-2010, 400, REJECTED, R.VENUE_REJECTED, Advice.NONE),
    (-2011, 400, REJECTED, R.VENUE_REJECTED, Advice.NONE),
    (-2018, 400, REJECTED, R.INSUFFICIENT_MARGIN, Advice.NONE),
    (-2019, 400, REJECTED, R.INSUFFICIENT_MARGIN, Advice.NONE),
    (-2021, 400, REJECTED, R.STOP_WOULD_TRIGGER, Advice.NONE),
    (-2022, 400, REJECTED, R.REDUCE_ONLY_REJECTED, Advice.READ_POSITION),
    (-2027, 400, REJECTED, R.LEVERAGE_CAP, Advice.NONE),
    (-4061, 400, REJECTED, R.VENUE_REJECTED, Advice.HALT),
    (-4116, 400, DUPLICATE, None, Advice.NONE),
    (-4120, 400, REJECTED, R.VENUE_REJECTED, Advice.NONE),
    (-4130, 400, REJECTED, R.VENUE_REJECTED, Advice.NONE),
    (-4131, 400, REJECTED, R.BOOK_THIN, Advice.NONE),
    (-5021, 400, REJECTED, R.ENTRY_NOT_FILLED, Advice.NONE),
    (-5022, 400, REJECTED, R.ENTRY_NOT_FILLED, Advice.NONE),
    (-9999, 400, REJECTED, R.VENUE_REJECTED, Advice.NONE),
]
HOSTS = {"production": "https://fapi.binance.com", "plain": "http://127.0.0.1:8080"}


def raised(client, status, body, host):
    """What the client raises for an answer, as its ``fetch`` does it."""
    url, answer = f"{host}/fapi/v1/order", client.parse_json(body)
    try:
        client.handle_errors(status, "Bad", url, "POST", {}, body, answer, {}, "")
        client.handle_http_status_code(status, "Bad", url, "POST", body)
    except ccxt.BaseError as error:
        return error
    raise AssertionError("nothing was raised")


@pytest.fixture(scope="module")
def ours():
    return make_client("binanceusdm", None, Wiring())


@pytest.fixture(scope="module")
def bare():
    """The library's client as it is: its errors have no number but in their text."""
    return ccxt.binanceusdm()


@pytest.mark.parametrize("host", HOSTS.values(), ids=HOSTS)
@pytest.mark.parametrize(("code", "status", "what", "refusal", "advice"), TABLE, ids=str)
async def test_the_number_decides_under_every_address(ours, bare, host, code, status, what, refusal, advice):
    ours.wiring.budget.close_for(0.0)
    body = f'{{"code":{code},"msg":"words of the venue"}}'
    for client in (ours, bare):
        verdict = outcome(raised(client, status, body, host))
        assert (verdict.outcome, verdict.refusal, verdict.advice) == (what, refusal, advice)
        assert verdict.code == code
        assert verdict.message == f"{code} words of the venue"


@pytest.mark.parametrize(
    "words", ["Order does not exist.", "You are not authorized to execute this request.", "Order would trigger immediately."]
)
async def test_the_number_is_kept_where_the_library_goes_by_the_words(ours, words):
    """ccxt leaves the number out of the error wherever it knows the sentence."""
    verdict = outcome(raised(ours, 400, f'{{"code":-2021,"msg":"{words}"}}', HOSTS["production"]))
    assert (verdict.outcome, verdict.advice) == (REJECTED, Advice.NONE)


@pytest.mark.parametrize("status", [418, 429])
async def test_too_many_requests_need_no_number(ours, bare, status):
    for client in (ours, bare):
        assert outcome(raised(client, status, "<html>busy</html>", HOSTS["production"])).outcome is THROTTLED


@pytest.mark.parametrize(
    "error",
    [
        ccxt.ExchangeNotAvailable(
            'binanceusdm POST x 503 {"msg":"Unknown error, please check your request or try again later."}'
        ),
        ccxt.ExchangeNotAvailable("binanceusdm POST x 502 Bad Gateway <html>"),
        ccxt.RequestTimeout("binanceusdm POST x"),
        ccxt.ExchangeError("binanceusdm POST x"),
        ccxt.InvalidOrder("binanceusdm says nothing that has a number"),
        aiohttp.ClientPayloadError("cut off"),
        AttributeError("'str' object has no attribute 'get'"),
        ccxt.ExchangeError('binanceusdm {"code":200,"msg":"success"}'),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_has_no_number_is_unknown_whatever_its_class(error):
    """Truncated answers are plain ExchangeErrors although the order lives."""
    assert outcome(error).outcome is UNKNOWN


def test_what_never_left_this_machine_was_surely_not_executed():
    verdict = outcome(ccxt.InvalidOrder("amount is too small"), left=False)
    assert (verdict.outcome, verdict.refusal) == (REJECTED, R.VENUE_REJECTED)


def test_no_text_of_a_request_is_in_what_is_said():
    error = ccxt.RequestTimeout("binanceusdm GET https://fapi.binance.com/fapi/v1/order?timestamp=1&signature=abcdef")
    assert said(error) == "RequestTimeout"
    assert said(ccxt.ExchangeError('binanceusdm {"code":-2015}')) == "-2015"
    assert said(ccxt.ExchangeError('binanceusdm {"msg":"only words"}')) == "only words"
