"""An explanation checked section by section against what was worked out apart from it: records, and a witness of the bar."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from itertools import pairwise

import pytest

from configs.validators import Configuration
from core.exec.instrument import Instrument
from core.types import OrderPurpose, OrderStatus, PlanKind, Side, TradingState
from graph.opening import configuration_of
from graph.why.model import MOST_REASONS, Line, Step, Why
from graph.why.records import Subject
from tests.graph.why.conftest import Explained
from tests.graph.why.witness import Facts

STEPS = (
    "bar and features",
    "regime",
    "rule",
    "score",
    "gates",
    "sizing",
    "admission",
    "orders and fills",
    "stop moves",
    "exit",
    "money",
)
NO_POSITION = "there was no position"
PORTFOLIO = {"PORTFOLIO_R_CAP", "ALL_CORRELATED", "CORRELATED", "SYMBOL_OWNED", "ADD_TO_LOSER", "ADD_ALREADY_DONE"}
"""Codes that admission gives and sizing does not, at the risk stage."""


def step(why: Why, name: str) -> Step:
    (found,) = [one for one in why.chain if one.name == name]
    return found


def line(why: Why, part: str, name: str) -> Line:
    (found,) = [one for one in step(why, part).lines if one.name == name]
    return found


def value(why: Why, part: str, name: str) -> float:
    return float(str(line(why, part, name).value))


def not_passed(why: Why, part: str) -> list[str]:
    return [one.name for one in step(why, part).lines if one.note.endswith("NOT passed")]


def assert_complete(found: Explained, why: Why) -> None:
    """All eight parts are there, and every section of the chain says what is so."""
    assert why.verdict.mode == "PAPER"
    assert why.verdict.text.startswith("PAPER · ")
    assert why.verdict.state
    assert why.verdict.at.endswith("Z")
    assert 1 <= len(why.reasons) <= MOST_REASONS
    assert all(one.rule and one.observed and one.code for one in why.reasons)
    assert why.flips_note
    assert all(flip.verified for flip in why.flips)
    assert tuple(one.name for one in why.chain) == STEPS
    assert why.chart.candles
    assert why.chart.bands
    assert why.afterwards
    assert why.proof.equal, why.proof.difference
    subject = found.subjects[why.id]
    facts, config = found.facts[subject.ts], configuration_of(found.session.reader().opening())
    _seen(why, subject, facts)
    _gates(why, subject, facts, config)
    _sizing(why, subject, config)
    _admission(why, subject, facts, config, found)
    _life(why, subject)
    _ranked(why)


# --- what was seen ------------------------------------------------------------------------------------------


def _seen(why: Why, subject: Subject, facts: Facts) -> None:
    row = facts.symbols.index(subject.symbol)
    assert value(why, "bar and features", "base bar close") == facts.closes[row]
    for one in step(why, "bar and features").lines:
        if one.note == "feature of the rule":
            known = facts.feature(one.name, subject.symbol)
            assert one.value == known or (one.value is None and math.isnan(known))
    labels = {name: str(line(why, "regime", name).value) for name in ("1h label", "4h label")}
    assert labels == {"1h label": facts.h1[row].value, "4h label": facts.h4[row].value}
    if subject.signal is not None:
        said = {one.name: one.value for one in step(why, "rule").lines}
        assert all(said[name] == number for name, number in subject.signal.meta)
    if subject.scored is not None and subject.scored.parts and subject.plan_kind is PlanKind.ENTRY and subject.move is None:
        *parts, total, threshold = step(why, "score").lines
        assert [(one.name, one.value) for one in parts] == [(part.name, part.points) for part in subject.scored.parts]
        assert total.value == pytest.approx(sum(part.points for part in subject.scored.parts)) == subject.scored.score
        assert threshold.value == subject.scored.threshold


# --- gates --------------------------------------------------------------------------------------------------


def _gates(why: Why, subject: Subject, facts: Facts, config: Configuration) -> None:
    """Those that are asked of such an idea and no others; what stopped it first is the first that was not passed."""
    gates, failed = step(why, "gates"), not_passed(why, "gates")
    if subject.move is not None:
        assert gates.summary == "not asked: what reduces risk is never held back"
        assert not gates.lines
        return
    names = [one.name for one in gates.lines]
    ill = facts.health.forbids(subject.symbol) is not None
    assert ("health" in failed) == ill
    assert ("trading state" in failed) == (facts.governor.state is not TradingState.ACTIVE)
    if subject.plan_kind is PlanKind.ADD:
        assert names == ["health", "trading state", "1R reached", "open profit", "adds made before"]
        position, row = facts.positions[subject.symbol], facts.symbols.index(subject.symbol)
        gained = position.side.sign * (facts.closes[row] - position.first_entry) / position.r_price
        assert value(why, "gates", "open profit") == pytest.approx(gained)
        assert not {"1R reached", "open profit", "adds made before"} & set(failed)
        assert gates.summary.startswith("stopped by" if ill else "all passed")
        return
    owned = subject.symbol in facts.positions or subject.symbol in {plan.symbol for plan in facts.pending}
    assert ("held by" in failed) == owned
    assert ("rest until" in failed) == (facts.resting.get(subject.strategy) is not None)
    if subject.scored is not None:
        order = config.enable_map.order(subject.scored.regime)
        forbidden = subject.strategy == "funding_rev" and subject.scored.regime in {"trend_up", "trend_down", "panic"}
        assert ("enabled in the regime" in failed) == (subject.strategy not in order or forbidden)
        short = bool(subject.scored.parts) and subject.scored.score < subject.scored.threshold
        assert ("score" in failed) == short
    stopped = subject.refusal is not None and subject.refusal.stage == "strategy_selection" and subject.signal is not None
    if subject.signal is not None:
        assert bool(failed) == stopped
        assert gates.summary == (f"stopped by {subject.refusal.code.value}" if stopped and subject.refusal else "all passed")


# --- sizing -------------------------------------------------------------------------------------------------


def instrument(symbol: str, config: Configuration) -> Instrument:
    return Instrument.from_config(config.symbols.by_name()[symbol])


def on_grid(price: float, tick: Decimal, *, up: bool) -> Decimal:
    return (Decimal(repr(price)) / tick).to_integral_value(ROUND_CEILING if up else ROUND_FLOOR) * tick


def _worst(qty: float, cap: float, stop: float, fee: float, spread_bps: float, depth: float) -> float:
    """What is lost when ``qty`` is bought at the cap and sold at the stop (or the other way), fee and slippage on each leg."""
    slip = spread_bps / 2e4 + 0.0005 * qty * max(cap, stop) / depth
    return qty * abs(cap - stop) + qty * cap * (fee + slip) + qty * stop * (fee + slip)


def sized(why: Why) -> bool:
    return any(one.name == "risk_usd" for one in step(why, "sizing").lines)


def _sizing(why: Why, subject: Subject, config: Configuration) -> None:
    """E1, E2, X10, X14: cap, stop, quantity, risk and percent of an entry, from the chain's own inputs."""
    if subject.plan_kind is not PlanKind.ENTRY or subject.move is not None or not sized(why):
        return
    side = subject.side
    assert side is not None
    one, g, sign = instrument(subject.symbol, config), config.governance, 1 if side is Side.LONG else -1
    close, atr, equity = (value(why, "sizing", name) for name in ("close", "atr", "equity"))
    spread, depth = value(why, "bar and features", "spread"), value(why, "bar and features", "depth")
    cap = on_grid(close * (1 + sign * g.entry_cap_pct / 100), one.tick_size, up=sign < 0)
    stop = on_grid(close - sign * value(why, "sizing", "stop_atr") * atr, one.tick_size, up=sign > 0)
    assert (value(why, "sizing", "cap"), value(why, "sizing", "stop")) == (float(cap), float(stop))
    assert value(why, "sizing", "r_price") == pytest.approx(abs(close - float(stop)))
    r_usd = equity * value(why, "sizing", "r_pct") / 100
    assert value(why, "sizing", "r_usd") == pytest.approx(r_usd)
    budget = min(r_usd, value(why, "sizing", "room_portfolio_usd"), value(why, "sizing", "room_worst_case_usd"))
    room = min(value(why, "sizing", "room_notional_usd"), value(why, "sizing", "room_margin_usd"))
    costs = (float(cap), float(stop), one.taker_fee_rate, spread, depth)
    low, high = 0.0, room / max(float(cap), close)
    if _worst(high, *costs) > budget:
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (middle, high) if _worst(middle, *costs) <= budget else (low, middle)
    else:
        low = high
    assert value(why, "sizing", "qty_raw") == pytest.approx(low, rel=1e-9)
    qty = on_grid(low, one.qty_step, up=False)
    risk = _worst(float(qty), *costs)
    assert value(why, "sizing", "qty") == float(qty)
    assert value(why, "sizing", "risk_usd") == pytest.approx(risk)
    assert value(why, "sizing", "costs_usd") == pytest.approx(risk - float(qty) * abs(float(cap) - float(stop)))
    if subject.plan is not None:
        plan = subject.plan
        assert (plan.entry, plan.stop, plan.qty, plan.risk_usd) == (cap, stop, qty, pytest.approx(risk))
        assert plan.risk_r_pct == pytest.approx(risk / equity * 100)


