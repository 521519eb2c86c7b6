"""What a session is: the first record of every segment of its journal, and the configuration and source read back from it."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import msgspec
import numpy as np
from pydantic import ValidationError

from configs.validators import Configuration, Mode
from core.data.sources.base import SourceInfo
from core.errors import StateError
from core.exec.entering import Entering, Entry
from core.journal.records import Opening
from core.monitor.reader import StoreReader
from core.risk.canary import Sizing
from graph.session_dir import SessionDir
from graph.version import VERSION, source_digest

_CONFIGURATION = "configuration.json"
_UNKNOWN_KEY = "extra_forbidden"
EQUITY, UNLOCK_AFTER, SIZING = "equity", "unlock_after_ms", "sizing"
ENTRY, SLICES = "entry", "slices"


def opening_of(
    session: str, info: SourceInfo, config: Configuration, facts: Mapping[str, str], equity: float, unlock_after_ms: int | None
) -> Opening:
    """What holds for a run from here on."""
    return Opening(
        session,
        {**facts, EQUITY: repr(equity), UNLOCK_AFTER: "" if unlock_after_ms is None else str(unlock_after_ms)},
        {_CONFIGURATION: config.model_dump_json().encode()},
        code_in_use(),
        {**asdict(info), "base_tf": {symbol: tf.value for symbol, tf in info.base_tf.items()}},
    )


def gap_fill_of(facts: Mapping[str, str]) -> bool:
    """Whether bars are made up over a gap: on paper only (B5)."""
    return facts.get("mode") != Mode.LIVE.value


def code_in_use() -> dict[str, str]:
    """Which program this is: its version, a digest of its source, and what its numbers rest on."""
    return {"version": VERSION, "source": source_digest(), "python": platform.python_version(), "numpy": np.__version__}


def configuration_of(opening: Opening) -> Configuration:
    """The configuration of a session, as it was.

    Raises:
        StateError: this version knows no such configuration; names the first key that it cannot take.
    """
    try:
        return Configuration.model_validate_json(opening.files[_CONFIGURATION])
    except ValidationError as error:
        raise _other_form(error) from error


def known_configuration_of(opening: Opening) -> Configuration:
    """As :func:`configuration_of`, without the keys that this version does not know.

    Raises:
        StateError: what is left is no configuration of this version either.
    """
    values = json.loads(opening.files[_CONFIGURATION])
    try:
        try:
            return Configuration.model_validate_json(opening.files[_CONFIGURATION])
        except ValidationError as error:
            for wrong in error.errors():
                if wrong["type"] == _UNKNOWN_KEY:
                    _drop(values, wrong["loc"])
            return Configuration.model_validate_json(json.dumps(values))
    except ValidationError as error:
        raise _other_form(error) from error


def _drop(values: Any, place: Sequence[int | str]) -> None:
    *parents, key = place
    for name in parents:
        values = values[name]
    values.pop(key, None)


def _other_form(error: ValidationError) -> StateError:
    first = error.errors()[0]
    key = ".".join(map(str, first["loc"]))
    why = "is not known to this version of Brain" if first["type"] == _UNKNOWN_KEY else f"cannot be taken: {first['msg']}"
    return StateError(
        f"{key} of the configuration that the session was recorded under {why}",
        help="use the version that recorded it, or see what this one would have done: brain replay --other-code",
        code="JRN-010",
    )


def info_of(opening: Opening) -> SourceInfo:
    """The source of a session, as it described itself."""
    described: dict[str, Any] = opening.source
    return msgspec.convert(described, SourceInfo, strict=False)


def refuse_other_broker(records: StoreReader, folder: SessionDir, *, local: bool) -> None:
    """Orders that one kind of venue knows are unknown to the other.

    Raises:
        StateError: the session in ``folder`` trades elsewhere than at a ``local`` exchange, or than in this process.
    """
    if records.get_meta("source") is None:
        return
    now, before = "local" if local else "direct", records.get_meta("orders_go_to") or "direct"
    if before != now:
        again = f"go on with --broker {before}, or " if before in _VENUES else ""
        raise StateError(
            f"the session in {folder.root} trades {_VENUES.get(before, 'live')}, this run would trade {_VENUES[now]}",
            help=f"{again}give another --state DIR",
            code="STATE-010",
        )


_VENUES = {"local": "at a local exchange of its own", "direct": "inside this process"}


def equity_of(opening: Opening) -> float:
    """USD at the start."""
    return float(opening.facts[EQUITY])


def unlock_after_of(opening: Opening) -> int | None:
    """``--unlock-after`` in ms."""
    text = opening.facts[UNLOCK_AFTER]
    return int(text) if text else None


def sizing_of(facts: Mapping[str, str]) -> Sizing:
    """How entries are sized; whole in sessions from before there was a choice."""
    return Sizing(facts.get(SIZING, Sizing.WHOLE))


def facts_of_entering(how: Entering) -> dict[str, str]:
    """What a session at an exchange says of how it enters."""
    return {ENTRY: how.entry.value, SLICES: str(how.slices)}


def entering_of(facts: Mapping[str, str]) -> Entering:
    """How entries are made; as they always were in sessions from before there was a choice."""
    return Entering(Entry(facts.get(ENTRY, Entry.ACROSS)), int(facts.get(SLICES, 1)))
