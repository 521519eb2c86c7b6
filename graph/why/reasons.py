"""Principal reasons: the rule, what was observed, the limit it was held against, and the code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from configs.validators import Configuration
from core.clock import rfc3339
from core.codes import RefusalCode
from core.types import Adjustment, Meta, Plan, Refusal, Scalar, ScoredSignal, Side, Signal
from graph.why.model import MOST_REASONS, Reason

Facts = Mapping[str, Scalar]


def number(value: Scalar) -> str:
    """A fact for people."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "not known"}[value]
    return f"{value:.6g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True, slots=True)
class Reading:
    """How the arithmetic of one code is read: which fact was observed, and which limit it met."""

    rule: str
    observed: Callable[[Facts, Refusal], str]
    limit: Callable[[Facts, Configuration], str]


def _fact(*names: str, unit: str = "") -> Callable[[Facts, Refusal], str]:
    """The first of ``names`` that the arithmetic has."""

    def read(facts: Facts, refusal: Refusal) -> str:
        name = next((name for name in names if name in facts), None)
        return refusal.message if name is None else f"{name} {number(facts[name])} {unit}".rstrip()

    return read


def _says(text: str) -> Callable[[Facts, Refusal], str]:
    return lambda facts, refusal: text  # noqa: ARG005


def _limit(name: str, words: str = "at most", unit: str = "") -> Callable[[Facts, Configuration], str]:
    """A number of governance."""
    return lambda _, config: f"{words} {number(getattr(config.governance, name))} {unit}".rstrip() + f" ({name})"


def _must(text: str) -> Callable[[Facts, Configuration], str]:
    return lambda facts, config: text  # noqa: ARG005


def _of(*names: str, words: str, unit: str = "") -> Callable[[Facts, Configuration], str]:
    """A limit that stands in the arithmetic itself."""

    def read(facts: Facts, _: Configuration) -> str:
        name = next((name for name in names if name in facts), None)
        return words if name is None else f"{words} {number(facts[name])} {unit}".rstrip() + f" ({name})"

    return read


def _enabled(facts: Facts, config: Configuration) -> str:
    regime = str(facts.get("regime", ""))
    return f"enabled in {regime}: {', '.join(config.enable_map.order(regime)) or 'nothing'}"


def _until(facts: Facts, _: Refusal) -> str:
    until = facts.get("until")
    return f"rests until {rfc3339(until)}" if isinstance(until, int) else "rests"


def _risked(facts: Facts, refusal: Refusal) -> str:
    for name in ("plan_risk_usd", "risk_raw_usd", "risk_usd", "budget_usd"):
        if name in facts:
            return f"{name} {number(facts[name])} USD"
    return refusal.message


def _room(facts: Facts, config: Configuration) -> str:
    """A plan is shrunk into the room, but not below the least that is worth a trade."""
    if "risk_raw_usd" in facts and isinstance(equity := facts.get("equity"), float):
        least = config.governance.min_plan_r_pct / 100.0 * equity
        return f"the room left allows no more; at least {least:.6g} USD (min_plan_r_pct)"
    return _of("room_usd", "room_worst_case_usd", words="room left", unit="USD")(facts, config)


_C = RefusalCode
_HEALTHY = _must("nothing amiss")
_ACTIVE = _must("trading state active")

