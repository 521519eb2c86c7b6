"""Last prices at the simulated exchange, and which delivered bars are believed.

The rule is the feed's (:mod:`core.data.feed`): a bar counts when it is possible, lies on the grid of its timeframe, had
closed when it was delivered, and is newer than its symbol's last one. Of two copies the first delivered counts.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

import numpy as np

from core.data.blocks import BarBlock, Floats, Ints, somewhere
from core.data.quality import OrdinaryCheck, closes_at, sound
from core.errors import StateError
from core.sim.account import price_array, price_list
from core.sim.matching import Bar
from core.types import Timeframe

_NEVER = -1
_FOREVER = 2**62


class Marks:
    """Last price, last bar and its length for each of ``count`` instruments.

    Attributes:
        prices: shape (S,), NaN where unknown; updated in place.
    """

    def __init__(self, count: int) -> None:
        self.prices: Floats = np.full(count, np.nan)
        self._opened: Ints = np.full(count, _NEVER, dtype=np.int64)
        self._steps: Ints = np.zeros(count, dtype=np.int64)
        self._newest = _NEVER
        self._known_idx: dict[Timeframe, Ints] = {}
        self._check = OrdinaryCheck()

    def step(self, index: int) -> int:
        """Length (ms) of the last bar at ``index``; 0 before the first."""
        return int(self._steps[index])

    def believes(self, ts: int, index: int, bar: Bar) -> bool:
        """Whether ``bar``, delivered at ``ts``, counts."""
        return bar.open_ts > self._opened[index] and bar.sane and bar.on_grid and bar.close_ts <= ts

    def take_quiet(self, ts: int, block: BarBlock) -> None:
        """Mark on what counts of ``block``; for a bar in which nothing is traded."""
        if block.idx.size == 1:
            self._take_single(ts, block)
        elif self.all_believed(ts, block):
            self.take_all(ts, block)
        else:
            self.take_rows(ts, block)

    def _take_single(self, ts: int, block: BarBlock) -> None:
        # Python numbers beat arrays of one
        step, index = block.tf.ms, block.idx.item()
        opened = ts - step
        if self._opened_at(index) < opened and not opened % step and self._check.holds(ts, block):
            self.prices[index] = block.close.item()
            self._opened[index] = opened
            self._steps[index] = step
            self._newest = max(self._newest, opened)
        else:
            self.take_rows(ts, block)

    def _opened_at(self, index: int) -> int:
        return self._opened.item(index) if 0 <= index < self._opened.size else _FOREVER

    def all_believed(self, ts: int, block: BarBlock) -> bool:
        """Whether every row counts and closes at ``ts``, one a symbol: the usual case, in few vector operations."""
        tf, idx = block.tf, block.idx
        opened = ts - tf.ms
        if opened % tf.ms or (idx is not self._known_idx.get(tf) and not self._learn(tf, idx)):
            return False
        if opened <= self._newest and somewhere(self._opened[idx] >= opened):
            return False
        if self._check.holds(ts, block):
            return True
        return closes_at(ts, block) and bool(sound(block.open, block.high, block.low, block.close, block.volume).all())

    def _learn(self, tf: Timeframe, idx: Ints) -> bool:
        """Whether ``idx`` is rising and known here; remembered, since sources reuse it."""
        if not idx.size or idx[0] < 0 or idx[-1] >= self.prices.size or np.count_nonzero(idx[1:] <= idx[:-1]):
            return False
        self._known_idx[tf] = idx
        self._steps[idx] = tf.ms
        return True

    def take_all(self, ts: int, block: BarBlock) -> None:
        """Mark on a block for which :meth:`all_believed` held."""
        self.prices[block.idx] = block.close
        opened = ts - block.tf.ms
        self._opened[block.idx] = opened
        self._newest = max(self._newest, opened)

    def take_rows(self, ts: int, block: BarBlock) -> None:
        """Mark on those rows that count, oldest first."""
        for index, bar in bars_of((block,), range(self.prices.size)):
            if self.believes(ts, index, bar):
                self.take(index, bar)

    def take(self, index: int, bar: Bar) -> None:
        """Mark on one bar."""
        self.prices[index] = bar.close
        self._opened[index] = bar.open_ts
        self._steps[index] = bar.close_ts - bar.open_ts
        self._newest = max(self._newest, bar.open_ts)

    def snapshot(self) -> dict[str, Any]:
        """State as JSON-like values."""
        return {"prices": price_list(self.prices), "opened": self._opened.tolist(), "steps": self._steps.tolist()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a :meth:`snapshot`.

        Raises:
            StateError: it is of another number of instruments.
        """
        if len(state["prices"]) != self.prices.size:
            raise StateError(f"the snapshot has {len(state['prices'])} instruments, expected {self.prices.size}")
        self.prices[:] = price_array(state["prices"])
        self._opened[:] = state["opened"]
        self._steps[:] = state["steps"]
        self._newest = max(state["opened"], default=_NEVER)
        self._known_idx.clear()


def bars_of(blocks: Sequence[BarBlock], wanted: Container[int]) -> list[tuple[int, Bar]]:
    """Rows of the ``wanted`` symbols by symbol, then open time; copies in the order of delivery."""
    found: list[tuple[int, Bar]] = []
    for block in blocks:
        columns = (block.open, block.high, block.low, block.close, block.volume)
        for row, index in enumerate(block.idx.tolist()):
            if index in wanted:
                open_ts = int(block.open_ts[row])
                found.append((index, Bar(open_ts, open_ts + block.tf.ms, *(float(column[row]) for column in columns))))
    return sorted(found, key=lambda item: (item[0], item[1].open_ts))
