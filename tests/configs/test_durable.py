"""Files that are replaced whole: what a loss of power leaves is the former one or the new one."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from configs.durable import no_space, put_in_place, replace_file


@pytest.fixture
def synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[bool, bytes]]:
    """What reached the disk in which order: whether it was a folder, and what the file at ``to`` held at that time."""
    seen, real = list[tuple[bool, bytes]](), os.fsync

    def fsync(handle: int) -> None:
        seen.append((stat.S_ISDIR(os.fstat(handle).st_mode), (tmp_path / "to").read_bytes()))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    (tmp_path / "to").write_bytes(b"former")
    return seen


def test_the_content_is_on_the_disk_before_it_has_the_name_and_the_name_at_the_end(
    tmp_path: Path, synced: list[tuple[bool, bytes]]
) -> None:
    replace_file(tmp_path / "to", b"new")
    assert synced == [(False, b"former"), (True, b"new")]
    assert [path.name for path in tmp_path.iterdir()] == ["to"]


def test_a_draft_that_somebody_else_wrote_is_put_in_place_the_same_way(tmp_path: Path, synced: list[tuple[bool, bytes]]) -> None:
    (tmp_path / "draft").write_bytes(b"large")
    put_in_place(tmp_path / "draft", tmp_path / "to")
    assert synced == [(False, b"former"), (True, b"large")]
    assert [path.name for path in tmp_path.iterdir()] == ["to"]


def test_where_the_disk_does_not_take_it_the_former_file_stays_and_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    replace_file(tmp_path / "to", b"former")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        replace_file(tmp_path / "to", b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("to", b"former")]


def test_a_folder_that_is_not_there_is_an_error_and_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        replace_file(tmp_path / "nowhere" / "to", b"new")
    assert list(tmp_path.iterdir()) == []


def test_what_another_process_is_writing_is_not_touched(tmp_path: Path) -> None:
    """Two people sign at a time: the file is what one of them wrote, never a mixture."""
    other = tmp_path / f".to.{os.getpid() + 1}"
    other.write_bytes(b"half of")
    replace_file(tmp_path / "to", b"new")
    assert other.read_bytes() == b"half of"


def test_a_full_disk_and_a_full_share_of_it_are_told_apart_from_what_is_forbidden() -> None:
    assert all(no_space(OSError(code, "")) for code in (errno.ENOSPC, errno.EDQUOT))
    assert not any(no_space(OSError(code, "")) for code in (errno.EACCES, errno.EIO))
    assert not no_space(OSError("without a number"))
