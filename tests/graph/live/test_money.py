"""The books' wallet and the account's are kept the same: transfers, what nobody explains, what only looks like either (X11)."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from core.exec.ledger import Ledger
from core.exec.live.halts import Halt, HaltKind
from core.journal.records import Word
from core.venues.words import TransferSeen
from graph.live.money import Money
from tests.graph.live.kit import Stand, trade
from tests.graph.live.test_live_daemon import rows, won
from tests.graph.test_rerun import again

BAR = 300_000
DAY = 288
HOUR_S = 3_600.0


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
    heard = looked(money, 1, 2)
    assert [(word.kind, word.text, word.ref) for word in heard] == [("transfer", "30", "3000"), ("transfer", "-130", "2000")]
    for word in heard:
        ledger.move(float(word.text), int(word.ref))
    assert booked(money, ledger, 3) == [("unexplained", pytest.approx(-1.5))]
    account.wallet = Decimal(100)
    assert [kind for kind, _ in booked(money, ledger, 4, 5, 6)] == ["unexplained"]
    assert set(account.asked) == {1_001}


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


def test_the_older_of_two_transfers_that_is_listed_last_is_taken_back_too() -> None:
    """X11: behind the newer one nobody looked for it any more, and it counted as a loss for ever."""
    account = Account(Decimal(200))
    money, ledger = watched(account)
    assert booked(money, ledger, 1, 2) == []
    account.moved = [TransferSeen(BAR - 7_000, Decimal(-80))]
    assert booked(money, ledger, 3) == [("transfer", -80), ("unexplained", -20)]
    account.moved.insert(0, TransferSeen(BAR - 9_000, Decimal(-20)))
    again = Ledger((), starting_equity=300.0, scratch_r=0.15)
    again.restore(json.loads(json.dumps(ledger.snapshot())))
    assert booked(Money(account, again, 1_000), again, 10, 11, 12, 13) == [("late_transfer", -20)]  # type: ignore[arg-type]
    assert again.wallet == 200


def test_the_older_of_two_transfers_that_is_listed_last_is_taken_over_before_anything_counts() -> None:
    account = Account(Decimal(200), [TransferSeen(BAR - 7_000, Decimal(-80))])
    money, ledger = watched(account)
    assert booked(money, ledger, 1, 2) == [("transfer", -80)]
    account.moved.insert(0, TransferSeen(BAR - 9_000, Decimal(-20)))
    assert booked(money, ledger, 3, 4, 5) == [("transfer", -20)]


def test_two_transfers_of_one_moment_and_amount_are_two() -> None:
    account = Account(Decimal(200), [TransferSeen(BAR - 7_000, Decimal(-50))] * 2)
    money, ledger = watched(account)
    assert booked(money, ledger, 1, 2) == [("transfer", -50)] * 2
    account.moved.append(TransferSeen(3 * BAR - 1, Decimal(9)))
    account.wallet = Decimal(209)
    assert booked(money, ledger, 3, 4) == [("transfer", 9)]


def test_more_than_there_was_may_be_taken_out_after_it_was_paid_in() -> None:
    """X11: what equity is compared with stays in proportion only while there is any, so the deposit is heard first."""
    moved = [TransferSeen(2_000, Decimal(-400)), TransferSeen(3_000, Decimal(300))]
    money, ledger = watched(Account(Decimal(200), moved))
    assert booked(money, ledger, 1, 2) == [("transfer", 300), ("transfer", -400)]


def test_what_was_taken_out_while_it_was_down_waits_for_ten_minutes_of_the_exchange_and_is_taken_back_when_listed() -> None:
    """X11: bars that are told afterwards come within moments; the one before them is hours older than the look."""
    account = Account(Decimal(200))
    money, ledger = watched(account)
    assert looked(money, 200, settled=True) == []
    assert [word for _ in range(50) for word in looked(money, 200)] == []
    assert len(account.asked) == 1, "an exchange is not asked at every bar that is told afterwards"
    assert booked(money, ledger, 201, 202) == [("unexplained", -100)]
    account.moved = [TransferSeen(150 * BAR, Decimal(-100))]
    assert booked(money, ledger, 203) == [("late_transfer", -100)]
    account.moved.append(TransferSeen(206 * BAR - 1, Decimal(10)))
    account.wallet = Decimal(210)
    assert booked(money, ledger, 206, 207, 208, 209, 210) == [("transfer", 10)]
    assert ledger.wallet == 210


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


@pytest.mark.slow
def test_a_withdrawal_while_the_daemon_was_down_has_its_ten_minutes_and_is_taken_back_when_it_is_listed(tmp_path: Path) -> None:
    """X11: the bars of a gap are told within moments, and the look at the start is no look at the bar before the gap."""
    found = dict[str, Any]()

    async def story(stand: Stand) -> None:
        world, exchange = stand.world, lambda: stand.venue.exchange

        def take_out() -> None:
            exchange().transfer(Decimal(-100))
            found["row"] = exchange()._engine.history.income.pop()

        first = stand.start()
        world.at(3.4 * HOUR_S, world.kill, "bot")
        world.at(4.4 * HOUR_S, take_out)
        world.at(10.5 * HOUR_S, lambda: exchange()._engine.history.income.append(found["row"]))
        await first.gone
        await asyncio.sleep(3.0 * HOUR_S)
        found["back_ms"] = stand.clock.now_ms()
        await world.restart("bot").gone
        found["told"] = rows(stand.session, "SELECT ts, code FROM alerts WHERE code LIKE '%transfer' OR code = 'unexplained'")
        stand.session.rename(tmp_path / "session")

    trade(won(), story, bars=12)
    (counted_ts, first), late = found["told"][0], [code for _, code in found["told"][1:]]
    assert (first, late) == ("unexplained", ["late_transfer"])
    assert counted_ts - found["back_ms"] >= 600_000
    again(tmp_path / "session")
