"""Three-valued logic for one value or a whole array: true, false and unknown (Kleene's strong logic).

A `Node` answers both ways. `one(env)` is for a single event: the value, or None when unknown. `many(env)` is
for all offers of a request at once: (values, unknown), arrays or scalars that broadcast; where `unknown` is
true the value means nothing. Missing inputs (None, NaN, a name that is not in the environment) are unknown.
"""

import operator
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

Kind = Literal["number", "category", "boolean", "decimal", "family"]
"""Kinds of names. A decimal is a number that is kept as whole ten-thousandths; a family is a number for each
key, and takes one: `family[key]`."""

DECIMAL = 10_000

Many = tuple[Any, Any]


class Env(Protocol):
    """Where names find their values: any mapping, or what computes a value when it is asked for."""

    def get(self, key: str, /) -> Any:
        """The value of the name; None when it is missing."""
        ...


class Node(NamedTuple):
    """A compiled part of an expression; `kind` is number, category or boolean.

    `op` says what it does with its `parts`, `value` what it is itself: of a constant the value, of a name the
    name, of `in` the values after it. Two nodes that say the same are told by `same_as`. `span` is where it
    is written: text[span[0]:span[1]].
    """

    kind: Kind
    one: Callable[[Env], Any]
    many: Callable[[Env], Many]
    op: str = "constant"
    parts: tuple["Node", ...] = ()
    value: Any = None
    span: tuple[int, int] = (0, 0)

    @property
    def same_as(self) -> tuple[Any, ...]:
        """Equal for nodes that say the same, whoever wrote them."""
        return (self.op, self.kind, repr(self.value), *(part.same_as for part in self.parts))

    @property
    def names(self) -> frozenset[str]:
        """Every name it reads."""
        if self.op == "name":
            return frozenset((self.value,))
        return frozenset().union(*(part.names for part in self.parts))


def constant(kind: Kind, value: Any) -> Node:
    """A literal."""
    return Node(kind, lambda env: value, lambda env: (value, False), "constant", (), value)


def name(key: str, kind: Kind) -> Node:
    """A value of the environment."""
    scale = DECIMAL if kind == "decimal" else 1
    # What stands for an unknown is of the kind too: arrays hold one kind.
    blank = {"category": "", "boolean": False}.get(kind, 0)

    def one(env: Env) -> Any:
        value = env.get(key)
        if value is None or value != value:
            return None
        return value

    def one_decimal(env: Env) -> Any:
        value = env.get(key)
        if value is None or value != value:
            return None
        return value / DECIMAL

    def many(env: Env) -> Many:
        value = env.get(key)
        if value is None:
            return blank, True
        if not isinstance(value, np.ndarray):
            if value != value:
                return blank, True
            return (value / scale if scale > 1 else value), False
        if value.dtype.kind == "f":
            unknown: Any = np.isnan(value)
        elif value.dtype.kind == "O":
            unknown = np.asarray((value == np.array(None)) | (value != value), dtype=bool)
            if kind == "boolean":
                value = value.astype(bool)  # None and true would be None, which is not false
        else:
            unknown = False
        return (value / scale if scale > 1 else value), unknown

    plain = "number" if kind == "decimal" else kind
    return Node(plain, one_decimal if scale > 1 else one, many, "name", (), key)


def both(left: Node, right: Node) -> Node:
    """`left && right`: false as soon as one is false, whatever the other."""
    a, b = left.one, right.one

    def one(env: Env) -> bool | None:
        first = a(env)
        if first is False:
            return False
        second = b(env)
        if second is False:
            return False
        return None if first is None or second is None else True

    def many(env: Env) -> Many:
        (x, xu), (y, yu) = left.many(env), right.many(env)
        false = _and(_not(x), _not(xu)), _and(_not(y), _not(yu))
        return _and(x, y), _and(_or(xu, yu), _not(_or(*false)))

    return Node("boolean", one, many, "and", (left, right))


def either(left: Node, right: Node) -> Node:
    """`left || right`: true as soon as one is true, whatever the other."""
    turned = negation(both(negation(left), negation(right)))
    return turned._replace(op="or", parts=(left, right))


