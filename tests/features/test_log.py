"""The log read as columns is what its events are, word by word."""

from collections.abc import Sequence
from typing import Any

import mmh3
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.codec import decode, encode
from events.envelope import Event, Tick
from features.batch import Batch, batch_of
from features.declare import load
from features.kernel.log import hash_bytes
from features.log import LogReader, Piece
from features.plan import Plan, compile_plan

EVENTS = """
[bought]
topic = "shop"
customer = { card = "card" }
fields = { amount = "decimal", units = "integer?", kind = "category?", gift = "boolean?", note = "text?" }

[left]
topic = "shop"
customer = { card = "card" }

[seen]
topic = "shop"
customer = { card = "card" }
fields = { page = "category" }
"""

PLAYBOOK = """
name = "log"
""" + "".join(
    f"""
[[aggregate]]
name = "a{number}"
event = "bought"
functions = ["{"count" if number < 5 else "p95"}"]
windows = ["1h"]
unit = "times"
meaning = "a number"
where = "{where}"
{more}
"""
    for number, (where, more) in enumerate(
        [
            ("kind == 'tea'", 'value = "amount"'),
            ("kind in ['tea', 'soup'] && amount > 2", 'value = "units"'),
            ("units >= 3", 'by = "kind"\nmatch = "kind"'),
            ("!is_missing(units) || gift", ""),
            ("gift && note != 'no'", ""),
            ("units >= 3", 'value = "units"'),
            ("!gift", 'value = "amount"'),
        ]
    )
)

TRIGGERS = """
[[trigger]]
name = "gone"
meaning = "left"
on = "left"
"""


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    folder = tmp_path_factory.mktemp("log")
    for name, text in {"events": EVENTS, "playbook": PLAYBOOK, "triggers": TRIGGERS}.items():
        (folder / f"{name}.toml").write_text(text)
    return compile_plan(load(folder))


whole = st.integers(-(2**63) + 1, 2**63 - 1) | st.integers(-300, 300)
texts = st.sampled_from(["", "tea", "soup", "no", "tëa", "x" * 40, "y" * 300]) | st.text(max_size=20)
odd = st.none() | st.booleans() | whole | texts | st.floats(allow_nan=False) | st.binary(max_size=5)
plain = {
    "amount": whole,
    "units": st.none() | st.integers(-10, 10),
    "kind": st.none() | texts,
    "gift": st.none() | st.booleans(),
    "note": texts,
    "more": odd | st.lists(whole, max_size=2) | st.just(2**64 - 1),
}
keyed = {"note": odd, "gift": odd, "units": st.none() | whole | st.booleans(), "kind": odd}
fields = st.one_of(
    st.fixed_dictionaries({}, optional=plain), st.fixed_dictionaries({}, optional={**plain, **keyed})
)
events = st.builds(
    Event,
    st.sampled_from(["bought", "bought", "bought", "left", "seen", "other"]),
    texts,
    st.integers(0, 2**53),
    st.sampled_from(["{001}a", "{002}b", "{003}ç", "{004}" + "d" * 40]),
    fields,
)
purchases = st.builds(
    Event,
    st.just("bought"),
    texts,
    st.integers(0, 2**53),
    st.sampled_from("ab"),
    st.fixed_dictionaries(
        {"amount": whole, "units": st.integers(-10, 10), "kind": texts, "gift": st.booleans()},
        optional={"note": texts},
    ),
)
logs = st.lists(events | st.builds(Tick, st.integers(0, 2**53)), max_size=60)


def _words(batch: Batch, plan: Plan) -> list[tuple[Any, ...]]:
    widths = {program.number: program.width for program in plan.programs.values()}
    return [
        (*row[:5], row[6], *batch.flat[row[5] : row[5] + widths[row[0]]].tolist())
        for row in batch.events.tolist()
    ]


