"""Flips: where they are told to be the nodes decide otherwise, one step nearer they do not, and the nearest stands first."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine

import msgspec
import numpy as np
import pytest

from configs.validators import Configuration
from core.codes import RefusalCode
from core.risk.governor import Governor
from core.strategies import breakout_4h, funding_rev, range_rev_5m, vol_exp_15m
from core.types import AdjustKind, Adjustment, ExitReason, PlanKind, Side, Signal, Timeframe, TradingState
from graph.opening import configuration_of
from graph.rerun import standing_before
from graph.sessions import Session
from graph.why.asif import Idea, World, decide, fate_of
from graph.why.explain import idea_of
from graph.why.flips import SWITCH_DISTANCE
from graph.why.inputs import flips_for
from graph.why.model import Flip, Why
from graph.why.onlooker import Onlooker
from graph.why.records import Records
from tests.graph.why.checks import against, instrument, step, value
from tests.graph.why.conftest import Explained
from tests.support.run import short_configuration
from tests.support.tracing import untraced
from tools.context import BrainContext
from tools.state import BrainState

Look = Callable[[World, Onlooker], Coroutine[None, None, None]]


class _Looking(Onlooker):
    """Lets a test look at one moment; the services are as they were afterwards."""

    def __init__(self, symbol: str, see: Look) -> None:
        super().__init__()
        self._symbol, self._see = symbol, see

    async def look(self, state: BrainState, context: BrainContext) -> None:
        services = (context.governor, context.orders, context.ledger, context.abstentions, context.portfolio)
        before = [service.snapshot() for service in services]
        await self._see(self.world(state, context, self._symbol), self)
        assert [service.snapshot() for service in services] == before


def at(session: Session, records: Records, ts: int, symbol: str, see: Look) -> None:
    """Let ``see`` look at the bar at ``ts``."""
    bar, onlooker = records.bar_of(ts), _Looking(symbol, see)

    async def stand() -> None:
        with standing_before(session.reader(), bar, onlooker) as rerun:
            while rerun.bar < bar:
                await rerun.next()
            onlooker.watching = True
            assert await rerun.next() is not None

    with untraced():
        asyncio.run(stand())


def named(why: Why, name: str) -> Flip:
    (found,) = [flip for flip in why.flips if flip.name == name]
    return found


# --- entries --------------------------------------------------------------------------------------------


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
    config = short_configuration()
    least, seen = config.governance.min_plan_r_pct, set[str]()
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
            left = room - sum(drop for _, _, drop in against(why, explained.facts[subject.ts], explained))
            assert left < least / 100 * value(why, "sizing", "equity") <= left + 0.010000001
            seen.add("room")
        if spread is not None:
            assert spread - 0.010000001 <= instrument(subject.symbol, config).max_spread_bps < spread
            seen.add("spread")
    assert seen == {"percent", "room", "spread"}


def test_a_flip_run_again_turns_and_a_what_if_changes_nothing_of_the_run(explained: Explained):
    """Issue 3: found by re-running the nodes; a what-if leaves no trace in the services it was asked beside."""
    why = explained.of_kind("trade")[0]
    subject, checked = explained.subjects[why.id], []

    async def see(world: World, onlooker: Onlooker) -> None:
        now = fate_of(idea_of(subject), await decide(world, onlooker.apart))
        book = world.context.market.book(world.index, subject.ts)
        assert book is not None
        for flip in why.flips:
            if not isinstance(flip.needed, float) or flip.name.startswith("correlation"):
                continue
            other = {
                "equity": world.with_equity,
                "risk a trade may take": lambda v: world.with_governor(r_pct=v),
                "room to the worst case": lambda v: world.with_governor(room_usd=v),
                "spread": lambda v: world.with_book(v, book.depth_usd),
                "depth": lambda v: world.with_book(book.spread_bps, v),
            }.get(flip.name, lambda v, key=flip.name: world.with_feature(key, v))
            assert fate_of(idea_of(subject), await decide(other(flip.needed), onlooker.apart)).done != now.done
            checked.append(flip.name)

    at(explained.session, explained.records, subject.ts, subject.symbol, see)
    assert len(checked) > 3


def test_every_refused_symbol_of_a_full_house_flips_with_the_position_gone(explained: Explained):
    """X17: without the owner the next gate decides, and is named."""
    owned = [why for why in explained.of_kind("refusal") if why.reasons[0].code == RefusalCode.SYMBOL_OWNED]
    assert owned
    for why in owned:
        flip = named(why, f"position in {why.verdict.symbol}")
        assert (flip.needed == "flat") == (len(why.reasons) == 1)


# --- which is nearest -----------------------------------------------------------------------------------


def test_distances_are_in_the_units_that_are_written_down(explained: Explained):
    """graph.why.inputs: RSI by tenths of its range, prices by the ATR of their timeframe, ranks by tenths, switches one."""
    seen = set[str]()
    for why in explained.whys.values():
        facts, symbol = explained.facts[explained.subjects[why.id].ts], why.verdict.symbol
        for flip in why.flips:
            if flip.distance is None:
                continue
            name, _, tf = flip.name.partition("@")
            if not isinstance(flip.needed, float):
                assert flip.distance == SWITCH_DISTANCE
                seen.add("switch")
                continue
            gap = abs(flip.needed - float(str(flip.was)))
            unit = {"rsi": 10.0, "adx": 10.0, "slope": 1.0, "volume_z": 1.0, "atr_rank480": 0.1, "volume_rank480": 0.1}.get(name)
            if name in {"close", "ema50", "ema50_prev", "bb_upper", "bb_lower"} and tf:
                unit = facts.feature(f"atr@{tf}", symbol)
            if unit is not None:
                assert flip.distance == pytest.approx(gap / unit)
                seen.add(name)
    assert {"switch", "close", "volume_rank480"} <= seen
    assert seen & {"rsi", "adx", "slope", "volume_z"}


def test_an_input_near_zero_is_not_far_for_that(explained: Explained):
    """A slope of 0.001 that must become 0.1 is a tenth of an ATR away, not a hundred times its own size."""
    near_zero = [
        flip
        for why in explained.whys.values()
        for flip in why.flips
        if isinstance(flip.needed, float)
        and 0.0 < abs(float(str(flip.was))) < 0.2
        and flip.name.startswith(("slope", "volume_z"))
    ]
    for flip in near_zero:
        assert flip.distance == pytest.approx(abs(float(str(flip.needed)) - float(str(flip.was))))


# --- the governor ---------------------------------------------------------------------------------------


def test_equity_moves_room_drawdown_and_locks_as_the_governor_moves_them(special: Callable[[str], Explained]):
    """X10: at the equity that was, the view that was; at another, room less by as much; at the floor, the lock."""
    found = special("all together")
    ts = next(iter(found.facts))

    async def see(world: World, onlooker: Onlooker) -> None:
        now, limits = world.state["status"].governor, world.context.config.governance
        assert world.with_equity(now.equity).state["status"].governor == now
        less = world.with_equity(now.equity - 1.0).state["status"].governor
        assert less.room_usd == pytest.approx(now.room_usd - 1.0)
        assert less.dd_72h_pct == pytest.approx((1.0 - less.equity / now.peak_72h) * 100.0)
        floor = now.day_start_equity * (1.0 - limits.max_daily_loss_pct / 100.0)
        locked, free = (world.with_equity(floor + by).state["status"].governor for by in (-0.01, 0.01))
        assert (locked.day_lock, free.day_lock) == (True, False)

    at(found.session, found.records, ts, "BTC/USDT:USDT", see)


def test_no_refusal_for_want_of_room_is_turned_by_less_equity(explained: Explained, special: Callable[[str], Explained]):
    """X10: room shrinks with equity."""
    everything = [*explained.whys.values(), *special("day lock").whys.values()]
    for why in everything:
        if why.reasons[0].code in {"DAY_WORST_CASE", "DRAWDOWN_WORST_CASE", "DAY_LOCK"}:
            equity = named(why, "equity")
            assert equity.needed is None or float(str(equity.needed)) > float(str(equity.was))


@pytest.mark.parametrize(("name", "code", "word"), [("day lock", "DAY_LOCK", "day lock"), ("kill switch", "KILL_SWITCH", "kill")])
def test_a_lock_is_a_switch_with_the_numbers_behind_it(special: Callable[[str], Explained], name: str, code: str, word: str):
    """E6: equity against the limit that was passed."""
    found = special(name)
    whys = found.refused(code, "strategy_selection")
    assert whys
    for why in whys:
        governor, switch = found.facts[found.subjects[why.id].ts].governor, named(why, "trading state")
        assert word in str(switch.was)
        assert f"equity {governor.equity:.2f} USD" in switch.change
        limits = limits_of(found)
        day = governor.day_start_equity * (1 - limits.governance.max_daily_loss_pct / 100)
        peak = governor.peak_72h * (1 - limits.governance.kill_switch_drawdown_72h / 100)
        assert f"locks at {day:.2f}" in switch.change
        assert f"pulled at {peak:.2f}" in switch.change


def limits_of(found: Explained) -> Configuration:
    return configuration_of(found.session.reader().opening())


def test_with_no_lock_only_what_locks_is_lifted(special: Callable[[str], Explained]):
    """X11: a person's unlock begins the 72 h peak anew; nothing else of the view changes but state and room."""
    found = special("kill switch")
    why = found.refused("KILL_SWITCH", "strategy_selection")[0]

    async def see(world: World, onlooker: Onlooker) -> None:
        locked, free = world.state["status"].governor, world.with_no_lock().state["status"].governor
        assert (locked.state, free.state) == (TradingState.HALTED, TradingState.ACTIVE)
        assert free.peak_72h == free.equity == locked.equity
        after = Governor(world.context.config.governance)
        after.restore(world.context.governor.snapshot())
        after.unlock(locked.ts, "because", "somebody")
        assert msgspec.structs.replace(after.view, state=free.state, day_lock=False) == free

    at(found.session, found.records, found.subjects[why.id].ts, why.verdict.symbol, see)


