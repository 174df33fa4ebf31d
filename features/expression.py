"""Conditions as people write them: a safe subset of CEL, parsed once, evaluated on an event or on all offers.

The language: names, numbers, texts, true and false; `&& || !`, `== != < <= > >=`, `+ - * / %`, `in [..]`,
`c ? a : b`, `is_missing(x)`, `coalesce(a, b, ...)`, `family[event.field]`. Missing values are unknown, and
what depends on one is unknown too: nothing substitutes silently. Everything is typed when it is compiled,
and nothing can loop. `docs/expressions.md` tells it to people.
"""

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from events.faults import did_you_mean
from features import kleene
from features.grammar import BadExpression, descend, dotted, parse
from features.kleene import Env, Kind, Node
from features.quoted import read_quoted

__all__ = ["BadExpression", "Expression", "Kind", "compile_expression"]

DEEPEST = 40
"""Levels of nesting, and terms of one chain of operators."""

_COMPARE: Mapping[str, Callable[[Any, Any], Any]] = {
    "relation_lt": operator.lt,
    "relation_le": operator.le,
    "relation_gt": operator.gt,
    "relation_ge": operator.ge,
    "relation_eq": operator.eq,
    "relation_ne": operator.ne,
}
_COMPUTE: Mapping[str, Callable[[Any, Any], Any]] = {
    "addition_add": operator.add,
    "addition_sub": operator.sub,
    "multiplication_mul": operator.mul,
    "multiplication_div": operator.truediv,
    "multiplication_mod": operator.mod,
}
_FUNCTIONS = ("is_missing", "coalesce")
_CALLS = "the functions are is_missing(x) and coalesce(a, b, ...)"
_HINTS = {
    "member_dot_arg": _CALLS,
    "dot_ident_arg": _CALLS,
    "list_lit": "a list stands behind in, as in store in ['7', '8']",
    "dot_ident": "a name begins with a letter",
}


class Expression(NamedTuple):
    """A compiled expression: `names` it reads, the `kind` of its value, the `tree` of its parts.

    >>> names = {"spend": "number", "store": "category"}
    >>> big = compile_expression("spend > 100 && !is_missing(store)", names)
    >>> big.names, big.kind
    (('spend', 'store'), 'boolean')
    >>> big.test({"spend": 120.0, "store": "7"}), big.one({"spend": None, "store": "7"})
    (True, None)
    >>> values, unknown = big.evaluate({"spend": np.array([120.0, 5.0, np.nan]), "store": "7"})
    >>> values.tolist(), unknown.tolist()
    ([True, False, False], [False, False, True])
    """

    text: str
    names: tuple[str, ...]
    kind: Kind
    one: Callable[[Env], Any]
    many: Callable[[Env], tuple[Any, Any]]
    tree: Node

    def test(self, env: Env) -> bool:
        """Whether the condition is known to be true of single values."""
        return self.one(env) is True

    def evaluate(self, env: Env) -> tuple[np.ndarray, np.ndarray]:
        """(values, unknown) over arrays and scalars that broadcast; unknown ones read false, or NaN."""
        value, unknown = np.broadcast_arrays(*self.many(env))
        blank: Any = {"boolean": False, "number": np.nan}.get(self.kind)
        return np.where(unknown, blank, value), np.asarray(unknown, dtype=bool)


def compile_expression(text: str, names: Mapping[str, Kind]) -> Expression:
    """Understand the expression; `names` are all it may speak of (dots allowed), with their kinds.

    Errors: `BadExpression`.

    >>> compile_expression("amuont > 3", {"amount": "decimal"})  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    features.bad_expression.BadExpression: character 1 of 'amuont > 3': expected a known name, found ...
    """
    compiler = _Compiler(text, names)
    node = compiler.compile(parse(text), 0)
    return Expression(text, tuple(sorted(compiler.used)), node.kind, node.one, node.many, node)


