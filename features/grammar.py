"""The syntax of conditions: CEL's own grammar, read by cel-python's parser into a tree, and its faults."""

from typing import Any

from celpy.celparser import CELParseError, CELParser
from lark import Token, Tree

LONGEST = 2_000
"""Characters of an expression."""


class BadExpression(Exception):
    """An expression cannot be understood: at which character (from 1), what was expected, what was found."""

    def __init__(self, text: str, at: int, expected: str, found: str, hint: str = "") -> None:
        self.text, self.at, self.expected, self.found, self.hint = text, at, expected, found, hint
        more = f"; {hint}" if hint else ""
        super().__init__(f"character {at} of {text!r}: expected {expected}, found {found}{more}")


def parse(text: str) -> Any:
    """The syntax tree of the text.

    Errors: `BadExpression`.
    """
    if len(text) > LONGEST:
        raise BadExpression(text[:40] + "...", 1, f"at most {LONGEST} characters", str(len(text)))
    try:
        return CELParser().parse(text)
    except CELParseError as error:
        raise _unreadable(text, error) from None


def names_in(text: str) -> set[str]:
    """Every name the expression speaks of, up to its first dot.

    Errors: `BadExpression`.

    >>> sorted(names_in("spend > 2 * coalesce(visits, 0) && event.store in ['a', 'b']"))
    ['event', 'spend', 'visits']
    """
    return {str(tree.children[0]) for tree in parse(text).find_data("ident")}


def _unreadable(text: str, error: CELParseError) -> BadExpression:
    """The parser's complaint, said with a character of the whole text; it counts lines and columns from 1."""
    token = getattr(error.__context__, "token", None)
    if token is not None and token.type == "$END":
        return BadExpression(text, len(text) + 1, "the rest of an expression", "the end")
    lines = text.splitlines(keepends=True)
    at = sum(map(len, lines[: max(0, (error.line or 1) - 1)])) + max(1, error.column or 1)
    found = text[at - 1 : at + 11]
    hint = "write = twice to compare" if found.startswith("=") else ""
    return BadExpression(text, at, "an expression", found or "the end", hint)


def descend(tree: Any) -> Any:
    """Skip the grammar's levels that hold nothing but one deeper level."""
    while (
        isinstance(tree, Tree)
        and len(tree.children) == 1
        and isinstance(tree.children[0], Tree)
        and str(tree.data) not in ("paren_expr", "list_lit", "member_dot", "ident_arg")
    ):
        tree = tree.children[0]
    return tree


def dotted(tree: Any) -> str | None:
    """`a.b.c` as one name, or None when the tree is anything else."""
    parts: list[str] = []
    tree = descend(tree)
    while isinstance(tree, Tree) and str(tree.data) == "member_dot":
        parts.append(str(tree.children[1]))
        tree = descend(tree.children[0])
    if not isinstance(tree, Tree) or str(tree.data) != "ident" or not isinstance(tree.children[0], Token):
        return None
    return ".".join([str(tree.children[0]), *reversed(parts)])
