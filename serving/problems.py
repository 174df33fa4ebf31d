"""RFC 9457 problem details: what a caller is told when the answer is no."""

from collections.abc import Sequence
from typing import Any, Final

import orjson
from starlette.responses import Response

MEDIA_TYPE: Final = "application/problem+json"
LONGEST_FOUND: Final = 120

TITLES: Final[dict[str, tuple[int, str]]] = {
    "not-json": (400, "The body is not JSON"),
    "no-key": (401, "An API key is needed"),
    "no-such-thing": (404, "Nothing is known by that name"),
    "no-such-method": (405, "This address does not take that method"),
    "state-ahead": (409, "The customer's state is already past that instant"),
    "clock-not-started": (409, "The log's clock has not started"),
    "too-large": (413, "The body is too large"),
    "media-type": (415, "The body is of a kind this address does not take"),
    "invalid": (422, "The request does not say what it must"),
    "broken": (500, "Kairos failed"),
    "away": (503, "Something Kairos needs is away"),
}


class Fault:
    """One thing that is wrong: where it stands, what was expected there, what was found."""

    __slots__ = ("expected", "found", "where")

    def __init__(self, where: str, expected: str, found: str) -> None:
        self.where, self.expected, self.found = where, expected, found

    def as_dict(self) -> dict[str, str]:
        """Give the fault as it stands in a problem's `errors`."""
        return {"where": self.where, "expected": self.expected, "found": self.found}


class Problem(Exception):
    """A request that cannot be answered as asked; `kind` is one of `TITLES` and gives status and title.

    >>> problem = Problem("invalid", "limit is out of range", Fault("body.limit", "int >= 1", "0"))
    >>> problem.status, problem.as_dict("/v1/decisions")["errors"][0]["where"]
    (422, 'body.limit')
    """

    def __init__(self, kind: str, detail: str, *errors: Fault, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.kind, self.detail, self.errors, self.headers = kind, detail, errors, headers
        self.status, self.title = TITLES[kind]

    def as_dict(self, instance: str) -> dict[str, Any]:
        """Give the members RFC 9457 names, and `errors`, our own."""
        return document(self.kind, self.status, self.title, self.detail, instance, self.errors)

    def response(self, instance: str) -> Response:
        """Render the problem as an HTTP response."""
        return Response(
            orjson.dumps(self.as_dict(instance)), self.status, media_type=MEDIA_TYPE, headers=self.headers
        )


def document(
    kind: str, status: int, title: str, detail: str, instance: str, errors: Sequence[Fault] = ()
) -> dict[str, Any]:
    """Lay out one problem; the type is a name, not an address, since nothing need be fetched to read it."""
    return {
        "type": f"urn:kairos:problem:{kind}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": instance,
        "errors": [fault.as_dict() for fault in errors],
    }


def invalid(where: str, expected: str, found: object) -> Problem:
    """Say that one value of a request is not what it must be (422)."""
    shown = found if isinstance(found, str) else show(found)
    return Problem("invalid", f"{where}: expected {expected}, found {shown}", Fault(where, expected, shown))


def away(what: str, why: object) -> Problem:
    """Say which part is away (503); the caller may try again in a second."""
    return Problem(
        "away",
        f"{what} did not answer ({type(why).__name__ if isinstance(why, BaseException) else why}); try again",
        Fault(what, "an answer in time", "none"),
        headers={"Retry-After": "1"},
    )


def show(value: object) -> str:
    """Show a found value as JSON, cut to a length a person reads.

    >>> show("x" * 500)[-3:], show(None), show([1])
    ('...', 'null', '[1]')
    """
    try:
        text = orjson.dumps(value).decode()
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= LONGEST_FOUND else text[: LONGEST_FOUND - 3] + "..."