def negation(node: Node) -> Node:
    """`!node`."""
    inner = node.one

    def one(env: Env) -> bool | None:
        value = inner(env)
        return None if value is None else not value

    def many(env: Env) -> Many:
        value, unknown = node.many(env)
        return _not(value), unknown

    return Node("boolean", one, many, "not", (node,))


def comparison(compare: Callable[[Any, Any], Any], left: Node, right: Node) -> Node:
    """`left < right` and its kin; unknown when either side is."""
    a, b = left.one, right.one

    def one(env: Env) -> bool | None:
        first = a(env)
        if first is None:
            return None
        second = b(env)
        return None if second is None else bool(compare(first, second))

    def many(env: Env) -> Many:
        (x, xu), (y, yu) = left.many(env), right.many(env)
        return np.asarray(compare(np.asarray(x), np.asarray(y)), dtype=bool), _or(xu, yu)

    return Node("boolean", one, many, compare.__name__, (left, right))


def arithmetic(compute: Callable[[Any, Any], Any], left: Node, right: Node) -> Node:
    """`left + right` and its kin; unknown when either side is, and where the result is not finite."""
    a, b = left.one, right.one

    def one(env: Env) -> float | None:
        first, second = a(env), b(env)
        if first is None or second is None:
            return None
        try:
            value = float(compute(first, second))
        except (ZeroDivisionError, OverflowError):
            return None
        return value if abs(value) < float("inf") else None

    def many(env: Env) -> Many:
        (x, xu), (y, yu) = left.many(env), right.many(env)
        with np.errstate(all="ignore"):
            value = np.asarray(compute(np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)))
        return value, _or(_or(xu, yu), ~np.isfinite(value))

    return Node("number", one, many, compute.__name__, (left, right))


def negative(node: Node) -> Node:
    """`-node`."""
    return arithmetic(operator.sub, constant("number", 0), node)


def member(node: Node, among: Sequence[Any]) -> Node:
    """`node in [literals]`."""
    known, inner = frozenset(among), node.one

    def one(env: Env) -> bool | None:
        value = inner(env)
        return None if value is None else value in known

    def many(env: Env) -> Many:
        value, unknown = node.many(env)
        hits: Any = np.zeros(np.shape(value), dtype=bool)
        for each in among:
            hits = hits | np.asarray(np.asarray(value) == each, dtype=bool)
        return hits, unknown

    return Node("boolean", one, many, "in", (node,), tuple(among))


def choice(condition: Node, then: Node, otherwise: Node) -> Node:
    """`condition ? then : otherwise`; unknown when the condition is."""

    def one(env: Env) -> Any:
        chosen = condition.one(env)
        if chosen is None:
            return None
        return then.one(env) if chosen else otherwise.one(env)

    def many(env: Env) -> Many:
        (c, cu), (x, xu), (y, yu) = condition.many(env), then.many(env), otherwise.many(env)
        return np.where(c, x, y), _or(cu, np.where(c, xu, yu))

    return Node(then.kind, one, many, "choice", (condition, then, otherwise))


def is_missing(node: Node) -> Node:
    """Whether the value is unknown; never unknown itself."""

    def many(env: Env) -> Many:
        return node.many(env)[1], False

    return Node("boolean", lambda env: node.one(env) is None, many, "is_missing", (node,))


def coalesce(nodes: Sequence[Node]) -> Node:
    """The first value that is known."""

    def one(env: Env) -> Any:
        for node in nodes:
            value = node.one(env)
            if value is not None:
                return value
        return None

    def many(env: Env) -> Many:
        value, unknown = nodes[-1].many(env)
        for node in reversed(nodes[:-1]):
            first, first_unknown = node.many(env)
            value, unknown = np.where(first_unknown, value, first), _and(first_unknown, unknown)
        return value, unknown

    return Node(nodes[0].kind, one, many, "coalesce", tuple(nodes))


def _not(value: Any) -> Any:
    return np.logical_not(value)


def _and(left: Any, right: Any) -> Any:
    return np.logical_and(left, right)


def _or(left: Any, right: Any) -> Any:
    return np.logical_or(left, right)
