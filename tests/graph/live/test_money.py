"""The books' wallet and the account's are kept the same: transfers, what nobody explains, what only looks like either (X11)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from decimal import Decimal

import pytest

from core.exec.ledger import Ledger
from core.journal.records import Word
from core.venues.words import TransferSeen
from graph.live.money import Money

BAR = 300_000


@dataclass
class Account:
    """What the broker tells of money."""

    wallet: Decimal | None = Decimal(300)
    moved: list[TransferSeen] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    answers: bool = True

    async def transfers(self, since: int) -> tuple[TransferSeen, ...]:
        self.asked.append(since)
        if not self.answers:
            raise TimeoutError
        return tuple(one for one in self.moved if one.ts >= since)


def watched(account: Account) -> tuple[Money, Ledger]:
    ledger = Ledger((), starting_equity=300.0, scratch_r=0.15)
    return Money(account, ledger, 1_000), ledger  # type: ignore[arg-type]


def looked(money: Money, bars: int, *, settled: bool = False) -> list[Word]:
    for bar in range(1, bars + 1):
        asyncio.run(money.look(bar * BAR, settled=settled))
    return money.heard()


def test_where_they_agree_nothing_is_asked_or_said() -> None:
    account = Account(Decimal("300.25"))
    money, _ = watched(account)
    assert (looked(money, 3), account.asked) == ([], [])


def test_a_difference_counts_when_it_stands_and_at_once_after_a_recovery() -> None:
    """A fill and its money are two words: what is gone at the next bar was one of them."""
    account = Account(Decimal(298))
    money, _ = watched(account)
    assert looked(money, 1) == []
    account.wallet = Decimal(300)
    assert looked(money, 2) == []
    account.wallet = Decimal(298)
    assert [word.kind for word in looked(money, 2)] == ["unexplained"]
    assert [word.kind for word in looked(watched(account)[0], 1, settled=True)] == ["unexplained"]


def test_a_transfer_is_told_apart_from_what_nobody_explains_and_heard_once() -> None:
    account = Account(
        Decimal("198.5"), [TransferSeen(500, Decimal(9)), TransferSeen(2_000, Decimal(-130)), TransferSeen(3_000, Decimal(30))]
    )
    money, ledger = watched(account)
    first, rest = looked(money, 2)
    assert (first.kind, Decimal(first.text), first.ref) == ("transfer", -100, "3000")
    assert (rest.kind, float(rest.text)) == ("unexplained", pytest.approx(-1.5))
    ledger.move(float(first.text), int(first.ref))
    ledger.move(float(rest.text))
    account.wallet = Decimal(100)
    assert [word.kind for word in looked(money, 3)] == ["unexplained"]
    assert account.asked == [1_001, 3_001]


def test_what_cannot_be_told_or_asked_waits() -> None:
    account = Account(None)
    money, _ = watched(account)
    assert looked(money, 2) == []
    account.wallet, account.answers = Decimal(200), False
    assert looked(money, 2) == []
    account.answers = True
    assert [word.kind for word in looked(money, 1)] == ["unexplained"]
