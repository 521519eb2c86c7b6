"""The chain of a decision, step by step: what was seen, what followed from it, and the numbers on the way."""

from __future__ import annotations

from core.clock import rfc3339
from core.exec.slippage import expected_slippage_bps
from core.risk.context import exposure_room, worst_case_room
from core.types import Meta, Plan, Refusal, ScoredSignal
from graph.why.asif import Decided, Idea, World, fate_of
from graph.why.model import Line, Step
from graph.why.records import Subject
from graph.why.seen import regime, rule, seen
from tools.tools_risk_manager_agent.position_sizer import BarExposure

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


def inputs_text(facts: Meta) -> str:
    """Named facts for people."""
    return ", ".join(f"{name} {value:.8g}" if isinstance(value, float) else f"{name} {value}" for name, value in facts)


def gates(world: World, idea: Idea, decided: Decided) -> Step:
    """The gates before planning, those that were passed too."""
    status, scored = world.state["status"], scored_of_idea(idea, decided)
    refused = next(
        (one.code.value for one in decided.selection.refusals if (one.symbol, one.strategy) == (idea.symbol, idea.strategy)), ""
    )
    health, governor = status.health, status.governor
    own = [code.value for symbol, code in health.blocked if symbol == idea.symbol]
    rest = world.context.cooldowns.until(idea.strategy, world.state["event"].ts)
    news = world.context.calendar.status(world.state["event"].ts, idea.symbol)
    position = world.context.ledger.positions.get(idea.symbol)
    regime_ok = scored is not None and idea.strategy in world.context.config.enable_map.order(scored.regime.value)
    amiss = ", ".join([*(code.value for code in health.paused), *own])
    lines = [
        Line("health", amiss or "nothing amiss", "", _passed(not amiss)),
        Line("trading state", governor.state.value, "", _passed(governor.state.value == "active")),
        Line("enabled in the regime", regime_ok, "", _passed(regime_ok)),
        Line("blackout", {True: "clear", False: "inside a window", None: "not reviewed"}[news], "", _passed(news is not False)),
        Line("rest until", "" if rest is None else rfc3339(rest), "", _passed(rest is None)),
        Line("held by", "nobody" if position is None else position.plan.strategy, "", _passed(position is None)),
    ]
    if scored is not None and scored.parts:
        lines.append(Line("score", scored.score, f"of {scored.threshold:g}", _passed(scored.score >= scored.threshold)))
    return Step(
        "gates", f"stopped by {refused}" if refused else "all passed" if scored is not None else "not reached", tuple(lines)
    )


def scored_of_idea(idea: Idea, decided: Decided) -> ScoredSignal | None:
    """The idea's signal with its score."""
    return next(
        (one for one in decided.selection.scored if (one.signal.symbol, one.signal.strategy) == (idea.symbol, idea.strategy)),
        None,
    )


def _passed(ok: bool) -> str:
    return "passed" if ok else "NOT passed"


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
    facts = plan.meta if plan is not None else () if refusal is None or refusal.stage != "risk_manager" else refusal.detail
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


# --- admission ----------------------------------------------------------------------------------------------