class _Compiler:
    """Walks the syntax tree once; `used` gathers the names."""

    def __init__(self, text: str, names: Mapping[str, Kind]) -> None:
        self.text = text
        self.names = names
        self.used: set[str] = set()

    def error(self, tree: Any, expected: str, found: str, hint: str = "") -> BadExpression:
        start = getattr(getattr(tree, "meta", tree), "start_pos", 0) or 0
        return BadExpression(self.text, start + 1, expected, found, hint)

    def span(self, tree: Any) -> tuple[int, int]:
        meta = getattr(tree, "meta", tree)
        return getattr(meta, "start_pos", 0), getattr(meta, "end_pos", len(self.text))

    def shown(self, tree: Any) -> str:
        start, end = self.span(tree)
        return self.text[start:end] if end - start <= 40 else f"{self.text[start : start + 37]}..."

    def compile(self, tree: Any, depth: int) -> Node:
        return self.part(descend(tree), depth)._replace(span=self.span(tree))

    def part(self, tree: Any, depth: int) -> Node:
        if depth > DEEPEST:
            expected = f"at most {DEEPEST} levels of nesting, and terms in a chain"
            raise self.error(tree, expected, "more", "x in [..] replaces a chain of ||")
        rule = str(tree.data)
        if rule == "expr":
            return self.choice(tree, depth + 1)
        if rule in ("conditionalor", "conditionaland"):
            join = kleene.either if rule == "conditionalor" else kleene.both
            return join(*(self.typed(child, "boolean", depth + 1) for child in tree.children))
        if rule == "relation":
            return self.relation(tree, depth + 1)
        if rule in ("addition", "multiplication"):
            step, right = tree.children
            compute = _COMPUTE[str(step.data)]
            left = self.typed(step.children[0], "number", depth + 1)
            return kleene.arithmetic(compute, left, self.typed(right, "number", depth + 1))
        if rule == "unary":
            sign, inner = tree.children
            if str(sign.data) == "unary_not":
                return kleene.negation(self.typed(inner, "boolean", depth + 1))
            return kleene.negative(self.typed(inner, "number", depth + 1))
        if rule == "literal":
            return self.literal(tree)
        if rule in ("ident", "member_dot"):
            return self.name(tree)
        if rule == "member_index":
            return self.keyed(tree)
        if rule == "paren_expr":
            return self.compile(tree.children[0], depth + 1)
        if rule == "ident_arg":
            return self.call(tree, depth + 1)
        raise self.error(tree, "a name, a value or a condition", self.shown(tree), _HINTS.get(rule, ""))

    def typed(self, tree: Any, kind: Kind, depth: int) -> Node:
        node = self.compile(tree, depth)
        if node.kind != kind:
            raise self.error(tree, f"a {kind}", f"{self.shown(tree)}, a {node.kind}")
        return node

    def choice(self, tree: Any, depth: int) -> Node:
        condition, then, otherwise = tree.children
        first = self.compile(then, depth)
        return kleene.choice(
            self.typed(condition, "boolean", depth), first, self.typed(otherwise, first.kind, depth)
        )

    def relation(self, tree: Any, depth: int) -> Node:
        step, right = tree.children
        left = self.compile(step.children[0], depth)
        if str(step.data) == "relation_in":
            return kleene.member(left, self.literals(right, left.kind, depth))
        ordered = str(step.data) not in ("relation_eq", "relation_ne")
        if ordered and left.kind != "number":
            hint = "write 1 < x && x < 3 for between" if left.kind == "boolean" else ""
            found = f"{self.shown(step.children[0])}, a {left.kind}"
            raise self.error(step, "a number to compare by size", found, hint)
        return kleene.comparison(_COMPARE[str(step.data)], left, self.typed(right, left.kind, depth))

    def literals(self, tree: Any, kind: Kind, depth: int) -> list[Any]:
        inner = descend(tree)
        if str(inner.data) != "list_lit" or not inner.children:
            raise self.error(tree, "a list of values after in, as in ['a', 'b']", self.shown(tree))
        values = []
        before = set(self.used)
        for child in inner.children[0].children:
            values.append(self.typed(child, kind, depth).one({}))
            if self.used != before or values[-1] is None:
                raise self.error(child, "a value written out", self.shown(child))
        return values

    def literal(self, tree: Any) -> Node:
        token = tree.children[0]
        if token.type == "BOOL_LIT":
            return kleene.constant("boolean", token == "true")
        if token.type in ("INT_LIT", "UINT_LIT", "FLOAT_LIT"):
            text = str(token).rstrip("uU")
            value = float(text) if token.type == "FLOAT_LIT" else int(text, 16 if "x" in text else 10)
            if abs(value) > 1e300:
                raise self.error(token, "a number below 1e300", text[:20])
            if not value and re.search("[1-9]", text.lower().split("e")[0]):
                raise self.error(token, "a number that is 0 or above 1e-323", text[:20])
            # Numbers are doubles, as those of arrays are: whole ones past 2**53 must round as they do.
            return kleene.constant("number", value if abs(value) <= 1 << 53 else float(value))
        if token.type == "STRING_LIT":
            return kleene.constant("category", read_quoted(self.text, token.start_pos, token.end_pos))
        hint = "is_missing(x) asks whether a value is missing" if token.type == "NULL_LIT" else ""
        raise self.error(token, "a number, a text, true or false", str(token), hint)

    def name(self, tree: Any) -> Node:
        name = dotted(tree)
        if name is None:
            raise self.error(tree, "a name", self.shown(tree))
        kind = self.names.get(name)
        if kind is None:
            raise self.error(tree, "a known name", name, did_you_mean(name, self.names))
        if kind == "family":
            hint = f"write {name}[event.FIELD] for the key that the event names"
            raise self.error(tree, "a key behind a family", name, hint)
        self.used.add(name)
        return kleene.name(name, kind)

    def keyed(self, tree: Any) -> Node:
        """`family[event.field]`: the number at the event's own key, under that very name."""
        name, field = dotted(tree.children[0]), dotted(tree.children[1])
        if name is None or self.names.get(name) != "family":
            known = [each for each, kind in self.names.items() if kind == "family"]
            hint = did_you_mean(name or "", known)
            raise self.error(tree, "the name of a family before [", self.shown(tree.children[0]), hint)
        if field is None or self.names.get(field) != "category":
            keys = [each for each, kind in self.names.items() if kind == "category"]
            hint = did_you_mean(field or "", keys)
            raise self.error(
                tree.children[1], "a category field of the event", self.shown(tree.children[1]), hint
            )
        key = f"{name}[{field}]"
        self.used.add(key)
        return kleene.name(key, "number")

    def call(self, tree: Any, depth: int) -> Node:
        function = str(tree.children[0])
        arguments = tree.children[1].children if len(tree.children) > 1 else []
        if function == "is_missing" and len(arguments) == 1:
            return kleene.is_missing(self.compile(arguments[0], depth))
        if function == "coalesce" and len(arguments) >= 2:
            first = self.compile(arguments[0], depth)
            return kleene.coalesce([first, *(self.typed(each, first.kind, depth) for each in arguments[1:])])
        if function in _FUNCTIONS:
            expected = "is_missing(x)" if function == "is_missing" else "coalesce(a, b, ...)"
            raise self.error(tree, expected, self.shown(tree))
        raise self.error(tree, "a known function", function, did_you_mean(function, _FUNCTIONS))
