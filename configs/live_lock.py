"""The signature under going live (J5): ``live.lock``, beside ``governance.lock`` in the configuration folder.

It says who approved, when, why, and of what: the digest of the limits, of the strategies and of the code, and what each counted
session had on record. It is a word of a person, not a proof against one: whoever may write the folder can write it.

It is void once

- the limits (``governance.yaml``) or the strategies (``strategies.yaml``, ``enable_map.yaml``, ``symbols.yaml``) are others,
- the code is another (a person may approve the same evidence again under the new code), or
- a session that it rests on is gone, counts no more, or has another record up to where it was approved.

Paper that goes on adds to the evidence and voids nothing; its demands are looked at again at every start.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from configs.check import validate
from configs.durable import replace_file
from configs.lock import digest_of, plain, shown
from configs.schema import Frozen
from configs.validators import Configuration
from configs.yaml_source import read

LIVE_LOCK_FILE = "live.lock"
FORM = "brain.live-lock/1"

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, Field(min_length=1)]


class ApprovedSession(Frozen):
    """A session as it was approved: up to decision ``seq``, with the digest of its record so far."""

    name: Text
    seq: Annotated[int, Field(ge=0)]
    seal: Digest


class Approval(Frozen):
    """Contents of ``live.lock``. ``evidence`` is the digest of ``sessions``."""

    form: Literal["brain.live-lock/1"]
    who: Text
    at: Text
    reason: Text
    governance: Digest
    strategies: Digest
    code: Digest
    evidence: Digest
    sessions: Annotated[tuple[ApprovedSession, ...], Field(min_length=1)]


def strategies_digest(config: Configuration) -> str:
    """Digest of everything that decides what is traded: strategies, their score, which regime enables which, and the markets."""
    return digest_of(
        {
            "strategies.yaml": plain(config.strategies),
            "enable_map.yaml": plain(config.enable_map),
            "symbols.yaml": plain(config.symbols),
        }
    )


def evidence_digest(sessions: Sequence[ApprovedSession]) -> str:
    """Digest of what an approval rests on."""
    return digest_of([plain(session) for session in sessions])


def read_approval(folder: Path) -> tuple[Approval | None, str]:
    """The approval of a folder; or None, and what is wrong: nobody approved, or the file cannot be used."""
    path = folder / LIVE_LOCK_FILE
    if not path.exists():
        return None, "nobody has approved yet"
    document, problems = read(path, shown(path))
    approval = None
    if not problems:
        approval, problems = validate(Approval, document)
    if approval is None:
        return None, f"{shown(path)} cannot be used: {problems[0].what}"
    if approval.evidence != evidence_digest(approval.sessions):
        return None, f"{shown(path)} cannot be used: the digest is not that of the sessions beneath it"
    return approval, ""


def why_void(approval: Approval, config: Configuration, code: str, seals: Mapping[str, str]) -> tuple[str, ...]:
    """Why an approval does not hold any more, sentence by sentence; none where it holds.

    Args:
        approval: what was signed.
        config: what holds now.
        code: digest of the code that runs.
        seals: of each session that counts now, the digest of its record up to the decision that was approved.
    """
    why = []
    if approval.governance != config.governance_digest:
        why.append("the limits are others than those that were approved")
    if approval.strategies != strategies_digest(config):
        why.append("the strategies are others than those that were approved")
    if approval.code != code:
        why.append("the code is another than that which was approved")
    for session in approval.sessions:
        if session.name not in seals:
            why.append(f"session {session.name} does not count any more")
        elif seals[session.name] != session.seal:
            why.append(f"session {session.name} has another record than the one that was approved")
    return tuple(why)


def write_approval(folder: Path, approval: Approval) -> Path:
    """Sign; only ``brain live approve`` calls this, after a person confirmed. Replaces the former one in one step."""
    path = folder / LIVE_LOCK_FILE
    replace_file(path, _text(approval).encode())
    return path


def _text(approval: Approval) -> str:
    values = plain(approval)
    sessions = values.pop("sessions")
    lines = ["# Going live, as a person approved it. Written by `brain live approve`; do not edit."]
    lines += [f"{name}: {json.dumps(value)}" for name, value in values.items()]
    assert isinstance(sessions, list)  # noqa: S101 - the schema says so
    lines += ["sessions:", *(f"  - {json.dumps(session)}" for session in sessions)]
    return "\n".join(lines) + "\n"
