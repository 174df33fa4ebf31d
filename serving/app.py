"""The HTTP door: FastAPI on uvicorn, started and stopped with care."""

import asyncio
import contextlib
import logging
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

import uvicorn
from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.responses import Response

from events.bus import BusUnavailable
from events.faults import Refusal
from events.setup import Setup
from serving import documents, messages
from serving.backroom import Backroom, settle_down
from serving.gate import LONGEST_BODY, Gate, check_exposure
from serving.problems import Fault, Problem, away
from serving.redis_line import RedisAway
from serving.routes import make_routes

ABOUT: Final = """Ask what is worth saying to one customer now, and tell what became of it.

Times are RFC 3339 or epoch milliseconds. A customer is `kind:value` or the id Kairos minted.
Whatever goes wrong is an RFC 9457 problem whose `errors` say where, what was expected and what was found."""
KEEP_ALIVE_S: Final = 75
STOPPING_S: Final = 10

log = logging.getLogger("kairos.serving")


class PortTaken(Refusal):
    """Somebody else listens where the door should be."""

    exit_code = 3


def create_app(
    setup: Setup, failed: Callable[[BaseException], None] | None = None, room: Backroom | None = None
) -> FastAPI:
    """Make the app; it answers at once, and is ready when its back room is open.

    `failed` is told when the back room, its own or the one handed in, cannot be opened.
    Errors: `Exposed` (see `gate`).
    """
    check_exposure(setup.host, setup.api_key)
    room = room or Backroom(setup)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        opening = asyncio.create_task(room.open())

        def opened(task: asyncio.Task[None]) -> None:
            if task.cancelled():
                return
            if error := task.exception():
                if failed:
                    failed(error)
            else:
                settle_down()

        opening.add_done_callback(opened)
        try:
            yield
        finally:
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)
            await room.close()

    app = FastAPI(
        title="Kairos",
        version="1",
        description=ABOUT,
        lifespan=lifespan,
        redoc_url=None,
        redirect_slashes=False,
        swagger_ui_oauth2_redirect_url=None,
    )
    app.state.room = room
    app.include_router(make_routes(room))
    app.add_middleware(Gate, api_key=setup.api_key, longest=LONGEST_BODY)

    async def told(request: Request, error: Exception) -> Response:
        problem = as_problem(request, error)
        room.metrics.problems.labels(str(problem.status)).inc()
        return problem.response(request.url.path)

    for kind in (Problem, RedisAway, BusUnavailable, HTTPException, Exception):
        app.add_exception_handler(kind, told)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def as_problem(request: Request, error: Exception) -> Problem:
    """Turn whatever was raised into what the caller is told; our own faults stay in our log."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, RedisAway):
        return away("Redis", error)
    if isinstance(error, BusUnavailable):
        return away("the bus", error)
    asked = f"{request.method} {request.url.path[:200]}"
    if isinstance(error, HTTPException) and error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "another method")
        fault = Fault("method", allowed, request.method)
        headers = dict(error.headers or {})
        return Problem("no-such-method", f"{asked}: expected {allowed}", fault, headers=headers)
    if isinstance(error, HTTPException) and error.status_code == 404:
        fault = Fault("path", "an address that /docs lists", request.url.path[:200])
        return Problem("no-such-thing", f"{asked}: expected an address that /docs lists", fault)
    if isinstance(error, HTTPException) and 400 <= error.status_code < 500:
        return Problem("not-json", str(error.detail))
    return Problem("broken", "the fault is ours and stands in the log of this service")


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        parts = document.setdefault("components", {})
        parts.setdefault("schemas", {}).update(documents.SCHEMAS | messages.schemas())
        parts["securitySchemes"] = {"key": {"type": "apiKey", "in": "header", "name": "X-API-Key"}}
        document["security"] = [{"key": []}, {}]
        app.openapi_schema = document
    return app.openapi_schema


class _Server(uvicorn.Server):
    """uvicorn's server, whose signals we handle ourselves so that a stop ends with exit code 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {each: signal.signal(each, self.handle_exit) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    @property
    def address(self) -> str:
        """Where it listens, once it does."""
        for server in self.servers:
            for each in server.sockets:
                host, port = each.getsockname()[:2]
                shown = f"[{host}]" if each.family == socket.AF_INET6 else host
                return f"http://{shown}:{port}"
        return "nowhere"


def run(setup: Setup, stop: threading.Event | None = None) -> None:
    """Serve until SIGINT, SIGTERM or `stop`; decisions that are recorded are relayed before it returns.

    Errors: `PlaybookRefused`; `BusUnavailable`, `StoreUnavailable` when they do not come; `PortTaken`;
    `Exposed` when the door would stand open to strangers. Each says what to do.
    """
    failures: list[BaseException] = []

    def failed(error: BaseException) -> None:
        failures.append(error)
        server.should_exit = True

    app = create_app(setup, failed)
    server = _Server(
        uvicorn.Config(
            app,
            host=setup.host,
            port=setup.port,
            loop="uvloop",
            http="httptools",
            ws="none",
            access_log=False,
            log_level="warning",
            log_config=None,
            server_header=False,
            date_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=STOPPING_S,
            backlog=2048,
        )
    )

    async def watch() -> None:
        room: Backroom = app.state.room
        said = False
        while not server.should_exit:
            if not said and server.started and room.ready:
                print(f"Kairos answers at {server.address} (docs at {server.address}/docs)", flush=True)
                said = True
            if stop is not None and stop.is_set():
                server.should_exit = True
            await asyncio.sleep(0.05)

    async def both() -> None:
        watching = asyncio.create_task(watch())
        await server.serve()
        watching.cancel()

    try:
        with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
            runner.run(both())
    except SystemExit:  # uvicorn's own word for a port it could not have
        failures.append(
            PortTaken(f"expected to listen on {setup.host}:{setup.port}, found it taken; set KAIROS_PORT")
        )
    if failures:
        raise failures[0]
