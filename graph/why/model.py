"""What an explanation is made of: eight parts, in one order for terminal, page and JSON."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from core.types import Regime

Value = str | int | float | bool | Decimal | None
MOST_REASONS = 4
"""More are not likely to help; all the others stand in the chain."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of it, in one line and in parts. ``money_usd`` and ``r`` are None where no trade was closed.

    ``labels`` say what makes this another thing than the session as it was: other code, another configuration today.
    """

    text: str
    what: str
    symbol: str
    at: str
    state: str
    mode: str
    money_usd: float | None = None
    r: float | None = None
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reason:
    """A rule, what was observed, and the limit it was held against."""

    rule: str
    observed: str
    limit: str
    code: str


@dataclass(frozen=True, slots=True)
class Flip:
    """How far one input alone would have had to differ for the decision to turn.

    ``needed`` is None where no value within ``within`` turns it. ``gives`` is what is decided there, ``verified`` that the
    nodes were run again at ``needed`` (it turns) and one ``step`` nearer (it does not). ``distance`` is how far that is in
    the input's own unit (:mod:`graph.why.inputs`), so that inputs can be ranked.
    """

    name: str
    unit: str
    was: Value
    needed: Value
    change: str
    within: str
    step: Value
    gives: str
    verified: bool
    distance: float | None = None


@dataclass(frozen=True, slots=True)
class Missing:
    """An input that was absent, stale or only modelled, and how that was taken."""

    name: str
    what: str
    effect: str


@dataclass(frozen=True, slots=True)
class Line:
    """One number of the chain. ``note`` says how it came about, or that a check was passed."""

    name: str
    value: Value
    unit: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the chain, folded: ``summary`` is what stands there before it is opened."""

    name: str
    summary: str
    lines: tuple[Line, ...] = ()


@dataclass(frozen=True, slots=True)
class Candle:
    """A bar of the chart; ``at`` is the close (ms)."""

    at: int
    open: float
    high: float
    low: float
    close: float


@dataclass(frozen=True, slots=True)
class Level:
    """A price that held from ``since`` to ``until`` (ms): a stop, a take, the entry's limit."""

    kind: str
    price: float
    since: int
    until: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Mark:
    """Something at one moment and price: the decision, a fill, the exit."""

    kind: str
    at: int
    price: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class Band:
    """A held regime from ``since`` to ``until`` (ms)."""

    regime: Regime
    since: int
    until: int


@dataclass(frozen=True, slots=True)
class Chart:
    """Candles with all that was drawn on them; the page draws it and shows the same as a table."""

    symbol: str
    candle_ms: int
    bars_a_candle: int
    candles: tuple[Candle, ...] = ()
    levels: tuple[Level, ...] = ()
    marks: tuple[Mark, ...] = ()
    bands: tuple[Band, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Proof:
    """Whether the bar, made again from the journal, gives the same; ``difference`` is the first place where it does not."""

    equal: bool
    difference: str
    lines: tuple[Line, ...] = ()


@dataclass(frozen=True, slots=True)
class Why:
    """An explanation. ``afterwards`` is hindsight and took part in nothing above it."""

    id: str
    kind: str
    verdict: Verdict
    reasons: tuple[Reason, ...]
    flips: tuple[Flip, ...]
    flips_note: str
    missing: tuple[Missing, ...]
    chain: tuple[Step, ...]
    chart: Chart
    afterwards: tuple[Line, ...]
    proof: Proof
