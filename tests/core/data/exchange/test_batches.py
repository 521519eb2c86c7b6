"""What the exchange source hands out, against what a replay of the same market does (B1, B5, B7)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from core.data.exchange.settings import ExchangeSettings
from core.sim.server.faults import FaultKind
from core.sim.server.options import ServerOptions
from core.sim.tape.source import TapeOptions
from core.venues.market_words import Carries, DepthSeen, MarkSeen
from tests.core.data.exchange.kit import BTC, ETH, H1, M1, M5, START, Stand, all_rows, opens, rows, tell

KLINES = "/fapi/v1/klines"
BTC_FINALS, ETH_FINALS = "btcusdt@kline_1m", "ethusdt@kline_1m"


async def agree(stand: Stand, count: int) -> None:
    """The next batches are those of the replay, each bar in its own."""
    got, truth = await stand.take(count), await stand.truth(count)
    assert [batch.ts for batch in got] == [batch.ts for batch in truth]
    assert [rows(batch) for batch in got] == [rows(batch) for batch in truth]


async def agree_in_all(stand: Stand, count: int) -> None:
    """The same bars in the same order, though some of them late."""
    got, truth = await stand.take(count), await stand.truth(count)
    for who in range(len(stand.source.info.symbols)):
        assert [row for row in all_rows(got) if row[2] == who] == [row for row in all_rows(truth) if row[2] == who]


def dials(stand: Stand) -> list[int]:
    """How often each socket was dialled: candles and marks, books, spot candles."""
    return [line.dials for line in stand.venue._lines]


# --- a quiet market ----------------------------------------------------------------------------------------


def test_batches_are_those_of_a_replay_of_the_same_market() -> None:
    """B1: candles, funding and hourly spot closes in the batch of their own moment; marks and books beside them."""

    async def story(stand: Stand) -> None:
        await agree(stand, 98)
        truth = await stand.truth(98)
        assert [batch.funding for batch in stand.got] == [batch.funding for batch in truth]
        assert [batch.spot for batch in stand.got] == [batch.spot for batch in truth]
        assert sum(len(batch.funding) for batch in truth) == 2
        assert sum(len(batch.spot) for batch in truth) == 16
        for batch in stand.got:
            closes = [row[7] for row in rows(batch)]
            assert [mark.price for mark in batch.marks] == closes  # the market has no marks of its own
            assert [book.symbol for book in batch.books] == [BTC, ETH]
            assert all(
                book.ts == batch.ts and book.bid < close < book.ask for book, close in zip(batch.books, closes, strict=True)
            )
        assert stand.notes() == []

    seldom = TapeOptions(mark_every_ms=0)  # marks come with the trades alone
    tell(story, base=M5, bars=100, tape=seldom, settings=ExchangeSettings(market_silent_s=3_600.0))


def test_history_is_that_of_a_replay_and_grows_with_what_comes() -> None:
    """X28: warm-up asks once, before the first bar; later bars are summed up from those that went out."""

    async def story(stand: Stand) -> None:
        info, replay = stand.source.info, stand.replay
        assert info.start == START
        assert (info.end, info.batches, info.has_books) == (None, None, True)
        assert info.has_funding == info.has_spot == {BTC: True, ETH: True}
        await stand.take(7)
        for before, base_rows in ((START, 50), (START + 7 * M5.ms, 50)):
            for tf in (M5, stand.source._base[0]):
                mine, theirs = (one.history(ETH, tf, before, base_rows) for one in (stand.source, replay))
                assert [column.tolist() for column in mine] == [column.tolist() for column in theirs]
            assert stand.source.funding_history(BTC, before, 9) == replay.funding_history(BTC, before, 9)
            assert stand.source.spot_history(BTC, before, 9) == replay.spot_history(BTC, before, 9)

    tell(story, base=M5)


def test_a_forming_candle_never_gets_out() -> None:
    """B5: a thousand forming candles a bar are told, and none of them is handed out."""

    async def story(stand: Stand) -> None:
        told: list[bool] = []
        heard = stand.venue._take

        def noted(word: Any) -> None:
            told.append(getattr(word, "final", True))
            heard(word)

        stand.venue._take = noted
        await agree(stand, 5)
        assert told.count(False) > 250

    tell(story, tape=TapeOptions(mark_every_ms=10_000, kline_every_ms=1_000))


def test_a_bar_that_the_venue_does_not_have_is_no_reason_to_wait_for_ever() -> None:
    """B5: a hole in the market itself is seen as one by the feed; bars after it go out with their own close."""

    async def story(stand: Stand) -> None:
        await agree(stand, 8)

    tell(story, hole=3)


def test_a_symbol_without_a_spot_market_has_no_basis_and_is_told() -> None:
    async def story(stand: Stand) -> None:
        info = await stand.source.prepare()
        assert info.has_spot == {BTC: False, ETH: False}
        assert len(info.missing) == 2
        assert "no basis" in info.missing[0]
        await agree(stand, 2)

    tell(story, prepare=False, others=lambda world, _: world.kill("spot"))


def test_a_market_of_which_the_local_exchange_knows_no_spot_has_no_basis() -> None:
    """Nothing is made up: what the tape does not know is not listed, and the source says so."""

    async def story(stand: Stand) -> None:
        info = await stand.source.prepare()
        assert info.has_spot == {BTC: True, ETH: False}
        assert info.missing == (f"{ETH}: no spot candles from binanceusdm (BadSymbol), so no basis",)
        truth = await stand.truth(2)
        await stand.take(2)
        assert [batch.spot for batch in stand.got] == [batch.spot for batch in truth]

    tell(story, prepare=False, base=H1, bars=4, spot=[BTC], tape=TapeOptions(mark_every_ms=60_000))


# --- sockets -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bar", [2.4, 2.999, 3.001])
@pytest.mark.parametrize("stream", ["market", "public", ""])
def test_a_broken_socket_loses_nothing(bar: float, stream: str) -> None:
    """B7: dialled again, subscribed again, and what was missed is asked for; in mid-bar and around the close."""

    async def story(stand: Stand) -> None:
        stand.fault(bar, FaultKind.DISCONNECT, stream=stream)
        await agree(stand, 6)
        assert any("dialled again" in note for note in stand.notes())
        assert [len(batch.books) for batch in stand.got] == [2] * 6
        assert all(line.up for line in stand.venue._lines)

    tell(story)


@pytest.mark.parametrize(
    ("answers_pings", "silent_s", "why"), [(True, 20.0, "silent for 20 s"), (False, 120.0, "RequestTimeout: ")]
)
def test_a_socket_that_says_nothing_is_dialled_again_though_it_answers_pings(
    answers_pings: bool, silent_s: float, why: str
) -> None:
    """B7: a line lives by its messages, not by heartbeats; one that answers none is noticed by them, too."""

    async def story(stand: Stand) -> None:
        stand.fault(1.5, FaultKind.SILENT_SOCKET, stream="market", executed=answers_pings)
        await agree(stand, 5)
        assert dials(stand) == [2, 1, 1]
        assert any(f"({why}" in note and "dialled again" in note for note in stand.notes())

    tell(story, settings=ExchangeSettings(market_silent_s=silent_s))


@pytest.mark.parametrize("late_s", [None, 40.0])
def test_a_stream_of_books_that_tells_nothing_or_what_is_long_over_is_dialled_again(late_s: float | None) -> None:
    """B7: from its first moment on; until then each book is asked for by REST, and never is an old one told."""

    async def story(stand: Stand) -> None:
        heard = stand.venue._take

        def take(word: Any) -> None:
            if not isinstance(word, DepthSeen) or stand.venue._lines[1].dials > 1:
                heard(word)
            elif late_s is not None:
                asyncio.get_running_loop().call_later(late_s, late, word)

        def late(word: Any) -> None:
            if stand.venue._lines[1].dials == 1:  # what is under way ends with its socket
                heard(word)

        stand.venue._take = take
        fresh = list[bool]()
        for _ in range(6):
            await stand.take(1)
            fresh.append(all(stand.venue._books.fresh(symbol, 2_000) for symbol in (BTC, ETH)))
        assert fresh == sorted(fresh)
        assert (fresh[0], fresh[-1]) == (False, True)
        assert dials(stand) == [1, 2, 1]
        assert [len(batch.books) for batch in stand.got] == [2] * 6

    tell(story)


def test_the_venue_ends_every_connection_after_a_day() -> None:
    """B7; the day is ten minutes long here."""

    async def story(stand: Stand) -> None:
        await agree(stand, 25)
        assert dials(stand) == [3, 3, 3]

    tell(story, options=ServerOptions(connection_ms=600_000, reaction_ms=5))


def test_with_no_stream_of_them_candles_come_by_rest() -> None:
    """B1: REST polling while sockets are down."""

    async def story(stand: Stand) -> None:
        stand.venue.client.quirks = _NoStreams(stand.venue.client.quirks)
        await agree(stand, 4)
        assert [line.dial.carries for line in stand.venue._lines] == [Carries.SPOT]
        assert [len(batch.books) for batch in stand.got] == [2] * 4

    tell(story)


class _NoStreams:
    """A venue without sockets for its perpetuals."""

    def __init__(self, quirks: Any) -> None:
        self._quirks = quirks

    def __getattr__(self, name: str) -> Any:
        return (lambda *_: ()) if name == "stream_lines" else getattr(self._quirks, name)


# --- single candles ----------------------------------------------------------------------------------------


def test_a_final_that_the_stream_leaves_out_is_asked_for_within_the_barrier() -> None:
    async def story(stand: Stand) -> None:
        stand.fault(2.5, FaultKind.MISSING_FINAL, stream=ETH_FINALS)
        await agree(stand, 5)
        assert dials(stand) == [1, 1, 1]

    tell(story)


def test_a_stream_that_leaves_a_symbol_out_again_and_again_is_dialled_anew() -> None:
    async def story(stand: Stand) -> None:
        stand.fault(1.5, FaultKind.MISSING_FINAL, stream=ETH_FINALS, times=3)
        await agree(stand, 6)
        assert dials(stand) == [2, 1, 1]
        assert any("final candles are missing" in note for note in stand.notes())

    tell(story)


def test_a_late_symbol_is_left_out_and_comes_as_a_late_bar() -> None:
    """One batch a close, after a short barrier; the bar of a late symbol stands in the next one before its newer one."""

    async def story(stand: Stand) -> None:
        stand.fault(2.5, FaultKind.LATE_FINAL, stream=ETH_FINALS, delay_ms=20_000)
        stand.fault(2.5, FaultKind.HANG, path=KLINES, times=0, delay_ms=5_000)
        stand.at(3.5, stand.server.clear_faults)
        await agree_in_all(stand, 6)
        assert [opens(batch, 0) for batch in stand.got] == [[0], [1], [2], [3], [4], [5]]
        assert [opens(batch, 1) for batch in stand.got] == [[0], [1], [], [2, 3], [4], [5]]

    tell(story)


def test_newer_bars_wait_for_a_missing_one_until_it_is_given_up() -> None:
    """Nothing goes out over a hole that may still be filled; after three closes the feed sees a gap."""

    async def story(stand: Stand) -> None:
        stand.fault(2.5, FaultKind.MISSING_FINAL, stream=ETH_FINALS)
        stand.fault(2.5, FaultKind.REJECT, path=KLINES, times=0)
        await stand.take(8)
        assert [opens(batch, 0) for batch in stand.got] == [[0], [1], [2], [3], [4], [5], [6], [7]]
        assert [opens(batch, 1) for batch in stand.got] == [[0], [1], [], [], [], [3, 4, 5], [6], [7]]

    tell(story)


# --- marks -------------------------------------------------------------------------------------------------


PATIENT = ExchangeSettings(market_silent_s=3_600.0)


def deaf_to_marks(stand: Stand, bar: float, until: float) -> None:
    """The stream of marks is silent for so many bars, that of candles on the same socket goes on."""
    heard = stand.venue._take

    def take(word: Any) -> None:
        if not (isinstance(word, MarkSeen) and bar <= (stand.venue.clock.now() - START) / M1.ms < until):
            heard(word)

    stand.venue._take = take


def test_marks_are_asked_for_while_their_stream_is_silent_and_it_is_told_once() -> None:
    """B1: as candles and books are; the price is the venue's own at the close, each symbol costs one unit of data's budget."""

    async def story(stand: Stand) -> None:
        deaf_to_marks(stand, 1.5, 4.5)
        asked: list[str] = []
        fetch = stand.venue.client.fetch

        async def noted(url: str, *rest: Any) -> Any:
            asked.append(url)
            return await fetch(url, *rest)

        stand.venue.client.fetch = noted
        await agree(stand, 7)
        for batch in stand.got:
            assert [mark.symbol for mark in batch.marks] == [BTC, ETH]
            for mark, row in zip(batch.marks, rows(batch), strict=True):
                assert mark.ts == batch.ts
                assert mark.price == pytest.approx(row[7], rel=2e-3)
        (note,) = stand.notes()
        assert note == f"binanceusdm: no mark price of {BTC}, {ETH} by the stream; asked for by REST"
        assert sum("premiumIndex" in url for url in asked) == 6  # three closes of two symbols
        assert any(note in batch.notes for batch in stand.got[1:3])

    tell(story, settings=PATIENT)


def test_a_mark_that_neither_stream_nor_rest_tells_is_missing_and_never_an_old_one() -> None:
    """Staleness is the same by either way: no mark older, or of a later moment, than may be."""

    async def story(stand: Stand) -> None:
        deaf_to_marks(stand, 1.5, 99.0)
        stand.fault(2.5, FaultKind.HTML, path="/fapi/v1/premiumIndex", times=0)
        stand.at(3.5, stand.server.clear_faults)
        await stand.take(3)
        mark_now = stand.venue.rest.mark

        async def told(symbol: str) -> Any:
            mark = await mark_now(symbol)
            shift = {4: -20_000, 5: 20_000}.get((mark.ts - START) // M1.ms, 0)
            return mark._replace(ts=mark.ts + shift)

        stand.venue.rest.mark = told
        await stand.take(4)
        assert [len(batch.marks) for batch in stand.got] == [2, 2, 0, 0, 0, 2, 2]

    tell(story, settings=PATIENT)


def test_a_venue_that_tells_no_mark_has_none() -> None:
    async def story(stand: Stand) -> None:
        deaf_to_marks(stand, 0.0, 99.0)

        async def told(_symbol: str) -> Any:
            return {"markPrice": None, "timestamp": None, "fundingTimestamp": None}

        stand.venue.client.fetch_funding_rate = told
        await agree(stand, 2)
        assert [batch.marks for batch in stand.got] == [(), ()]

    tell(story, settings=PATIENT)


def test_a_mark_of_the_next_bar_costs_no_question_and_does_not_pass_for_the_close() -> None:
    """B1: it came while a late candle was waited for; the last one of the bar itself is at hand."""

    async def story(stand: Stand) -> None:
        close, asked = START + 3 * M1.ms, list[str]()
        fetch, heard, older = stand.venue.client.fetch, stand.venue._take, dict[str, float]()

        async def noted(url: str, *rest: Any) -> Any:
            asked.append(url)
            return await fetch(url, *rest)

        def take(word: Any) -> None:
            if isinstance(word, MarkSeen) and word.ts <= close:
                older[word.name] = word.price
            heard(word)

        stand.venue.client.fetch, stand.venue._take = noted, take
        stand.fault(2.5, FaultKind.LATE_FINAL, stream=BTC_FINALS, delay_ms=800)
        for name in ("BTCUSDT", "ETHUSDT"):
            stand.at(3.005, take, MarkSeen(name, close + 200, 1.0, 0))
        await agree(stand, 4)
        marks = stand.got[2].marks
        assert [mark.ts for mark in marks] == [close, close]
        assert [mark.price for mark in marks] == [older["BTCUSDT"], older["ETHUSDT"]]
        assert not [url for url in asked if "premiumIndex" in url]

    tell(story)


# --- limits ------------------------------------------------------------------------------------------------


def test_what_is_asked_of_the_venue_stays_within_datas_own_budget() -> None:
    """B7: whatever wants to know how much; each of these questions weighs one."""

    async def story(stand: Stand) -> None:
        asked: list[float] = []
        fetch = stand.venue.client.fetch

        async def noted(url: str, *rest: Any) -> Any:
            asked.append(stand.world.loop.time())
            return await fetch(url, *rest)

        stand.venue.client.fetch = noted
        await asyncio.gather(*(stand.venue.rest.mark(BTC) for _ in range(120)))
        assert len(asked) == 120
        assert all(sum(begun <= at < begun + 60.0 for at in asked) <= 50 for begun in asked)
        assert asked[-1] - asked[0] < 180.0

    tell(story, settings=ExchangeSettings(weight_per_minute=50))


@pytest.mark.parametrize("kind", [FaultKind.THROTTLE, FaultKind.BAN])
def test_after_429_or_418_nothing_is_asked_for_as_long_as_the_venue_said(kind: FaultKind) -> None:
    """B7: Retry-After is honoured by data's own budget; bars go on by the stream."""

    async def story(stand: Stand) -> None:
        asked: list[tuple[float, str]] = []
        fetch = stand.venue.client.fetch

        async def noted(url: str, *rest: Any) -> Any:
            asked.append((stand.world.loop.time(), url))
            return await fetch(url, *rest)

        stand.venue.client.fetch = noted
        stand.fault(2.5, FaultKind.MISSING_FINAL, stream=BTC_FINALS)
        stand.fault(2.5, kind, path=KLINES)
        await agree_in_all(stand, 5)
        assert [opens(batch, 0) for batch in stand.got] == [[0], [1], [], [2, 3], [4]]
        refused, again = [at for at, url in asked if KLINES in url][:2]
        assert again - refused >= 5.0  # what the local exchange says in Retry-After
        assert not [url for at, url in asked if refused < at < again]

    tell(story)


