"""Conditions of triggers over single values, understood once more by Python's own parser: slow and plain.

`&&`, `||` and `!` are rewritten to Python's words (a `!` needs brackets around what it denies); None is
unknown, in Kleene's sense.
"""

import ast
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

Env = Callable[[str], Any]
"""The value of a name: a feature, `event.FIELD`, or `FAMILY[event.FIELD]`; None when unknown."""

_COMPARE: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.In: lambda value, among: value in among,
}
_COMPUTE: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
}


def value_of(text: str, env: Env) -> Any:
    """What the expression is; None when that is unknown."""
    return _value(_tree(text), env)


def names_of(text: str | None) -> list[str]:
    """The names it reads, as `Env` is asked for them."""
    names: list[str] = []

    def note(name: str) -> None:
        names.append(name)

    if text is not None:
        _walk(_tree(text), note)
    return names


def _tree(text: str) -> ast.expr:
    words = text.replace("&&", " and ").replace("||", " or ")
    words = re.sub(r"!(?!=)", " not ", words)
    words = re.sub(r"\btrue\b", "True", re.sub(r"\bfalse\b", "False", words))
    return ast.parse(words.strip(), mode="eval").body


def _walk(tree: ast.AST, note: Callable[[str], None]) -> None:
    if isinstance(tree, ast.Name | ast.Attribute | ast.Subscript):
        note(ast.unparse(tree))
        return
    for child in ast.iter_child_nodes(tree):
        if not (isinstance(tree, ast.Call) and child is tree.func):
            _walk(child, note)


def _value(tree: ast.expr, env: Env) -> Any:
    match tree:
        case ast.Name() | ast.Attribute() | ast.Subscript():
            return env(ast.unparse(tree))
        case ast.Constant():
            return tree.value
        case ast.List():
            return [_value(each, env) for each in tree.elts]
        case ast.UnaryOp(op=ast.Not()):
            inner = _value(tree.operand, env)
            return None if inner is None else not inner
        case ast.UnaryOp(op=ast.USub()):
            inner = _value(tree.operand, env)
            return None if inner is None else -inner
        case ast.BoolOp():
            return _joined([_value(each, env) for each in tree.values], isinstance(tree.op, ast.Or))
        case ast.Compare(ops=[how], comparators=[right]):
            return _known(_COMPARE[type(how)], _value(tree.left, env), _value(right, env))
        case ast.BinOp():
            left, right = _value(tree.left, env), _value(tree.right, env)
            if isinstance(tree.op, ast.Div | ast.Mod) and right == 0:
                return None
            return _known(_COMPUTE[type(tree.op)], left, right)
        case ast.Call(func=ast.Name(id="is_missing"), args=[only]):
            return _value(only, env) is None
        case ast.Call(func=ast.Name(id="coalesce")):
            values = [_value(each, env) for each in tree.args]
            return next((value for value in values if value is not None), None)
    raise ValueError(f"{ast.unparse(tree)}: no part of the language that the oracle knows")


def _joined(values: list[Any], decided_by: bool) -> bool | None:
    if decided_by in values:
        return decided_by
    return None if None in values else not decided_by


def _known(of: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
    return None if left is None or right is None else of(left, right)
