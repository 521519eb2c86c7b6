"""One daemon for one account on a machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import StateError
from core.venues.keys import Keys
from graph.account_lock import account_file, held, holding, last_folder, remember

KEYS = Keys("k" * 64, "s" * 64)


def test_a_second_daemon_on_the_account_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "account.lock"
    assert not held(path)
    with holding(path):
        assert held(path)
        with pytest.raises(StateError, match="on this machine trades with the same API key") as refused, holding(path):
            raise AssertionError
        assert refused.value.code == "STATE-013"
        assert held(path), "asking and failing let go of nothing"
    assert not held(path)


def test_the_lock_goes_with_the_process_that_held_it(tmp_path: Path) -> None:
    path = tmp_path / "account.lock"
    program = (
        f"from pathlib import Path; from graph.account_lock import holding\n"
        f"with holding(Path({str(path)!r})):\n    print('held', flush=True); input()"
    )
    child = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        assert held(path)
    finally:
        child.kill()
        child.communicate()
    assert not held(path)


def test_the_file_is_the_accounts_wherever_a_daemon_runs_and_tells_no_key() -> None:
    """H5: the key is nowhere in the name; another account has another file."""
    here = {"XDG_STATE_HOME": "/state"}
    path = account_file(KEYS, here)
    assert path.parent == Path("/state/brain/accounts")
    assert path == account_file(Keys("k" * 64, "another secret"), here)
    assert path != account_file(Keys("q" * 64, "s" * 64), here)
    assert "k" * 4 not in path.name
    assert account_file(KEYS, {}).is_relative_to(Path.home())


def test_a_place_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="cannot be used"), holding(tmp_path / "file" / "account.lock"):
        raise AssertionError
    with pytest.raises(StateError, match="cannot be used"):
        held(tmp_path / "file" / "account.lock")


def test_the_file_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    with holding(tmp_path / "a.lock"):
        assert (tmp_path / "a.lock").stat().st_mode & 0o077 == 0


def test_the_folder_that_a_key_trades_with_is_remembered_beside_its_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "account.lock"
    assert last_folder(path) is None
    monkeypatch.chdir(tmp_path)
    for name in ("one", "another"):
        remember(path, Path(name))
        assert last_folder(path) == tmp_path / name
    path.with_suffix(".folder").write_bytes(b"\xff")
    with pytest.raises(StateError, match=r"account\.folder cannot be used"):
        last_folder(path)
    with pytest.raises(StateError, match="cannot be used: No such file"):
        remember(tmp_path / "nowhere" / "account.lock", tmp_path)
