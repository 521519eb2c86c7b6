"""Virtual, replayed, synthetic or redirected paper never counts, whatever else is true; and no time counts twice (X32)."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from core.monitor.paper_sessions import PaperSession, count
from core.monitor.provenance import COUNTS, Orders, Pace, Provenance, Reached, Timekeeper
from core.monitor.readiness import session_days
from graph.evidence import gather
from tests.core.monitor.test_readiness import UTC
from tests.support.paper_month import DAY, END_MS, HOUR, VENUE, PaperRun, record
from tests.support.run import configuration

PROVENANCE = st.builds(
    Provenance, st.sampled_from(Reached), st.sampled_from(Timekeeper), st.sampled_from(Pace), st.sampled_from(Orders)
)
SOURCE = st.sampled_from([VENUE, "exchange:okx", "replay", "synthetic", "hand-made", ""])
SHORT = PaperRun(hours=3, nets=(1.0,))


@settings(max_examples=40, deadline=None)
@given(SOURCE, PROVENANCE, st.sets(st.sampled_from(sorted(COUNTS.facts()))))
def test_only_wall_clock_paper_on_a_real_exchange_ever_counts(source: str, provenance: Provenance, forgotten: set[str]) -> None:
    facts = {name: value for name, value in provenance.facts().items() if name not in forgotten}
    with tempfile.TemporaryDirectory() as root:
        record(Path(root), run=replace(SHORT, source=source, facts=facts))
        counted = count(gather(Path(root), configuration()), END_MS)
    assert bool(counted.sessions) is (source.startswith("exchange:") and provenance == COUNTS and not forgotten)


def sessions() -> st.SearchStrategy[list[PaperSession]]:
    one = st.tuples(st.integers(0, 60 * 24), st.integers(1, 20 * 24))
    return st.lists(one, max_size=8).map(
        lambda found: [
            PaperSession(str(number), None, up=((start * HOUR, (start + long) * HOUR),))
            for number, (start, long) in enumerate(found)
        ]
    )


@settings(max_examples=200, deadline=None)
@given(sessions(), st.randoms(use_true_random=False))
def test_no_moment_counts_twice_and_the_order_of_sessions_does_not_matter(found: list[PaperSession], random: object) -> None:
    counted = count(found, 10**15)
    shuffled = list(found)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert count(shuffled, 10**15) == counted
    assert all(before.last_ts < after.first_ts for before, after in pairwise(counted.sessions))
    assert {one.name for one in found} == {one.name for one in counted.sessions} | {name for name, _ in counted.excluded}
    days = session_days(counted, UTC)
    up = sum(end - start for one in counted.sessions for start, end in one.up)
    assert len(days) == len(set(days)) <= up / (0.8 * DAY)


@settings(max_examples=100, deadline=None)
@given(sessions(), st.integers(0, 7))
def test_a_copy_adds_nothing(found: list[PaperSession], which: int) -> None:
    if not found:
        return
    copy = replace(found[which % len(found)], name="copy")
    alone, both = count(found, 10**15), count([*found, copy], 10**15)
    spans = [[one.up for one in counted.sessions] for counted in (alone, both)]
    assert spans[0] == spans[1]
