"""YAML read so that every value still knows where it stood.

Only plain data comes in: text, numbers, true/false, null, lists, mappings, anchors with aliases, and the merge
key ``<<``. Scalars follow YAML 1.2: ``no`` is text, ``1:30`` is text, ``1e-3`` is a number; dates stay text until a
schema asks for one. Duplicate keys, tags and documents that unfold without end are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from configs.errors import ConfigCode, Place, Problem

FieldPath = tuple[str | int, ...]

MAX_BYTES = 1_000_000
MAX_VALUES = 50_000
MAX_DEPTH = 50

_TAG = "tag:yaml.org,2002:"
_MERGE = _TAG + "merge"
_PLAIN_TAGS = tuple(_TAG + name for name in ("str", "int", "float", "bool", "null", "map", "seq", "merge"))


class _Loader(yaml.SafeLoader):
    """Safe loader with the scalar types of YAML 1.2; used up to the node tree only."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - replaces the parent's table


_NUMBER = "-+0123456789."
_RESOLVERS = (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^[-+]?(?:0|[1-9][0-9]*)$", list(_NUMBER)),
    ("float", r"^[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?$", list(_NUMBER)),
    ("float", r"^(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$", list(_NUMBER)),
    ("null", r"^(?:~|null|Null|NULL|)$", [*"~nN", ""]),
    ("merge", r"^<<$", ["<"]),
)
for _name, _pattern, _first in _RESOLVERS:
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(_pattern), _first)


@dataclass(slots=True)
class Document:
    """A file's plain data, and where each key and value stood.

    ``keys`` and ``values`` map a field path such as ``("symbols", 0, "min_qty")`` to its place; ``shown`` to the
    value as the file writes it.
    """

    file: str
    lines: tuple[str, ...] = ()
    data: object = None
    keys: dict[FieldPath, Place] = field(default_factory=dict)
    values: dict[FieldPath, Place] = field(default_factory=dict)
    shown: dict[FieldPath, str] = field(default_factory=dict)

    def place_of(self, path: FieldPath, *, key: bool = False) -> Place | None:
        """Place of the value (or key) at ``path``, else of what is nearest above it."""
        if key and path in self.keys:
            return self.keys[path]
        if path in self.values:
            return self.values[path]
        return self.place_of(path[:-1], key=True) if path else None

    def source_of(self, place: Place | None) -> str:
        """The line of the file, safe to print."""
        if place is None or place.line > len(self.lines):
            return ""
        return printable(self.lines[place.line - 1])


def printable(text: str) -> str:
    """``text`` with tabs as spaces and control characters as ``?``, one for one, so that columns stay."""
    return "".join(" " if c == "\t" else c if c.isprintable() else "?" for c in text)


def dotted(path: FieldPath) -> str:
    """``("symbols", 0, "min_qty")`` as ``symbols[0].min_qty``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def read_text(path: Path, shown_as: str) -> tuple[str, Problem | None]:
    """Text of a UTF-8 file, or the problem that stands in the way; a byte-order mark is dropped."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return "", Problem(ConfigCode.FILE_MISSING, "the file is not there", shown_as, help=_restore(shown_as))
    except OSError as error:
        what = f"the file cannot be read: {error.strerror or error}"
        return "", Problem(ConfigCode.FILE_UNREADABLE, what, shown_as, help="it must be a file that you may read")
    if len(raw) > MAX_BYTES:
        what = f"the file has {len(raw)} bytes"
        return "", Problem(ConfigCode.TOO_LARGE, what, shown_as, allowed=f"up to {MAX_BYTES} bytes", help=_restore(shown_as))
    return _decoded(raw, shown_as)


