"""The signature under ``governance.yaml`` (H2).

``governance.lock`` keeps the digest of the limits as a person signed them, with reviewer, date, reason and the
limits themselves, so that a later difference can be shown. The digest is taken of the *validated* values: comments,
order and spelling of numbers do not matter, every limit does.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from configs.check import problem_at, validate
from configs.durable import replace_file
from configs.errors import ConfigCode, ConfigError, Problem, raise_all
from configs.folder import with_configs
from configs.governance_schema import Governance
from configs.schema import Frozen
from configs.yaml_source import read

GOVERNANCE_FILE = "governance.yaml"
LOCK_FILE = "governance.lock"
LOCK_SCHEMA = "brain.governance-lock/1"


class Lock(Frozen):
    """Contents of ``governance.lock``."""

    form: Literal["brain.governance-lock/1"]
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    reviewer: Annotated[str, Field(min_length=1)]
    date: dt.date
    reason: Annotated[str, Field(min_length=1)]
    values: dict[str, object]


class LockState(StrEnum):
    """Whether the limits in force are those that were signed."""

    OK = "ok"
    MISSING = "missing"
    UNREADABLE = "unreadable"
    MISMATCH = "mismatch"


@dataclass(frozen=True, slots=True)
class Difference:
    """One limit that is not as signed; ``-`` where a side does not have it."""

    field: str
    signed: str
    present: str


@dataclass(frozen=True, slots=True)
class LockStatus:
    """Outcome of :func:`verify`: digest of the present limits, the lock if readable, and what differs."""

    state: LockState
    digest: str
    lock: Lock | None
    differences: tuple[Difference, ...]
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether trading may start under the present limits."""
        return self.state is LockState.OK


def canonical(values: object) -> str:
    """The one JSON text of plain values: sorted keys, no spaces, shortest float that reads back the same."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)


def digest_of(values: object) -> str:
    """Hex SHA-256 of the canonical text of plain values."""
    return hashlib.sha256(canonical(values).encode("ascii")).hexdigest()


def plain(model: BaseModel) -> dict[str, object]:
    """Plain JSON values of a schema."""
    return model.model_dump(mode="json")


def governance_digest(governance: Governance) -> str:
    """Digest that stands in the lock, in every plan and in every decision record."""
    return digest_of(plain(governance))


def shown(path: Path) -> str:
    """How messages name a file: relative to the present folder when it lies below it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def load_governance(folder: Path) -> Governance:
    """The limits of a folder, checked but not compared with the lock.

    Raises:
        ConfigError: the file is missing or wrong; holds everything that was found.
    """
    path = folder / GOVERNANCE_FILE
    document, problems = read(path, shown(path))
    governance = None
    if not problems:
        governance, problems = validate(Governance, document)
    raise_all(problems)
    assert governance is not None  # noqa: S101 - no problems means that there is a model
    return governance


def read_lock(folder: Path) -> tuple[Lock | None, tuple[Problem, ...]]:
    """The lock of a folder, or what is wrong with it: missing, unreadable, or at odds with itself."""
    path = folder / LOCK_FILE
    name = shown(path)
    if not path.exists():
        what = f"{name} is not there: nobody has signed the limits"
        help_text = f"read governance.yaml, then `{_sign(folder)}`"
        return None, (Problem(ConfigCode.LOCK_MISSING, what, name, help=help_text),)
    document, problems = read(path, name)
    lock = None
    if not problems:
        lock, problems = validate(Lock, document)
    if lock is not None and digest_of(lock.values) != lock.digest:
        what = "the digest is not that of the values beneath it"
        problems = [problem_at(document, ConfigCode.LOCK_UNREADABLE, ("digest",), what)]
    if problems:
        return None, tuple(_as_lock_problem(problem, folder) for problem in problems)
    return lock, ()


def _sign(folder: Path) -> str:
    return with_configs("brain governance sign", Path(shown(folder)))


def _as_lock_problem(problem: Problem, folder: Path) -> Problem:
    what = f"the signature cannot be used: {problem.what}"
    help_text = f"restore the file, or have the change reviewed, then `{_sign(folder)}`"
    return Problem(
        ConfigCode.LOCK_UNREADABLE, what, problem.file, problem.field, problem.value, "", help_text, problem.place, problem.source
    )


def verify(folder: Path) -> LockStatus:
    """Compare ``governance.yaml`` with its lock.

    Raises:
        ConfigError: ``governance.yaml`` itself cannot be used.
    """
    return compare(load_governance(folder), folder)


