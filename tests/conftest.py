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


_SHARED = ("tests/graph/why", "tests/graph/stepping")
"""Folders whose tests share sessions that take long to make."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep together what shares something that is costly to make, when several workers share the work."""
    for item in items:
        file = item.path.relative_to(item.config.rootpath).as_posix()
        item.add_marker(pytest.mark.xdist_group(next((folder for folder in _SHARED if file.startswith(folder)), file)))
