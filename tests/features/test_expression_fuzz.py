"""Hostile and odd expressions: refused with a place, or compiled to what both evaluations answer; no hang.

`make test` runs some thousands; `python -m pytest -m soak tests/features/test_expression_fuzz.py` 100,000.
"""

import random
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from features.expression import BadExpression, Expression, compile_expression
from features.foregone import never_or_always
from features.grammar import LONGEST, names_in
from features.kleene import Kind
from features.possible import outcomes

NAMES: dict[str, Kind] = {
    "a": "number",
    "spend_sum_30d": "number",
    "price": "decimal",
    "k": "category",
    "event.kind": "category",
    "event.paid": "boolean",
    "open": "boolean",
    "spend_by_kind": "family",
}
READ = {name for name, kind in NAMES.items() if kind != "family"} | {
    f"spend_by_kind[{name}]" for name, kind in NAMES.items() if kind == "category"
}
NUMBERS = ["a", "spend_sum_30d", "price", "spend_by_kind[event.kind]", "spend_by_kind[k]", "0", "1", "2.5"]
NUMBERS += ["-3", "1e3", "0x10", "7u", "9007199254740993", "12345678901234567890123", "1e299", ".5"]
LONGEST_TAKES = 2.0
"""CPU seconds that one may take, compiled, judged and evaluated; most take milliseconds."""

HOSTILE = [
    "__class__", ".__class__.__mro__", "__import__('os').system('true')", "().__class__", "eval('1')",
    "import os", "[1, 2].all(x, x > 0)", "[1].exists(x, true)", "[a].map(x, x + 1)", "[1].filter(x, true)",
    "has(a.b)", "k.matches('(a+)+$')", "k.size()", "size(k)", "k.startsWith('x')",
    "timestamp('2026-01-01T00:00:00Z')", "duration('1h')", "type(a)", "dyn(a)", "b'abc'", "b\"\\xff\"",
    "r'\\'", "'''", '"""', "null", "{1: 2}", "{", "T{a: 1}", ".a", "a.b.c", "a[0]", "a[event.kind]",
    "spend_by_kind[a]", "spend_by_kind", "k[k]", "1e400", "1e-400", "-1e308", "9" * 400, "0x" + "f" * 300,
    "0u", "1u", "07", "1_0", "1.e5", ".5e-3", "inf", "nan", "\0", "\x1b[31m", "\ufeff", "\u202e", "\ud800",
    "\u2028", "ｆ", "é", "😀", "'\\ud800'", "'\\0'", "'\\x00'", "'\\q'", "'\\a" * 30, "\\", "'", '"', "//",
    "/*", "#", "$", "`", "@", ";", "\n", "\r", "\t", "\x0b", "=", "=>", "<>", "===", "&", "|", "^", "~",
    "not", "and", "or", "is missing", "in", "in []", "in [a]", "in ['x', 1]", "in [true]", "if", "while",
    "as", "for",
]  # fmt: skip


def valid(rng: random.Random, kind: str, depth: int) -> str:
    """An expression of the kind, by the grammar."""
    deeper = depth - 1
    pick = rng.random()
    if depth > 0 and pick < 0.08:
        return f"({valid(rng, 'boolean', deeper)} ? {valid(rng, kind, deeper)} : {valid(rng, kind, deeper)})"
    if depth > 0 and pick < 0.16:
        return f"coalesce({', '.join(valid(rng, kind, deeper) for _ in range(rng.randint(2, 3)))})"
    if kind == "category":
        return rng.choice(["k", "event.kind", "'x'", "'y'", '"x"', "'\\x79'", "r'x'", "''", "'it\\'s'"])
    if kind == "number":
        if depth <= 0 or pick < 0.4:
            return rng.choice(NUMBERS)
        if pick < 0.5:
            return f"-{valid(rng, 'number', deeper)}"
        return f"({valid(rng, 'number', deeper)} {rng.choice('+-*/%')} {valid(rng, 'number', deeper)})"
    if depth <= 0:
        return rng.choice(["open", "event.paid", "true", "false"])
    if pick < 0.35:
        return f"({valid(rng, kind, deeper)} {rng.choice(['&&', '||'])} {valid(rng, kind, deeper)})"
    if pick < 0.42:
        return f"!{valid(rng, kind, 0) if rng.random() < 0.3 else '(' + valid(rng, kind, deeper) + ')'}"
    if pick < 0.5:
        return f"is_missing({valid(rng, rng.choice(['number', 'category', 'boolean']), deeper)})"
    if pick < 0.58:
        return rng.choice(
            ["(a in [1, -2.5, 0x3])", "(k in ['x', 'y'])", "(open in [true])", "(event.kind in [''])"]
        )
    of = rng.choice(["number", "number", "number", "category", "boolean"])
    signs = ["<", "<=", ">", ">=", "==", "!="] if of == "number" else ["==", "!="]
    return f"({valid(rng, of, deeper)} {rng.choice(signs)} {valid(rng, of, deeper)})"


