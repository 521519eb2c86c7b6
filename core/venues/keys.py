"""Keys of a venue's account: from the environment only, and never shown."""

from __future__ import annotations

from dataclasses import dataclass, field

from configs.validators import Environment
from core.errors import BrainError


@dataclass(frozen=True, slots=True)
class Keys:
    """A key and its secret. Neither stands in the text of it, so that no log and no traceback can hold them.

    Example:
        >>> Keys("my key", "my secret")
        Keys(hidden)
    """

    api_key: str = field(repr=False)
    secret: str = field(repr=False)

    def __repr__(self) -> str:
        return "Keys(hidden)"

    @classmethod
    def of(cls, environment: Environment) -> Keys:
        """The keys that the environment gives (H5).

        Raises:
            BrainError: one of the two is missing.
        """
        key, secret = environment.api_key.get_secret_value(), environment.api_secret.get_secret_value()
        missing = [name for name, value in (("API_KEY", key), ("API_SECRET", secret)) if not value]
        if missing:
            raise BrainError(
                f"{' and '.join(missing)} not given, expected the keys of the exchange's account",
                help="set them in the environment or in .env; a key needs futures trading, and must not allow withdrawals",
                code="KEYS-001",
            )
        return cls(key, secret)
