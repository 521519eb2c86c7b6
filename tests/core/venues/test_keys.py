"""Keys come from the environment only and are never shown (H5)."""

import pytest

from configs.validators import Environment
from core.errors import BrainError
from core.venues.keys import Keys


def test_no_key_is_in_any_text_of_it():
    keys = Keys("the key", "the secret")
    assert repr(keys) == str(keys) == f"{keys}" == "Keys(hidden)"


def test_keys_are_taken_from_the_environment():
    keys = Keys.of(Environment(api_key="k", api_secret="s"))
    assert (keys.api_key, keys.secret) == ("k", "s")


@pytest.mark.parametrize(
    ("given", "missing"),
    [({}, "API_KEY and API_SECRET"), ({"api_key": "k"}, "API_SECRET"), ({"api_secret": "s"}, "API_KEY")],
)
def test_what_is_missing_is_named(given, missing):
    with pytest.raises(BrainError, match=f"^{missing} not given") as refused:
        Keys.of(Environment(**given))
    assert "withdrawals" in refused.value.help
