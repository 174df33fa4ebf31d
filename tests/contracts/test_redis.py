"""The simulated Redis of `kairos.dst` answers as a real one does, whatever the code asks of it."""

import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from events.redis_wire import Refused, Wire, pack
from kairos.dst.keyspace import Keyspace
from kairos.dst.life import Undisturbed
from kairos.dst.redis_clients import SimulatedWire, client
from kairos.dst.redis_server import Server as Simulated
from kairos.dst.scripts import TWINS
from kairos.local import Server
from serving import ledger, push
from stream import lease

Words = tuple[str | bytes | int, ...]
KEYS, FIELDS = ("a", "b", "c"), ("f", "g", "h")


class Both(NamedTuple):
    """A raw connection to each: the real one and the simulated one, both empty."""

    real: Wire
    simulated: Wire

    def say(self, *words: str | bytes | int) -> tuple[Any, Any]:
        """What both answer."""
        real, simulated = (_plain(wire.ask(pack(*words))[0]) for wire in self)
        return real, simulated

    @property
    def server(self) -> Simulated:
        """The simulated server."""
        socket: Any = self.simulated._socket
        found: Simulated = socket.server
        return found

    def fill(self, full: bool) -> None:
        """Let both be full, or no longer."""
        self.real.ask(pack("CONFIG", "SET", "maxmemory", int(full)))
        self.server.keys.full = full


def _plain(reply: Any) -> Any:
    """A refusal's kind is what code may look at; its words differ from one server to the next."""
    if isinstance(reply, Refused):
        return "refused", str(reply).split(" ")[0]
    return [_plain(each) for each in reply] if isinstance(reply, list) else reply


def simulated() -> Simulated:
    return Simulated(Keyspace(lambda: int(time.monotonic() * 1_000)))


LIFE = Undisturbed(time.monotonic, time.sleep)


@pytest.fixture
def both(redis_server: Server) -> Iterator[Both]:
    found = Both(Wire(redis_server.url, 5.0), SimulatedWire(simulated(), LIFE, "redis://simulated", 5.0))
    found.say("FLUSHALL")
    yield found
    found.fill(False)
    for wire in found:
        wire.close()


key = st.sampled_from(KEYS)
field = st.sampled_from(FIELDS)
value = st.sampled_from(("0", "7", "-3", "x", ""))
number = st.integers(-3, 3)
score = st.sampled_from((-1, 0, 5, 1_800_000_000_000))
COMMANDS = st.one_of(
    st.tuples(st.just("GET"), key),
    st.tuples(st.just("SET"), key, value),
    st.tuples(st.just("SET"), key, value, st.just("NX"), st.just("GET")),
    st.tuples(st.just("SET"), key, value, st.just("NX")),
    st.tuples(st.just("SET"), key, value, st.just("EX"), st.sampled_from((0, 100))),
    st.tuples(st.just("SET"), key, value, st.just("PX"), st.just(100_000)),
    st.tuples(st.just("SET"), key, value, st.just("WHAT")),
    st.tuples(st.just("MSET"), key, value, key, value),
    st.tuples(st.just("DEL"), key, key),
    st.tuples(st.just("EXISTS"), key, key),
    st.tuples(st.just("EXPIRE"), key, st.just(100)),
    st.tuples(st.just("HSET"), key, field, value, field, value),
    st.tuples(st.just("HSET"), key, field),
    st.tuples(st.just("HGET"), key, field),
    st.tuples(st.just("HMGET"), key, field, field),
    st.tuples(st.just("HGETALL"), key),
    st.tuples(st.just("HKEYS"), key),
    st.tuples(st.just("HVALS"), key),
    st.tuples(st.just("HLEN"), key),
    st.tuples(st.just("HDEL"), key, field, field),
    st.tuples(st.just("HINCRBY"), key, field, number),
    st.tuples(st.just("ZADD"), key, score, field, score, field),
    st.tuples(st.just("ZREM"), key, field, field),
    st.tuples(st.just("ZSCORE"), key, field),
    st.tuples(st.just("ZRANGEBYSCORE"), key, st.sampled_from(("-inf", 0)), st.sampled_from((5, "+inf", "x"))),
    st.tuples(st.just("SADD"), key, field, field),
    st.tuples(st.just("SISMEMBER"), key, field),
    st.tuples(st.just("RPUSH"), key, field, value),
    st.tuples(st.just("LRANGE"), key, number, number),
    st.tuples(st.just("LTRIM"), key, number, number),
    st.tuples(st.just("PING")),
    st.tuples(st.just("PTTL"), st.just("never")),
    st.tuples(st.sampled_from(("MULTI", "EXEC", "DISCARD"))),
    st.tuples(st.just("NOSUCHCOMMAND"), key),
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(commands=st.lists(COMMANDS, max_size=40), full_at=st.integers(0, 80))
def test_every_command_is_answered_alike(both: Both, commands: Sequence[Words], full_at: int) -> None:
    both.say("DISCARD")
    both.fill(False)
    both.say("FLUSHALL")
    queueing = False
    for number, words in enumerate(commands):
        if number == full_at and not queueing:
            both.fill(True)
        real, ours = both.say(*words)
        assert ours == real, words
        queueing = (queueing or words[0] == "MULTI") and words[0] not in ("EXEC", "DISCARD")


ARGUMENTS: dict[bytes, tuple[Words, Words]] = {
    ledger.RECORD: (("a", "b", "h"), ("me", "record", "decision", "100")),
    push._HOLD: (("a",), ("me", "10000")),
    push._LET_GO: (("a",), ("me",)),
    lease._TAKE.encode(): (("lasts", "a", "b"), ("me", "10000")),
    lease._DROP.encode(): (("a", "b"), ("me",)),
}
"""The keys and arguments of each script."""


@pytest.mark.parametrize("script", TWINS, ids=lambda text: str(text.strip()[:40]))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    before=st.lists(st.tuples(key, st.sampled_from(("me", "other"))), max_size=2),
    last=st.sampled_from((None, "me", "other")),
    again=st.sampled_from(("0", "1")),
    times=st.integers(1, 2),
)
def test_a_scripts_twin_does_what_the_script_does(
    both: Both, script: bytes, before: Sequence[tuple[str, str]], last: str | None, again: str, times: int
) -> None:
    both.say("FLUSHALL")
    for name, owner in before:
        both.say("SET", name, owner)
    if last is not None:
        both.say("HSET", "lasts", "a", last)
    keys, given = ARGUMENTS[script]
    given = (*given, again) if script == lease._TAKE.encode() else given
    for _ in range(times):
        real, ours = both.say("EVAL", script, len(keys), *keys, *given)
        assert ours == real
    for name in ("a", "b"):
        real, ours = both.say("GET", name)
        assert ours == real
    for name in ("lasts", "h"):
        real, ours = both.say("HGETALL", name)
        assert ours == real


