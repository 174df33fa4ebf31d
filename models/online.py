"""The online model on its way from the learner to serving, and the names both look for it under."""

from typing import Final

import msgspec

CHAMPION: Final = "champion"


class OnlineModel(msgspec.Struct, frozen=True):
    """What the learner leaves in Redis: everything before `learned_to` (ms) is in it, `n` examples."""

    version: str
    learned_to: int
    n: int
    bytes: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(OnlineModel).decode


def pack(model: OnlineModel) -> bytes:
    """The bytes that are kept under `online_key`."""
    return _encode(model)


def unpack(packed: bytes) -> OnlineModel:
    """The model in `packed`. Errors: `msgspec.DecodeError` when it is not one."""
    return _decode(packed)


def online_key(placement: str) -> str:
    """The Redis key of a placement's online model.

    >>> online_key("feed")
    'kairos:model:feed'
    """
    return f"kairos:model:{placement}"


def registered_name(placement: str) -> str:
    """The name under which the registry keeps a placement's trained models.

    >>> registered_name("feed")
    'kairos-feed'
    """
    return f"kairos-{placement}"
