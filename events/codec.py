"""Bytes to events and back: MessagePack inside, CloudEvents 1.0 JSON at the edges."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import repeat
from typing import Annotated, Any, Literal

import msgspec
import orjson

from events.envelope import MARK, Event, Tick

MAX_EVENT_BYTES = 1_000_000
"""A longer event is refused as `too_long`: nothing a customer does needs a megabyte to tell."""

MAX_ID = 256
"""Ids, types, sources and categories hold at most so many characters."""


Reason = Literal[
    "not_json",
    "not_cloudevent",
    "too_long",
    "unknown_type",
    "missing_field",
    "wrong_type",
    "out_of_range",
    "no_id",
    "no_customer",
    "future",
    "late",
    "identity_conflict",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FROM_ISO = datetime.fromisoformat
YEAR_10000 = 253_402_300_800_000
"""The first instant (ms) that RFC 3339 has no text for."""


class BadEvent(Exception):
    """An event that cannot be taken in: a short reason, the place, what was expected and what was found."""

    def __init__(self, reason: Reason, place: str, expected: str, found: str) -> None:
        super().__init__(f"{reason}: {place}: expected {expected}, found {found}")
        self.reason: Reason = reason
        self.place = place
        self.expected = expected
        self.found = found


class CloudEvent(msgspec.Struct):
    """One CloudEvents 1.0 event with JSON data; `time` in ms, None when the publisher gave none."""

    id: str
    type: str
    source: str
    time: int | None
    data: dict[str, Any]


_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID)]


class _Wire(msgspec.Struct):
    """A good CloudEvent as it stands in JSON, read in one pass; `cloudevent_of` explains a bad one."""

    specversion: Literal["1.0"]
    id: _Name
    type: _Name
    source: _Name
    data: dict[str, Any]
    time: str | None = None


_decode_wire = msgspec.json.Decoder(_Wire).decode
_encode = msgspec.msgpack.Encoder().encode
_decoder: msgspec.msgpack.Decoder[Event | Tick] = msgspec.msgpack.Decoder(Event | Tick)
_decode = _decoder.decode


def encode(record: Event | Tick) -> bytes:
    """Pack a record of the log.

    >>> decode(encode(Tick(1_483_228_800_000)))
    Tick(time=1483228800000)
    """
    return _encode(record)


def encode_events(
    kinds: Iterable[str],
    ids: Iterable[str],
    times: Iterable[int],
    customers: Iterable[str],
    fields: Iterable[object],
) -> list[bytes]:
    """Pack many events, given column by column; `fields` are mappings, or structs that stand for them.

    >>> one = encode(Event("visit", "7", 5, "{007}abc", {}))
    >>> encode_events(["visit"], ["7"], [5], ["{007}abc"], [{}]) == [one]
    True
    """
    return list(map(_encode, zip(repeat("e"), kinds, ids, times, customers, fields)))


def decode(raw: bytes) -> Event | Tick:
    """Unpack a record of the log.

    Errors: `msgspec.DecodeError` when the bytes are not one; the log is ours, so that is damage, not input.
    """
    return _decode(raw)


def decode_many(raws: Iterable[bytes]) -> list[Event | Tick]:
    """Unpack many records of the log. Errors as `decode`.

    >>> decode_many([encode(Tick(5)), encode(Tick(6))])
    [Tick(time=5), Tick(time=6)]
    """
    return list(map(_decode, raws))


def parse_time(text: str | int) -> int:
    """Milliseconds since the epoch of an RFC 3339 instant, or of an integer that is that already.

    Errors: `ValueError` when it is neither; an instant without offset is not an instant.

    >>> parse_time("2017-01-01T00:00:00-05:00") == parse_time("2017-01-01T05:00:00Z")
    True
    >>> parse_time(1483246800000)
    1483246800000
    >>> parse_time("2017-01-01T00:00:00")
    Traceback (most recent call last):
    ValueError: expected an instant with an offset such as Z or -05:00, found '2017-01-01T00:00:00'
    """
    if type(text) is int:
        return text
    if type(text) is not str or len(text) < 20:
        if type(text) is str and len(text) == 19:
            raise ValueError(f"expected an instant with an offset such as Z or -05:00, found {text!r}")
        raise ValueError(f"expected an RFC 3339 instant, found {shown(text)}")
    try:
        since = _FROM_ISO(text) - _EPOCH
    except TypeError:
        raise ValueError(f"expected an instant with an offset such as Z or -05:00, found {text!r}") from None
    except (ValueError, OverflowError):
        raise ValueError(f"expected an RFC 3339 instant, found {shown(text)}") from None
    return since.days * 86_400_000 + since.seconds * 1_000 + since.microseconds // 1_000


def render_time(ms: int) -> str:
    """The RFC 3339 text of an instant, in UTC.

    >>> render_time(1483246800000), render_time(1483246800007)
    ('2017-01-01T05:00:00Z', '2017-01-01T05:00:00.007Z')
    """
    instant = _EPOCH + timedelta(milliseconds=ms)
    text = instant.isoformat(timespec="milliseconds" if ms % 1_000 else "seconds")
    return text[:-6] + "Z"


def shown(value: object, longest: int = 60) -> str:
    """A value as it is shown in an error: JSON, cut short.

    >>> shown("x" * 100, 10), shown(None), shown(True)
    ('"xxxxxx...', 'null', 'true')
    """
    if isinstance(value, str) and len(value) > longest:
        value = value[: longest + 1]  # never encode 10 MB to show sixty characters
    try:
        # JSON has no NaN or infinity: orjson would call both null.
        text = repr(value) if isinstance(value, float) else orjson.dumps(value).decode()
    except TypeError:
        try:
            text = repr(value)
        except RecursionError:
            text = "a value nested a thousand deep"
    return text if len(text) <= longest else text[: longest - 3] + "..."


def parse_cloudevent(raw: bytes, max_bytes: int = MAX_EVENT_BYTES) -> CloudEvent:
    """Read one structured-mode CloudEvents 1.0 event with JSON data.

    Errors: `BadEvent` too_long, not_json, not_cloudevent, no_id, missing_field or wrong_type.
    """
    if len(raw) > max_bytes:
        raise BadEvent("too_long", "event", f"at most {max_bytes} bytes", f"{len(raw)} bytes")
    try:
        wire = _decode_wire(raw)
        time = None if wire.time is None else parse_time(wire.time)
        return CloudEvent(wire.id, wire.type, wire.source, time, wire.data)
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors too
        pass  # what follows finds the same fault again, and says where
    try:
        event = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}"
        raise BadEvent("not_json", place, "JSON", error.msg) from None
    return cloudevent_of(event)


def cloudevent_of(event: Any) -> CloudEvent:
    """The CloudEvent that a decoded JSON value is; for one of a batch. Errors as `parse_cloudevent`."""
    if type(event) is not dict:
        raise BadEvent("not_cloudevent", "event", "a JSON object", shown(event))
    get = event.get
    if get("specversion") != "1.0":
        raise BadEvent("not_cloudevent", "specversion", '"1.0"', shown(get("specversion")))
    ident, kind, source, data, time = get("id"), get("type"), get("source"), get("data"), get("time")
    if type(ident) is not str or not 0 < len(ident) <= MAX_ID:
        raise BadEvent("no_id", "id", f"a text of 1 to {MAX_ID} characters", shown(ident))
    if type(kind) is not str or not 0 < len(kind) <= MAX_ID:
        raise _attribute("type", kind)
    if type(source) is not str or not 0 < len(source) <= MAX_ID:
        raise _attribute("source", source)
    if type(data) is not dict:
        if data is None and "data_base64" in event:
            raise BadEvent("wrong_type", "data_base64", "JSON in the member data", "base64")
        raise BadEvent("missing_field" if data is None else "wrong_type", "data", "an object", shown(data))
    if time is not None:
        if type(time) is not str:
            raise BadEvent("wrong_type", "time", "an RFC 3339 instant", shown(time))
        try:
            time = parse_time(time)
        except ValueError:
            expected = "an RFC 3339 instant with an offset"
            raise BadEvent("wrong_type", "time", expected, shown(time)) from None
    return CloudEvent(ident, kind, source, time, data)


def render_cloudevent(
    type: str, id: str, source: str, data: Mapping[str, Any], time: int | None = None
) -> bytes:
    """Write one structured-mode CloudEvents 1.0 event; `time` in ms.

    >>> event = parse_cloudevent(render_cloudevent("purchase", "7", "/shop", {"amount": 12.5}, 1483246800000))
    >>> event.type, event.time, event.data
    ('purchase', 1483246800000, {'amount': 12.5})
    """
    event: dict[str, Any] = {"specversion": "1.0", "id": id, "type": type, "source": source}
    if time is not None:
        event["time"] = render_time(time)
    event["data"] = data
    return orjson.dumps(event)


def render_mark(before: int, source: str) -> bytes:
    """A mark: the publisher's promise that all before `before` (ms) on this topic-partition is published.

    >>> mark_before(parse_cloudevent(render_mark(1483246800000, "/shop")))
    1483246800000
    """
    return render_cloudevent(MARK, f"mark-{before}", source, {"before": render_time(before)})


def mark_before(mark: CloudEvent) -> int:
    """The instant (ms) before which a mark promises that all is published. Errors: `BadEvent`."""
    before = mark.data.get("before")
    try:
        instant = parse_time(before)  # type: ignore[arg-type]
    except ValueError:
        reason: Reason = "missing_field" if before is None else "wrong_type"
        raise BadEvent(reason, "data.before", "an RFC 3339 instant", shown(before)) from None
    if not 0 <= instant < YEAR_10000:
        raise BadEvent("out_of_range", "data.before", "an instant from 1970 to 9999", shown(before))
    return instant


def _attribute(name: str, value: object) -> BadEvent:
    reason: Reason = "missing_field" if value is None or value == "" else "wrong_type"
    return BadEvent(reason, name, f"a text of 1 to {MAX_ID} characters", shown(value))
