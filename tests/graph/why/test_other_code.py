"""A session of other code or another configuration: refused, labelled, and told plainly where it cannot be taken over."""

from __future__ import annotations

import asyncio
from html import escape
from pathlib import Path

import pytest

import graph.other_code as guard
import graph.why.other_code as module
from core.journal.records import Opening
from graph.opening import code_in_use, configuration_of
from graph.other_code import UNDER_OTHER_CODE, OtherCode
from graph.rerun import Rerun
from graph.why.explain import Explainer
from graph.why.nothing import why_nothing
from graph.why.other_code import ANOTHER_CONFIGURATION, labels_of
from graph.why.page import as_page
from graph.why.text import as_data, as_text
from tests.graph.why.conftest import Explained
from tests.graph.why.test_nothing import DAY
from tests.support.commands import brain

NOW = {**code_in_use(), "version": "9.9", "source": "f" * 64}


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another version is in use than the one that recorded the session."""
    for place in (guard, module):
        monkeypatch.setattr(place, "code_in_use", lambda: NOW)


def opening(explained: Explained) -> Opening:
    return explained.session.reader().opening()


@pytest.mark.usefixtures("later")
def test_a_session_of_other_code_is_refused_unless_that_is_known(explained: Explained):
    """As `brain replay` does it (REPLAY-002)."""
    reader, trade = explained.session.reader(), explained.of_kind("trade")[0].id
    for ask in (
        Explainer(reader, explained.records).one(trade),
        why_nothing(reader, explained.records, "BTC/USDT:USDT", DAY),
    ):
        with pytest.raises(OtherCode, match=r"recorded by version .*, this is 9\.9 \(ffffffffffff\)") as caught:
            asyncio.run(ask)
        assert (caught.value.code, caught.value.exit_code) == ("REPLAY-002", 3)
        assert "--other-code" in caught.value.help


@pytest.mark.untraced
@pytest.mark.usefixtures("later")
def test_what_other_code_says_is_labelled_in_every_form(explained: Explained):
    """Issue 3, bad input: labelled."""
    reader, trade = explained.session.reader(), explained.of_kind("trade")[0].id
    for why in (
        asyncio.run(Explainer(reader, explained.records, other_code=True).one(trade)),
        asyncio.run(why_nothing(reader, explained.records, "BTC/USDT:USDT", DAY, other_code=True)),
    ):
        (label,) = why.verdict.labels
        assert label.startswith(f"{UNDER_OTHER_CODE}: recorded by ")
        assert why.verdict.text.startswith("PAPER · UNDER OTHER CODE · ")
        assert label in as_text(why)
        assert escape(label) in as_page(why)
        assert as_data(why)["verdict"]["labels"] == (label,)


def test_another_configuration_today_is_a_label_too(explained: Explained):
    recorded = opening(explained)
    own = configuration_of(recorded).digest
    assert labels_of([recorded], own, other_code=False) == ()
    for today in ("0" * 64, None):
        (label,) = labels_of([recorded], today, other_code=False)
        assert label.startswith(f"{ANOTHER_CONFIGURATION}: ")
        assert own[:12] in label
        why = asyncio.run(
            Explainer(explained.session.reader(), explained.records, today=today).one(explained.of_kind("trade")[0].id)
        )
        assert why.verdict.labels == (label,)
        assert escape(label) in as_page(why)


@pytest.mark.usefixtures("later")
def test_a_state_that_cannot_be_taken_over_is_no_fault_of_this_code(explained: Explained, monkeypatch: pytest.MonkeyPatch):
    """A service of the other code kept its state in another form."""

    def take_over(*_: object) -> None:
        raise KeyError("written")

    monkeypatch.setattr(Rerun, "take_over", take_over)
    trade = explained.of_kind("trade")[0].id
    with pytest.raises(OtherCode, match=r"recorded by other code, version .* \(KeyError: 'written'\)") as caught:
        asyncio.run(Explainer(explained.session.reader(), explained.records, other_code=True).one(trade))
    assert (caught.value.code, caught.value.exit_code) == ("REPLAY-002", 3)


def test_the_same_failure_under_the_same_code_is_a_fault_of_its_own(explained: Explained, monkeypatch: pytest.MonkeyPatch):
    def take_over(*_: object) -> None:
        raise KeyError("written")

    monkeypatch.setattr(Rerun, "take_over", take_over)
    with pytest.raises(KeyError):
        asyncio.run(Explainer(explained.session.reader(), explained.records).one(explained.of_kind("trade")[0].id))


@pytest.mark.usefixtures("later")
def test_the_command_asks_for_the_flag_and_warns_with_the_label(explained: Explained, tmp_path: Path):
    trade, state = explained.of_kind("trade")[0].id, str(explained.folder)
    refused = brain("why", trade, "--state", state, "--json")
    assert (refused.code, refused.answer["error"]["code"]) == (3, "REPLAY-002")
    page = tmp_path / "why.html"
    said = brain("why", trade, "--state", state, "--other-code", "--html", str(page))
    assert said.code == 0
    assert f"warning: {UNDER_OTHER_CODE}" in said.err
    assert UNDER_OTHER_CODE in page.read_text(encoding="utf-8")