def test_a_script_is_known_by_its_hash_once_it_was_shown(both: Both) -> None:
    both.real.ask(pack("SCRIPT", "FLUSH"))
    rest: Words = (3, "{1}a", "{1}b", "{1}c", "answer", "record", "d", 100)
    assert both.say("EVALSHA", ledger._SHA, *rest) == (("refused", "NOSCRIPT"),) * 2
    assert both.say("EVAL", ledger.RECORD, *rest) == (None, None)
    assert both.say("EVALSHA", ledger._SHA, *rest) == (b"answer", b"answer")


def test_a_script_that_a_full_redis_refuses_writes_nothing(both: Both) -> None:
    both.fill(True)
    rest: Words = (3, "{1}a", "{1}b", "{1}c", "answer", "record", "d", 100)
    assert both.say("EVAL", ledger.RECORD, *rest) == (("refused", "OOM"),) * 2
    assert both.say("EXISTS", "{1}a", "{1}b", "{1}c") == (0, 0)


def test_what_has_a_lifetime_is_gone_when_it_is_over(both: Both) -> None:
    both.say("SET", "a", "1", "PX", 60)
    both.say("HSET", "b", "f", "1")
    assert both.say("EXISTS", "a") == (1, 1)
    time.sleep(0.1)
    assert both.say("GET", "a") == (None, None)
    assert both.say("EXISTS", "a", "b") == (1, 1)
    assert both.say("PTTL", "b") == (-1, -1)


@pytest.fixture(params=["simulated", "real"])
def python(request: pytest.FixtureRequest, redis_server: Server) -> Iterator["redis.Redis"]:
    """redis-py on either."""
    found = client(simulated(), LIFE, "one") if request.param == "simulated" else None
    found = found or redis.Redis(port=redis_server.port, client_name="one")
    found.flushall()
    yield found
    found.close()


def test_redis_py_finds_its_types(python: "redis.Redis") -> None:
    python.hset("h", mapping={"a": 1, "b": b"x"})
    python.zadd("z", {"late": 9, "soon": 2})
    assert python.hgetall("h") == {b"a": b"1", b"b": b"x"}
    assert python.zrangebyscore("z", "-inf", 5) == [b"soon"]
    assert python.set("s", "1", nx=True, get=True) is None
    assert python.set("s", "2", nx=True, get=True) == b"1"
    assert python.sismember("none", "x") in (0, False)
    assert python.get("none") is None
    assert python.ping()


def test_a_transaction_happens_whole_and_a_pipeline_command_by_command(python: "redis.Redis") -> None:
    python.set("s", "text")
    transaction = python.pipeline(transaction=True)
    transaction.set("t", "1")
    transaction.hset("s", "f", "1")
    transaction.set("u", "1")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        transaction.execute()
    assert [python.get("t"), python.get("u")] == [b"1", b"1"], "a refused command takes no other back"
    plain = python.pipeline(transaction=False)
    plain.get("s")
    plain.hset("s", "f", "1")
    plain.set("v", "1")
    answers = plain.execute(raise_on_error=False)
    assert answers[0] == b"text"
    assert isinstance(answers[1], redis.ResponseError)
    assert answers[2] is True


def test_whose_connection_is_ended_is_told(both: Both, redis_server: Server) -> None:
    victims = Both(Wire(redis_server.url, 5.0), SimulatedWire(both.server, LIFE, "redis://simulated", 5.0))
    victims.say("CLIENT", "SETNAME", "victim")
    for killer, victim in zip(both, victims, strict=True):
        lines = killer.ask(pack("CLIENT", "LIST"))[0].decode().splitlines()
        (found,) = [line for line in lines if "name=victim" in line]
        ident = found.split()[0].removeprefix("id=")
        assert killer.ask(pack("CLIENT", "KILL", "ID", ident)) == [1]
        assert killer.ask(pack("CLIENT", "KILL", "ID", "999999999")) == [0]
        with pytest.raises(OSError, match=r"."):
            victim.ask(pack("PING"))
        assert not victim.fresh()
        assert killer.ask(pack("PING")) == ["PONG"] or killer.ask(pack("PING")) == [b"PONG"]
