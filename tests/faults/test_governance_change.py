"""The limits are touched while a run goes on: exits only, aloud, until a person signs and restarts (E10, H2, X12)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from configs.lock import GovernanceWatch
from graph.commands import paper as paper_command
from tests.support.commands import (
    SOON_WARM,
    Said,
    alerts,
    at_terminal,
    brain,
    paper,
    refused,
    rewrite,
    rows,
    short_configs,
    short_past,
    snapshot,
)

MARKET = ("--scenario", "trend", "--seed", "2", "--equity", "10000")
PACED = ("--speed", "1000000", "--engine", "direct")
TOUCHED, BARS = 215, 420


@pytest.fixture(scope="module", autouse=True)
def soon() -> Iterator[None]:
    with short_past(SOON_WARM):
        yield


def edit(folder: Path) -> None:
    rewrite(folder / "governance.yaml", "leverage_cap: 3.0", "leverage_cap: 2.5")


def undo(folder: Path) -> None:
    rewrite(folder / "governance.yaml", "leverage_cap: 2.5", "leverage_cap: 3.0")


def run(state: Path, folder: Path, bars: int, *more: str) -> Said:
    """A paced run: it commits every bar, and looks at the limits before every bar."""
    arguments = ("paper", *MARKET, *(more or PACED), "--configs", str(folder), "--state", str(state))
    return brain(*arguments, "--until-bars", str(bars), "--json")


@pytest.fixture(scope="module")
def touched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Said]:
    """State, configuration and answer of a run in which the file was edited before bar ``TOUCHED``, a position being open."""
    root = tmp_path_factory.mktemp("touched")
    folder = short_configs(root / "configs")

    class Edited(GovernanceWatch):
        """The watch of the program, and a hand that edits the real file at a certain bar."""

        looks = 0

        def changed(self) -> bool:
            if self.looks == TOUCHED:
                edit(folder)
            self.looks += 1
            return super().changed()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paper_command, "GovernanceWatch", Edited)
        said = run(root / "state", folder, BARS)
    return root / "state", folder, said


def states(state: Path, first: int, last: int) -> set[str]:
    records = rows(state, "SELECT record FROM decisions WHERE seq >= ? AND seq < ?", first, last)
    return {msgspec.msgpack.decode(record)["state"] for (record,) in records}


def digests(state: Path, seq: int) -> str:
    ((record,),) = rows(state, "SELECT record FROM decisions WHERE seq = ?", seq)
    return str(msgspec.msgpack.decode(record)["governance"])


def test_entries_are_refused_and_exits_go_on_under_the_old_limits(touched: tuple[Path, Path, Said]) -> None:
    """X12: REDUCING, an alert, GOVERNANCE_CHANGED; what was open is managed to its end."""
    state, _, said = touched
    assert said.data["bars"] == BARS
    assert [(seq, code) for seq, code, _ in alerts(state) if code.startswith("governance")] == [
        (TOUCHED + 1, "governance_changed")
    ]
    assert states(state, 0, TOUCHED) == {"active"}
    assert states(state, TOUCHED, BARS) == {"reducing"}
    refusals = refused(state, "GOVERNANCE_CHANGED")
    assert refusals
    assert min(refusals) >= TOUCHED
    assert rows(state, "SELECT COUNT(*) FROM orders WHERE purpose IN ('entry', 'add') AND seq > ?", TOUCHED) == [(0,)]
    before = rows(state, "SELECT COUNT(*) FROM orders WHERE purpose = 'entry' AND seq < ?", TOUCHED)[0][0]
    closed_later = rows(state, "SELECT COUNT(*) FROM trades WHERE seq > ?", TOUCHED)[0][0]
    assert before >= 1
    assert closed_later >= 1 or rows(state, "SELECT COUNT(*) FROM adjustments WHERE seq > ?", TOUCHED)[0][0] >= 1
    # a running system never takes new limits: the old digest stands in every record
    assert digests(state, BARS - 1) == digests(state, 0) == said.data["governance_digest"]
    assert said.data["warnings"] >= 1


def test_a_restart_refuses_until_a_person_signs_and_then_goes_on(touched: tuple[Path, Path, Said], tmp_path: Path) -> None:
    """E10, H2."""
    state, folder = tmp_path / "state", tmp_path / "configs"
    shutil.copytree(touched[0], state)
    shutil.copytree(touched[1], folder)
    refused_start = run(state, folder, BARS + 20)
    assert refused_start.code == 3
    assert "leverage_cap 3.0 -> 2.5" in refused_start.err
    assert snapshot(state)["bars"] == BARS

    answers = [("Reviewer [", "\n"), ("Reason for the change: ", "less leverage\n"), ("Type SIGN to go on: ", "SIGN\n")]
    assert at_terminal("governance", "sign", "--configs", str(folder), answers=answers).code == 0
    said = run(state, folder, BARS + 20)
    assert said.data["bars"] == BARS + 20
    assert states(state, BARS, BARS + 20) == {"active"}
    assert digests(state, BARS) == said.data["governance_digest"] != digests(state, BARS - 1)
    signed = [text for _, code, text in alerts(state) if code == "governance_signed"]
    assert any(said.data["governance_digest"] in text and digests(state, 0) in text for text in signed)
    # told once: the next start is under the same limits
    run(state, folder, BARS + 25)
    assert [text for _, code, text in alerts(state) if code == "governance_signed"] == signed


def test_putting_the_signed_values_back_is_enough(touched: tuple[Path, Path, Said], tmp_path: Path) -> None:
    state, folder = tmp_path / "state", tmp_path / "configs"
    shutil.copytree(touched[0], state)
    shutil.copytree(touched[1], folder)
    undo(folder)
    assert run(state, folder, BARS + 10).data["bars"] == BARS + 10
    assert states(state, BARS, BARS + 10) == {"active"}
    assert [code for _, code, _ in alerts(state)].count("governance_signed") == 1


def test_a_run_at_full_speed_notices_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = short_configs(tmp_path / "configs")

    class Edited(GovernanceWatch):
        def __init__(self, where: Path, digest: str) -> None:
            super().__init__(where, digest)
            edit(where)

    monkeypatch.setattr(paper_command, "GovernanceWatch", Edited)
    assert run(tmp_path / "state", folder, 20, "--speed", "max").code == 0
    assert states(tmp_path / "state", 0, 20) == {"reducing"}


def test_a_comment_is_no_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The digest is that of the limits, not of the text."""
    folder = short_configs(tmp_path / "configs")

    class Commented(GovernanceWatch):
        def __init__(self, where: Path, digest: str) -> None:
            super().__init__(where, digest)
            with (where / "governance.yaml").open("a", encoding="utf-8") as file:
                file.write("\n# looked at again\n")

    monkeypatch.setattr(paper_command, "GovernanceWatch", Commented)
    assert paper(tmp_path / "state", *MARKET, "--configs", str(folder), bars=20).code == 0
    assert states(tmp_path / "state", 0, 20) == {"active"}
    assert alerts(tmp_path / "state") == []