def _decoded(raw: bytes, shown_as: str) -> tuple[str, Problem | None]:
    help_text = "save it as UTF-8 text"
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        place = Place(before.count(b"\n") + 1, error.start - (before.rfind(b"\n") + 1) + 1)
        what = f"the file is not UTF-8: byte 0x{raw[error.start]:02x} at position {error.start}"
        return "", Problem(ConfigCode.ENCODING, what, shown_as, place=place, allowed="UTF-8", help=help_text)
    if "\0" in text:
        what = "the file holds zero bytes; it may be UTF-16 or no text at all"
        return "", Problem(ConfigCode.ENCODING, what, shown_as, allowed="UTF-8", help=help_text)
    return text, None


def _restore(shown_as: str) -> str:
    return f"restore {shown_as}, or name another folder with --configs"


def read(path: Path, shown_as: str) -> tuple[Document, list[Problem]]:
    """Read one YAML file.

    Args:
        path: the file.
        shown_as: its name in messages, e.g. ``configs/symbols.yaml``.

    Returns:
        The document and what is wrong with it; ``data`` is a dict whenever no problem was found.
    """
    document = Document(shown_as)
    text, problem = read_text(path, shown_as)
    if problem is not None:
        return document, [problem]
    document.lines = tuple(text.splitlines())
    root, problem = _composed(text, document)
    if problem is not None or root is None:
        return document, [problem or Problem(ConfigCode.EMPTY, "the file is empty", shown_as, help=_restore(shown_as))]
    builder = _Builder(document)
    document.data = builder.value(root, ())
    if not isinstance(document.data, dict) and not builder.problems:
        builder.report(ConfigCode.NOT_A_MAPPING, root, "the top of the file is not a mapping", (), allowed="key: value lines")
    unique = {(problem.code, problem.place): problem for problem in reversed(builder.problems)}
    return document, list(reversed(unique.values()))


def _composed(text: str, document: Document) -> tuple[Node | None, Problem | None]:
    try:
        return yaml.compose(text, Loader=_Loader), None
    except RecursionError:
        return None, Problem(ConfigCode.TOO_LARGE, "the file is nested too deeply", document.file, allowed=f"{MAX_DEPTH} levels")
    except yaml.YAMLError as error:
        return None, _not_yaml(error, document)


def _not_yaml(error: yaml.YAMLError, document: Document) -> Problem:
    what = "the file is not well-formed YAML"
    place = None
    if isinstance(error, yaml.MarkedYAMLError):
        said = " ".join(part for part in (error.context, error.problem) if part)
        what = f"{what}: {printable(said)}"
        mark = error.problem_mark or error.context_mark
        place = Place(mark.line + 1, mark.column + 1) if mark else None
    tab = "\\t" in what
    help_text = "use spaces, not tabs" if tab else "mend the line shown; often an indent, a colon or a quote is missing"
    return Problem(ConfigCode.NOT_YAML, what, document.file, place=place, source=document.source_of(place), help=help_text)


