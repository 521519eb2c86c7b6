"""``brain accept``, and where else a person sees what halts a session at an exchange (issue 4, points 3 and 4)."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from core.errors import StateError
from core.exec.broker_ccxt import OTHER_BY_NOW, LiveBroker
from core.exec.live.halts import Halt, HaltKind
from core.exec.live.outbox import Outbox
from core.exec.live.outbox_reader import Standing, standing
from core.journal.records import Word
from graph.commands.accept import explained
from graph.live.acceptance import Acceptance
from graph.live_metrics import LiveMetrics
from graph.runner import Daemon
from graph.session_dir import Accepted, AcceptRequest, SessionDir
from graph.status import _halted
from graph.words import FolderWords, WordKind
from tests.agents.making import ETH, breaking_out, play
from tests.support.commands import at_terminal, brain
from tests.support.run import Ran

FOUND, CONFIRM = "What did you find at the exchange? ", "Type ACCEPT to go on: "
FLAT = Halt(ETH, HaltKind.POSITION, "", "position of it is 0 at the exchange", 1, "0")
TWIN = Halt("", HaltKind.OTHER_DAEMON, "", "another daemon")
FOREIGN = Halt(ETH, HaltKind.FOREIGN_ORDER, "7", "none of ours")
LOOKED_FOR = Halt(ETH, HaltKind.DOUBT, "an-order", "nobody can tell")
REQUEST = AcceptRequest("liquidated", "owner", (Accepted(ETH, "position", "", "0"), Accepted("", "other_daemon", "", "")))


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return play(tmp_path_factory.mktemp("run"), ETH=breaking_out().climb(2))


def session(folder: Path, *halts: Halt) -> SessionDir:
    """One at an exchange, with these halts on the disk."""
    made = SessionDir(folder)
    made.journal.mkdir()
    outbox = Outbox(made.orders)
    for halt in halts:
        outbox.halt(halt)
    outbox.settle(ETH, Decimal("0.1"), 1, "as if bought")
    outbox.close()
    return made


def test_what_is_accepted_is_shown_and_left_for_the_daemon(tmp_path: Path) -> None:
    folder = session(tmp_path, LOOKED_FOR, FLAT, Halt(ETH, HaltKind.BOOKS, "", "apart", 1, "0.1"), TWIN)
    command = ("accept", "--state", str(tmp_path), "--color", "never")
    assert at_terminal(*command, "BTC").code == 1
    assert at_terminal(*command, answers=[(FOUND, "\n")]).code == 2
    assert at_terminal(*command, answers=[(FOUND, "liquidated\n"), (CONFIRM, "accept\n")]).code == 1
    assert folder.waiting_accept() is None
    shown = at_terminal(*command, answers=[(FOUND, "liquidated\n"), (CONFIRM, "ACCEPT\n")])
    assert shown.code == 0
    assert "the exchange has 0, the books have 0, the fills on record come to 0.1" in shown.out
    assert "accepting does not settle this; it goes when that is no longer so" in shown.out
    assert "accepting means: you have looked, and it is settled" in shown.out
    request = folder.waiting_accept()
    assert request is not None
    assert (request.reason, request.items) == ("liquidated", REQUEST.items)


@pytest.mark.parametrize("halts", [(), (LOOKED_FOR,)])
def test_where_nothing_waits_for_a_person_nothing_is_asked(halts: tuple[Halt, ...], tmp_path: Path) -> None:
    session(tmp_path, *halts)
    shown = at_terminal("accept", "--state", str(tmp_path))
    assert shown.code == 1
    assert ("Nothing that is halted waits" in shown.out) == bool(halts)


def test_away_from_a_terminal_it_is_refused_with_exit_code_3(tmp_path: Path) -> None:
    said = brain("accept", "--state", str(tmp_path))
    assert said.code == 3
    assert "error[LOCK-005]: accept was not run from a terminal" in said.err


@pytest.mark.parametrize(
    ("venue", "booked", "effect"),
    [
        ("0", "0.01", "the books close 0.01 at the last price, by hand"),
        ("-0.02", "0.01", "the books close 0.01 at the last price, by hand; -0.02 stay at the exchange under a stop"),
        ("0.03", "0.01", "0.02 stay at the exchange under a stop and belong to no plan; nothing is opened on"),
        ("-0.01", "-0.01", "the record is set to what the exchange and the books have"),
    ],
)
def test_what_accepting_means_is_said_for_each_case(venue: str, booked: str, effect: str) -> None:
    halt = Halt(ETH, HaltKind.POSITION, "", "x", 1, venue)
    assert f"accepting means: {effect}" in explained(halt, Standing((halt,), {}, {ETH: Decimal(booked)}))


def test_doctor_and_unlock_say_what_the_exchange_halts(ran: Ran, tmp_path: Path) -> None:
    folder = ran.daemon._folder
    try:
        outbox = Outbox(folder.orders)
        outbox.halt(FLAT)
        outbox.close()
        said = brain("doctor", "--state", str(folder.root))
        assert f"nothing is opened on {ETH}: {FLAT.text}" in said.out
        assert f"help: session: look at the exchange, then brain accept --state {folder.root}" in said.out
        shown = at_terminal("unlock", "--state", str(folder.root), "--reason", "calm")
        assert shown.code == 1
        assert f"brain accept --state {folder.root}" in shown.out
        folder.orders.write_bytes(b"this is no database" * 200)
        assert "can't be read" in brain("doctor", "--state", str(folder.root)).out
    finally:
        folder.orders.unlink()
    assert "not halted" in brain("doctor", "--state", str(folder.root)).out


@pytest.mark.parametrize(
    ("halts", "said", "word", "waits"),
    [
        ((), "", "", False),
        ((TWIN,), "the whole account: another daemon", "halted", True),
        ((FLAT, LOOKED_FOR), f"but nothing is opened on ETH: {FLAT.text}; and 1 more", "active", True),
        ((FOREIGN,), "but nothing is opened on ETH: none of ours", "active", False),
        ((LOOKED_FOR,), "but nothing is opened on ETH: nobody can tell", "active", False),
    ],
)
def test_the_line_and_the_panel_show_halts(halts: Any, said: str, word: str, waits: bool, ran: Ran) -> None:
    symbols = ran.parts.context.market.symbols
    daemon = SimpleNamespace(halts=halts, parts=ran.parts)
    found = _halted(cast(Daemon, daemon))
    if not halts:
        assert found is None
        return
    assert found is not None
    everywhere = "halted" if len(symbols) == 1 else word
    assert found.word == everywhere
    assert said.removeprefix("but nothing is opened on ") in found.reason
    assert ("brain accept" in found.remedy) == waits
    assert ("cancel that order at the exchange" in found.remedy) == (halts == (FOREIGN,))


def test_the_metrics_count_halts_by_reason(ran: Ran) -> None:
    parts = ran.parts
    live = LiveMetrics(parts.context, parts.metrics, parts.telemetry, parts.regime_score, has_books=True)
    live.halts = lambda: (FLAT, TWIN, TWIN)
    live.sync(0.0)
    series = parts.metrics.series["brain_halts"]
    counted = {kind: series.values[series.index(kind.value)] for kind in HaltKind}
    assert {kind: n for kind, n in counted.items() if n} == {HaltKind.POSITION: 1.0, HaltKind.OTHER_DAEMON: 2.0}
    live.halts = lambda: ()
    live.sync(0.0)
    assert not any(series.values)
    assert ran.daemon.halts == ()


def test_a_request_waits_until_it_is_taken_away(tmp_path: Path) -> None:
    folder = SessionDir(tmp_path)
    assert folder.waiting_accept() is None
    folder.request_accept(REQUEST)
    assert folder.waiting_accept() == REQUEST
    words = FolderWords(folder)
    words.done(Word(1, WordKind.ACCEPTED.value, "owner", "x", "another"))
    assert folder.waiting_accept() == REQUEST
    words.done(Word(1, WordKind.ACCEPTED.value, "owner", "x", REQUEST.ref))
    words.done(Word(1, WordKind.ACCEPTED.value, "owner", "x", REQUEST.ref))
    assert folder.waiting_accept() is None
    (tmp_path / "accept.json").write_text("{}", encoding="utf-8")
    with pytest.raises(StateError, match="is damaged"):
        folder.waiting_accept()


class Answering:
    """A broker whose exchange answers as told."""

    def __init__(self, *answers: Exception | None) -> None:
        self.answers, self.resumed = list(answers), list[tuple[str, str]]()

    async def accept(self, _symbol: str, _qty: Decimal, _why: str) -> None:
        answer = self.answers.pop(0)
        if answer is not None:
            raise answer

    def resume(self, symbol: str, kind: HaltKind, _ref: str) -> None:
        self.resumed.append((symbol, kind.value))


async def test_what_the_exchange_does_not_answer_waits_and_what_is_other_by_now_is_not_taken(tmp_path: Path) -> None:
    folder = SessionDir(tmp_path)
    folder.request_accept(REQUEST)
    other = StateError("the exchange has 1", code=OTHER_BY_NOW)
    broker = Answering(TimeoutError(), StateError("disk full", code="LIVE-003"), other)
    taking = Acceptance(cast(LiveBroker, broker), folder)
    await taking.look(1)
    await taking.look(2)
    assert taking.heard() == []
    await taking.look(3)
    await taking.look(4)  # once only
    (word,) = taking.heard()
    assert (word.ts, word.who, word.ref) == (3, "owner", REQUEST.ref)
    assert word.text == f"liquidated ({ETH}: not taken, the exchange has 1; the whole account: other_daemon is settled)"
    assert broker.resumed == [("", "other_daemon")]


def test_a_folder_without_an_outbox_and_one_of_another_version_are_told(tmp_path: Path) -> None:
    assert standing(tmp_path / "none.sqlite") == Standing((), {}, {})
    outbox = Outbox(tmp_path / "orders.sqlite")
    outbox._db.execute("PRAGMA user_version=99")
    outbox.close()
    with pytest.raises(StateError, match="is of version 99"):
        standing(tmp_path / "orders.sqlite")


async def test_a_damaged_note_is_told_once_and_passed_over_and_a_whole_one_after_it_is_taken(tmp_path: Path) -> None:
    """F6: an empty file, as an interrupted writing leaves it, must end neither a start nor a bar."""
    folder, told = SessionDir(tmp_path), list[str]()
    (tmp_path / "accept.json").touch()
    taking = Acceptance(cast(LiveBroker, Answering(None)), folder, told.append)
    words = FolderWords(folder, on_damaged=told.append)
    for ts in range(3):
        await taking.look(ts)
        words.done(Word(ts, WordKind.ACCEPTED.value, "owner", "x", "another"))
    assert taking.heard() == []
    assert (
        told
        == [f"request {tmp_path / 'accept.json'} is damaged, and is passed over: delete it, then run `brain accept` again"] * 2
    )
    folder.request_accept(REQUEST)
    await taking.look(3)
    assert [word.ref for word in taking.heard()] == [REQUEST.ref]
