"""Which of true, false and unknown a condition can come to, told without a value at hand.

The condition is looked at with sets instead of values: each part may hold so much (`features.ranges`), and
what one comparison leaves of a name the next one has to do with. A set may be taken too wide, never too
narrow; so what is called impossible is, and what is not called so may be impossible all the same.
"""

import operator
from collections.abc import Iterator
from typing import Any

from features import spans
from features.kleene import Node
from features.ranges import ANY_TEXT, Held, Ranges, Texts, anything, but, empty, joined, met, only

STEPS = 4_000
"""Parts that are looked at; what would take more is called possible."""

Truth = bool | None
Facts = dict[Any, Held]
"""What is left of parts of the condition, by what they say."""

COMPARISONS = tuple(spans.INVERSE)
_COMPUTE = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "truediv": operator.truediv,
    "mod": operator.mod,
}


def outcomes(node: Node, ranges: Ranges) -> frozenset[Truth]:
    """The truths that the condition can come to; None is unknown.

    >>> from features.expression import compile_expression
    >>> condition = compile_expression("a > 5 && !(a >= 3)", {"a": "number"}).tree
    >>> sorted(map(str, outcomes(condition, {})))
    ['False', 'None']
    """
    truths: tuple[Truth, ...] = (True, False, None)
    return frozenset(truth for truth in truths if together([(node, truth)], ranges))


def together(wanted: list[tuple[Node, Truth]], ranges: Ranges) -> bool:
    """Whether the conditions can come to these truths at once."""
    judge = _Judge(ranges)
    return judge.all(wanted, {}) is not None


def taken_apart(node: Node, wanted: bool) -> Iterator[tuple[Node, bool]]:
    """The parts that must all be so for the whole to be as wanted: those of `&&`, of a false `||`, of `!`."""
    if node.op == "not":
        yield from taken_apart(node.parts[0], not wanted)
    elif node.op == ("and" if wanted else "or"):
        for part in node.parts:
            yield from taken_apart(part, wanted)
    else:
        yield node, wanted


