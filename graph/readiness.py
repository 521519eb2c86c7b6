"""Whether live trading may start: the evidence on disk (J5), the signature under it, and what this machine must have (K1)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from configs.folder import with_configs
from configs.live_lock import Approval, ApprovedSession, read_approval, why_void
from configs.lock import verify
from configs.validators import Configuration, Environment
from core.errors import BrainError
from core.monitor.gate_drill import drill
from core.monitor.paper_sessions import Counted, count
from core.monitor.readiness import Item, Signed, Verdict, assess
from core.monitor.store import in_use
from core.venues.keys import Keys
from graph.account_lock import account_file, held
from graph.evidence import gather
from graph.session_dir import SessionDir, writable
from graph.soundness import OnBars
from graph.version import source_digest

REVIEW = "review_signed"
_KEY_CHARACTERS, _KEY = 64, re.compile(r"[A-Za-z0-9]*")
_PEM = "-----BEGIN "


@dataclass(frozen=True, slots=True)
class Readiness:
    """Every demand with its verdict, and what it rests on. ``void``: why the approval on file does not hold any more."""

    items: tuple[Item, ...]
    counted: Counted
    approval: Approval | None
    void: tuple[str, ...]

    @property
    def missing(self) -> tuple[Item, ...]:
        return tuple(item for item in self.items if not item.passed)

    @property
    def of_evidence(self) -> tuple[Item, ...]:
        """What evidence and review must show before a first start; limits must be signed at every one."""
        return tuple(item for item in self.items if item.key != "governance_signed")

    @property
    def to_approve(self) -> tuple[Item, ...]:
        """What must pass before a person may sign, and does not."""
        return tuple(item for item in self.missing if item.key != REVIEW)

    @property
    def sessions(self) -> tuple[ApprovedSession, ...]:
        """What a signature now would rest on."""
        return tuple(ApprovedSession(name=one.name, seq=one.seq, seal=one.seal) for one in self.counted.sessions if one.seal)

    @property
    def other_code(self) -> tuple[str, ...]:
        """Counted sessions that other code recorded."""
        return tuple(one.name for one in self.counted.sessions if one.code != source_digest())


def look(evidence: Path | None, config: Configuration, folder: Path, now_ms: int, on_bars: OnBars = lambda _: None) -> Readiness:
    """Judge the sessions in ``evidence`` (default: ``var/runs``) under the configuration of ``folder``.

    Nothing is written. ``on_bars`` is told of every bar that was looked at.

    Raises:
        ConfigError: the limits cannot be read.
    """
    approval, wrong = read_approval(folder)
    wanted = {} if approval is None else {session.name: session.seq for session in approval.sessions}
    found = gather(evidence, config, wanted, on_bars)
    counted = count(found, now_ms)
    void: tuple[str, ...] = ()
    if approval is not None:
        void = why_void(approval, config, source_digest(), {one.name: one.sealed for one in counted.sessions})
    governance = config.governance
    items = assess(
        found,
        counted,
        zone=governance.zone,
        now_ms=now_ms,
        drilled=drill(governance.ntp_skew_ms, governance.require_streams),
        governance=_governance(folder),
        review=_review(approval, wrong, void, folder),
    )
    return Readiness(items, counted, approval, void)


def _governance(folder: Path) -> Signed:
    status = verify(folder)
    by = "nobody" if status.lock is None else f"{status.lock.reviewer} on {status.lock.date}"
    return Signed(status.ok, f"{status.state.value}, by {by}", with_configs("brain governance sign", folder))


def _review(approval: Approval | None, wrong: str, void: Sequence[str], folder: Path) -> Signed:
    remedy = f"when all else passes, at a terminal: {with_configs('brain live approve', folder)}"
    if approval is None:
        return Signed(False, wrong, remedy)
    by = f"{approval.who} at {approval.at}"
    return Signed(not void, f"void: {'; '.join(void)}" if void else f"by {by}", remedy)


# --- this machine ----------------------------------------------------------------------------------------------------


def surroundings(environment: Environment, state: Path, first: int) -> tuple[Item, ...]:
    """Keys, state folder and account, numbered from ``first``. No value of a key is in it."""
    keys = _keys(first, environment)
    return keys, _state(first + 1, state), _account(first + 2, environment, keys)


def _keys(number: int, environment: Environment) -> Item:
    asked, remedy = "keys of the account in the environment", "set API_KEY and API_SECRET in the environment or in .env"
    try:
        keys = Keys.of(environment)
    except BrainError as error:
        return Item(number, "keys", asked, error.what.partition(",")[0], Verdict.FAIL, remedy=remedy)
    wrong = {"API_KEY": _why_no_key(keys.api_key), "API_SECRET": _why_no_secret(keys.secret)}
    wrong = {name: why for name, why in wrong.items() if why}
    if wrong or keys.api_key == keys.secret:
        seen = "; ".join(f"{name} {why}" for name, why in wrong.items()) or "API_KEY and API_SECRET are the same"
        names = " and ".join(wrong or ("API_KEY", "API_SECRET"))
        remedy = f"copy {names} from the exchange once more: {_KEY_CHARACTERS} letters and digits, nothing around them"
        return Item(number, "keys", asked, seen, Verdict.FAIL, remedy=remedy)
    return Item(number, "keys", asked, "given (not shown); what they may do is asked of the exchange at the start", Verdict.PASS)


def _why_no_key(text: str) -> str:
    """What is wrong with it, without a word of it; empty where nothing is."""
    if len(text) != _KEY_CHARACTERS:
        return f"has {len(text)} characters, expected {_KEY_CHARACTERS}"
    return "" if _KEY.fullmatch(text) else "has characters other than letters and digits"


def _why_no_secret(text: str) -> str:
    return "" if text.startswith(_PEM) else _why_no_key(text)


def _state(number: int, state: Path) -> Item:
    asked, remedy = "a state folder that can be written, and no other daemon in it", "stop it first"
    if state.exists() and not state.is_dir():
        return Item(number, "state_folder", asked, f"{state} is no folder", Verdict.FAIL, remedy="brain live --state DIR")
    if not writable(state):
        remedy = "let this account write there; another folder knows neither positions nor locks"
        return Item(number, "state_folder", asked, f"{state}: cannot be written", Verdict.FAIL, remedy=remedy)
    busy = SessionDir.holds_one(state) and in_use(SessionDir(state, create=False).database)
    return Item(number, "state_folder", asked, f"{state}: {'in use' if busy else 'free'}", _passes(not busy), remedy=remedy)


def _account(number: int, environment: Environment, keys: Item) -> Item:
    asked = "no other daemon on the account, on this machine"
    if not keys.passed:
        return Item(number, "account", asked, "not known without keys", Verdict.NOT_ASSESSABLE, remedy=keys.remedy)
    busy = held(account_file(Keys.of(environment)))
    return Item(number, "account", asked, "in use" if busy else "free", _passes(not busy), remedy="stop the other daemon first")


def _passes(holds: bool) -> Verdict:
    return Verdict.PASS if holds else Verdict.FAIL
