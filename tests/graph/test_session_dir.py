"""A run's folder, and the unlock that a person leaves in it (E9, X12)."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import StateError
from graph.session_dir import SessionDir, UnlockRequest

REQUEST = UnlockRequest("looked at the account", "owner")


def test_the_folders_are_made(tmp_path: Path) -> None:
    folder = SessionDir(tmp_path / "deep" / "run")
    assert folder.logs.is_dir()
    assert folder.reports.is_dir()
    assert folder.database == tmp_path / "deep" / "run" / "brain.sqlite"


def test_a_folder_that_cannot_be_made_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(StateError, match="can't be made") as error:
        SessionDir(tmp_path / "file" / "run")
    assert (error.value.code, "--state DIR" in error.value.help) == ("STATE-002", True)


def test_a_full_disk_is_answered_with_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object, **_more: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(StateError) as error:
        SessionDir(tmp_path / "run")
    assert error.value.help.startswith("free some space, then start again with the same --state")


def test_a_session_that_should_be_there_is_not_made_up(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="there is no session in") as error:
        SessionDir(tmp_path / "nothing", create=False)
    assert error.value.code == "STATE-005"
    assert not (tmp_path / "nothing").exists()
    folder = SessionDir(tmp_path / "run")
    folder.database.touch()
    assert SessionDir(tmp_path / "run", create=False).database == folder.database
    (tmp_path / "lost" / "journal").mkdir(parents=True)
    assert SessionDir.at(tmp_path / "lost").journal == tmp_path / "lost" / "journal"


def test_an_unlock_waits_until_it_is_taken_away(tmp_path: Path) -> None:
    folder = SessionDir(tmp_path)
    assert folder.waiting_unlock() is None
    folder.request_unlock(REQUEST)
    assert folder.waiting_unlock() == REQUEST
    assert SessionDir(tmp_path).waiting_unlock() == REQUEST
    folder.drop_unlock()
    assert folder.waiting_unlock() is None
    folder.drop_unlock()


def test_a_later_unlock_replaces_an_earlier_one_whole(tmp_path: Path) -> None:
    folder = SessionDir(tmp_path)
    folder.request_unlock(REQUEST)
    later = UnlockRequest("again", "owner")
    folder.request_unlock(later)
    assert folder.waiting_unlock() == later
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["unlock.json"]


def test_an_unlock_by_hand_without_a_ref_is_read_the_same_each_time(tmp_path: Path) -> None:
    folder = SessionDir(tmp_path)
    (tmp_path / "unlock.json").write_text('{"reason": "why", "who": "me"}', encoding="utf-8")
    assert folder.waiting_unlock() == folder.waiting_unlock() == UnlockRequest("why", "me", "")


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"{}", b'{"reason": "x"}', b'{"reason": "x", "who": "y", "z": 1}', b"\xff"])
def test_a_damaged_unlock_unlocks_nothing_and_stays_for_inspection(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "unlock.json").write_bytes(damage)
    with pytest.raises(StateError, match="damaged"):
        SessionDir(tmp_path).waiting_unlock()
    assert (tmp_path / "unlock.json").read_bytes() == damage
