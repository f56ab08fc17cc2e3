"""Observations as JSON or MessagePack.

Arrays become lists in C code: 1,024 observations of CartPole take 0.6 ms as JSON.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec


class ArrayLike(Protocol):
    """NumPy arrays and scalars, torch tensors on the CPU, and their like."""

    def tolist(self) -> Any:
        """The values as nested lists."""


Values = ArrayLike | Sequence[Any]
Observation = Values | int
"""Numbers in the shape of the model's observation space; an integer for a Discrete space."""


def to_json(fields: Mapping[str, Any]) -> bytes:
    """A JSON object. Raises TypeError for a value that is neither JSON nor an array."""
    try:
        body = _encode_json(fields)
    except UnicodeEncodeError:  # a surrogate, such as of a non-ASCII argument in the C locale
        body = b"null"
    if b"null" in body:  # NaN and infinities: sent as such, so that the server can say which one it refuses
        return json.dumps(fields, default=_plain).encode()
    return body


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "__array__"):  # frame stacks of Gymnasium
        return value.__array__().tolist()
    if isinstance(value, Sequence):
        return list(value)
    raise TypeError(
        f"Cannot send a {type(value).__name__}: observations and masks are lists, arrays or, "
        "for a Discrete space, integers."
    )


_encode_json = msgspec.json.Encoder(enc_hook=_plain).encode
to_msgpack = msgspec.msgpack.Encoder(enc_hook=_plain).encode
