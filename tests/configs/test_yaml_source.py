"""Reading YAML with places."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import ConfigCode, Place
from configs.yaml_source import Document, dotted, read


def _read(tmp_path: Path, text: str) -> tuple[Document, list[ConfigCode]]:
    path = tmp_path / "x.yaml"
    path.write_text(text, encoding="utf-8")
    document, problems = read(path, "x.yaml")
    return document, [p.code for p in problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-7", -7),
        ("+7", 7),
        ("0", 0),
        ("1.5", 1.5),
        ("1e-3", 0.001),
        ("1E3", 1000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("-.inf", -math.inf),
        ("true", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("no", "no"),
        ("on", "on"),
        ("010", "010"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("0x1f", "0x1f"),
        ("2027-01-13", "2027-01-13"),
        ("2027-01-13T13:20:00Z", "2027-01-13T13:20:00Z"),
        ('"1"', "1"),
        ("'true'", "true"),
        ("!!str 5", "5"),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: object, tmp_path: Path) -> None:
    document, problems = _read(tmp_path, f"a: {text}\n")
    assert problems == []
    assert document.data == {"a": value}
    assert type(document.data["a"]) is type(value)


def test_nan_is_read_as_nan_so_that_the_schema_can_refuse_it(tmp_path: Path) -> None:
    document, problems = _read(tmp_path, "a: .nan\n")
    assert problems == []
    assert isinstance(document.data, dict)
    assert math.isnan(document.data["a"])


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("a: !!int x\n", [ConfigCode.FORMAT]),
        ("a: !!seq x\n", [ConfigCode.FORMAT]),
        ("a: !!binary aGk=\n", [ConfigCode.TAG]),
        ("a: !!timestamp 2027-01-01\n", [ConfigCode.TAG]),
        ("!!set {a, b}\n", [ConfigCode.TAG]),
        ("? [a]\n: 1\n", [ConfigCode.WRONG_TYPE]),
        ("<<: 1\na: 1\n", [ConfigCode.NOT_YAML]),
        ("x: &x {a: 1}\ny: {<<: *x, <<: *x}\n", [ConfigCode.DUPLICATE_KEY]),
        ("a: {b: 1, b: 2}\na: 3\n", [ConfigCode.DUPLICATE_KEY, ConfigCode.DUPLICATE_KEY]),
        (f"a: {'[' * 60}{']' * 60}\n", [ConfigCode.TOO_LARGE]),
        ("a: *nowhere\n", [ConfigCode.NOT_YAML]),
        ("a: %x\n", [ConfigCode.NOT_YAML]),
    ],
)
def test_what_plain_data_does_not_need_is_refused(text: str, codes: list[ConfigCode], tmp_path: Path) -> None:
    assert _read(tmp_path, text)[1] == codes


def test_a_slip_in_an_anchor_is_told_once_however_often_it_is_used(tmp_path: Path) -> None:
    _, problems = _read(tmp_path, "x: &x {a: 1, a: 2}\ny: [*x, *x, *x]\n")
    assert problems == [ConfigCode.DUPLICATE_KEY]


def test_the_first_of_several_merged_mappings_wins(tmp_path: Path) -> None:
    document, problems = _read(tmp_path, "p: &p {a: 1}\nq: &q {a: 2, b: 2}\nr: {<<: [*p, *q], c: 3}\n")
    assert problems == []
    assert isinstance(document.data, dict)
    assert document.data["r"] == {"a": 1, "b": 2, "c": 3}
    assert document.place_of(("r", "a")) == Place(1, 11, 1)
    assert document.place_of(("r", "b")) == Place(2, 17, 1)


def test_a_merged_mapping_that_is_replaced_leaves_no_places_behind(tmp_path: Path) -> None:
    document, _ = _read(tmp_path, "p: &p {a: {b: 1}}\nr:\n  <<: *p\n  a: 2\n")
    assert document.place_of(("r", "a")) == Place(4, 6, 1)
    assert ("r", "a", "b") not in document.shown


def test_a_place_that_is_unknown_is_that_of_what_is_above_it(tmp_path: Path) -> None:
    document, _ = _read(tmp_path, "a:\n  b: 1\n")
    assert document.place_of(("a", "zz")) == Place(1, 1, 1)
    assert document.place_of(("a", "b"), key=True) == Place(2, 3, 1)


def test_a_field_path_is_written_as_people_write_it() -> None:
    assert dotted(("symbols", 0, "min_qty")) == "symbols[0].min_qty"
    assert dotted(()) == ""


@given(st.binary(max_size=300))
def test_no_bytes_whatever_raise_anything(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(raw)
    document, problems = read(path, "any.yaml")
    assert problems or isinstance(document.data, dict)
    assert all(problem.render() for problem in problems)


@given(st.text(alphabet="ab:{}[]&*<!-? \n'\"|>#%@1.", max_size=80))
def test_no_text_whatever_raises_anything(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(text, encoding="utf-8")
    document, problems = read(path, "any.yaml")
    assert problems or isinstance(document.data, dict)
