"""The wide playbook: a thousand features of five domains, written the same every time for the benchmarks.

`python -m kairos.bench.wide` writes it to `playbooks/wide`; what is committed there is what it writes.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from kairos.bench import wide_world as world
from kairos.bench import wide_written as written
from kairos.bench.wide_aggregates import DOMAINS, RATIOS, Asked, Divided

FOLDER = Path(__file__).parents[2] / "playbooks" / "wide"

_NOTE = "# Written by `python -m kairos.bench.wide`: change that, not this.\n"


def files() -> dict[str, str]:
    """Every file of the playbook by its name."""
    return {
        "events.toml": _NOTE + written.EVENTS,
        "playbook.toml": _NOTE + written.PLAYBOOK + _aggregates() + "".join(_ratios(each) for each in RATIOS),
        "triggers.toml": _NOTE + written.TRIGGERS,
        "offers.toml": _NOTE + written.OFFERS + "".join(map(_offer, range(len(world.OFFERS)))),
    }


def write(folder: Path) -> None:
    """Write the playbook to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files().items():
        (folder / name).write_text(text, encoding="utf-8")


def _aggregates() -> str:
    parts = []
    for event, aggregates in DOMAINS.items():
        parts.append(f"\n# ---- {event} {'-' * (108 - len(event))}\n")
        parts += [_aggregate(event, each) for each in aggregates]
    return "".join(parts)


def _aggregate(event: str, asked: Asked) -> str:
    """One aggregate; a time since is 400 days, and a mean or a most 0, where nothing has happened."""
    lines: dict[str, str] = {"name": _text(asked.name), "event": _text(event)}
    pair = asked.match == "offer"
    if pair:
        lines["of"] = _list(["customer", "offer"])
    for key, value in (("value", asked.value), ("where", asked.where), ("by", asked.by)):
        if value:
            lines[key] = _text(value)
    if asked.match and not pair:
        lines["match"] = _text(asked.match)
    if asked.keys:
        lines["keys"] = str(asked.keys)
    lines["functions"] = _list(asked.functions.split())
    for key, lengths in (("windows", asked.windows), ("half_lives", asked.half_lives)):
        if lengths:
            lines[key] = _list(lengths.split())
    if asked.ever:
        lines["ever"] = "true"
    if asked.trends:
        pairs = [_list(pair.split("/")) for pair in asked.trends.split()]
        lines["trends"] = f"[{', '.join(pairs)}]"
    lines |= {"unit": _text(asked.unit), "meaning": _text(asked.meaning)}
    empty = {"mean": 0, "min": 0, "max": 0, "last": 0, "since_last": 400, "since_first": 0, "share": 0}
    defaults = [f"{each} = {empty[each]}" for each in asked.functions.split() if each in empty]
    defaults += ["trend = 1"] if asked.trends else []
    if defaults:
        lines["default"] = f"{{ {', '.join(defaults)} }}"
    return _block("aggregate", lines)


def _ratios(divided: Divided) -> str:
    return "".join(
        _block(
            "ratio",
            {
                "name": _text(f"{divided.name}_{window}"),
                "numerator": _text(f"{divided.numerator}_{window}"),
                "denominator": _text(f"{divided.denominator}_{window}"),
                "unit": _text(divided.unit),
                "meaning": _text(f"{divided.meaning}, over {window}"),
                "default": "0",
            },
        )
        for window in divided.windows.split()
    )


def _offer(number: int) -> str:
    """One of the offers; strides that divide no list's length spread them over all values."""
    attributes = {
        "category": world.CATEGORIES[number * 7 % len(world.CATEGORIES)],
        "merchant": world.MERCHANTS[number * 7 % len(world.MERCHANTS)],
        "merchant_type": world.MERCHANT_TYPES[number * 7 % len(world.MERCHANT_TYPES)],
        "topic": world.TOPICS[number * 7 % len(world.TOPICS)],
        "reason": world.REASONS[number * 3 % len(world.REASONS)],
    }
    inner = [f"{key} = {_text(value)}" for key, value in attributes.items()]
    inner += [f"price = {5 + number % 40}", f"percent = {5 * (1 + number % 8)}"]
    lines = {
        "id": _text(world.OFFERS[number]),
        "name": _text(f"Deal {number}"),
        "group": _text("deal"),
        "value": str(1 + number % 5),
        "attributes": f"{{ {', '.join(inner)} }}",
    }
    return _block("offer", lines)


def _block(head: str, lines: Mapping[str, str]) -> str:
    return "\n".join([f"\n[[{head}]]", *(f"{key} = {value}" for key, value in lines.items()), ""])


def _text(value: str) -> str:
    return f'"{value}"'


def _list(values: Iterable[str]) -> str:
    return f"[{', '.join(map(_text, values))}]"


def main(argv: Sequence[str] | None = None) -> int:
    """Write the playbook to the folder given, or to where it is committed."""
    given = sys.argv[1:] if argv is None else argv
    folder = Path(given[0]) if given else FOLDER
    write(folder)
    print(f"written to {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
