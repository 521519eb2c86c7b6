"""Shared fixtures."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples each time, so that a failure is never luck; no deadline, so that a busy machine is no failure.
settings.register_profile("brain", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("brain")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real market recordings; the test is skipped where it is absent."""
    folder = Path(os.environ.get("BRAIN_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("market recordings are not at hand (set BRAIN_TEST_DATA)")
    return folder
