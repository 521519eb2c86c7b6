"""Why, over everything in a session: complete, checked against arithmetic of its own, and without a trace."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import numpy as np
import pytest

from configs.validators import Configuration
from core.codes import RefusalCode
from core.data.sources.scenarios import Scenario
from core.exec.instrument import Instrument
from core.strategies import breakout_4h, funding_rev, range_rev_5m, vol_exp_15m
from core.types import OrderPurpose, Plan, PlanKind, Side, Signal, Timeframe
from graph.exit_codes import UsageError
from graph.rerun import standing_before
from graph.why.asif import World, decide, fate_of
from graph.why.explain import Explainer, idea_of
from graph.why.model import MOST_REASONS, Line, Why
from graph.why.onlooker import Onlooker
from graph.why.records import Subject
from tests.graph.why.conftest import Explained, fingerprint
from tests.support.run import short_configuration
from tools.context import BrainContext
from tools.state import BrainState

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


def assert_complete(why: Why) -> None:
    assert why.verdict.mode == "PAPER"
    assert "PAPER" in why.verdict.text
    assert why.verdict.state
    assert why.verdict.at.endswith("Z")
    assert 1 <= len(why.reasons) <= MOST_REASONS
    assert all(one.rule and one.observed and one.code for one in why.reasons)
    assert why.flips_note
    assert all(flip.verified for flip in why.flips)
    assert tuple(step.name for step in why.chain) == STEPS
    assert why.chart.candles
    assert why.chart.bands
    assert why.afterwards
    assert why.proof.equal, why.proof.difference


def line(why: Why, step: str, name: str) -> Line:
    (found,) = [one for part in why.chain if part.name == step for one in part.lines if one.name == name]
    return found


def value(why: Why, step: str, name: str) -> float:
    return float(str(line(why, step, name).value))


# --- complete -------------------------------------------------------------------------------------------


def test_every_trade_plan_order_and_code_is_explained_in_all_eight_parts(explained: Explained):
    """I1; ux.md, check 17."""
    kinds = {kind: len(explained.of_kind(kind)) for kind in ("trade", "plan", "order", "refusal")}
    assert min(kinds.values()) > 0
    assert kinds["order"] > 50
    purposes = {subject.order.purpose for subject in explained.subjects.values() if subject.order is not None}
    assert {OrderPurpose.ENTRY, OrderPurpose.STOP, OrderPurpose.TAKE, OrderPurpose.ADD} <= purposes
    for why in explained.whys.values():
        assert_complete(why)


@pytest.mark.parametrize(
    ("scenario", "code"),
    [
        (Scenario.CLOCK_DRIFT, "CLOCK_DRIFT"),
        (Scenario.LOST_BOOK, "STREAM_BOOK"),
        (Scenario.DEAD_FEED, "CANDLE_INTEGRITY"),
        (Scenario.LOST_FUNDING, "STREAM_FUNDING"),
    ],
)
def test_what_the_health_gates_refuse_is_explained_too(scenario: Scenario, code: str, faulty: Callable[[Scenario], Explained]):
    """E7: a fault of each kind."""
    found = faulty(scenario)
    for why in found.whys.values():
        assert_complete(why)
        assert why.verdict.state in {"refused", "abstained"}
    first = [why for why in found.whys.values() if why.reasons[0].code == code]
    assert first
    assert all(any(one.name in {code, "book"} for one in why.missing) for why in first)


def test_a_signal_tells_the_fate_of_its_plan_or_of_its_refusal(explained: Explained):
    reader, records = explained.session.reader(), explained.records
    planned = next(one for one in explained.subjects.values() if one.plan is not None and one.plan_kind is PlanKind.ENTRY)
    refused = next(one for one in explained.subjects.values() if one.refusal is not None and one.signal is not None)
    for subject in (planned, refused):
        assert subject.signal is not None
        why = asyncio.run(Explainer(reader, records).one(subject.signal.id))
        assert_complete(why)
        other = explained.whys[subject.id]
        assert (why.kind, why.flips) == ("signal", other.flips)
        assert [one.code for one in why.reasons] == [one.code for one in other.reasons]


def test_explaining_leaves_every_file_of_the_session_as_it_was(explained: Explained):
    """Issue 3: nothing overwritten."""
    assert fingerprint(explained.folder) == explained.before


# --- ids ------------------------------------------------------------------------------------------------


def test_an_unknown_id_names_the_nearest(explained: Explained):
    known = next(why.id for why in explained.of_kind("trade"))
    with pytest.raises(UsageError, match=f"nearest: {known}") as caught:
        explained.records.find(known + "x")
    assert (caught.value.code, caught.value.exit_code) == ("WHY-001", 2)


def test_a_refusal_is_found_by_its_number_and_by_code_and_time(explained: Explained):
    name, refusal = next(iter(explained.records.refusals()))
    assert explained.records.find(name).refusal == refusal
    assert explained.records.find(f"{refusal.code.value}@{refusal.ts}").refusal == refusal
    names = [name for name, _ in explained.records.refusals()]
    assert len(set(names)) == len(names) == explained.records.reader.count("refusals")


# --- arithmetic, worked out again ---------------------------------------------------------------------


def _instrument(symbol: str) -> Instrument:
    return Instrument.from_config(short_configuration().symbols.by_name()[symbol])


def _on_grid(price: float, tick: Decimal, *, up: bool) -> Decimal:
    return (Decimal(repr(price)) / tick).to_integral_value(ROUND_CEILING if up else ROUND_FLOOR) * tick


def _worst(qty: float, cap: float, stop: float, fee: float, spread_bps: float, depth: float) -> float:
    """What is lost when ``qty`` is bought at the cap and sold at the stop (or the other way), fee and slippage on each leg."""
    slip = spread_bps / 2e4 + 0.0005 * qty * max(cap, stop) / depth
    return qty * abs(cap - stop) + qty * cap * (fee + slip) + qty * stop * (fee + slip)


def test_the_sizing_of_every_entry_is_what_it_must_be(explained: Explained):
    """E1, E2, X10, X14: cap, stop, quantity, risk and percent, from the chain's own inputs."""
    config = short_configuration()
    plans = [why for why in explained.of_kind("plan") if explained.subjects[why.id].plan_kind is PlanKind.ENTRY]
    assert plans
    for why in plans:
        plan = explained.subjects[why.id].plan
        assert isinstance(plan, Plan)
        _check_sizing(why, plan, config)