# --- exits ----------------------------------------------------------------------------------------------


def test_a_time_stop_turns_with_the_age_one_bar_younger(explained: Explained):
    """X4: time is its input."""
    closed = [
        why
        for why in explained.of_kind("order")
        if explained.subjects[why.id].move is not None and why.reasons[0].code == "TIME_STOP"
    ]
    assert closed
    for why in closed:
        subject, age = explained.subjects[why.id], named(why, "age of the position")
        position = explained.facts[subject.ts].positions[subject.symbol]
        assert age.was == (subject.ts - position.opened_ts) / 60_000
        assert 0 < float(str(age.was)) - float(str(age.needed)) <= float(str(age.step))


def test_a_kill_switch_exit_turns_with_the_drawdown_at_its_limit(special: Callable[[str], Explained]):
    """X12: what pulled it is the drawdown, and the equity behind it."""
    found = special("kill switch")
    (why,) = [why for why in found.of_kind("order") if why.reasons[0].code == "KILL_SWITCH"]
    governor = found.facts[found.subjects[why.id].ts].governor
    drawdown, equity = named(why, "drawdown in 72 h"), named(why, "equity")
    assert drawdown.was == pytest.approx(governor.dd_72h_pct)
    assert 0.599 <= float(str(drawdown.needed)) < 0.6
    floor = governor.peak_72h * (1 - 0.006)
    assert floor < float(str(equity.needed)) <= floor + 0.02
    assert why.reasons[0].observed.startswith("equity ")


