"""The line that all requests share: what a Redis says that cannot answer yet is not an answer."""

import asyncio

import pytest

from serving.redis_line import RedisAway, RedisLine, RedisRefused

LOADING = b"-LOADING Valkey is loading the dataset in memory\r\n"


async def asked(*replies: bytes) -> list[object]:
    """What a line makes of these replies, one after the other, of a server that sends them."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for reply in replies:
            await reader.readuntil(b"PING\r\n")
            writer.write(reply)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    line = RedisLine(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    found: list[object] = []
    for _ in replies:
        try:
            found += await line.ask(("PING",))
        except (RedisAway, RedisRefused) as error:
            found.append(error)
    await line.close()
    server.close()
    return found


@pytest.mark.parametrize(
    "not_yet",
    [
        LOADING,
        b"-MASTERDOWN Link with MASTER is down\r\n",
        b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
        b"-READONLY You can't write against a read only replica.\r\n",
    ],
)
def test_a_redis_that_is_not_ready_is_away_and_its_line_stays(not_yet: bytes) -> None:
    first, second = asyncio.run(asked(not_yet, b"+PONG\r\n"))
    assert isinstance(first, RedisAway)
    assert second in (b"PONG", "PONG")


def test_a_refusal_is_told_as_one() -> None:
    (refused,) = asyncio.run(asked(b"-NOPERM this user has no permissions\r\n"))
    assert isinstance(refused, RedisRefused)
