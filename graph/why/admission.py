"""May the plan join what is open: what it was judged against, each check with its numbers, and the look at the book."""

from __future__ import annotations

from collections.abc import Iterator

from configs.validators import Governance
from core.exec.portfolio import Exposure
from core.exec.slippage import expected_slippage_bps
from core.risk.context import exposure_room, known, worst_case_room
from core.types import Plan, PlanKind, Refusal
from graph.why.asif import Idea, World
from graph.why.inputs import weakest_pair
from graph.why.model import Line, Step
from graph.why.standins import Judged

_SLACK = 1e-9
"""Share of equity within which two sums of money are the same."""


def passed(ok: bool) -> str:
    """The end of a check's line."""
    return "passed" if ok else "NOT passed"


def admission(world: World, idea: Idea, judged: Judged | None, at_the_book: Refusal | None) -> Step:
    """Every check, those that were passed too; the first that was not is the refusal.

    ``judged`` is the plan with what stood against it then: positions, entries on their way, and the plans admitted on this
    bar before it. ``at_the_book`` is what stopped an admitted plan afterwards.
    """
    if idea.move is not None:
        return Step("admission", "not asked: what reduces risk is never held back")
    if judged is None:
        return Step("admission", "not reached: there was no plan")
    lines = (
        *_standing(world, judged),
        Line("trading state", judged.view.governor.state.value, "", passed(judged.view.governor.state.value == "active")),
        Line("equity", judged.view.equity, "USD", "more than 0: " + passed(known(judged.view.equity) and judged.view.equity > 0)),
        *_owner(world, judged),
        *_money(world.context.config.governance, judged),
        *_together(world, judged),
        *_book(world, judged.plan),
    )
    refusal = judged.verdict.refusal
    said = "admitted" if refusal is None else f"refused {refusal.code.value}"
    if refusal is None and at_the_book is not None:
        said = f"admitted, then refused {at_the_book.code.value} at the book"
    return Step("admission", said, (*lines, Line("admission", said)))


def _standing(world: World, judged: Judged) -> Iterator[Line]:
    """What it was judged against, one line each."""
    waiting = len(world.context.orders.pending())
    named = [("open", one) for one in judged.view.positions]
    named += [("on its way" if at < waiting else "admitted on this bar", one) for at, one in enumerate(judged.view.pending)]
    for what, one in named:
        yield Line(f"  {what}: {one.symbol}", one.risk_usd, "USD at risk", _exposure(one))


def _exposure(one: Exposure) -> str:
    r_now = "" if one.r_now is None else f", {one.r_now:+.3f} R open"
    return f"{one.strategy} {one.side.value}, {one.notional_usd:.2f} USD, {one.drop_usd:.4f} USD from here to its stop{r_now}"


def _owner(world: World, judged: Judged) -> Iterator[Line]:
    plan, view = judged.plan, judged.view
    held = [one for one in view.positions if one.symbol == plan.symbol]
    pending = [one for one in view.pending if one.symbol == plan.symbol]
    if plan.kind is PlanKind.ENTRY:
        owners = ", ".join(one.strategy for one in (*held, *pending))
        yield Line("symbol held by", owners or "nobody", "", passed(not owners))
        return
    own = held[0] if held else None
    fits = own is not None and own.strategy == plan.strategy and own.side is plan.side
    yield Line("joins the position of", "nobody" if own is None else own.strategy, "", passed(fits))
    if own is not None:
        trigger = world.context.config.governance.pyramid_trigger_r
        reached = own.r_now is not None and known(own.r_now) and own.r_now >= trigger
        yield Line("adds made before", own.adds + len(pending), "", "none: " + passed(own.adds == 0 and not pending))
        yield Line("open profit", own.r_now, "R", f"at least {trigger:g}: " + passed(reached))


def _money(limits: Governance, judged: Judged) -> Iterator[Line]:
    plan, view = judged.plan, judged.view
    slack, cap = _SLACK * view.equity, limits.max_portfolio_r_pct / 100.0 * view.equity
    together = view.open_risk_usd + plan.risk_usd
    note = f"{view.open_risk_usd:.4f} open and {plan.risk_usd:.4f}; cap {cap:.4f}: "
    yield Line("open risk and this", together, "USD", note + passed(together <= cap + slack))
    worst = worst_case_room(limits, view.governor, view.open_drop_usd)
    note = f"room {worst.usd:.4f} ({worst.code.value}; {view.governor.room_usd:.4f} less {view.open_drop_usd:.4f} open): "
    yield Line("worst case", plan.risk_usd, "USD", note + passed(plan.risk_usd <= worst.usd + slack))
    room = exposure_room(limits, view.equity, plan.side.sign, view.gross_usd, view.net_usd)
    notional = float(plan.qty * plan.entry)
    note = f"room {room.usd:.2f} ({room.code.value}; gross {view.gross_usd:.2f}, net {view.net_usd:.2f} open): "
    yield Line("notional", notional, "USD", note + passed(notional <= room.usd + slack))


def _together(world: World, judged: Judged) -> Iterator[Line]:
    """Correlations to all that it was judged against; asked of entries only."""
    limits, plan, view = world.context.config.governance, judged.plan, judged.view
    if plan.kind is PlanKind.ADD:
        yield Line("correlation", "not asked of an add")
        return
    others = sorted({one.symbol for one in (*view.positions, *view.pending)} - {plan.symbol})
    moving = 1
    for other in others:
        rho = world.context.correlations.between(plan.symbol, other)
        together = rho is None or abs(rho) > limits.correlation_limit
        moving += together
        said = f"{'together' if together else 'apart'}, limit {limits.correlation_limit:g}"
        yield Line(f"correlation to {other}", rho, "", said)
    yield Line("moving together, this included", moving, "", _most(moving, limits.max_correlated_open))
    yield _everything(world, limits, others)


def _most(number: int, most: int) -> str:
    return f"at most {most}: {passed(number <= most)}"


def _everything(world: World, limits: Governance, others: list[str]) -> Line:
    portfolio, weakest = world.context.portfolio, weakest_pair(world)
    held = bool(portfolio.snapshot()["before_day"])
    limit, word = (limits.correlation_block_leave, "until below") if held else (limits.correlation_block_enter, "above")
    pair = "there is no pair" if weakest is None else f"weakest pair {weakest[0]} and {weakest[1]} {weakest[2]:.4f}"
    note = f"{pair}, {word} {limit:g}; {len(others)} open or planned beside it: "
    blocked = portfolio.all_correlated
    return Line("everything moves together", blocked, "", note + passed(not (blocked and others)))


def _book(world: World, plan: Plan) -> Iterator[Line]:
    book, instrument = world.context.market.book(world.index, plan.ts), world.instrument
    if book is None:
        yield Line("book", None, "", passed(ok=False))
        return
    notional = float(plan.qty * plan.entry)
    needed = max(instrument.min_depth_usd, notional)
    slip = expected_slippage_bps(notional, book.spread_bps, book.depth_usd)
    most = world.context.config.governance.max_expected_slippage_pct * 100.0
    narrow = book.spread_bps <= instrument.max_spread_bps
    yield Line("spread", round(book.spread_bps, 9), "bps", f"at most {instrument.max_spread_bps:g}: " + passed(narrow))
    yield Line("depth", book.depth_usd, "USD", f"at least {needed:.0f}: " + passed(book.depth_usd >= needed))
    yield Line("expected slippage", slip, "bps", f"at most {most:g}: " + passed(slip <= most))
