"""The file that is written when Brain itself is at fault: what a developer needs, and no secret."""

from __future__ import annotations

import os
import platform
import re
import sys
import tempfile
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_SECRET_NAME = re.compile(r"KEY|SECRET|TOKEN|PASS|CREDENTIAL|AUTH|COOKIE", re.IGNORECASE)
_SECRET_TEXT = re.compile(
    r"(?i)((?:api[_-]?key|secret|token|passw(?:or)?d|passphrase|authorization|signature)[\"']?\s*[=:]\s*[\"']?(?:bearer\s+)?)[^\s\"'&,;)}]+"
)
_KEY_SHAPE = re.compile(r"\bsk-[A-Za-z0-9_-]{8,}")
_MIN_SECRET_LENGTH = 4
_PACKAGES = ("brain-trader", "ccxt", "langgraph", "msgspec", "numpy", "pandas", "pydantic", "rich", "TA-Lib", "typer")


def redact(text: str, environ: Mapping[str, str]) -> str:
    """``text`` without the values of secret-looking variables of ``environ`` and without what looks like a key."""
    secrets = {v for k, v in environ.items() if _SECRET_NAME.search(k) and len(v) >= _MIN_SECRET_LENGTH}
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return _KEY_SHAPE.sub("***", _SECRET_TEXT.sub(r"\1***", text))


def report_text(error: BaseException, environ: Mapping[str, str]) -> str:
    """Time, command, versions and traceback (no local variables), redacted."""
    lines = [
        f"time: {datetime.now(UTC).isoformat(timespec='seconds')}",
        f"command: {' '.join(sys.argv)}",
        f"python: {platform.python_version()} on {platform.platform()}",
        *(f"{name}: {_version(name)}" for name in _PACKAGES),
        "",
        *traceback.format_exception(error),
    ]
    return redact("\n".join(lines), environ)


def write_report(error: BaseException, environ: Mapping[str, str], folder: Path | None = None) -> Path:
    """Write the report into ``folder`` (default: the system's folder for temporary files), readable by its owner only.

    Raises:
        OSError: the file cannot be written.
    """
    place = folder if folder is not None else Path(tempfile.gettempdir())
    place.mkdir(parents=True, exist_ok=True)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    handle, name = tempfile.mkstemp(prefix=f"brain-report-{stamp}-", suffix=".txt", dir=place)
    with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(report_text(error, environ))
    return Path(name)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
