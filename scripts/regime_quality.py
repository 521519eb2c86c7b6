"""Measures the regime labels and writes ``docs/regimes.md`` (G11, X19).

``python -m scripts.regime_quality`` prints the page, ``--write`` writes it. Recordings are read from ``--data``, by default
``$BRAIN_TEST_DATA`` or ``../shared/data``; without them the page can be printed, but not written. Takes about a minute.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from configs.loader import load
from configs.validators import RegimeParams, StrategiesFile
from core.data.sources.synthetic import DEFAULT_SYMBOLS
from core.regime_holdout import (
    HELD_OUT_SEEDS,
    SHIFTS,
    SURROGATES,
    Overlap,
    RegimeQuality,
    Series,
    TruthScore,
    evaluate,
    recorded_series,
    synthetic_series,
)
from core.regime_quality import WHIPSAW_WINDOW
from core.types import Timeframe
from scripts.docs import ROOT, page, table

PAGE = ROOT / "docs" / "regimes.md"
YEARS = (2021, 2022, 2023, 2024)
LAST_YEAR = YEARS[-1]
FALSE_SWITCHES_AT_MOST = 0.05
F1_AT_LEAST, LAG_AT_MOST, MISSED_AT_MOST = 0.40, 30.0, 0.25
NOTE = "<!-- Measured and written by `python -m scripts.regime_quality --write`; do not edit. -->"


@dataclass(frozen=True, slots=True)
class Measured:
    """A set of series and what was measured on it."""

    what: str
    quality: RegimeQuality


def measure_synthetic(params: StrategiesFile) -> list[Measured]:
    """The held-out seeds: hourly bars, and 5m bars as ``brain paper`` plays them, on both carriers."""
    hourly = list(synthetic_series())
    fine = list(synthetic_series(base_tf=Timeframe.M5))
    return [
        Measured("synthetic, base 1h", evaluate(params, hourly)),
        Measured("synthetic, base 5m", evaluate(params, fine)),
        Measured("synthetic, base 5m", evaluate(params, fine, Timeframe.H4)),
    ]


def measure_recorded(params: StrategiesFile, folder: Path) -> list[Measured]:
    """Each year of the recordings on both carriers; surrogates for the last one only."""
    found = []
    for carrier in (Timeframe.H1, Timeframe.H4):
        for year in YEARS:
            surrogates = SURROGATES if year == LAST_YEAR else 0
            found.append(Measured(f"recorded, {year}", evaluate(params, _year(folder, year), carrier, surrogates)))
    for venue_id in ("BTCUSDT", "ETHUSDT", "SOLUSDT"):
        one = evaluate(params, _year(folder, LAST_YEAR, venue_id), Timeframe.H1, 0)
        found.append(Measured(f"recorded, {LAST_YEAR}, {venue_id}", one))
    return found


def _year(folder: Path, year: int, venue_id: str | None = None) -> list[Series]:
    start, end = (int(datetime(y, 1, 1, tzinfo=UTC).timestamp() * 1000) for y in (year, year + 1))
    return list(recorded_series(folder, start, end, None if venue_id is None else (venue_id,)))


# --- page -----------------------------------------------------------------------------------------


def render(params: RegimeParams, synthetic: Sequence[Measured], recorded: Sequence[Measured]) -> str:
    """The page."""
    held_out, last = synthetic[0].quality, [m for m in recorded if m.quality.hindsight is not None]
    return page(
        NOTE,
        "# Regime labels: how good they are",
        _INTRODUCTION,
        _verdicts(synthetic, last),
        "Above 5 % are: " + _above([*synthetic, *recorded]) + ".",
        "What to know before trusting a label:",
        _warnings(held_out, last),
        "## False switches",
        _FALSE_SWITCHES.format(window=WHIPSAW_WINDOW),
        _false_switch_table([*synthetic, *recorded]),
        "## Against known truth",
        _KNOWN_TRUTH,
        _truth_table(synthetic),
        f"By regime, {synthetic[0].what}, 1h labels:",
        _regime_table(held_out),
        "## Overlap or skill",
        _OVERLAP.format(copies=SURROGATES),
        _overlap_table([*synthetic, *last]),
        "## How it was measured",
        _method(held_out),
        "## Thresholds measured",
        thresholds(params),
    )


def thresholds(params: RegimeParams) -> str:
    """The thresholds as a table; when they change, the page must be measured again."""
    return table(("`strategies.yaml`", "value"), [(f"`regimes.{k}`", f"{v:g}") for k, v in params.model_dump().items()])


def _verdicts(synthetic: Sequence[Measured], last: Sequence[Measured]) -> str:
    rows = []
    for m in (*synthetic, *last):
        ratio = m.quality.false_switch_ratio
        met = ratio is not None and ratio <= FALSE_SWITCHES_AT_MOST
        rows.append((f"false switches, {_name(m)}", "<= 5 %", _percent(ratio), _yes(met)))
    for m in synthetic:
        truth = _truth(m.quality)
        lag, missed = truth.detection.median_lag_bars, truth.detection.missed_share
        met = lag is not None and lag <= LAG_AT_MOST
        rows.append(
            (f"macro-F1, {_name(m)}", f">= {F1_AT_LEAST:.2f}", f"{truth.macro_f1:.2f}", _yes(truth.macro_f1 >= F1_AT_LEAST))
        )
        rows.append((f"median lag, {_name(m)}", f"<= {LAG_AT_MOST:.0f} bars", _plain(lag), _yes(met)))
        met = missed is not None and missed <= MISSED_AT_MOST
        rows.append((f"segments missed, {_name(m)}", "<= 25 %", _percent(missed), _yes(met)))
    return table(("figure", "wanted", "measured", "met"), rows)


def _name(measured: Measured) -> str:
    return f"{measured.what}, {measured.quality.carrier} labels"


def _above(measured: Sequence[Measured]) -> str:
    found = []
    for m in measured:
        q = m.quality
        if (q.false_switch_ratio or 0.0) > FALSE_SWITCHES_AT_MOST:
            found.append(f"{_name(m)} ({q.false_switches} of {q.switches} switches)")
    return "; ".join(found) or "none of the sets below"


def _warnings(held_out: RegimeQuality, last: Sequence[Measured]) -> str:
    truth, panic = _truth(held_out), held_out.rows[-1]
    directions = [_direction(m, m.quality.hindsight) for m in last if m.quality.hindsight is not None]
    rest = _WARNINGS.format(
        trend=f"{truth.direction.trend_f1:.2f}",
        chance=f"{truth.direction.surrogate_trend_f1:.2f}",
        labelled=_percent(panic.label_share),
        true=_percent(panic.true_share),
        unsupported=_percent(truth.unsupported_share),
    )
    return "\n".join([*directions, rest])


def _direction(measured: Measured, overlap: Overlap) -> str:
    more = overlap.trend_f1 > overlap.surrogate_trend_f1
    return _DIRECTION.format(
        name=_name(measured),
        trend=f"{overlap.trend_f1:.2f}",
        chance=f"{overlap.surrogate_trend_f1:.2f}",
        verdict="more than overlap alone gives" if more else "no more than overlap alone gives",
    )


def _false_switch_table(measured: Sequence[Measured]) -> str:
    rows = []
    for m in measured:
        q = m.quality
        low, high = wilson(q.false_switches, q.switches)
        interval = f"{low * 100:.1f} to {high * 100:.1f} %"
        counts = (str(len(q.names)), str(q.switches), str(q.false_switches))
        rows.append((m.what, q.carrier.value, *counts, _percent(q.false_switch_ratio), interval, _plain(q.switches_per_month)))
    head = ("set", "carrier", "series", "switches", "false", "share", "95 % interval", "changes a month, panic included")
    return table(head, rows)


def wilson(hits: int, cases: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson); cases are taken as independent, which whipsaws are not quite."""
    if cases == 0:
        return 0.0, 1.0
    z, share = 1.96, hits / cases
    middle = share + z * z / (2 * cases)
    half = z * math.sqrt(share * (1 - share) / cases + z * z / (4 * cases * cases))
    scale = 1 + z * z / cases
    return (middle - half) / scale, (middle + half) / scale


