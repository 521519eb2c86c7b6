"""Every demand of J5 against sessions whose figures were worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest

from core.codes import RefusalCode
from core.exec.entering import Entering, Entry
from core.monitor.gate_drill import Drilled, drill
from core.monitor.paper_sessions import (
    GateTurn,
    PaperSession,
    Start,
    count,
    gate_turn,
    spans_up,
    starts_of,
)
from core.monitor.readiness import Item, Signed, Verdict, assess, gate_records, largest_drawdown_pct, session_days
from core.monitor.schema import Alert, AlertLevel, EquityPoint
from core.types import TradeRecord
from tests.core.strategies.making import trade

HOUR, DAY = 3_600_000, 86_400_000
T0 = 1_704_067_200_000
"""2024-01-01 00:00 UTC."""
UTC = ZoneInfo("UTC")
ZONE = ZoneInfo("Europe/Chisinau")
DRILLED = drill(1_500, ("candles", "funding"))
YES = Signed(holds=True, seen="by a colleague")


def trades(*nets: float, first: int = T0, every: int = HOUR) -> tuple[TradeRecord, ...]:
    return tuple(trade(net, closed_ts=first + number * every, scratch=False) for number, net in enumerate(nets, 1))


def session(name: str = "a", start: int = T0, days: float = 31.0, **changes: object) -> PaperSession:
    made = PaperSession(
        name,
        None,
        wall_clock=True,
        up=((start, start + int(days * DAY)),),
        start_equity=300.0,
        equity=(EquityPoint(start, 300.0, 0.0),),
        trades=trades(*[2.0, -1.0] * 45, first=start, every=8 * HOUR),
        starts=(Start(agreed=True),),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def judged(
    *sessions: PaperSession, now: int = T0 + 31 * DAY, drilled: Sequence[Drilled] = DRILLED, signed: Signed = YES
) -> dict[str, Item]:
    items = assess(sessions, count(sessions, now), zone=UTC, now_ms=now, drilled=drilled, governance=signed, review=signed)
    assert [item.number for item in items] == list(range(1, 11))
    return {item.key: item for item in items}


def test_a_good_month_meets_every_demand() -> None:
    """J5."""
    items = judged(session())
    assert {key: item.verdict.value for key, item in items.items() if not item.passed} == {}
    assert items["profit_factor"].value == pytest.approx(2.0)
    assert (items["paper_days"].value, items["paper_days"].limit) == (31.0, 30.0)
    assert (items["paper_sessions"].value, items["paper_sessions"].limit) == (31.0, 20.0)


def test_without_a_session_nothing_passes_but_signatures() -> None:
    items = judged()
    assert [key for key, item in items.items() if item.passed] == ["governance_signed", "review_signed"]
    assert items["profit_factor"].verdict is items["max_drawdown"].verdict is Verdict.NOT_ASSESSABLE


# --- time ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("days", "verdict"), [(29.99, "fail"), (30.0, "pass")])
def test_a_month_is_thirty_days(days: float, verdict: str) -> None:
    assert judged(session(days=days))["paper_days"].verdict == verdict


def test_a_session_is_a_trading_day_with_the_daemon_up_for_most_of_it() -> None:
    """80 % of 24 h are 19.2 h; a day that is cut in two counts once, by both parts together."""
    whole, most = (T0, T0 + DAY), (T0 + DAY, T0 + DAY + 69_120_000)
    little = (T0 + 2 * DAY, T0 + 2 * DAY + 69_119_999)
    halves = ((T0 + 3 * DAY, T0 + 3 * DAY + 10 * HOUR), (T0 + 3 * DAY + 11 * HOUR, T0 + 4 * DAY))
    counted = count([session(up=(whole, most, little, *halves))], T0 + 9 * DAY)
    assert [day.isoformat() for day in session_days(counted, UTC)] == ["2024-01-01", "2024-01-02", "2024-01-04"]


def test_a_trading_day_begins_where_governance_says() -> None:
    """X1: midnight in Chisinau is 22:00 UTC in winter."""
    counted = count([session(up=((T0 - 2 * HOUR, T0 + 22 * HOUR),))], T0 + 9 * DAY)
    assert [day.isoformat() for day in session_days(counted, ZONE)] == ["2024-01-01"]
    assert [day.isoformat() for day in session_days(counted, UTC)] == ["2024-01-01"]
    short = count([session(up=((T0, T0 + 17 * HOUR),))], T0 + 9 * DAY)
    assert session_days(short, UTC) == ()


def test_a_hole_of_more_than_two_bars_ends_a_stretch() -> None:
    assert spans_up([0, 5, 10, 20, 31, 36], 5) == ((0, 20), (31, 36))
    assert spans_up([], 5) == ()
    assert spans_up([7], 5) == ((7, 7),)


def test_time_that_overlaps_counts_once() -> None:
    """The one that began first counts; a copy, and a run beside it, do not."""
    first, copy, beside = session("a"), session("b"), session("c", start=T0 + 10 * DAY, days=30)
    after = session("d", start=T0 + 32 * DAY, days=3)
    counted = count([copy, beside, after, first], T0 + 60 * DAY)
    assert [one.name for one in counted.sessions] == ["a", "d"]
    assert dict(counted.excluded) == {
        "b": "it overlaps with a, and no time counts twice",
        "c": "it overlaps with a, and no time counts twice",
    }
    assert len(counted.trades) == 180


def test_a_session_that_was_gone_on_with_counts_whole_and_its_copy_does_not() -> None:
    counted = count([session("a", days=5), session("z", days=9)], T0 + 60 * DAY)
    assert [one.name for one in counted.sessions] == ["z"]


@pytest.mark.parametrize("first", ["small", "large"])
def test_what_was_traded_with_more_than_twice_or_less_than_half_the_money_says_nothing_of_the_last(first: str) -> None:
    """X36: 600 USD are twice 300, 601 are more."""
    for large, counts in ((600.0, True), (601.0, False)):
        equity = (300.0, large) if first == "small" else (large, 300.0)
        before = session("a", days=5, start_equity=equity[0])
        last = session("b", T0 + 10 * DAY, days=5, start_equity=equity[1])
        counted = count([before, last], T0 + 60 * DAY)
        assert [one.name for one in counted.sessions] == (["a", "b"] if counts else ["b"])
        why = f"it began with {equity[0]:g} USD, the last one with {equity[1]:g}"
        assert dict(counted.excluded) == ({} if counts else {"a": why})


def test_bars_of_the_future_were_not_seen_on_the_walls_clock() -> None:
    assert dict(count([session()], T0 + 30 * DAY).excluded) == {"a": "its bars lie in the future, so its time was not the wall's"}
    assert dict(count([session(up=())], T0).excluded) == {"a": "it has no bars"}


# --- results ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nets", "verdict", "value"),
    [
        ([1.3, -1.0] * 15, "pass", 1.3),
        ([1.29, -1.0] * 15, "fail", 1.29),
        ([2.0, -1.0] * 14 + [2.0], "not assessable", None),
        ([1.0] * 40, "not assessable", None),
    ],
    ids=["just enough", "a little less", "too few", "nothing lost"],
)
def test_the_profit_factor_is_of_all_that_counts(nets: list[float], verdict: str, value: float | None) -> None:
    """J5, X36; below 30 decided trades nothing is said."""
    item = judged(session(trades=trades(*nets)))["profit_factor"]
    assert (item.verdict, item.limit) == (verdict, 1.3)
    assert item.value == (None if value is None else pytest.approx(value))


def test_a_drawdown_goes_on_from_one_session_to_the_next() -> None:
    """2 % lost at the end of one and 2 % at the beginning of the next are 3.96 % together, though each starts with 300 USD."""
    first = session("a", days=2, equity=(EquityPoint(T0, 300.0, 0.0), EquityPoint(T0 + HOUR, 294.0, 2.0)), max_dd_pct=2.0)
    later = T0 + 5 * DAY
    second = session(
        "b", later, days=2, equity=(EquityPoint(later, 300.0, 0.0), EquityPoint(later + HOUR, 294.0, 2.0)), max_dd_pct=2.0
    )
    assert largest_drawdown_pct(count([first, second], T0 + 60 * DAY)) == pytest.approx(3.96)
    item = judged(first, second)["max_drawdown"]
    assert (item.verdict, item.limit) == (Verdict.FAIL, 3.0)


def test_a_drawdown_between_two_hours_counts() -> None:
    assert judged(session(max_dd_pct=3.01))["max_drawdown"].verdict is Verdict.FAIL
    assert judged(session(max_dd_pct=3.0))["max_drawdown"].verdict is Verdict.PASS


def test_the_forward_test_is_the_later_half_on_its_own() -> None:
    """A month that earned everything in its first days and loses since does not pass, though its profit factor does."""
    nets = [9.0, -1.0] * 20 + [1.0, -1.0] * 25
    items = judged(session(trades=trades(*nets, every=8 * HOUR)))
    assert items["profit_factor"].passed
    assert items["forward_test"].verdict is Verdict.FAIL
    assert items["forward_test"].limit == 1.1


# --- gates -----------------------------------------------------------------------------------------------------------


def alert(code: str, message: str, ts: int = T0, level: AlertLevel = AlertLevel.WARNING) -> Alert:
    return Alert(ts, level, code, message)


def test_the_turns_of_a_gate_are_read_from_the_alerts_as_they_are_written() -> None:
    """As in graph.health_alerts; a symbol has a colon of its own."""
    symbol = "BTC/USDT:USDT"
    told = [
        alert("paused", "CLOCK_DRIFT: The clock differs: by much."),
        alert("blocked", f"{symbol} STREAM_BOOK: There is no fresh order book for the symbol."),
        alert("resumed", "CLOCK_DRIFT"),
        alert("unblocked", f"{symbol} STREAM_BOOK"),
        alert("day_lock", "equity 300.00 USD"),
    ]
    assert [gate_turn(one) for one in told] == [
        GateTurn(T0, "", RefusalCode.CLOCK_DRIFT, closed=True),
        GateTurn(T0, symbol, RefusalCode.STREAM_BOOK, closed=True),
        GateTurn(T0, "", RefusalCode.CLOCK_DRIFT, closed=False),
        GateTurn(T0, symbol, RefusalCode.STREAM_BOOK, closed=False),
        None,
    ]


def test_pauses_are_counted_and_a_gate_that_stays_closed_is_not_confirmed() -> None:
    drift = RefusalCode.CLOCK_DRIFT
    turns = (
        GateTurn(T0, "", drift, True),
        GateTurn(T0 + HOUR, "", drift, False),
        GateTurn(T0 + 31 * DAY - HOUR, "", drift, True),
    )
    open_again = session(gates=turns[:2])
    (record, *_) = gate_records(count([open_again], T0 + 40 * DAY), DRILLED)
    assert (record.gate, record.fired, record.paused_ms, record.confirmed) == (drift, 1, HOUR, True)
    item = judged(session(gates=turns))["health_gates"]
    assert (item.verdict, item.value, item.limit) == (Verdict.FAIL, 5.0, 6.0)
    assert "paused for 2.0 h" in item.seen
    assert "CLOCK_DRIFT is closed" in item.seen
    assert "CLOCK_DRIFT 2" in item.seen


def test_a_gate_that_did_not_fire_in_the_drill_is_not_confirmed() -> None:
    item = judged(session(), drilled=[replace(DRILLED[0], closed=False), *DRILLED[1:]])["health_gates"]
    assert (item.verdict, "CLOCK_DRIFT did not fire" in item.seen) == (Verdict.FAIL, True)


# --- faults ----------------------------------------------------------------------------------------------------------


def test_a_day_without_a_critical_error_is_asked_for() -> None:
    now = T0 + 31 * DAY
    page = alert("fault", "OSError", now - DAY, AlertLevel.PAGE)
    assert judged(session(pages=(page,)))["no_critical_error"].verdict is Verdict.FAIL
    assert judged(session(pages=(replace_ts(page, now - DAY - 1),)))["no_critical_error"].passed


def test_a_critical_error_of_a_run_that_does_not_count_counts() -> None:
    now = T0 + 31 * DAY
    other = session("b", why_not="it was recorded under other rules", pages=(alert("fault", "x", now - HOUR, AlertLevel.PAGE),))
    assert judged(session(), other)["no_critical_error"].verdict is Verdict.FAIL
    replayed = session("b", why_not="its source is replay", wall_clock=False, pages=other.pages)
    assert judged(session(), replayed)["no_critical_error"].passed


def test_a_day_in_which_nothing_ran_says_nothing() -> None:
    item = judged(session(), now=T0 + 32 * DAY)["no_critical_error"]
    assert (item.verdict, item.seen) == (Verdict.NOT_ASSESSABLE, "the daemon was up for 0.0 of the last 24 h")


def replace_ts(alert_: Alert, ts: int) -> Alert:
    return Alert(ts, alert_.level, alert_.code, alert_.message)


def test_starts_are_read_from_the_alerts_as_they_are_written() -> None:
    """Each difference is an alert of its own; they are of one start. A warning of a start says nothing of it."""
    page = AlertLevel.PAGE
    told = [
        alert("symbol_halted", "before any start", level=page),
        alert("recovery", "a filter has changed"),
        alert("recovered", "exchange and books agree", level=AlertLevel.INFO),
        alert("symbol_halted", "BTC/USDT:USDT: it does not agree", level=page),
        alert("recovery", "position 1, books 2", level=page),
        alert("recovery", "position 3, books 4", level=page),
    ]
    assert starts_of(told) == (Start(True, "BTC/USDT:USDT: it does not agree"), Start(False))
    new_halts_only = [told[2], told[3], alert("recovery", "the start settled not everything", level=AlertLevel.INFO)]
    assert starts_of(new_halts_only) == (Start(True, "BTC/USDT:USDT: it does not agree"), Start(False))


@pytest.mark.parametrize(
    ("starts", "verdict"),
    [
        ((), "not assessable"),
        ((Start(agreed=False), Start(agreed=True)), "pass"),
        ((Start(agreed=True), Start(agreed=False)), "fail"),
        ((Start(agreed=True, halted="BTC: no"),), "fail"),
    ],
    ids=["none compared", "settled since", "the last did not", "halted since"],
)
def test_exchange_and_books_must_agree_at_the_last_start_and_since(starts: tuple[Start, ...], verdict: str) -> None:
    assert judged(session(starts=starts))["recovery_agreed"].verdict == verdict


def test_a_signature_that_does_not_hold_is_missing() -> None:
    items = judged(session(), signed=Signed(holds=False, seen="void", remedy="sign"))
    assert [key for key, item in items.items() if not item.passed] == ["governance_signed", "review_signed"]


# --- money -----------------------------------------------------------------------------------------------------------


def test_a_dollar_weighs_by_what_it_was_won_from() -> None:
    """X36: 3 won of 300 USD are 1 %, 4 lost of 600 are 0.67 %."""
    won = session("a", days=15, trades=trades(*[3.0] * 30, first=T0, every=HOUR))
    lost = session("b", start=T0 + 16 * DAY, days=15, start_equity=600.0, trades=trades(*[-4.0] * 30, first=T0 + 16 * DAY))
    counted = count([won, lost], T0 + 60 * DAY)
    assert sum(one.net for one in counted.trades) == pytest.approx(30 * 1.0 - 30 * 4 / 6)
    assert judged(won, lost, now=T0 + 60 * DAY)["profit_factor"].value == pytest.approx(1.5)


def test_a_session_with_another_kind_of_money_does_not_count() -> None:
    """X36: judged at the money it would run with, which is that of the last session."""
    rich, poor = session("rich", days=15, start_equity=1e6), session("poor", start=T0 + 16 * DAY, days=15)
    counted = count([rich, poor], T0 + 60 * DAY)
    assert [one.name for one in counted.sessions] == ["poor"]
    assert counted.excluded == (("rich", "it began with 1e+06 USD, the last one with 300"),)
    near = session("near", days=15, start_equity=600.0)
    assert [one.name for one in count([near, poor], T0 + 60 * DAY).sessions] == ["near", "poor"]


def test_a_session_that_entered_in_another_way_does_not_count() -> None:
    """Resting orders pay other fees and miss other trades: judged as it would run, which is as the last session did."""
    across, maker = session("across", days=15), session("maker", start=T0 + 16 * DAY, days=15, entering=Entering(Entry.MAKER))
    counted = count([across, maker], T0 + 60 * DAY)
    assert ([one.name for one in counted.sessions], counted.entering) == (["maker"], Entering(Entry.MAKER))
    assert counted.excluded == (("across", "it entered across, the last one as maker first"),)
    sliced = session("sliced", start=T0 + 32 * DAY, days=15, entering=Entering(slices=3))
    assert [one.name for one in count([across, maker, sliced], T0 + 60 * DAY).sessions] == ["sliced"]
    assert count([], T0).entering is None


def test_ways_of_entering_that_were_tried_side_by_side_do_not_leave_the_best_alone() -> None:
    """J5: what overlaps is no other try; and one that came later does not undo what was approved."""
    across = session("across", days=15)
    maker = session("maker", start=T0 + DAY, days=20, entering=Entering(Entry.MAKER))
    assert count([across, maker], T0 + 40 * DAY).sessions == ()
    approved = session("approved", days=15, sealed=True)
    later = session("later", start=T0 + 16 * DAY, days=1, entering=Entering(Entry.MAKER))
    assert [one.name for one in count([approved, later], T0 + 40 * DAY).sessions] == ["approved"]


def test_of_a_session_and_its_copy_the_one_that_was_approved_counts() -> None:
    copy, approved = session("a-copy"), session("original", sealed="ab" * 32)
    assert [one.name for one in count([copy, approved], T0 + 60 * DAY).sessions] == ["original"]
