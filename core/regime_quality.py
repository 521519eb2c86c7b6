"""How good the regime labels are: measures against a truth, and the running score of a live run (G11, X19).

Labels are codes into :data:`core.types.REGIME_CODES`, one a bar of one carrier. Where the truth is unknown a bar is not
scored; a label that is unknown while the truth is not is wrong. Every measure is pooled by adding up counts, never by
averaging ratios of single series. Where truth comes from, and what the figures are worth: :mod:`core.regime_holdout`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from core.data.blocks import Closed, Ints
from core.errors import StateError
from core.regimes import DOWN, PANIC, UNKNOWN, UP
from core.types import REGIME_CODES, Timeframe

Codes = NDArray[np.int8]

WHIPSAW_WINDOW = 12
"""Carrier bars within which a return makes a switch a false one (X19): twice min_bars_hold."""

_REGIMES = len(REGIME_CODES)
_TRUTH_BARS_AT_ONCE = 288


# --- labels against truth -------------------------------------------------------------------------


def confusion(predicted: Codes, true: Codes) -> Ints:
    """Bars by true (row) and predicted (column) code; shape (6, 6), row 0 stays empty."""
    known = true != UNKNOWN
    cells = true[known].astype(np.int64) * _REGIMES + predicted[known]
    return np.bincount(cells, minlength=_REGIMES * _REGIMES).reshape(_REGIMES, _REGIMES)


def f1_by_code(table: Ints) -> dict[int, float]:
    """F1 = 2 TP / (2 TP + FP + FN) of every regime that occurs in truth or among the labels, by code."""
    scores = {}
    for code in range(1, _REGIMES):
        hits = int(table[code, code])
        named, there = int(table[:, code].sum()), int(table[code].sum())
        if named + there:
            scores[code] = 2 * hits / (named + there)
    return scores


def mean_f1(table: Ints, codes: Sequence[int] = range(1, _REGIMES)) -> float | None:
    """Average F1 of those of ``codes`` that occur; None when none does."""
    scores = [score for code, score in f1_by_code(table).items() if code in codes]
    return sum(scores) / len(scores) if scores else None


def macro_f1(predicted: Codes, true: Codes) -> float | None:
    """Macro-averaged F1 over the regimes that occur in truth or among the labels; None when no truth is known."""
    return mean_f1(confusion(predicted, true))


def trend_f1(table: Ints) -> float | None:
    """Average F1 of the two trends; None when neither occurs."""
    return mean_f1(table, (UP, DOWN))


def accuracy(table: Ints) -> float | None:
    """Share of bars whose label is the true one; None when no truth is known."""
    scored = int(table.sum())
    return int(np.trace(table)) / scored if scored else None


def majority_f1(table: Ints) -> float | None:
    """Macro-F1 of a label that always names the most frequent true regime."""
    always = np.zeros_like(table)
    there = table.sum(axis=1)
    always[:, int(np.argmax(there))] = there
    return mean_f1(always)


@dataclass(frozen=True, slots=True)
class Detection:
    """How true segments were found. ``lags``: for each one recognised, bars from its start to the first right label."""

    lags: tuple[int, ...]
    missed: int

    @property
    def segments(self) -> int:
        """True segments looked at."""
        return len(self.lags) + self.missed

    @property
    def median_lag_bars(self) -> float | None:
        """Median over recognised segments; None when none was."""
        return float(median(self.lags)) if self.lags else None

    @property
    def missed_share(self) -> float | None:
        """Share of segments in which no bar carries the right label; None without segments."""
        return self.missed / self.segments if self.segments else None


def detection(predicted: Codes, true: Codes) -> dict[int, Detection]:
    """Lags and misses by true code, over segments of equal truth.

    The first and the last segment are left out: the start of the one and the end of the other are not seen. A label that
    is right already at the switch has lag 0.
    """
    edges = (np.flatnonzero(true[1:] != true[:-1]) + 1).tolist()
    lags: dict[int, list[int]] = {}
    missed: dict[int, int] = {}
    for begin, end in pairwise(edges):
        code = int(true[begin])
        if code == UNKNOWN:
            continue
        right = np.flatnonzero(predicted[begin:end] == code)
        lags.setdefault(code, [])
        missed.setdefault(code, 0)
        if right.size:
            lags[code].append(int(right[0]))
        else:
            missed[code] += 1
    return {code: Detection(tuple(lags[code]), missed[code]) for code in sorted(lags)}


def pooled(parts: Iterable[Detection]) -> Detection:
    """Segments of several series or regimes taken together."""
    found = tuple(parts)
    return Detection(tuple(lag for part in found for lag in part.lags), sum(part.missed for part in found))


# --- false switches -------------------------------------------------------------------------------


class FalseSwitchCounter:
    """Counts whipsaws bar by bar; after every bar its counts are those of :func:`core.regimes.false_switch_rate`.

    A switch A->B counts at once, unless A or B is panic or unknown; it becomes a false one when the label is A again
    within ``window`` bars. Symbols are counted together, each with its own memory.

    Args:
        symbols: how many there are.
        window: carrier bars.
    """

    def __init__(self, symbols: int, window: int = WHIPSAW_WINDOW) -> None:
        self.switches = 0
        self.false_switches = 0
        self._window = window
        self._last = [UNKNOWN] * symbols
        self._watched: list[list[tuple[int, int]]] = [[] for _ in range(symbols)]

    @property
    def ratio(self) -> float | None:
        """False switches / switches; None before the first switch."""
        return self.false_switches / self.switches if self.switches else None

    def on_close(self, index: int, code: int) -> None:
        """The carrier bar of symbol ``index`` closed with the held label ``code``."""
        last, watched = self._last[index], self._watched[index]
        if code == last and not watched:
            return
        still = []
        for origin, bars_left in watched:
            if code == origin:
                self.false_switches += 1
            elif bars_left > 1:
                still.append((origin, bars_left - 1))
        if code != last and not {code, last} & {PANIC, UNKNOWN}:
            self.switches += 1
            still.append((last, self._window))
        self._last[index] = code
        self._watched[index] = still

    def look_at(self, index: int, code: int) -> None:
        """Remember the label of a bar that does not count (warm-up), so that the next bar's switch is seen."""
        self._last[index] = code

    def snapshot(self) -> dict[str, Any]:
        """State for :meth:`restore`."""
        return {
            "switches": self.switches,
            "false_switches": self.false_switches,
            "last": list(self._last),
            "watched": [[list(pair) for pair in pairs] for pairs in self._watched],
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over what :meth:`snapshot` gave."""
        self.switches, self.false_switches = saved["switches"], saved["false_switches"]
        self._last = list(saved["last"])
        self._watched = [[(origin, bars_left) for origin, bars_left in pairs] for pairs in saved["watched"]]


def count_false_switches(codes: Codes, window: int = WHIPSAW_WINDOW) -> tuple[int, int]:
    """False switches and switches of one series, so that several can be pooled."""
    counter = FalseSwitchCounter(1, window)
    for code in codes.tolist():
        counter.on_close(0, code)
    return counter.false_switches, counter.switches


def count_unsupported_switches(predicted: Codes, true: Codes, window: int = WHIPSAW_WINDOW) -> tuple[int, int]:
    """Switches to a label that is true at no bar within ``window`` bars of the switch, and switches, panic and unknown apart.

    The stricter reading of a false switch, which no label can meet (quant.md §1): shown, not judged.
    """
    unsupported = switches = 0
    for at in (np.flatnonzero(predicted[1:] != predicted[:-1]) + 1).tolist():
        if {int(predicted[at - 1]), int(predicted[at])} & {PANIC, UNKNOWN}:
            continue
        switches += 1
        near = true[max(0, at - window) : at + window + 1]
        unsupported += not np.count_nonzero(near == predicted[at])
    return unsupported, switches


# --- the score of a run ---------------------------------------------------------------------------


class KnowsTruth(Protocol):
    """A market that knows its own regimes: the synthetic one."""

    def truth(self, symbol: str, bars: int | None = None, first: int = 0) -> Codes:
        """True regime of ``bars`` base bars from run bar ``first`` on."""
        ...


class TruthTape:
    """True regime of a symbol at a base close, read from the market a stretch at a time.

    Only scores are made from it, after the label was given; nothing that decides may see it.

    Args:
        market: who knows.
        symbols: the run's symbols, in order.
        start: open of the run's first bar, ms.
        base: the market's one base timeframe.
    """

    def __init__(self, market: KnowsTruth, symbols: Sequence[str], start: int, base: Timeframe) -> None:
        self._market, self._symbols = market, tuple(symbols)
        self._start, self._base_ms = start, base.ms
        self._stretch: list[tuple[int, list[int]]] = [(0, [])] * len(self._symbols)

    def at(self, index: int, ts: int) -> int:
        """True code of symbol ``index`` in the base bar that closed at ``ts``; UNKNOWN before the run."""
        bar = (ts - self._start) // self._base_ms - 1
        if bar < 0:
            return UNKNOWN
        first, codes = self._stretch[index]
        if not first <= bar < first + len(codes):
            first = bar
            codes = self._market.truth(self._symbols[index], _TRUTH_BARS_AT_ONCE, first).tolist()
            self._stretch[index] = (first, codes)
        return codes[bar - first]


class RegimeScore:
    """Running quality of the held 1h labels of a run (G11): false switches always, macro-F1 where truth is known.

    Fed with every announcement after the regimes took it; does nothing but at 1h closes.

    Args:
        symbols: how many symbols the run has.
        truth: what the market knows of itself; None for a real one, whose macro-F1 is not assessable.
        start: open of the run's first bar, ms; what closed up to then is warm-up and does not count.
    """

    def __init__(self, symbols: int, truth: TruthTape | None = None, start: int = 0) -> None:
        self._start = start
        self._counter = FalseSwitchCounter(symbols)
        self._truth = truth
        self._table = [[0] * _REGIMES for _ in range(_REGIMES)]

    def on_closed(self, closed: Closed, held: Codes) -> None:
        """``held`` are the 1h codes of all symbols after ``closed``."""
        for block in closed.blocks:
            if block.tf is Timeframe.H1:
                codes = held.tolist()
                if closed.ts <= self._start:
                    for index in block.idx.tolist():
                        self._counter.look_at(index, codes[index])
                    return
                for index in block.idx.tolist():
                    self._counter.on_close(index, codes[index])
                    if self._truth is not None:
                        self._table[self._truth.at(index, closed.ts)][codes[index]] += 1

    @property
    def false_switch_ratio(self) -> float | None:
        """False switches / switches so far; None before the first switch."""
        return self._counter.ratio

    @property
    def switches(self) -> int:
        """Switches so far, panic and unknown apart."""
        return self._counter.switches

    @property
    def macro_f1(self) -> float | None:
        """Macro-F1 of the hours so far; None where no truth is known."""
        return mean_f1(self._scored())

    @property
    def scored_hours(self) -> int:
        """Symbol-hours with known truth."""
        return int(self._scored().sum())

    def _scored(self) -> Ints:
        table = np.array(self._table, dtype=np.int64)
        table[UNKNOWN] = 0
        return table

    def snapshot(self) -> dict[str, Any]:
        """State for :meth:`restore`."""
        return {"switches": self._counter.snapshot(), "table": [list(row) for row in self._table]}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on from a snapshot.

        Raises:
            StateError: the snapshot is damaged.
        """
        try:
            self._counter.restore(saved["switches"])
            self._table = [list(row) for row in saved["table"]]
        except (KeyError, TypeError, ValueError) as error:
            raise StateError(f"the saved regime score is damaged: {error}", help="start with another --state DIR") from error