# --- admission ----------------------------------------------------------------------------------------------


def _admission(why: Why, subject: Subject, facts: Facts, config: Configuration, found: Explained) -> None:
    """X9, X10, X17, X25: what it was judged against, each limit, and the verdict that follows from them."""
    part = step(why, "admission")
    if subject.move is not None:
        assert part.summary == "not asked: what reduces risk is never held back"
        return
    reached = sized(why)
    assert (part.summary == "not reached: there was no plan") == (not reached)
    if not reached:
        return
    risk, limits, entry = value(why, "sizing", "risk_usd"), config.governance, subject.plan_kind is PlanKind.ENTRY
    beside = against(why, facts, found)
    open_risk, drop = sum(one[1] for one in beside), sum(one[2] for one in beside)
    assert value(why, "admission", "open risk and this") == pytest.approx(open_risk + risk)
    assert value(why, "admission", "worst case") == pytest.approx(risk)
    equity = facts.governor.equity
    room = facts.governor.room_usd - drop
    failed = set(not_passed(why, "admission"))
    assert ("open risk and this" in failed) == (open_risk + risk > limits.max_portfolio_r_pct / 100 * equity * (1 + 1e-9))
    assert ("worst case" in failed) == (risk > room + 1e-9 * equity)
    others = sorted({one[0] for one in beside} - {subject.symbol})
    if entry:
        _correlations(why, facts, config, others, subject.symbol)
        assert ("symbol held by" in failed) == (subject.symbol in {one[0] for one in beside})
    verdict = subject.refusal.code.value if subject.refusal is not None else ""
    if verdict in PORTFOLIO:
        assert part.summary == f"refused {verdict}"
        assert failed
    elif not verdict:
        assert part.summary == "admitted"
        assert not failed


