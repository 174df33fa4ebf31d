"""Conditions taken apart for the compiled code: what of them the event alone decides, what is read, what is
left.

A condition is a list of *clauses*, what stands between its outer `&&`; each is judged once an event, however
many triggers share it. The largest parts that read the event (and attributes) alone are *atoms*, worked out
for many events at once; numbers of the customer are *sources*, read only when a clause asks for them.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from features.expression import Expression
from features.kernel import trigger_layout as at
from features.kleene import Kind, Node

_STEPS: Mapping[str, int] = {
    "add": at.ADD,
    "sub": at.SUBTRACT,
    "mul": at.MULTIPLY,
    "truediv": at.DIVIDE,
    "mod": at.REMAINDER,
    "lt": at.LESS,
    "le": at.AT_MOST,
    "gt": at.MORE,
    "ge": at.AT_LEAST,
    "eq": at.EQUAL,
    "ne": at.UNEQUAL,
    "and": at.BOTH,
    "or": at.EITHER,
    "not": at.NOT,
    "is_missing": at.MISSING_IS,
    "choice": at.CHOICE,
}
_TURNED: Mapping[str, str] = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le", "eq": "eq"}


class Atom(NamedTuple):
    """A part of conditions that reads no feature: a number, or true (1) or false (0); NaN unknown."""

    node: Node
    names: tuple[str, ...]


class Clauses:
    """Gathers the clauses of all conditions; what is said twice is kept once."""

    def __init__(self, source: Callable[[str], int | None]) -> None:
        """`source` answers the number of the source of that name; None for a name that is none."""
        self._source = source
        self._conditions: dict[tuple[int, ...], int] = {}
        self._clauses: dict[Any, int] = {}
        self._atoms: dict[Any, int] = {}
        self._constants: dict[str, int] = {}
        self.atoms: list[Atom] = []
        self.clauses: list[tuple[int, int, int, int]] = []
        self.code: list[tuple[int, int, int, int, int]] = []
        self.constants: list[float] = []
        self.reads: list[frozenset[int]] = []
        self.asked: list[tuple[int, str, float] | None] = []
        self.registers = 1

    @property
    def conditions(self) -> list[tuple[int, ...]]:
        """The clauses of each condition, those that an atom decides first."""
        return list(self._conditions)

    def condition(self, nodes: Iterator[Node], kinds: Mapping[str, Kind]) -> int:
        """The number of the condition that all of these are true."""
        parts = {self._clause(part, kinds) for node in nodes for part in _conjuncts(node)}
        ordered = tuple(sorted(parts, key=lambda n: (len(self.reads[n]), n)))
        return self._conditions.setdefault(ordered, len(self._conditions))

    def parts(self, node: Node, kinds: Mapping[str, Kind]) -> dict[int, Node]:
        """The clauses of a condition that is known here by number, each as this one writes it."""
        return {self._clause(part, kinds): part for part in _conjuncts(node)}

    def gates(self, condition: int) -> tuple[int, ...]:
        """The atoms that are clauses of the condition."""
        return tuple(self.clauses[n][0] for n in self.conditions[condition] if self.clauses[n][0] >= 0)

    def sources(self, condition: int) -> frozenset[int]:
        """The sources that the condition may read."""
        return frozenset().union(*(self.reads[n] for n in self.conditions[condition]))

    def atom(self, node: Node, kinds: Mapping[str, Kind]) -> int:
        """The number of the atom."""
        key = self._key(node, kinds)
        if key not in self._atoms:
            self._atoms[key] = len(self.atoms)
            self.atoms.append(Atom(node, tuple(sorted(node.names))))
        return self._atoms[key]

    def constant(self, value: float) -> int:
        """The place of a constant."""
        number = self._constants.setdefault(repr(value), len(self.constants))
        if number == len(self.constants):
            self.constants.append(value)
        return number

    def _clause(self, node: Node, kinds: Mapping[str, Kind]) -> int:
        key = self._key(node, kinds)
        if key not in self._clauses:
            if self._plain(node):
                row, reads = (self.atom(node, kinds), 0, 0, 0), frozenset[int]()
            else:
                found: set[int] = set()
                begin, self._next = len(self.code), 0
                result = self._emit(node, kinds, found)
                row, reads = (-1, begin, len(self.code), result), frozenset(found)
                self.registers = max(self.registers, self._next)
            self._clauses[key] = len(self.clauses)
            self.clauses.append(row)
            self.reads.append(reads)
            self.asked.append(self._comparison(node))
        return self._clauses[key]

    def _comparison(self, node: Node) -> tuple[int, str, float] | None:
        """Of a clause that only compares a source with a constant the two, the source on the left."""
        if node.op not in _TURNED:
            return None
        (left, right), op = node.parts, node.op
        if left.op == "constant":
            left, right, op = right, left, _TURNED[op]
        source = self._source(left.value) if left.op == "name" and right.op == "constant" else None
        return None if source is None else (source, op, float(right.value))

    def _plain(self, node: Node) -> bool:
        return all(self._source(name) is None for name in node.names)

    @staticmethod
    def _key(node: Node, kinds: Mapping[str, Kind]) -> tuple[Any, ...]:
        return (*node.same_as, *((name, kinds.get(name)) for name in sorted(node.names)))

    def _emit(self, node: Node, kinds: Mapping[str, Kind], found: set[int]) -> int:
        """Append code that works the node out; the register with its value."""
        if node.op == "constant":
            return self._step(at.CONSTANT, self.constant(float(node.value)))
        if self._plain(node):
            return self._step(at.GIVEN, self.atom(node, kinds))
        if node.op == "name":
            source = self._source(node.value)
            assert source is not None
            found.add(source)
            return self._step(at.SOURCE, source)
        parts = [self._emit(part, kinds, found) for part in node.parts]
        if node.op == "coalesce":
            known = parts[0]
            for part in parts[1:]:
                known = self._step(at.FIRST_KNOWN, known, part)
            return known
        if node.op == "in":
            hits = [
                self._step(at.EQUAL, parts[0], self._step(at.CONSTANT, self.constant(float(value))))
                for value in node.value
            ]
            hit = hits[0]
            for other in hits[1:]:
                hit = self._step(at.EITHER, hit, other)
            return hit
        return self._step(_STEPS[node.op], *parts)

    def _step(self, op: int, left: int, right: int = 0, third: int = 0) -> int:
        to = self._next
        self._next += 1
        self.code.append((op, to, left, right, third))
        return to


def condition_of(expression: Expression) -> Iterator[Node]:
    """The expression as what `Clauses.condition` takes."""
    return iter((expression.tree,))


def _conjuncts(node: Node) -> list[Node]:
    if node.op == "and":
        return [part for each in node.parts for part in _conjuncts(each)]
    return [node]
