"""The store against a real server."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from features.feast_store import (
    RedisStateStore,
    decode_blob_value,
    encode_blob_value,
    encode_timestamp,
    feast_key,
)
from features.store import StateStore
from kairos.local import Server, free_port, start_redis


@pytest.fixture
def store(redis_server: Server) -> Iterator[RedisStateStore]:
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    found = RedisStateStore(redis_server.url, "kairos")
    yield found
    found.close()


def test_states_come_back_in_order_and_unknown_ones_as_none(store: RedisStateStore) -> None:
    port: StateStore = store
    blobs = [b"", b"x", bytes(range(256)) * 40]
    port.write_many([(f"{{00{n}}}c", blob, 1_500_000_000_123 + n) for n, blob in enumerate(blobs)])
    assert port.read_many(["{002}c", "{009}nobody", "{000}c", "{001}c"]) == [blobs[2], None, b"", b"x"]
    port.write_many([("{001}c", b"later", 1)])
    assert port.read_many(["{001}c"]) == [b"later"]
    assert port.read_many([]) == []
    port.write_many([])


def test_watermarks_and_wakes(store: RedisStateStore) -> None:
    assert store.watermarks() == {}
    store.set_watermark(0, 5)
    store.set_watermark(1, 7)
    store.set_watermark(0, 6)
    assert store.watermarks() == {0: 6, 1: 7}
    store.set_wakes(0, {"{001}a": 30, "{002}b": 10, "{003}c": 20, "{004}d": None})
    store.set_wakes(1, {"{005}e": 1})
    assert store.due(0, 20) == ["{002}b", "{003}c"]
    store.set_wakes(0, {"{002}b": None, "{003}c": 40})
    assert store.due(0, 30) == ["{001}a"]
    assert store.due(2, 30) == []
    store.set_wakes(0, {})


def test_a_dead_server_fails_at_once() -> None:
    store = RedisStateStore(f"redis://127.0.0.1:{free_port()}", "kairos")
    with pytest.raises(redis.ConnectionError):
        store.read_many(["{001}a"])


def test_values_of_another_kind_are_refused() -> None:
    for value in (b"\x12\x01x", encode_blob_value(b"abc")[:-1], encode_blob_value(b"abc") + b"\0"):
        with pytest.raises(ValueError, match="expected a bytes value"):
            decode_blob_value(value)
    assert decode_blob_value(None) is None
    assert decode_blob_value(encode_blob_value(bytes(300))) == bytes(300)


def test_bytes_are_those_that_feast_writes() -> None:
    from feast.infra.key_encoding_utils import serialize_entity_key
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value
    from google.protobuf.timestamp_pb2 import Timestamp

    import features.feast_objects  # noqa: F401  # silences Feast's own deprecations as it enters

    for blob in (b"x", bytes(127), bytes(128), bytes(20_000)):
        assert encode_blob_value(blob) == Value(bytes_val=blob).SerializeToString()
    for ms in (0, 1, 999, 1_000, 1_500_000_000_123):
        stamp = Timestamp(seconds=ms // 1000, nanos=ms % 1000 * 1_000_000)
        assert encode_timestamp(ms) == stamp.SerializeToString()
    key = EntityKey(join_keys=["customer_id"], entity_values=[Value(string_val="{007}abc")])
    assert feast_key("kairos", "{007}abc") == serialize_entity_key(key, 3) + b"kairos"


def test_a_server_that_came_back_is_found_again_and_a_refusal_is_told(tmp_path: Path) -> None:
    server = start_redis(tmp_path, durable=True)
    store = RedisStateStore(f"{server.url}?client_name=holder-1", "kairos")
    store.write_many([("{001}a", b"x", 1)])
    with redis.Redis.from_url(server.url) as client:
        assert "holder-1" in {each["name"] for each in client.client_list()}
        client.client_kill_filter(_type="normal", skipme=True)
        assert store.read_many(["{001}a"]) == [b"x"], "on a new line, by itself"
        client.set(feast_key("kairos", "{002}b"), "no hash")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        store.write_many([("{001}a", b"y", 1), ("{002}b", b"y", 1)])
    assert store.read_many(["{001}a"]) == [b"y"], "the others' replies were read all the same"
    server.kill()
    with pytest.raises(redis.ConnectionError):
        store.read_many(["{001}a"])
    store.close()