def mutated(rng: random.Random, text: str) -> str:
    """The text with a few characters or pieces lost, doubled, swapped or put in."""
    for _ in range(rng.randint(1, 4)):
        at, to = sorted((rng.randint(0, len(text)), rng.randint(0, len(text))))
        to = min(to, at + 8)
        how = rng.randrange(5)
        if how == 0:
            text = text[:at] + text[to:]
        elif how == 1:
            text = text[:to] + text[at:to] * rng.choice([1, 2, 60]) + text[to:]
        elif how == 2:
            text = text[:at] + rng.choice(HOSTILE) + text[at:]
        elif how == 3:
            text = text[:at] + rng.choice(HOSTILE) + text[to:]
        else:
            text = text[:at] + text[at:to][::-1] + text[to:]
    return text


def soup(rng: random.Random) -> str:
    """Bytes, pieces and repetitions that make no sense."""
    how = rng.randrange(4)
    if how == 0:
        return rng.randbytes(rng.randint(0, 60)).decode(rng.choice(["latin-1", "utf-16-le"]), "replace")
    if how == 1:
        return "".join(
            rng.choice([*HOSTILE, *NAMES, " ", "(", ")", "1", ",", "?", ":", "&&", "==", "<", "!", "-"])
            for _ in range(rng.randint(1, 12))
        )
    piece = rng.choice(
        [
            *HOSTILE,
            "(",
            "[",
            "{",
            "!",
            "-",
            "open ? ",
            "a + ",
            "open || ",
            "a < ",
            "a.",
            "a[",
            "coalesce(a, ",
            "is_missing(",
        ]
    )
    times = rng.randint(1, LONGEST // max(1, len(piece)) + 3)
    return piece * times if how == 2 else f"k == '{piece * times}"


class Recorded(dict[str, Any]):
    """An environment that knows what was asked of it."""

    asked: set[str]

    def get(self, key: str, /, default: Any = None) -> Any:
        self.asked.add(key)
        return super().get(key, default)


def row(rng: random.Random) -> Recorded:
    found = Recorded()
    for name in sorted(READ):
        kind = NAMES.get(name, "number")
        pool: Mapping[str, list[Any]] = {
            "number": [0.0, 1.0, -3.0, 2.5, 1e15, 1e300, -0.5],
            "decimal": [0, 10_000, 25_000, -5],
            "category": ["x", "y", "", "it's"],
            "boolean": [True, False],
        }
        found[name] = rng.choice([None, *pool[kind]])
    found.asked = set()
    return found


def columns(rows: list[Recorded]) -> dict[str, np.ndarray]:
    found = {}
    for name in READ:
        values: list[Any] = [each[name] for each in rows]
        if NAMES.get(name, "number") in ("number", "decimal"):
            found[name] = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
        else:
            found[name] = np.array(values, dtype=object)
    return found


def agree(expression: Expression, rng: random.Random) -> None:
    """Both evaluations say the same, of what they may read, and what was called possible."""
    rows = [row(rng) for _ in range(4)]
    for name in rng.sample(sorted(READ), 3):  # as a customer's value beside those of the offers
        for each in rows[1:]:
            each[name] = rows[0][name]
    with np.errstate(all="ignore"):
        values, unknown = (np.broadcast_to(each, len(rows)) for each in expression.evaluate(columns(rows)))
        mixed = {
            name: rows[0][name] if len({repr(each[name]) for each in rows}) == 1 else column
            for name, column in columns(rows).items()
        }
        also, unsure = (np.broadcast_to(each, len(rows)) for each in expression.evaluate(mixed))
        alone = [expression.evaluate(each) for each in rows]
    told = outcomes(expression.tree, {}) if expression.kind == "boolean" else None
    for n, each in enumerate(rows):
        one = expression.one(each)
        many = None if unknown[n] else values[n]
        assert (one is None) == (many is None), (expression.text, dict(each), one, many)
        assert one == many, (expression.text, dict(each), one, many)
        assert (None if unsure[n] else also[n]) == one, (expression.text, dict(each), one, also[n])
        single, lacking = alone[n]
        assert (None if lacking else single) == one, (expression.text, dict(each), one, single, lacking)
        assert each.asked <= set(expression.names) <= READ
        assert told is None or one in told, (expression.text, dict(each), one, told)
    if told is not None:
        never_or_always(expression, {})


def pointed_at(error: BadExpression, text: str) -> None:
    """The fault has its place in the text, and says nothing that a terminal would obey."""
    assert 1 <= error.at <= len(text) + 1, text
    assert str(error).isprintable(), text
    shown, caret = error.excerpt.splitlines()
    assert shown.isprintable(), text
    assert caret.strip() == "^"


def run(seed: int, count: int) -> tuple[int, float]:
    """How many of so many expressions were understood, and the longest that one took (s)."""
    rng = random.Random(seed)
    understood, longest = 0, 0.0
    for n in range(count):
        text = valid(rng, rng.choice(["boolean", "boolean", "number", "category"]), rng.randint(0, 4))
        if n % 3 == 1:
            text = mutated(rng, text)
        elif n % 3 == 2:
            text = soup(rng)
        start = time.process_time()
        try:
            expression = compile_expression(text, NAMES)
        except BadExpression as error:
            pointed_at(error, text)
            nested = error.expected == "at most 40 levels of nesting, and terms in a chain"
            assert n % 3 or nested or len(text) > LONGEST, (text, str(error))  # noqa: PT017
        else:
            understood += 1
            agree(expression, rng)
            names_in(text)
        longest = max(longest, time.process_time() - start)
        assert longest < LONGEST_TAKES, (longest, text)
    return understood, longest


@pytest.mark.parametrize("seed", range(3))
def test_nothing_crashes_hangs_or_escapes(seed: int) -> None:
    understood, _ = run(seed, 1_000)
    assert 330 < understood < 700


@pytest.mark.soak
@pytest.mark.timeout(3_600)
def test_a_hundred_thousand_do_not_either() -> None:
    start = time.process_time()
    results = [run(seed, 10_000) for seed in range(100, 110)]
    took = time.process_time() - start
    understood, longest = sum(each[0] for each in results), max(each[1] for each in results)
    print(f"100,000 in {took:.0f} CPU s, {understood:,} understood, the longest {longest * 1e3:.0f} ms")
    assert understood > 33_000


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("k == '" + "\\a" * 900, 6),
        ('k == "' + "\\x41\\'" * 300, 6),
        ("(" * 1_990, 1_991),
        ("!" * 1_990 + "open", None),
        ("[" * 990 + "]" * 990, 1),
        ("a in [" + ", ".join(["1"] * 10_000) + "]", LONGEST + 1),
        ("a" * 1_000_000, LONGEST + 1),
        ("a > 1e400", 5),
        ("a > " + "9" * 1_900, 5),
        ("a > 0x" + "f" * 1_900, 5),
        ("a < " * 490 + "a", 1),
        ("a." * 990 + "a", 1),
        ("a" + "[a]" * 660, 1),
        ("k.matches('(a+)+$')", 1),
        ("a > 1 \x1b[2J", 7),
    ],
)
def test_hostile_ones_are_refused_at_once(text: str, place: int | None) -> None:
    start = time.process_time()
    with pytest.raises(BadExpression) as caught:
        compile_expression(text, NAMES)
    assert time.process_time() - start < LONGEST_TAKES
    assert place is None or caught.value.at == place, caught.value