def _truth_table(measured: Sequence[Measured]) -> str:
    columns = [(m.quality, _truth(m.quality)) for m in measured]
    head = ("figure", *(f"{m.what}, {m.quality.carrier}" for m in measured))
    rows = [
        ("macro-F1", *(f"{t.macro_f1:.2f}" for _, t in columns)),
        ("… always naming the most frequent regime", *(f"{t.majority_f1:.2f}" for _, t in columns)),
        ("… the same labels moved in time at random", *(f"{t.shifted_f1:.2f}" for _, t in columns)),
        ("… labels of direction-randomised bars", *(f"{t.direction.surrogate_macro_f1:.2f}" for _, t in columns)),
        ("accuracy", *(_percent(t.accuracy) for _, t in columns)),
        ("true segments", *(str(t.detection.segments) for _, t in columns)),
        ("median lag, carrier bars", *(_plain(t.detection.median_lag_bars) for _, t in columns)),
        ("missed segments", *(_percent(t.detection.missed_share) for _, t in columns)),
        ("switches to a label that is true nowhere within 12 bars", *(_percent(t.unsupported_share) for _, t in columns)),
    ]
    return table(head, rows)


def _regime_table(quality: RegimeQuality) -> str:
    rows = []
    for row in quality.rows:
        found = row.detection
        lag = None if found is None else found.median_lag_bars
        segments = ("", "") if found is None else (str(found.segments), _percent(found.missed_share))
        rows.append((row.regime.value, _percent(row.true_share), _percent(row.label_share), _two(row.f1), *segments, _plain(lag)))
    return table(("regime", "true bars", "labelled bars", "F1", "segments", "missed", "median lag"), rows)


