"""Market regimes: which of six labels a symbol stands in, held against noise (requirement G6, decisions X18, X19, X41).

The rule, on the bars of one carrier timeframe (``research/quant.md`` §1; numbers from ``strategies.yaml``):

- panic: (``shock`` <= -4 and 6-bar return <= -2 %) or (close <= 88 % of the 72 h high and ATR rank >= 0.9);
- trend_up: ADX >= 27, slope >= 0.5, close > EMA200; trend_down mirrored;
- otherwise range_highvol when the ATR rank >= 0.6, else range_lowvol.

Bands: while the *raw label last seen* (not the held one) is a trend or range_highvol, the weaker ``*_leave`` thresholds
apply to staying in it; so the raw label depends on the bars alone and not on the confirmation behind it.

Holding: a raw label is taken over once it has stood ``confirm_bars`` carrier bars in a row. Panic is taken over at once, at
the carrier's own close or between two of them at the close of the symbol's base bar (the fast check). Panic is left like
every other label, by ``confirm_bars`` equal raw labels in a row, with no panic condition, slow or fast, on any of them.
A symbol is unknown on a carrier until every input of that carrier is there, panic included: a shock measured on a few
days of history says nothing yet, and unknown opens nothing. So the fast check passes over a carrier that was never known.
The first label is taken at once. Should inputs vanish later, it is unknown at once (panic stays panic, and the fast check
goes on) and comes back only through confirmation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from configs.validators import RegimeParams
from core.data.blocks import Bools, Closed, ClosedBlock, Floats, Ints, somewhere
from core.errors import StateError
from core.types import REGIME_CODES, Regime, RegimeView, Timeframe

Codes = NDArray[np.int8]

UNKNOWN, UP, DOWN, LOW, HIGH, PANIC = (
    REGIME_CODES.index(r)
    for r in (Regime.UNKNOWN, Regime.TREND_UP, Regime.TREND_DOWN, Regime.RANGE_LOWVOL, Regime.RANGE_HIGHVOL, Regime.PANIC)
)
_INPUTS = ("adx", "slope", "close", "ema200", "atr_rank", "shock", "ret6_pct", "hi72")
_DAYS_A_MONTH = 365.25 / 12

CARRIED_BY_H4 = frozenset({"breakout_4h"})
"""Strategies that the 4h label gates; the 1h label gates every other (X18)."""


class FeatureView(Protocol):
    """What the tracker needs of the feature store."""

    @property
    def view(self) -> Mapping[str, Floats]:
        """``name@tf`` -> persistent (S,) array, NaN until ready."""
        ...


class Inputs(NamedTuple):
    """Features of one carrier, as arrays over symbols (live) or over time (whole history)."""

    adx: Floats
    slope: Floats
    close: Floats
    ema200: Floats
    atr_rank: Floats
    shock: Floats
    ret6_pct: Floats
    hi72: Floats


class Thresholds:
    """Numbers of the rule as tables by previous raw label, so that a band is one look-up."""

    __slots__ = (
        "adx_down",
        "adx_up",
        "confirm",
        "crash_factor",
        "crash_rank",
        "rank",
        "shock_return",
        "shock_sigma",
        "slope_down",
        "slope_up",
    )

    def __init__(self, params: RegimeParams) -> None:
        self.adx_up = _band(params.adx_enter, params.adx_leave, UP)
        self.adx_down = _band(params.adx_enter, params.adx_leave, DOWN)
        self.slope_up = _band(params.slope_enter, params.slope_leave, UP)
        self.slope_down = -_band(params.slope_enter, params.slope_leave, DOWN)
        self.rank = _band(params.rank_high_enter, params.rank_high_leave, HIGH)
        # arrays without dimensions, which a numpy call takes far faster than a Python float
        self.shock_sigma = np.array(params.shock_sigma)
        self.shock_return = np.array(params.shock_return_pct)
        self.crash_factor = np.array(1.0 + params.crash_dd72_pct / 100.0)
        self.crash_rank = np.array(params.crash_rank)
        self.confirm = params.confirm_bars


def _band(enter: float, leave: float, code: int) -> Floats:
    table = np.full(len(REGIME_CODES), enter)
    table[code] = leave
    return table


def panics(shock: Floats, ret6_pct: Floats, close: Floats, hi72: Floats, rank: Floats, limits: Thresholds) -> Bools:
    """Whether the panic condition holds, element by element; False where the numbers for it are missing (NaN)."""
    hit, crash = falls(ret6_pct, close, hi72, limits)
    np.logical_and(hit, np.less_equal(shock, limits.shock_sigma), out=hit)
    np.logical_and(crash, np.greater_equal(rank, limits.crash_rank), out=crash)
    np.logical_or(hit, crash, out=hit)
    return hit


def falls(ret6_pct: Floats, close: Floats, hi72: Floats, limits: Thresholds) -> tuple[Bools, Bools]:
    """Where the price has fallen far enough for a shock, and for a crash: panic is nowhere else."""
    return np.less_equal(ret6_pct, limits.shock_return), np.less_equal(close, np.multiply(hi72, limits.crash_factor))


def trend_labels(inputs: Inputs, previous: Ints, limits: Thresholds) -> Codes:
    """UP or DOWN where price, slope and ADX agree on a direction, else UNKNOWN (no trend); False where an input is NaN."""
    up = np.greater_equal(inputs.adx, limits.adx_up.take(previous))
    np.logical_and(up, np.greater_equal(inputs.slope, limits.slope_up.take(previous)), out=up)
    np.logical_and(up, np.greater(inputs.close, inputs.ema200), out=up)
    down = np.greater_equal(inputs.adx, limits.adx_down.take(previous))
    np.logical_and(down, np.less_equal(inputs.slope, limits.slope_down.take(previous)), out=down)
    np.logical_and(down, np.less(inputs.close, inputs.ema200), out=down)
    codes = np.zeros(inputs.close.shape, dtype=np.int8)
    np.copyto(codes, UP, where=up)
    np.copyto(codes, DOWN, where=down)
    return codes


def volatility_labels(inputs: Inputs, previous: Ints, limits: Thresholds) -> Codes:
    """LOW, HIGH or PANIC by ATR rank, shock and fall; LOW where an input is NaN, which :func:`raw_labels` overrules."""
    codes = np.full(inputs.close.shape, LOW, dtype=np.int8)
    np.copyto(codes, HIGH, where=np.greater_equal(inputs.atr_rank, limits.rank.take(previous)))
    panic = panics(inputs.shock, inputs.ret6_pct, inputs.close, inputs.hi72, inputs.atr_rank, limits)
    np.copyto(codes, PANIC, where=panic)
    return codes


def combined_labels(inputs: Inputs, trend: Codes, volatility: Codes) -> Codes:
    """Raw label of each element: panic before trend, trend before range, UNKNOWN where an input is NaN."""
    codes = np.where(trend != UNKNOWN, trend, volatility)
    np.copyto(codes, PANIC, where=volatility == PANIC)
    np.copyto(codes, UNKNOWN, where=_missing(inputs))
    return codes


def raw_labels(inputs: Inputs, previous: Ints, limits: Thresholds) -> Codes:
    """Raw label of each element, given the raw label before it: the one rule of live run and whole history (X29)."""
    return combined_labels(inputs, trend_labels(inputs, previous, limits), volatility_labels(inputs, previous, limits))


def _missing(inputs: Inputs) -> Bools:
    lowest = np.minimum(inputs[0], inputs[1])  # minimum hands NaN on: one test at the end instead of eight
    for values in inputs[2:]:
        np.minimum(lowest, values, out=lowest)
    return np.isnan(lowest)


def carrier_inputs(features: Mapping[str, Floats], tf: Timeframe) -> Inputs:
    """Pick the inputs of carrier ``tf`` out of ``name@tf`` features. Raises KeyError when one is not there at all."""
    return Inputs(*(features[f"{name}@{tf}"] for name in _INPUTS))


# --- whole history --------------------------------------------------------------------------------


def label_history(features: Mapping[str, Floats], params: RegimeParams, tf: Timeframe, fast_panic: Bools | None = None) -> Codes:
    """Held label of one symbol at every bar of a carrier: what a live tracker that saw the same bars would hold.

    Args:
        features: ``name@tf`` arrays of one length, oldest first; NaN where not ready.
        params: thresholds.
        tf: the carrier.
        fast_panic: whether the fast check fired at any base close after the bar before and up to this bar's close.

    Returns:
        Codes into :data:`core.types.REGIME_CODES`. The value at t depends on bars up to t only (B8).
    """
    limits = Thresholds(params)
    inputs = carrier_inputs(features, tf)
    size = inputs.close.size
    by_previous = [raw_labels(inputs, np.full(size, code, dtype=np.int64), limits).tolist() for code in range(len(REGIME_CODES))]
    fast = [False] * size if fast_panic is None else fast_panic.tolist()
    held, raw, run, started = UNKNOWN, UNKNOWN, 0, False
    out = []
    for t in range(size):
        before, raw = raw, by_previous[raw][t]
        run = run + 1 if raw == before else 1
        if fast[t] and started:
            held, run = PANIC, 0
        held = _held(held, raw, run, started, limits.confirm)
        started = started or held != UNKNOWN
        out.append(held)
    return np.array(out, dtype=np.int8)


def _held(held: int, raw: int, run: int, started: bool, confirm: int) -> int:
    if raw == PANIC:
        return PANIC
    if raw == UNKNOWN:
        return PANIC if held == PANIC else UNKNOWN
    return raw if run >= confirm or not started else held


def false_switch_rate(codes: Codes, window: int = 12) -> float | None:
    """Share of whipsaws among switches (X19): A->B where the label is A again within ``window`` bars of the switch.

    Switches from or to panic or unknown count in neither number. None when there was no other switch.
    """
    switches = _switches(codes)
    counted = [t for t in switches if not {int(codes[t - 1]), int(codes[t])} & {PANIC, UNKNOWN}]
    if not counted:
        return None
    back = [t for t in counted if bool(np.any(codes[t + 1 : t + 1 + window] == codes[t - 1]))]
    return len(back) / len(counted)


def switches_per_month(codes: Codes, tf: Timeframe) -> float | None:
    """Label changes a month (30.4 days) of known bars, panic included; None when no bar is known."""
    known = int(np.count_nonzero(codes != UNKNOWN))
    if known == 0:
        return None
    changes = [t for t in _switches(codes) if UNKNOWN not in (int(codes[t - 1]), int(codes[t]))]
    return len(changes) / (known * tf.ms / (_DAYS_A_MONTH * Timeframe.D1.ms))


def _switches(codes: Codes) -> list[int]:
    return [int(t) + 1 for t in np.flatnonzero(codes[1:] != codes[:-1])]


# --- live -----------------------------------------------------------------------------------------


class _Carrier:
    """Held labels of all symbols on one timeframe; the arrays live as long as the tracker."""

    __slots__ = ("bars", "fast", "held", "keys", "raw", "run", "started")

    def __init__(self, size: int, tf: Timeframe) -> None:
        self.keys = tuple(f"{name}@{tf}" for name in _INPUTS)
        self.held: Codes = np.zeros(size, dtype=np.int8)
        self.bars: Ints = np.zeros(size, dtype=np.int64)
        self.raw: Ints = np.zeros(size, dtype=np.int64)
        self.run: Ints = np.zeros(size, dtype=np.int64)
        self.fast: Bools = np.zeros(size, dtype=np.bool_)
        self.started: Bools = np.zeros(size, dtype=np.bool_)

    def panic_now(self, rows: Ints) -> None:
        """The fast check fired for ``rows``: panic at once where the carrier was ever known, and this bar confirms nothing."""
        rows = rows[self.started[rows]]
        newly = rows[self.held[rows] != PANIC]
        self.held[rows] = PANIC
        self.bars[newly] = 0
        self.fast[rows] = True

    def step(self, raw: Codes, rows: Ints, limits: Thresholds) -> None:
        """Take the raw labels of the bar of ``rows`` that closed now; other rows stay as they are."""
        everyone = rows.size == self.held.size
        changed = somewhere(np.not_equal(raw, self.raw)) or somewhere(np.not_equal(raw, self.held))
        if everyone and not changed and not somewhere(self.fast):
            self.run += 1
            self.bars += 1
            return
        self._move(raw, rows, limits.confirm)

    def _move(self, raw_all: Codes, rows: Ints, confirm: int) -> None:
        raw, held = raw_all[rows], self.held[rows]
        run = np.where(raw == self.raw[rows], self.run[rows] + 1, 1)
        run[self.fast[rows]] = 0
        known = raw != UNKNOWN
        take = known & ((run >= confirm) | ~self.started[rows] | (raw == PANIC))
        new = np.where(take | (~known & (held != PANIC)), raw, held)
        self.bars[rows] = np.where(new == held, self.bars[rows] + 1, 1)
        self.held[rows] = new
        self.raw[rows] = raw
        self.run[rows] = run
        self.started[rows] |= new != UNKNOWN
        self.fast[rows] = False

    def snapshot(self) -> dict[str, object]:
        return {name: getattr(self, name).tolist() for name in ("held", "bars", "raw", "run", "fast", "started")}

    def restore(self, saved: Mapping[str, Sequence[int]]) -> None:
        for name in ("held", "bars", "raw", "run", "fast", "started"):
            getattr(self, name)[:] = saved[name]


class Volatility(NamedTuple):
    """Volatility labels by carrier that closed, and rows whose base bar fell into panic, one array a base timeframe."""

    labels: dict[Timeframe, Codes]
    panic: tuple[Ints, ...]


_NO_ROWS: Ints = np.empty(0, dtype=np.int64)
_CALM = Volatility({}, ())


class RegimeTracker:
    """Held regimes of all symbols on both carriers, fed by announcements (X18).

    Args:
        symbols: the run's symbols, in order.
        features: store whose ``view`` was updated with the same announcement before :meth:`update` is called.
        params: thresholds.
        min_bars_hold: the least confirmation allowed (6); a smaller ``confirm_bars`` is refused with ValueError.
        base_tf: base timeframe of each symbol, on whose closes panic is checked; when it is not given, the finest
            timeframe that has a ``shock`` feature is taken for all.

    Attributes:
        h1, h4: held labels, codes into REGIME_CODES, shape (S,), updated in place.
        h1_bars, h4_bars: carrier bars for which the label has been held (0: panic since the last carrier close).
    """

    def __init__(
        self,
        symbols: Sequence[str],
        features: FeatureView,
        params: RegimeParams,
        min_bars_hold: int,
        base_tf: Sequence[Timeframe] | None = None,
    ) -> None:
        if params.confirm_bars < min_bars_hold:
            raise ValueError(f"confirm_bars was {params.confirm_bars}, expected at least min_bars_hold = {min_bars_hold}")
        self.symbols = tuple(symbols)
        self._features = features
        self._limits = Thresholds(params)
        self._h1 = _Carrier(len(self.symbols), Timeframe.H1)
        self._h4 = _Carrier(len(self.symbols), Timeframe.H4)
        self._carriers = {
            tf: carrier
            for tf, carrier in ((Timeframe.H1, self._h1), (Timeframe.H4, self._h4))
            if all(key in features.view for key in carrier.keys)
        }
        self._fast = self._fast_frames(base_tf)
        self.h1, self.h1_bars = self._h1.held, self._h1.bars
        self.h4, self.h4_bars = self._h4.held, self._h4.bars

    def _fast_frames(self, base_tf: Sequence[Timeframe] | None) -> dict[Timeframe, tuple[Bools, tuple[str, str, str]]]:
        """Timeframe -> (rows whose base it is, keys of shock, return and close)."""
        if Timeframe.H1 not in self._carriers:
            return {}
        view = self._features.view
        present = [tf for tf in Timeframe if f"shock@{tf}" in view]
        bases = list(base_tf) if base_tf is not None else [present[0]] * len(self.symbols)
        frames = {}
        for tf in present:
            rows = np.array([base is tf for base in bases], dtype=np.bool_)
            if np.count_nonzero(rows):
                frames[tf] = (rows, (f"shock@{tf}", f"ret6_pct@{tf}", f"close@{tf}"))
        return frames

    def update(self, closed: Closed) -> None:
        """Take an announcement: fast panic check at base closes, the whole rule at 1h and 4h closes."""
        self.classify(closed, self.measure_volatility(closed), self.detect_trend(closed))

    def measure_volatility(self, closed: Closed) -> Volatility:
        """Volatility labels of the carriers that closed, and symbols in panic by their own base bar."""
        panic: tuple[Ints, ...] = ()
        for block in closed.blocks:
            fast = self._fast.get(block.tf)
            if fast is not None:
                rows = self._in_panic(block, *fast)
                panic = (*panic, rows) if rows.size else panic
        labels = self._labels(closed, volatility_labels)
        return Volatility(labels, panic) if labels or panic else _CALM

    def detect_trend(self, closed: Closed) -> dict[Timeframe, Codes]:
        """Trend labels of the carriers that closed, by carrier."""
        return self._labels(closed, trend_labels)

    def classify(self, closed: Closed, volatility: Volatility, trend: Mapping[Timeframe, Codes]) -> None:
        """Put both together and hold the result against noise; once an announcement."""
        for rows in volatility.panic:
            self._h1.panic_now(rows)
            self._h4.panic_now(rows)
        for block in closed.blocks:
            if block.tf in trend:
                carrier = self._carriers[block.tf]
                raw = combined_labels(self._inputs(carrier), trend[block.tf], volatility.labels[block.tf])
                carrier.step(raw, block.idx, self._limits)

    def _labels(self, closed: Closed, rule: Callable[[Inputs, Ints, Thresholds], Codes]) -> dict[Timeframe, Codes]:
        closing = [(block.tf, self._carriers[block.tf]) for block in closed.blocks if block.tf in self._carriers]
        return {tf: rule(self._inputs(carrier), carrier.raw, self._limits) for tf, carrier in closing}

    def _inputs(self, carrier: _Carrier) -> Inputs:
        view = self._features.view
        return Inputs(*[view[key] for key in carrier.keys])

    def _in_panic(self, block: ClosedBlock, based: Bools, keys: tuple[str, str, str]) -> Ints:
        view, limits = self._features.view, self._limits
        ret6_pct, close, hi72 = view[keys[1]], view[keys[2]], view["hi72@1h"]
        shocked, crashed = falls(ret6_pct, close, hi72, limits)
        if not somewhere(shocked) and not somewhere(crashed):
            return _NO_ROWS
        hit = panics(view[keys[0]], ret6_pct, close, hi72, view["atr_rank@1h"], limits)
        return block.idx[(hit & based)[block.idx]]

    def carrier(self, strategy: str, index: int) -> Regime:
        """Held regime that gates ``strategy``: 4h for breakout_4h, 1h for every other (X18)."""
        codes = self.h4 if strategy in CARRIED_BY_H4 else self.h1
        return REGIME_CODES[int(codes[index])]

    def view(self, index: int) -> RegimeView:
        """Both held labels of one symbol, as plain values."""
        return RegimeView(
            symbol=self.symbols[index],
            h1=REGIME_CODES[int(self.h1[index])],
            h1_bars=int(self.h1_bars[index]),
            h4=REGIME_CODES[int(self.h4[index])],
            h4_bars=int(self.h4_bars[index]),
        )

    def snapshot(self) -> dict[str, object]:
        """State as plain lists, for :meth:`restore`."""
        return {"symbols": list(self.symbols), "h1": self._h1.snapshot(), "h4": self._h4.snapshot()}

    def restore(self, saved: Mapping[str, object]) -> None:
        """Go on from a snapshot, bit for bit.

        Raises:
            StateError: the snapshot is of other symbols or damaged.
        """
        if saved.get("symbols") != list(self.symbols):
            raise StateError(
                f"saved regimes are of {saved.get('symbols')}, expected {list(self.symbols)}",
                help="start without --state, or with the symbols of the saved run",
            )
        try:
            self._h1.restore(saved["h1"])  # type: ignore[arg-type]
            self._h4.restore(saved["h4"])  # type: ignore[arg-type]
        except (KeyError, TypeError, ValueError) as error:
            raise StateError(f"saved regimes are damaged: {error}", help="start without --state") from error
