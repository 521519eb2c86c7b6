"""How good the recordings in a folder are: what each file has, and where two timeframes of a symbol disagree.

What ``brain data fetch`` wrote is compared with its list of what was asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from core.data.blocks import Bars, Floats, Ints
from core.data.exchange.download import LISTED, Range, listed_in
from core.data.quality import clean, sound
from core.data.resample import resample
from core.data.sources.folder import Kind, files, read_columns
from core.data.timeframes import say
from core.errors import SourceError
from core.types import Timeframe

_PRICE_TOLERANCE, _VOLUME_TOLERANCE = 1e-9, 1e-6
"""Relative; sums of floats differ in their last digits."""
_LONGEST_FUNDING_MS = 8 * Timeframe.H1.ms
_MINUTE = 60_000


@dataclass(frozen=True, slots=True)
class Finding:
    """What one file has. ``wrong`` and ``remarks`` are sentences; times are ms, -1 where there is no row.

    ``gaps`` counts holes, ``missing`` the bars (settlements) in them, ``largest`` those of the largest one, which begins after
    ``largest_after``.
    """

    file: str
    rows: int
    first: int
    last: int
    gaps: int
    missing: int
    largest: int
    largest_after: int
    duplicates: int
    unsorted: int
    off_grid: int
    bad: int
    zero_volume: int
    wrong: tuple[str, ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How candles of ``coarse`` compare with those summed up from ``fine``, where both have a bar."""

    kind: str
    market: str
    fine: str
    coarse: str
    compared: int
    differ: int
    first_difference: int