def _overlap_table(measured: Sequence[Measured]) -> str:
    rows = []
    for m in measured:
        q = m.quality
        if q.truth is not None:
            rows.append((m.what, q.carrier.value, "known truth of the data", *_overlap(q.truth.direction)))
        if q.hindsight is not None:
            rows.append((m.what, q.carrier.value, "hindsight", *_overlap(q.hindsight)))
    head = ("set", "carrier", "scored against", "macro-F1", "on surrogates", "trend F1", "on surrogates")
    return table(head, rows)


def _overlap(overlap: Overlap) -> tuple[str, str, str, str]:
    values = (overlap.macro_f1, overlap.surrogate_macro_f1, overlap.trend_f1, overlap.surrogate_trend_f1)
    return (f"{values[0]:.2f}", f"{values[1]:.2f}", f"{values[2]:.2f}", f"{values[3]:.2f}")


def _truth(quality: RegimeQuality) -> TruthScore:
    if quality.truth is None:
        raise ValueError("truth was not known, expected a synthetic set")
    return quality.truth


def _method(held_out: RegimeQuality) -> str:
    seeds = f"{HELD_OUT_SEEDS[0]} to {HELD_OUT_SEEDS[-1]}"
    symbols = ", ".join(symbol.partition("/")[0] for symbol in DEFAULT_SYMBOLS)
    return _METHOD.format(seeds=seeds, symbols=symbols, bars=held_out.bars, shifts=SHIFTS)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share * 100:.1f} %"


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}".removesuffix(".0")


