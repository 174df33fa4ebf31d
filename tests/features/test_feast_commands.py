"""Commands packed column by column are those that redis-py would send, one after the other."""

from hypothesis import given
from hypothesis import strategies as st

from events.redis_wire import pack
from features.feast_commands import Commands, encode_timestamp
from features.feast_store import (
    TS_FIELD,
    decode_blob_value,
    decode_blob_values,
    encode_blob_value,
    feast_key,
    field_of,
)
from features.store import Values

FIELDS = (field_of("customer_state", "blob"), field_of("customer_state", "more"))

customers = st.text("{}0123456789abcé", min_size=1, max_size=20)
blobs = st.one_of(
    st.binary(max_size=40), st.sampled_from([126, 127, 128, 129, 130, 16_383, 16_384, 70_000]).map(bytes)
)
values = st.one_of(blobs, st.tuples(st.none() | blobs), st.tuples(st.none() | blobs, st.none() | blobs))
instants = st.one_of(st.integers(-5, 5_000), st.integers(0, 253_402_300_800_000))
rows = st.lists(st.tuples(customers, values, instants), min_size=1, max_size=12)


def plainly(rows: list[tuple[str, Values, int]]) -> bytes:
    """The same, command by command."""
    commands = []
    for customer, told, newest in rows:
        each = (told,) if isinstance(told, bytes) else told
        words = [
            word
            for field, value in zip(FIELDS, each, strict=False)
            if value is not None
            for word in (field, encode_blob_value(value))
        ]
        instant = encode_timestamp(max(0, newest))
        commands.append(pack("HSET", feast_key("kairos", customer), *words, TS_FIELD, instant))
    return b"".join(commands)


@given(rows)
def test_writes_are_packed_as_one_by_one(rows: list[tuple[str, Values, int]]) -> None:
    assert b"".join(Commands("kairos", FIELDS, TS_FIELD).writes(rows)) == plainly(rows)


@given(st.lists(customers, max_size=12))
def test_reads_are_packed_as_one_by_one(names: list[str]) -> None:
    for fields in (FIELDS, FIELDS[:1]):
        one_by_one = [pack("HMGET", feast_key("kairos", name), *fields) for name in names]
        assert b"".join(Commands("kairos", fields, TS_FIELD).reads(names)) == b"".join(one_by_one)


def test_many_are_packed_in_pieces_that_lose_none() -> None:
    many: list[tuple[str, Values, int]] = [(f"{{000}}{n}", b"x" * (n % 300), n) for n in range(1_500)]
    commands = Commands("kairos", FIELDS, TS_FIELD)
    assert len(list(commands.writes(many))) > 1
    assert b"".join(commands.writes(many)) == plainly(many)
    names = [name for name, _, _ in many]
    assert b"".join(commands.reads(names)).count(b"HMGET") == len(names)


@given(st.lists(st.none() | blobs.map(encode_blob_value), max_size=8))
def test_values_are_read_together_as_one_by_one(found: list[bytes | None]) -> None:
    assert decode_blob_values(found) == [decode_blob_value(value) for value in found]
