"""From plain data to a schema: every complaint of pydantic becomes a problem with place, value and remedy."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from configs.describe import allowed, choices, keys_at, type_at
from configs.errors import ConfigCode, Problem
from configs.folder import with_configs
from configs.schema import Inconsistent
from configs.yaml_source import Document, FieldPath, dotted, printable

Model = TypeVar("Model", bound=BaseModel)

_CODES = {
    "missing": ConfigCode.MISSING,
    "extra_forbidden": ConfigCode.UNKNOWN,
    "finite_number": ConfigCode.NOT_FINITE,
    "greater_than": ConfigCode.OUT_OF_RANGE,
    "greater_than_equal": ConfigCode.OUT_OF_RANGE,
    "less_than": ConfigCode.OUT_OF_RANGE,
    "less_than_equal": ConfigCode.OUT_OF_RANGE,
    "literal_error": ConfigCode.NOT_A_CHOICE,
    "enum": ConfigCode.NOT_A_CHOICE,
    "value_error": ConfigCode.INCONSISTENT,
    "decimal_parsing": ConfigCode.FORMAT,
    "int_parsing": ConfigCode.FORMAT,
    "datetime_parsing": ConfigCode.FORMAT,
    "datetime_from_date_parsing": ConfigCode.FORMAT,
    "string_pattern_mismatch": ConfigCode.FORMAT,
    "too_short": ConfigCode.LENGTH,
    "too_long": ConfigCode.LENGTH,
    "string_too_short": ConfigCode.LENGTH,
}
_SAID = {
    ConfigCode.MISSING: "is missing",
    ConfigCode.UNKNOWN: "is not a known field",
    ConfigCode.NOT_FINITE: "is not a finite number",
    ConfigCode.OUT_OF_RANGE: "is out of range",
    ConfigCode.NOT_A_CHOICE: "is not one of the allowed values",
    ConfigCode.FORMAT: "does not have the required form",
    ConfigCode.LENGTH: "has the wrong number of items",
    ConfigCode.WRONG_TYPE: "has the wrong type",
}
MAX_SHOWN = 60
MAX_NAMES = 12


def validate(model: type[Model], document: Document) -> tuple[Model | None, list[Problem]]:
    """Check a document against a schema.

    Numbers must be numbers and text must be text: nothing is converted but a whole number to a float. The data
    goes through JSON because pydantic's strict mode then takes lists for tuples and text for dates.

    Returns:
        The model, or None and everything that is wrong.
    """
    try:
        return model.model_validate_json(json.dumps(document.data), strict=True), []
    except ValidationError as error:
        details = error.errors(include_url=False)
        return None, [problem for detail in details for problem in _problems(model, document, detail)]


def code_of(detail: ErrorDetails) -> ConfigCode:
    """Our code for a complaint of pydantic."""
    return _CODES.get(detail["type"], ConfigCode.WRONG_TYPE)


def said(code: ConfigCode) -> str:
    """How a code continues a sentence that begins with the field."""
    return _SAID.get(code, "is not allowed")


def _problems(model: type[BaseModel], document: Document, detail: ErrorDetails) -> list[Problem]:
    path: FieldPath = tuple(detail["loc"])
    code = code_of(detail)
    if code is ConfigCode.INCONSISTENT:
        return _inconsistent(document, path, detail)
    if code is ConfigCode.MISSING and isinstance(path[-1], int):
        code, path = ConfigCode.LENGTH, path[:-1]
    is_key = path[-1:] == ("[key]",)
    if is_key:
        code, path = ConfigCode.UNKNOWN, path[:-1]
    if code is ConfigCode.UNKNOWN:
        return [_unknown(model, document, path)]
    return [_wrong(model, document, path, code)]


def _unknown(model: type[BaseModel], document: Document, path: FieldPath) -> Problem:
    known = keys_at(model, path[:-1])
    what = f"{dotted(path)} {_SAID[ConfigCode.UNKNOWN]}"
    help_text = close_match(str(path[-1]), known) or "remove it; docs/configuration.md lists the fields"
    return problem_at(
        document, ConfigCode.UNKNOWN, path, what, allowed_text=_names(str(path[-1]), known), help_text=help_text, key=True
    )


def _names(word: str, known: Sequence[str]) -> str:
    """All names, or the nearest few of many."""
    if len(known) <= MAX_NAMES:
        return ", ".join(known)
    near = difflib.get_close_matches(word, known, n=MAX_NAMES // 2, cutoff=0.3) or known[: MAX_NAMES // 2]
    return f"{', '.join(near)}, ... ({len(known)} in all)"


def _wrong(model: type[BaseModel], document: Document, path: FieldPath, code: ConfigCode) -> Problem:
    found = type_at(model, path)
    words = choices(found.bare) if found else ()
    phrase = allowed(found)
    help_text = close_match(document.shown.get(path, ""), words) or _help(document.file, code, phrase)
    return problem_at(document, code, path, f"{dotted(path)} {_SAID[code]}", allowed_text=phrase, help_text=help_text)


def _inconsistent(document: Document, path: FieldPath, detail: ErrorDetails) -> list[Problem]:
    error = detail.get("ctx", {}).get("error")
    found: Sequence[tuple[str, str]] = error.found if isinstance(error, Inconsistent) else [("", str(error))]
    help_text = _help(document.file, ConfigCode.INCONSISTENT, "")
    problems = []
    for name, what in found:
        full = (*path, name) if name else path
        text = f"{dotted(full)} {what}"
        problems.append(problem_at(document, ConfigCode.INCONSISTENT, full, text, allowed_text=what, help_text=help_text))
    return problems


def problem_at(
    document: Document,
    code: ConfigCode,
    path: FieldPath,
    what: str,
    *,
    allowed_text: str = "",
    help_text: str = "",
    key: bool = False,
) -> Problem:
    """A problem with the field at ``path``, with its place and line. A missing field is shown without a place of its own."""
    place = document.place_of(path, key=key)
    if code is ConfigCode.MISSING and len(path) == 1:
        place = None
    value = printable(document.shown.get(path, ""))
    if len(value) > MAX_SHOWN:
        value = value[:MAX_SHOWN] + "..."
    source = document.source_of(place)
    return Problem(code, what, document.file, dotted(path), value, allowed_text, help_text, place, source)


def close_match(word: str, known: Sequence[str]) -> str:
    """``did you mean ...?``, or an empty text when nothing known is near ``word``."""
    near = difflib.get_close_matches(word, known, n=1) or _ignoring_case(word, known)
    return f"did you mean {near[0]}?" if near else ""


def _ignoring_case(word: str, known: Sequence[str]) -> list[str]:
    lowered: Callable[[str], str] = str.lower
    by_lower = {lowered(k): k for k in known}
    return [by_lower[found] for found in difflib.get_close_matches(word.lower(), by_lower, n=1)]


def _help(file: str, code: ConfigCode, phrase: str) -> str:
    locked = Path(file).name == "governance.yaml"
    signing = f", then `{with_configs('brain governance sign', Path(file).parent)}`" if locked else ""
    if code is ConfigCode.MISSING:
        return f"add it: {phrase}{signing}" if phrase else f"add it{signing}"
    if code is ConfigCode.INCONSISTENT:
        return f"make the two agree{signing}"
    return f"set it to {phrase}{signing}" if phrase else f"mend it{signing}"
