"""A lock file belongs to one at a time, and to nobody once whoever had it has ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from core.file_lock import take, taken

ROOT = Path(__file__).resolve().parents[2]


def test_one_has_it_and_the_next_only_once_it_is_let_go(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    assert not taken(path)
    first = take(path)
    assert first is not None
    assert (take(path), taken(path)) == (None, True)
    os.close(first)
    assert not taken(path)
    again = take(path)
    assert again is not None
    os.close(again)


@pytest.mark.parametrize(("given", "mode"), [((), 0o600), ((0o644,), 0o644)])
def test_it_is_made_with_its_mode(given: tuple[int, ...], mode: int, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        handle = take(tmp_path / "a.lock", *given)
    finally:
        os.umask(before)
    assert handle is not None
    os.close(handle)
    assert (tmp_path / "a.lock").stat().st_mode & 0o777 == mode


def test_a_process_that_is_killed_lets_go_and_one_that_it_started_does_not_keep_it(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    program = (
        "import subprocess, sys, time; from pathlib import Path; from core.file_lock import take; "
        f"assert take(Path({str(path)!r})) is not None; "
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); print(child.pid, flush=True); "
        "time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=ROOT, text=True) as holder:
        assert holder.stdout is not None
        child = int(holder.stdout.readline())
        try:
            assert taken(path)
            holder.kill()
            holder.wait()
            assert not taken(path)
        finally:
            os.kill(child, signal.SIGKILL)
