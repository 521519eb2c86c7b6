"""What issue 4 asks to be measured stands on the page of measurements, with the limits that it names (G5, X30)."""

from __future__ import annotations

import pytest

from benchmarks.targets import BY_NAME
from tests.conftest import ROOT

ASKED = [
    ("live_written", 100.0, 20.0),
    ("live_accepted", None, 30.0),
    ("order_submit", 2.5, 1.5),
    ("order_burst", 0.05, 0.01),
    ("live_restart", 5.0, 1.0),
]


@pytest.mark.parametrize(("name", "must", "aim"), ASKED)
def test_a_row_has_the_limits_that_the_issue_names(name: str, must: float | None, aim: float) -> None:
    target = BY_NAME[name]
    assert (target.must, target.aim, target.at_most) == (must, aim, True)


def test_the_page_of_measurements_has_every_row() -> None:
    """No test times anything: this page is where a limit that is missed would be seen."""
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    named = [target.measure for name, target in BY_NAME.items() if name != "core"]  # measured where its peer is at hand
    assert [measure for measure in named if f"| {measure} |" not in page] == []
