"""A plain connection to Redis: replies in order, and what happens when Redis goes away."""

import resource
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from events.bus import Message, connect
from events.redis_wire import Refused, Wire, pack
from kairos.local import Server, start_redis


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    started = start_redis(tmp_path, durable=True)
    yield started
    started.stop()


def test_replies_come_in_the_order_asked_and_a_refusal_is_one_of_them(redis_server: Server) -> None:
    wire = Wire(f"{redis_server.url}/3", 5)
    value = bytes(range(256)) * 4_000  # more than one read
    commands = [pack("SET", "a", value), pack("LPUSH", "a", 1), pack("GET", "a"), pack("DEL", "a", "b")]
    done, refused, got, deleted = wire.ask(b"".join(commands), 4)
    assert (done, got, deleted) == (b"OK", value, 1)
    assert isinstance(refused, Refused)
    assert wire.fresh()
    wire.close()
    assert not wire.fresh()


def test_a_greeting_that_is_refused_opens_nothing(redis_server: Server) -> None:
    with pytest.raises(ConnectionError, match="refused the greeting"):
        Wire(f"redis://:secret@127.0.0.1:{redis_server.port}", 5)


def test_a_wire_that_redis_has_closed_says_so_before_it_is_used(server: Server) -> None:
    wire = Wire(server.url, 5)
    assert wire.ask(pack("PING")) == [b"PONG"]
    server.kill()
    assert not wire.fresh()
    with pytest.raises(ConnectionError):
        wire.ask(pack("PING"))


def test_silence_and_what_is_no_reply_close_the_wire() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"redis://127.0.0.1:{listener.getsockname()[1]}"
        silent = Wire(url, 0.1)
        with pytest.raises(TimeoutError):
            silent.ask(pack("PING"))
        assert not silent.fresh()
        babbling = Wire(url, 5)
        for accepted in (listener.accept()[0], listener.accept()[0]):
            with accepted:
                accepted.sendall(b"?what\r\n")
        with pytest.raises(ConnectionError):
            babbling.ask(pack("PING"))
        assert not babbling.fresh()


def test_an_idle_bus_publishes_at_once_after_its_server_was_restarted(server: Server) -> None:
    bus = connect(server.url)
    bus.ensure({"shop": 1})
    message = Message("shop", 0, b"", b"1")
    threads = [threading.Thread(target=bus.publish, args=([message],)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    server.kill()
    server.start()
    bus.publish([message])
    assert bus.last("shop", 0) == 4
    bus.close()


def test_a_wire_is_looked_at_whatever_its_number(redis_server: Server) -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if most < 1_200:
        pytest.skip("this shell allows too few open files")
    held = [socket.socket() for _ in range(1_100)]
    try:
        wire = Wire(redis_server.url, 5)
        assert wire.ask(pack("PING")) == [b"PONG"]
        assert wire.fresh()
        wire.close()
    finally:
        for each in held:
            each.close()