def _two(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _yes(met: bool) -> str:
    return "yes" if met else "no"


_INTRODUCTION = """\
A label says in which of five regimes a symbol stands ([the rule](../core/regimes.py)). This page says how often it is right,
how late it comes, and how often it is taken back. What is wanted: at most 5 % false switches, and so that a label that
never moves does not win, macro-F1, lag and misses on a market whose truth is known."""

_DIRECTION = """\
- Direction, {name}: trend F1 against hindsight is {trend}, and {chance} on
  copies of the same bars whose direction was drawn at random: {verdict}."""

_WARNINGS = """\
- On 1h labels of the synthetic market, which really does trend, trend F1 against its truth is {trend}, and {chance} with
  directions drawn at random. That shows that the rule finds trends where there are some, not that real markets have them.
- Panic is a brake, not a diagnosis: it is entered at once and on suspicion. {labelled} of the synthetic bars are labelled
  panic, {true} are.
- A switch that stays is not thereby right: {unsupported} of all switches on the synthetic market go to a label that is true
  nowhere within 12 bars.
- So the labels serve as a switch for volatility and cost; each strategy checks its own trend."""

_FALSE_SWITCHES = """\
A switch from A to B is false when the label is A again within {window} bars of the carrier. Switches from or to panic or
unknown count in neither number. The interval takes switches as independent; symbols move together, so it is too narrow."""

_KNOWN_TRUTH = """\
Macro-F1 is the average of the F1 of each regime, over all bars of all series together. The lag of a true segment is the
number of bars from its start to the first bar with the right label; a segment without one is missed. True segments other
than panic last three to five days on average; on 4h labels, where confirmation takes 36 hours, many are over before the
label comes."""

_OVERLAP = """\
A surrogate keeps the size of every bar and their order, and turns each upside down with probability one half: volatility
stays, direction is gone. Hindsight calls a bar a trend when the move from 24 bars before it to 24 bars after it is large for
its volatility; label and hindsight look at overlapping bars, so they agree to some degree on pure noise. What a trend score
has beyond its surrogate's is skill; what it has not is overlap. {copies} surrogates a series; labels here are without the
fast panic check, which surrogates can't have. Against known truth, labels of surrogates are scored by the data's own truth."""

_METHOD = """\
- **Synthetic hold-out**: seeds {seeds}, {symbols}, a year each after 200 days of warm-up ({bars} hourly labels),
  scenario `mixed`. No threshold was chosen on these seeds, nor on this market. Base 1h and base 5m are different paths of
  the same process. On base 5m the panic check runs on 5m closes, as in `brain paper`. Truth is that of the base bar that
  closes with the carrier's.
- **Recordings are not held out.** The thresholds were chosen after looking at recordings up to the end of 2024 (thirteen
  variants of the rule were compared on 2023 and 2024), so every recorded year above was seen. Data from 2025 on was not
  touched here. Symbols: every perpetual in the data folder that has hourly bars at the start of the year; they were picked
  because they still trade, and they move together. Panic is checked on the finest recording of each.
- **Labels** come from the same functions as in a run, which hold the same labels bar by bar (tests/properties).
- **Moved in time**: the labels of each series rotated by a random number of bars, median of {shifts}.
- A run shows the same two figures as it goes: `false_switch_ratio` over the 1h labels since the start of its warm-up, and
  on the synthetic market `macro_f1` since its first bar."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, then print or write the page."""
    default = Path(os.environ.get("BRAIN_TEST_DATA", ROOT.parent / "shared" / "data"))
    parser = argparse.ArgumentParser(description="Measure the regime labels.")
    parser.add_argument("--data", type=Path, default=default, help="folder of recordings (default: %(default)s)")
    parser.add_argument("--write", action="store_true", help="write docs/regimes.md instead of printing it")
    options = parser.parse_args(arguments)
    if options.write and not options.data.is_dir():
        print(f"error: {options.data} is no folder; the page is written only with recordings (--data DIR)", file=sys.stderr)
        return 4
    params = load().strategies
    recorded = measure_recorded(params, options.data) if options.data.is_dir() else []
    text = render(params.regimes, measure_synthetic(params), recorded)
    if options.write:
        PAGE.write_text(text, encoding="utf-8")
        print(f"written: {PAGE.relative_to(ROOT)}")
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