def _alike(plan: Plan, items: Sequence[Event | Tick]) -> None:
    log = LogReader(plan).read([encode(item) for item in items])
    relevant = [n for n, each in enumerate(items) if isinstance(each, Event) and each.type in plan.programs]
    assert log.ticks() == [n for n, each in enumerate(items) if isinstance(each, Tick)]
    assert log.times.tolist() == [each.time for each in items]
    assert np.flatnonzero(log.kinds >= 0).tolist() == relevant
    for rows in (relevant, relevant[: len(relevant) // 2], relevant[len(relevant) // 2 :]):
        piece = Piece(log, np.array(rows, dtype=np.int64))
        mine: list[Any] = [items[row] for row in rows]
        assert list(piece) == mine == piece[:]
        assert [piece.customers[owner] for owner in piece.owners.tolist()] == [each.customer for each in mine]
        owners, count = piece.owners.tolist(), len(piece.customers)
        partitions, positions = [7] * len(rows), list(range(len(rows)))
        ours = batch_of(plan, piece, owners, count, partitions, positions)
        theirs = batch_of(plan, mine, owners, count, partitions, positions)
        assert ours.groups.tolist() == theirs.groups.tolist()
        assert ours.order.tolist() == theirs.order.tolist()
        numbered = [sorted(_words(each, plan), key=lambda row: row[4]) for each in (ours, theirs)]
        assert [row[:5] + row[6:] for row in numbered[0]] == [row[:5] + row[6:] for row in numbered[1]]
        assert [row[5] >= 0 for row in numbered[0]] == [row[5] >= 0 for row in numbered[1]]


@settings(max_examples=200)
@given(logs)
def test_columns_of_records_are_those_of_their_events(plan: Plan, items: list[Event | Tick]) -> None:
    _alike(plan, items)


@settings(max_examples=60)
@given(st.lists(purchases, min_size=20, max_size=60))
def test_many_plain_events_of_a_type_are_columns(plan: Plan, items: list[Event]) -> None:
    log = LogReader(plan).read([encode(item) for item in items])
    assert log.columns_of(plan.programs["bought"].number).plain
    _alike(plan, items)


@given(st.binary(max_size=70), st.integers(0, 255))
def test_hashes_are_murmur(raw: bytes, seed: int) -> None:
    found = hash_bytes(np.frombuffer(raw or b"?", dtype=np.uint8), 0, len(raw), seed)
    assert found == mmh3.hash64(raw, seed)[0]


@given(logs.filter(len), st.data())
def test_damage_is_an_error_or_what_is_left_is_read(plan: Plan, items: list[Event | Tick], data: Any) -> None:
    """A record cut short or altered anywhere never reads past its end, and never as something else."""
    raw = encode(data.draw(st.sampled_from(items)))
    at = data.draw(st.integers(0, len(raw) - 1))
    damaged = (
        raw[:at]
        if data.draw(st.booleans())
        else raw[:at] + data.draw(st.binary(min_size=1, max_size=2)) + raw[at + 1 :]
    )
    try:
        item = decode(damaged)
    except (msgspec.DecodeError, UnicodeDecodeError):
        item = None
    try:
        log = LogReader(plan).read([encode(items[0]), damaged])
        found = log.ticks()[-1:] == [1] or bool(log.kinds[1] >= 0)
    except (msgspec.DecodeError, UnicodeDecodeError):
        assert item is None
        return
    if item is None:
        return  # texts that are none: read as bytes, known as such by whoever makes an event of them
    assert log.times[1] == item.time
    assert found is (isinstance(item, Tick) or item.type in plan.programs)
    if isinstance(item, Event) and log.kinds[1] >= 0:
        assert log.customers[log.owners[1]] == item.customer
        assert log.event(1) == item


def test_a_record_with_too_little_or_too_much_is_damage(plan: Plan) -> None:
    longer = [encode(Tick(5)) + b"\0", encode(Event("bought", "1", 5, "c", {})) + b"\0"]
    for raw in (b"", b"\x96", b"\x96\xa1e", b"\x92\xa1t", *longer):
        with pytest.raises(msgspec.DecodeError):
            LogReader(plan).read([raw])
    assert len(LogReader(plan).read([])) == 0
