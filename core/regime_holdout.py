"""Measures the regime labels on bars that were set aside: made markets with known truth, recordings, surrogates (G11, X19).

Never used by a run: :func:`hindsight_labels` looks into the future, and a label that agrees with it proves little, because
both look at overlapping bars. So every score against hindsight stands beside the same score on surrogate series, whose bars
have the same sizes in the same order and a random direction: what is scored there is overlap, not skill.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from configs.validators import StrategiesFile
from core.data.blocks import Bars, Bools, Floats, Ints
from core.data.features import build_features
from core.data.quality import clean
from core.data.resample import resample
from core.data.sources.folder import Kind, Recording, read_bars, scan
from core.data.sources.synthetic import DEFAULT_SYMBOLS, SyntheticSource
from core.data.timeframes import say
from core.errors import SourceError
from core.indicators import arrays
from core.regime_quality import (
    Codes,
    Detection,
    accuracy,
    confusion,
    count_false_switches,
    count_unsupported_switches,
    detection,
    f1_by_code,
    majority_f1,
    mean_f1,
    pooled,
    trend_f1,
)
from core.regimes import (
    DOWN,
    HIGH,
    LOW,
    PANIC,
    UNKNOWN,
    UP,
    Thresholds,
    carrier_inputs,
    label_history,
    panics,
    switches_per_month,
)
from core.types import REGIME_CODES, Regime, Timeframe

HELD_OUT_SEEDS = (1001, 1002, 1003, 1004, 1005)
"""Synthetic markets that nothing else uses: no threshold was chosen on them."""

SURROGATES = 3
"""Direction-randomised copies of each series."""

SHIFTS = 50
"""Random rotations of the labels, for the score of labels with the same habits and no knowledge."""

_WARM_UP_MS = 400 * Timeframe.D1.ms
_HOURS_A_YEAR = 8760


# --- series ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Series:
    """One symbol's bars, warm-up included.

    ``hourly`` 1h bars; ``base`` its base bars of ``base_tf``, on whose closes panic is checked; bars that open at or
    after ``start`` are scored. ``truth``: true code of each base bar from ``start`` on, None where nobody knows.
    """

    name: str
    hourly: Bars
    base_tf: Timeframe
    base: Bars
    start: int
    truth: Codes | None = None


def synthetic_series(
    seeds: Sequence[int] = HELD_OUT_SEEDS,
    symbols: Sequence[str] = DEFAULT_SYMBOLS,
    hours: int = _HOURS_A_YEAR,
    base_tf: Timeframe = Timeframe.H1,
) -> Iterator[Series]:
    """The made market of each seed, ``hours`` after 200 days of warm-up, with its truth."""
    bars = hours * (Timeframe.H1.ms // base_tf.ms)
    for seed in seeds:
        source = SyntheticSource(symbols, seed=seed, bars=bars, base_tf=base_tf)
        end = source.info.start + bars * base_tf.ms
        for symbol in source.symbols:
            base = source.history(symbol, base_tf, end, 1 << 40)
            hourly = resample(base, base_tf, Timeframe.H1)
            yield Series(f"{symbol} seed {seed}", hourly, base_tf, base, source.info.start, source.truth(symbol))


def recorded_series(folder: Path, start: int, end: int, venue_ids: Sequence[str] | None = None) -> Iterator[Series]:
    """Perpetuals of a data folder that have 1h bars from ``start`` to ``end`` (ms), in order of name.

    The panic check runs on the finest recording that covers ``start``.

    Raises:
        SourceError: the folder cannot be used, or has none of the symbols in that range.
    """
    files = [file for file in scan(folder) if file.kind is Kind.PERP and (venue_ids is None or file.venue_id in venue_ids)]
    hourly = [file for file in files if file.tf is Timeframe.H1 and file.first <= start and file.end > start]
    if not hourly:
        raise SourceError(f"{folder} has no 1h perpetual bars at {say(start)}", help="name another folder or another range")
    for file in hourly:
        own = [(f.tf, f) for f in files if f.venue_id == file.venue_id and f.first <= start < f.end and f.tf is not None]
        base_tf, base = min(own, key=lambda pair: pair[0].ms)
        bars, base_bars = (_cleaned(f, tf, start - _WARM_UP_MS, end) for tf, f in ((Timeframe.H1, file), (base_tf, base)))
        yield Series(file.venue_id, bars, base_tf, base_bars, start)


def _cleaned(file: Recording, tf: Timeframe, since: int, until: int) -> Bars:
    return clean(read_bars(file, since, until), tf).bars


# --- labels ---------------------------------------------------------------------------------------


def features_of(bars: Bars, tf: Timeframe, params: StrategiesFile) -> dict[str, Floats]:
    """Features of bars as ``name@tf`` arrays."""
    frame = pd.DataFrame({**dict(zip(Bars._fields, bars, strict=True)), "tf": tf.value})
    return {f"{name}@{tf}": column.to_numpy() for name, column in build_features(frame, params=params).items()}


def held_labels(bars: Bars, tf: Timeframe, params: StrategiesFile, fast_panic: Bools | None = None) -> Codes:
    """Held label at each bar of carrier ``tf``, as a run would hold it."""
    return label_history(features_of(bars, tf, params), params.regimes, tf, fast_panic)


def fast_panics(series: Series, carrier_close: Ints, params: StrategiesFile) -> Bools:
    """Whether the fast check fired at any base close after the carrier close before and up to this one."""
    hourly = carrier_inputs(features_of(series.hourly, Timeframe.H1, params), Timeframe.H1)
    limits, close = params.regimes, series.base.close
    base_close = series.base.ts + series.base_tf.ms
    known = np.searchsorted(series.hourly.ts + Timeframe.H1.ms, base_close, side="right") - 1
    shock = arrays.shock(close, limits.shock_bars, limits.sigma_span)
    ret = arrays.return_pct(close, limits.shock_bars)
    hit = panics(shock, ret, close, _at(hourly.hi72, known), _at(hourly.atr_rank, known), Thresholds(limits))
    rows = np.searchsorted(carrier_close, base_close[hit], side="left")
    fired = np.zeros(carrier_close.size, dtype=np.bool_)
    fired[rows[rows < carrier_close.size]] = True
    return fired


def _at(values: Floats, rows: Ints) -> Floats:
    return np.where(rows >= 0, values[np.maximum(rows, 0)], np.nan)


# --- hindsight and surrogates ---------------------------------------------------------------------


def hindsight_labels(
    close: Floats,
    shock: Floats,
    *,
    half_width: int = 24,
    trend_t: float = 1.3,
    rank_width: int = 500,
    high_quantile: float = 0.6,
    shock_sigma: float = -4.0,
    shock_bars: int = 6,
) -> Codes:
    """What the market was in hindsight: **looks into the future**, for scoring recordings only (quant.md §1).

    t = (ln C_{t+w} - ln C_{t-w}) / (std of the 2w returns between * sqrt(2w)), w = ``half_width``; a trend where
    abs(t) >= ``trend_t``; else high volatility where the std of the w returns around t reaches its ``high_quantile`` over
    +-``rank_width`` bars, else low. Panic on the ``shock_bars`` bars of a shock and as many after it. UNKNOWN where the
    windows reach beyond the series.
    """
    w = half_width
    returns = pd.Series(arrays.log_returns(close))
    std = returns.rolling(2 * w).std(ddof=0).shift(-w).to_numpy()
    logs = np.log(close)
    move = np.full(close.size, np.nan)
    move[w : close.size - w] = logs[2 * w :] - logs[: -2 * w]
    with np.errstate(invalid="ignore", divide="ignore"):
        t = move / (std * math.sqrt(2 * w))
    volatility = returns.rolling(w).std(ddof=0).shift(-(w // 2))
    high = volatility >= volatility.rolling(2 * rank_width + 1, center=True).quantile(high_quantile)
    labels = np.where(high.to_numpy(), HIGH, LOW).astype(np.int8)
    labels[t >= trend_t] = UP
    labels[t <= -trend_t] = DOWN
    for at in np.flatnonzero(shock <= shock_sigma).tolist():
        labels[max(0, at - shock_bars + 1) : at + shock_bars + 1] = PANIC
    edge = rank_width + w
    labels[:edge] = UNKNOWN
    labels[max(0, close.size - edge) :] = UNKNOWN
    return labels


def randomise_directions(bars: Bars, rng: np.random.Generator) -> Bars:
    """A surrogate: bars of the same size in the same order, each turned upside down with probability 1/2.

    In logs, a turned bar mirrors gap, body, high and low around the close before it; the path is rebuilt from the first
    open. So abs(return), range and volume of every bar, and with them the clustering of volatility, stay as they were.
    """
    before = np.concatenate((bars.open[:1], bars.close[:-1]))
    sign = np.where(rng.random(len(bars)) < 0.5, -1.0, 1.0)
    opened, high, low, close = (np.log(column / before) for column in (bars.open, bars.high, bars.low, bars.close))
    turned = sign < 0.0
    top, bottom = np.where(turned, -low, high), np.where(turned, -high, low)
    ends = np.cumsum(sign * close)
    base = math.log(float(bars.open[0])) + np.concatenate((np.zeros(1), ends[:-1])) if len(bars) else ends
    opened, close = np.exp(base + sign * opened), np.exp(base + sign * close)
    body_top, body_bottom = np.maximum(opened, close), np.minimum(opened, close)
    high = np.maximum(np.exp(base + top), body_top)
    low = np.minimum(np.exp(base + bottom), body_bottom)
    return Bars(bars.ts, opened, high, low, close, bars.volume)


# --- evaluation -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RegimeRow:
    """One regime: share of known labels, share of true bars, F1, and how its true segments were found."""

    regime: Regime
    label_share: float
    true_share: float | None
    f1: float | None
    detection: Detection | None


@dataclass(frozen=True, slots=True)
class Overlap:
    """F1 of labels made from the data, and of labels made from surrogates, each against the truth named beside it."""

    macro_f1: float
    trend_f1: float
    surrogate_macro_f1: float
    surrogate_trend_f1: float


@dataclass(frozen=True, slots=True)
class TruthScore:
    """Labels against known truth, in bars of the carrier.

    ``unsupported_share``: switches to a label that is true nowhere within 12 bars, of all switches, panic apart;
    ``majority_f1``: macro-F1 of naming the most frequent regime always; ``shifted_f1``: median macro-F1 of the same
    labels rotated in time at random; ``direction``: against the truth of the data also for surrogates, in which there is
    no direction to be found.
    """

    macro_f1: float
    accuracy: float
    detection: Detection
    unsupported_share: float | None
    majority_f1: float
    shifted_f1: float
    direction: Overlap


@dataclass(frozen=True, slots=True)
class RegimeQuality:
    """Quality of the labels over a set of series.

    ``hindsight``: against centred labels, surrogates against their own; None without surrogates. ``truth`` None where it
    is not known. Ratios 0..1, None where there was no case.
    """

    carrier: Timeframe
    names: tuple[str, ...]
    bars: int
    switches: int
    false_switches: int
    switches_per_month: float | None
    rows: tuple[RegimeRow, ...]
    hindsight: Overlap | None
    truth: TruthScore | None

    @property
    def false_switch_ratio(self) -> float | None:
        """False switches / switches, panic and unknown apart."""
        return self.false_switches / self.switches if self.switches else None


@dataclass(frozen=True, slots=True)
class _Scored:
    """Labels of one series from its start on, and everything they are compared with.

    ``plain`` are labels without the fast panic check, which is what surrogates can have; pairs are (labels, truth).
    """

    held: Codes
    truth: Codes | None
    plain: Codes
    hindsight: Codes
    surrogates: tuple[tuple[Codes, Codes], ...]


def evaluate(
    params: StrategiesFile, series: Iterable[Series], carrier: Timeframe = Timeframe.H1, surrogates: int = SURROGATES
) -> RegimeQuality:
    """Label every series as a run would, and measure the labels together.

    Args:
        params: the thresholds that are judged.
        series: from :func:`synthetic_series` or :func:`recorded_series`; all with truth, or none.
        carrier: 1h or 4h.
        surrogates: direction-randomised copies of each series, seeded by its place.

    Raises:
        ValueError: there was no series.
    """
    names, scored = [], []
    for place, one in enumerate(series):
        names.append(one.name)
        scored.append(_score(one, params, carrier, np.random.default_rng(place), surrogates))
    if not scored:
        raise ValueError("series was empty, expected at least one")
    counts = [count_false_switches(one.held) for one in scored]
    held = _joined([one.held for one in scored])
    known = [one.truth for one in scored if one.truth is not None]
    return RegimeQuality(
        carrier=carrier,
        names=tuple(names),
        bars=sum(one.held.size for one in scored),
        switches=sum(switches for _, switches in counts),
        false_switches=sum(false for false, _ in counts),
        switches_per_month=switches_per_month(held, carrier),
        rows=_rows(scored),
        hindsight=_hindsight(scored),
        truth=_truth_score(scored) if known else None,
    )


def _score(one: Series, params: StrategiesFile, carrier: Timeframe, rng: np.random.Generator, surrogates: int) -> _Scored:
    bars = resample(one.hourly, Timeframe.H1, carrier)
    close_ts = bars.ts + carrier.ms
    first = int(np.searchsorted(bars.ts, one.start))
    features = features_of(bars, carrier, params)
    fast = fast_panics(one, close_ts, params)
    copies = [randomise_directions(bars, rng) for _ in range(surrogates)]
    made = [features_of(copy, carrier, params) for copy in copies]
    return _Scored(
        held=label_history(features, params.regimes, carrier, fast)[first:],
        truth=None if one.truth is None else one.truth[(close_ts[first:] - one.start) // one.base_tf.ms - 1],
        plain=label_history(features, params.regimes, carrier)[first:],
        hindsight=_in_hindsight(features, carrier)[first:],
        surrogates=tuple(
            (label_history(own, params.regimes, carrier)[first:], _in_hindsight(own, carrier)[first:]) for own in made
        ),
    )


def _in_hindsight(features: dict[str, Floats], carrier: Timeframe) -> Codes:
    return hindsight_labels(features[f"close@{carrier}"], features[f"shock@{carrier}"])


def _joined(parts: Sequence[Codes]) -> Codes:
    """One series from several, with an unknown bar between them so that no switch is seen where two meet."""
    gap = np.zeros(1, dtype=np.int8)
    return np.concatenate([piece for part in parts for piece in (part, gap)])


def _table(pairs: Iterable[tuple[Codes, Codes]]) -> Ints:
    total = np.zeros((len(REGIME_CODES), len(REGIME_CODES)), dtype=np.int64)
    for predicted, true in pairs:
        total += confusion(predicted, true)
    return total


def _overlap(data: Ints, surrogate: Ints) -> Overlap | None:
    scores = (mean_f1(data), trend_f1(data), mean_f1(surrogate), trend_f1(surrogate))
    return None if None in scores else Overlap(*scores)  # type: ignore[arg-type]


def _hindsight(scored: Sequence[_Scored]) -> Overlap | None:
    data = _table((one.plain, one.hindsight) for one in scored)
    return _overlap(data, _table(pair for one in scored for pair in one.surrogates))


def _truth_score(scored: Sequence[_Scored]) -> TruthScore | None:
    known = [(one, one.truth) for one in scored if one.truth is not None]
    table = _table((one.held, truth) for one, truth in known)
    plain = _table((one.plain, truth) for one, truth in known)
    surrogate = _table((labels, truth) for one, truth in known for labels, _ in one.surrogates)
    counts = [count_unsupported_switches(one.held, truth) for one, truth in known]
    unsupported, switches = (sum(column) for column in zip(*counts, strict=True))
    score, share, most, direction = mean_f1(table), accuracy(table), majority_f1(table), _overlap(plain, surrogate)
    if score is None or share is None or most is None or direction is None:
        return None
    return TruthScore(
        macro_f1=score,
        accuracy=share,
        detection=pooled(_detections(known).values()),
        unsupported_share=unsupported / switches if switches else None,
        majority_f1=most,
        shifted_f1=_shifted_f1(known),
        direction=direction,
    )


def _detections(known: Sequence[tuple[_Scored, Codes]]) -> dict[int, Detection]:
    found = [detection(one.held, truth) for one, truth in known]
    codes = sorted({code for part in found for code in part})
    return {code: pooled(part[code] for part in found if code in part) for code in codes}


def _shifted_f1(known: Sequence[tuple[_Scored, Codes]]) -> float:
    rng = np.random.default_rng(SHIFTS)
    scores = []
    for _ in range(SHIFTS):
        rotated = [(np.roll(one.held, int(rng.integers(one.held.size))), truth) for one, truth in known]
        scores.append(mean_f1(_table(rotated)) or 0.0)
    return float(np.median(scores))


def _rows(scored: Sequence[_Scored]) -> tuple[RegimeRow, ...]:
    held = np.concatenate([one.held for one in scored])
    known = [(one, one.truth) for one in scored if one.truth is not None]
    labels = np.bincount(held, minlength=len(REGIME_CODES))
    table = _table((one.held, truth) for one, truth in known)
    there, scores, found = table.sum(axis=1), f1_by_code(table), _detections(known)
    return tuple(
        RegimeRow(
            regime=REGIME_CODES[code],
            label_share=float(labels[code] / max(1, held.size - labels[UNKNOWN])),
            true_share=float(there[code] / table.sum()) if known else None,
            f1=scores.get(code),
            detection=found.get(code),
        )
        for code in range(1, len(REGIME_CODES))
    )