def _check_sizing(why: Why, plan: Plan, config: Configuration) -> None:
    one, g, sign = _instrument(plan.symbol), config.governance, 1 if plan.side is Side.LONG else -1
    close, atr, equity = (value(why, "sizing", name) for name in ("close", "atr", "equity"))
    spread, depth = value(why, "bar and features", "spread"), value(why, "bar and features", "depth")
    cap = _on_grid(close * (1 + sign * g.entry_cap_pct / 100), one.tick_size, up=sign < 0)
    stop = _on_grid(close - sign * value(why, "sizing", "stop_atr") * atr, one.tick_size, up=sign > 0)
    assert (plan.entry, plan.stop) == (cap, stop)
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
    assert plan.qty == _on_grid(low, one.qty_step, up=False)
    risk = _worst(float(plan.qty), *costs)
    assert plan.risk_usd == pytest.approx(risk) == value(why, "sizing", "risk_usd")
    assert plan.risk_r_pct == pytest.approx(risk / equity * 100)
    assert value(why, "sizing", "costs_usd") == pytest.approx(risk - float(plan.qty) * abs(float(cap) - float(stop)))


def test_the_money_of_every_trade_adds_up_from_its_fills(explained: Explained):
    """I2, X5: gross, fees, funding, net and R."""
    assert explained.of_kind("trade")
    for why in explained.of_kind("trade"):
        subject = explained.subjects[why.id]
        assert subject.trade is not None
        assert_money(why, subject)


def assert_money(why: Why, subject: Subject) -> None:
    gross = sum(float(fill.qty) * float(fill.price) * (-1 if fill.side.value == "buy" else 1) for fill in subject.fills)
    bought = sum(fill.qty if fill.side.value == "buy" else -fill.qty for fill in subject.fills)
    fees, funding = sum(fill.fee for fill in subject.fills), sum(one.amount for one in subject.funding)
    assert bought == 0
    expected = {"gross": gross, "fees": -fees, "funding": funding, "net": gross - fees + funding}
    for name, amount in expected.items():
        assert value(why, "money", name) == pytest.approx(amount, abs=1e-9), name
    assert why.verdict.money_usd == pytest.approx(expected["net"])
    assert why.verdict.r == pytest.approx(expected["net"] / subject.plans[0].risk_usd)
    (money,) = [step for step in why.chain if step.name == "money"]
    shown = [float(str(one.value)) for one in money.lines if one.name in {"  fee", "  funding"}]
    assert sum(shown) == pytest.approx(funding - fees, abs=1e-9)


def test_the_parts_of_every_score_add_up(explained: Explained):
    """G7: the lines of the score sum to it."""
    scored = [why for why in explained.whys.values() if any(s.name == "score" and len(s.lines) > 2 for s in why.chain)]
    assert len(scored) > 5
    for why in scored:
        (step,) = [step for step in why.chain if step.name == "score"]
        *parts, total, threshold = (float(str(one.value)) for one in step.lines)
        assert sum(parts) == pytest.approx(total)
        stopped_by_score = why.reasons[0].code == "SCORE_LOW"
        assert (total < threshold) == stopped_by_score or why.reasons[0].code not in {"SCORE_LOW", "RULE"}


# --- flips ----------------------------------------------------------------------------------------------


def _fires(signal: Signal, features: dict[str, float], config: Configuration) -> bool:
    """Whether the strategy's own rule fires on the signal's side with these features."""
    arrays = {key: np.array([number]) for key, number in features.items()}
    p = config.strategies
    masks = {
        "breakout_4h": lambda: breakout_4h.rule(arrays, p.breakout_4h),
        "vol_exp_15m": lambda: vol_exp_15m.rule(arrays, p.vol_exp_15m),
        "range_rev_5m": lambda: range_rev_5m.rule(arrays, p.range_rev_5m, Timeframe(signal.tf)),
        "funding_rev": lambda: funding_rev.rule(arrays, p.funding_rev),
    }[signal.strategy]()
    return bool((masks.long if signal.side is Side.LONG else masks.short)[0])


