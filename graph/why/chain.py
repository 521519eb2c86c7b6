"""The chain of a decision, step by step: what was seen, what followed from it, and the numbers on the way."""

from __future__ import annotations

from collections.abc import Iterator

from core.clock import rfc3339
from core.risk.engine import STAGE
from core.types import Plan, PlanKind, Refusal, ScoredSignal, TradingState
from graph.why.admission import admission, passed
from graph.why.asif import Decided, Idea, World, fate_of
from graph.why.inputs import equity_against_limits
from graph.why.life import inputs_text, life
from graph.why.model import Line, Step
from graph.why.records import Subject
from graph.why.seen import regime, rule, seen

# --- score and gates ----------------------------------------------------------------------------------------


def scored_of(subject: Subject, decided: Decided) -> ScoredSignal | None:
    """The signal's score on this bar."""
    return next(
        (one for one in decided.selection.scored if subject.signal is not None and one.signal.id == subject.signal.id), None
    )


def score(scored: ScoredSignal | None) -> Step:
    """Part by part; the points add up to the score."""
    if scored is None:
        return Step("score", "nothing was scored")
    if not scored.parts:
        return Step("score", f"not scored: {scored.signal.strategy} is not enabled in {scored.regime.value}")
    lines = [
        Line(
            part.name,
            part.points,
            f"of {part.max_points:g}",
            inputs_text(part.inputs) + ("" if part.known else "; not known, so no more"),
        )
        for part in scored.parts
    ]
    lines.append(Line("score", scored.score, "of 10", "sum of the parts"))
    lines.append(Line("threshold", scored.threshold, "", "the score must reach it"))
    return Step("score", f"{scored.score:g} of 10, {scored.threshold:g} asked for", tuple(lines))


def gates(world: World, idea: Idea, decided: Decided) -> Step:
    """The gates before planning, those that were passed too, and those that are not asked of such an idea."""
    if idea.move is not None:
        return Step("gates", "not asked: what reduces risk is never held back")
    refusal = fate_of(idea, decided).refusal
    if idea.kind is PlanKind.ADD:
        lines = [*_health_and_state(world, idea), *_due(world, idea)]
    else:
        lines = [*_health_and_state(world, idea), *_of_entry(world, idea, scored_of_idea(idea, decided))]
    if refusal is not None and at_the_gates(world, idea, refusal):
        return Step("gates", f"stopped by {refusal.code.value}", tuple(lines))
    reached = idea.kind is PlanKind.ADD or scored_of_idea(idea, decided) is not None
    return Step("gates", "all passed" if reached else "not reached: there was no signal", tuple(lines))


def at_the_gates(world: World, idea: Idea, refusal: Refusal | None) -> bool:
    """Whether ``refusal`` came before anything was sized: an add meets only health and trading state there."""
    if refusal is None or idea.kind is PlanKind.ENTRY:
        return refusal is not None and refusal.stage == "strategy_selection"
    status = world.state["status"]
    return status.health.forbids(idea.symbol) is not None or status.governor.state is not TradingState.ACTIVE


def _health_and_state(world: World, idea: Idea) -> Iterator[Line]:
    health, governor = world.state["status"].health, world.state["status"].governor
    own = [code for symbol, code in health.blocked if symbol == idea.symbol]
    codes = list(dict.fromkeys([*health.paused, *own]))
    evidence = [inputs_text(found) for code in codes if (found := world.context.market.health.evidence(world.index, code))]
    amiss = ", ".join(code.value for code in codes)
    yield Line("health", amiss or "nothing amiss", "", "; ".join([*evidence, passed(not amiss)]))
    active = governor.state is TradingState.ACTIVE
    yield Line("trading state", governor.state.value, "", f"{equity_against_limits(world)}: {passed(active)}")


def _due(world: World, idea: Idea) -> Iterator[Line]:
    """What an add waits for (E5, X16)."""
    position = world.context.ledger.positions.get(idea.symbol)
    if position is None:
        yield Line("position", "none", "", passed(ok=False))
        return
    ts, trigger = world.state["event"].ts, world.context.config.governance.pyramid_trigger_r
    reached, r_now = position.reached_1r_ts, position.r_now(float(world.context.market.last_close[world.index]))
    since = "" if reached is None else rfc3339(reached)
    yield Line("1R reached", since, "", "on a bar before this one: " + passed(reached is not None and reached < ts))
    yield Line("open profit", r_now, "R", f"at least {trigger:g}: {passed(r_now >= trigger)}")
    yield Line("adds made before", position.adds, "", f"none: {passed(position.adds == 0)}")


def _of_entry(world: World, idea: Idea, scored: ScoredSignal | None) -> Iterator[Line]:
    ts = world.state["event"].ts
    if scored is not None:
        tf, allowed = scored.signal.tf, world.instrument.allowed_tfs
        yield Line("timeframe", tf.value, "", f"allowed for the symbol: {passed(tf in allowed)}")
        enabled = idea.strategy in world.context.config.enable_map.order(scored.regime.value)
        free = enabled and scored.regime not in world.context.strategies[idea.strategy].forbidden_regimes
        yield Line("enabled in the regime", free, "", f"{scored.regime.value}: {passed(free)}")
    news = world.context.calendar.status(ts, idea.symbol)
    yield Line("blackout", {True: "clear", False: "inside a window", None: "not reviewed"}[news], "", passed(news is not False))
    rest = world.context.cooldowns.until(idea.strategy) if world.context.cooldowns.blocked(idea.strategy, ts) else None
    yield Line("rest until", "no rest" if rest is None else rfc3339(rest), "", passed(rest is None))
    owner = _owner(world, idea.symbol)
    yield Line("held by", owner or "nobody", "", passed(owner is None))
    if scored is not None and scored.parts:
        yield Line("score", scored.score, f"of {scored.threshold:g}", passed(scored.score >= scored.threshold))


