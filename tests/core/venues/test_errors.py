"""The venue's number, wherever it stands."""

import pytest

from core.venues.errors import code_of, retry_after_s, status_of


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