def admission(world: World, plan: Plan | None, decided: Decided) -> Step:
    """What is open and pending, each limit, and the look at the book; checks that were passed too."""
    if plan is None:
        return Step("admission", "not reached: there was no plan")
    governor, limits = world.state["status"].governor, world.context.config.governance
    before = [one for one in decided.risk.plans if one.id != plan.id]
    earlier = before[: next((i for i, one in enumerate(decided.risk.plans) if one.id == plan.id), len(before))]
    view = BarExposure(earlier).view(world.context, governor)
    cap = limits.max_portfolio_r_pct / 100.0 * view.equity
    worst = worst_case_room(limits, governor, view.open_drop_usd)
    room = exposure_room(limits, view.equity, plan.side.sign, view.gross_usd, view.net_usd)
    notional, slack = float(plan.qty * plan.entry), 1e-9 * view.equity
    lines = [
        Line("trading state", governor.state.value, "", _passed(governor.state.value == "active")),
        Line(
            "open risk and this",
            view.open_risk_usd + plan.risk_usd,
            "USD",
            f"cap {cap:.4f}: " + _passed(view.open_risk_usd + plan.risk_usd <= cap + slack),
        ),
        Line(
            "worst case",
            plan.risk_usd,
            "USD",
            f"room {worst.usd:.4f} ({worst.code.value}): " + _passed(plan.risk_usd <= worst.usd + slack),
        ),
        Line("notional", notional, "USD", f"room {room.usd:.2f} ({room.code.value}): " + _passed(notional <= room.usd + slack)),
    ]
    others = sorted({one.symbol for one in (*view.positions, *view.pending)} - {plan.symbol})
    for other in others:
        rho = world.context.correlations.between(plan.symbol, other)
        together = rho is None or abs(rho) > limits.correlation_limit
        lines.append(
            Line(f"correlation to {other}", rho, "", f"{'together' if together else 'apart'}, limit {limits.correlation_limit:g}")
        )
    lines.append(
        Line("everything moves together", world.context.portfolio.all_correlated, "", f"{len(others)} open or pending beside it")
    )
    admitted = world.context.portfolio.admit(plan, view)
    lines += _book_checks(world, plan)
    said = "admitted" if admitted.ok or admitted.refusal is None else f"refused {admitted.refusal.code.value}"
    return Step("admission", said, (*lines, Line("admission", said)))


def _book_checks(world: World, plan: Plan) -> list[Line]:
    book, instrument = world.context.market.book(world.index, plan.ts), world.instrument
    if book is None:
        return [Line("book", None, "", "NOT passed")]
    needed = max(instrument.min_depth_usd, float(plan.qty * plan.entry))
    slip = expected_slippage_bps(float(plan.qty * plan.entry), book.spread_bps, book.depth_usd)
    most = world.context.config.governance.max_expected_slippage_pct * 100.0
    spread = round(book.spread_bps, 9)
    return [
        Line(
            "spread",
            spread,
            "bps",
            f"at most {instrument.max_spread_bps:g}: " + _passed(book.spread_bps <= instrument.max_spread_bps),
        ),
        Line("depth", book.depth_usd, "USD", f"at least {needed:.0f}: " + _passed(book.depth_usd >= needed)),
        Line("expected slippage", slip, "bps", f"at most {most:g}: " + _passed(slip <= most)),
    ]


# --- what came of it ----------------------------------------------------------------------------------------


def orders(subject: Subject) -> Step:
    """Each order with what was said of it, and each fill against the price that was expected."""
    if not subject.orders:
        return Step("orders and fills", "no order was sent")
    lines = []
    for order in subject.orders:
        price = "at market" if order.price is None else f"at {order.price}"
        why = "" if order.reason is None else f", {order.reason.value}"
        lines.append(
            Line(order.client_id, f"{order.purpose.value} {order.side.value} {order.qty} {price}{why}", "", rfc3339(order.ts))
        )
        for update in (one for one in subject.updates if one.client_id == order.client_id):
            code = "" if update.code is None else f" {update.code.value}"
            lines.append(
                Line(
                    "  " + update.status.value,
                    f"{update.filled} filled{code}",
                    "",
                    f"{rfc3339(update.ts)} {update.message}".rstrip(),
                )
            )
        for fill in (one for one in subject.fills if one.client_id == order.client_id):
            slip = fill.side.sign * (float(fill.price) - fill.expected_price)
            bps = slip / fill.expected_price * 1e4
            note = f"expected {fill.expected_price:.8g}, slippage {bps:+.3f} bps ({slip:+.8g} a unit), fee {fill.fee:.6f} USD"
            lines.append(Line("  fill " + fill.id, f"{fill.qty} at {fill.price}", "", f"{rfc3339(fill.ts)} {note}"))
    return Step("orders and fills", f"{len(subject.orders)} orders, {len(subject.fills)} fills", tuple(lines))