@dataclass(frozen=True, slots=True)
class Inspection:
    """Everything about a folder."""

    files: tuple[Finding, ...]
    agreements: tuple[Agreement, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not any(finding.wrong for finding in self.files) and not any(one.differ for one in self.agreements)


def inspect(folder: Path) -> Inspection:
    """Look through every recording in ``folder``.

    Raises:
        SourceError: there is no such folder, or no recording in it.
    """
    findings, ranges = _listed(folder)
    candles: dict[tuple[Kind, str], list[tuple[Timeframe, Bars]]] = {}
    for kind, tf, path in files(folder):
        name = f"{path.parent.name}/{path.name}"
        try:
            columns = read_columns(path, kind, kind.columns)
        except SourceError as error:
            findings.append(_unreadable(name, error.what))
            continue
        if tf is None:
            findings.append(_compared(_funding(name, columns), ranges.get(name, []), _LONGEST_FUNDING_MS))
            continue
        bars = _bars(columns)
        findings.append(_compared(_candles(name, kind, tf, bars), ranges.get(name, []), tf.ms))
        candles.setdefault((kind, path.stem), []).append((tf, clean(bars, tf).bars))
    if not findings:
        raise SourceError(f"{folder} holds no recordings", help="brain data fetch --out DIR makes some", code="DATA-011")
    agreements = [one for (kind, market), series in candles.items() for one in _agreements(kind, market, series)]
    return Inspection(tuple(findings), tuple(agreements))


def _listed(folder: Path) -> tuple[list[Finding], dict[str, list[Range]]]:
    """What is wrong with a download's list, and the times that stand in it by file; nothing where there was no download."""
    try:
        listed = listed_in(folder)
    except SourceError as error:
        return [_unreadable(LISTED, error.what)], {}
    return [], {} if listed is None else listed.series


def _compared(finding: Finding, ranges: Sequence[Range], step: int) -> Finding:
    """Rows at both ends of what was asked for; what is missing between them is a hole already."""
    if not ranges or not finding.rows:
        return finding
    begin, end = min(ranges)[0], max(until for _, until in ranges)
    wrong, remarks = finding.wrong, finding.remarks
    if finding.last + step < end:  # a market that is there at all tells a row each time
        wrong = (*wrong, f"ends {say(finding.last)} though asked for until {say(end)}")
    if finding.first >= begin + step:
        remarks = (*remarks, f"begins {say(finding.first)} though asked for from {say(begin)}: not listed before?")
    return replace(finding, wrong=wrong, remarks=remarks)


def _bars(columns: dict[str, Any]) -> Bars:
    ts = columns["ts"].astype(np.int64, copy=False)
    columns = {"volume": np.zeros(ts.size), **columns}
    prices = (columns[name].astype(np.float64, copy=False) for name in ("open", "high", "low", "close", "volume"))
    return Bars(ts, *prices)


def _unreadable(name: str, why: str) -> Finding:
    return Finding(name, 0, -1, -1, 0, 0, 0, -1, 0, 0, 0, 0, 0, (why,), ())


# --- one file ---------------------------------------------------------------------------------------


def _candles(name: str, kind: Kind, tf: Timeframe, bars: Bars) -> Finding:
    ts = np.unique(bars.ts)
    gaps, missing, largest, after = _holes(ts, tf.ms)
    cleaned = clean(bars, tf)
    bad = int(np.count_nonzero(~sound(*bars[1:])))
    zero = 0 if kind is Kind.MARK else int(np.count_nonzero(bars.volume == 0.0))
    counts = {
        "holes in time": gaps,
        "duplicate rows": len(bars) - int(ts.size),
        "rows out of order": cleaned.unsorted,
        "rows off the grid": cleaned.off_grid,
        "impossible bars": bad,
    }
    wrong = [f"{count:,} {what}" for what, count in counts.items() if count] or ([] if len(bars) else ["no rows"])
    remarks = (f"{zero:,} bars without volume (X44)",) if zero else ()
    return Finding(
        file=name,
        rows=len(bars),
        first=int(ts[0]) if ts.size else -1,
        last=int(ts[-1]) if ts.size else -1,
        gaps=gaps,
        missing=missing,
        largest=largest,
        largest_after=after,
        duplicates=len(bars) - int(ts.size),
        unsorted=cleaned.unsorted,
        off_grid=cleaned.off_grid,
        bad=bad,
        zero_volume=zero,
        wrong=tuple(wrong),
        remarks=remarks,
    )


def _holes(ts: Ints, step: int) -> tuple[int, int, int, int]:
    """Holes, rows missing in all of them, in the largest, and the time before that."""
    spaces = np.diff(ts)
    wide = np.flatnonzero(spaces > step)
    if not wide.size:
        return 0, 0, 0, -1
    missing = spaces[wide] // step - 1
    worst = int(np.argmax(missing))
    return int(wide.size), int(missing.sum()), int(missing[worst]), int(ts[wide[worst]])


def _funding(name: str, columns: dict[str, Any]) -> Finding:
    """Settlements come at the venue's interval: 8 h, or 4, 2 or 1; a wider space is a hole."""
    raw: Ints = columns["ts"].astype(np.int64, copy=False)
    rates: Floats = columns["funding_rate"].astype(np.float64, copy=False)
    ts = np.unique(raw)
    gaps, missing, largest, after = _holes(ts, _LONGEST_FUNDING_MS)
    off = int(np.count_nonzero(raw % _MINUTE))
    bad = int(np.count_nonzero(~np.isfinite(rates)))
    unsorted = int(np.count_nonzero(np.diff(raw) < 0))
    counts = {
        "spaces above 8 h": gaps,
        "duplicate rows": int(raw.size - ts.size),
        "rows out of order": unsorted,
        "rows that are not on a minute": off,
        "rates that are no number": bad,
    }
    wrong = [f"{count:,} {what}" for what, count in counts.items() if count] or ([] if raw.size else ["no rows"])
    hours, times = np.unique(np.diff(ts) // Timeframe.H1.ms, return_counts=True)
    spacing = ", ".join(f"{hour} h {count:,} times" for hour, count in zip(hours.tolist(), times.tolist(), strict=True))
    return Finding(
        name, int(raw.size), int(ts[0]) if ts.size else -1, int(ts[-1]) if ts.size else -1, gaps, missing, largest, after,
        int(raw.size - ts.size), unsorted, off, bad, 0, tuple(wrong), (f"settled every {spacing}",) if spacing else (),
    )  # fmt: skip


# --- two files --------------------------------------------------------------------------------------


def _agreements(kind: Kind, market: str, series: Sequence[tuple[Timeframe, Bars]]) -> list[Agreement]:
    ordered = sorted(series, key=lambda item: item[0].ms)
    return [_compare(kind, market, fine, coarse) for fine, coarse in pairwise(ordered)]


def _compare(kind: Kind, market: str, fine: tuple[Timeframe, Bars], coarse: tuple[Timeframe, Bars]) -> Agreement:
    summed = resample(fine[1], fine[0], coarse[0])
    both, left, right = np.intersect1d(summed.ts, coarse[1].ts, assume_unique=True, return_indices=True)
    differ = np.zeros(both.size, dtype=np.bool_)
    for column in range(1, 6):
        tolerance = _VOLUME_TOLERANCE if column == 5 else _PRICE_TOLERANCE
        differ |= ~np.isclose(summed[column][left], coarse[1][column][right], rtol=tolerance, atol=0.0)
    first = int(both[np.argmax(differ)]) if differ.any() else -1
    return Agreement(kind.value, market, fine[0].value, coarse[0].value, int(both.size), int(np.count_nonzero(differ)), first)


def said(finding: Finding) -> str:
    """What is wrong with a file, and what else there is to say of it."""
    words = list(finding.wrong)
    if finding.gaps:
        words.append(f"{finding.missing:,} missing in all, most ({finding.largest:,}) after {say(finding.largest_after)}")
    return "; ".join([*words, *finding.remarks])
