"""Reading one `[[ratio]]` of a playbook, every fault noted."""

from collections.abc import Collection, Mapping

from events.faults import did_you_mean
from features.duration import render_duration
from features.feature import Derived, Feature
from features.table import Table


def read_ratio(table: Table, known: Mapping[str, Feature], ratios: Collection[str]) -> Feature | None:
    """The ratio as a feature, None when it divides what is not there; `known` are the others by name.

    Divided is what is stored: a ratio (`ratios` names all), a share or a trend cannot be divided again, so
    that nothing is circular.
    """
    name = table.identifier("name")
    table.name = f"[[ratio]] {name}" if name else table.name
    plain = {each: feature for each, feature in known.items() if feature.derived is None}
    made = {each: feature.function for each, feature in known.items() if feature.derived is not None}
    made |= dict.fromkeys(ratios, "ratio")
    numerator, denominator = (_divided(table, key, plain, made) for key in ("numerator", "denominator"))
    if numerator and denominator and denominator.match not in (None, numerator.match):
        table.fault(
            "denominator",
            _agreeing(numerator),
            f"{denominator.name}, whose key is picked by {denominator.match}",
            "divide features of one family, or a family by a feature of the customer's row",
        )
    tightest = min((each.freshness_ms for each in (numerator, denominator) if each), default=0)
    unit, meaning = table.text("unit"), table.text("meaning")
    default = table.number("default") if table.has("default") else float("nan")
    freshness = table.duration("freshness", render_duration(tightest)) if tightest else 0
    if not tightest:
        table.has("freshness")
    table.done()
    if numerator is None or denominator is None:
        return None
    return Feature(
        name,
        unit,
        meaning,
        name,
        "ratio",
        None,
        None,
        default,
        freshness,
        numerator.match,
        numerator.of,
        Derived(numerator.name, denominator.name, 1.0),
    )


def _divided(table: Table, key: str, plain: Mapping[str, Feature], made: Mapping[str, str]) -> Feature | None:
    written = table.text(key)
    if written in made:
        what = "this ratio itself" if written == table.raw.get("name") else f"a {made[written]}"
        hint = "a ratio divides what is stored: counts, sums, means, never a ratio, a share or a trend"
        table.fault(key, "a stored feature", f"{written}, {what}", hint)
    elif written and written not in plain:
        table.fault(key, "the name of a feature", repr(written), did_you_mean(written, plain))
    return plain.get(written)


def _agreeing(numerator: Feature) -> str:
    if numerator.match is None:
        return f"a feature of the customer's row, as {numerator.name} is"
    return f"a feature keyed by {numerator.match}, as {numerator.name} is, or one of the customer's row"