def compare(governance: Governance, folder: Path) -> LockStatus:
    """Compare limits that were already loaded with the lock of their folder."""
    present = plain(governance)
    digest = digest_of(present)
    lock, problems = read_lock(folder)
    if lock is None:
        missing = any(problem.code is ConfigCode.LOCK_MISSING for problem in problems)
        return LockStatus(LockState.MISSING if missing else LockState.UNREADABLE, digest, None, (), problems)
    if lock.digest == digest:
        return LockStatus(LockState.OK, digest, lock, (), ())
    differences = difference(lock.values, present)
    return LockStatus(LockState.MISMATCH, digest, lock, differences, (_mismatch(folder, lock, differences),))


def _mismatch(folder: Path, lock: Lock, differences: tuple[Difference, ...]) -> Problem:
    listed = "; ".join(f"{d.field} {d.signed} -> {d.present}" for d in differences)
    what = f"governance.yaml is not what {lock.reviewer} signed on {lock.date}: {listed}"
    path = folder / GOVERNANCE_FILE
    document, _ = read(path, shown(path))
    first = differences[0]
    field = (first.field,) if (first.field,) in document.keys else ()
    allowed = f"{first.signed}, as signed"
    help_text = f"put the signed values back, or have the change reviewed, then `{_sign(folder)}`"
    return problem_at(document, ConfigCode.LOCK_MISMATCH, field, what, allowed_text=allowed, help_text=help_text)


def difference(signed: Mapping[str, object], present: Mapping[str, object]) -> tuple[Difference, ...]:
    """Limits that differ, by name; values as canonical JSON."""
    names = sorted({*signed, *present})
    pairs = ((n, _text(signed, n), _text(present, n)) for n in names)
    return tuple(Difference(name, old, new) for name, old, new in pairs if old != new)


def _text(values: Mapping[str, object], name: str) -> str:
    return canonical(values[name]) if name in values else "-"


def write_lock(folder: Path, reviewer: str, reason: str, date: dt.date) -> Lock:
    """Sign the present limits of ``folder``; only ``brain governance sign`` calls this, after a person confirmed.

    The old lock is replaced in one step, so that a crash leaves either the old one or the new one.

    Raises:
        ConfigError: ``governance.yaml`` cannot be used.
        ValueError: reviewer or reason is empty.
    """
    reviewer, reason = reviewer.strip(), reason.strip()
    if not reviewer or not reason:
        raise ValueError("a signature needs a reviewer and a reason")
    values = plain(load_governance(folder))
    lock = Lock(form=LOCK_SCHEMA, digest=digest_of(values), reviewer=reviewer, date=date, reason=reason, values=values)
    replace_file(folder / LOCK_FILE, _lock_text(lock).encode())
    return lock


def _lock_text(lock: Lock) -> str:
    head = {"form": lock.form, "digest": lock.digest, "reviewer": lock.reviewer, "date": str(lock.date), "reason": lock.reason}
    lines = ["# The limits as a person signed them. Written by `brain governance sign`; do not edit."]
    lines += [f"{name}: {json.dumps(value)}" for name, value in head.items()]
    lines += ["values:", *(f"  {name}: {json.dumps(value)}" for name, value in lock.values.items())]
    return "\n".join(lines) + "\n"


class GovernanceWatch:
    """Tells a running daemon that ``governance.yaml`` or its lock is no longer what it started under.

    A look costs two file stats while nothing was written. Once changed it stays changed: a running system never
    takes new limits, it needs a restart (H2).

    Args:
        folder: the configuration folder.
        digest: ``Configuration.governance_digest`` of the start.
    """

    def __init__(self, folder: Path, digest: str) -> None:
        self._folder = folder
        self._digest = digest
        self._paths = (str(folder / GOVERNANCE_FILE), str(folder / LOCK_FILE))  # a Path would cost ten times the look
        self._seen: tuple[tuple[int, ...], ...] | None = None
        self._changed = False

    def changed(self) -> bool:
        """Whether the files say something else than at the start, cannot be read, or are gone."""
        if self._changed:
            return True
        seen = (_stat(self._paths[0]), _stat(self._paths[1]))
        if seen != self._seen:
            self._seen = seen
            self._changed = not self._as_started()
        return self._changed

    def _as_started(self) -> bool:
        try:
            status = verify(self._folder)
        except ConfigError:
            return False
        return status.ok and status.digest == self._digest


def _stat(path: str) -> tuple[int, ...]:
    try:
        found = os.stat(path)  # noqa: PTH116 - asked at every bar
    except OSError:
        return ()
    return (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)
