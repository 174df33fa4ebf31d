"""The two doors on a simulated event loop: HTTP requests through the real application, and the push door."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from functools import cache
from typing import Any, Final, NamedTuple, cast

from events.faults import Refusal
from events.setup import Setup
from kairos.dst.bus import SimulatedBus
from kairos.dst.life import Crash
from kairos.dst.part import Incarnation, Part
from kairos.dst.processes import SETTINGS
from kairos.dst.stall import stall
from kairos.dst.world import World
from serving.app import create_app
from serving.backroom import Backroom, Shelved
from serving.push import Push
from serving.redis_line import RedisAway

ONLINE_EVERY_S: Final = 0.5
"""Ten times as long as in a real service: looking for models would be most of what there is to simulate."""

App = Callable[..., Any]
"""An ASGI application."""

AWAY: Final = 3
"""The exit code of a process whose bus or Redis did not come; it is started again."""


class Answer(NamedTuple):
    """What a request came to."""

    status: int
    body: bytes


def serve_part(world: World) -> Part:
    """The HTTP door; see `ask`."""

    def begin(life: Incarnation) -> None:
        room = _room(world, life)
        life.door = _app(room)
        _live(life, lambda: _open(room, life))

    return Part(world, "serve", begin)


def push_part(world: World) -> Part:
    """The push door."""

    def begin(life: Incarnation) -> None:
        room, stop = _room(world, life), threading.Event()

        async def work() -> None:
            await _open(room, life)
            await Push(room, stop).run()

        _live(life, work)

    return Part(world, "push", begin)


def ask(life: Incarnation, method: str, path: str, body: bytes) -> "asyncio.Task[Answer]":
    """Send a request to a living HTTP door; a door that dies before it answers leaves the task undone."""
    assert life.loop is not None, "the HTTP door has an event loop"
    return life.loop.create_task(_ask(life.door, method, path, body))


async def _ask(app: App, method: str, path: str, body: bytes) -> Answer:
    status, parts = 0, list[bytes]()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        else:
            parts.append(message.get("body", b""))

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))],
        "client": ("outside", 1),
        "server": ("serve", 80),
        "state": {},
    }
    await app(scope, receive, send)
    return Answer(status, b"".join(parts))


class _Room:
    """The back room of the door that lives now; only one does."""

    current: Backroom

    def __getattr__(self, name: str) -> Any:
        return getattr(self.current, name)


@cache
def _door() -> tuple[_Room, App]:
    """The application, made once: that takes longer than all it answers in a run."""
    room = _Room()
    return room, create_app(SETTINGS, room=cast(Backroom, room))


def _app(room: Backroom) -> App:
    """The application over this back room."""
    stands_for, app = _door()
    stands_for.current = room
    return app


def _room(world: World, life: Incarnation) -> Backroom:
    bus = SimulatedBus(world.topics, life)
    return Backroom(SETTINGS, lambda: life.wall_ms() / 1_000, bus, _read, ONLINE_EVERY_S)


def _read(setup: Setup) -> Shelved:
    return Shelved(*stall())


async def _open(room: Backroom, life: Incarnation) -> None:
    try:
        await room.open()
    except RedisAway as error:  # the process ends; whoever looks after it starts another
        raise Crash from error
    except Refusal as refusal:
        if refusal.exit_code != AWAY:
            raise
        raise Crash from refusal
    for task in room._tasks:
        task.add_done_callback(lambda done: _tell(done, life))


def _tell(task: "asyncio.Task[None]", life: Incarnation) -> None:
    """A background task that ends leaves a process behind that only seems to work."""
    if not task.cancelled() and not life.dead and (error := task.exception()):
        life.fault = error
        raise Crash


def _live(life: Incarnation, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Give the life a loop on which `work` runs; what `work` ends with ends the life."""
    loop = life.think()

    async def all_of_it() -> None:
        try:
            await work()
        except Exception as error:
            life.fault = error
            raise Crash from error

    loop.create_task(all_of_it(), name=life.name)