def against(why: Why, facts: Facts, found: Explained) -> list[tuple[str, float, float]]:
    """(symbol, at risk, to lose from here) of all that was open, on its way, or admitted on this bar before."""
    said = [one for one in step(why, "admission").lines if one.name.startswith("  ")]
    known = {f"  open: {symbol}": (symbol, *facts.at_risk(symbol)[:2]) for symbol in facts.positions}
    plans = [*facts.pending, *found.plans_at(facts.ts)]
    known |= {
        f"  {what}: {plan.symbol}": (plan.symbol, plan.risk_usd, plan.risk_usd)
        for plan in plans
        for what in ("on its way", "admitted on this bar")
    }
    assert {f"  open: {symbol}" for symbol in facts.positions} <= {one.name for one in said}
    for one in said:
        assert one.value == pytest.approx(known[one.name][1])
    return [known[one.name] for one in said]


def _correlations(why: Why, facts: Facts, config: Configuration, others: list[str], symbol: str) -> None:
    limits, together = config.governance, 1
    shown = {one.name: one.value for one in step(why, "admission").lines if one.name.startswith("correlation to ")}
    assert list(shown) == [f"correlation to {other}" for other in others]
    for other in others:
        rho = facts.rho(symbol, other)
        assert shown[f"correlation to {other}"] == (None if rho is None else pytest.approx(rho, abs=1e-9))
        together += rho is None or abs(rho) > limits.correlation_limit
    assert value(why, "admission", "moving together, this included") == together
    block = limits.correlation_block_leave if facts.before_day else limits.correlation_block_enter
    assert line(why, "admission", "everything moves together").value == (facts.weakest() > block)


