"""What could not be taken in, kept whole with the reason, for people to read and to publish again."""

import msgspec

from events.bus import Record
from events.codec import BadEvent


class DeadLetter(msgspec.Struct, frozen=True):
    """A refused message: where it stood, why, and its original bytes (base64 in the JSON).

    `at` is when it was refused, in ms. `topic`, `partition` and `position` are its place on the bus.
    """

    topic: str
    partition: int
    position: int
    reason: str
    place: str
    expected: str
    found: str
    at: int
    original: bytes


_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(DeadLetter)


def dead_letter(record: Record, why: BadEvent, at: int) -> DeadLetter:
    """The dead letter of a record that was refused at `at` (ms).

    >>> why = BadEvent("no_id", "data.receipt_no", "a text", "null")
    >>> letter = dead_letter(Record("shop", 0, 17, b"", b"{}"), why, 1483246800000)
    >>> letter.position, letter.reason, letter.original
    (17, 'no_id', b'{}')
    """
    return DeadLetter(
        record.topic,
        record.partition,
        record.position,
        why.reason,
        why.place,
        why.expected,
        why.found,
        at,
        record.value,
    )


def encode(letter: DeadLetter) -> bytes:
    """The JSON of a dead letter.

    >>> decode(encode(DeadLetter("shop", 0, 17, "no_id", "id", "a text", "null", 0, bytes([255])))).original
    b'\\xff'
    """
    return _encode(letter)


def decode(raw: bytes) -> DeadLetter:
    """The dead letter of a JSON text. Errors: `msgspec.DecodeError`."""
    return _decoder.decode(raw)
