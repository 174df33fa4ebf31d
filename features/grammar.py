"""The syntax of conditions: CEL's own grammar, read by cel-python's parser into a tree, and its faults."""

import re
from functools import lru_cache
from typing import Any

from celpy.celparser import CELParseError, CELParser
from lark import Token, Tree

from features.bad_expression import BadExpression
from features.quoted import check_quotes

__all__ = ["BadExpression", "names_in", "parse"]

LONGEST = 2_000
"""Characters of an expression."""

REMEMBERED = 4_096
"""Expressions of which the names are kept once they were found."""

_OTHERWISE = tuple(
    (re.compile(pattern, re.IGNORECASE), hint)
    for pattern, hint in (
        (r"=", "write = twice to compare"),
        (r"<?>", "write != for not equal, >= for at least"),
        (r"and\b|&", "write && for and"),
        (r"or\b|\|", "write || for or"),
        (r"is\b", "write is_missing(x), or == to compare"),
        (r"not\b", "write !(x in [..]) for not in"),
        (r"if\b", "write condition ? a : b"),
    )
)


class _Parser(CELParser):
    """CEL's parser; it leaves true and false where they stand, so that faults of theirs have a place."""

    @staticmethod
    def ambiguous_literals(t: Token) -> Token:
        """True and false are written like names."""
        return Token.new_borrow_pos("BOOL_LIT", t.value, t) if t.value in ("true", "false") else t


@lru_cache(maxsize=2_048)
def parse(text: str) -> Any:
    """The syntax tree of the text, made once for texts read again: nobody changes a tree.

    Errors: `BadExpression`.
    """
    if len(text) > LONGEST:
        hint = "compare with a list by in, or count what it is about as an aggregate"
        raise BadExpression(text, LONGEST + 1, f"at most {LONGEST} characters", str(len(text)), hint)
    check_quotes(text)
    try:
        return _Parser().parse(text)
    except CELParseError as error:
        raise _unreadable(text, error) from None


@lru_cache(REMEMBERED)  # a playbook asks of each condition several times
def names_in(text: str) -> frozenset[str]:
    """Every name the expression speaks of, up to its first dot.

    Errors: `BadExpression`.

    >>> sorted(names_in("spend > 2 * coalesce(visits, 0) && event.store in ['a', 'b']"))
    ['event', 'spend', 'visits']
    """
    return frozenset(str(tree.children[0]) for tree in parse(text).find_data("ident"))


def without_prefix(text: str, prefix: str) -> str:
    """The expression with `prefix.` taken from before the names that have it.

    >>> without_prefix("event.amount > 2 && event.shop == 'event.x'", "event")
    "amount > 2 && shop == 'event.x'"
    """
    cuts = []
    for tree in parse(text).find_data("member_dot"):
        owner = descend(tree.children[0])
        if str(getattr(owner, "data", "")) == "ident" and str(owner.children[0]) == prefix:
            cuts.append((owner.children[0].start_pos, tree.children[1].start_pos))
    for start, end in sorted(cuts, reverse=True):
        text = text[:start] + text[end:]
    return text


def _unreadable(text: str, error: CELParseError) -> BadExpression:
    """The parser's complaint, with the words for what other languages write so."""
    token = getattr(error.__context__, "token", None)
    if token is not None and token.type == "$END":
        return BadExpression(text, len(text) + 1, "the rest of an expression", "the end")
    place = getattr(error.__context__, "pos_in_stream", None) or 0
    found = text[place : place + 12]
    for pattern, hint in _OTHERWISE:
        if pattern.match(text, place):
            return BadExpression(text, place + 1, "an expression", found, hint)
    return BadExpression(text, place + 1, "an expression", found or "the end")


def descend(tree: Any) -> Any:
    """Skip the grammar's levels that hold nothing but one deeper level."""
    while (
        isinstance(tree, Tree)
        and len(tree.children) == 1
        and isinstance(tree.children[0], Tree)
        and str(tree.data) not in ("paren_expr", "list_lit", "member_dot", "member_index", "ident_arg")
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
