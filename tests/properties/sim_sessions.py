"""Random sessions at the desk: walks with gaps, entries, adds, moved stops, exits, funding; the same script, the same session."""

from __future__ import annotations

import math
import random
from decimal import Decimal
from typing import NamedTuple

import pytest
from hypothesis import strategies as st

from core.data.blocks import Book, FundingRate
from core.types import ExitReason, PlanKind, Side, Timeframe, Trail, TrailStart
from tests.core.sim.kit import BTC, ETH, STEP, T0, Desk, instrument, plan, run

SYMBOLS = (BTC, ETH)
TICK = 0.01


class Step(NamedTuple):
    """What one bar of one symbol brings; prices as shares of 1/1000 of the last close."""

    gap: int
    up: int
    down: int
    close: int
    action: int
    size: int
    funding: int
    missing: int


def steps(length: int):
    """Scripts: for each bar one step a symbol."""
    one = st.builds(
        Step,
        gap=st.sampled_from([0, 0, 0, 0, 0, 1, -1, 4, -4, 30, -30, 80, -80]),
        up=st.integers(0, 60),
        down=st.integers(0, 60),
        close=st.integers(0, 100),
        action=st.integers(0, 11),
        size=st.integers(1, 60),
        funding=st.sampled_from([0, 0, 0, 1, -3]),
        missing=st.sampled_from([0] * 12 + [1]),
    )
    return st.lists(st.tuples(one, one), min_size=1, max_size=length)


def long_script(seed: int, bars: int):
    """A script of many bars from a seed; hypothesis prefers short ones."""
    dice = random.Random(seed)

    def one() -> Step:
        gap = dice.choice([0] * 20 + [1, -1, 4, -4, 30, -30, 80, -80])
        reach = dice.choice([5, 15, 60])
        return Step(
            gap=gap,
            up=dice.randint(0, reach),
            down=dice.randint(0, reach),
            close=dice.randint(0, 100),
            action=dice.randint(0, 11),
            size=dice.randint(1, 60),
            funding=dice.choice([0, 0, 0, 1, -3]),
            missing=int(dice.random() < 0.03),
        )

    return [(one(), one()) for _ in range(bars)]


def desk() -> Desk:
    """Two markets with thin books, so that slippage depends on size."""
    made = (instrument(BTC, modelled_depth_usd=50_000.0), instrument(ETH, modelled_spread_bps=3.0, modelled_depth_usd=20_000.0))
    return Desk(made, equity=20_000.0)


class Session:
    """Plays a script on a desk; the walk's prices and counters are all that it remembers."""

    def __init__(self, on: Desk) -> None:
        self.desk = on
        self.last = dict.fromkeys(SYMBOLS, 100.0)
        self.number = 0

    def play(self, script) -> None:
        """One bar after another, decisions at each close."""
        for pair in script:
            self.bar(pair)
            for symbol, step in zip(SYMBOLS, pair, strict=True):
                self.decide(symbol, step)

    def bar(self, pair) -> None:
        bars = {}
        for index, (symbol, step) in enumerate(zip(SYMBOLS, pair, strict=True)):
            start = max(1.0, self.last[symbol] * (1 + step.gap / 1000))
            high, low = start * (1 + step.up / 1000), start * (1 - step.down / 1000)
            close = low + (high - low) * step.close / 100
            if not step.missing:
                bars[index] = (
                    round(start, 2),
                    round(max(start, high, close), 2),
                    round(min(start, low, close), 2),
                    round(close, 2),
                )
                self.last[symbol] = round(close, 2)
        end = T0 + (self.number + 1) * STEP
        funding = [
            FundingRate(s, end, step.funding / 1e4, 28_800_000) for s, step in zip(SYMBOLS, pair, strict=True) if step.funding
        ]
        books = [Book(BTC, end, 99.0, 99.1, 5_000.0, False)] if pair[0].size == 7 else []
        untraded = {index: 0.0 for index, step in enumerate(pair) if step.size % 17 == 0}
        self.desk.step(self.number, bars, funding=funding, books=books, volume=untraded)
        self.number += 1

    def decide(self, symbol: str, step: Step) -> None:
        position = self.desk.ledger.positions.get(symbol)
        if position is None:
            if step.action < 8:
                self.enter(symbol, step)
        elif step.action < 2:
            self.add(symbol, step)
        elif step.action < 6:
            self.tighten(symbol, step)
        elif step.action == 6:
            run(self.desk.manager.close(symbol, self.ts, ExitReason.TIME_STOP))
        elif step.action == 7 and step.size > 50:
            run(self.desk.manager.flatten_all(self.ts, ExitReason.KILL_SWITCH))

    @property
    def ts(self) -> int:
        return T0 + self.number * STEP

    def enter(self, symbol: str, step: Step) -> None:
        side = Side.LONG if step.action % 2 else Side.SHORT
        price, distance = self.last[symbol], self.last[symbol] * (3 + step.size / 2) / 1000
        tps = ([], [(1.0, "0.25"), (2.0, "0.25")], [(0.5, "0.5"), (1.0, "0.5")])[step.size % 3]
        qty = Decimal(step.size) / 20
        made = plan(
            f"{symbol}@{self.ts}",
            symbol=symbol,
            side=side,
            ts=self.ts,
            qty=str(qty),
            entry=str(_cents(price * (1 + side.sign * 0.0015))),
            stop=str(_cents(price - side.sign * distance)),
            tps=[(r, str(qty * Decimal(share))) for r, share in tps],
            trail=Trail(TrailStart.ENTRY, 1.5, Timeframe.M15),
        )
        run(self.desk.manager.submit(made))

    def add(self, symbol: str, step: Step) -> None:
        position = self.desk.ledger.positions[symbol]
        price, side = self.last[symbol], position.side
        made = plan(
            f"{symbol}+{self.ts}",
            kind=PlanKind.ADD,
            symbol=symbol,
            side=side,
            ts=self.ts,
            qty=str(Decimal(step.size) / 50),
            entry=str(_cents(price * (1 + side.sign * 0.0015))),
            stop=str(_cents(price * (1 - side.sign * step.close / 4000))),
        )
        run(self.desk.manager.submit(made))

    def tighten(self, symbol: str, step: Step) -> None:
        position = self.desk.ledger.positions[symbol]
        new = position.stop + position.side.sign * _cents(self.last[symbol] * step.close / 4000)
        run(self.desk.manager.move_stop(symbol, new, self.ts, ExitReason.TRAIL))


def _cents(price: float) -> Decimal:
    return Decimal(repr(round(price, 2)))


def check_books(on: Desk) -> None:
    """Exchange and ledger agree on positions, wallet and equity."""
    for symbol in SYMBOLS:
        position = on.ledger.positions.get(symbol)
        held = on.exchange.position_qty(symbol)
        assert (0 if position is None else position.signed_qty) == held
        assert position is None or on.exchange._account.holdings[symbol].average == pytest.approx(position.avg_entry, rel=1e-12)
    account = on.exchange.account()
    assert math.isclose(on.ledger.wallet, account.wallet, rel_tol=1e-9)
    if not on.ledger.positions or not math.isnan(account.equity):
        assert math.isclose(on.ledger.equity(on.prices), account.equity, rel_tol=1e-9)
