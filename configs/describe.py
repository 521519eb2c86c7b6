"""What a field may hold, in words: made from the schemas, so that errors and docs cannot drift from them."""

from __future__ import annotations

import ast
import inspect
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from configs.schema import Frozen

_WORDS: dict[Any, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    Decimal: "a number",
    bool: "true or false",
    datetime: "a time with offset, e.g. 2027-01-13T13:20:00Z",
    SecretStr: "a secret text",
    object: "anything",
}


@dataclass(frozen=True, slots=True)
class FieldDoc:
    """One field for the docs: dotted path, what it may hold, default (empty when required), meaning."""

    path: str
    allowed: str
    default: str
    meaning: str


@dataclass(frozen=True, slots=True)
class _Type:
    """An annotation without its wrapping: the bare type, the limits beside it, and whether null may stand there."""

    bare: Any
    limits: tuple[object, ...] = ()
    optional: bool = False


def _unwrapped(annotation: Any, limits: Sequence[object] = ()) -> _Type:
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *extra = get_args(annotation)
        return _unwrapped(inner, (*limits, *_flat(extra)))
    if origin in {Union, types.UnionType}:
        rest = [a for a in get_args(annotation) if a is not type(None)]
        inner_type = _unwrapped(rest[0], limits)
        return _Type(inner_type.bare, inner_type.limits, optional=len(rest) < len(get_args(annotation)))
    return _Type(annotation, tuple(limits))


def _flat(metadata: Sequence[object]) -> Iterator[object]:
    for item in metadata:
        if isinstance(item, FieldInfo):
            yield from item.metadata
        else:
            yield item


def _is_model(bare: Any) -> bool:
    return inspect.isclass(bare) and issubclass(bare, BaseModel)


def type_at(model: type[BaseModel], path: Sequence[str | int]) -> _Type | None:
    """Type of the field at ``path`` below ``model``; None where there is none."""
    here = _Type(model)
    for part in path:
        step = _step(here.bare, part)
        if step is None:
            return None
        here = step
    return here


def _step(bare: Any, part: str | int) -> _Type | None:
    if _is_model(bare):
        field = bare.model_fields.get(part)
        return _unwrapped(field.annotation, tuple(_flat(field.metadata))) if field else None
    arguments = get_args(bare)
    if get_origin(bare) is dict:
        return _unwrapped(arguments[1])
    if get_origin(bare) is tuple and isinstance(part, int):
        if arguments[-1] is Ellipsis:
            return _unwrapped(arguments[0])
        return _unwrapped(arguments[part]) if part < len(arguments) else None
    return None


def choices(bare: Any) -> tuple[str, ...]:
    """The words that a closed set allows; empty for an open type."""
    if get_origin(bare) is Literal:
        return tuple(_yaml(value) for value in get_args(bare))
    if inspect.isclass(bare) and issubclass(bare, Enum):
        return tuple(str(member.value) for member in bare)
    return ()


def keys_at(model: type[BaseModel], path: Sequence[str | int]) -> tuple[str, ...]:
    """Names that may stand as keys of the mapping at ``path``."""
    found = type_at(model, path)
    if found is None:
        return ()
    if _is_model(found.bare):
        return tuple(found.bare.model_fields)
    return choices(get_args(found.bare)[0]) if get_origin(found.bare) is dict else ()


def allowed(found: _Type | None) -> str:
    """One phrase for people: ``a number from 0.05 to 0.8``."""
    if found is None:
        return ""
    phrase = _phrase(found)
    return f"{phrase}, or null" if found.optional else phrase


def _phrase(found: _Type) -> str:
    bare, words = found.bare, choices(found.bare)
    if words:
        return words[0] if len(words) == 1 else "one of " + ", ".join(words)
    if _is_model(bare):
        return "a mapping with " + ", ".join(bare.model_fields)
    origin, arguments = get_origin(bare), get_args(bare)
    if origin is dict:
        keys = choices(arguments[0])
        return "a mapping" + (f" with keys {', '.join(keys)}" if keys else "")
    if origin is tuple:
        return _list_phrase(arguments, found.limits)
    pattern = next((p for limit in found.limits if (p := getattr(limit, "pattern", None))), None)
    span = f" of the form {pattern}" if pattern else _span(found.limits)
    return _WORDS.get(bare, str(bare)) + span


