"""The crash matrix: as much of it as is quick, the same again from its number, and teeth (F2, F6, K2; issue 4).

All of it: ``make crash-matrix``.
"""

from __future__ import annotations

import re
from itertools import islice

import pytest

from core.exec.live.crash import CrashPoint
from core.types import Side
from tests.faults.crash_matrix.__main__ import main
from tests.faults.crash_matrix.cells import FAULTS, Action, cell_of, matrix_size
from tests.faults.crash_matrix.mutants import MUTANTS, mutated
from tests.faults.crash_matrix.rules import Span
from tests.faults.crash_matrix.showing import SHOWS
from tests.faults.crash_matrix.story import live_through

QUICK, SLICE = 90, 30
CAUGHT_WITHIN = 30
"""Lives in which a mutant could show; most show in the first few."""


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, QUICK, SLICE))
def test_a_life_that_ends_anywhere_loses_nothing(first):
    failed = {number: result.failure for number in range(first, first + SLICE) if (result := live_through(number)).failure}
    assert failed == {}, f"again: python -m tests.faults.crash_matrix --lives 1 --trace --seed {min(failed)}"


@pytest.mark.slow
@pytest.mark.parametrize("number", [347, 576, 612, 708, 1208, 1637, 1903, 2017, 2636, 3373, 7870, 9531, 11694, 13137, 20572])
def test_a_life_in_which_something_was_lost_once_loses_nothing(number):
    """Each has shown another fault; the order path's own tests say which."""
    assert live_through(number).failure == ""


def test_every_point_meets_every_fault_in_every_action_on_both_sides():
    cells = {(cell.point, cell.fault, cell.action, cell.side) for cell in map(cell_of, range(matrix_size()))}
    assert len(cells) == len(CrashPoint) * len(FAULTS) * len(Action) * len(Side)


@pytest.mark.slow
@pytest.mark.parametrize("number", [5, 20])
def test_a_life_is_fixed_by_its_number(number):
    """Everything that happened, and every byte on the wire with its time."""
    first, second = live_through(number), live_through(number)
    assert first.outcome is not None
    assert first == second


@pytest.mark.slow
@pytest.mark.parametrize("mutant", sorted(MUTANTS))
def test_a_broker_that_is_built_wrongly_is_caught(mutant):
    shows = SHOWS[mutant]
    with mutated(mutant):
        lives = (live_through(number, shows.points, shows.faults) for number in islice(shows.numbers(), CAUGHT_WITHIN))
        assert any(life.failure for life in lives)


@pytest.mark.slow
def test_a_life_that_failed_comes_with_the_command_that_lives_it_again(capsys):
    assert main(["--lives", "12", "--seed", "0", "--jobs", "1", "--mutant", "cancel_before_place"]) == 1
    said = capsys.readouterr().out
    again = re.search(r"again: python -m tests\.faults\.crash_matrix (.*)", said)
    assert again is not None
    told = []
    for _ in range(2):
        assert main(again[1].split()) == 1
        told.append(capsys.readouterr().out.rpartition(" failed, ")[0])
    assert told[0] == told[1]
    assert "BROKEN the stop at" in told[0]
    assert re.search(r"\d+ ends at a point, 1$", told[0])


def test_the_command_says_which_points_ended_a_life(capsys):
    assert main(["--lives", "1", "--seed", "0", "--jobs", "1", "--point", "sent_after", "--fault", "none"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"sent_after +1 *\n", said)
    assert "0 failed" in said


def test_what_is_wrong_for_too_long_is_told_and_what_is_excused_is_not():
    span = Span("it was wrong", 100)
    assert span.see(0, wrong=True, excused=False) is None
    assert span.see(100, wrong=True, excused=False) is None
    assert span.see(101, wrong=False, excused=False) == "it was wrong for 101 ms, at most 100 ms"
    assert span.see(200, wrong=True, excused=True) is None
    assert span.see(900, wrong=True, excused=False) is None
    assert span.see(950, wrong=True, excused=True) is None
    assert span.longest_ms == 101
