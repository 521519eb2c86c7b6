"""Is the book fit to enter (capability check_liquidity)."""

from __future__ import annotations

from core.codes import RefusalCode
from core.types import Meta, Plan, Refusal
from tools.base import Capability, tool
from tools.context import BrainContext

STAGE = "execution"


def refuse_plan(code: RefusalCode, plan: Plan, detail: Meta) -> Refusal:
    """A refusal of this stage for ``plan``."""
    facts = ", ".join(f"{name} {value}" for name, value in detail)
    message = f"{plan.strategy} {plan.side.value} {plan.symbol}: {code.meaning}" + (f" ({facts})" if facts else "")
    return Refusal(code, plan.ts, STAGE, plan.symbol, plan.strategy, plan.id, message, detail)


@tool("liquidity_check", Capability.CHECK_LIQUIDITY)
def liquidity_check(context: BrainContext, plan: Plan) -> Refusal | None:
    """Refuse when there is no fresh book, its spread is above max_spread, or it is too thin (H4)."""
    index = context.market.index[plan.symbol]
    instrument = context.market.instruments[index]
    book = context.market.book(index, plan.ts)
    if book is None:
        return refuse_plan(RefusalCode.STREAM_BOOK, plan, ())
    if book.spread_bps > instrument.max_spread_bps:
        return refuse_plan(
            RefusalCode.SPREAD_WIDE,
            plan,
            (("spread_bps", round(book.spread_bps, 6)), ("max_spread_bps", instrument.max_spread_bps)),
        )
    needed = max(instrument.min_depth_usd, float(plan.qty * plan.entry))
    if book.depth_usd < needed:
        return refuse_plan(RefusalCode.BOOK_THIN, plan, (("depth_usd", book.depth_usd), ("needed_usd", needed)))
    return None