def _list_phrase(arguments: tuple[Any, ...], limits: Sequence[object]) -> str:
    if arguments[-1] is Ellipsis:
        item = _unwrapped(arguments[0])
        least = next((limit.min_length for limit in limits if isinstance(limit, MinLen)), 0)
        what = "mappings" if _is_model(item.bare) else f"items, each {_phrase(item)}"
        return f"a list of {f'at least {least} ' if least else ''}{what}"
    return f"a list of {len(arguments)} items: " + "; ".join(_phrase(_unwrapped(a)) for a in arguments)


def _span(limits: Sequence[object]) -> str:
    low: tuple[str, object] | None = None
    high: tuple[str, object] | None = None
    for limit in limits:
        match limit:
            case Ge(ge=value):
                low = ("from", value)
            case Gt(gt=value):
                low = ("above", value)
            case Le(le=value):
                high = ("to", value)
            case Lt(lt=value):
                high = ("below", value)
            case MinLen(min_length=value) if value:
                return ", not empty"
    return _joined(low, high)


def _joined(low: tuple[str, object] | None, high: tuple[str, object] | None) -> str:
    if low and high:
        if low[0] == "from" and high[0] == "to":
            return f" from {low[1]} to {high[1]}"
        upper = f"below {high[1]}" if high[0] == "below" else f"up to {high[1]}"
        return f" {low[0]} {low[1]}, {upper}"
    if low:
        return f" above {low[1]}" if low[0] == "above" else f" of {low[1]} or more"
    if high:
        return f" below {high[1]}" if high[0] == "below" else f" of {high[1]} or less"
    return ""


def _yaml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def field_docs(model: type[BaseModel], prefix: str = "") -> Iterator[FieldDoc]:
    """Every field of ``model`` and of the schemas below it, in file order."""
    for name, field in model.model_fields.items():
        found = _unwrapped(field.annotation, tuple(_flat(field.metadata)))
        path = prefix + name
        inner = found.bare
        if get_origin(inner) is tuple and _is_model(get_args(inner)[0]):
            yield _field_doc(model, field, name, path, found)
            yield from field_docs(get_args(inner)[0], f"{path}[].")
        elif _is_model(inner):
            yield from field_docs(inner, f"{path}.")
        else:
            yield _field_doc(model, field, name, path, found)


def _field_doc(model: type[BaseModel], field: FieldInfo, name: str, path: str, found: _Type) -> FieldDoc:
    default = field.get_default(call_default_factory=True, validated_data={})
    shown = "" if field.is_required() else _shown_default(default)
    return FieldDoc(path, allowed(found), shown, meaning_of(model, name))


def _shown_default(default: object) -> str:
    if isinstance(default, SecretStr) or default is None:
        return "none"
    return str(default) if not isinstance(default, (tuple, dict)) or default else "empty"


def meaning_of(model: type[BaseModel], name: str) -> str:
    """The text that stands under the field in its schema, or in the schema that it inherits it from."""
    schemas = (schema for schema in model.__mro__ if issubclass(schema, Frozen))
    found = (_meanings(schema.__module__).get((schema.__name__, name), "") for schema in schemas)
    return next(filter(None, found), "")


@cache
def _meanings(module: str) -> dict[tuple[str, str], str]:
    tree = ast.parse(inspect.getsource(__import__(module, fromlist=["_"])))
    found: dict[tuple[str, str], str] = {}
    for schema in (node for node in tree.body if isinstance(node, ast.ClassDef)):
        for item, after in zip(schema.body, schema.body[1:], strict=False):
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and _is_text(after):
                found[schema.name, item.target.id] = " ".join(str(ast.literal_eval(after.value)).split())  # type: ignore[attr-defined]
    return found


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
