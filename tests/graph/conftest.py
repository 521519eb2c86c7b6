"""Shared by the tests of the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.recordings import record


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for ``--data``: two symbols, one day from 2026-01-05 on."""
    return record(tmp_path_factory.mktemp("recordings"), days=1)
