"""The venue's number, wherever it stands."""

import pytest

from core.venues.errors import LeftAlone, code_of, retry_after_s, status_of, unusable


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('binanceusdm {"code":-2011,"msg":"Unknown order sent."}', -2011),
        ('x {"code": "-1003"}', -1003),
        ('x {"code":200,"msg":"success"}', None),
        ("x 503 Service Unavailable", None),
    ],
)
def test_a_number_in_the_text_is_found_and_success_is_none(text, code):
    assert code_of(Exception(text)) == code


def test_what_our_client_notes_wins_over_the_text():
    error = Exception('{"code":-1}')
    error.venue_code, error.http_status, error.retry_after_s = -2, 429, 3
    assert (code_of(error), status_of(error), retry_after_s(error)) == (-2, 429, 3.0)
    assert (status_of(Exception()), retry_after_s(Exception())) == (None, 0.0)


@pytest.mark.parametrize(
    ("number", "code", "says"),
    [
        (-2008, "LIVE-014", "API_KEY"),
        (-2014, "LIVE-014", "API_KEY"),
        (-2015, "LIVE-014", "API_KEY"),
        (-1022, "LIVE-014", "API_SECRET"),
        (-1021, "LIVE-013", "time"),
        (-1003, "LIVE-015", "-1003"),
        (None, "LIVE-015", "RuntimeError"),
    ],
)
def test_why_an_account_cannot_be_traded_is_told_with_its_remedy(number, code, says):
    error = RuntimeError("my key is SECRET" if number is None else f'{{"code":{number},"msg":"no"}}')
    told = unusable(error)
    assert (told.code, says in told.what, bool(told.help)) == (code, True, True)
    assert "SECRET" not in told.what.replace("API_SECRET", "")


def test_an_exchange_that_wants_to_be_left_alone_is_no_broken_account():
    error = LeftAlone(40.0)
    told = unusable(error)
    assert (code_of(error), status_of(error), retry_after_s(error), told.code) == (None, 429, 40.0, "LIVE-015")
    assert "left alone for 40 s" in told.what