def test_an_exit_on_normal_funding_turns_with_the_funding(explained: Explained):
    """X4, D5: a position of funding_rev in a world where funding is normal again."""
    held = next(
        (ts, position)
        for ts, facts in sorted(explained.facts.items())
        for position in facts.positions.values()
        if position.plan.strategy == "funding_rev" and ts < position.plan.time_stop_ts
    )
    ts, position = held[0], held[1]
    move = Adjustment(AdjustKind.CLOSE, position.symbol, ts, ExitReason.FUNDING_NORMAL)
    limits, long = short_configuration().strategies.funding_rev, position.side is Side.LONG
    told: list[Flip] = []

    async def see(world: World, onlooker: Onlooker) -> None:
        share = "funding_above" if long else "funding_below"
        normal = world.with_feature(share, 1.0).with_feature("funding", 0.001 if long else -0.001)
        idea = Idea(position.symbol, position.plan.strategy, position.side, move=move)
        decided = await decide(normal, onlooker.apart)
        assert fate_of(idea, decided).words == "closed at market (funding_normal)"
        told.extend(await flips_for(normal, idea, decided, (), None, onlooker.apart))

    at(explained.session, explained.records, ts, position.symbol, see)
    (flip,) = [one for one in told if one.name == "funding"]
    assert flip.verified
    edge, needed = (0.0 if long else limits.funding_default), float(str(flip.needed))
    assert (needed < edge) if long else (needed > edge)
    assert abs(needed - edge) <= 1.000001e-6


# --- what moves together --------------------------------------------------------------------------------


def test_a_refusal_for_what_moves_together_flips_with_what_is_beside_it(special: Callable[[str], Explained]):
    """X25: each position, each plan of the same bar, and each correlation by itself."""
    found = special("all together")
    whys = found.refused("ALL_CORRELATED", "risk_manager")
    assert whys
    for why in whys:
        facts = found.facts[found.subjects[why.id].ts]
        names = {flip.name for flip in why.flips}
        assert {f"position in {symbol}" for symbol in facts.positions} <= names
        correlations = [flip for flip in why.flips if flip.name.startswith("correlation of")]
        assert correlations
        for flip in correlations:
            one, other = flip.name.removeprefix("correlation of ").split(" and ")
            assert flip.was == pytest.approx(facts.rho(one, other), abs=1e-9)
            if flip.needed is not None:
                assert abs(float(str(flip.needed))) < 0.05


def test_plans_of_the_same_bar_are_among_what_may_stand_in_the_way(special: Callable[[str], Explained]):
    """Admission judges against them; without the plan the refusal turns, or the next gate is named."""
    for name, code in (("all together", "ALL_CORRELATED"), ("owned on the bar", "SYMBOL_OWNED")):
        found, seen = special(name), 0
        for why in found.refused(code, "risk_manager"):
            subject = found.subjects[why.id]
            beside = [one.name for one in step(why, "admission").lines if one.name.startswith("  admitted on this bar")]
            flips = [flip for flip in why.flips if flip.name.startswith("plan ")]
            assert len(flips) == len(beside)
            assert {flip.name for flip in flips} <= {f"plan {plan.id} of this bar" for plan in found.plans_at(subject.ts)}
            if len(flips) == 1 and len(why.reasons) == 1 and not found.facts[subject.ts].positions:
                assert flips[0].needed == "not made"
                assert flips[0].gives.startswith("sent ")
            seen += len(flips)
        assert seen, name