class _Judge:
    """Narrows what parts may hold by what is wanted of them; None says that it cannot be."""

    def __init__(self, ranges: Ranges) -> None:
        self.ranges = ranges
        self.steps = STEPS
        self.keys: dict[int, int] = {}
        self.numbers: dict[tuple[Any, ...], int] = {}

    def key(self, node: Node) -> int:
        """A number of the part, the same for parts that say the same."""
        key = self.keys.get(id(node))
        if key is None:
            key = self.keys[id(node)] = self.numbers.setdefault(node.same_as, len(self.numbers))
        return key

    def all(self, wanted: list[tuple[Node, Truth]], facts: Facts) -> Facts | None:
        """Every condition as wanted. Looked at twice: what a later one leaves may refuse an earlier one."""
        parts: list[tuple[Node, Truth]] = []
        for node, truth in wanted:
            parts += [(node, None)] if truth is None else taken_apart(node, truth)
        for _ in range(2 if len(parts) > 1 else 1):
            for node, truth in parts:
                narrowed = self.narrow(node, truth, facts)
                if narrowed is None:
                    return None
                facts = narrowed
        return facts

    def narrow(self, node: Node, wanted: Truth, facts: Facts) -> Facts | None:
        """The facts that are left when the condition comes to `wanted`."""
        self.steps -= 1
        if self.steps < 0:
            return facts
        fact = facts.get(self.key(node))
        if fact is not None and not _allows(fact, wanted):
            return None
        left = self.unknown(node, facts) if wanted is None else self.settled(node, wanted, facts)
        if left is None:
            return None
        return left | {self.key(node): Held(spans.NONE, True) if wanted is None else _truth(wanted)}

    def settled(self, node: Node, wanted: bool, facts: Facts) -> Facts | None:
        """The facts that are left when it is known to be true, or false."""
        op, parts = node.op, node.parts
        if op == "constant":
            return facts if node.value == wanted else None
        if op == "name":
            return facts if _allows(self.held(node, facts), wanted) else None
        if op in ("not", "and", "or"):
            apart = list(taken_apart(node, wanted))
            if len(apart) > 1 or apart[0][0] is not node:
                return self.all([*apart], facts)
            return _either(*(self.narrow(part, wanted, facts) for part in parts))
        if op == "choice":
            ways = (self.narrow(parts[0], True, facts), self.narrow(parts[0], False, facts))
            chosen = zip(ways, parts[1:], strict=True)
            return _either(*(self.narrow(part, wanted, way) for way, part in chosen if way is not None))
        if op == "coalesce":
            found: list[Facts | None] = []
            before: Facts | None = facts
            for part in parts:
                if before is not None:
                    found.append(self.narrow(part, wanted, before))
                    before = self.narrow(part, None, before)
            return _either(*found)
        if op == "is_missing":
            return self.lacks(parts[0], facts) if wanted else self.has(parts[0], facts)
        if op == "in":
            return self.among(node, wanted, facts)
        return self.compared(node, op if wanted else spans.INVERSE[op], facts)

    def unknown(self, node: Node, facts: Facts) -> Facts | None:
        """The facts that are left when it is unknown."""
        op, parts = node.op, node.parts
        if op in ("constant", "is_missing"):
            return None
        if op == "not":
            return self.narrow(parts[0], None, facts)
        if op in ("and", "or"):
            able = [self.narrow(part, None, facts) is not None for part in parts]
            settled = op == "and"  # the other parts must not decide it
            also = [self.narrow(part, settled, facts) is not None for part in parts]
            return facts if any(able) and all(map(max, able, also)) else None
        if op in ("name", "choice"):
            return facts if self.held(node, facts).missing else None
        if op == "coalesce":
            for part in parts:
                lacking = self.lacks(part, facts)
                if lacking is None:
                    return None
                facts = lacking
            return facts
        return _either(*(self.lacks(part, facts) for part in parts))

    def lacks(self, node: Node, facts: Facts) -> Facts | None:
        """The facts that are left when the part has no value."""
        if node.kind == "boolean":
            return self.narrow(node, None, facts)
        held = self.held(node, facts)
        return facts | {self.key(node): Held(_nothing(node))} if held.missing else None

    def has(self, node: Node, facts: Facts) -> Facts | None:
        """The facts that are left when the part has a value."""
        if node.kind == "boolean":
            return _either(self.narrow(node, True, facts), self.narrow(node, False, facts))
        return self.put(node, ANY_TEXT if node.kind == "category" else spans.ALL, facts)

    def put(self, node: Node, known: Any, facts: Facts) -> Facts | None:
        """The facts that are left when the part has a value, and one of these."""
        left = met(self.held(node, facts).known, known)
        if empty(left):
            return None
        now: Facts | None = facts | {self.key(node): Held(left, False)}
        if node.op in _COMPUTE:  # unknown as soon as a part is
            for part in node.parts:
                now = self.has(part, now) if now is not None else None
        return now

    def among(self, node: Node, wanted: bool, facts: Facts) -> Facts | None:
        part = node.parts[0]
        if part.kind == "boolean":
            truths = [truth for truth in (True, False) if (truth in node.value) == wanted]
            return _either(*(self.narrow(part, truth, facts) for truth in truths))
        values: Any = Texts(frozenset(node.value)) if part.kind == "category" else spans.points(node.value)
        return self.put(part, values if wanted else but(values), facts)

    def compared(self, node: Node, compare: str, facts: Facts) -> Facts | None:
        left, right = node.parts
        if left.kind == "boolean":
            ways = []
            for truth in (True, False):
                way = self.narrow(left, truth, facts)
                if way is not None:
                    ways.append(self.narrow(right, truth == (compare == "eq"), way))
            return _either(*ways)
        mine, other = self.held(left, facts).known, self.held(right, facts).known
        if isinstance(mine, Texts) or isinstance(other, Texts):
            mine, other = (_texts_than(compare, other), _texts_than(compare, mine))
        else:
            mine, other = spans.than(compare, other), spans.than(spans.MIRRORED[compare], mine)
        now = self.put(left, mine, facts)
        now = None if now is None else self.put(right, other, now)
        return None if now is None else self.ordered(left, compare, right, now)

    def ordered(self, left: Node, compare: str, right: Node, facts: Facts) -> Facts | None:
        """Remember how two parts compare, whatever they hold: `a > b && a < b` cannot be."""
        first, second = self.key(left), self.key(right)
        if first > second:
            first, second, compare = second, first, spans.MIRRORED[compare]
        key = ("ordered", first, second)
        before = facts[key].known if key in facts else spans.points([0]) if first == second else spans.ALL
        signs = met(before, spans.than(compare, spans.points([0])))
        return None if empty(signs) else facts | {key: Held(signs, False)}

    def held(self, node: Node, facts: Facts) -> Held:
        """What the part may hold."""
        self.steps -= 1
        if self.steps < 0:
            return anything(node.kind)
        held = self.holds(node, facts)
        fact = facts.get(self.key(node))
        return held if fact is None else Held(met(held.known, fact.known), held.missing and fact.missing)

    def holds(self, node: Node, facts: Facts) -> Held:
        op, parts = node.op, node.parts
        if op == "constant":
            value = node.value
            return Held(
                Texts(frozenset([value])) if node.kind == "category" else spans.points([value]), False
            )
        if op == "name":
            return self.ranges.get(node.value.split("[")[0]) or anything(node.kind)
        if op in _COMPUTE:
            a, b = (self.held(part, facts) for part in parts)
            assert not isinstance(a.known, Texts)
            assert not isinstance(b.known, Texts)
            known, missing = spans.calculate(op, _COMPUTE[op], a.known, b.known)
            return Held(known, missing or a.missing or b.missing)
        if op == "choice":
            ways = (self.narrow(parts[0], True, facts), self.narrow(parts[0], False, facts))
            found = [
                self.held(part, way) for way, part in zip(ways, parts[1:], strict=True) if way is not None
            ]
            unsure = self.narrow(parts[0], None, facts) is not None
            return _any_of(node, found, unsure or any(each.missing for each in found))
        if op == "coalesce":
            found, now = [], facts
            for part in parts:
                found.append(self.held(part, now))
                lacking = self.lacks(part, now) if found[-1].missing else None
                if lacking is None:
                    return _any_of(node, found, False)
                now = lacking
            return _any_of(node, found, True)
        truths = [truth for truth in (True, False) if self.narrow(node, truth, facts) is not None]
        return Held(spans.points(truths), self.narrow(node, None, facts) is not None)


def _nothing(node: Node) -> Any:
    return Texts(frozenset()) if node.kind == "category" else spans.NONE


def _any_of(node: Node, found: list[Held], missing: bool) -> Held:
    known = _nothing(node)
    for each in found:
        known = joined(known, each.known)
    return Held(known, missing)


def _truth(value: bool) -> Held:
    return Held(spans.points([value]), False)


def _allows(held: Held, wanted: Truth) -> bool:
    return held.missing if wanted is None else not empty(met(held.known, spans.points([wanted])))


def _texts_than(compare: str, others: Any) -> Any:
    """The texts that are equal, or unequal, to one of the others at least."""
    if empty(others) or compare == "eq":
        return others
    return but(others) if only(others) else ANY_TEXT


def _either(*ways: Facts | None) -> Facts | None:
    """What holds in all of the ways that are possible."""
    left = [way for way in ways if way is not None]
    if len(left) <= 1:
        return left[0] if left else None
    shared = left[0].keys() & set.intersection(*(set(way) for way in left[1:]))
    facts: Facts = {}
    for key in shared:
        held = left[0][key]
        for way in left[1:]:
            held = Held(joined(held.known, way[key].known), held.missing or way[key].missing)
        facts[key] = held
    return facts
