"""The page and the text: the same parts in the same order, nothing from elsewhere, and the table beside the chart."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from graph.envelope import envelope
from graph.why.model import Chart, Mark, Why
from graph.why.page import as_page
from graph.why.svg import draw
from graph.why.text import PARTS, as_data, as_text, shown
from tests.graph.why.conftest import Explained

VOID = {"meta", "link", "br", "img", "input", "hr"}


class _Balanced(HTMLParser):
    """Raises where an element is closed that is not the one open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def trade(explained: Explained) -> Why:
    return max(explained.of_kind("trade"), key=lambda why: len(why.chart.levels))


def test_every_page_is_one_small_whole_file_that_asks_nothing_of_anybody(explained: Explained):
    """Issue 3: self-contained; at most 500 kB."""
    some = {why.kind: why for why in explained.whys.values()}
    some["longest"] = max(explained.whys.values(), key=lambda why: len(as_text(why)))
    for why in some.values():
        page = as_page(why)
        assert len(page.encode()) <= 500_000
        parser = _Balanced()
        parser.feed(page)
        assert not parser.open
        assert not parser.tags & {"script", "link", "img", "iframe", "object"}
        assert not re.search(r"(?:src|href|url)\s*[=(]|https?://|@import", page)


def test_the_page_says_paper_in_its_title_and_has_both_themes_and_print(trade: Why):
    page = as_page(trade)
    assert "<title>PAPER" in page
    assert "prefers-color-scheme:dark" in page
    assert "@media print" in page
    assert "size:A4" in page
    for token in ("#0E1116", "#171B22", "#E6E9EE", "#A3ADBA", "#FFFFFF", "#F4F6F8", "#16191D", "#505A66"):
        assert token in page


def test_page_text_and_json_have_the_parts_in_one_order(trade: Why):
    """ux.md, part 4."""
    page, text = as_page(trade), as_text(trade)
    places = [page.index(f"{n} {heading}</h2>") for n, heading in enumerate(PARTS[1:], start=2)]
    assert places == sorted(places)
    headings = [line for line in text.splitlines() if line and not line.startswith(" ")]
    assert headings == list(PARTS)
    data = json.loads(envelope("brain.why/1", as_data(trade)))["data"]
    assert list(data)[2:] == ["verdict", "reasons", "flips", "missing", "chain", "chart", "afterwards", "proof"]
    assert data["chart"]["candles"][0]["at"].endswith("Z")


def test_every_candle_level_and_fill_of_the_chart_stands_in_the_table_beside_it(trade: Why):
    page, chart = as_page(trade), trade.chart
    drawing, tables = page[page.index("<svg") : page.index("</svg>")], page[page.index("</svg>") :]
    assert drawing.count('class="up"') + drawing.count('class="down"') == len(chart.candles)
    assert drawing.count('class="mark') == len(chart.marks)
    for candle in chart.candles:
        assert f">{shown(candle.close)}<" in tables
    for one in (*chart.levels, *chart.marks):
        assert f">{shown(one.price)}<" in tables
    stops = [level for level in chart.levels if level.kind == "stop"]
    assert [a.until for a in stops[:-1]] == [b.since for b in stops[1:]]


def test_candles_that_rose_are_hollow_and_those_that_fell_are_filled(trade: Why):
    page = as_page(trade)
    assert ".up{fill:var(--bg)" in page
    assert ".down{fill:var(--text)" in page
    rose = sum(candle.close >= candle.open for candle in trade.chart.candles)
    assert page.count('class="up"') == rose


def test_a_chart_without_bars_says_so_instead_of_drawing():
    assert draw(Chart("BTC/USDT:USDT", 300_000, 1, note="the journal has none"), "title") == "<p>the journal has none</p>"


def test_words_of_many_fills_in_one_place_are_drawn_apart_and_come_to_an_end(trade: Why):
    chart = trade.chart
    middle = (max(c.high for c in chart.candles) + min(c.low for c in chart.candles)) / 2
    marks = tuple(Mark("take", chart.candles[-1].at, middle, str(n)) for n in range(40))
    drawing = draw(replace(chart, marks=marks, levels=()), "many")
    rows = [float(row) for row in re.findall(r'class="tag" x="[^"]+" y="([^"]+)"', drawing)]
    assert len(set(rows)) == len(marks)


def test_text_without_colour_has_no_escape_codes_and_folds(trade: Why):
    text = as_text(trade)
    assert "\x1b" not in text
    assert len(as_text(trade, folded=True)) < len(text)
    assert as_text(trade, str.upper).startswith("VERDICT")


def test_what_stands_in_the_page_is_escaped(trade: Why):
    verdict = replace(trade.verdict, text="<script>alert(1)</script>")
    assert "<script>" not in as_page(replace(trade, verdict=verdict, id="<b>"))
