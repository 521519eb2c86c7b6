"""Shared fixtures, what is counted in the coverage, and how workers share the tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import wraps
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from hypothesis import settings

from tests.support.tracing import untraced
from tests.support.watchdog import bounded

if TYPE_CHECKING:
    from core.data.warmup import WarmReport

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


# --- what is counted ---------------------------------------------------------------------------------------

_OF_PARTS = ("tests/core/", "tests/configs/")
"""Folders whose tests start no runs; the warm-up is a part that they are about, elsewhere it is how a run begins."""
_UNTRACED = (
    "tests/agents/test_bar_path.py",
    "tests/core/data/exchange/test_batches.py::test_a_broken_socket_",
    "tests/core/data/exchange/test_batches.py::test_batches_are_those_",
    "tests/core/data/exchange/test_download.py::test_killed_anywhere_",
    "tests/core/data/exchange/test_spot.py",
    "tests/core/exec/live/test_sending.py::test_the_last_stop_stands_",
    "tests/core/indicators/test_tech.py::test_values_are_those_of_an_independent_library",
    "tests/core/sim/server/test_simulation.py",
    "tests/core/test_regime_holdout.py",
    "tests/e2e/",
    "tests/faults/crash_matrix/",
    "tests/faults/test_governance_change.py",
    "tests/faults/test_journal_kill.py",
    "tests/faults/test_resume.py",
    "tests/graph/live/test_acceptance.py",
    "tests/graph/live/test_command.py",
    "tests/graph/live/test_day.py",
    "tests/graph/live/test_entering.py",
    "tests/graph/live/test_leaving.py",
    "tests/graph/live/test_live_daemon.py::test_a_session_at_",
    "tests/graph/live/test_live_daemon.py::test_asked_to_stop_",
    "tests/graph/live/test_live_daemon.py::test_killed_",
    "tests/graph/live/test_live_daemon.py::test_left_by_",
    "tests/graph/live/test_live_daemon.py::test_the_same_market_",
    "tests/graph/live/test_live_daemon.py::test_what_the_end_",
    "tests/graph/live/test_missed.py",
    "tests/graph/live/test_money.py",
    "tests/graph/live/test_watching.py",
    "tests/graph/live/test_what_the_broker_is_told.py",
    "tests/graph/stepping/test_stepper.py",
    "tests/graph/stepping/test_what_if.py",
    "tests/graph/test_between_bars.py",
    "tests/graph/test_cli_conventions.py::test_a_run_without_an_end_",
    "tests/graph/test_live_command.py::test_a_first_start_",
    "tests/graph/test_live_command.py::test_a_person_approves_",
    "tests/graph/test_live_command.py::test_a_session_that_goes_on_",
    "tests/graph/test_live_command.py::test_anything_but_",
    "tests/graph/test_live_command.py::test_with_no_input_",
    "tests/graph/test_made_up_bars.py",
    "tests/graph/test_rerun.py",
    "tests/graph/test_spot_alerts.py::test_a_spot_host_",
    "tests/graph/why/test_command.py::test_a_trade_is_explained_",
    "tests/graph/why/test_explain.py::test_what_the_health_gates_",
    "tests/graph/why/test_flips.py",
    "tests/graph/why/test_nothing.py",
    "tests/parity/",
    "tests/properties/test_feature_parity.py",
    "tests/properties/test_local_exchange.py",
    "tests/properties/test_market_state.py",
    "tests/properties/test_orders_protection.py",
    "tests/properties/test_rule_parity.py",
    "tests/simulation/",
)
"""What is not counted, beside tests that are marked: others pass there too. Single tests were measured one by one, whole files
and folders at once: without them 95 % of everything is counted, and every branch where a mistake costs money."""


def pytest_configure(config: pytest.Config) -> None:
    # Under nohup and in a background job they would be ignored by every command that is told to end by them.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "untraced: repeats at length what other tests run; not counted in the coverage")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Leave out of the coverage what says nothing new there (counting makes a run three times as long); start runs quickly."""
    with ExitStack() as around:
        if not item.nodeid.startswith(_OF_PARTS):
            around.enter_context(_quick_starts())  # first, for what it imports is counted
        if item.get_closest_marker("untraced") is not None or item.nodeid.startswith(_UNTRACED):
            around.enter_context(untraced())
        return (yield)


@contextmanager
def _quick_starts() -> Iterator[None]:
    """Runs begin without being counted, and without looking through all that is alive here: every test there is."""
    from core.data.market import Market
    from graph import runner

    warm = Market.warm

    @wraps(warm)
    def uncounted(*args: Any) -> WarmReport:
        with untraced():
            return warm(*args)

    collector = SimpleNamespace(collect=int, freeze=int, unfreeze=int)
    with mock.patch.object(Market, "warm", uncounted), mock.patch.object(runner, "gc", collector):
        yield


# --- what never ends ---------------------------------------------------------------------------------------

_STUCK_AFTER_S = 600.0
"""Several times as long as the longest of them has taken on a machine that does much else."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    with _bounds(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """A test that waits for what never comes fails and names itself; only a year of real bars may take as long as it likes."""
    with _bounds(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    with _bounds(item):
        return (yield)


def _bounds(item: pytest.Item) -> AbstractContextManager[None]:
    return nullcontext() if item.get_closest_marker("acceptance") is not None else bounded(_STUCK_AFTER_S)


# --- who runs what -----------------------------------------------------------------------------------------

_SHARED = ("tests/graph/why", "tests/graph/stepping")
"""Folders whose tests share sessions that take long to make."""
_LONGEST = (
    *_SHARED,
    "tests/graph/live/",
    "tests/faults/crash_matrix/",
    "tests/properties/test_rule_parity.py",
    "tests/faults/",
    "tests/parity/",
    "tests/simulation/",
    "tests/e2e/",
    "tests/graph/",
    "tests/properties/",
)
"""What takes longest comes first, so that no worker is left alone with it at the end."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep together what shares something that is costly to make, when several workers share the work."""
    items.sort(key=lambda item: _place(_file_of(item)))
    for item in items:
        file = _file_of(item)
        item.add_marker(pytest.mark.xdist_group(next((folder for folder in _SHARED if file.startswith(folder)), file)))


def _file_of(item: pytest.Item) -> str:
    return item.path.relative_to(item.config.rootpath).as_posix()


def _place(file: str) -> int:
    return next((place for place, start in enumerate(_LONGEST) if file.startswith(start)), len(_LONGEST))
