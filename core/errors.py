"""Everything that the core may raise on purpose.

::

    BrainError                 carries a code, what happened, and what to do next
    ├── DataError              market data is missing, broken or in the wrong form
    │   └── SourceError        a source cannot give what was asked of it
    ├── StateError             saved state is absent, damaged or of another run
    ├── ToolRefused            an agent asked for a tool outside its grant
    ├── TopologyError          the table of agents, tools and edges breaks a rule
    ├── ContractError          a node read, wrote or returned what it did not declare
    ├── LockedError            trading is locked and a person is needed
    ├── AccountRefused         the account, its key or its mode must not be traded with
    └── Unanswered             the exchange gave no answer now, and may later

Configuration errors live with ``configs`` (``configs.errors.ConfigError``).
"""

from __future__ import annotations


class BrainError(Exception):
    """Base of the tree.

    Args:
        what: one plain sentence: what happened, to what, and what was expected.
        help: what the reader can do next; one runnable command where there is one.
        code: stable code shown to people and scripts, e.g. ``DATA-003``.
    """

    default_code = "BRAIN-000"
    exit_code = 70

    def __init__(self, what: str, *, help: str = "", code: str | None = None) -> None:  # noqa: A002 - the word that people read
        super().__init__(what)
        self.what = what
        self.help = help
        self.code = code or self.default_code


class DataError(BrainError):
    """Market data is missing, broken or in the wrong form."""

    default_code = "DATA-001"
    exit_code = 4


class SourceError(DataError):
    """A source cannot give what was asked of it."""

    default_code = "DATA-002"


class StateError(BrainError):
    """Saved state is absent, damaged or of another run."""

    default_code = "STATE-001"
    exit_code = 4


class ToolRefused(BrainError):
    """An agent asked for a tool outside its grant."""

    default_code = "TOOL-001"


class TopologyError(BrainError):
    """The table of agents, tools and edges breaks a rule."""

    default_code = "TOPO-001"


class ContractError(BrainError):
    """A node read, wrote or returned what it did not declare."""

    default_code = "NODE-001"


class LockedError(BrainError):
    """Trading is locked and a person is needed."""

    default_code = "LOCK-001"
    exit_code = 5


class AccountRefused(BrainError):
    """The account, its key or its mode must not be traded with, and trying again does not mend it."""

    exit_code = 3


class Unanswered(BrainError):
    """The exchange gave no answer now, and may later."""

    default_code = "LIVE-015"
    exit_code = 4
