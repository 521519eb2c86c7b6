"""A disk under the journal that can fail, crash, and lose what was not synced.

It stands between the journal and ``os``: every call is counted and recorded, then done for real (syncs only in the record, for
speed). From the record follow the images that a kill or a loss of power may leave.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest

SECTOR_BYTES = 512
CALLS = ("open", "pwrite", "ftruncate", "fsync", "fdatasync", "replace", "unlink", "mkdir")


class Crash(BaseException):
    """The process ends here; nothing of it runs on."""


@dataclass(frozen=True)
class Write:
    file: int
    offset: int
    data: bytes


@dataclass(frozen=True)
class Truncate:
    file: int
    size: int


@dataclass(frozen=True)
class Sync:
    file: int


@dataclass(frozen=True)
class Name:
    """``new`` stands for ``file`` from here on, and ``old`` for nothing."""

    old: str | None = None
    new: str | None = None
    file: int = -1


@dataclass(frozen=True)
class SyncFolder:
    name: str


Op = Write | Truncate | Sync | Name | SyncFolder


@dataclass
class Disk:
    """Records what happens in ``folder``; ``fails`` may raise, given a call's number and name."""

    folder: Path
    fails: Callable[[int, str], BaseException | None] = lambda _number, _call: None
    ops: list[Op] = field(default_factory=list)
    calls: int = 0
    files: int = field(init=False)
    names: dict[str, int] = field(init=False)
    handles: dict[int, int] = field(default_factory=dict)
    folders: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        found = sorted(self.folder.iterdir()) if self.folder.is_dir() else []
        self.names = {path.name: file for file, path in enumerate(found)}
        self.files = len(found)

    @contextmanager
    def under(self) -> Iterator[Disk]:
        """Stand between ``os`` and the code inside."""
        with pytest.MonkeyPatch.context() as patch:
            for call in CALLS:
                patch.setattr(os, call, self._call(call, getattr(os, call)))
            yield self

    def _call(self, call: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def do(*args: Any, **more: Any) -> Any:
            number, self.calls = self.calls, self.calls + 1
            error = self.fails(number, call)
            if error is not None:
                if call == "pwrite" and len(args[1]) > 1:
                    do_it(args[0], bytes(args[1][: len(args[1]) // 2]), args[2])
                raise error
            return do_it(*args, **more)

        def do_it(*args: Any, **more: Any) -> Any:
            result = None if call in {"fsync", "fdatasync"} else real(*args, **more)
            getattr(self, f"_{call}")(result, *args)
            return result

        return do

    def _open(self, handle: int, path: Any, flags: int, *_mode: int) -> None:
        if flags & os.O_DIRECTORY:
            self.folders[handle] = Path(path).name
            return
        self.folders.pop(handle, None)
        name = Path(path).name
        if name not in self.names:
            self.names[name] = self.files
            self.ops.append(Name(new=name, file=self.files))
            self.files += 1
        elif flags & os.O_TRUNC:
            self.ops.append(Truncate(self.names[name], 0))
        self.handles[handle] = self.names[name]

    def _pwrite(self, written: int, handle: int, data: bytes, offset: int) -> None:
        self.ops.append(Write(self.handles[handle], offset, bytes(data[:written])))

    def _ftruncate(self, _result: None, handle: int, size: int) -> None:
        self.ops.append(Truncate(self.handles[handle], size))

    def _fsync(self, _result: None, handle: int) -> None:
        self.ops.append(SyncFolder(self.folders[handle]) if handle in self.folders else Sync(self.handles[handle]))

    _fdatasync = _fsync

    def _replace(self, _result: None, old: Any, new: Any) -> None:
        file = self.names.pop(Path(old).name)
        self.names[Path(new).name] = file
        self.ops.append(Name(Path(old).name, Path(new).name, file))

    def _unlink(self, _result: None, path: Any) -> None:
        del self.names[Path(path).name]
        self.ops.append(Name(Path(path).name))

    def _mkdir(self, _result: None, *_args: Any) -> None: ...


def after_kill(ops: list[Op]) -> dict[str, bytes]:
    """What is in the folder after these: a kill loses nothing that was done."""
    return _image([op for op in ops if isinstance(op, Name)], {file: _done(ops, file) for file in _files(ops)})


def after_power_loss(ops: list[Op], chance: Random) -> dict[str, bytes]:
    """What may be in the folder when the power goes after these: what was synced, and anything or nothing of the rest."""
    keep = chance.choice((0.0, 0.3, 0.7, 1.0))
    last = max((at for at, op in enumerate(ops) if op == SyncFolder("journal")), default=-1)
    names = [op for at, op in enumerate(ops) if isinstance(op, Name) and (at < last or chance.random() < keep)]
    return _image(names, {file: _survives(ops, file, chance, keep) for file in _files(ops)})


def _files(ops: list[Op]) -> set[int]:
    return {op.file for op in ops if isinstance(op, Name) and op.new is not None}


def _image(names: list[Name], data: dict[int, bytes]) -> dict[str, bytes]:
    image: dict[str, int] = {}
    for op in names:
        if op.old is not None:
            image.pop(op.old, None)
        if op.new is not None:
            image[op.new] = op.file
    return {name: data[file] for name, file in image.items()}


def _done(ops: list[Op], file: int) -> bytes:
    data = bytearray()
    for op in ops:
        if isinstance(op, Write | Truncate) and op.file == file:
            _apply(data, op)
    return bytes(data)


def _survives(ops: list[Op], file: int, chance: Random, keep: float) -> bytes:
    synced = max((at for at, op in enumerate(ops) if op == Sync(file)), default=-1)
    data = bytearray(_done(ops[: synced + 1], file))
    for op in ops[synced + 1 :]:
        if isinstance(op, Truncate) and op.file == file and chance.random() < keep:
            _apply(data, op)
        elif isinstance(op, Write) and op.file == file:
            for part in _sectors(op):
                if chance.random() < keep:
                    _apply(data, part)
    return bytes(data)


def _sectors(op: Write) -> Iterator[Write]:
    at = 0
    while at < len(op.data):
        upto = at + SECTOR_BYTES - (op.offset + at) % SECTOR_BYTES
        yield Write(op.file, op.offset + at, op.data[at:upto])
        at = upto


def _apply(data: bytearray, op: Write | Truncate) -> None:
    size = op.size if isinstance(op, Truncate) else max(len(data), op.offset + len(op.data))
    data[:] = data[:size].ljust(size, b"\0")
    if isinstance(op, Write):
        data[op.offset : op.offset + len(op.data)] = op.data
