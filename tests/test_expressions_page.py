"""Every line of docs/expressions.md is so: values, refusals, truth tables, and what check prints."""

import ast
import math
import re
from pathlib import Path
from typing import Any

import pytest

from events.faults import Fault, PlaybookRefused
from features import spans
from features.declare_fields import check_condition
from features.expression import DEEPEST, BadExpression, compile_expression
from features.foregone import never_or_always
from features.grammar import LONGEST
from features.kleene import DECIMAL, Kind
from features.ranges import Held
from features.table import File

PAGE = (Path(__file__).parent.parent / "docs" / "expressions.md").read_text()
KINDS: dict[str, Kind] = {}
ROW: dict[str, Any] = {}
for name, kind, holds in re.findall(r"^\| `([\w.]+)` \| (\w+) \| (.*) \|$", PAGE, re.MULTILINE):
    KINDS[name] = kind
    if kind == "family":
        value, key = holds.replace("`", "").split(" at ")
        ROW |= {
            f"{name}[{field}]": float(value) for field in ("event.kind",) if ROW.get(field, key.strip("'"))
        }
    elif holds != "missing":
        plain = ast.literal_eval(holds.capitalize() if kind == "boolean" else holds)
        ROW[name] = round(plain * DECIMAL) if kind == "decimal" else plain
LINE = re.compile(r"(.+?) +// (.+)")


def lines(block: str) -> list[tuple[str, str]]:
    found = "".join(re.findall(rf"```{block}\n(.*?)```", PAGE, re.DOTALL)).splitlines()
    pairs = [LINE.fullmatch(line) for line in found]
    assert pairs
    assert all(pairs)
    return [(pair[1], pair[2]) for pair in pairs if pair]


@pytest.mark.parametrize(("text", "told"), lines("cel"))
def test_examples_come_to_what_is_told(text: str, told: str) -> None:
    expression = compile_expression(f"{text}  // {told}", KINDS)
    value = expression.one(ROW)
    word = re.split(r": |$", told, maxsplit=1)[0]
    assert value == {"true": True, "false": False, "unknown": None}.get(
        word, word.strip("'") if "'" in word else value
    )
    if word not in ("true", "false", "unknown") and "'" not in word:
        assert value == float(word)
    values, unknown = expression.evaluate(ROW)
    assert bool(unknown) == (value is None)
    assert value is None or values == value


def test_every_operator_and_function_has_an_example() -> None:
    examples = " ".join(text for text, _ in lines("cel"))
    table = PAGE.split("| operator |")[1].split("\n\n")[0].replace("&#124;", "|")
    told = {
        "-",
        "!",
        "*",
        "/",
        "%",
        "+",
        "<",
        "<=",
        ">",
        ">=",
        "==",
        "!=",
        "&&",
        "||",
        "in ",
        "is_missing(",
        "coalesce(",
    }
    for operator in told:
        assert operator in table, operator
        assert operator in examples, operator


def test_the_truth_tables() -> None:
    truths: dict[str, bool | None] = {"T": True, "F": False, "U": None}
    rows = re.findall(r"^\| \*\*(\w)\*\* \|(.*)\|$", PAGE, re.MULTILINE)
    assert len(rows) == 3
    for left, rest in rows:
        cells = re.findall(r"\b([TFU])\b", rest)
        assert cells[3] == left
        for n, right in enumerate("TFU"):
            env = {"a": truths[left], "b": truths[right]}
            for operator, cell in (("&&", cells[n]), ("||", cells[4 + n])):
                one = compile_expression(f"a {operator} b", {"a": "boolean", "b": "boolean"}).one(env)
                assert one is truths[cell], (left, operator, right)


@pytest.mark.parametrize(("text", "told"), lines("refused"))
def test_what_is_refused(text: str, told: str) -> None:
    with pytest.raises(BadExpression, match=re.escape(told)):
        compile_expression(text, KINDS)


@pytest.mark.parametrize(("text", "told"), lines("foregone"))
def test_what_is_foregone(text: str, told: str) -> None:
    ranges = {"visits_count_7d": Held(spans.between(0, math.inf))}
    fault = never_or_always(compile_expression(text, KINDS), ranges)
    assert fault is not None
    assert told in str(fault)


def test_the_printed_fault(tmp_path: Path) -> None:
    (written,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (printed,) = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "triggers.toml").write_text(written)
    faults: list[Fault] = []
    (table,) = File(tmp_path, "triggers.toml", faults).tables("trigger")
    table.name = f"[[trigger]] {table.identifier('name')}"
    check_condition(table, "when", table.text("when"), KINDS)
    assert str(PlaybookRefused(faults)).replace(f"{tmp_path}/", "") == printed.rstrip("\n")


def test_the_foregone_is_noted_at_its_place(tmp_path: Path) -> None:
    (tmp_path / "triggers.toml").write_text('[[trigger]]\nwhen = "event.member && visits_count_7d < 0"\n')
    faults: list[Fault] = []
    (table,) = File(tmp_path, "triggers.toml", faults).tables("trigger")
    ranges = {"visits_count_7d": Held(spans.between(0, math.inf))}
    assert check_condition(table, "when", table.text("when"), KINDS) is not None
    assert check_condition(table, "when", table.text("when"), KINDS, ranges) is None
    (fault,) = faults
    assert fault.place == "line 2: [[trigger]].when, character 17"
    assert fault.excerpt.splitlines()[1] == " " * 16 + "^"


def test_the_bounds_are_those_of_the_code() -> None:
    assert f"{LONGEST:,} characters; {DEEPEST} levels" in PAGE