# --- time --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_ms", [6_000, -6_000])
def test_a_step_of_the_host_clock_is_told_at_once_and_moves_no_bar(by_ms: int) -> None:
    """B4, X27: time is told by the loop between measurements; the drift stands in the very next batch."""

    async def story(stand: Stand) -> None:
        stand.at(2.5, stand.world.jump_clock, "bot", by_ms)
        await agree(stand, 5)
        drifts = [batch.clock.exchange_drift_ms for batch in stand.got if batch.clock is not None]
        assert [round(drift / 1000.0) if drift is not None else None for drift in drifts] == [0, 0, *[by_ms // 1000] * 3]

    tell(story, settings=ExchangeSettings(clock_every_s=30.0))


@pytest.mark.parametrize("by_ms", [6_000, -6_000])
def test_a_step_of_the_venue_clock_is_measured_and_no_bar_is_lost(by_ms: int) -> None:
    async def story(stand: Stand) -> None:
        stand.fault(2.5, FaultKind.CLOCK_JUMP, delay_ms=by_ms)
        got, truth = await stand.take(6), await stand.truth(6)
        told = [row for row in all_rows(got) if row[2] == 0]
        assert told == [row for row in all_rows(truth) if row[2] == 0][: len(told)]
        assert len(told) >= 5  # a clock that is ahead of its own candles makes the last one late
        last = stand.got[-1].clock
        assert last is not None
        assert last.exchange_drift_ms == pytest.approx(-by_ms, abs=20)

    tell(story, settings=ExchangeSettings(clock_every_s=10.0))


def test_a_consumer_that_comes_late_decides_on_no_stale_bar() -> None:
    """What it slept through comes with the next close as late bars, in one batch and in order."""

    async def story(stand: Stand) -> None:
        await stand.take(2)
        await asyncio.sleep(10 * M1.ms / 1000.0)
        await stand.take(1)
        assert stand.got[-1].ts == START + 13 * M1.ms
        assert opens(stand.got[-1]) == list(range(2, 13))
        assert opens(stand.got[-1], 1) == list(range(2, 13))

    tell(story)


def test_a_session_that_is_gone_on_with_gets_its_last_bar_again_and_the_rest_at_once() -> None:
    """X43: the first batch is that of the close asked for, from REST; what was missed since is decided upon no more."""

    async def story(stand: Stand) -> None:
        await asyncio.sleep(7.3 * M1.ms / 1000.0)
        await stand.source.prepare(history=False)
        first, second = await stand.take(2, after_ts=START + 3 * M1.ms - 1)
        assert (first.ts, opens(first), opens(first, 1)) == (START + 3 * M1.ms, [2], [2])
        assert (second.ts, opens(second)) == (START + 8 * M1.ms, [3, 4, 5, 6, 7])
        assert rows(first) == rows((await stand.truth(3))[2])

    tell(story, prepare=False, start=START)
