"""Conditions over what was decided: ``score >= 7 and regime == panic``. A grammar of its own; nothing of Python is run.

::

    condition  = term { "or" term }
    term       = factor { "and" factor }
    factor     = "not" factor | "(" condition ")" | comparison
    comparison = operand [ ("==" | "!=" | "<" | "<=" | ">" | ">=" | "in" | "contains") operand ]
    operand    = number | "text" | true | false | none | list | "len(" place ")" | place | word
    list       = "[" operand { "," operand } "]"

A place is as in :mod:`graph.stepping.paths`, or one of :data:`SHORT`. A place with several values (``[*]``) holds if any of
them does; one that was not written on this event has none. A word that is no place is text: ``regime == panic``.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Any, get_origin

from graph.stepping.errors import StepError, nearest
from graph.stepping.paths import Path, parse_path
from graph.stepping.values import short
from tools.state import STATE_TYPES

State = Mapping[str, Any]
Test = Callable[[State], bool]
Operand = Callable[[State], Sequence[Any]]

SHORT: dict[str, tuple[str, ...]] = {
    "score": ("selection.scored[*].score",),
    "signal": ("selection.scored[*].signal.id",),
    "strategy": ("selection.scored[*].signal.strategy",),
    "symbol": ("selection.scored[*].signal.symbol",),
    "regime": ("regimes.h1[*]",),
    "refusal": ("selection.refusals[*].code", "risk.refusals[*].code", "execution.refusals[*].code", "research.refusals[*].code"),
    "plan": ("risk.plans[*].id",),
    "order": ("execution.orders[*]",),
    "equity": ("status.governor.equity",),
    "trading": ("status.governor.state",),
}
"""Words for places that are often asked for."""

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<op>==|!=|<=|>=|<|>|\(|\)|,)|
    (?P<text>"[^"]*"|'[^']*')|
    (?P<number>[+-]?[0-9]+(?:_[0-9]+)*(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![\w]))|
    (?P<list>\[)|(?P<end>\])|
    (?P<word>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*|\[[^\]]*\])*)
    )""",
    re.VERBOSE,
)
_ORDER: dict[str, Callable[[Any, Any], bool]] = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_COMPARE = {"==", "!=", "in", "contains", *_ORDER}
_LONGEST = 4_000
"""Characters of a condition."""
_DEEPEST = 50
"""How often a condition may stand inside another."""
_CONSTANTS: dict[str, Any] = {"true": True, "false": False, "none": None}


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition that was understood; ``roots`` are the keys of the state that it looks at."""

    text: str
    roots: frozenset[str]
    _test: Test

    def holds(self, state: State) -> bool:
        """Whether it holds of ``state`` (key -> value)."""
        return self._test(state)


def parse_condition(text: str, symbols: Sequence[str] = ()) -> Condition:
    """Understand ``text``.

    Raises:
        StepError: it is not of the grammar, or names a place that does not exist.
    """
    parser = _Parser(text, symbols)
    test = parser.condition()
    parser.finish()
    return Condition(text, frozenset(parser.roots), test)


class _Parser:
    def __init__(self, text: str, symbols: Sequence[str]) -> None:
        self._text, self._symbols = text, symbols
        self._tokens = _tokens(text)
        self._at = self._depth = 0
        self.roots: set[str] = set()

    # --- the grammar --------------------------------------------------------------------------------------

    def condition(self) -> Test:
        tests = [self._term()]
        while self._take("or"):
            tests.append(self._term())
        return tests[0] if len(tests) == 1 else lambda state: any(test(state) for test in tests)

    def _term(self) -> Test:
        tests = [self._factor()]
        while self._take("and"):
            tests.append(self._factor())
        return tests[0] if len(tests) == 1 else lambda state: all(test(state) for test in tests)

    def _factor(self) -> Test:
        if self._take("not"):
            with self._inside():
                inner = self._factor()
            return lambda state: not inner(state)
        if self._take("("):
            with self._inside():
                inner = self.condition()
            self._expect(")")
            return inner
        return self._comparison()

    @contextmanager
    def _inside(self) -> Iterator[None]:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._wrong(f"it is nested more than {_DEEPEST} deep")
        yield
        self._depth -= 1

    def _comparison(self) -> Test:
        left = self._operand()
        sign = self._peek()[1]
        if sign not in _COMPARE:
            return lambda state: any(left(state))
        self._at += 1
        right = self._operand()
        compare = _comparison(sign)
        return lambda state: any(compare(a, b) for a in left(state) for b in right(state))

    def _operand(self) -> Operand:
        kind, token = self._peek()
        self._at += 1
        if kind == "number":
            return _constant(float(token) if any(mark in token for mark in ".eE") else int(token))
        if kind == "text":
            return _constant(token[1:-1])
        if kind == "list":
            return self._list()
        if kind != "word" or token in {"and", "or", "not", *_COMPARE}:
            raise self._wrong(f"expected a value, found {token or 'the end'}")
        if token in _CONSTANTS:
            return _constant(_CONSTANTS[token])
        return self._length() if (token, self._peek()[1]) == ("len", "(") else self._word(token)

    def _length(self) -> Operand:
        self._expect("(")
        places = self._places(self._peek()[1])
        self._at += 1
        self._expect(")")
        if any(get_origin(place.kind) is not tuple for place in places):
            raise self._wrong("len() is of something with positions, such as selection.scored")
        return lambda state: (sum(len(value) for place in places for value in place.values(state)),)

    def _list(self) -> Operand:
        with self._inside():
            members = [self._operand()]
            while self._take(","):
                members.append(self._operand())
        if self._peek()[0] != "end":
            raise self._wrong("the list is not closed")
        self._at += 1
        return lambda state: ([value for member in members for value in member(state)],)

    def _word(self, token: str) -> Operand:
        root = re.split(r"[.\[]", token, maxsplit=1)[0]
        if token not in SHORT and root not in STATE_TYPES:
            if token != root:
                known = (*SHORT, *STATE_TYPES)
                raise self._wrong(f"{root!r} is no key of the state{nearest(root, known)}")
            return _constant(token)
        places = self._places(token)
        return lambda state: [_bare(value) for place in places for value in place.values(state)]

    def _places(self, token: str) -> tuple[Path, ...]:
        places = tuple(parse_path(text, self._symbols) for text in SHORT.get(token, (token,)))
        self.roots.update(place.root for place in places)
        if any(str(place).startswith("event.closed") or str(place) == "event" for place in places):
            raise self._wrong("the record has an event's kind, seq, ts and note; what closed is seen at the bar itself")
        return places

    # --- tokens -------------------------------------------------------------------------------------------

    def finish(self) -> None:
        if self._at < len(self._tokens):
            raise self._wrong(f"{self._peek()[1]!r} is too much")

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("", "")

    def _take(self, token: str) -> bool:
        found = self._peek()[1] == token and self._peek()[0] != "text"
        self._at += found
        return found

    def _expect(self, token: str) -> None:
        if not self._take(token):
            raise self._wrong(f"expected {token!r}, found {self._peek()[1] or 'the end'}")

    def _wrong(self, why: str) -> StepError:
        return StepError(
            f"condition {short(self._text)!r}: {why}", help='where score >= 7 and regime == "panic"', code="STEP-001"
        )


def _tokens(text: str) -> list[tuple[str, str]]:
    if len(text) > _LONGEST:
        raise StepError(f"a condition has at most {_LONGEST} characters, this has {len(text)}", code="STEP-001")
    tokens: list[tuple[str, str]] = []
    at, text = 0, text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise StepError(f"condition {short(text)!r}: {text[at:].strip()[:10]!r} is not understood", code="STEP-001")
        tokens.append((match.lastgroup, match[match.lastgroup]))
        at = match.end()
    return tokens


def _constant(value: Any) -> Operand:
    return lambda _: (value,)


def _comparison(sign: str) -> Callable[[Any, Any], bool]:
    if sign == "==":
        return lambda a, b: bool(a == b)
    if sign == "!=":
        return lambda a, b: bool(a != b)
    if sign == "in":
        return _within
    if sign == "contains":
        return lambda a, b: _within(b, a)
    compare = _ORDER[sign]
    return lambda a, b: _comparable(a, b) and compare(a, b)


def _within(inner: Any, outer: Any) -> bool:
    if isinstance(outer, str):
        return isinstance(inner, str) and inner in outer
    return isinstance(outer, list | tuple) and any(_bare(member) == inner for member in outer)


def _comparable(a: Any, b: Any) -> bool:
    numbers = (int, float, Decimal)
    return (isinstance(a, numbers) and isinstance(b, numbers)) or (isinstance(a, str) and isinstance(b, str))


def _bare(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value
