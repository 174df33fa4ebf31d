"""The gate every request passes first: the API key, and a body no longer than agreed."""

import hmac
import ipaddress
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from events.faults import Refusal
from serving.problems import Fault, Problem

LONGEST_BODY: Final = 1_000_000
OPEN_PATHS: Final = frozenset({"/health/live", "/health/ready", "/docs", "/openapi.json"})
"""What may be read without a key: whether we live, and how to talk to us."""


class Exposed(Refusal):
    """The door would listen where strangers reach it, and no key is set."""

    exit_code = 2


def check_exposure(host: str, api_key: str | None) -> None:
    """Refuse an address other than loopback unless a key is set.

    >>> check_exposure("127.0.0.1", None)
    >>> check_exposure("0.0.0.0", None)
    Traceback (most recent call last):
    serving.gate.Exposed: host: expected a loopback address, found 0.0.0.0 and no API key; set KAIROS_API_KEY
    """
    if api_key:
        if len(api_key) < 16:
            raise Exposed(f"api_key: expected 16 characters or more, found {len(api_key)}; make a longer one")
        return
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise Exposed(f"host: expected a loopback address, found {host} and no API key; set KAIROS_API_KEY")


class Gate:
    """ASGI middleware: 401 without the key, 413 for a long body, whether or not its length was announced."""

    def __init__(self, app: ASGIApp, api_key: str | None, longest: int = LONGEST_BODY) -> None:
        self._app, self._longest = app, longest
        self._key = api_key.encode() if api_key else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request pass, or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given, announced = b"", b""
        for name, value in scope["headers"]:
            if name == b"x-api-key":
                given = value
            elif name == b"content-length":
                announced = value
        if (
            self._key is not None
            and not hmac.compare_digest(given, self._key)
            and scope["path"] not in OPEN_PATHS
        ):
            problem = Problem(
                "no-key",
                "header X-API-Key: expected the key of this service",
                Fault("header.X-API-Key", "the key of this service", "another one" if given else "nothing"),
                headers={"WWW-Authenticate": "X-API-Key"},
            )
            await problem.response(scope["path"])(scope, receive, send)
            return
        if announced and (not announced.isdigit() or int(announced[:18]) > self._longest):
            problem = self.too_large(announced.decode("latin-1")[:18])
            await problem.response(scope["path"])(scope, receive, send)
            return
        if announced:
            await self._app(scope, receive, send)
            return
        taken = 0

        async def measured() -> Message:
            nonlocal taken
            message = await receive()
            if message["type"] == "http.request":
                taken += len(message.get("body", b""))
                if taken > self._longest:
                    raise self.too_large(f"more than {self._longest}")
            return message

        await self._app(scope, measured, send)

    def too_large(self, found: str) -> Problem:
        """Say how long a body may be (413)."""
        fault = Fault("body", f"at most {self._longest} bytes", found)
        headers = {"Connection": "close"}
        return Problem("too-large", f"body: expected {fault.expected}, found {found}", fault, headers=headers)