READINGS: dict[RefusalCode, Reading] = {
    _C.WARMING_UP: Reading("every feature of the rule is known", _fact("missing"), _must("all of them")),
    _C.MISSING_INPUT: Reading("every input of the rule is there", _fact("missing", "hv"), _must("all of them")),
    _C.BAR_FLAGGED: Reading("a signal's bar is clean", _fact("flags"), _must("no flag (X44)")),
    _C.CLOCK_DRIFT: Reading(
        "the clock agrees with exchange and NTP", _fact("drift_ms", unit="ms"), _limit("ntp_skew_ms", unit="ms")
    ),
    _C.JOURNAL_LOST: Reading("the journal can be written", _says("it could not"), _HEALTHY),
    _C.CANDLE_INTEGRITY: Reading("recent candles are whole", _says("gaps, duplicates or impossible prices"), _HEALTHY),
    _C.STREAM_CANDLES: Reading("candles arrive", _says("stale or absent"), _HEALTHY),
    _C.STREAM_FUNDING: Reading("funding arrives", _says("stale or absent"), _HEALTHY),
    _C.STREAM_BOOK: Reading("there is a fresh book", _says("stale or absent"), _HEALTHY),
    _C.REGIME_DISABLED: Reading("the strategy is enabled in the held regime", _fact("regime"), _enabled),
    _C.REGIME_UNKNOWN: Reading("the regime is known", _says("unknown"), _must("a label")),
    _C.COOLDOWN: Reading(
        "the strategy does not rest", _until, _limit("cooldown_after_2_losses", "rest after two stops:", "bars")
    ),
    _C.BLACKOUT: Reading("no blackout window", _says("inside a window"), _must("outside")),
    _C.SCORE_LOW: Reading("the setup score reaches its threshold", _fact("score"), _of("threshold", words="at least")),
    _C.SYMBOL_OWNED: Reading("nobody holds the symbol", _fact("owner"), _must("nobody (X17)")),
    _C.DAY_LOCK: Reading(
        "the day's loss limit was not reached", _fact("day_pnl_pct", unit="%"), _limit("max_daily_loss_pct", "loss below", "%")
    ),
    _C.KILL_SWITCH: Reading(
        "the 72 h drawdown limit was not reached", _fact("dd_72h_pct", unit="%"), _limit("kill_switch_drawdown_72h", "below", "%")
    ),
    _C.GOVERNANCE_CHANGED: Reading("the limits are those that were signed", _says("governance.yaml changed"), _ACTIVE),
    _C.NOT_ACTIVE: Reading("the system may open risk", _fact("state"), _ACTIVE),
    _C.DAY_WORST_CASE: Reading("the day survives the worst case", _risked, _room),
    _C.DRAWDOWN_WORST_CASE: Reading("the 72 h drawdown survives the worst case", _risked, _room),
    _C.COST_SHARE: Reading(
        "fees and slippage there and back are a small part of R",
        _fact("cost_share_of_r", unit="R"),
        _limit("max_cost_share_of_r", unit="R"),
    ),
    _C.BELOW_MIN_R: Reading("what may be risked is worth a trade", _risked, _limit("min_plan_r_pct", "at least", "% of equity")),
    _C.BELOW_MIN_QTY: Reading("the size is a legal lot", _fact("qty_raw"), _of("qty_smallest", words="at least")),
    _C.BELOW_MIN_NOTIONAL: Reading("the size is a legal order value", _fact("qty_raw"), _of("qty_smallest", words="at least")),
    _C.NO_EQUITY: Reading("equity is positive", _fact("equity", unit="USD"), _must("more than 0")),
    _C.PORTFOLIO_R_CAP: Reading(
        "open and pending risk stay under the cap",
        _fact("open_risk_usd", "room_portfolio_usd", unit="USD"),
        _limit("max_portfolio_r_pct", unit="%"),
    ),
    _C.LEVERAGE_CAP: Reading(
        "leverage stays under its cap", _fact("notional_usd", "room_margin_usd", unit="USD"), _limit("leverage_cap", unit="x")
    ),
    _C.EXPOSURE_CAP: Reading(
        "exposure stays under its caps",
        _fact("notional_usd", "room_notional_usd", unit="USD"),
        _limit("max_net_exposure", unit="x equity, net"),
    ),
    _C.CORRELATED: Reading("few open positions move together", _says("too many with this one"), _limit("max_correlated_open")),
    _C.ALL_CORRELATED: Reading(
        "not everything moves together", _fact("open"), _limit("correlation_block_enter", "all pairs not above")
    ),
    _C.ADD_TO_LOSER: Reading(
        "only winners are added to", _fact("r_now", "budget_usd"), _limit("pyramid_trigger_r", "at least", "R")
    ),
    _C.SPREAD_WIDE: Reading(
        "the spread is narrow", _fact("spread_bps", unit="bps"), _of("max_spread_bps", words="at most", unit="bps")
    ),
    _C.BOOK_THIN: Reading(
        "the book is deep enough", _fact("depth_usd", unit="USD"), _of("needed_usd", words="at least", unit="USD")
    ),
    _C.SLIPPAGE_HIGH: Reading(
        "expected slippage is small", _fact("expected_bps", "slippage_pct"), _limit("max_expected_slippage_pct", unit="%")
    ),
}
"""Codes with a reading of their own; every other is read from its arithmetic as it stands (:func:`generic`)."""