def _owner(world: World, symbol: str) -> str | None:
    position = world.context.ledger.positions.get(symbol)
    pending = (plan.strategy for plan in world.context.orders.pending() if plan.symbol == symbol)
    return position.plan.strategy if position is not None else next(pending, None)


def scored_of_idea(idea: Idea, decided: Decided) -> ScoredSignal | None:
    """The idea's signal with its score."""
    return next(
        (one for one in decided.selection.scored if (one.signal.symbol, one.signal.strategy) == (idea.symbol, idea.strategy)),
        None,
    )


# --- sizing -------------------------------------------------------------------------------------------------

_SIZING: dict[str, tuple[str, str]] = {
    "equity": ("USD", "marked to market"),
    "close": ("USD", "close of the signal's bar"),
    "price": ("USD", "close of the base bar"),
    "atr": ("USD", "of the signal's timeframe"),
    "stop_atr": ("ATR", "distance of the initial stop"),
    "cap": ("USD", "close and entry_cap_pct, to the tick, never worse; the size is computed here"),
    "stop": ("USD", "close less (short: plus) stop_atr x atr, to the tick, towards the entry"),
    "r_price": ("USD", "1R in price: |close - stop|"),
    "r_now": ("R", "open profit"),
    "r_pct_governor": ("% of equity", "allowed by the governor"),
    "atr_rank": ("", "share of bars that were calmer"),
    "volatility_cut": ("", "risk is cut where the rank is high or not known"),
    "volatility_scale": ("", "volatility targeting"),
    "r_pct": ("% of equity", "what may be risked"),
    "room_portfolio_usd": ("USD", "cap of open risk less what is open"),
    "room_worst_case_usd": ("USD", "to the day's and the 72 h limit, everything stopped out"),
    "room_notional_usd": ("USD", "leverage, gross and net limits"),
    "room_margin_usd": ("USD", "what equity can pay for"),
    "r_usd": ("USD", "equity x r_pct / 100"),
    "binding": ("", "the limit that set the size"),
    "qty_raw": ("", "what risks just that, before the lot"),
    "qty_upper": ("", "the most that the joint stop allows"),
    "risk_raw_usd": ("USD", "worst case of qty_raw"),
    "budget_usd": ("USD", "what an add may risk"),
    "cost_share_of_r": ("R", "fees and slippage there and back"),
    "qty": ("", "qty_raw down to the lot"),
    "qty_smallest": ("", "the smallest legal order"),
    "notional_smallest_usd": ("USD", "its value"),
    "equity_needed_usd": ("USD", "equity at which it would be legal"),
    "notional_usd": ("USD", "qty x cap"),
    "risk_usd": ("USD", "qty x |cap - stop| and costs_usd"),
    "costs_usd": ("USD", "both legs: fee and slippage"),
    "slippage_pct": ("%", "expected of this order"),
}


def sizing(world: World, plan: Plan | None, refusal: Refusal | None) -> Step:
    """Line by line, as the engine noted it."""
    facts = plan.meta if plan is not None else refusal.detail if refusal is not None and refusal.stage == STAGE else ()
    if not facts:
        return Step("sizing", "not reached: nothing was sized")
    instrument = world.instrument
    notes = {"qty": f"lot {instrument.qty_step}", "cap": f"tick {instrument.tick_size}", "stop": f"tick {instrument.tick_size}"}
    lines = []
    for name, value in facts:
        unit, note = _SIZING.get(name, ("", ""))
        lines.append(Line(name, value, unit, "; ".join(part for part in (note, notes.get(name, "")) if part)))
    if plan is None:
        return Step("sizing", "the arithmetic up to the limit that was met", tuple(lines))
    lines += [Line(f"take at {take.r:g}R", take.price, "USD", f"qty {take.qty}") for take in plan.tps]
    return Step("sizing", f"{plan.qty} at most {plan.entry}, stop {plan.stop}: {plan.risk_usd:.2f} USD at worst", tuple(lines))


# --- the whole ----------------------------------------------------------------------------------------------


def chain(world: World, idea: Idea, subject: Subject, decided: Decided) -> tuple[Step, ...]:
    """Every step, those that were not reached too."""
    fate, judged = fate_of(idea, decided), None if idea.move is not None else decided.judged_of(idea)
    refusal = fate.refusal or subject.refusal
    plan = judged.plan if judged is not None else subject.plan
    at_the_book = refusal if refusal is not None and refusal.stage == "execution" else None
    return (
        seen(world, subject),
        regime(world, subject),
        rule(world, subject),
        score(scored_of(subject, decided)),
        gates(world, idea, decided),
        sizing(world, plan, None if at_the_gates(world, idea, refusal) else refusal),
        admission(world, idea, judged, at_the_book),
        *life(subject),
    )
