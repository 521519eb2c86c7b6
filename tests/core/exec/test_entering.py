"""How entries are made: what a person is told of it, and what the broker makes of it."""

from __future__ import annotations

import pytest

from core.exec.entering import Entering, Entry
from core.exec.live.settings import LiveOptions


@pytest.mark.parametrize(
    ("how", "said", "post_only", "slices"),
    [
        (Entering(), "across", False, 1),
        (Entering(slices=2), "across in up to 2 slices", False, 2),
        (Entering(Entry.MAKER), "as maker first", True, 1),
    ],
)
def test_it_is_told_in_words_and_is_what_the_broker_does(how: Entering, said: str, post_only: bool, slices: int) -> None:
    options = LiveOptions(post_only=True, slices=9, rest_s=0.5).entering(how)
    assert (str(how), options.post_only, options.slices, options.rest_s) == (said, post_only, slices, 0.5)
