"""A recording of the venue's own messages."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from core.errors import SourceError
from core.sim.local.values import BookTick, KlineTick, MarkTick, OrderSide, TradeTick
from core.sim.tape.recording import RecordingTape
from core.types import Timeframe
from tests.core.data.making import T0
from tests.core.sim.tape.kit import finals, played, trades

D = Decimal
MINUTE = 60_000


def trade(ms: int, price: str, number: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "data": {"e": "trade", "T": T0 + ms, "s": "BTCUSDT", "t": number, "p": price, "q": "2", "X": "MARKET", "m": False, **more}
    }


def ticker(ms: int, update: int, bid: str, ask: str) -> dict[str, Any]:
    return {"data": {"e": "bookTicker", "u": update, "s": "BTCUSDT", "b": bid, "B": "5", "a": ask, "A": "6", "T": T0 + ms}}


def difference(ms: int, first: int, last: int, previous: int, bids: list[list[str]]) -> dict[str, Any]:
    return {"data": {"e": "depthUpdate", "T": T0 + ms, "s": "BTCUSDT", "U": first, "u": last, "pu": previous, "b": bids, "a": []}}


def snapshot(update: int) -> dict[str, Any]:
    return {"lastUpdateId": update, "bids": [["99", "1"], ["98", "1"]], "asks": [["101", "1"]]}


def recorded(folder: Path, *messages: dict[str, Any], name: str = "feed.jsonl.gz") -> Path:
    text = "".join(json.dumps({"recv_ns": 0, "msg": message}) + "\n" for message in messages).encode()
    path = folder / name
    path.write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    return path


async def test_trades_carry_the_takers_side_and_time_never_runs_back(tmp_path: Path) -> None:
    path = recorded(tmp_path, trade(10, "100"), trade(5, "99", 2, m=True))
    ticks = trades(await played(RecordingTape(path)))
    assert [(t.ts, t.price, t.taker) for t in ticks] == [(T0 + 10, D(100), OrderSide.BUY), (T0 + 10, D(99), OrderSide.SELL)]


async def test_trades_of_the_insurance_fund_and_other_events_are_no_market(tmp_path: Path) -> None:
    other = {"data": {"e": "markPriceUpdate", "s": "BTCUSDT", "T": T0 + 5}}
    ticks = await played(RecordingTape(recorded(tmp_path, trade(1, "100", X="INSURANCE_FUND"), other), mark_every_ms=0))
    assert ticks == []


async def test_no_book_is_told_until_it_is_known(tmp_path: Path) -> None:
    messages = (
        ticker(1, 4, "99", "101"),
        difference(2, 5, 9, 4, [["99", "3"]]),
        snapshot(7),
        ticker(3, 12, "99.5", "101"),
        difference(4, 20, 21, 19, []),
        ticker(5, 22, "99.5", "101"),
    )
    tape = RecordingTape(recorded(tmp_path, *messages, name="feed.jsonl"), book_levels=2)
    ticks = await played(tape)
    assert ticks == [
        BookTick("BTCUSDT", T0 + 3, 12, ((D("99.5"), D(5)), (D(99), D(3))), ((D(101), D(6)),)),
    ]
    assert tape.breaks == 1


async def test_candles_and_marks_come_from_the_trades(tmp_path: Path) -> None:
    path = recorded(tmp_path, trade(30_000, "100"), trade(MINUTE + 1, "102", 2), trade(3 * MINUTE, "101", 3))
    tape = RecordingTape(path, [Timeframe.M1], mark_every_ms=50_000)
    ticks = await played(tape)
    assert [(k.open_ts - T0) // MINUTE for k in finals(ticks)] == [1, 2]
    marks = [(tick.ts - T0, tick.mark) for tick in ticks if isinstance(tick, MarkTick)]
    assert marks == [(50_000, D(100)), (100_000, D(102)), (150_000, D(102))]
    assert [row.open_ts for row in tape.klines("BTCUSDT", Timeframe.M1)] == [T0 + k * MINUTE for k in range(4)]
    assert tape.mark_klines("BTCUSDT", Timeframe.M1)[0].volume == 0
    assert tape.funding_rates("BTCUSDT") == ()
    assert tape.spot_klines("BTCUSDT", Timeframe.H1) == ()
    mark = tape.premium("BTCUSDT")
    assert mark is not None
    assert mark.ts == T0 + 150_000


async def test_what_comes_after_a_time_is_the_same_as_without_a_restart(tmp_path: Path) -> None:
    messages = [snapshot(7), *(trade(k * 7_000, str(100 + k), k) for k in range(30)), ticker(220_000, 12, "99.5", "101")]
    path = recorded(tmp_path, *messages)
    tape = RecordingTape(path)
    whole = await played(tape)
    again = RecordingTape(path)
    again.restore(tape.snapshot())
    assert await played(again, after_ts=T0 + 100_000) == [tick for tick in whole if tick.ts > T0 + 100_000]
    assert await played(again) == whole


async def test_a_real_recording_gives_a_possible_market(shared_data: Path) -> None:
    tape = RecordingTape(shared_data / "feeds" / "usdm_btcusdt_20240808.jsonl.gz", [Timeframe.M1], book_levels=5)
    ticks = await played(tape)
    books = [tick for tick in ticks if isinstance(tick, BookTick)]
    assert len(books) > 26_000
    assert tape.breaks == 0
    assert all(book.bids[0][0] < book.asks[0][0] and not book.modelled for book in books)
    assert sum(isinstance(tick, TradeTick) for tick in ticks) == 4741
    (minute,) = finals(ticks)
    inside = [t for t in trades(ticks) if minute.open_ts <= t.ts < minute.open_ts + MINUTE]
    assert (minute.trades, minute.volume) == (len(inside), sum(t.qty for t in inside))
    assert (minute.high, minute.low) == (max(t.price for t in inside), min(t.price for t in inside))
    assert not [k for k in ticks if isinstance(k, KlineTick) and k.final and k.open_ts < minute.open_ts]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (b"{", "line 2"),
        (b'{"recv_ns": 0}', "lacks 'msg'"),
        (b'{"msg": 5}', "line 2"),
        (b'{"msg": {"data": {"e": "trade", "s": "BTCUSDT", "T": 1, "p": "x"}}}', "line 2"),
        (b'{"msg": {"data": {"e": "trade", "s": "BTCUSDT"}}}', "lacks 'T'"),
        (b'{"msg": {"data": {"e": "trade", "s": "ETHUSDT", "T": 1}}}', "symbol was ETHUSDT, expected BTCUSDT"),
    ],
)
async def test_a_line_that_is_no_message_is_named(tmp_path: Path, line: bytes, what: str) -> None:
    path = recorded(tmp_path, trade(1, "100"), name="feed.jsonl")
    path.write_bytes(path.read_bytes() + line + b"\n")
    with pytest.raises(SourceError, match=what) as error:
        await played(RecordingTape(path))
    assert error.value.code == "DATA-030"


def test_files_that_are_no_recording_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        RecordingTape(tmp_path / "absent.jsonl")
    with pytest.raises(SourceError, match="has no message"):
        RecordingTape(recorded(tmp_path, snapshot(7)))
    cut = recorded(tmp_path, trade(1, "100"))
    cut.write_bytes(cut.read_bytes()[:-12])
    with pytest.raises(SourceError, match="cannot be read"):
        RecordingTape(cut)
    with pytest.raises(SourceError, match="line 1: no message of a USD-M stream"):
        RecordingTape(recorded(tmp_path, {"data": {"s": "BTCUSDT"}}, name="odd.jsonl"))
