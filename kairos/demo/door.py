"""The demo as an app's back end: many requests over a few kept connections."""

import http.client
import json
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

from events.faults import Refusal

AWAY = 503
PATIENCE_S = 60.0


class DoorError(Refusal):
    """The service answered with a problem; the message carries what it said."""


class Door:
    """Speaks JSON to the HTTP door from `width` threads, each with its own connection."""

    def __init__(self, address: str, width: int = 4) -> None:
        split = urlsplit(address)
        self._host, self._port = split.hostname or "127.0.0.1", split.port or 80
        self._local = threading.local()
        self._pool = ThreadPoolExecutor(width, thread_name_prefix="door")
        self._connections: list[http.client.HTTPConnection] = []

    def get(self, path: str) -> Any:
        """The JSON at `path`; `DoorError` for any status but 2xx."""
        return self._ask("GET", path, None)[0]

    def post_all(self, path: str, bodies: Iterable[Any]) -> list[tuple[Any, float]]:
        """Post every body; the answers in the same order, each with its round trip in ms."""
        return list(self._pool.map(lambda body: self._ask("POST", path, body), bodies))

    def post(self, path: str, body: Any) -> Any:
        """Post one body; the answer."""
        return self._ask("POST", path, body)[0]

    def close(self) -> None:
        """End the threads and their connections."""
        self._pool.shutdown()
        for connection in self._connections:
            connection.close()

    def _ask(self, method: str, path: str, body: Any) -> tuple[Any, float]:
        payload = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        started = time.perf_counter()
        status, content = self._exchange(method, path, payload)
        took = (time.perf_counter() - started) * 1000
        if status >= 300:
            raise DoorError(f"{method} {path}: expected 2xx, found {status}: {content.decode()[:600]}")
        return json.loads(content), took

    def _exchange(self, method: str, path: str, payload: bytes | None) -> tuple[int, bytes]:
        """Ask until the service answers; every request carries an id, so asking again repeats nothing."""
        ends = time.monotonic() + PATIENCE_S
        while True:
            try:
                connection = self._connection()
                connection.request(method, path, payload, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                content = answer.read()
                if answer.status != AWAY:
                    return answer.status, content
                reason = content.decode(errors="replace")[:600]
            except (OSError, http.client.HTTPException) as error:
                self._local.connection = None
                reason = repr(error)
            if time.monotonic() > ends:
                raise DoorError(
                    f"{method} {path}: expected an answer within {PATIENCE_S:.0f} s, found {reason}"
                )
            time.sleep(0.05)

    def _connection(self) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=30)
            connection.connect()
            self._local.connection = connection
            self._connections.append(connection)
        return connection


def batches(items: Sequence[Any], size: int) -> Iterable[Sequence[Any]]:
    """Slices of at most `size`.

    >>> list(batches([1, 2, 3], 2))
    [[1, 2], [3]]
    """
    return (items[start : start + size] for start in range(0, len(items), size))