# --- what came of it ----------------------------------------------------------------------------------------


def _life(why: Why, subject: Subject) -> None:
    shown = [one.name for one in step(why, "orders and fills").lines]
    for order in subject.orders:
        assert order.client_id in shown
    for fill in subject.fills:
        note = line(why, "orders and fills", f"  fill {fill.id}").note
        slip = (float(fill.price) / fill.expected_price - 1) * 1e4 * (1 if fill.side.value == "buy" else -1)
        assert f"slippage {slip:+.3f} bps" in note
    _stops(why, subject)
    exit_, trade = step(why, "exit"), subject.trade
    if trade is None:
        assert exit_.summary == ("it was still open at the end of the records" if subject.fills else NO_POSITION)
        assert subject.fills or step(why, "money").summary == "nothing was opened"
        return
    assert exit_.summary.startswith(trade.exit_reason.value)
    assert_money(why, subject)


def _stops(why: Why, subject: Subject) -> None:
    """Where orders that were accepted let the stop rest, in their order, each tighter than the one before."""
    if not subject.fills:
        assert step(why, "stop moves").summary == NO_POSITION
        return
    rejected = {one.client_id for one in subject.updates if one.status is OrderStatus.REJECTED}
    stops = [one for one in subject.orders if one.purpose is OrderPurpose.STOP and one.client_id not in rejected]
    prices = [one.price for at, one in enumerate(stops) if at == 0 or one.price != stops[at - 1].price]
    shown = [one.value for one in step(why, "stop moves").lines if not one.name.endswith("not placed")]
    assert shown == prices
    sign = 1 if subject.plans[0].side is Side.LONG else -1
    assert all(sign * (b - a) > 0 for a, b in pairwise(prices) if a is not None and b is not None)
    drawn = [level for level in why.chart.levels if level.kind == "stop"]
    assert [level.price for level in drawn] == [float(price) for price in prices if price is not None]


def assert_money(why: Why, subject: Subject) -> None:
    """I2, X5: gross, fees, funding, net and R of a closed trade, from its fills."""
    gross = sum(float(fill.qty) * float(fill.price) * (-1 if fill.side.value == "buy" else 1) for fill in subject.fills)
    bought = sum(fill.qty if fill.side.value == "buy" else -fill.qty for fill in subject.fills)
    fees, funding = sum(fill.fee for fill in subject.fills), sum(one.amount for one in subject.funding)
    assert bought == 0
    expected = {"gross": gross, "fees": -fees, "funding": funding, "net": gross - fees + funding}
    for name, amount in expected.items():
        assert value(why, "money", name) == pytest.approx(amount, abs=1e-9), name
    assert value(why, "money", "R") == pytest.approx(expected["net"] / subject.plans[0].risk_usd)
    shown = [float(str(one.value)) for one in step(why, "money").lines if one.name in {"  fee", "  funding"}]
    assert sum(shown) == pytest.approx(funding - fees, abs=1e-9)
    if subject.refusal is None:
        assert why.verdict.money_usd == pytest.approx(expected["net"])


def _ranked(why: Why) -> None:
    """Those that turn it first, by their distance."""
    far = [math.inf if flip.distance is None else flip.distance for flip in why.flips]
    assert far == sorted(far)
    assert all((flip.needed is None) == (flip.distance is None) for flip in why.flips)
