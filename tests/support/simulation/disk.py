"""What a node does to its disk, through SQLite and through ``os``, on one time line; and what is left of it when things end.

Every write, cut, sync, new or lost name below a disk's folder is an operation with a number. An image is the folder as it may be
found after the first k of them: a kill loses nothing that was done, a loss of power anything that was not synced. Any operation
may also fail. Syncs happen in the record only, for speed. Files written in another way (Python's own ``open``) are in no image
but that of a kill, taken as they stand.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.core.journal.disk import SECTOR_BYTES, Name, Op, Sync, SyncFolder, Truncate, Write, after_kill

NO_SHARED_MEMORY = "*-shm"
"""SQLite's index in shared memory: rebuilt by whoever opens the database, and never on the disk that counts."""


class Loss(Enum):
    """What is lost of what was done."""

    KILL = auto()  # nothing: the process alone is gone
    UNSYNCED = auto()  # power: all that was not synced
    LATEST = auto()  # power: the disk got so far, in order, and no further
    SECTORS = auto()  # power: of what was not synced, any names and sectors


class Trouble(Enum):
    """How an operation may fail."""

    DISK_FULL = errno.ENOSPC
    IO_ERROR = errno.EIO


@dataclass
class Disk:
    """The record of what happened in ``folder`` since it was made.

    ``fails`` may answer a trouble, given an operation's number and what it is; ``before`` is told of each before it happens.
    A frozen disk records nothing any more: its node is dead.
    """

    folder: Path
    fails: Callable[[int, Op], Trouble | None] = lambda _number, _op: None
    before: Callable[[int], object] = lambda _number: None
    ops: list[Op] = field(default_factory=list)
    frozen: bool = False
    _files: dict[str, int] = field(init=False, default_factory=dict)
    _made: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.folder = self.folder.resolve()
        for path in sorted(self.folder.rglob("*")):
            if path.is_file() and not path.match(NO_SHARED_MEMORY):
                self.ops += self._found(path)

    def _found(self, path: Path) -> tuple[Op, ...]:
        name = self.name(path)
        file = self._new(name)
        return Name(new=name, file=file), Write(file, 0, path.read_bytes()), Sync(file), SyncFolder(_parent(name))

    def holds(self, path: Path) -> bool:
        return self.folder in path.parents or path == self.folder

    def name(self, path: Path) -> str:
        """How the record calls a file or folder of its own."""
        return path.relative_to(self.folder).as_posix()

    def file(self, name: str) -> int | None:
        """The number of the file that has this name now."""
        return self._files.get(name)

    def _new(self, name: str) -> int:
        self._files[name] = self._made
        self._made += 1
        return self._files[name]

    def do(self, op: Op) -> Trouble | None:
        """Record an operation that is about to happen; the trouble it meets instead."""
        if not self.frozen:
            self.before(len(self.ops))
        if self.frozen:  # perhaps since a moment ago
            return None
        trouble = self.fails(len(self.ops), op)
        if trouble is None:
            self.ops.append(op)
        return trouble

    def create(self, name: str) -> Trouble | None:
        trouble = self.do(Name(new=name, file=self._made))
        if trouble is None:
            self._new(name)
        return trouble

    def remove(self, name: str) -> Trouble | None:
        trouble = self.do(Name(old=name))
        if trouble is None:
            del self._files[name]
        return trouble

    def rename(self, old: str, new: str) -> Trouble | None:
        trouble = self.do(Name(old, new, self._files[old]))
        if trouble is None:
            self._files[new] = self._files.pop(old)
        return trouble

    def image(self, into: Path, loss: Loss = Loss.KILL, chance: Random | None = None, upto: int | None = None) -> Path:
        """Write the folder as it may be found after the first ``upto`` operations (default: all) to ``into``."""
        if loss is Loss.KILL and upto is None and self.folder.is_dir():
            shutil.copytree(self.folder, into, ignore=self._recorded, dirs_exist_ok=True)
        for name, data in sorted(after_kill(surviving(self.ops[:upto], loss, chance or Random(0))).items()):
            path = into / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        into.mkdir(parents=True, exist_ok=True)
        return into

    def _recorded(self, folder: str, names: list[str]) -> set[str]:
        inside = Path(folder).relative_to(self.folder)
        known = {op.new for op in self.ops if isinstance(op, Name)}
        return {name for name in names if (inside / name).as_posix() in known or Path(name).match(NO_SHARED_MEMORY)}


def _parent(name: str) -> str:
    return Path(name).parent.as_posix()


