"""What bar-by-bar indicators remember."""

from __future__ import annotations

import numpy as np
import pytest

from core.indicators.rows import Memory, Rows, TrueCounter


def test_a_window_holds_the_last_values_in_time_order():
    rows = Rows((3, 3), 2)
    first, second = rows.series(0), rows.series(1)
    for value in range(20):
        rows.push(np.array([[value, 100.0 + value], [-value, -100.0 - value]]))
        expected = [v if v >= 0 else np.nan for v in range(value - 2, value + 1)]
        np.testing.assert_array_equal(first.last(3)[0], expected)
        np.testing.assert_array_equal(second.last(3)[0], np.negative(expected))
        np.testing.assert_array_equal(first.before(2)[1], [100.0 + v if v >= 0 else np.nan for v in (value - 2, value - 1)])
        np.testing.assert_array_equal(first.lag(0), [value, 100.0 + value])


def test_held_symbols_keep_the_windows_they_had():
    rows, plain = Rows((4, 4), 3), Rows((4, 4), 1)
    rng = np.random.default_rng(1)
    for _ in range(60):
        values = rng.normal(size=(2, 3))
        rows.push(values)
        if rng.random() < 0.5:
            rows.hold(np.array([1]))
        else:
            plain.push(values[:, 1:2])
        for number in range(2):
            np.testing.assert_array_equal(rows.series(number).last(4)[1], plain.series(number).last(4)[0])
            assert rows.series(number).lag(0)[0] == values[number, 0]


def test_memory_puts_symbols_back():
    memory = Memory(3)
    cells, rows = memory.cells(2, start=1.0), memory.rows((2,))
    memory.count += 1.0
    rows.push(np.array([[1.0, 2.0, 3.0]]))
    others = np.array([0, 2])
    saved = memory.save(others)
    cells += 5.0
    memory.count += 1.0
    rows.push(np.array([[10.0, 20.0, 30.0]]))
    memory.restore(others, saved)
    np.testing.assert_array_equal(cells, [[1.0, 6.0, 1.0], [1.0, 6.0, 1.0]])
    np.testing.assert_array_equal(memory.count, [1.0, 2.0, 1.0])
    np.testing.assert_array_equal(rows.series(0).lag(0), [1.0, 20.0, 3.0])


def test_memory_refuses_more_cells_than_it_has():
    with pytest.raises(MemoryError, match="expected at most 64"):
        Memory(1).cells(70)


@pytest.mark.parametrize("bars", [1, 7, 8, 480, 2000, 2040, 2041, 3000])
def test_true_cells_are_counted_exactly(bars):
    counter, out = TrueCounter(5, bars), np.empty(5)
    mask = np.random.default_rng(bars).random((5, bars)) < 0.7
    mask[0] = True
    mask[1] = False
    counter.mask[:] = mask
    counter.count(out)
    assert out.tolist() == [float(sum(row)) for row in mask.tolist()]