def stops(subject: Subject) -> Step:
    """The stop from its first place to its last, each move with its reason."""
    if not subject.fills or not subject.plans:
        return Step("stop moves", "there was no position")
    first = subject.plans[0]
    lines = [Line("initial stop", first.stop, "USD", f"{rfc3339(first.ts)}, from the plan")]
    moved = [move for move in subject.moves if move.new_stop is not None]
    lines += [Line(move.reason.value, move.new_stop, "USD", f"{rfc3339(move.ts)}, {inputs_text(move.detail)}") for move in moved]
    lines += [Line("joint_stop", plan.stop, "USD", f"{rfc3339(plan.ts)}, of the add {plan.id}") for plan in subject.plans[1:]]
    return Step("stop moves", f"{len(moved)} moves, each tighter", tuple(lines))


def leaving(subject: Subject) -> Step:
    """How it ended."""
    trade = subject.trade
    if trade is None:
        return Step("exit", "it was still open at the end of the records" if subject.fills else "there was no position")
    closing = [move for move in subject.moves if move.new_stop is None]
    lines = [
        Line("reason", trade.exit_reason.value, "", "counts as a stop" if trade.stop_exit else ""),
        Line("closed", rfc3339(trade.closed_ts)),
        Line("average exit", trade.exit_price, "USD"),
        Line("final stop", trade.final_stop, "USD"),
        Line("takes filled", trade.takes_filled),
        *(Line("close asked for", rfc3339(move.ts), "", f"{move.reason.value} {inputs_text(move.detail)}") for move in closing),
    ]
    return Step("exit", f"{trade.exit_reason.value} at {rfc3339(trade.closed_ts)}", tuple(lines))


def money(subject: Subject) -> Step:
    """Fees, funding and R; the lines add up."""
    trade = subject.trade
    if trade is None:
        paid = sum(fill.fee for fill in subject.fills)
        return Step("money", "nothing was closed", (Line("fees so far", -paid, "USD"),) if subject.fills else ())
    lines: list[Line] = [Line("gross", trade.gross, "USD", f"{trade.qty} from {trade.entry_price:.8g} to {trade.exit_price:.8g}")]
    lines += [Line("  fee", -fill.fee, "USD", f"{fill.purpose.value} {fill.id}") for fill in subject.fills]
    lines.append(Line("fees", -trade.fees, "USD", "sum of the fills' fees"))
    lines += [Line("  funding", one.amount, "USD", f"{rfc3339(one.ts)} rate {one.rate:.6g}") for one in subject.funding]
    lines += [
        Line("funding", trade.funding, "USD", "negative when paid"),
        Line("net", trade.net, "USD", "gross - fees + funding"),
        Line("planned risk", trade.planned_risk_usd, "USD", "the plan's worst case"),
        Line("R", trade.r_multiple, "R", "net / planned risk" + (", a scratch" if trade.scratch else "")),
    ]
    return Step("money", f"{trade.net:+.4f} USD = {trade.r_multiple:+.3f} R", tuple(lines))


# --- the whole ----------------------------------------------------------------------------------------------


def chain(world: World, idea: Idea, subject: Subject, decided: Decided) -> tuple[Step, ...]:
    """Every step, those that were not reached too."""
    fate = fate_of(idea, decided)
    plan = fate.plan if fate.plan is not None else subject.plan
    if plan is None:  # planned, and refused by admission or at the book
        plan = next(
            (
                one
                for one in decided.risk.plans
                if (one.symbol, one.strategy, one.kind) == (idea.symbol, idea.strategy, idea.kind)
            ),
            None,
        )
    scored = scored_of(subject, decided)
    return (
        seen(world, subject),
        regime(world, subject),
        rule(world, subject),
        score(scored),
        gates(world, idea, decided),
        sizing(world, plan, fate.refusal or subject.refusal),
        admission(world, None if idea.manage else plan, decided),
        *life(subject),
    )


def life(subject: Subject) -> tuple[Step, ...]:
    """What came of it, out of the records alone."""
    return orders(subject), stops(subject), leaving(subject), money(subject)
