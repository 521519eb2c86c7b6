"""SQLite's own operations on a disk, seen from below: a VFS between the standard library's ``sqlite3`` and the operating system.

The default VFS is copied, and of the copy only opening and deleting a file is ours; of a watched file only writing, cutting and
syncing. Shared memory and locks stay as they are, so that write-ahead logging works. The application is not changed.
"""

from __future__ import annotations

import _sqlite3
import contextlib
import ctypes as c
import functools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.core.journal.disk import Op, Sync, SyncFolder, Truncate, Write
from tests.support.simulation.disk import Disk, Trouble

_OK, _FULL, _IO_ERROR, _IO_ERROR_DELETE = 0, 13, 10, 10 | 10 << 8
_OPEN_MAIN_JOURNAL, _OPEN_WAL = 0x800, 0x80000
_Pointer, _Int, _Int64 = c.c_void_p, c.c_int, c.c_int64

_OPEN = c.CFUNCTYPE(_Int, _Pointer, _Pointer, _Pointer, _Int, _Pointer)
_DELETE = c.CFUNCTYPE(_Int, _Pointer, _Pointer, _Int)
_WRITE = c.CFUNCTYPE(_Int, _Pointer, _Pointer, _Int, _Int64)
_TRUNCATE = c.CFUNCTYPE(_Int, _Pointer, _Int64)
_SYNC = c.CFUNCTYPE(_Int, _Pointer, _Int)


class _Methods(c.Structure):
    """``sqlite3_io_methods`` of version 3."""

    _fields_ = (
        ("version", _Int), ("close", _Pointer), ("read", _Pointer), ("write", _WRITE), ("truncate", _TRUNCATE), ("sync", _SYNC),
        ("rest", _Pointer * 13),
    )  # fmt: skip


class _Vfs(c.Structure):
    """``sqlite3_vfs`` of version 3."""

    _fields_ = (
        ("version", _Int), ("file_size", _Int), ("longest_path", _Int), ("next", _Pointer), ("name", c.c_char_p),
        ("data", _Pointer), ("open", _OPEN), ("delete", _DELETE), ("rest", _Pointer * 14),
    )  # fmt: skip


@dataclass
class _File:
    disk: Disk
    number: int
    names_folder: str | None
    """The folder that is synced with the file's first sync, as SQLite does for a new journal."""


class _Shim:
    """The VFS; registered once, and then for good the default of this process."""

    def __init__(self, library: Any) -> None:
        library.sqlite3_vfs_find.restype = c.POINTER(_Vfs)
        self.disks: Callable[[Path], Disk | None] = lambda _path: None
        self._base: _Vfs = library.sqlite3_vfs_find(None).contents
        self._files: dict[int, _File] = {}
        self._methods: dict[int, tuple[_Methods, _Methods]] = {}
        self._own = _Vfs.from_buffer_copy(self._base)
        self._own.name = b"watched"
        self._own.open, self._own.delete = _OPEN(self._open), _DELETE(self._delete)
        library.sqlite3_vfs_register(c.byref(self._own), 1)

    def forget(self) -> None:
        """Let go of the files whose disk nobody has any more."""
        self._files = {file: opened for file, opened in self._files.items() if self.disks(opened.disk.folder) is opened.disk}

    def _at(self, name: int | None) -> tuple[Disk | None, str]:
        if not name:  # a temporary file
            return None, ""
        path = Path(os.path.realpath(os.fsdecode(c.string_at(name))))
        disk = self.disks(path)
        return disk, disk.name(path) if disk else ""

    def _open(self, _vfs: int, name: int, file: int, flags: int, flags_out: int) -> int:
        disk, path = self._at(name)
        new = disk is not None and disk.file(path) is None
        if disk and new:
            trouble = disk.create(path)
            if trouble is not None:
                c.c_void_p.from_address(file).value = None  # no methods: SQLite closes nothing
                return _code(trouble)
        answer: int = self._base.open(c.addressof(self._base), name, file, flags, flags_out)
        self._files.pop(file, None)
        number = disk.file(path) if disk else None
        if answer == _OK and disk and number is not None:
            journal = new and flags & (_OPEN_MAIN_JOURNAL | _OPEN_WAL)
            self._files[file] = _File(disk, number, Path(path).parent.as_posix() if journal else None)
            methods = c.c_void_p.from_address(file)
            methods.value = c.addressof(self._watching(methods.value or 0)[1])
        return answer

    def _watching(self, base: int) -> tuple[_Methods, _Methods]:
        if base not in self._methods:
            real = _Methods.from_address(base)

            def write(file: int, data: int, size: int, offset: int) -> int:
                failure = self._do(file, lambda number: Write(number, offset, c.string_at(data, size)))
                answer: int = failure or real.write(file, data, size, offset)
                return answer

            def truncate(file: int, size: int) -> int:
                answer: int = self._do(file, lambda number: Truncate(number, size)) or real.truncate(file, size)
                return answer

            own = _Methods.from_buffer_copy(real)
            own.write, own.truncate, own.sync = _WRITE(write), _TRUNCATE(truncate), _SYNC(self._sync)
            self._methods[base] = real, own
        return self._methods[base]

    def _do(self, file: int, op: Callable[[int], Op]) -> int:
        opened = self._files.get(file)  # none for those that outlive their world
        trouble = opened.disk.do(op(opened.number)) if opened else None
        return _OK if trouble is None else _code(trouble)

    def _sync(self, file: int, _flags: int) -> int:
        failure, opened = self._do(file, Sync), self._files.get(file)
        if not failure and opened and opened.names_folder is not None:
            failure = self._do(file, lambda _number: SyncFolder(opened.names_folder or "."))
            opened.names_folder = None
        return failure

    def _delete(self, _vfs: int, name: int, sync_folder: int) -> int:
        disk, path = self._at(name)
        if disk and disk.file(path) is not None:
            if disk.remove(path) is not None:
                return _IO_ERROR_DELETE
            if sync_folder:
                disk.do(SyncFolder(Path(path).parent.as_posix()))
        answer: int = self._base.delete(c.addressof(self._base), name, 0)
        return answer


def _code(trouble: Trouble) -> int:
    return _FULL if trouble is Trouble.DISK_FULL else _IO_ERROR


@functools.cache
def _shim() -> _Shim:
    return _Shim(_library())


def _library() -> Any:
    """SQLite as the interpreter's own module sees it."""
    return c.CDLL(getattr(_sqlite3, "__file__", None))


def missing() -> str | None:
    """Why this interpreter's SQLite can't be watched, or None."""
    try:
        _library().sqlite3_vfs_register  # noqa: B018 - it is looked up by its name
    except (AttributeError, OSError) as error:
        return f"this interpreter's sqlite3 has SQLite inside, not as a shared library: {error}"
    return None


@contextlib.contextmanager
def databases(disks: Callable[[Path], Disk | None]) -> Iterator[None]:
    """Databases opened at a path for which ``disks`` has a disk are recorded there; where that can't be, the test is skipped."""
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    shim = _shim()
    before, shim.disks = shim.disks, disks
    try:
        yield
    finally:
        shim.disks = before
        shim.forget()
