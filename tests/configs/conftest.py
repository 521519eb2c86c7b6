"""A folder of valid, signed configuration that a test may spoil."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from configs.errors import ConfigError
from configs.loader import FILES, default_folder, load

Edit = Callable[..., None]
Refusal = Callable[[], ConfigError]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The program's own configuration, copied."""
    target = tmp_path / "conf"
    target.mkdir()
    for name in (*FILES, "governance.lock"):
        shutil.copy(default_folder() / name, target / name)
    return target


@pytest.fixture
def edit(folder: Path) -> Edit:
    """Replace a text that stands exactly once in a file of the folder."""

    def replace(name: str, old: str, new: str) -> None:
        path = folder / name
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {name}"
        path.write_text(text.replace(old, new), encoding="utf-8")

    return replace


@pytest.fixture
def refusal(folder: Path) -> Refusal:
    """Load the folder and give back the error that it must raise."""

    def raised() -> ConfigError:
        with pytest.raises(ConfigError) as caught:
            load(folder)
        return caught.value

    return raised
