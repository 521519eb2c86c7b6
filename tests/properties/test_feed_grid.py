"""Whatever order, copies and holes bars arrive in, what comes out is the grid (B5)."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from core.data.blocks import BarFlag, Closed
from core.data.feed import Feed
from core.data.quality import Issue
from core.types import Timeframe
from tests.core.data.making import BTC, ETH, T0, block, candle

M5 = Timeframe.M5
STEP = M5.ms
BARS = 24

Fate = st.sampled_from(["ok"] * 6 + ["lost", "twice", "changed", "bad", "off_grid", "late", "old"])


def arrivals(fates: list[str], who: int):
    """Rows by the step in which they arrive, and how often each issue must be counted."""
    rows: dict[int, list] = {k: [] for k in range(BARS)}
    expected = dict.fromkeys(Issue, 0)
    missing: set[int] = set()
    for k, fate in enumerate(fates):
        good = candle(T0 + k * STEP, who, 100.0 + k)
        later = k + 1
        if fate == "lost":
            missing.add(k)
            continue
        if fate == "bad":
            rows[k].append((who, T0 + k * STEP, 1.0, 0.5, 0.4, 0.45, 1.0))
            expected[Issue.BAD_BAR] += 1
            missing.add(k)
            continue
        if fate == "late" and later < BARS:
            rows[later].insert(0, good)
            expected[Issue.LATE] += 1
            continue
        rows[k].append(good)
        if fate == "twice":
            rows[k].append(good)
            expected[Issue.DUPLICATE] += 1
        if fate == "changed":
            rows[k].append(candle(T0 + k * STEP, who, 7.0))
            expected[Issue.CONFLICT] += 1
        if fate == "off_grid":
            rows[k].append(candle(T0 + k * STEP - 1, who))
            expected[Issue.OFF_GRID] += 1
        if fate == "old" and any(row[1] >= T0 and row[2] >= 100.0 for j in range(k) for row in rows[j]):
            # (before a symbol's first bar nothing is old)
            rows[k].append(candle(T0 - 3 * STEP, who))
            expected[Issue.OUT_OF_ORDER] += 1
    came = [k for k in range(BARS) if k not in missing]
    expected[Issue.GAP] = sum(1 for k in missing if came and came[0] < k < came[-1])
    return rows, expected, missing, came


def played(feed: Feed, per_symbol, seed: int) -> list[list[Closed]]:
    """Announcements of each step, made-up and late ones first; rows of a step arrive in any order."""
    told = []
    rng = np.random.default_rng(seed)
    for k in range(BARS):
        rows = [row for rows in per_symbol for row in rows[k]]
        rows = [rows[place] for place in rng.permutation(len(rows))]
        # a copy with other values is a copy only if it comes second
        rows.sort(key=lambda row: row[2] == 7.0)
        ts = T0 + (k + 1) * STEP
        closed = feed.on_bars(ts, (block(M5, *rows),) if rows else ())
        assert closed.ts == ts
        told.append([*feed.catch_up, closed])
    return told


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(Fate, Fate), min_size=BARS, max_size=BARS), st.integers(0, 1000))
def test_counts_are_right_and_what_comes_out_is_the_grid(fates, seed):
    per_symbol = [arrivals([pair[who] for pair in fates], who) for who in (0, 1)]
    feed = Feed([BTC, ETH], [M5, M5])
    told = played(feed, [rows for rows, *_ in per_symbol], seed)

    for who, symbol in enumerate((BTC, ETH)):
        _, expected, missing, came = per_symbol[who]
        counted = {kind: feed.counters.get(symbol, kind) for kind in Issue}
        assert counted == expected
        out = [
            (c.ts, int(b.flags[np.flatnonzero(b.idx == who)[0]]), float(b.open[np.flatnonzero(b.idx == who)[0]]))
            for step in told
            for c in step
            for b in c.blocks
            if b.tf is M5 and who in b.idx
        ]
        if not came:
            assert out == []
            continue
        # one bar for each place of the grid from the first that came to the last, in order
        assert [ts for ts, _, _ in out] == [T0 + (k + 1) * STEP for k in range(came[0], came[-1] + 1)]
        for k, (_, flags, open_) in zip(range(came[0], came[-1] + 1), out, strict=True):
            assert bool(flags & BarFlag.FILLED) == (k in missing)
            if k not in missing:
                assert open_ == 100.0 + k


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(Fate, Fate), min_size=BARS, max_size=BARS), st.integers(0, 1000), st.booleans())
def test_every_timeframe_is_on_its_grid_and_announced_once(fates, seed, gap_fill):
    per_symbol = [arrivals([pair[who] for pair in fates], who)[0] for who in (0, 1)]
    feed = Feed([BTC, ETH], [M5, M5], gap_fill=gap_fill)
    told = played(feed, per_symbol, seed)
    seen: dict[tuple[Timeframe, int], int] = {}
    for step in told:
        stamps = [c.ts for c in step]
        assert stamps == sorted(set(stamps))
        for closed in step:
            lengths = [b.tf.ms for b in closed.blocks]
            assert lengths == sorted(set(lengths))
            for b in closed.blocks:
                assert b.ts == closed.ts
                assert b.ts % b.tf.ms == 0
                assert (np.diff(b.idx) > 0).all()
                assert (b.high >= np.maximum(b.open, b.close)).all()
                assert (b.low <= np.minimum(b.open, b.close)).all()
                if not gap_fill:
                    assert not np.count_nonzero(b.flags & (BarFlag.FILLED | BarFlag.PARTIAL))
                for who in b.idx.tolist():
                    assert b.ts > seen.get((b.tf, who), 0)
                    seen[b.tf, who] = b.ts