def surviving(ops: Sequence[Op], loss: Loss, chance: Random) -> list[Op]:
    """Those of ``ops`` that reached the platter."""
    if loss is Loss.KILL:
        return list(ops)
    synced: dict[Op, int] = {op: at for at, op in enumerate(ops) if isinstance(op, Sync | SyncFolder)}
    loose = [at for at, op in enumerate(ops) if at > synced.get(_sync_of(op), -1)]
    lucky = loose[: chance.randint(0, len(loose))] if loss is Loss.LATEST else []
    lost = set(loose) - set(lucky)
    if loss is Loss.SECTORS:
        share = chance.choice((0.3, 0.5, 0.7))
        return [part for at, op in enumerate(ops) for part in _sectors(op) if at not in lost or chance.random() < share]
    return [op for at, op in enumerate(ops) if at not in lost]


def _sync_of(op: Op) -> Op:
    """The operation that makes ``op`` last."""
    if isinstance(op, Name):
        return SyncFolder(_parent(op.new or op.old or ""))
    return op if isinstance(op, Sync | SyncFolder) else Sync(op.file)


def _sectors(op: Op) -> Iterator[Op]:
    if not isinstance(op, Write):
        yield op
        return
    at = 0
    while at < len(op.data):
        upto = at + SECTOR_BYTES - (op.offset + at) % SECTOR_BYTES
        yield Write(op.file, op.offset + at, op.data[at:upto])
        at = upto


# --- plain files -------------------------------------------------------------------------------------------


_CALLS = ("open", "close", "pwrite", "ftruncate", "fsync", "fdatasync", "replace", "rename", "unlink")


@contextmanager
def plain_files(disks: Callable[[Path], Disk | None]) -> Iterator[None]:
    """Stand between ``os`` and everybody: calls on a path for which ``disks`` has a disk are recorded there."""
    with pytest.MonkeyPatch.context() as patch:
        shim = _Os(disks)
        for call in _CALLS:
            patch.setattr(os, call, getattr(shim, call))
        yield


class _Os:
    """The calls of ``os`` that change a disk. What the record knows nothing of goes through untouched."""

    def __init__(self, disks: Callable[[Path], Disk | None]) -> None:
        self._disks = disks
        self._real: dict[str, Any] = {call: getattr(os, call) for call in _CALLS}
        self._handles: dict[int, tuple[Disk, int]] = {}
        self._folders: dict[int, tuple[Disk, str]] = {}

    def _at(self, path: Any) -> tuple[Disk | None, str]:
        if isinstance(path, int):
            return None, ""
        full = Path(os.path.realpath(os.fsdecode(path)))
        disk = self._disks(full)
        return disk, disk.name(full) if disk else ""

    def open(self, path: Any, flags: int, *args: Any, **more: Any) -> int:
        disk, name = self._at(path)
        if disk and not flags & os.O_DIRECTORY:
            known = disk.file(name)
            if known is None and flags & os.O_CREAT:
                _raise(disk.create(name))
            elif known is not None and flags & os.O_TRUNC:
                _raise(disk.do(Truncate(known, 0)))
        handle: int = self._real["open"](path, flags, *args, **more)
        self._forget(handle)
        file = disk.file(name) if disk else None
        if disk and flags & os.O_DIRECTORY:
            self._folders[handle] = (disk, name)
        elif disk and file is not None:
            self._handles[handle] = (disk, file)
        return handle

    def _forget(self, handle: int) -> None:
        self._handles.pop(handle, None)
        self._folders.pop(handle, None)

    def close(self, handle: int) -> None:
        self._forget(handle)
        self._real["close"](handle)

    def pwrite(self, handle: int, data: Any, offset: int) -> int:
        if handle in self._handles:
            disk, file = self._handles[handle]
            trouble = disk.do(Write(file, offset, bytes(data)))
            if trouble is not None:
                half = bytes(data[: len(data) // 2])  # a full disk takes what fits
                disk.ops.append(Write(file, offset, half))
                self._real["pwrite"](handle, half, offset)
                _raise(trouble)
        written: int = self._real["pwrite"](handle, data, offset)
        return written

    def ftruncate(self, handle: int, size: int) -> None:
        if handle in self._handles:
            disk, file = self._handles[handle]
            _raise(disk.do(Truncate(file, size)))
        self._real["ftruncate"](handle, size)

    def fsync(self, handle: int) -> None:
        if handle in self._folders:
            disk, name = self._folders[handle]
            _raise(disk.do(SyncFolder(name)))
        elif handle in self._handles:
            disk, file = self._handles[handle]
            _raise(disk.do(Sync(file)))

    fdatasync = fsync

    def replace(self, old: Any, new: Any, **more: Any) -> None:
        (disk, name), (_, fresh) = self._at(old), self._at(new)
        if disk and disk.file(name) is not None:
            _raise(disk.rename(name, fresh))
        self._real["replace"](old, new, **more)

    rename = replace

    def unlink(self, path: Any, **more: Any) -> None:
        disk, name = self._at(path)
        if disk and disk.file(name) is not None:
            _raise(disk.remove(name))
        self._real["unlink"](path, **more)


def _raise(trouble: Trouble | None) -> None:
    if trouble is not None:
        raise OSError(trouble.value, os.strerror(trouble.value))