def test_a_flip_in_the_rule_is_where_the_rule_itself_turns(explained: Explained):
    """D1: at the value told the strategy's own rule no longer fires, one step nearer it does."""
    config, seen = short_configuration(), 0
    for why in explained.whys.values():
        signal = explained.subjects[why.id].signal
        for flip in why.flips:
            if signal is None or flip.gives != "no signal" or flip.needed is None or flip.name not in dict(signal.meta):
                continue
            was, needed, step = float(str(flip.was)), float(str(flip.needed)), float(str(flip.step))
            features = {key: float(str(number)) for key, number in signal.meta}
            nearer = needed - math.copysign(step, needed - was)
            if abs(nearer - was) >= step:
                assert _fires(signal, {**features, flip.name: nearer}, config)
            assert not _fires(signal, {**features, flip.name: needed}, config)
            seen += 1
    assert seen > 10


def test_a_limit_that_turns_an_entry_lies_within_one_step_of_the_flip(explained: Explained):
    """X9, F3: the least risk worth a trade (percent, and in the room left), and the widest spread."""
    least, seen = short_configuration().governance.min_plan_r_pct, set[str]()
    for why in explained.of_kind("trade") + explained.of_kind("plan"):
        subject = explained.subjects[why.id]
        turning = {(flip.name, flip.gives): float(str(flip.needed)) for flip in why.flips if isinstance(flip.needed, float)}
        percent = turning.get(("risk a trade may take", "refused BELOW_MIN_R"))
        room = turning.get(("room to the worst case", "refused DAY_WORST_CASE"))
        spread = turning.get(("spread", "refused SPREAD_WIDE"))
        if percent is not None:
            assert percent < least <= percent + 0.001000001
            seen.add("percent")
        if room is not None and subject.plan_kind is PlanKind.ENTRY:
            assert room < least / 100 * value(why, "sizing", "equity") <= room + 0.010000001
            seen.add("room")
        if spread is not None:
            assert spread - 0.010000001 <= _instrument(subject.symbol).max_spread_bps < spread
            seen.add("spread")
    assert seen == {"percent", "room", "spread"}


class _Again(Onlooker):
    """Runs the nodes once more at the values that were told."""

    def __init__(self, subject: Subject, why: Why) -> None:
        super().__init__()
        self.subject, self.why, self.checked = subject, why, 0

    async def look(self, state: BrainState, context: BrainContext) -> None:
        world = World.at(state, context, context.market.index[self.subject.symbol])
        idea = idea_of(self.subject)
        before = context.governor.snapshot(), context.orders.snapshot(), context.ledger.snapshot(), context.abstentions.snapshot()
        now = fate_of(idea, await decide(world, self.apart))
        book = context.market.book(world.index, state["event"].ts)
        assert book is not None
        for flip in self.why.flips:
            if flip.needed is None or not isinstance(flip.needed, float):
                continue
            other = {
                "equity": lambda v: world.with_governor(equity=v),
                "risk a trade may take": lambda v: world.with_governor(r_pct=v),
                "room to the worst case": lambda v: world.with_governor(room_usd=v),
                "spread": lambda v: world.with_book(v, book.depth_usd),
                "depth": lambda v: world.with_book(book.spread_bps, v),
            }.get(flip.name, lambda v, key=flip.name: world.with_feature(key, v))
            assert fate_of(idea, await decide(other(flip.needed), self.apart)).done != now.done
            self.checked += 1
        after = context.governor.snapshot(), context.orders.snapshot(), context.ledger.snapshot(), context.abstentions.snapshot()
        assert after == before


def test_a_flip_run_again_turns_and_a_what_if_changes_nothing_of_the_run(explained: Explained):
    """Issue 3: found by re-running the nodes; a what-if leaves no trace in the services it was asked beside."""
    why = explained.of_kind("trade")[0]
    subject = explained.subjects[why.id]
    bar, again = explained.records.bar_of(subject.ts), _Again(subject, why)

    async def stand() -> None:
        with standing_before(explained.session.reader(), bar, again) as rerun:
            while rerun.bar < bar:
                await rerun.next()
            again.watching = True
            assert await rerun.next() is not None

    asyncio.run(stand())
    assert again.checked > 3


def test_every_refused_symbol_of_a_full_house_flips_with_the_position_gone(explained: Explained):
    """X17: without the owner the next gate decides, and is named."""
    owned = [why for why in explained.of_kind("refusal") if why.reasons[0].code == RefusalCode.SYMBOL_OWNED]
    assert owned
    for why in owned:
        (flip,) = [flip for flip in why.flips if flip.name == f"position in {why.verdict.symbol}"]
        assert (flip.needed == "flat") == (len(why.reasons) == 1)