def generic(refusal: Refusal) -> Reason:
    """A refusal read from its arithmetic as it stands."""
    facts = ", ".join(f"{name} {number(value)}" for name, value in refusal.detail[-3:])
    return Reason(
        refusal.code.value.lower().replace("_", " "), facts or refusal.message, refusal.code.meaning, refusal.code.value
    )


def reason_of(refusal: Refusal, config: Configuration) -> Reason:
    """A refusal as a reason."""
    reading = READINGS.get(refusal.code)
    if reading is None:
        return generic(refusal)
    facts = dict(refusal.detail)
    return Reason(reading.rule, reading.observed(facts, refusal), reading.limit(facts, config), refusal.code.value)


def reasons_against(refusals: tuple[Refusal, ...], config: Configuration) -> tuple[Reason, ...]:
    """The gate that stopped it, then those that would have."""
    return tuple(reason_of(refusal, config) for refusal in refusals[:MOST_REASONS])


def reasons_for(signal: Signal | None, scored: ScoredSignal | None, plan: Plan, config: Configuration) -> tuple[Reason, ...]:
    """What made a plan pass."""
    facts, limits = dict(plan.meta), config.governance
    found: list[Reason] = []
    if signal is not None and not facts.get("budget_usd"):
        found.append(Reason(f"{signal.strategy} fired", signal.reason, "all conditions of the rule", "RULE"))
    if scored is not None and not facts.get("budget_usd"):
        found.append(
            Reason("the setup score reaches its threshold", f"score {scored.score:g}", f"at least {scored.threshold:g}", "SCORE")
        )
    if facts.get("budget_usd"):
        observed = f"{number(facts.get('r_now'))} R open profit"
        found.append(Reason("a winner may be added to once", observed, f"at least {limits.pyramid_trigger_r:g} R", "ADD"))
    share = number(facts.get("cost_share_of_r"))
    found.append(
        Reason(
            "costs are a small part of R", f"cost_share_of_r {share} R", f"at most {limits.max_cost_share_of_r:g} R", "COST_SHARE"
        )
    )
    unbound = "the size of a canary" if facts.get("canary") else "the add"
    size = f"{plan.risk_usd:.2f} USD = {plan.risk_r_pct:.3f} % of equity, bound by {facts.get('binding', unbound)}"
    most = f"at most {limits.per_trade_r_pct_max:g} % a trade, {limits.max_portfolio_r_pct:g} % in all"
    found.append(Reason("what may be lost at worst is bounded", size, most, "RISK"))
    return tuple(found[:MOST_REASONS])


def reasons_of_move(move: Adjustment, plan: Plan | None, config: Configuration, seen: Meta = ()) -> tuple[Reason, ...]:
    """What made a stop move, or a position close; ``seen`` are inputs that the change itself does not name."""
    observed = ", ".join(f"{name} {number(value)}" for name, value in (*seen, *move.detail)) or f"at {rfc3339(move.ts)}"
    limits = {
        "break_even": f"from {config.governance.break_even_r:g} R on, to where leaving nets nothing (X5)",
        "trail": "" if plan is None else f"{plan.trail.atr_multiple:g} x ATR of {plan.trail.tf.value} from the best close (X3)",
        "time_stop": "" if plan is None else f"at the latest {rfc3339(plan.time_stop_ts)} (X4)",
        "funding_normal": "" if plan is None else _normal(plan.side, config),
        "kill_switch": f"all is closed at {config.governance.kill_switch_drawdown_72h:g} % drawdown in 72 h (X12)",
    }
    rule = "the stop is only ever tightened" if move.new_stop is not None else "the position is closed at market"
    return (Reason(rule, observed, limits.get(move.reason.value, ""), move.reason.value.upper()),)


def _normal(side: Side, config: Configuration) -> str:
    params = config.strategies.funding_rev
    rate = f"funding at most {params.funding_default:g}" if side is Side.SHORT else "funding at least 0"
    return f"left when {rate}, or its share at most {params.funding_normal_quantile:g} (X4)"
