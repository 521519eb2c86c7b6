"""The process behind the synthetic market: regimes, then paths of price, volume, basis and book that follow them.

Time is cut into chunks of fixed length from a fixed origin; each chunk of each symbol has a random stream of its own,
named by (seed, asset, chunk), and starts from the state in which the chunk before ended. So a path depends neither on
how much of it is asked for nor on which other symbols run, and any chunk can be made again.

Regimes: the whole market runs through segments of a semi-Markov chain (gamma dwell times); a symbol follows a segment
with probability :data:`COUPLING` and panics always, otherwise it is in another regime of its own for that segment.
Log price per bar: drift and volatility of the regime, log-normal volatility clustering, an intraday swing, a market
factor shared by all, a pull to the middle in ranges and a very slow one to the asset's anchor price.
Funding follows the exchange's published form: clamp(premium + clamp(default - premium, +-0.05 %)), which makes the
default rate of exactly 0.0001 the most frequent one.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.data.blocks import Bools, Floats, Ints
from core.data.sources.scenarios import Script
from core.types import REGIME_CODES, Regime, Timeframe

SUBSTEPS = 8
"""Price steps inside a base bar, from which high and low are read."""
CHUNK_DAYS = 4
COUPLING = 0.7
DAY_MS = Timeframe.D1.ms
FUNDING_INTERVAL_MS = 8 * Timeframe.H1.ms
FUNDING_DEFAULT = 0.0001
FUNDING_CLAMP = 0.0005
FUNDING_CAP = 0.003

_ANCHOR_DAYS = 45.0
_CLUSTER_PERSISTENCE_HOUR = 0.97
_CLUSTER_SD = 0.25
_BASIS_HOURS = 10.0
_BASIS_SD = 0.00025
_CROWD_HOURS = 30.0
_CROWD_EVERY_HOURS = 240.0
_GAMMA_SHAPE = 3.0

_SEGMENTS, _FACTOR, _FOLLOW, _PATH, _CLOCK = range(5)

Codes = NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class RegimeShape:
    """How a regime moves.

    ``drift`` in own hourly sigma per hour (trends take the script's), ``vol`` as a multiple of
    the asset's usual volatility, ``pull`` per hour towards the middle, ``basis`` to which the basis tends.
    """

    dwell_hours: float
    drift: float
    vol: float
    pull: float
    basis: float


SHAPES: dict[Regime, RegimeShape] = {
    Regime.TREND_UP: RegimeShape(110.0, 1.0, 0.9, 0.0, 0.0005),
    Regime.TREND_DOWN: RegimeShape(110.0, -1.0, 0.9, 0.0, -0.0003),
    Regime.RANGE_LOWVOL: RegimeShape(130.0, 0.0, 0.5, 0.03, 0.0001),
    Regime.RANGE_HIGHVOL: RegimeShape(80.0, 0.0, 1.5, 0.03, 0.0001),
    Regime.PANIC: RegimeShape(9.0, -0.7, 3.5, 0.0, -0.0008),
}
"""Drifts of the trends are signs; the script's ``trend_drift`` scales them."""


@dataclass(frozen=True, slots=True)
class Asset:
    """An invented market with the size of a known one.

    ``price`` at the origin (USD), ``decimals`` of its tick,
    ``sigma_day`` usual daily volatility of log returns, ``rho`` correlation to the market factor, turnover and depth
    in USD.
    """

    price: float
    decimals: int
    sigma_day: float
    rho: float
    turnover_usd_day: float
    spread_bps: float
    depth_usd: float


ASSETS: dict[str, Asset] = {
    "BTC": Asset(60_000.0, 1, 0.022, 0.92, 1.2e10, 0.8, 2_000_000.0),
    "ETH": Asset(3_000.0, 2, 0.028, 0.88, 8.0e9, 0.9, 1_200_000.0),
    "SOL": Asset(150.0, 2, 0.040, 0.80, 3.0e9, 1.4, 500_000.0),
    "BNB": Asset(550.0, 2, 0.026, 0.78, 8.0e8, 1.6, 250_000.0),
    "ADA": Asset(0.45, 4, 0.038, 0.76, 4.0e8, 2.2, 120_000.0),
    "DOGE": Asset(0.14, 5, 0.042, 0.74, 9.0e8, 2.0, 150_000.0),
    "LTC": Asset(80.0, 2, 0.032, 0.74, 4.0e8, 2.2, 120_000.0),
    "LINK": Asset(14.0, 3, 0.038, 0.76, 4.0e8, 2.2, 120_000.0),
    "DOT": Asset(6.0, 3, 0.036, 0.78, 2.0e8, 2.6, 80_000.0),
    "ATOM": Asset(7.0, 3, 0.036, 0.74, 1.5e8, 2.8, 70_000.0),
    "FIL": Asset(5.0, 3, 0.040, 0.72, 1.5e8, 2.8, 70_000.0),
    "TRX": Asset(0.12, 5, 0.020, 0.55, 2.0e8, 2.4, 90_000.0),
    "APT": Asset(9.0, 3, 0.044, 0.72, 2.0e8, 2.8, 70_000.0),
    "NEAR": Asset(5.0, 3, 0.044, 0.74, 2.5e8, 2.8, 80_000.0),
    "OP": Asset(2.0, 4, 0.046, 0.72, 2.0e8, 2.8, 70_000.0),
}
DEFAULT_ASSET = Asset(10.0, 4, 0.040, 0.70, 2.0e8, 2.8, 80_000.0)


def asset_of(market: str) -> Asset:
    """The asset of ``BTC/USDT``; an unknown one looks like a middling alt at 10 USD."""
    return ASSETS.get(market.partition("/")[0], DEFAULT_ASSET)


@dataclass(frozen=True, slots=True)
class Geometry:
    """The grid of a run: base timeframe, time of origin bar 0 (a day's start), and where run bar 0 lies from there."""

    tf: Timeframe
    origin: int
    warm_bars: int

    @property
    def bars_per_hour(self) -> int:
        """Base bars in an hour."""
        return Timeframe.H1.ms // self.tf.ms

    @property
    def chunk_bars(self) -> int:
        """Base bars in a chunk."""
        return CHUNK_DAYS * 24 * self.bars_per_hour

    def open_ts(self, bar: int) -> int:
        """Open time of origin bar ``bar``."""
        return self.origin + bar * self.tf.ms


def rng_for(seed: int, *keys: int) -> np.random.Generator:
    """The random stream named by ``keys`` under ``seed``; no stream depends on another having been used."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy=seed, spawn_key=keys)))


def _words(name: str) -> tuple[int, int]:
    raw = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(raw[:4], "big"), int.from_bytes(raw[4:8], "big")


class MarketTide:
    """What all symbols share: the segments of the market's regimes, the market factor, the clock's noise."""

    def __init__(self, seed: int, script: Script, grid: Geometry) -> None:
        self.seed, self.script, self.grid = seed, script, grid
        self._rng = rng_for(seed, _SEGMENTS)
        self._begins: list[int] = []
        self._codes: list[int] = []
        self._end = 0
        self._factor: tuple[int, Floats] | None = None

    def factor(self, chunk: int) -> Floats:
        """Market shocks of a chunk, shape (bars, SUBSTEPS), unit variance."""
        if self._factor is None or self._factor[0] != chunk:
            shocks = rng_for(self.seed, _FACTOR, chunk).standard_normal((self.grid.chunk_bars, SUBSTEPS))
            self._factor = (chunk, shocks)
        return self._factor[1]

    def clock_noise_ms(self, chunk: int) -> Floats:
        """Measured clock drift of a healthy host, one value a bar."""
        noise = rng_for(self.seed, _CLOCK, chunk).standard_normal(self.grid.chunk_bars)
        return np.round(15.0 + 8.0 * noise, 1)

    def segments(self, begin: int, end: int) -> list[tuple[int, int, int]]:
        """(number, first bar, code) of the segments that touch origin bars [begin, end)."""
        while self._end < end:
            self._extend()
        first = max(0, bisect_right(self._begins, begin) - 1)
        last = bisect_right(self._begins, end - 1)
        return [(i, self._begins[i], self._codes[i]) for i in range(first, last)]

    def _extend(self) -> None:
        previous = self._codes[-1] if self._codes else 0
        code = choose(self.script.weights, previous, self._rng.random())
        dwell = SHAPES[REGIME_CODES[code]].dwell_hours * self.grid.bars_per_hour
        self._begins.append(self._end)
        self._codes.append(code)
        self._end += max(1, int(self._rng.gamma(_GAMMA_SHAPE, dwell / _GAMMA_SHAPE)))


def choose(weights: tuple[float, ...], excluded: int, draw: float) -> int:
    """Code chosen by ``draw`` in [0, 1) with ``weights``, never ``excluded``."""
    allowed = [(code, weight) for code, weight in enumerate(weights) if code != excluded and weight > 0.0]
    level = draw * math.fsum(weight for _, weight in allowed)
    for code, weight in allowed:
        level -= weight
        if level < 0.0:
            return code
    return allowed[-1][0]


@dataclass(frozen=True, slots=True)
class PathState:
    """Where a path stands between two chunks; logs of price, close as it was rounded."""

    log_price: float
    centre: float
    cluster: float
    basis: float
    crowd: float
    close: float


@dataclass(slots=True)
class PathChunk:
    """One symbol over one chunk, arrays of length ``chunk_bars`` (funding: one per 8 h). ``basis`` = perp/spot - 1."""

    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    basis: Floats
    funding: Floats
    bid: Floats
    ask: Floats
    depth_usd: Floats


@dataclass(slots=True)
class _Climate:
    """Per bar: regime codes, what they mean for drift (log), volatility, pull, and moves of the script."""

    codes: Codes
    starts: Bools
    drift: Floats
    vol: Floats
    pull: Floats
    jump: Floats
    basis: Floats


_VOL = np.array([0.0] + [SHAPES[r].vol for r in REGIME_CODES[1:]])
_DRIFT = np.array([0.0] + [SHAPES[r].drift for r in REGIME_CODES[1:]])
_PULL = np.array([0.0] + [SHAPES[r].pull for r in REGIME_CODES[1:]])
_BASIS = np.array([0.0] + [SHAPES[r].basis for r in REGIME_CODES[1:]])
_PANIC = REGIME_CODES.index(Regime.PANIC)
_TRENDS = tuple(REGIME_CODES.index(r) for r in (Regime.TREND_UP, Regime.TREND_DOWN))


class MarketPath:
    """The path of one market (``BTC/USDT``), chunk by chunk; the perp and the spot of an asset share it."""

    def __init__(self, market: str, tide: MarketTide) -> None:
        self.asset = asset_of(market)
        self._tide, self._grid, self._script = tide, tide.grid, tide.script
        self._seed = tide.seed
        self._words = _words(market)
        self._followed: dict[int, int] = {}
        anchor = math.log(self.asset.price)
        self._anchor = anchor
        self._states = [PathState(anchor, anchor, 0.0, 0.0001, 0.0, round(self.asset.price, self.asset.decimals))]

    def codes(self, begin: int, end: int) -> tuple[Codes, Ints]:
        """Regime codes of origin bars [begin, end), and a number for each stretch held without a change."""
        codes = np.zeros(end - begin, dtype=np.int8)
        stretch = np.zeros(end - begin, dtype=np.int64)
        for number, first, market_code in self._tide.segments(begin, end):
            codes[max(first - begin, 0) :] = self._own_code(number, market_code)
            stretch[max(first - begin, 0) :] = number
        for number, span in enumerate(self._script.spans):
            rows = self._rows(span.begin, span.end, begin, end)
            codes[rows] = REGIME_CODES.index(span.regime)
            stretch[rows] = -1 - number
        return codes, stretch

    def chunk(self, chunk: int) -> PathChunk:
        """Make chunk ``chunk``, and those before it the first time."""
        for earlier in range(len(self._states) - 1, chunk):
            self._make(earlier)
        return self._make(chunk)

    def _own_code(self, number: int, market_code: int) -> int:
        code = self._followed.get(number)
        if code is None:
            code = market_code
            draw_follow, draw_other = rng_for(self._seed, _FOLLOW, *self._words, number).random(2).tolist()
            if market_code != _PANIC and draw_follow >= COUPLING:
                weights = (*self._script.weights[:_PANIC], 0.0)
                code = choose(weights, market_code, draw_other)
            self._followed[number] = code
        return code

    def _rows(self, run_begin: int, run_end: int, begin: int, end: int) -> slice:
        """Rows of [begin, end) (origin bars) that lie in run bars [run_begin, run_end)."""
        low = min(max(run_begin + self._grid.warm_bars, begin), end) - begin
        high = min(max(run_end + self._grid.warm_bars, begin), end) - begin
        return slice(low, max(low, high))

    def _climate(self, begin: int, end: int) -> _Climate:
        before = max(begin - 1, 0)
        codes, stretch = self.codes(before, end)
        changes = np.diff(stretch) != 0
        starts = changes if begin > 0 else np.concatenate((np.ones(1, dtype=np.bool_), changes))
        codes = codes[begin - before :]
        drift, vol, pull = _DRIFT[codes], _VOL[codes], _PULL[codes]
        for code in _TRENDS:
            drift[codes == code] *= self._script.trend_drift
        for span in self._script.spans:
            rows = self._rows(span.begin, span.end, begin, end)
            for array, value in ((drift, span.drift), (vol, span.vol), (pull, span.pull)):
                if value is not None:
                    array[rows] = value
        hours = 1.0 / self._grid.bars_per_hour
        sigma_hour = self.asset.sigma_day / math.sqrt(24.0)
        drift *= vol * (sigma_hour * hours)
        pull = np.minimum(pull * hours, 0.5)
        jump = np.zeros(end - begin)
        self._script_moves(drift, jump, begin, end)
        return _Climate(codes, starts, drift, vol, pull, jump, _BASIS[codes])

    def _script_moves(self, drift: Floats, jump: Floats, begin: int, end: int) -> None:
        sigma = self.asset.sigma_day
        for push in self._script.pushes:
            rows = self._rows(push.begin, push.end, begin, end)
            drift[rows] += (push.log_return + push.sigmas * sigma) / (push.end - push.begin)
        for leap in self._script.jumps:
            jump[self._rows(leap.bar, leap.bar + 1, begin, end)] += leap.log_return + leap.sigmas * sigma

    def _make(self, chunk: int) -> PathChunk:
        bars = self._grid.chunk_bars
        begin = chunk * bars
        state = self._states[chunk]
        climate = self._climate(begin, begin + bars)
        rng = rng_for(self._seed, _PATH, *self._words, chunk)
        own = rng.standard_normal((bars, SUBSTEPS))
        noise = rng.standard_normal((5, bars))
        crowd_draws = rng.random((2, bars))

        keep = self._hourly(_CLUSTER_PERSISTENCE_HOUR)
        cluster = _decaying(state.cluster, keep, noise[0] * (_CLUSTER_SD * math.sqrt(1.0 - keep * keep)))
        usual = self.asset.sigma_day / math.sqrt(24.0 * self._grid.bars_per_hour)
        intraday = self._intraday(bars)
        heat = climate.vol * np.exp(cluster)
        sigma = usual * heat * intraday
        rho = self.asset.rho
        shocks = rho * self._tide.factor(chunk) + math.sqrt(1.0 - rho * rho) * own
        walk = np.cumsum(shocks, axis=1) * (sigma / math.sqrt(SUBSTEPS))[:, None]
        opens, steps, log_price, centre = self._walk(climate, walk[:, -1], state)
        ramp = np.arange(1, SUBSTEPS + 1) / SUBSTEPS
        inside = opens[:, None] + steps[:, None] * ramp + walk
        prices = self._prices(inside, opens, climate.jump, state.close)

        basis, crowd = self._basis(climate.basis, noise[1], crowd_draws, state)
        end_state = PathState(log_price, centre, float(cluster[-1]), float(basis[-1]), crowd, float(prices[3][-1]))
        if chunk + 1 == len(self._states):
            self._states.append(end_state)
        volume = self._volume(prices, usual, intraday, noise[2])
        bid, ask, depth = self._book(prices[3], heat, climate.codes == _PANIC, noise[3], noise[4])
        return PathChunk(*prices, volume, basis, self._funding(basis), bid, ask, depth)

    def _hourly(self, per_hour: float) -> float:
        return math.exp(math.log(per_hour) / self._grid.bars_per_hour)

    def _intraday(self, bars: int) -> Floats:
        """Volatility by hour of day: busiest about 15:00 UTC, quietest twelve hours away; mean square about 1."""
        hour = (np.arange(bars) % (24 * self._grid.bars_per_hour)) / self._grid.bars_per_hour
        swing: Floats = 0.98 + 0.25 * np.cos((hour - 15.0) * (2.0 * math.pi / 24.0))
        return swing

    def _walk(self, climate: _Climate, shocks: Floats, state: PathState) -> tuple[Floats, Floats, float, float]:
        """Log opens, the drift inside each bar, and the last log price and centre."""
        price, centre = state.log_price, state.centre
        anchor, anchor_pull = self._anchor, 1.0 / (_ANCHOR_DAYS * 24.0 * self._grid.bars_per_hour)
        opens, steps = [], []
        rows = zip(
            climate.starts.tolist(),
            climate.drift.tolist(),
            climate.pull.tolist(),
            climate.jump.tolist(),
            shocks.tolist(),
            strict=True,
        )
        for start, drift, pull, jump, shock in rows:
            if start:
                centre = price
            step = drift + pull * (centre - price) + anchor_pull * (anchor - price)
            centre += drift + jump
            price += jump
            opens.append(price)
            steps.append(step)
            price += step + shock
        return np.array(opens), np.array(steps), price, centre

    def _prices(self, inside: Floats, opens: Floats, jump: Floats, last: float) -> tuple[Floats, Floats, Floats, Floats]:
        decimals = self.asset.decimals
        tick = 10.0**-decimals
        close = np.maximum(np.round(np.exp(inside[:, -1]), decimals), tick)
        open_ = np.empty_like(close)
        open_[0] = last
        open_[1:] = close[:-1]
        leaps = jump != 0.0
        open_[leaps] = np.maximum(np.round(np.exp(opens[leaps]), decimals), tick)
        high = np.maximum(np.round(np.exp(inside.max(axis=1)), decimals), np.maximum(open_, close))
        low = np.minimum(np.round(np.exp(inside.min(axis=1)), decimals), np.minimum(open_, close))
        return open_, high, np.maximum(low, tick), close

    def _basis(self, target: Floats, noise: Floats, draws: Floats, state: PathState) -> tuple[Floats, float]:
        """Basis that returns to the regime's own, pushed away for a day or two when one side crowds in."""
        hours = 1.0 / self._grid.bars_per_hour
        back, fade = hours / _BASIS_HOURS, math.exp(-hours / _CROWD_HOURS)
        size = 0.0012 + 0.0033 * (draws[1] % 0.5)
        events = np.where(draws[0] < hours / _CROWD_EVERY_HOURS, np.where(draws[1] < 0.55, size, -size), 0.0)
        crowd = _decaying(state.crowd, fade, events)
        jitter = noise * (_BASIS_SD * math.sqrt(2.0 * back))
        return _decaying(state.basis, 1.0 - back, back * (target + crowd) + jitter), float(crowd[-1])

    def _funding(self, basis: Floats) -> Floats:
        premium = basis.reshape(-1, 8 * self._grid.bars_per_hour).mean(axis=1)
        rate = premium + np.clip(FUNDING_DEFAULT - premium, -FUNDING_CLAMP, FUNDING_CLAMP)
        settled: Floats = np.round(np.clip(rate, -FUNDING_CAP, FUNDING_CAP), 8)
        return settled

    def _volume(self, prices: tuple[Floats, ...], usual: float, intraday: Floats, noise: Floats) -> Floats:
        """Coins; rises with the bar's own range."""
        _, high, low, close = prices
        per_bar = self.asset.turnover_usd_day / (24.0 * self._grid.bars_per_hour)
        activity = 0.25 + 0.5 * (np.log(high / low) / (1.5 * usual))
        coins = per_bar / close * intraday * activity * np.exp(0.35 * noise - 0.06)
        return np.maximum(np.round(coins, 3), 0.001)

    def _book(self, close: Floats, heat: Floats, panic: Bools, wide: Floats, thin: Floats) -> tuple[Floats, Floats, Floats]:
        """Best bid and ask on ticks, and depth: wide and thin when volatility is high, more so in panic."""
        scale = 10.0**self.asset.decimals
        spread = self.asset.spread_bps * (0.6 + 0.4 * heat) * np.where(panic, 5.0, 1.0) * np.exp(0.2 * wide)
        half = close * spread / 2e4
        bid = np.maximum(np.floor((close - half) * scale), 1.0) / scale
        ask = np.maximum(np.ceil((close + half) * scale), np.round(bid * scale) + 1.0) / scale
        depth = self.asset.depth_usd / np.sqrt((0.5 + 0.5 * heat) ** 3) * np.where(panic, 0.08, 1.0) * np.exp(0.3 * thin)
        return bid, ask, np.round(depth, 2)


def _decaying(first: float, keep: float, added: Floats) -> Floats:
    """Path of x = keep * x + added, from x = ``first``; ``keep`` to the power of its length must not underflow."""
    powers = np.cumprod(np.full(added.size, keep))
    path: Floats = powers * (first + np.cumsum(added / powers))
    return path
