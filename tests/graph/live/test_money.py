"""The books' wallet and the account's are kept the same: transfers, what nobody explains, what only looks like either (X11)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from decimal import Decimal

import pytest

from core.exec.ledger import Ledger
from core.exec.live.halts import Halt, HaltKind
from core.journal.records import Word
from core.venues.words import TransferSeen
from graph.live.money import Money

BAR = 300_000
DAY = 288


@dataclass
class Account:
    """What the broker tells of money."""

    wallet: Decimal | None = Decimal(300)
    moved: list[TransferSeen] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    answers: bool = True
    halts: tuple[Halt, ...] = ()
    hangs: bool = False

    async def transfers(self, since: int) -> tuple[TransferSeen, ...]:
        self.asked.append(since)
        if not self.answers:
            raise TimeoutError
        if self.hangs:
            await asyncio.Event().wait()
        return tuple(one for one in self.moved if one.ts >= since)


def watched(account: Account) -> tuple[Money, Ledger]:
    ledger = Ledger((), starting_equity=300.0, scratch_r=0.15)
    return Money(account, ledger, 1_000), ledger  # type: ignore[arg-type]


def looked(money: Money, *bars: int, settled: bool = False) -> list[Word]:
    for bar in bars:
        asyncio.run(money.look(bar * BAR, settled=settled))
    return money.heard()


def booked(money: Money, ledger: Ledger, *bars: int) -> list[tuple[str, float]]:
    """What the books hear at these bars, one after the other."""
    heard = list[tuple[str, float]]()
    for bar in bars:
        for word in looked(money, bar):
            amount, upto = float(word.text), int(word.ref)
            if word.kind == "unexplained":
                ledger.count(amount, upto, bar * BAR, ledger.wallet, 0)
            elif word.kind == "late_transfer":
                ledger.list_late(upto, amount)
            else:
                ledger.move(amount, upto)
            heard.append((word.kind, round(float(word.text), 4)))
    return heard


def test_where_they_agree_nothing_is_asked_or_said() -> None:
    account = Account(Decimal("300.25"))
    money, _ = watched(account)
    assert (looked(money, 1, 2, 3), account.asked) == ([], [])


def test_what_nobody_explains_counts_when_it_has_stood_for_ten_minutes() -> None:
    """A fill and its money are two words: what is gone at the next bar was one of them."""
    account = Account(Decimal(298))
    money, _ = watched(account)
    assert looked(money, 1, 2) == []
    account.wallet = Decimal(300)
    assert looked(money, 3) == []
    account.wallet = Decimal(298)
    assert looked(money, 4, 5) == []
    assert [word.kind for word in looked(money, 6)] == ["unexplained"]


def test_after_a_recovery_a_transfer_counts_at_once_and_the_rest_as_at_every_bar() -> None:
    """What was withdrawn while it was down may be listed late: at once it would be a loss."""
    account = Account(Decimal(200), [TransferSeen(2_000, Decimal(-60))])
    money, ledger = watched(account)
    (first,) = looked(money, 1, settled=True)
    assert (first.kind, Decimal(first.text)) == ("transfer", -60)
    ledger.move(-60.0, 2_000)
    account.moved.append(TransferSeen(3_000, Decimal(-40)))
    assert booked(money, ledger, 2, 3, 4) == [("transfer", -40)]


def test_a_transfer_that_is_listed_late_is_no_profit() -> None:
    """X11: of the 300 USD nothing is a result, and no loss of 302 comes of them later."""
    account = Account(Decimal(600))
    money, ledger = watched(account)
    assert booked(money, ledger, 1, 2) == []
    account.moved = [TransferSeen(250_000, Decimal(300))]
    account.wallet = Decimal(598)
    assert booked(money, ledger, 3, 4, 5, 6) == [("transfer", 300), ("unexplained", -2)]
    assert ledger.wallet == 598


def test_a_transfer_is_told_apart_from_what_nobody_explains_and_heard_once() -> None:
    account = Account(
        Decimal("198.5"), [TransferSeen(500, Decimal(9)), TransferSeen(2_000, Decimal(-130)), TransferSeen(3_000, Decimal(30))]
    )
    money, ledger = watched(account)
    (first,) = looked(money, 1, 2)
    assert (first.kind, Decimal(first.text), first.ref) == ("transfer", -100, "3000")
    ledger.move(float(first.text), int(first.ref))
    assert booked(money, ledger, 3) == [("unexplained", pytest.approx(-1.5))]
    account.wallet = Decimal(100)
    assert [kind for kind, _ in booked(money, ledger, 4, 5, 6)] == ["unexplained"]
    assert set(account.asked) == {1_001, 3_001, BAR + 60_001}


@pytest.mark.parametrize("made_ts", [BAR - 7_000, BAR + 4_000])
def test_a_transfer_that_is_listed_after_it_was_taken_over_counts_once(made_ts: int) -> None:
    """It counted again as soon as anything else differed, and equity was wrong by all of it for ten minutes (X11)."""
    account = Account(Decimal(220))
    money, ledger = watched(account)
    assert booked(money, ledger, 1, 2, 3) == [("unexplained", -80)]
    account.moved = [TransferSeen(made_ts, Decimal(-80))]
    account.wallet = Decimal(215)
    assert booked(money, ledger, 4, 5, 6) == [("late_transfer", -80), ("unexplained", -5)]
    assert ledger.wallet == 215
    account.moved.append(TransferSeen(7 * BAR - 1, Decimal(15)))
    account.wallet = Decimal(230)
    assert booked(money, ledger, 7, 8) == [("transfer", 15)]


def test_a_transfer_that_is_listed_days_later_is_taken_back_though_nothing_differs_any_more() -> None:
    """X11: as long as what it is compared with may be from before it; listed in parts, each part once."""
    account = Account(Decimal(200))
    money, ledger = watched(account)
    assert booked(money, ledger, 1, 2, 3) == [("unexplained", -100)]
    account.moved = [TransferSeen(BAR - 7_000, Decimal(-70))]
    days = 3 * DAY + 3
    assert booked(money, ledger, days - 1, days) == [("late_transfer", -70)]
    account.moved.insert(0, TransferSeen(BAR - 9_000, Decimal(-20)))
    assert booked(money, ledger, days, days) == []  # asked a moment ago
    account.answers = False
    assert booked(money, ledger, days + 1) == []
    assert (ledger.unlisted[0].listed, ledger.wallet) == (-70, 200)
    account.answers = True
    again = Money(account, ledger, 1_000)  # type: ignore[arg-type]
    assert booked(again, ledger, days) == [("late_transfer", -20)]
    account.moved.append(TransferSeen(BAR - 5_000, Decimal(-10)))
    asked = len(account.asked)
    assert booked(again, ledger, days + 1) == []  # older than any limit looks back
    assert len(account.asked) == asked


def test_what_came_or_went_after_it_counted_is_no_part_of_it() -> None:
    account = Account(Decimal(200))
    money, ledger = watched(account)
    assert booked(money, ledger, 1, 2, 3) == [("unexplained", -100)]
    account.moved, account.wallet = [TransferSeen(5 * BAR - 1, Decimal(50))], Decimal(250)
    assert booked(money, ledger, 5, 6, 7) == [("transfer", 50)]
    assert ledger.unlisted[0].listed == 0.0


def test_one_that_is_listed_while_another_part_is_still_unexplained_counts_once_too() -> None:
    account = Account(Decimal(200))
    money, ledger = watched(account)
    assert booked(money, ledger, 1, 2) == []
    account.moved = [TransferSeen(BAR - 7_000, Decimal(-80))]
    assert booked(money, ledger, 3) == [("transfer", -80), ("unexplained", -20)]
    account.wallet = Decimal(190)
    assert booked(money, ledger, 4, 5, 6) == [("unexplained", -10)]
    assert [one.listed for one in ledger.unlisted] == [0.0, 0.0]


@pytest.mark.parametrize("kind", [HaltKind.POSITION, HaltKind.BOOKS, HaltKind.DOUBT, HaltKind.NOT_COMPARED])
def test_while_a_fill_may_be_missing_only_transfers_are_taken_over(kind: HaltKind) -> None:
    """F6: the fill brings its own money; taken over before, it would be lost twice. What the owner took out is no fill."""
    account = Account(Decimal(280), halts=(Halt("ETH/USDT:USDT", kind, "", "text"),))
    money, ledger = watched(account)
    assert looked(money, 1, 2, 3, 4) == []
    account.moved, account.wallet = [TransferSeen(2_000, Decimal(-80))], Decimal(200)
    assert booked(money, ledger, 5, 6, 7, 8) == [("transfer", -80)]
    account.halts = ()
    assert booked(money, ledger, 9) == []
    ledger.move(-20.0)  # the fill is told
    assert booked(money, ledger, 10, 11, 12) == []


def test_another_halt_holds_no_money_back() -> None:
    account = Account(Decimal(280), halts=(Halt("", HaltKind.OTHER_DAEMON, "", "text"),))
    assert [word.kind for word in looked(watched(account)[0], 1, 2, 3)] == ["unexplained"]


def test_what_cannot_be_told_or_asked_waits() -> None:
    account = Account(None)
    money, _ = watched(account)
    assert looked(money, 1, 2) == []
    account.wallet, account.answers = Decimal(200), False
    assert looked(money, 3, 4, 5) == []
    account.answers = True
    assert [word.kind for word in looked(money, 6)] == ["unexplained"]


def test_a_bar_does_not_wait_for_an_exchange_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """It hung as long as a ban took: nothing was heard, and no signal obeyed; what was not looked up is at the next bar."""
    monkeypatch.setattr("graph.live.money._WITHIN_S", 0.01)
    account = Account(Decimal(200), [TransferSeen(2_000, Decimal(-100))], hangs=True)
    money, ledger = watched(account)
    asyncio.run(asyncio.wait_for(money.look(BAR, settled=True), 20.0))
    assert (money.heard(), len(account.asked)) == ([], 1)
    account.hangs = False
    assert booked(money, ledger, 2) == [("transfer", -100)]
