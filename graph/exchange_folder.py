"""The folder of a local exchange: which market it plays, its account, its certificate; one process uses it at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from configs.durable import no_space, replace_file
from core.errors import StateError
from core.file_lock import take
from core.journal.writer import way_out
from core.sim.server.tls import Certificate, make_certificate

_CERT, _KEY = "exchange-cert.pem", "exchange-key.pem"
_ACCOUNT = "exchange.db"


class ExchangeMarket(msgspec.Struct, frozen=True):
    """What an exchange that is gone on with must share; ``start`` is the open of the market's first bar (ms).

    ``seed`` is None for recordings, and ``digest`` that of the source (:class:`core.data.sources.base.SourceInfo`). A market that
    is only heard has no start and no digest. ``scenario`` of a made market, where there is a choice.
    """

    source: str
    symbols: tuple[str, ...]
    seed: int | None
    start: int
    equity: str
    digest: str
    scenario: str | None = None

    def difference(self, other: ExchangeMarket) -> str:
        """What is different about ``other``, for people."""
        names = [name for name in self.__struct_fields__ if name != "digest" and getattr(self, name) != getattr(other, name)]
        told = "; ".join(f"its {name} was {_said(getattr(self, name))}, now {_said(getattr(other, name))}" for name in names)
        return told or "its recordings were others"


def _said(value: object) -> object:
    if isinstance(value, tuple):
        return ",".join(value)
    return "none" if value is None else value


class ExchangeFolder:
    """Layout of the folder.

    Raises:
        StateError: it cannot be made.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StateError(
                f"state folder {root} can't be made: {error.strerror}", help="give another one with --state DIR", code="STATE-002"
            ) from error

    @property
    def account(self) -> Path:
        """The exchange's own state; the server writes it."""
        return self.root / _ACCOUNT

    @staticmethod
    def holds_account(root: Path) -> bool:
        """Whether an exchange has kept its account in ``root``; a folder that is not there is not made by asking."""
        return (root / _ACCOUNT).is_file()

    @property
    def _market(self) -> Path:
        return self.root / "market.json"

    @property
    def _time(self) -> Path:
        return self.root / "time.txt"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nobody else uses the folder until the block ends.

        Raises:
            StateError: somebody does, or the folder cannot be written.
        """
        with self._writing():
            handle = take(self.root / "exchange.lock", 0o644)
        if handle is None:
            raise StateError(
                f"another local exchange uses {self.root}",
                help="stop it, or give another folder with --state DIR",
                code="STATE-009",
            )
        try:
            yield
        finally:
            os.close(handle)

    def market(self) -> ExchangeMarket | None:
        """What was played here; None in a new folder.

        Raises:
            StateError: the file is damaged.
        """
        try:
            return msgspec.json.decode(self._market.read_bytes(), type=ExchangeMarket)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            raise StateError(
                f"{self._market} cannot be read: {error}", help="give another folder with --state DIR", code="STATE-004"
            ) from error

    def keep_market(self, market: ExchangeMarket) -> None:
        """Write down what is played here.

        Raises:
            StateError: the folder cannot be written.
        """
        with self._writing():
            replace_file(self._market, msgspec.json.encode(market))

    def time(self) -> int:
        """Up to when (ms) the exchange's clock can have run; 0 in a new folder, or where nobody could write it down."""
        try:
            return int(self._time.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return 0

    def keep_time(self, ts: int) -> None:
        """Write down that the clock will not run beyond ``ts`` before the next call.

        Raises:
            OSError: the folder cannot be written; a run need not end for it.
        """
        draft = self._time.with_suffix(".tmp")
        draft.write_text(str(ts), encoding="utf-8")
        draft.replace(self._time)

    def certificate(self) -> Certificate:
        """Made with the folder and kept, so that whoever trusts it once need not do it again.

        Raises:
            StateError: the folder cannot be written.
        """
        kept = Certificate(self.root / _CERT, self.root / _KEY)
        if kept.stands_for():
            return kept
        with self._writing():
            try:
                return make_certificate(self.root)
            except OSError:
                for half in (kept.cert, kept.key):
                    with suppress(OSError):
                        half.unlink()
                raise

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StateError(
                f"state folder {self.root} can't be written: {error.strerror}",
                help=way_out(error),
                code="STATE-003" if no_space(error) else "STATE-002",
            ) from error
