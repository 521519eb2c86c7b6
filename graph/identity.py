"""What makes two starts one session: source and configuration, and the parts of it that a person may change in between."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from configs.lock import digest_of, plain
from configs.validators import Configuration, Mode
from core.data.sources.base import SourceInfo
from core.errors import StateError
from core.exec.entering import Entering
from core.monitor.schema import AlertLevel
from core.monitor.store import Store
from core.risk.canary import Sizing
from graph.opening import SIZING, facts_of_entering
from graph.recorder import RunRecorder

Known = Callable[[str], str | None]
"""A fact of a saved session, by its key: from its records, or from its journal where none were committed yet."""


_UNSAID = {SIZING: Sizing.WHOLE.value, **facts_of_entering(Entering())}
"""What held in sessions from before a fact was kept."""


class Changeable(NamedTuple):
    """A part of the configuration that may differ when a session goes on: where its digest is kept, and how it is told."""

    key: str
    digest: str
    alert: str
    what: str


class Identity:
    """Facts of a run that a saved session must share.

    Args:
        info: the source.
        config: the configuration.
        extra: facts that neither knows (starting equity, seed).
    """

    def __init__(self, info: SourceInfo, config: Configuration, extra: Mapping[str, str]) -> None:
        self._changeable = (
            Changeable("governance_digest", config.governance_digest, "governance_signed", "limits"),
            Changeable("blackouts_digest", digest_of(plain(config.blackouts)), "blackouts_reviewed", "blackout windows"),
        )
        self.facts: dict[str, str] = {
            "source": info.name.partition(":")[0],
            "recordings": info.digest[:16],
            "symbols": ",".join(info.symbols),
            "start": str(info.start),
            **extra,
            **_digests(config, info.symbols),
            **{change.key: change.digest for change in self._changeable},
        }

    def save(self, store: Store) -> None:
        """Keep the facts of a session that begins."""
        for key, value in self.facts.items():
            store.set_meta(key, value)

    def check(self, known: Known) -> None:
        """Compare with a saved session.

        Raises:
            StateError: it is of another run.
        """
        saved = {key: _UNSAID.get(key) if (value := known(key)) is None else value for key in self.facts}
        may_differ = {change.key for change in self._changeable}
        differing = [key for key in self.facts if saved[key] != self.facts[key] and key not in may_differ]
        if differing:
            # Another source, symbol or seed brings other recordings with it.
            differing = [key for key in differing if key != "recordings"] or differing
            listed = ", ".join(f"{key} {saved[key]!r} (this run has {self.facts[key]!r})" for key in differing)
            what = "the saved session is of another run"
            if differing == ["recordings"]:
                what = "the recordings are not those of the saved session"
            raise StateError(f"{what}: it has {listed}", help=self._way_on, code="STATE-010")

    @property
    def _way_on(self) -> str:
        """Another folder would know neither the positions nor the locks of a live session."""
        if self.facts.get("mode") == Mode.LIVE:
            same = "start with the same symbols, sizing, way of entering and configuration"
            return f"{same}; another --state DIR once nothing is open or halted"
        return "start with the same source, symbols, range, way of entering and configuration, or with another --state DIR"

    def changed(self, known: Known) -> tuple[Changeable, ...]:
        """What a person changed since the last start."""
        return tuple(change for change in self._changeable if known(change.key) != change.digest)

    def note_changes(self, store: Store, recorder: RunRecorder, ts: int) -> None:
        """What a person changed since the last start holds from here on, on record (H2, X22)."""
        for change in self.changed(store.get_meta):
            text = f"{change.what} {change.digest} hold now, before it were {store.get_meta(change.key)}"
            store.set_meta(change.key, change.digest)
            recorder.alert(ts, AlertLevel.WARNING, change.alert, text)


def _digests(config: Configuration, symbols: Sequence[str]) -> dict[str, str]:
    """Digest of each file that a session cannot change under way.

    Limits may be signed anew and the calendar reviewed between two starts; of the instruments only the run's own count.
    """
    own = [plain(config.symbols.by_name()[symbol]) for symbol in symbols]
    files = {"enable_map.yaml": plain(config.enable_map), "strategies.yaml": plain(config.strategies), "symbols.yaml": own}
    return {name: digest_of(values)[:16] for name, values in files.items()}
