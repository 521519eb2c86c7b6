"""Where market and time of a session come from, and what of it counts (X32)."""

from __future__ import annotations

from itertools import product

import pytest

from core.monitor.provenance import COUNTS, Orders, Pace, Provenance, Reached, Timekeeper, why_not_counted

VENUE = "exchange:binanceusdm"
EVERY = [Provenance(*parts) for parts in product(Reached, Timekeeper, Pace, Orders)]


def test_just_one_provenance_counts_and_every_other_says_why_not() -> None:
    """X32: wall-clock paper fed by a real exchange."""
    counting = [made for made in EVERY if why_not_counted(VENUE, made.facts()) is None]
    assert counting == [Provenance(Reached.VENUE, Timekeeper.SYSTEM, Pace.MARKET, Orders.LOCAL)] == [COUNTS]
    assert all("X32" in (why_not_counted(VENUE, made.facts()) or "X32") for made in EVERY)


@pytest.mark.parametrize("source", ["synthetic", "replay", "replay:/data/exchange:x", "", "Exchange:binanceusdm"])
def test_a_source_that_is_no_exchange_never_counts_whatever_its_facts_say(source: str) -> None:
    assert "no real exchange" in (why_not_counted(source, COUNTS.facts()) or "")


@pytest.mark.parametrize("missing", sorted(COUNTS.facts()))
def test_a_fact_that_is_not_on_record_does_not_count(missing: str) -> None:
    """Sessions from before these facts were kept have none of them."""
    facts = {name: value for name, value in COUNTS.facts().items() if name != missing}
    assert "not on record" in (why_not_counted(VENUE, facts) or "")
    assert why_not_counted(VENUE, {}) is not None


def test_a_provenance_that_nobody_stated_does_not_count() -> None:
    assert why_not_counted(VENUE, Provenance().facts()) is not None
