"""``brain why`` at the shell: exit codes, one JSON object, the page."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.graph.why.conftest import Explained, fingerprint
from tests.support.commands import brain


@pytest.fixture
def state(explained: Explained) -> str:
    return str(explained.folder)


def test_a_trade_is_explained_as_text_as_json_and_as_a_page(explained: Explained, state: str, tmp_path: Path):
    """Issue 3, part 4."""
    trade = explained.of_kind("trade")[0].id
    said = brain("why", trade, "--state", state)
    assert said.code == 0
    assert said.out.startswith("Verdict\n  PAPER")
    page = tmp_path / "sub" / "why.html"
    answered = brain("why", trade, "--state", state, "--json", "--html", str(page))
    assert answered.answer["schema"] == "brain.why/1"
    assert answered.data["id"] == trade
    assert answered.data["html"] == str(page)
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert fingerprint(explained.folder) == explained.before


def test_why_nothing_happened_is_answered_by_symbol_and_day(state: str):
    answered = brain("why", "--none", "BINANCE:ETHUSDT.P", "--on", "2026-01-05", "--state", state, "--json")
    assert answered.data["kind"] == "none"
    assert answered.data["proof"]["equal"] is True


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--none", "BTC/USDT:USDT"),
        ("--on", "2026-01-05"),
        ("R-1-1", "--none", "BTC/USDT:USDT", "--on", "2026-01-05"),
        ("--none", "BTC/USDT:USDT", "--on", "yesterday"),
    ],
)
def test_half_a_question_is_misuse(arguments: tuple[str, ...], state: str):
    said = brain("why", *arguments, "--state", state)
    assert said.code == 2
    assert not said.out
    assert "= help: brain why" in said.err


def test_an_unknown_id_is_misuse_and_names_the_nearest(explained: Explained, state: str):
    trade = explained.of_kind("trade")[0].id
    said = brain("why", trade[:-1], "--state", state, "--json")
    assert (said.code, said.answer["error"]["code"]) == (2, "WHY-001")
    assert trade in said.answer["error"]["what"]


def test_a_folder_for_a_page_is_refused_before_anything_is_written(explained: Explained, state: str, tmp_path: Path):
    said = brain("why", explained.of_kind("trade")[0].id, "--state", state, "--html", str(tmp_path))
    assert said.code == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["brain.sqlite", "journal/000001.html", "why.html", "reports/new/why.html"])
@pytest.mark.parametrize("flags", [(), ("--force",)])
def test_no_page_is_written_into_a_session(explained: Explained, state: str, place: str, flags: tuple[str, ...]):
    """Issue 3: nothing overwritten; also not by --force, and not in its place under another name."""
    said = brain("why", explained.of_kind("trade")[0].id, "--state", state, "--html", f"{state}/{place}", *flags)
    assert said.code == 2
    assert "WHY-002" in said.err
    assert fingerprint(explained.folder) == explained.before


def test_no_page_is_written_through_a_link_into_a_session(explained: Explained, state: str, tmp_path: Path):
    link = tmp_path / "why.html"
    link.symlink_to(Path(state) / "brain.sqlite")
    said = brain("why", explained.of_kind("trade")[0].id, "--state", state, "--html", str(link), "--force")
    assert said.code == 2
    assert fingerprint(explained.folder) == explained.before


def test_only_a_page_of_its_own_is_overwritten_unless_it_is_told_to(explained: Explained, state: str, tmp_path: Path):
    trade, page = explained.of_kind("trade")[0].id, tmp_path / "why.html"
    page.write_text("<!doctype html>\n<p>a letter</p>", encoding="utf-8")
    refused = brain("why", trade, "--state", state, "--html", str(page), "--json")
    assert (refused.code, refused.answer["error"]["code"]) == (2, "WHY-002")
    assert "--force" in refused.err
    assert "a letter" in page.read_text(encoding="utf-8")
    assert brain("why", trade, "--state", state, "--html", str(page), "--force").code == 0
    assert 'content="brain why"' in page.read_text(encoding="utf-8")
    assert brain("why", trade, "--state", state, "--html", str(page)).code == 0


@pytest.mark.parametrize("text", ["R-99999999999999999999-1", "SCORE_LOW@99999999999999999999", "SCORE_LOW@²", "\udcff"])
def test_bad_ids_are_misuse_and_no_fault(state: str, text: str):
    said = brain("why", text, "--state", state, "--json")
    assert (said.code, said.answer["error"]["code"]) == (2, "WHY-001")


def test_a_session_without_a_journal_says_so(explained: Explained, tmp_path: Path):
    shutil.copy(explained.session.folder.database, tmp_path / "brain.sqlite")
    said = brain("why", "R-1-1", "--state", str(tmp_path))
    assert said.code == 4
    assert "JRN-003" in said.err
