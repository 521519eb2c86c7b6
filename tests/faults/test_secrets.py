"""No secret reaches a log, a state, an answer or a report (H5)."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from loguru import logger

from core.data.blocks import Batch
from graph.commands import paper as paper_command
from graph.runner import Daemon
from tests.support.commands import Said, alerts, brain, short_past

SECRETS = {
    "API_KEY": "kq7-public-half-of-the-pair",
    "API_SECRET": 'zw9\\private "half" of the pair',
    "OPENAI_API_KEY": "sk-made-up-0123456789abcdef",
}
PARTS = ("kq7-public", "zw9", 'private \\"half', "sk-made-up")


def everything_in(*folders: Path) -> bytes:
    return b"\n".join(path.read_bytes() for folder in folders for path in sorted(folder.rglob("*")) if path.is_file())


def assert_silent(said: Said, *folders: Path) -> None:
    written = everything_in(*folders) + said.out.encode() + said.err.encode()
    for part in (*SECRETS.values(), *PARTS):
        assert part.encode() not in written, part


def run(state: Path, *arguments: str, **where: object) -> Said:
    with short_past():
        return brain("paper", "--until-bars", "30", "--json", "--state", str(state), *(arguments or ("--speed", "max")), **where)


@pytest.mark.parametrize("place", ["environment", "file"])
def test_a_run_writes_no_secret_anywhere(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, state = tmp_path / "home", tmp_path / "state"
    home.mkdir()
    environ = {"LOG_LEVEL": "DEBUG"}
    if place == "environment":
        environ |= SECRETS
    else:
        lines = [f"{name}='{value}'" for name, value in SECRETS.items()]
        (home / ".env").write_text("\n".join(lines) + "\n", encoding="utf-8")

    # a careless line, such as a library might log, on the way
    assemble = paper_command.assemble

    def careless(*arguments, **more):
        for name, value in SECRETS.items():
            logger.warning("connecting with {}={}", name, value)
            logger.info({"headers": {name: value}})
        return assemble(*arguments, **more)

    monkeypatch.setattr(paper_command, "assemble", careless)
    said = run(state, environ=environ, cwd=home)
    assert said.data["bars"] == 30
    log = (state / "logs" / "brain.log").read_text(encoding="utf-8")
    assert "connecting with API_KEY=***" in log
    assert "connecting with API_SECRET=***" in log
    assert_silent(said, state)


@pytest.mark.parametrize("place", ["environment", "file"])
def test_a_report_of_a_fault_holds_no_secret(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, reports = tmp_path / "home", tmp_path / "reports"
    home.mkdir()
    reports.mkdir()
    environ = dict(SECRETS) if place == "environment" else {}
    if place == "file":
        lines = [f"{name}='{value}'" for name, value in SECRETS.items()]
        (home / ".env").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def broken(*_):
        raise RuntimeError(" and ".join(SECRETS.values()))

    monkeypatch.setattr(paper_command, "assemble", broken)
    monkeypatch.setattr(tempfile, "tempdir", str(reports))
    said = run(tmp_path / "state", environ=environ, cwd=home)
    assert (said.code, said.answer["error"]["code"]) == (70, "BUG-001")
    (report,) = reports.glob("brain-report-*.txt")
    assert said.answer["error"]["report"] == str(report)
    assert "Traceback" in report.read_text(encoding="utf-8")
    assert "Traceback" not in said.err + said.out
    assert_silent(said, reports, tmp_path / "state")


def test_a_fault_in_the_middle_of_a_run_leaves_word_of_itself_and_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was committed stays and is gone on from; the alert says what kind of fault it was."""
    bar = Daemon._bar

    async def broken(daemon: Daemon, batch: Batch) -> None:
        if daemon.bars == 20:
            raise RuntimeError(" and ".join(SECRETS.values()))
        await bar(daemon, batch)

    monkeypatch.setattr(Daemon, "_bar", broken)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    state = tmp_path / "state"
    said = run(state, "--speed", "1000000", "--engine", "direct", environ=dict(SECRETS))
    assert (said.code, said.answer["error"]["code"]) == (70, "BUG-001")
    assert "what was committed is in the state folder" in said.err
    assert [(code, text) for _, code, text in alerts(state) if code == "fault"] == [("fault", "RuntimeError")]
    assert_silent(said, state, *tmp_path.glob("brain-report-*"))
    monkeypatch.undo()
    assert run(state).data["bars"] == 30