class _Builder:
    """Turns the node tree into plain data, noting places and problems on the way."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[Problem] = []
        self._count = 0
        self._stopped = False

    def value(self, node: Node, path: FieldPath) -> object:
        self._count += 1
        if self._stopped or self._too_large(node, path):
            return None
        self.document.values.setdefault(path, _place(node))
        if node.tag not in _PLAIN_TAGS:
            name = printable(node.tag.replace(_TAG, "!!"))
            self.report(ConfigCode.TAG, node, f"the tag {name} is not allowed", path, allowed="plain values without tags")
            return None
        if isinstance(node, MappingNode):
            return self._mapping(node, path)
        if isinstance(node, SequenceNode):
            return [self.value(item, (*path, i)) for i, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _too_large(self, node: Node, path: FieldPath) -> bool:
        if len(path) <= MAX_DEPTH and self._count <= MAX_VALUES:
            return False
        self._stopped = True
        allowed = f"{MAX_DEPTH} levels, {MAX_VALUES} values after aliases"
        self.report(ConfigCode.TOO_LARGE, node, "the file unfolds to more than it may", path[:3], allowed=allowed)
        return True

    def _mapping(self, node: MappingNode, path: FieldPath) -> dict[str, object]:
        result = self._merged(node, path)
        seen: dict[str, Node] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node, path)
            if key is None or self._twice(key, key_node, seen, path) or key_node.tag == _MERGE:
                continue
            self._forget((*path, key))
            self.document.keys[*path, key] = _place(key_node)
            result[key] = self.value(value_node, (*path, key))
        return result

    def _merged(self, node: MappingNode, path: FieldPath) -> dict[str, object]:
        """What ``<<`` brings in. The last source first, so that earlier ones and then own keys replace it."""
        result: dict[str, object] = {}
        for _, value_node in (pair for pair in node.value if pair[0].tag == _MERGE):
            for source in reversed(value_node.value if isinstance(value_node, SequenceNode) else [value_node]):
                self._count += 1
                if self._stopped or self._too_large(source, path):
                    break
                if isinstance(source, MappingNode):
                    result.update(self._mapping(source, path))
                else:
                    what = "<< may only merge mappings"
                    self.report(ConfigCode.NOT_YAML, source, what, path, allowed="an alias of a mapping")
        return result

    def _twice(self, key: str, node: Node, seen: dict[str, Node], path: FieldPath) -> bool:
        first = seen.setdefault(key, node)
        if first is node:
            return False
        what = f"{dotted((*path, key))} stands twice; the first is in line {first.start_mark.line + 1}"
        self.report(ConfigCode.DUPLICATE_KEY, node, what, (*path, key), allowed="each key once")
        return True

    def _key(self, node: Node, path: FieldPath) -> str | None:
        if isinstance(node, ScalarNode) and node.tag in _PLAIN_TAGS:
            return str(node.value)
        self.report(ConfigCode.WRONG_TYPE, node, "a key is not plain text", path, allowed="text as a key")
        return None

    def _forget(self, path: FieldPath) -> None:
        """Drop the places of a merged value that the file's own value replaces."""
        if path not in self.document.keys:
            return
        tables: tuple[dict[FieldPath, Any], ...] = (self.document.keys, self.document.values, self.document.shown)
        for table in tables:
            for known in [p for p in table if p[: len(path)] == path]:
                del table[known]

    def _scalar(self, node: Node, path: FieldPath) -> object:
        text = str(node.value)
        self.document.shown[path] = text
        kind = node.tag.removeprefix(_TAG)
        try:
            return _SCALARS[kind](text)
        except (ValueError, KeyError):
            self.report(ConfigCode.FORMAT, node, f"{dotted(path)} is not a value of type {kind}", path)
            return None

    def report(self, code: ConfigCode, node: Node, what: str, path: FieldPath, *, allowed: str = "") -> None:
        """Note a problem at the place of ``node``."""
        place = _place(node)
        value = printable(str(node.value)) if isinstance(node, ScalarNode) else ""
        source = self.document.source_of(place)
        problem = Problem(code, what, self.document.file, dotted(path), value, allowed, _HELP.get(code, ""), place, source)
        self.problems.append(problem)


_HELP = {
    ConfigCode.DUPLICATE_KEY: "remove one of the two",
    ConfigCode.TAG: "remove the tag, or quote the text",
    ConfigCode.NOT_A_MAPPING: "docs/configuration.md lists the fields",
}

_SPECIAL = {".nan": "nan", ".inf": "inf", "+.inf": "inf", "-.inf": "-inf"}
_SCALARS: dict[str, Callable[[str], object]] = {
    "str": str,
    "int": int,
    "float": lambda text: float(_SPECIAL.get(text.lower(), text)),
    "bool": lambda text: {"true": True, "false": False}[text.lower()],
    "null": dict.fromkeys(("", "~", "null", "Null", "NULL")).__getitem__,
    "merge": str,
}


def _place(node: Node) -> Place:
    start, end = node.start_mark, node.end_mark
    one_line = start.line == end.line and isinstance(node, ScalarNode)
    return Place(start.line + 1, start.column + 1, max(1, end.column - start.column) if one_line else 1)
