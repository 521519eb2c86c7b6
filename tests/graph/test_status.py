"""What a person sees of a run between two bars, and of what is held outside its plans."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from io import StringIO
from pathlib import Path

import msgspec
import pytest

from core.exec.live.halts import Halt, HaltKind
from graph import status
from graph.commands import paper_answer
from graph.commands.drive import _calling
from graph.commands.paper_answer import summary_of
from graph.console import Console
from graph.status import _positions, line, verdict, watch
from tests.agents.making import ETH, breaking_out, play
from tests.support.run import Ran

FOREIGN = Halt(ETH, HaltKind.FOREIGN_ORDER, "7", "order 7 is none of ours")
PATIENCE_S = 20.0


@pytest.fixture
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder: Path = tmp_path_factory.mktemp("run")
    return play(folder, ETH=breaking_out())


class Lines(StringIO):
    """A terminal's log whose lines are waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.told: asyncio.Queue[str] = asyncio.Queue()

    def write(self, text: str) -> int:
        self.told.put_nowait(text)
        return len(text)


@pytest.fixture(autouse=True)
def _over(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run's records are closed when its summary is asked for here."""
    monkeypatch.setattr(paper_answer, "_unlocks", lambda _: 0)


def halted(ran: Ran) -> float:
    series = ran.parts.metrics.series["brain_halts"]
    return series.values[series.index(HaltKind.FOREIGN_ORDER.value)]


@pytest.mark.parametrize("bars", [None, 10_000])
async def test_a_halt_between_two_bars_is_shown_and_counted_when_it_comes_and_when_it_goes(
    bars: int | None, ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F6: with bars of five minutes line, panel and metric said nothing for as long."""
    daemon, halts = ran.daemon, list[Halt]()
    monkeypatch.setattr(type(daemon), "halts", property(lambda _: tuple(halts)))
    monkeypatch.setattr(type(daemon), "expected_bars", bars)
    daemon._live.halts = lambda: tuple(halts)
    lines = Lines()
    console = Console(stdout=StringIO(), stderr=lines)

    async def next_line() -> tuple[str, float]:
        async with asyncio.timeout(PATIENCE_S):
            return await lines.told.get(), halted(ran)

    with watch(daemon, console) as ticker:
        async with ticker.following():
            await asyncio.sleep(0)
            halts.append(FOREIGN)
            ticker.wake()
            said, counted = await next_line()
            assert (f"halted (ETH: {FOREIGN.text})" in said, counted) == (True, 1.0)
            monkeypatch.setattr(status, "_LOOK_EVERY_SECONDS", 0.0)
            halts.clear()
            ticker.wake()  # the present wait is the long one
            said, counted = await next_line()
            assert ("  active  " in said, counted) == (True, 0.0)
            halts.append(FOREIGN)  # and nobody tells
            said, counted = await next_line()
            assert (FOREIGN.text in said, counted) == (True, 1.0)


def test_a_halt_is_told_before_the_first_bar_too(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says starting for up to a bar's length."""
    monkeypatch.setattr(type(ran.daemon), "bars", 0)
    assert verdict(ran.daemon).reason == "no bar has been decided yet"
    monkeypatch.setattr(type(ran.daemon), "halts", (msgspec.structs.replace(FOREIGN, symbol="SOL/USDT:USDT"),))
    found = verdict(ran.daemon)
    assert (found.word, FOREIGN.text in found.reason, "cancel" in found.remedy) == ("starting", True, True)


def test_what_is_held_outside_the_plans_hides_behind_no_flat(ran: Ran) -> None:
    daemon = ran.daemon
    daemon.outside = lambda: (f"0.02 {ETH}, under a stop",)
    said = f"outside our plans: 0.02 {ETH}, under a stop; nothing is opened there"
    ran.context.ledger.positions.clear()
    summary = summary_of(ran.result, daemon, daemon._folder, Console().zone)
    for text in (line(daemon), _positions(daemon, Console().zone), summary):
        assert said in text
        assert "flat" not in text
        assert "no open position" not in text
    daemon.outside = tuple
    assert line(daemon).endswith("flat")
    assert _positions(daemon, Console().zone) == "no open position"


def test_a_page_is_told_without_a_secret_and_wakes_whoever_shows_it() -> None:
    """H5: the words of a foreign exception may hold a key."""
    woken, console = list[bool](), Console(stdout=StringIO(), stderr=StringIO(), quiet=True, secrets=("hunter22",))
    _calling(console, lambda: woken.append(True))("symbol_halted", "failed: key=hunter22")
    assert console.err.getvalue() == "page: symbol_halted: failed: key=***\n"
    assert woken == [True]


def test_the_source_s_own_books_are_not_called_recorded(ran: Ran) -> None:
    """X31: a made market records nothing."""
    made = summary_of(ran.result, ran.daemon, ran.daemon._folder, Console().zone)
    assert "data      books modelled, " in made
    made = summary_of(replace(ran.result, books="recorded"), ran.daemon, ran.daemon._folder, Console().zone)
    assert "data      books of the source, " in made
